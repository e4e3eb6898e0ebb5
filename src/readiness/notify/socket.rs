//! The socket of one worker, and what came over it.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SocketAddrUnix, SocketFlags, SocketType, recvmsg, sockopt,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::message::{Message, ParseError, parse};

/// The longest datagram that is read, in bytes: systemd's own bound
/// (NOTIFY_BUFFER_MAX, one page), so a program that works there works here.
pub const DATAGRAM_BYTES_MAX: usize = 4096;

/// SCM_MAX_FD of the kernel: no message carries more descriptors.
const DESCRIPTORS_MAX: usize = 253;

/// `sun_path` holds 108 bytes, of which one is the closing NUL; unix(7).
const PATH_BYTES_MAX: usize = 107;

/// The notify socket of one worker. Dropping it removes its path, if the path
/// still is this socket's.
#[derive(Debug)]
pub struct Socket {
    socket: UnixDatagram,
    path: PathBuf,
    identity: (u64, u64),
}

/// What one datagram said, and who sent it.
///
/// Dropping it closes the descriptors in it; for `BARRIER=1` that is the answer.
#[derive(Debug, Default)]
pub struct Datagram {
    /// The sender, as the kernel attests it (SCM_CREDENTIALS); it may have ended
    /// since. 0 when it lives outside of our PID namespace. Only a sender with
    /// CAP_SYS_ADMIN can name another process than itself.
    pub pid: i32,
    /// The sender's user.
    pub uid: u32,
    /// What it said, in order; empty when there is a [`fault`](Self::fault).
    pub messages: Vec<Message>,
    /// The descriptors that came along, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// Why nothing of it may be acted on. Its descriptors are closed already.
    pub fault: Option<Fault>,
}

/// What is wrong with a datagram as a whole; to be read behind
/// "worker 3.0 sent a notification that is ignored: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Longer than [`DATAGRAM_BYTES_MAX`].
    #[error("it is longer than {DATAGRAM_BYTES_MAX} bytes")]
    TooLong,
    /// The kernel could not give us all the descriptors in it.
    #[error(
        "descriptors in it were lost on the way; \
         the limit of open files (RLIMIT_NOFILE) of handover may be reached"
    )]
    DescriptorsLost,
    /// `BARRIER=1` with this many descriptors.
    #[error("BARRIER=1 came with {0} descriptors; it must carry one")]
    BarrierDescriptors(usize),
    /// What its text says is no message.
    #[error(transparent)]
    Text(#[from] ParseError),
}

