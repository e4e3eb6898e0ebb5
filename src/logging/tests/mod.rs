mod journald;
mod lines;
mod sink;

use std::io::{BufRead, BufReader, PipeReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::{Format, Level, Record, Sink};

const SOON: Duration = Duration::from_secs(20);
const NO_JOURNAL: &str = "/nonexistent/journal";

fn output(worker: &str, message: &str) -> Record {
    Record {
        generation: Some(3),
        worker: Some(worker.to_owned()),
        stream: Some("stdout"),
        ..Record::new(Level::Info, message)
    }
}

fn start(stderr: impl Into<OwnedFd>, format: Format) -> Sink {
    Sink::start_on(
        stderr.into(),
        Path::new(NO_JOURNAL),
        format,
        Level::Info,
        "web",
    )
    .unwrap()
}

/// Reads to the end, that is until the writer is gone: the lines come [`SOON`].
fn lines_of(reader: PipeReader) -> Receiver<Vec<String>> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let read = BufReader::new(reader).lines().map(Result::unwrap).collect();
        // Nobody listens any more when the test has failed.
        let _ = sender.send(read);
    });
    lines
}
