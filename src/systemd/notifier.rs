//! The sender: one datagram a state, never waiting.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::backlog::{Backlog, State};
use super::store::send_with;

/// A watchdog that asks for more than a thousand signs of life a second is a
/// typing error, and must not become a busy loop.
const WATCHDOG_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// `NOTIFY_SOCKET` was not set (or not usable): nobody asked to be told.
    Unset,
    /// The service manager has it.
    Sent,
    /// Its queue is full: kept, and sent before the next message or by
    /// [`Notifier::retry`]. Of several statuses only the newest is kept; a
    /// missed `WATCHDOG=1` or `EXTEND_TIMEOUT_USEC=` is not kept at all.
    Waiting,
    /// It could not be reached, with this errno. Kept as for [`Told::Waiting`]:
    /// a service manager that executes itself anew comes back on the same path.
    Failed(i32),
}

/// Tells the service manager how the master is doing; sd_notify(3).
///
/// It never blocks and never fails the caller: what cannot be sent now waits.
/// Without `NOTIFY_SOCKET` every method is a no-op that says [`Told::Unset`].
#[derive(Debug)]
pub struct Notifier {
    link: Option<Link>,
    problem: Option<String>,
    watchdog_interval: Option<Duration>,
}

#[derive(Debug)]
struct Link {
    socket: UnixDatagram,
    address: SocketAddr,
    backlog: Mutex<Backlog>,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`, once; call it
    /// at start, before there is a second thread. The variables stay set: what a
    /// worker must not see is [`OWN_VARIABLES`](super::OWN_VARIABLES).
    ///
    /// An address that cannot be used is no error (the master runs all the same),
    /// but [`problem`](Self::problem) says it.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var_os(name), std::process::id())
    }

    pub(super) fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
        own_pid: u32,
    ) -> Self {
        let mut notifier = Self {
            link: None,
            problem: None,
            watchdog_interval: None,
        };
        let Some(value) = variable("NOTIFY_SOCKET").filter(|value| !value.is_empty()) else {
            return notifier;
        };
        match Link::open(&value) {
            Ok(link) => notifier.link = Some(link),
            Err(why) => {
                notifier.problem = Some(format!(
                    "NOTIFY_SOCKET={} cannot be used ({why}); \
                     the service manager will not be told what happens here",
                    value.display()
                ));
                return notifier;
            }
        }
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        notifier.watchdog_interval = watchdog_interval(
            text("WATCHDOG_USEC").as_deref(),
            text("WATCHDOG_PID").as_deref(),
            own_pid,
        );
        notifier
    }

    /// Is there a service manager that wants to be told?
    pub fn is_present(&self) -> bool {
        self.link.is_some()
    }

    /// Why `NOTIFY_SOCKET` is set and cannot be used, as a warning to show.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// How often [`watchdog`](Self::watchdog) is to be called: half of
    /// `WATCHDOG_USEC`, as sd_watchdog_enabled(3) recommends. None when no
    /// watchdog is set, or `WATCHDOG_PID` says that it is another process's.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog_interval
    }

    /// `READY=1`: the first generation serves, or a reload is over, well or not.
    pub fn ready(&self, status: &str) -> Told {
        self.state(State::Ready, Some(status))
    }

    /// `RELOADING=1` and `MONOTONIC_USEC=` in one message, as
    /// `Type=notify-reload` demands. [`ready`](Self::ready) must follow.
    pub fn reloading(&self) -> Told {
        let now = clock_gettime(ClockId::Monotonic);
        let stamp_usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.state(State::Reloading(stamp_usec), None)
    }

    /// `STOPPING=1`. Final: a later `READY=1` is not sent any more.
    pub fn stopping(&self, status: &str) -> Told {
        self.state(State::Stopping, Some(status))
    }

    /// `STATUS=`: a sentence for `systemctl status`. Line breaks and other
    /// control characters become spaces, since a line break would begin another
    /// assignment.
    pub fn status(&self, status: &str) -> Told {
        let Some(link) = &self.link else {
            return Told::Unset;
        };
        let mut backlog = link.backlog();
        backlog.set_status(status);
        link.send_backlog(&mut backlog)
    }

    /// `WATCHDOG=1`: the master's loop turns. To be called from that loop and
    /// from nowhere else: a helper thread would hide a hang.
    pub fn watchdog(&self) -> Told {
        self.passing("WATCHDOG=1")
    }

    /// `EXTEND_TIMEOUT_USEC=`: what goes on (a start, a reload, a stop) is
    /// alive and wants to be asked again only after this long, counted from now.
    pub fn extend(&self, by: Duration) -> Told {
        self.passing(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()))
    }

    /// Sends what is still waiting, if anything is. For a timer of the master:
    /// a `READY=1` that met a full queue must not wait for the next event.
    pub fn retry(&self) -> Told {
        let Some(link) = &self.link else {
            return Told::Unset;
        };
        link.send_backlog(&mut link.backlog())
    }

    fn state(&self, state: State, status: Option<&str>) -> Told {
        let Some(link) = &self.link else {
            return Told::Unset;
        };
        let mut backlog = link.backlog();
        if let Some(status) = status {
            backlog.set_status(status);
        }
        backlog.push(state);
        link.send_backlog(&mut backlog)
    }

    /// Sends a descriptor with it: not kept when it cannot be sent now, since whoever has it can try again.
    pub(super) fn with_descriptor(&self, message: &str, fd: BorrowedFd<'_>) -> Told {
        let Some(link) = &self.link else {
            return Told::Unset;
        };
        match link.send_backlog(&mut link.backlog()) {
            Told::Sent => Link::told(send_with(&link.socket, &link.address, message, fd)),
            not_sent => not_sent,
        }
    }

    /// Sends what is worthless later: not kept when it cannot be sent now.
    pub(super) fn passing(&self, message: &str) -> Told {
        let Some(link) = &self.link else {
            return Told::Unset;
        };
        // Also the moment to get rid of what is waiting; and when that meets a
        // full queue, there is no place for this one either.
        match link.send_backlog(&mut link.backlog()) {
            Told::Sent => Link::told(link.send(message)),
            not_sent => not_sent,
        }
    }
}

impl Link {
    /// `NOTIFY_SOCKET` is a path that begins with `/`, or an abstract name behind `@`.
    fn open(value: &OsStr) -> io::Result<Self> {
        let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        let address = match value.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(value)?,
            bytes if bytes.starts_with(b"vsock:") => {
                return refuse("vsock addresses are not supported");
            }
            _ => return refuse("neither a path that begins with / nor an abstract name behind @"),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            address,
            backlog: Mutex::default(),
        })
    }

    /// A poisoned lock only means that a caller panicked between two messages.
    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not connected, but addressed each time: the service manager may have
    /// bound its socket anew since the last message.
    fn send(&self, message: &str) -> io::Result<()> {
        loop {
            match self.socket.send_to_addr(message.as_bytes(), &self.address) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn send_backlog(&self, backlog: &mut Backlog) -> Told {
        while let Some((message, states)) = backlog.next_message() {
            match self.send(&message) {
                Ok(()) => backlog.sent(states),
                failed => return Self::told(failed),
            }
        }
        Told::Sent
    }

    fn told(result: io::Result<()>) -> Told {
        match result {
            Ok(()) => Told::Sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Told::Waiting,
            Err(error) => match error.raw_os_error() {
                Some(errno) if errno == rustix::io::Errno::NOBUFS.raw_os_error() => Told::Waiting,
                errno => Told::Failed(errno.unwrap_or(0)),
            },
        }
    }
}

/// Half of the watchdog's time, if there is a watchdog and it is ours.
fn watchdog_interval(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    let usec: u64 = usec?.parse().ok()?;
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    // 0 and the greatest value mean "no watchdog" (sd_watchdog_enabled(3)).
    let is_set = usec != 0 && usec != u64::MAX;
    (is_ours && is_set).then(|| (Duration::from_micros(usec) / 2).max(WATCHDOG_INTERVAL_MIN))
}