impl Socket {
    /// Binds a socket at `path`, writable for its owner alone: `owner` (user and
    /// group of the worker) or, without one, whoever runs this. A socket that a
    /// dead master left at the path is replaced; anything else there is an error.
    ///
    /// The directory may belong to the worker's user: no step follows a path that
    /// this user could have put there meanwhile.
    ///
    /// # Errors
    /// A path of more than 107 bytes, and whatever the kernel refuses; the
    /// message names the path and what to do.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    pub fn bind(path: &Path, owner: Option<(u32, u32)>) -> io::Result<Self> {
        let length = path.as_os_str().as_bytes().len();
        if length > PATH_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidFilename,
                format!(
                    "the notify socket's path {} has {length} bytes, and a unix socket's may \
                     have {PATH_BYTES_MAX}: choose a shorter --runtime-dir",
                    path.display()
                ),
            ));
        }
        let explain = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot make the notify socket {}: {error}", path.display()),
            )
        };
        let (fd, identity) = bound(path, owner).map_err(explain)?;
        Ok(Self {
            socket: UnixDatagram::from_std(fd.into())?,
            path: path.to_owned(),
            identity,
        })
    }

    /// Where workers reach it: the value of their `NOTIFY_SOCKET`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next datagram. Cancel-safe: nothing is lost when the future is dropped.
    ///
    /// One that is too long, lost descriptors or says nothing comes with a
    /// [`Fault`] instead of messages: that is the sender's mistake, and no error
    /// of this socket.
    ///
    /// # Errors
    /// What the kernel says of the socket itself; ENOMEM and the like.
    pub async fn recv(&self) -> io::Result<Datagram> {
        self.socket
            .async_io(Interest::READABLE, || receive(self.as_fd()))
            .await
    }

    /// The next datagram if one is there already: to take everything that a
    /// worker said before its end is acted on.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn try_recv(&self) -> io::Result<Option<Datagram>> {
        match receive(self.as_fd()) {
            Ok(datagram) => Ok(Some(datagram)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if rustix::fs::lstat(&self.path).is_ok_and(|stat| identity(&stat) == self.identity) {
            // Its directory goes soon in any case.
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

impl fmt::Display for Datagram {
    /// For the debug log: who, and what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} (uid {}): ", self.pid, self.uid)?;
        match &self.fault {
            Some(fault) => write!(f, "ignored, {fault}"),
            None => write!(f, "{:?}, {} descriptors", self.messages, self.fds.len()),
        }
    }
}

fn bound(path: &Path, owner: Option<(u32, u32)>) -> io::Result<(OwnedFd, (u64, u64))> {
    let fd = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    // Before the first byte can arrive: what is sent earlier has no credentials.
    sockopt::set_socket_passcred(&fd, true)?;
    // The path's mode is the descriptor's at the time of bind, so that it is never
    // open to others, not even for a moment; unix(7).
    rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    let address = SocketAddrUnix::new(path)?;
    match rustix::net::bind(&fd, &address) {
        Err(rustix::io::Errno::ADDRINUSE) => {
            remove_stale(path)?;
            rustix::net::bind(&fd, &address)?;
        }
        result => result?,
    }
    // From here on the path is looked at once: as this descriptor.
    let node = rustix::fs::open(
        path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let stat = rustix::fs::fstat(&node)?;
    let is_ours = FileType::from_raw_mode(stat.st_mode) == FileType::Socket
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && stat.st_nlink == 1;
    if !is_ours {
        return Err(io::Error::other(
            "somebody put something else there at the same moment",
        ));
    }
    if let Some((uid, gid)) = owner {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::chownat(&node, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    }
    Ok((fd, identity(&stat)))
}

/// Makes place for a new socket; never removes what is not a socket.
fn remove_stale(path: &Path) -> io::Result<()> {
    let stat = rustix::fs::lstat(path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something that is no socket is in the way; remove it",
        ));
    }
    Ok(rustix::fs::unlink(path)?)
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn receive(fd: BorrowedFd<'_>) -> io::Result<Datagram> {
    // One byte more than allowed is not needed: MSG_TRUNC tells.
    let mut bytes = [0; DATAGRAM_BYTES_MAX];
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(
            fd,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    let mut datagram = Datagram::default();
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(fds) => datagram.fds.extend(fds),
            RecvAncillaryMessage::ScmCredentials(sender) => {
                datagram.pid = rustix::process::Pid::as_raw(Some(sender.pid));
                datagram.uid = sender.uid.as_raw();
            }
            _ => {}
        }
    }
    let text = &bytes[..received.bytes.min(bytes.len())];
    match examine(text, received.flags, datagram.fds.len()) {
        Ok(messages) => datagram.messages = messages,
        Err(fault) => {
            datagram.fds.clear();
            datagram.fault = Some(fault);
        }
    }
    Ok(datagram)
}

fn examine(text: &[u8], flags: ReturnFlags, fds: usize) -> Result<Vec<Message>, Fault> {
    if flags.contains(ReturnFlags::TRUNC) {
        return Err(Fault::TooLong);
    }
    if flags.contains(ReturnFlags::CTRUNC) {
        return Err(Fault::DescriptorsLost);
    }
    let messages = parse(text)?;
    if messages == [Message::Barrier] && fds != 1 {
        return Err(Fault::BarrierDescriptors(fds));
    }
    Ok(messages)
}
