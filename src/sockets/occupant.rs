//! Who is at the path of a unix socket: nobody, a dead socket, a live owner, something else.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use super::error::Fault;
use super::holder::{self, Holder};

/// `sun_path` has 108 bytes with its NUL (unix(7)).
pub(super) const PATH_BYTES_MAX: usize = 107;

/// Who is at a path before it is bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Occupant {
    Nobody,
    Stale,
    Live(Vec<Holder>),
    NotASocket,
}

/// An error for whoever wants to bind `path`, where that would take it from somebody.
pub(super) fn refuse_unless_free(path: &Path, occupant: &Occupant) -> Result<(), Fault> {
    match occupant {
        Occupant::Nobody | Occupant::Stale => Ok(()),
        Occupant::NotASocket => Err(Fault::NotASocket(path.to_owned())),
        Occupant::Live(holders) => Err(Fault::LivePath {
            path: path.to_owned(),
            holders: holders.clone(),
        }),
    }
}

/// Looks, and asks by connect(2) whether somebody listens; never waits.
pub(super) fn occupant(path: &Path) -> io::Result<Occupant> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nobody),
        Err(error) => return Err(error),
        Ok(meta) if !meta.file_type().is_socket() => return Ok(Occupant::NotASocket),
        Ok(_) => {}
    }
    // Not blocking: a live owner whose queue is full would keep us waiting.
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    let (address, _directory) = sock_addr(path)?;
    let Err(error) = probe.connect(&address) else {
        return Ok(Occupant::Live(owners(path, Some(&probe))));
    };
    match Errno::from_io_error(&error) {
        Some(Errno::CONNREFUSED) => Ok(Occupant::Stale),
        Some(Errno::NOENT) => Ok(Occupant::Nobody),
        Some(Errno::AGAIN | Errno::PROTOTYPE | Errno::INPROGRESS) => {
            Ok(Occupant::Live(owners(path, None)))
        }
        _ => Err(error),
    }
}

/// Who serves the path: the processes that hold its socket, else the one that called listen(2).
fn owners(path: &Path, connected: Option<&Socket>) -> Vec<Holder> {
    let holders = holder::of_path(path);
    if !holders.is_empty() {
        return holders;
    }
    let peer = connected.and_then(|probe| rustix::net::sockopt::socket_peercred(probe).ok());
    peer.map(|peer| Holder::process(peer.pid.as_raw_nonzero().get()))
        .into_iter()
        .collect()
}

/// The address of a path; a longer one than fits goes by a descriptor of its directory, which the
/// caller keeps open until the address was used.
pub(super) fn sock_addr(path: &Path) -> io::Result<(SockAddr, Option<OwnedFd>)> {
    if path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX {
        return Ok((SockAddr::unix(path)?, None));
    }
    let (directory, name) = path.parent().zip(path.file_name()).ok_or(Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    Ok((SockAddr::unix(short)?, Some(directory)))
}
