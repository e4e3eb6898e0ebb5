//! What workers print: read as soon as it is there, so that no worker ever
//! waits for us; the last of it kept, all of it passed on to the log.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regex_lite::Regex;
use tokio::sync::mpsc;

use super::Input;
use crate::config::{self, ReadyOn};
use crate::control::Timestamp;
use crate::fleet::WorkerId;
use crate::logging::{Level, Record, Sink};
use crate::process::{Line, Reader, Stream, Tail};

/// Lines of the failing worker that a report shows.
pub(super) const REPORTED: usize = 20;

/// How much of what an ended worker left unread is taken, in bytes a stream:
/// what its pipe holds.
const LAST_WORDS: usize = 1 << 20;
/// Most workers say nothing at their end, and a thousand may end together.
const AT_ONCE: usize = 4 * 1024;

/// What all outputs share.
#[derive(Clone)]
pub(super) struct Lines {
    sink: Sink,
    /// Numbers lines over all workers.
    numbers: Arc<AtomicU64>,
}

impl Lines {
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            sink,
            numbers: Arc::default(),
        }
    }
}

/// The output of one worker: what is kept of it, also after its end.
pub(super) struct Output {
    worker: WorkerId,
    tail: Mutex<Tail>,
    lines: Lines,
}

/// What in the output means that the worker is ready.
pub(super) struct Pattern {
    stream: config::Stream,
    regex: Regex,
}

impl Pattern {
    pub(super) fn of(on: &ReadyOn) -> Option<Self> {
        let ReadyOn::Output { stream, regex } = on else {
            return None;
        };
        // The config was checked: the expression compiles.
        let regex = Regex::new(regex).ok()?;
        Some(Self {
            stream: *stream,
            regex,
        })
    }

    fn matches(&self, line: &Line) -> bool {
        let listens = match self.stream {
            config::Stream::Both => true,
            config::Stream::Stdout => line.stream == Stream::Stdout,
            config::Stream::Stderr => line.stream == Stream::Stderr,
        };
        listens && self.regex.is_match(&line.text)
    }
}

impl Output {
    pub(super) fn new(worker: WorkerId, lines: Lines) -> Self {
        let tail = Mutex::new(Tail::numbered(lines.numbers.clone()));
        Self {
            worker,
            tail,
            lines,
        }
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        // Every change of a tail is one that cannot panic half-way.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last lines, as a report shows them.
    pub(super) fn last(&self) -> Vec<String> {
        self.tail().last(REPORTED).map(Line::to_string).collect()
    }

    /// Reads one stream until its end.
    async fn follow(&self, reader: &Reader, mut found: impl FnMut(&Line)) {
        while let Ok(bytes) = reader.next().await {
            if bytes.is_empty() {
                return;
            }
            self.take(reader.stream(), &bytes, &mut found);
            // A worker that prints without end must not keep the loop from its
            // signals and timers: tokio's pipes are always ready for it.
            tokio::task::yield_now().await;
        }
    }

    fn take(&self, stream: Stream, bytes: &[u8], found: &mut impl FnMut(&Line)) {
        let now = Timestamp::now().millis();
        let done = self.tail().push(stream, bytes, now);
        for line in done {
            found(&line);
            self.pass_on(&line);
        }
    }

    fn pass_on(&self, line: &Line) {
        let mut record = Record::new(Level::Info, line.to_string());
        record.generation = Some(self.worker.generation);
        record.worker = Some(self.worker.to_string());
        record.stream = Some(line.stream.name());
        self.lines.sink.log(record);
    }

    /// The last words of a worker that ended.
    pub(super) fn finish(&self, readers: &[Arc<Reader>]) {
        let mut buffer = [0; AT_ONCE];
        for reader in readers {
            // Bounded: a child that it left may go on printing.
            for _ in 0..LAST_WORDS / AT_ONCE {
                let Ok(count @ 1..) = reader.try_read(&mut buffer) else {
                    break;
                };
                self.take(reader.stream(), &buffer[..count], &mut |_| ());
            }
        }
        let now = Timestamp::now().millis();
        let open = self.tail().finish(now);
        for line in open {
            self.pass_on(&line);
        }
    }
}

/// Begins to read a worker's output. The tasks end with the streams.
pub(super) fn follow(
    output: &Arc<Output>,
    readers: &[Arc<Reader>],
    pattern: Option<Pattern>,
    inputs: &mpsc::Sender<Input>,
) -> Vec<tokio::task::AbortHandle> {
    let pattern = Arc::new(pattern);
    readers
        .iter()
        .map(|reader| {
            let (output, reader) = (output.clone(), reader.clone());
            let (pattern, inputs) = (pattern.clone(), inputs.clone());
            let task = async move {
                let mut matched = None;
                let id = output.worker;
                let found = |line: &Line| {
                    let wanted = pattern.as_ref().as_ref().is_some_and(|p| p.matches(line));
                    if wanted && matched.is_none() {
                        matched = Some(());
                        // A full queue only delays: the loop is never far behind.
                        let told = Input::Matched(id, line.text.to_string());
                        let inputs = inputs.clone();
                        tokio::spawn(async move { inputs.send(told).await.is_ok() });
                    }
                };
                output.follow(&reader, found).await;
            };
            tokio::spawn(task).abort_handle()
        })
        .collect()
}

/// A stream that is passed through as it is (`log.worker_output = "inherit"`).
pub(super) fn inherited() -> io::Result<(std::os::fd::OwnedFd, std::os::fd::OwnedFd)> {
    let out = rustix::io::fcntl_dupfd_cloexec(std::io::stdout(), 3)?;
    let err = rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 3)?;
    Ok((out, err))
}
