//! A program that runs beside a worker for a moment: it is started in the worker's surroundings, bounded in time and
//! output, and nothing of it is left.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, timeout, timeout_at};

use super::child::Child;
use super::exit::Exit;
use super::failure::LaunchFailure;
use super::launcher::{LaunchRequest, Launched, Launcher, Report};
use super::release::Release;

/// More than anybody reads of it: then nobody reads on, and its next write fails (EPIPE).
const OUTPUT_MAX: usize = 64 << 20;
/// Of which the last so many bytes are kept.
const KEPT: usize = 4 * 1024;
/// The longest last line that is told, in characters.
const LINE_MAX: usize = 200;
/// For a killed process to be gone. One in uninterruptible sleep is left to whoever reaps.
const GONE_WITHIN: Duration = Duration::from_secs(5);

const SIGKILL: i32 = nix::libc::SIGKILL;

/// A program on its way.
#[derive(Debug)]
pub struct Errand {
    child: Arc<Child>,
    report: Report,
    output: Receiver,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    ending: Ending,
    last_line: Option<String>,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// It was not executed.
    NotStarted(LaunchFailure),
    /// It ended by itself.
    Exited(Exit),
    /// It was killed at its deadline.
    TimedOut,
    /// It could not be waited for.
    Lost(String),
}

impl Done {
    /// Whether it exited with status 0.
    pub fn is_success(&self) -> bool {
        matches!(self.ending, Ending::Exited(exit) if exit.is_success())
    }

    /// It never ran, or nobody knows how it ended: that says nothing about whatever it was to look at.
    pub fn says_nothing(&self) -> bool {
        matches!(self.ending, Ending::NotStarted(_) | Ending::Lost(_))
    }

    /// It was killed at its deadline.
    pub fn timed_out(&self) -> bool {
        self.ending == Ending::TimedOut
    }

    /// The last line that it printed that is not empty, as the end of a sentence: `: "no database"`.
    pub fn said(&self) -> String {
        let line = self.last_line.as_ref();
        line.map_or_else(String::new, |line| format!(": \"{line}\""))
    }
}

/// As a person wants to read it: `exit status 1: "no database"`.
impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ending {
            Ending::NotStarted(failure) => failure.fmt(f)?,
            Ending::Exited(exit) => exit.fmt(f)?,
            Ending::TimedOut => f.write_str("it did not end in time")?,
            Ending::Lost(why) => f.write_str(why)?,
        }
        f.write_str(&self.said())
    }
}

impl Launcher {
    /// Starts the release's program with this command and this environment, in a process group of its own, without any
    /// listener. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// As [`launch`](Self::launch); also what pipe(2) says.
    pub fn errand(
        &self,
        release: &Release,
        argv: Vec<String>,
        env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    ) -> io::Result<Errand> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let output = Receiver::from_owned_fd(reader)?;
        let Launched { child, report } = self.launch(&LaunchRequest {
            release,
            argv,
            env,
            stdout: writer.as_fd(),
            stderr: writer.as_fd(),
            listeners: Vec::new(),
            group: None,
            limits: &[],
            announced: false,
        })?;
        Ok(Errand {
            child: Arc::new(child),
            report,
            output,
        })
    }
}

impl Errand {
    /// The process: whoever does not want its result any more kills its group, and the result comes at once.
    pub fn child(&self) -> Arc<Child> {
        self.child.clone()
    }

    /// Waits for its end for `patience`, then for nothing: whatever is left of its process group is killed.
    pub async fn done(self, patience: Duration) -> Done {
        let Errand {
            child,
            report,
            output,
        } = self;
        let mut output = Output::new(output);
        let deadline = Instant::now() + patience;
        let ended = timeout_at(deadline, async {
            report.outcome().await.map_err(Ending::NotStarted)?;
            let waited = output.read_until_ended(&child).await;
            waited.map_err(|error| Ending::Lost(format!("waiting for it failed: {error}")))
        });
        let ended = ended.await;
        // ESRCH where nobody is left.
        let _ = child.signal_group(SIGKILL);
        // It may have left its group.
        let _ = child.signal(SIGKILL);
        let _ = timeout(GONE_WITHIN, child.ended()).await;
        let exit = child.reap();
        let ending = match (ended, exit) {
            (Ok(Err(ending)), _) => ending,
            (Err(_), _) => Ending::TimedOut,
            (Ok(Ok(())), Ok(Some(exit))) => Ending::Exited(exit),
            (Ok(Ok(())), Ok(None)) => Ending::Lost("it ended and cannot be reaped".to_owned()),
            (Ok(Ok(())), Err(error)) => Ending::Lost(format!("reaping it failed: {error}")),
        };
        Done {
            ending,
            last_line: output.last_line(),
        }
    }
}

/// What it prints, both streams in one.
struct Output {
    pipe: Option<Receiver>,
    kept: Vec<u8>,
    taken: usize,
}

impl Output {
    fn new(pipe: Receiver) -> Self {
        Self {
            pipe: Some(pipe),
            kept: Vec::new(),
            taken: 0,
        }
    }

    async fn read_until_ended(&mut self, child: &Child) -> io::Result<()> {
        let mut ended = pin!(child.ended());
        loop {
            let readable = async {
                match &self.pipe {
                    Some(pipe) => pipe.readable().await,
                    // Its end is all that is left to wait for.
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                ended = &mut ended => {
                    self.take();
                    return ended;
                }
                readable = readable => {
                    readable?;
                    self.take();
                    // Who prints without end must not keep the loop from anything.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Takes what is there, at most what a pipe holds.
    fn take(&mut self) {
        let mut buffer = [0; 16 * 1024];
        for _ in 0..4 {
            let Some(pipe) = &self.pipe else {
                return;
            };
            match pipe.try_read(&mut buffer) {
                Ok(length) if length > 0 && self.taken < OUTPUT_MAX => {
                    self.taken += length;
                    self.kept
                        .extend_from_slice(buffer.get(..length).unwrap_or_default());
                    let over = self.kept.len().saturating_sub(KEPT);
                    self.kept.drain(..over);
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
                {
                    return;
                }
                // Closed by all who had it, too much of it, or broken.
                Ok(_) | Err(_) => self.pipe = None,
            }
        }
    }

    fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.kept);
        let line = text
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())?;
        let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        Some(line.chars().map(shown).take(LINE_MAX).collect())
    }
}
