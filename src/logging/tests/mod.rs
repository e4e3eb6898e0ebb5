mod journald;
mod lines;
mod sink;

use std::os::fd::OwnedFd;
use std::path::Path;
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
