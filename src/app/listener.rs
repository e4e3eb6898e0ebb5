//! A listening socket with its name, inherited or bound here.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::net::{SocketType, getsockname, sockopt};

use super::inherited;

/// A listening stream socket, TCP or unix.
///
/// When a manager passed it, its open file description is shared: with the manager, with the
/// other workers, and with the generations before and after this one. **Never change its flags**
/// (`set_nonblocking`), and never call `shutdown` or `listen` on it: that would be done to all of
/// them. [`serve`](super::serve) needs no flag; see there.
#[derive(Debug)]
pub struct Listener {
    name: String,
    fd: OwnedFd,
}

/// The first half of [`Listener::named`].
#[derive(Debug)]
#[must_use = "say where it comes from: or_bind, inherited"]
pub struct Named<'a>(&'a str);

impl Listener {
    /// A listener by its name: `[[listen]] name`, `--listen NAME=…`, `FileDescriptorName=`.
    pub fn named(name: &str) -> Named<'_> {
        Named(name)
    }

    pub(super) fn of(name: String, fd: OwnedFd) -> Self {
        Self { name, fd }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens, in words: `127.0.0.1:8080`, `unix:/run/web.sock`, `unix:@web`.
    ///
    /// # Errors
    /// What getsockname(2) says.
    pub fn address(&self) -> io::Result<String> {
        let any = getsockname(&self.fd)?;
        if let Ok(address) = SocketAddr::try_from(any.clone()) {
            return Ok(address.to_string());
        }
        let unix = rustix::net::SocketAddrUnix::try_from(any)?;
        Ok(match (unix.path(), unix.abstract_name()) {
            (Some(path), _) => format!("unix:{}", path.to_string_lossy()),
            (None, Some(name)) => format!("unix:@{}", name.escape_ascii()),
            (None, None) => "unix:".to_owned(),
        })
    }

    /// The descriptor itself, for another server than [`serve`](super::serve): an
    /// `std::net::TcpListener` and an `std::os::unix::net::UnixListener` can be made `From` it.
    /// Leave its flags as they are; tokio's own listeners need `nonblocking = true` in `[[listen]]`.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl Named<'_> {
    /// The listener that the manager passed under this name, each once.
    ///
    /// # Errors
    /// `NotFound` when there is none, naming those that there are.
    pub fn inherited(self) -> io::Result<Listener> {
        let name = self.0;
        let found =
            inherited::ask(|all| (all.listener(name), all.is_announced().then(|| all.names())))?;
        let missing = |what: String| io::Error::new(io::ErrorKind::NotFound, what);
        match found {
            (Some(listener), _) => Ok(listener),
            (None, Some(names)) => Err(missing(format!(
                "no listening socket named {name:?} was passed (or it is taken already); left are: \
                 {names}; name it in the manager: --listen {name}=ADDRESS, or name = {name:?} in [[listen]]"
            ))),
            (None, None) => Err(missing(format!(
                "no listening socket {name:?}, since no manager started this process (LISTEN_FDS, \
                 LISTEN_PID): handover run --listen {name}=ADDRESS -- PROGRAM"
            ))),
        }
    }

    /// The inherited listener; where no manager started this process, a socket of our own at
    /// `address`: `HOST:PORT` or `unix:PATH`.
    ///
    /// Under a manager that passed no such name this is an error and not a fallback: a second
    /// socket beside the shared one would lose connections in every upgrade.
    ///
    /// # Errors
    /// As [`inherited`](Self::inherited) under a manager; else what the kernel says to the address.
    pub fn or_bind(self, address: &str) -> io::Result<Listener> {
        if inherited::ask(|all| all.is_announced())? {
            return self.inherited();
        }
        let fd: io::Result<OwnedFd> = match address.strip_prefix("unix:") {
            Some(path) => UnixListener::bind(path).map(Into::into),
            None => std::net::TcpListener::bind(address).map(Into::into),
        };
        let explain = |error: io::Error| {
            io::Error::new(error.kind(), format!("listen on {address}: {error}"))
        };
        Ok(Listener::of(self.0.to_owned(), fd.map_err(explain)?))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<std::net::TcpListener> for Listener {
    fn from(listener: std::net::TcpListener) -> Self {
        Self::of("tcp".to_owned(), listener.into())
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::of("unix".to_owned(), listener.into())
    }
}

impl fmt::Display for Listener {
    /// Its name and, where it can be asked, its address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Ok(address) => write!(f, "{} ({address})", self.name),
            Err(_) => f.write_str(&self.name),
        }
    }
}

/// Is this a stream socket that listens? (Datagram sockets and stored files are none.)
pub(super) fn is_listening(fd: &OwnedFd) -> bool {
    sockopt::socket_type(fd) == Ok(SocketType::STREAM) && sockopt::socket_acceptconn(fd) == Ok(true)
}
