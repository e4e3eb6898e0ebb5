//! How a process ended, in words.

use std::fmt;

use rustix::process::WaitIdStatus;

/// How a process ended (waitid(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It called exit(3) with this status, 0 to 255.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        number: i32,
        /// Whether the kernel says that a core was dumped.
        core: bool,
    },
    /// It ended, and nobody here was its parent: the kernel told somebody else how.
    Unknown,
}

impl Exit {
    /// Whether it ended with status 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// From what wait(2) gives.
    pub(super) fn from_wait_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Code(status >> 8 & 0xff),
            number => Self::Signal {
                number,
                core: status & 0x80 != 0,
            },
        }
    }

    /// From what waitid(2) says about a child that ended; `None` when it only stopped or went on.
    pub(super) fn from_status(status: &WaitIdStatus) -> Option<Self> {
        if let Some(code) = status.exit_status() {
            return Some(Self::Code(code));
        }
        Some(Self::Signal {
            number: status.terminating_signal()?,
            core: status.dumped(),
        })
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Unknown => f.write_str("exit status unknown"),
            Self::Signal { number, core } => {
                write!(f, "killed by {}", signal_name(*number))?;
                if *core {
                    f.write_str(" (core dumped)")
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// The name of a signal (`SIGTERM`, `SIGRTMIN+3`), or `signal N` when it has none.
pub fn signal_name(number: i32) -> String {
    if let Ok(signal) = nix::sys::signal::Signal::try_from(number) {
        return signal.as_str().to_owned();
    }
    let (first, last) = (nix::libc::SIGRTMIN(), nix::libc::SIGRTMAX());
    match number {
        n if n == first => "SIGRTMIN".to_owned(),
        n if n == last => "SIGRTMAX".to_owned(),
        n if n > first && n < last => format!("SIGRTMIN+{}", n - first),
        n => format!("signal {n}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_wait_gives_it() {
        let signal = |number, core| Exit::Signal { number, core };
        assert_eq!(Exit::from_wait_status(0x0300), Exit::Code(3));
        assert_eq!(Exit::from_wait_status(0), Exit::Code(0));
        assert_eq!(Exit::from_wait_status(15), signal(15, false));
        assert_eq!(Exit::from_wait_status(11 | 0x80), signal(11, true));
    }

    #[test]
    fn exits_are_told_in_words() {
        let signal = |number, core| Exit::Signal { number, core }.to_string();
        assert_eq!(Exit::Code(3).to_string(), "exit status 3");
        assert_eq!(signal(11, true), "killed by SIGSEGV (core dumped)");
        assert_eq!(signal(9, false), "killed by SIGKILL");
        assert_eq!(signal(34, false), "killed by SIGRTMIN");
        assert_eq!(signal(37, false), "killed by SIGRTMIN+3");
        assert_eq!(signal(64, false), "killed by SIGRTMAX");
        assert_eq!(signal(99, false), "killed by signal 99");
        assert_eq!(Exit::Unknown.to_string(), "exit status unknown");
        assert!(Exit::Code(0).is_success() && !Exit::Code(1).is_success());
        assert!(!Exit::Unknown.is_success());
    }
}
