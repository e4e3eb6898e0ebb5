//! What a worker wants its successor to have: `FDSTORE=1`, sd_notify(3).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};

use super::message::{Message, is_valid_name};
use super::socket::Datagram;

/// How many descriptors one worker may store. They become inherited descriptors
/// of its successor, whose soft RLIMIT_NOFILE often is 1024.
pub const STORE_LIMIT: usize = 512;

/// How long all the names of one store may be together, in bytes. They arrive in
/// one environment variable, of which the kernel takes 128 KiB (MAX_ARG_STRLEN),
/// and the listeners' names need room there, too.
pub const STORE_NAMES_BYTES_MAX: usize = 64 * 1024;

/// What a descriptor is called that came without `FDNAME=`.
const DEFAULT_NAME: &str = "stored";

/// The descriptors that one worker stored, in the order in which it did.
///
/// Several may share a name. The successor in the same slot begins with
/// [copies](Self::copy_into), so that a generation that fails leaves no
/// trace in the store of the one that stays.
#[derive(Debug)]
pub struct Store {
    entries: Vec<Entry>,
    /// How many there may be.
    most: usize,
}

#[derive(Debug)]
struct Entry {
    name: String,
    fd: OwnedFd,
    identity: Identity,
    /// False after `FDPOLL=0`: kept even when it hangs up.
    dies_with_peer: bool,
}

/// What tells two descriptors apart: file and open flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    dev: u64,
    ino: u64,
    flags: OFlags,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One inode, one open file description: the same file is the same descriptor.
    Socket,
    /// The same file under the same name is taken for the same descriptor.
    File,
    /// Devices, and everything that shares the kernel's one anonymous inode
    /// (eventfd, timerfd, epoll, …): nothing but kcmp(2) could tell, so two of
    /// them never are the same. One too many is better than one lost.
    Opaque,
}

/// What a datagram did to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChange {
    /// One more descriptor under this name.
    Added(String),
    /// It was there already, and the new copy is closed.
    AlreadyThere(String),
    /// So many descriptors of this name were forgotten and closed.
    Removed(String, usize),
    /// One descriptor was closed instead of stored, or nothing could be removed.
    Refused(Refused),
}

/// Why a descriptor was not stored, or a removal not done; to be read behind
/// "worker 3.0 asked to store a descriptor: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// [`STORE_LIMIT`] is reached.
    #[error("{0:?} is refused, since {STORE_LIMIT} are stored already")]
    Full(String),
    /// As many are stored as [`Store::limit_to`] allows.
    #[error(
        "{name:?} is refused, since {stored} are stored already, and there is no room for more"
    )]
    NoRoom {
        /// What it was to be called.
        name: String,
        /// How many there are.
        stored: usize,
    },
    /// [`STORE_NAMES_BYTES_MAX`] would be passed.
    #[error(
        "{0:?} is refused, since all names together would be longer than \
         {STORE_NAMES_BYTES_MAX} bytes: use shorter names"
    )]
    NamesTooLong(String),
    /// The name is empty, longer than 255 bytes, or holds a colon or anything
    /// but printable ASCII.
    #[error("{0:?} is no name for a descriptor")]
    Name(String),
    /// `FDSTORE=1` with nothing attached.
    #[error("FDSTORE=1 came without a descriptor")]
    NoDescriptor,
    /// `FDSTOREREMOVE=1` needs `FDNAME=`.
    #[error("FDSTOREREMOVE=1 came without FDNAME=")]
    NoName,
    /// The descriptor cannot be examined, or not be copied.
    #[error("{name:?} cannot be taken: {}", io::Error::from_raw_os_error(*errno))]
    Unusable {
        /// What it was to be called.
        name: String,
        /// What fstat(2) or fcntl(2) said; EMFILE: the limit of open files is reached.
        errno: i32,
    },
}

impl Store {
    /// An empty store; it allocates nothing.
    pub fn new() -> Self {
        Self {
            entries: Vec::new(),
            most: STORE_LIMIT,
        }
    }

    /// From now on it takes no more than so many, and never more than [`STORE_LIMIT`]; what it has stays.
    pub fn limit_to(&mut self, most: usize) {
        self.most = most.min(STORE_LIMIT);
    }

    /// Does what a datagram asks for: `FDSTOREREMOVE=1`, else `FDSTORE=1` for
    /// each of its descriptors, which it takes out of the datagram. Says what
    /// came of it; nothing when the datagram is about something else.
    pub fn apply(&mut self, datagram: &mut Datagram) -> Vec<StoreChange> {
        let name = datagram.messages.iter().find_map(|message| match message {
            Message::FdName(name) => Some(name.clone()),
            _ => None,
        });
        if datagram.messages.contains(&Message::FdStoreRemove) {
            return vec![match name {
                Some(name) => {
                    let removed = self.remove(&name);
                    StoreChange::Removed(name, removed)
                }
                None => StoreChange::Refused(Refused::NoName),
            }];
        }
        if !datagram.messages.contains(&Message::FdStore) {
            return Vec::new();
        }
        if datagram.fds.is_empty() {
            return vec![StoreChange::Refused(Refused::NoDescriptor)];
        }
        let name = name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
        let dies_with_peer = !datagram.messages.contains(&Message::FdPollOff);
        datagram
            .fds
            .drain(..)
            .map(|fd| match self.insert(&name, fd, dies_with_peer) {
                Ok(true) => StoreChange::Added(name.clone()),
                Ok(false) => StoreChange::AlreadyThere(name.clone()),
                Err(refused) => StoreChange::Refused(refused),
            })
            .collect()
    }

