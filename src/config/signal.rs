//! Signals by name, as in kill(1).

use std::fmt;
use std::str::FromStr;

use nix::sys::signal::Signal as Os;

/// A signal that may ask a worker to finish.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(Os);

impl Signal {
    /// SIGTERM.
    pub const TERM: Signal = Signal(Os::SIGTERM);
    /// SIGINT.
    pub const INT: Signal = Signal(Os::SIGINT);
    /// SIGQUIT.
    pub const QUIT: Signal = Signal(Os::SIGQUIT);
    /// SIGHUP.
    pub const HUP: Signal = Signal(Os::SIGHUP);
    /// SIGUSR1.
    pub const USR1: Signal = Signal(Os::SIGUSR1);
    /// SIGUSR2.
    pub const USR2: Signal = Signal(Os::SIGUSR2);
    /// SIGWINCH (nginx and Apache: finish gracefully).
    pub const WINCH: Signal = Signal(Os::SIGWINCH);

    /// Those that make sense as a request to finish.
    pub const ALL: [Signal; 12] = [
        Signal::TERM,
        Signal::INT,
        Signal::QUIT,
        Signal::HUP,
        Signal::USR1,
        Signal::USR2,
        Signal::WINCH,
        Signal(Os::SIGABRT),
        Signal(Os::SIGALRM),
        Signal(Os::SIGPWR),
        Signal(Os::SIGTTIN),
        Signal(Os::SIGTTOU),
    ];

    /// Without `SIG`: `TERM`.
    pub fn name(self) -> &'static str {
        self.0.as_str().trim_start_matches("SIG")
    }

    /// The number on this machine (signal(7)).
    pub fn number(self) -> i32 {
        self.0 as i32
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for Signal {
    type Err = ();

    /// Reads `TERM` and `SIGTERM`.
    fn from_str(text: &str) -> Result<Signal, ()> {
        let bare = text.strip_prefix("SIG").unwrap_or(text);
        Signal::ALL
            .into_iter()
            .find(|signal| signal.name() == bare)
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!("TERM".parse(), Ok(Signal::TERM));
        assert_eq!("SIGQUIT".parse(), Ok(Signal::QUIT));
        assert_eq!(Signal::TERM.number(), 15);
        assert_eq!(Signal::WINCH.to_string(), "WINCH");
        assert_eq!("KILL".parse::<Signal>(), Err(()));
        assert_eq!("term".parse::<Signal>(), Err(()));
        for signal in Signal::ALL {
            assert_eq!(signal.name().parse(), Ok(signal));
        }
    }
}
