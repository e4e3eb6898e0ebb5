//! What systemd passes by `LISTEN_FDS` (sd_listen_fds(3)).

use std::ffi::OsString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use listenfd::ListenFd;
use nix::libc;
use rustix::net::{AddressFamily, SocketType, sockopt};
use socket2::SockRef;

use super::address::Local;
use super::error::SocketError;

/// More than this is not a service but a mistake, and would be allocated unseen.
const ANNOUNCED_MAX: usize = 4096;
/// The name that systemd gives where it knows none.
const UNNAMED: &str = "unknown";

/// The descriptors that were passed to this process, with their names.
#[derive(Debug, Default)]
pub struct Inherited {
    pub(super) held: Vec<Held>,
    pub(super) unfit: Vec<Unfit>,
}

/// A socket that can be served.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) fd: OwnedFd,
    pub(super) local: Local,
    pub(super) datagram: bool,
    /// IPv6 that takes IPv4 too
    pub(super) dual_stack: bool,
}

/// A descriptor that cannot be served: what it is, and what to do.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) name: String,
    pub(super) what: String,
}

impl Inherited {
    /// Takes what the environment announces: call it first thing in `main`, before any thread
    /// exists, for it removes `LISTEN_FDS` and `LISTEN_PID` when they are meant for this process.
    ///
    /// Announcements for another process (`LISTEN_PID`, `LISTEN_PIDFDID`) are none.
    ///
    /// # Errors
    /// When the variables contradict each other.
    pub fn from_env() -> Result<Self, SocketError> {
        let Some(names) = announced(
            |key| std::env::var_os(key),
            std::process::id(),
            own_pidfd_id,
        )?
        else {
            return Ok(Self::none());
        };
        let mut fds = ListenFd::from_env();
        if fds.len() != names.len() {
            return Err(SocketError::Environment(format!(
                "{} were announced and {} taken",
                names.len(),
                fds.len()
            )));
        }
        let mut inherited = Self::none();
        for (index, name) in names.into_iter().enumerate() {
            match take(&mut fds, index) {
                Some(fd) => inherited.add(name, fd),
                None => inherited.refuse(name, what_else(&mut fds, index)),
            }
        }
        Ok(inherited)
    }

    /// Nothing was passed.
    pub fn none() -> Self {
        Self::default()
    }

    /// These descriptors, with these names, as if they had been announced.
    pub fn of(fds: impl IntoIterator<Item = (String, OwnedFd)>) -> Self {
        let mut inherited = Self::none();
        for (name, fd) in fds {
            inherited.add(name, fd);
        }
        inherited
    }

    /// The names of all of them, in order, those included that cannot be served.
    pub fn names(&self) -> Vec<String> {
        let held = self.held.iter().map(|held| held.name.clone());
        held.chain(self.unfit.iter().map(|unfit| unfit.name.clone()))
            .collect()
    }

    fn add(&mut self, name: String, fd: OwnedFd) {
        match examine(&fd) {
            Err(what) => self.refuse(name, what),
            // One socket under two descriptors (a .socket unit and the fd store) is one listener.
            Ok(_) if self.has(&fd) => {}
            Ok((local, datagram)) => {
                let dual_stack = SockRef::from(&fd).only_v6().is_ok_and(|only| !only);
                self.held.push(Held {
                    name,
                    fd,
                    local,
                    datagram,
                    dual_stack,
                });
            }
        }
    }

    fn has(&self, fd: &OwnedFd) -> bool {
        let cookie = |fd: &OwnedFd| sockopt::socket_cookie(fd).ok();
        let new = cookie(fd);
        new.is_some() && self.held.iter().any(|held| cookie(&held.fd) == new)
    }

    fn refuse(&mut self, name: String, what: String) {
        self.unfit.push(Unfit { name, what });
    }
}

