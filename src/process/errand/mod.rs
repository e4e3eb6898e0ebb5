//! A command that runs beside the workers for a moment: it is started through the launcher, bounded in time and
//! output, and nothing of it is left.
//!
//! Its process is ours to reap and is reaped here, through its pidfd; the one who looks for ended children leaves it
//! alone for as long as [`Errands`] knows it. What it started is found by the group or, where it left that, by a
//! nonce (`HANDOVER_ERRAND`), and ends with it.

mod output;
mod remains;
mod running;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::child::Child;
use super::exit::Exit;
use super::failure::LaunchFailure;
use super::launcher::Report;
use super::output::Reader;
use super::sweep::{Remnant, Swept};
use output::Output;
use remains::Remains;
use running::Entry;

pub use running::Errands;

/// The longest last line that is told, in characters.
const LINE_MAX: usize = 200;
/// For a killed process to be gone. One in uninterruptible sleep is left to whoever reaps.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// So many of those that it left behind are named.
const NAMED_MAX: usize = 8;

/// A program on its way.
#[derive(Debug)]
pub struct Errand {
    child: Arc<Child>,
    report: Report,
    output: Reader,
    remains: Remains,
    entry: Entry,
}

/// What became of it.
#[derive(Debug)]
pub struct Done {
    ending: Outcome,
    /// The last of what it printed.
    output: Vec<u8>,
    left: std::io::Result<Swept>,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not executed.
    NotStarted(LaunchFailure),
    /// It ended by itself.
    Exited(Exit),
    /// It was killed at its deadline.
    TimedOut,
    /// It could not be waited for.
    Lost(String),
}

impl Errand {
    /// The process: whoever does not want its result any more kills it, and the result comes at once.
    pub fn child(&self) -> Arc<Child> {
        self.child.clone()
    }

    /// Waits for its end for `patience`, then for nothing: whatever it leaves is killed. `heard` is given what it
    /// prints, both streams in one, as it comes. Needs a tokio runtime with I/O and time.
    pub async fn done(self, patience: Duration, mut heard: impl FnMut(&[u8])) -> Done {
        let Errand {
            child,
            report,
            output,
            remains,
            entry,
        } = self;
        let mut output = Output::new(output);
        let deadline = Instant::now() + patience;
        let ended = timeout_at(deadline, async {
            report.outcome().await.map_err(Outcome::NotStarted)?;
            let waited = output.read_until_ended(&child, &mut heard).await;
            waited.map_err(|error| Outcome::Lost(format!("waiting for it failed: {error}")))
        });
        let ended = ended.await;
        child.kill();
        let _ = timeout(GONE_WITHIN, child.ended()).await;
        output.read_rest(&mut heard).await;
        let left = remains.end(&child, entry.sweeper()).await;
        let exit = child.reap();
        // From here on its number may be anybody's.
        drop(entry);
        let ending = match (ended, exit) {
            (Ok(Err(ending)), _) => ending,
            (Err(_), _) => Outcome::TimedOut,
            (Ok(Ok(())), Ok(Some(exit))) => Outcome::Exited(exit),
            (Ok(Ok(())), Ok(None)) => Outcome::Lost("it ended and cannot be reaped".to_owned()),
            (Ok(Ok(())), Err(error)) => Outcome::Lost(format!("reaping it failed: {error}")),
        };
        Done {
            ending,
            output: output.kept(),
            left,
        }
    }
}

impl Done {
    /// How it ended.
    pub fn outcome(&self) -> &Outcome {
        &self.ending
    }

    /// Whether it exited with status 0.
    pub fn is_success(&self) -> bool {
        matches!(self.ending, Outcome::Exited(exit) if exit.is_success())
    }

    /// It never ran, or nobody knows how it ended: that says nothing about whatever it was to look at.
    pub fn says_nothing(&self) -> bool {
        matches!(self.ending, Outcome::NotStarted(_) | Outcome::Lost(_))
    }

    /// It was killed at its deadline.
    pub fn timed_out(&self) -> bool {
        self.ending == Outcome::TimedOut
    }

