//! `GET /v1/logs` and `GET /v1/workers/ID/logs`.

use serde::{Deserialize, Serialize};

use super::words;
use crate::control::Timestamp;

/// What workers printed, oldest first.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsView {
    /// The lines that are still kept and were asked for.
    pub lines: Vec<LogLine>,
    /// Ask with `?after=NEXT` for what is printed from now on.
    pub next: u64,
    /// Lines that were asked for and are no longer kept.
    #[serde(default)]
    pub dropped: u64,
}

/// One line of one worker.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Grows with every line of any worker.
    pub seq: u64,
    /// When the master read it.
    pub at: Timestamp,
    /// The worker that printed it.
    pub worker: String,
    /// Where it printed it.
    pub stream: Stream,
    /// The line, without its newline; bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// A worker's output streams.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A stream of a newer version.
    #[cfg_attr(test, schemars(skip))]
    #[serde(other)]
    Unknown,
}

words!(Stream {
    Stdout => "stdout",
    Stderr => "stderr",
    Unknown => "unknown",
});