/// The names of the descriptors that are announced to the process `pid`, in order.
fn announced(
    variable: impl Fn(&str) -> Option<OsString>,
    pid: u32,
    pidfd_id: impl FnOnce() -> Option<u64>,
) -> Result<Option<Vec<String>>, SocketError> {
    let text = |key: &str| variable(key).map(|value| value.to_string_lossy().into_owned());
    let (Some(for_pid), Some(count)) = (text("LISTEN_PID"), text("LISTEN_FDS")) else {
        return Ok(None);
    };
    let wrong = |key: &str, value: &str, why: &str| {
        SocketError::Environment(format!("{key}={value} {why}"))
    };
    let not_a_number = "is not a number";
    if for_pid
        .parse::<u32>()
        .map_err(|_| wrong("LISTEN_PID", &for_pid, not_a_number))?
        != pid
    {
        return Ok(None);
    }
    // systemd 258: PIDs are used again, inodes of pidfds are not.
    if let Some(id) = text("LISTEN_PIDFDID")
        && let Some(own) = pidfd_id()
        && id
            .parse::<u64>()
            .map_err(|_| wrong("LISTEN_PIDFDID", &id, not_a_number))?
            != own
    {
        return Ok(None);
    }
    let number = count
        .parse::<usize>()
        .map_err(|_| wrong("LISTEN_FDS", &count, not_a_number))?;
    if number > ANNOUNCED_MAX {
        let why = format!("is above {ANNOUNCED_MAX}");
        return Err(wrong("LISTEN_FDS", &count, &why));
    }
    let names: Vec<String> = match text("LISTEN_FDNAMES") {
        Some(all) if number > 0 => all.split(':').map(str::to_owned).collect(),
        _ => vec![UNNAMED.to_owned(); number],
    };
    if names.len() != number {
        let why = format!("has {} names for {number} descriptors", names.len());
        return Err(wrong("LISTEN_FDNAMES", &names.join(":"), &why));
    }
    let named = |name: String| {
        if name.is_empty() {
            UNNAMED.to_owned()
        } else {
            name
        }
    };
    Ok(Some(names.into_iter().map(named).collect()))
}

/// The inode of a pidfd of this process, unique until the next boot (pidfs, Linux 6.9).
fn own_pidfd_id() -> Option<u64> {
    let own = rustix::process::getpid();
    let pidfd = rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty()).ok()?;
    Some(rustix::fs::fstat(pidfd).ok()?.st_ino)
}

/// The descriptor as a socket with close-on-exec, when it is one of a kind that can be served.
fn take(fds: &mut ListenFd, index: usize) -> Option<OwnedFd> {
    const KINDS: [(i32, i32); 5] = [
        (libc::AF_INET, libc::SOCK_STREAM),
        (libc::AF_UNIX, libc::SOCK_STREAM),
        (libc::AF_INET, libc::SOCK_DGRAM),
        (libc::AF_UNIX, libc::SOCK_DGRAM),
        (libc::AF_UNIX, libc::SOCK_SEQPACKET),
    ];
    KINDS
        .iter()
        .find_map(|(family, kind)| take_as(fds, index, *family, *kind))
}

fn take_as<T: FromRawFd>(fds: &mut ListenFd, index: usize, family: i32, kind: i32) -> Option<T> {
    // AF_INET stands for both families of the internet there.
    fds.take_custom(index, family, kind, "socket")
        .ok()
        .flatten()
}

/// What a descriptor is that is no socket for us. It stays open, for nobody here owns it.
fn what_else(fds: &mut ListenFd, index: usize) -> String {
    let number = fds.take_raw_fd(index).ok().flatten();
    let target = number.map(|n| std::fs::read_link(format!("/proc/self/fd/{n}")));
    match target {
        Some(Ok(target)) if target.to_string_lossy().starts_with("socket:") => {
            "a socket of a kind that cannot be served here (TCP, UDP and unix sockets can)"
                .to_owned()
        }
        Some(Ok(target)) => format!(
            "not a socket but {}; only sockets can be served (ListenStream=, ListenDatagram=)",
            target.display()
        ),
        _ => "not open".to_owned(),
    }
}

/// Where a socket is bound and whether it takes datagrams; or what keeps it from being served.
fn examine(fd: &OwnedFd) -> Result<(Local, bool), String> {
    let failed = |error: io::Error| format!("a socket that cannot be examined: {error}");
    let datagram = match sockopt::socket_type(fd) {
        Ok(kind) => kind == SocketType::DGRAM,
        Err(_) => return Err("not a socket; only sockets can be served".to_owned()),
    };
    let family = sockopt::socket_domain(fd).map_err(|e| failed(e.into()))?;
    if ![
        AddressFamily::INET,
        AddressFamily::INET6,
        AddressFamily::UNIX,
    ]
    .contains(&family)
    {
        return Err(
            "a socket of a kind that cannot be served here (TCP, UDP and unix sockets can)"
                .to_owned(),
        );
    }
    let listens = sockopt::socket_acceptconn(fd).map_err(|e| failed(e.into()))?;
    if !datagram && !listens {
        return Err(
            "a connection and not a listening socket; set Accept=no in the .socket unit".to_owned(),
        );
    }
    let local = Local::of(fd, datagram).map_err(failed)?;
    Ok((local, datagram))
}

#[cfg(test)]
#[path = "inherit_tests.rs"]
mod tests;
