//! What an application tells its manager: sd_notify(3), over the socket in `NOTIFY_SOCKET`.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, sendmsg, socket_with,
};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::Receiver;

/// How long a message waits for a manager whose queue is full (it is stopped, or hangs).
const SEND_MAX: Duration = Duration::from_secs(1);

/// How long a manager may take to answer `BARRIER=1`: what sd_notify_barrier(3) is given in its
/// own examples.
const BARRIER_MAX: Duration = Duration::from_secs(5);

/// FDNAME_MAX of systemd.
const NAME_BYTES_MAX: usize = 255;

/// The socket of a manager.
#[derive(Debug)]
pub(super) struct Notifier {
    address: SocketAddrUnix,
}

impl Notifier {
    /// `None` when nobody wants to be told: that is no error.
    pub(super) fn from_env() -> io::Result<Option<Self>> {
        std::env::var_os("NOTIFY_SOCKET")
            .filter(|text| !text.is_empty())
            .map(|text| Self::at(&text))
            .transpose()
    }

    /// A path, or `@` and an abstract name (unix(7)).
    pub(super) fn at(text: &OsStr) -> io::Result<Self> {
        let address = match text.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
            [b'/', ..] => SocketAddrUnix::new(text),
            _ => {
                let what = format!(
                    "NOTIFY_SOCKET={} is neither a path nor an abstract socket (@NAME)",
                    text.display()
                );
                return Err(io::Error::new(io::ErrorKind::Unsupported, what));
            }
        };
        let address = address.map_err(|errno| explain(text, errno))?;
        Ok(Self { address })
    }

    /// Sends one datagram, with these descriptors.
    pub(super) fn send(&self, text: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        // Connected, so that poll(2) tells of room in the other side's queue.
        connect(&socket, &self.address).map_err(|errno| self.explain(errno))?;
        let wait = Timespec::try_from(SEND_MAX).map_err(io::Error::other)?;
        let mut waited = false;
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(io::Error::other("one descriptor at a time"));
            }
            let bytes = [IoSlice::new(text.as_bytes())];
            match sendmsg(&socket, &bytes, &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !waited => {
                    let mut polled = [PollFd::new(&socket, PollFlags::OUT)];
                    waited = poll(&mut polled, Some(&wait)).map_err(|e| self.explain(e))? == 0;
                }
                Err(Errno::AGAIN) => {
                    let what = "the manager does not read its notify socket (NOTIFY_SOCKET)";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, what));
                }
                Err(errno) => return Err(self.explain(errno)),
            }
        }
    }

    /// Returns when the manager has handled everything that was sent before.
    pub(super) async fn barrier(&self, max: Duration) -> io::Result<()> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        self.send("BARRIER=1", &[theirs.as_fd()])?;
        drop(theirs);
        // The manager answers by closing the other end.
        let ours = Receiver::from_owned_fd(ours)?;
        match tokio::time::timeout(max, ours.readable()).await {
            Ok(closed) => closed.map(drop),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the manager did not answer BARRIER=1 within {max:?}"),
            )),
        }
    }

    pub(super) async fn store(&self, name: &str, fd: OwnedFd) -> io::Result<()> {
        is_valid_name(name)?;
        self.send(&format!("FDSTORE=1\nFDNAME={name}"), &[fd.as_fd()])?;
        drop(fd);
        self.barrier(BARRIER_MAX).await
    }

    pub(super) async fn forget(&self, name: &str) -> io::Result<()> {
        is_valid_name(name)?;
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[])?;
        self.barrier(BARRIER_MAX).await
    }

    fn explain(&self, errno: Errno) -> io::Error {
        let path = self
            .address
            .path()
            .map(|path| path.to_string_lossy().into_owned());
        explain(OsStr::new(&path.unwrap_or_else(|| "@…".to_owned())), errno)
    }
}

fn explain(text: &OsStr, errno: Errno) -> io::Error {
    let error = io::Error::from(errno);
    let what = format!("NOTIFY_SOCKET={}: {error}", text.display());
    io::Error::new(error.kind(), what)
}

/// As systemd's `FDNAME=`: 1 to 255 printable ASCII characters, no colon (it separates the names
/// in `LISTEN_FDNAMES`).
fn is_valid_name(name: &str) -> io::Result<()> {
    let mut bytes = name.bytes();
    let valid = (1..=NAME_BYTES_MAX).contains(&name.len())
        && bytes.all(|byte| matches!(byte, b' '..=b'~') && byte != b':');
    valid.then_some(()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{name:?} cannot name a descriptor: 1 to {NAME_BYTES_MAX} printable ASCII \
                 characters, no colon"
            ),
        )
    })
}

/// A text that stays one line of a datagram.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

/// How often the manager wants to hear of the process `pid`: half of what it allows
/// (sd_watchdog_enabled(3)).
pub(super) fn interval(
    variable: impl Fn(&str) -> Option<OsString>,
    pid: u32,
) -> io::Result<Option<Duration>> {
    let number = |key: &str| -> io::Result<Option<u64>> {
        let Some(value) = variable(key) else {
            return Ok(None);
        };
        let value = value.to_string_lossy();
        let wrong = |_| io::Error::other(format!("{key}={value} is not a number"));
        value.parse().map(Some).map_err(wrong)
    };
    let Some(usec) = number("WATCHDOG_USEC")?.filter(|usec| *usec > 0) else {
        return Ok(None);
    };
    // Without WATCHDOG_PID it is meant for whoever reads it.
    let meant = number("WATCHDOG_PID")?.is_none_or(|meant| meant == u64::from(pid));
    Ok(meant.then(|| Duration::from_micros(usec) / 2))
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
