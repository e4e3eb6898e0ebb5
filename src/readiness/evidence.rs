//! What a look at a worker can say.

use std::fmt;
use std::time::Duration;

/// A listener that a worker was given, as the observer needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Inode of the socket (`socket:[INODE]` in `/proc/PID/fd`).
    pub inode: u64,
    /// A datagram socket: ready means a pending receive, not an accept.
    pub datagram: bool,
    /// The listener's configured name.
    pub name: String,
    /// Its address as people write it: `0.0.0.0:8080`, `[::]:80`, `unix:/run/web.sock`.
    pub address: String,
    /// Its port, where it has one.
    pub port: Option<u16>,
}

/// The result of one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// No proof yet; look again.
    NotYet,
    /// The worker waits on (or already takes connections from) every listener that counts.
    Accepting(Evidence),
    /// Nothing can be observed here, and why; `ready.settle` has to decide.
    /// Later looks may still see something.
    Blind(String),
}

/// What an observer never saw taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Untaken {
    /// These listeners.
    pub listeners: Vec<Wanted>,
    /// What it could not look at, if anything: there one may have been taken.
    pub unseen: Option<Unseen>,
}

/// The part of a worker that was looked at, where it is not the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// The time was too short for all its threads, or for those that came last.
    Threads {
        /// So many were looked at.
        looked: usize,
        /// So many there were.
        all: usize,
    },
    /// It has more processes than these.
    Processes(usize),
}

/// The kernel's evidence that a worker serves its listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// One entry for each listener that counts, in the order wanted.
    pub waits: Vec<Wait>,
    /// What confirmed an edge-triggered registration; `None` where none was needed.
    pub second_sign: Option<SecondSign>,
}

/// One thread that waits on one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// By which call.
    pub how: How,
    /// The listener's name.
    pub listener: String,
    /// The process that was seen.
    pub pid: i32,
    /// Its thread that was seen.
    pub tid: i32,
    /// The listener is registered edge-triggered.
    pub edge: bool,
}

/// What proved that a thread serves a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Blocked in `epoll_wait(2)` on a set that holds the listener.
    EpollWait,
    /// Blocked in `epoll_pwait(2)` on a set that holds the listener.
    EpollPwait,
    /// Blocked in `epoll_pwait2(2)` on a set that holds the listener.
    EpollPwait2,
    /// Blocked in `accept(2)` on the listener.
    Accept,
    /// Blocked in `accept4(2)` on the listener.
    Accept4,
    /// Blocked in `poll(2)` with the listener in its array.
    Poll,
    /// Blocked in `ppoll(2)` with the listener in its array.
    Ppoll,
    /// Blocked in `select(2)` with the listener in its read set.
    Select,
    /// Blocked in `pselect6(2)` with the listener in its read set.
    Pselect6,
    /// Blocked in `recvfrom(2)` on a datagram listener.
    Recvfrom,
    /// Blocked in `recvmsg(2)` on a datagram listener.
    Recvmsg,
    /// Blocked in `recvmmsg(2)` on a datagram listener.
    Recvmmsg,
    /// Blocked in `read(2)` on a datagram listener.
    Read,
    /// Not seen waiting, but holds a connection that came through the listener.
    Connection,
    /// Not seen waiting, but the listener is in the same level-triggered epoll set as
    /// one from which a connection was taken.
    BusyEpoll,
}

/// What showed that a program with an edge-triggered listener accepts from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondSign {
    /// No thread of the tree ran for this long.
    Rest(Duration),
    /// The tree holds a connection that came through the listener.
    Connection,
    /// Over this long it did next to nothing between its waits (a program with a fast
    /// ticker is never wholly at rest); the share of one core in tenths of a percent.
    LightWork {
        /// How long it was watched.
        over: Duration,
        /// CPU time used, in thousandths of one core.
        permille: u32,
    },
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EpollWait => "epoll_wait",
            Self::EpollPwait => "epoll_pwait",
            Self::EpollPwait2 => "epoll_pwait2",
            Self::Accept => "accept",
            Self::Accept4 => "accept4",
            Self::Poll => "poll",
            Self::Ppoll => "ppoll",
            Self::Select => "select",
            Self::Pselect6 => "pselect6",
            Self::Recvfrom => "recvfrom",
            Self::Recvmsg => "recvmsg",
            Self::Recvmmsg => "recvmmsg",
            Self::Read => "read",
            Self::Connection => "a connection taken",
            Self::BusyEpoll => "a busy epoll set",
        })
    }
}

impl fmt::Display for SecondSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rest(quiet) => write!(f, "at rest for {} ms", quiet.as_millis()),
            Self::Connection => f.write_str("took a connection"),
            Self::LightWork { over, permille } => write!(
                f,
                "{}.{} % of a core over {} ms",
                permille / 10,
                permille % 10,
                over.as_millis()
            ),
        }
    }
}

/// `only 2048 of its 3003 threads were looked at`.
impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads { looked, all } => {
                write!(f, "only {looked} of its {all} threads were looked at")
            }
            Self::Processes(looked) => {
                write!(f, "only {looked} of its processes were looked at")
            }
        }
    }
}

/// `epoll_wait on http, admin (pid 812)`; with a second sign
/// `epoll_pwait on http (pid 812), edge-triggered, at rest for 52 ms`.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last: Option<(How, i32)> = None;
        for wait in &self.waits {
            match last {
                Some(same) if same == (wait.how, wait.pid) => write!(f, ", {}", wait.listener)?,
                Some((_, pid)) => write!(f, " (pid {pid}), {} on {}", wait.how, wait.listener)?,
                None => write!(f, "{} on {}", wait.how, wait.listener)?,
            }
            last = Some((wait.how, wait.pid));
        }
        if let Some((_, pid)) = last {
            write!(f, " (pid {pid})")?;
        }
        match self.second_sign {
            Some(sign) => write!(f, ", edge-triggered, {sign}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(how: How, listener: &str, pid: i32) -> Wait {
        Wait {
            how,
            listener: listener.into(),
            pid,
            tid: pid,
            edge: false,
        }
    }

    #[test]
    fn reads_as_status_shows_it() {
        let mut evidence = Evidence {
            waits: vec![wait(How::EpollWait, "http", 812)],
            second_sign: None,
        };
        assert_eq!(evidence.to_string(), "epoll_wait on http (pid 812)");
        evidence.waits.push(wait(How::EpollWait, "admin", 812));
        assert_eq!(evidence.to_string(), "epoll_wait on http, admin (pid 812)");
        evidence.waits.push(wait(How::Accept4, "raw", 813));
        assert_eq!(
            evidence.to_string(),
            "epoll_wait on http, admin (pid 812), accept4 on raw (pid 813)"
        );
        evidence.waits.truncate(1);
        evidence.second_sign = Some(SecondSign::Rest(Duration::from_millis(52)));
        assert_eq!(
            evidence.to_string(),
            "epoll_wait on http (pid 812), edge-triggered, at rest for 52 ms"
        );
        let light = SecondSign::LightWork {
            over: Duration::from_secs(1),
            permille: 12,
        };
        assert_eq!(light.to_string(), "1.2 % of a core over 1000 ms");
    }
}
