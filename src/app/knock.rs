//! A connection to a listener of our own, so that a thread wakes up that sits in accept(2) on it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, getsockname, socket_with,
};

/// handover binds a unix socket to `.NAME.handover` and renames it, so that nobody sees it before
/// it listens; the kernel goes on to call it by that name.
const STAGED: &str = ".handover";

/// A connection under way. It ends when dropped.
#[derive(Debug)]
pub(super) struct Knock {
    fd: OwnedFd,
    unix: bool,
}

impl Knock {
    /// What the acceptor sees as its peer; for a unix socket, whose peers have no address, any.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        if self.unix {
            return Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
        }
        SocketAddr::try_from(getsockname(&self.fd).ok()?).ok()
    }
}

/// Connects to where `listener` listens, without waiting.
pub(super) fn knock(listener: BorrowedFd<'_>) -> io::Result<Knock> {
    let any = getsockname(listener)?;
    if let Ok(address) = SocketAddr::try_from(any.clone()) {
        return match address {
            SocketAddr::V4(_) => connected(AddressFamily::INET, &reachable(address)),
            SocketAddr::V6(_) => connected(AddressFamily::INET6, &reachable(address)),
        };
    }
    let unix = SocketAddrUnix::try_from(any)?;
    let Some(path) = unix.path() else {
        return connected(AddressFamily::UNIX, &unix);
    };
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes()));
    match connected(AddressFamily::UNIX, &SocketAddrUnix::new(&path)?) {
        Err(_) => {
            let renamed = renamed(&path).ok_or(io::ErrorKind::NotFound)?;
            connected(AddressFamily::UNIX, &SocketAddrUnix::new(&renamed)?)
        }
        knock => knock,
    }
}

fn connected(family: AddressFamily, address: &impl SocketAddrArg) -> io::Result<Knock> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&fd, address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(Knock {
            fd,
            unix: family == AddressFamily::UNIX,
        }),
        Err(errno) => Err(errno.into()),
    }
}

/// A listener on every address is reached on this machine's own.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The name that handover gave to a socket after it was bound.
fn renamed(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_prefix('.')?.strip_suffix(STAGED)?;
    Some(path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_reached_wherever_it_was_bound() {
        use std::os::fd::AsFd;
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = std::net::TcpListener::bind(address).expect("a port");
            let knock = knock(listener.as_fd()).expect("reached");
            let (_, peer) = listener.accept().expect("a connection");
            assert_eq!(knock.address(), Some(peer));
        }
        let dir = tempfile::tempdir().expect("a directory");
        let staged = dir.path().join(".web.sock.handover");
        let listener = UnixListener::bind(&staged).expect("a socket");
        drop(knock(listener.as_fd()).expect("reached"));
        listener.accept().expect("a connection");
        std::fs::rename(&staged, dir.path().join("web.sock")).expect("a rename");
        drop(knock(listener.as_fd()).expect("reached by its new name"));
        listener.accept().expect("a connection");
        std::fs::remove_file(dir.path().join("web.sock")).expect("it is there");
        knock(listener.as_fd()).expect_err("it has no name any more");

        let name = format!("handover-knock-test-{}", std::process::id());
        let address = UnixAddr::from_abstract_name(name).expect("an address");
        let listener = UnixListener::bind_addr(&address).expect("a socket");
        drop(knock(listener.as_fd()).expect("reached"));
        listener.accept().expect("a connection");
    }

    #[test]
    fn names_lead_back_to_where_handover_put_the_socket() {
        let staged = Path::new("/run/web/.web.sock.handover");
        assert_eq!(renamed(staged), Some(PathBuf::from("/run/web/web.sock")));
        assert_eq!(renamed(Path::new("/run/web.sock")), None);
    }

    #[test]
    fn every_address_of_this_machine_is_reached_by_its_own() {
        let own = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(own("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(own("[::]:80"), "[::1]:80");
        assert_eq!(own("127.0.0.2:80"), "127.0.0.2:80");
    }
}