    /// The last lines that it printed, at most so many, oldest first; what is not UTF-8 is replaced by U+FFFD.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.output);
        let mut lines: Vec<String> = text.lines().rev().take(count).map(str::to_owned).collect();
        lines.reverse();
        lines
    }

    /// The last line that it printed that is not empty, as the end of a sentence: `: "no database"`.
    pub fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.output);
        let mut lines = text.lines().rev().map(str::trim);
        let Some(line) = lines.find(|line| !line.is_empty()) else {
            return String::new();
        };
        let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let line: String = line.chars().map(shown).take(LINE_MAX).collect();
        format!(": \"{line}\"")
    }

    /// What had left its process group and outlived it, and what became of that, as the end of a sentence whose
    /// subject it is: `left 1 process behind, killed: sleep (pid 7)`. None where nothing did.
    pub fn left_behind(&self) -> Option<String> {
        let left = match &self.left {
            Ok(left) if left.remnants.is_empty() => return None,
            Ok(left) => left,
            Err(error) => {
                return Some(format!(
                    "may have left processes behind, which could not be looked for: {error}"
                ));
            }
        };
        let processes = match left.remnants.len() {
            1 => "1 process".to_owned(),
            several => format!("{several} processes"),
        };
        let (killed, spared): (Vec<_>, Vec<_>) =
            left.remnants.iter().partition(|it| it.killed.is_ok());
        let mut words = format!("left {processes} behind");
        for (what, them) in [("killed", killed), ("not killed", spared)] {
            if !them.is_empty() {
                words += &format!(", {what}: {}", named(&them));
            }
        }
        if left.unfinished {
            words +=
                "; they started others until it was given up to look for them: some may live on";
        }
        Some(words)
    }
}

fn named(them: &[&Remnant]) -> String {
    let mut names: Vec<String> = them
        .iter()
        .take(NAMED_MAX)
        .map(ToString::to_string)
        .collect();
    let more = them.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

/// As a person wants to read it: `exit status 1: "no database"`.
impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ending {
            Outcome::NotStarted(failure) => failure.fmt(f)?,
            Outcome::Exited(exit) => exit.fmt(f)?,
            Outcome::TimedOut => f.write_str("it did not end in time")?,
            Outcome::Lost(why) => f.write_str(why)?,
        }
        f.write_str(&self.said())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(output: &str, remnants: Vec<Remnant>) -> Done {
        Done {
            ending: Outcome::Exited(Exit::Code(1)),
            output: output.as_bytes().to_owned(),
            left: Ok(Swept {
                remnants,
                unfinished: false,
            }),
        }
    }

    #[test]
    fn the_last_words_are_a_line_without_control_characters() {
        let said = |output: &str| done(output, Vec::new()).to_string();
        assert_eq!(said(""), "exit status 1");
        assert_eq!(
            said("one\n\u{1b}[31mtwo\n \n"),
            "exit status 1: \"\u{fffd}[31mtwo\""
        );
        assert_eq!(done("a\nb\r\nc", Vec::new()).last_lines(2), ["b", "c"]);
    }

    #[test]
    fn what_was_left_is_named_and_counted() {
        let left = |pid, killed: Result<(), &str>| Remnant {
            pid,
            comm: "sleep".to_owned(),
            killed: killed.map_err(str::to_owned),
        };
        let told = |left| done("", left).left_behind();
        assert_eq!(told(Vec::new()), None);
        assert_eq!(
            told(vec![left(7, Ok(()))]).as_deref(),
            Some("left 1 process behind, killed: sleep (pid 7)")
        );
        assert_eq!(
            told(vec![left(7, Ok(())), left(8, Err("it is not ours"))]).as_deref(),
            Some(
                "left 2 processes behind, killed: sleep (pid 7), not killed: sleep (pid 8): it is not ours"
            )
        );
        let mut endless = done("", vec![left(7, Ok(()))]);
        endless.left.as_mut().unwrap().unfinished = true;
        let said = endless.left_behind().unwrap();
        assert!(said.ends_with("some may live on"), "{said}");
        let many = told((1..=12).map(|pid| left(pid, Ok(()))).collect());
        assert!(many.is_some_and(|many| many.ends_with("(pid 8), and 4 more")));
    }
}
