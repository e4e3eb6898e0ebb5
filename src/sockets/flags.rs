//! What of the shared open file description a worker can change under the others' feet.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::net::sockopt::{Timeout, socket_timeout};

/// A worker changed what all generations share (FAILURES 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagChange {
    /// the listener's name
    pub listener: String,
    /// "O_NONBLOCK", "O_ASYNC" or "SO_RCVTIMEO"
    pub option: &'static str,
    /// what it was
    pub from: String,
    /// what it is now
    pub to: String,
}

impl fmt::Display for FlagChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            listener,
            option,
            from,
            to,
        } = self;
        write!(
            f,
            "a worker changed {option} of listener {listener} from {from} to {to}, for every \
             generation that shares it: {}",
            self.what_follows()
        )
    }
}

impl FlagChange {
    /// Many runtimes do it to every socket that they get, and most programs never notice.
    pub fn is_usual(&self) -> bool {
        self.option == "O_NONBLOCK" && self.to == "on"
    }

    /// Event loops hang where they counted on the flag.
    pub fn makes_block(&self) -> bool {
        self.option == "O_NONBLOCK" && self.to == "off"
    }

    /// What it means, and what to do.
    fn what_follows(&self) -> &'static str {
        match (self.option, self.to.as_str()) {
            ("O_NONBLOCK", "on") => {
                "harmless unless another generation blocks in accept(2); where none does, \
                 `nonblocking = true` in [[listen]] sets it from the start"
            }
            ("O_NONBLOCK", _) => {
                "an event loop of another generation may now hang in accept(2); keep the program \
                 from changing it, or set `nonblocking = false` in [[listen]] where all of them block"
            }
            ("SO_RCVTIMEO", _) => {
                "accept(2) of another generation may now fail with EAGAIN; keep the program from \
                 changing it"
            }
            _ => "signals now go to that worker; keep the program from changing it",
        }
    }
}

/// The state that is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flags {
    nonblocking: bool,
    signals: bool,
    timeout: Option<Duration>,
}

impl Flags {
    pub(super) fn of(fd: impl AsFd) -> io::Result<Self> {
        let flags = fcntl_getfl(&fd)?;
        Ok(Self {
            nonblocking: flags.contains(OFlags::NONBLOCK),
            // O_ASYNC; rustix has no name for it on Linux.
            signals: flags.bits() & nix::libc::O_ASYNC as u32 != 0,
            timeout: socket_timeout(&fd, Timeout::Recv)?,
        })
    }

    pub(super) fn nonblocking(&self) -> bool {
        self.nonblocking
    }

    /// The first difference to `now`, which is taken over.
    pub(super) fn next_change(&mut self, now: &Flags, listener: String) -> Option<FlagChange> {
        let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
        let time = |t: Option<Duration>| t.map_or_else(|| "none".to_owned(), |t| format!("{t:?}"));
        let (option, from, to) = if self.nonblocking != now.nonblocking {
            let from = std::mem::replace(&mut self.nonblocking, now.nonblocking);
            ("O_NONBLOCK", on_off(from), on_off(now.nonblocking))
        } else if self.signals != now.signals {
            let from = std::mem::replace(&mut self.signals, now.signals);
            ("O_ASYNC", on_off(from), on_off(now.signals))
        } else if self.timeout != now.timeout {
            let from = std::mem::replace(&mut self.timeout, now.timeout);
            ("SO_RCVTIMEO", time(from), time(now.timeout))
        } else {
            return None;
        };
        Some(FlagChange {
            listener,
            option,
            from,
            to,
        })
    }
}