    /// Stores one descriptor. False when it was stored before: the same socket
    /// under whatever name, or the same file under the same name.
    ///
    /// # Errors
    /// When the store is full, or the name is none. The descriptor is closed then.
    pub fn add(&mut self, name: &str, fd: OwnedFd) -> Result<bool, Refused> {
        self.insert(name, fd, true)
    }

    /// Forgets and closes every descriptor of this name; says how many.
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.name != name);
        before - self.entries.len()
    }

    /// Names and descriptors, oldest first: what the successor inherits behind
    /// the listeners.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, BorrowedFd<'_>)> {
        self.entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.fd.as_fd()))
    }

    /// The inodes of the sockets among them.
    pub fn sockets(&self) -> Vec<u64> {
        let identities = self.entries.iter().map(|entry| entry.identity);
        let sockets = identities.filter(|identity| identity.kind == Kind::Socket);
        sockets.map(|identity| identity.ino).collect()
    }

    /// How many descriptors are stored.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is nothing stored?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives the store of a successor copies of its own over the same open files: that of the same slot, and slot 0
    /// for a slot that vanishes. Says what could not be copied, or had no room there.
    pub fn copy_into(&self, heir: &mut Self) -> Vec<Refused> {
        let mut refused = Vec::new();
        for entry in &self.entries {
            let copied = entry.fd.try_clone().map_err(|error| Refused::Unusable {
                name: entry.name.clone(),
                errno: error.raw_os_error().unwrap_or_default(),
            });
            let admitted = copied.and_then(|fd| {
                heir.admit(Entry {
                    name: entry.name.clone(),
                    fd,
                    ..*entry
                })
            });
            refused.extend(admitted.err());
        }
        refused
    }

    /// Forgets what has hung up: a connection that its client closed, a pipe
    /// whose other end is gone; not what was stored with `FDPOLL=0`. To be called
    /// before a successor is started: systemd watches all the time, which here
    /// would cost a wake-up for descriptors nobody looks at. Says which.
    pub fn forget_hung_up(&mut self) -> Vec<String> {
        let mut gone = Vec::new();
        self.entries.retain(|entry| {
            let keep = !entry.dies_with_peer || !has_hung_up(entry.fd.as_fd());
            if !keep {
                gone.push(entry.name.clone());
            }
            keep
        });
        gone
    }

    fn insert(&mut self, name: &str, fd: OwnedFd, dies_with_peer: bool) -> Result<bool, Refused> {
        if !is_valid_name(name) {
            return Err(Refused::Name(name.escape_debug().take(64).collect()));
        }
        let identity = Identity::of(fd.as_fd()).map_err(|errno| Refused::Unusable {
            name: name.to_owned(),
            errno: errno.raw_os_error(),
        })?;
        self.admit(Entry {
            name: name.to_owned(),
            fd,
            identity,
            dies_with_peer,
        })
    }

    fn admit(&mut self, entry: Entry) -> Result<bool, Refused> {
        if self.entries.iter().any(|stored| stored.is_same_as(&entry)) {
            return Ok(false);
        }
        if self.entries.len() >= STORE_LIMIT {
            return Err(Refused::Full(entry.name));
        }
        if self.entries.len() >= self.most {
            return Err(Refused::NoRoom {
                name: entry.name,
                stored: self.entries.len(),
            });
        }
        // With the colon before each.
        let names_bytes: usize = self
            .entries
            .iter()
            .map(|stored| stored.name.len() + 1)
            .sum();
        if names_bytes + entry.name.len() + 1 > STORE_NAMES_BYTES_MAX {
            return Err(Refused::NamesTooLong(entry.name));
        }
        self.entries.push(entry);
        Ok(true)
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Entry {
    fn is_same_as(&self, other: &Self) -> bool {
        self.identity == other.identity
            && match self.identity.kind {
                Kind::Socket => true,
                Kind::File => self.name == other.name,
                Kind::Opaque => false,
            }
    }
}

impl Identity {
    fn of(fd: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        let stat = fstat(fd)?;
        Ok(Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            flags: fcntl_getfl(fd)?,
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::Socket => Kind::Socket,
                FileType::RegularFile | FileType::Directory | FileType::Fifo => Kind::File,
                _ => Kind::Opaque,
            },
        })
    }
}

fn has_hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    let at_once = Timespec::default();
    // An error of poll itself says nothing about the descriptor: it is kept.
    poll(&mut polled, Some(&at_once)).is_ok_and(|ready| ready > 0)
        && polled[0]
            .revents()
            .intersects(PollFlags::HUP | PollFlags::ERR)
}
