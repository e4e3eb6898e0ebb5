//! Lines as text for people, and as JSON for programs.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::unseen::is_unseen;
use super::{Level, Record, Stamped, clock, level_name};

/// How text looks where it goes.
#[derive(Debug)]
pub(super) enum Look {
    /// A terminal: local time of day, and colour unless `NO_COLOR` forbids it.
    Terminal { zone: TimeZone, colour: bool },
    /// A file or a pipe: date and time in UTC.
    Plain,
}

/// `12:01:07.123  INFO  web  message`, or for what a worker printed
/// `12:01:07.123  [3.0] text`. Ends with a line break; further lines of a message
/// are indented to where it began.
pub(super) fn text(stamped: &Stamped, service: &str, look: &Look) -> String {
    let Stamped { at, record } = stamped;
    let (time, colour) = match look {
        Look::Terminal { zone, colour } => (clock::time_of_day(*at, zone), *colour),
        Look::Plain => (clock::utc(*at), false),
    };
    let paint = |style: Style, text: &str| match colour {
        true => format!("{style}{text}{style:#}"),
        false => text.to_owned(),
    };
    let dim = Style::new().dimmed();
    let mut line = paint(dim, &time);
    let mut indent = time.len() + 2;
    line.push_str("  ");
    if record.is_output() {
        let tag = format!("[{}]", record.worker.as_deref().unwrap_or("?"));
        indent += tag.len() + 1;
        let _ = write!(line, "{} ", paint(dim, &tag));
    } else {
        let (word, style) = badge(record.level);
        indent += word.len() + service.chars().count() + 3;
        let _ = write!(line, "{} {service}  ", paint(style, word));
    }
    for (number, part) in record
        .message
        .trim_end_matches('\n')
        .split('\n')
        .enumerate()
    {
        if number > 0 {
            let _ = write!(line, "\n{:indent$}", "");
        }
        push_visible(&mut line, part, record.is_output());
    }
    line.push('\n');
    line
}

/// One JSON object and a line break. The order of the fields is fixed, and what
/// does not apply is left out.
pub(super) fn json(stamped: &Stamped, service: &str) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        level: &'a str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        generation: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        worker: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<&'a str>,
        message: &'a str,
    }
    let Record {
        level,
        message,
        event,
        generation,
        worker,
        stream,
    } = &stamped.record;
    let line = Line {
        time: clock::utc(stamped.at),
        level: level_name(*level),
        name: service,
        event: event.as_deref(),
        generation: *generation,
        worker: worker.as_deref(),
        stream: *stream,
        message,
    };
    // Strings and numbers alone always can be written.
    let mut json = serde_json::to_string(&line).unwrap_or_default();
    json.push('\n');
    json
}

/// The level, as wide as the widest.
fn badge(level: Level) -> (&'static str, Style) {
    let colour = |colour: AnsiColor| colour.on_default();
    match level {
        Level::Error => ("ERROR", colour(AnsiColor::Red).bold()),
        Level::Warn => ("WARN ", colour(AnsiColor::Yellow)),
        Level::Info => ("INFO ", colour(AnsiColor::Green)),
        Level::Debug => ("DEBUG", Style::new().dimmed()),
    }
}

/// `text` for a terminal, where it is not logged: as a line of the log shows it, line by line.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            shown.push('\n');
        }
        push_visible(&mut shown, line, false);
    }
    shown
}

/// Control and format characters made visible, since much of our own text quotes what others
/// sent. A worker's output keeps its colours: it is the user's own program.
fn push_visible(line: &mut String, text: &str, is_output: bool) {
    for char in text.chars() {
        if is_unseen(char) {
            line.extend(char.escape_unicode());
        } else if !char.is_control() || char == '\t' || (is_output && char == '\x1b') {
            line.push(char);
        } else if !(is_output && char == '\r') {
            line.extend(char.escape_default());
        }
    }
}
