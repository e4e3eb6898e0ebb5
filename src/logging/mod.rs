//! Where handover's own log lines, and its workers' output, go: standard error
//! as text or JSON, or the journal.
//!
//! This room knows formats, the journal's native protocol, and how to lose lines
//! rather than time: [`Sink::log`] never waits, a thread of its own writes. It
//! must not know what the lines are about, nor decide which are worth one.

mod clock;
mod journal;
mod queue;
mod sink;
mod text;
mod unseen;
mod writer;

use std::time::SystemTime;

pub use sink::Sink;
pub use text::visible;
pub use unseen::is_unseen;

/// How much a line matters, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed that somebody has to look at.
    Error,
    /// Something is not as it should be, and handover goes on.
    Warn,
    /// What a person wants to read of a day without trouble.
    Info,
    /// What helps to find out why.
    Debug,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The journal when our standard error is connected to it, else text.
    Auto,
    /// For people. On a terminal with the local time of day and colour, elsewhere
    /// with the date, in UTC.
    Text,
    /// One JSON object a line (JSON Lines), times as RFC 3339 in UTC.
    Json,
    /// The journal, with fields.
    Journald,
}

/// One line.
///
/// With a `stream` it is a line that a worker printed: such lines are never
/// filtered by level, and the first to be dropped when the log cannot keep up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How much it matters.
    pub level: Level,
    /// What happened, as a sentence; may have several lines.
    pub message: String,
    /// The stable name of the event.
    pub event: Option<String>,
    /// The generation that it is about.
    pub generation: Option<u32>,
    /// The worker that it is about, `GENERATION.SLOT`.
    pub worker: Option<String>,
    /// `stdout` or `stderr`, when a worker printed this.
    pub stream: Option<&'static str>,
}

impl Record {
    /// A line of handover itself.
    pub fn new(level: Level, message: impl Into<String>) -> Self {
        Self {
            level,
            message: message.into(),
            event: None,
            generation: None,
            worker: None,
            stream: None,
        }
    }

    fn is_output(&self) -> bool {
        self.stream.is_some()
    }

    /// What it occupies while it waits, in bytes, roughly.
    fn weight(&self) -> usize {
        size_of::<Stamped>() + self.message.len()
    }
}

/// A line, and when it was logged: before it waited for the writer.
#[derive(Debug)]
struct Stamped {
    at: SystemTime,
    record: Record,
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

#[cfg(test)]
mod tests;
