//! What the tests of this room share.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;

use super::{Inherited, Listener, open};
use crate::config::{Address, Host, HostPort, Listen};

/// A free port of 127.0.0.1.
pub(super) fn loopback(port: u16) -> HostPort {
    HostPort {
        host: Host::Ip(Ipv4Addr::LOCALHOST.into()),
        port,
    }
}

pub(super) fn tcp(name: &str, port: u16) -> Listen {
    Listen::new(name, Address::Tcp(loopback(port)))
}

pub(super) fn udp(name: &str) -> Listen {
    Listen::new(name, Address::Udp(loopback(0)))
}

pub(super) fn unix(name: &str, path: &Path) -> Listen {
    Listen::new(name, Address::Unix(path.to_owned()))
}

/// Opens entries that need nothing from systemd.
pub(super) fn open_all(entries: &[Listen]) -> Vec<Listener> {
    open(entries, Inherited::none(), None).unwrap().0
}

pub(super) fn open_one(entry: Listen) -> Listener {
    open_all(&[entry]).remove(0)
}

/// The same open file description under another number: what a worker holds.
pub(super) fn worker_copy(listener: &Listener) -> OwnedFd {
    listener.fd().try_clone_to_owned().unwrap()
}

/// What a worker does that "closes" a shared listener.
pub(super) fn shut_down(fd: &OwnedFd) {
    // ENOTCONN for a datagram socket, which is shut down all the same.
    let _ = SockRef::from(fd).shutdown(std::net::Shutdown::Both);
}

/// Whether `fd` becomes readable within `patience`.
pub(super) fn readable(fd: impl AsFd, patience: Duration) -> bool {
    let fd = fd.as_fd();
    let timeout = Timespec::try_from(patience).unwrap();
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).unwrap() > 0
}

/// Long enough for a loaded machine; a test that passes never waits for it.
pub(super) const SOON: Duration = Duration::from_secs(10);
/// How long nothing must happen.
pub(super) const A_WHILE: Duration = Duration::from_millis(100);
