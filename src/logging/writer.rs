//! The writer's side: one entry at a time, and what to do when it cannot be written.

use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::journal::{self, Journal};
use super::queue::Entry;
use super::text::{self, Look};
use super::{Format, Level, Record, Stamped, clock};

/// Where lines come out.
#[derive(Debug)]
enum Output {
    Text(Look),
    Json,
    Journal(Journal),
}

#[derive(Debug)]
pub(super) struct Writer {
    output: Output,
    service: String,
    stderr: OwnedFd,
    /// Lines that could not be written since the last one that could.
    lost: u64,
}

impl Writer {
    /// Chooses where lines come out; see [`Sink::start`](super::Sink::start).
    pub(super) fn open(
        stderr: OwnedFd,
        journal_socket: &Path,
        format: Format,
        service: &str,
    ) -> io::Result<Self> {
        Ok(Self {
            output: output(&stderr, journal_socket, format, service)?,
            service: service.to_owned(),
            stderr,
            lost: 0,
        })
    }

    /// Writes one entry, waiting as long as its reader makes it wait: this is what
    /// the thread is for. False when a line is lost by it.
    pub(super) fn write_entry(&mut self, entry: &Entry) -> bool {
        match entry {
            Entry::Record(stamped) => {
                let written = self.confess() && self.write(stamped).is_ok();
                // Not: a closed pipe, a terminal that is gone, a full disk. Counted,
                // and tried again with the next line, since disks are emptied.
                self.lost += u64::from(!written);
                written
            }
            Entry::Dropped(lines) => {
                self.lost += lines;
                self.confess();
                true
            }
        }
    }

    /// Tells how many lines are missing, if any are. False when that cannot be
    /// written either.
    fn confess(&mut self) -> bool {
        if self.lost == 0 {
            return true;
        }
        let lines = if self.lost == 1 { "line" } else { "lines" };
        let mut record = Record::new(
            Level::Warn,
            format!("… {} {lines} dropped, the log could not keep up", self.lost),
        );
        record.event = Some("log_dropped".to_owned());
        let at = SystemTime::now();
        let told = self.write(&Stamped { at, record }).is_ok();
        if told {
            self.lost = 0;
        }
        told
    }

    fn write(&self, stamped: &Stamped) -> io::Result<()> {
        let line = match &self.output {
            Output::Text(look) => text::text(stamped, &self.service, look),
            Output::Json => text::json(stamped, &self.service),
            Output::Journal(journal) => match journal.send(&stamped.record) {
                Ok(()) => return Ok(()),
                // journald is away: standard error is what is left.
                Err(_) => text::text(stamped, &self.service, &Look::Plain),
            },
        };
        write_all(&self.stderr, line.as_bytes())
    }
}

/// One line, one write where the kernel lets it be: others write there, too.
fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Somebody who shares this terminal or pipe made it non-blocking.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(fd, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn output(
    stderr: &OwnedFd,
    journal_socket: &Path,
    format: Format,
    service: &str,
) -> io::Result<Output> {
    let journal = || {
        let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let journal = Journal::new(journal_socket, service, journal::unit_of(&cgroups))?;
        journal.probe()?;
        Ok(Output::Journal(journal))
    };
    match format {
        Format::Json => Ok(Output::Json),
        Format::Text => Ok(Output::Text(look(stderr))),
        Format::Auto => {
            let stream = env::var("JOURNAL_STREAM").ok();
            match journal::is_stream(stream.as_deref(), stderr) {
                true => Ok(journal().unwrap_or(Output::Text(Look::Plain))),
                false => Ok(Output::Text(look(stderr))),
            }
        }
        Format::Journald => journal().map_err(|error: io::Error| {
            io::Error::new(
                error.kind(),
                format!(
                    "the log is to go to the journal, but {} does not answer ({error}): \
                     use --log-format text",
                    journal_socket.display()
                ),
            )
        }),
    }
}

/// Colour as <https://no-color.org> has it.
fn look(stderr: &OwnedFd) -> Look {
    if !stderr.is_terminal() {
        return Look::Plain;
    }
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
    Look::Terminal {
        zone: clock::local_zone(env::var_os("TZ").as_deref()),
        colour: !no_color && !dumb,
    }
}
