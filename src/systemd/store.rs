//! Descriptors that the service manager keeps over the end of the master (`FDSTORE=1`, sd_notify(3)).
//!
//! They come back by `LISTEN_FDS` and `LISTEN_FDNAMES` when the unit is started again, all names in one string of
//! the environment. The kernel takes 128 KiB of such a string (execve(2), MAX_ARG_STRLEN): a unit whose names are longer can
//! never be started again, so no more is stored than fits.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;

use super::{Notifier, Told};

/// What all names together may have, in bytes, each with the colon behind it: half of what the kernel takes, since
/// a .socket unit's descriptors come in the same string.
pub const NAMES_BYTES_MAX: usize = 64 << 10;

/// The longest name that systemd takes (sd_notify(3)); a longer one is dropped without a word.
const NAME_BYTES_MAX: usize = 255;

/// Why a descriptor is not stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// It would not be heard of again under this name.
    #[error(
        "systemd takes names of 1 to {NAME_BYTES_MAX} printable ASCII characters without ':', and not {0:?}"
    )]
    Name(String),
    /// The names of all of them are too long.
    #[error(
        "the names of all stored descriptors have {0} bytes already, and systemd could not start a unit with more than \
         {NAMES_BYTES_MAX}"
    )]
    Full(usize),
    /// There is no service manager, or it could not be told; see [`Told`].
    #[error("the service manager was not told ({0:?})")]
    Untold(Told),
}

/// The names under which descriptors were stored.
#[derive(Debug, Default)]
pub struct Stored {
    names: BTreeSet<String>,
    bytes: usize,
}

impl Stored {
    /// Of these names it is known that they are in the store: they came from there.
    pub fn found(names: impl IntoIterator<Item = String>) -> Self {
        let mut stored = Self::default();
        for name in names {
            stored.add(name);
        }
        stored
    }

    /// Whether something is stored under this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Has a duplicate of `fd` kept under `name`. It is kept also when nobody else has it open any more (`FDPOLL=0`).
    ///
    /// # Errors
    /// See [`NotStored`]; nothing is stored then.
    pub fn put(
        &mut self,
        notifier: &Notifier,
        name: &str,
        fd: BorrowedFd<'_>,
    ) -> Result<(), NotStored> {
        if self.has(name) {
            return Ok(());
        }
        let printable = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(printable) {
            return Err(NotStored::Name(name.to_owned()));
        }
        if self.bytes + name.len() + 1 > NAMES_BYTES_MAX {
            return Err(NotStored::Full(self.bytes));
        }
        let message = format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}");
        match notifier.with_descriptor(&message, fd) {
            Told::Sent => self.add(name.to_owned()),
            not_sent => return Err(NotStored::Untold(not_sent)),
        }
        Ok(())
    }

    /// Has what is stored under `name` let go.
    ///
    /// # Errors
    /// [`NotStored::Untold`]: it stays.
    pub fn remove(&mut self, notifier: &Notifier, name: &str) -> Result<(), NotStored> {
        if !self.has(name) {
            return Ok(());
        }
        match notifier.passing(&format!("FDSTOREREMOVE=1\nFDNAME={name}")) {
            Told::Sent => {
                self.names.remove(name);
                self.bytes -= name.len() + 1;
                Ok(())
            }
            not_sent => Err(NotStored::Untold(not_sent)),
        }
    }

    fn add(&mut self, name: String) {
        self.bytes += name.len() + 1;
        self.names.insert(name);
    }
}

/// One descriptor beside a message, never waiting.
pub(super) fn send_with(
    socket: &std::os::unix::net::UnixDatagram,
    to: &std::os::unix::net::SocketAddr,
    message: &str,
    fd: BorrowedFd<'_>,
) -> io::Result<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg_addr};
    use std::os::linux::net::SocketAddrExt as _;

    let to = match (to.as_pathname(), to.as_abstract_name()) {
        (Some(path), _) => rustix::net::SocketAddrUnix::new(path)?,
        (None, Some(name)) => rustix::net::SocketAddrUnix::new_abstract_name(name)?,
        (None, None) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let fds = [fd];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let parts = [io::IoSlice::new(message.as_bytes())];
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| sendmsg_addr(socket, &to, &parts, &mut control, flags))?;
    Ok(())
}
