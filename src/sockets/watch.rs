//! Notices listeners that a worker shut down and unix paths that somebody removed, and mends both.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fs::inotify;

use super::listener::Listener;
use super::unix_path::Standing;

/// One descriptor for everything that can happen to listeners.
///
/// An epoll set holds every listener with no event but EPOLLRDHUP (EPOLLHUP and EPOLLERR are always
/// reported): a connection or a datagram wakes nobody here. It also holds an inotify descriptor
/// that watches the socket files themselves and not their directories, so that what else happens in
/// `/run` or `/tmp` wakes nobody either. Registrations are edge-triggered: what cannot be mended
/// does not spin.
///
/// What an event cannot tell (a directory that comes back, a thief of the path that dies) is seen
/// by the next [`examine`](Watch::examine), whoever calls it: once in a while is enough.
#[derive(Debug)]
pub struct Watch {
    epoll: OwnedFd,
    /// none when no listener has a path of ours, or the user is out of inotify instances
    inotify: Option<OwnedFd>,
    /// the last failure reported of each listener, so that each is reported once
    complaints: BTreeMap<String, String>,
}

/// What was found, and done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// the listener's name
    pub listener: String,
    /// what was done
    pub what: RepairKind,
}

/// How a listener was mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepairKind {
    /// It was shut down, and listens again: the same socket, which every generation sees. The
    /// connections that waited in its queue are lost.
    Relistened,
    /// It was shut down, and a new socket is bound to its address. Running workers cannot see it:
    /// the active generation has to be replaced.
    Replaced {
        /// what happened to the old one: "was shut down by a worker"
        why: &'static str,
        /// the inode of the socket that workers still hold
        old_inode: u64,
        /// the inode of the new one
        inode: u64,
    },
    /// Somebody removed its path, which leads to the same socket again.
    PathRestored,
    /// It cannot be mended: why, and what to do. Reported once.
    Failed(String),
}

const SHUT_DOWN: &str = "was shut down by a worker";
const UNREACHABLE: &str = "lost its path and the second link to its socket";

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.listener;
        match &self.what {
            RepairKind::Relistened => write!(
                f,
                "listener {name} was shut down by a worker; it listens again on the same socket \
                 (connections that waited in its queue were lost)"
            ),
            RepairKind::Replaced { why, .. } => write!(
                f,
                "listener {name} {why}; a new socket is bound in its place, which the running \
                 workers cannot see"
            ),
            RepairKind::PathRestored => {
                write!(
                    f,
                    "the path of listener {name} was removed; it leads to the same socket again"
                )
            }
            RepairKind::Failed(why) => write!(f, "listener {name} cannot be mended: {why}"),
        }
    }
}

impl Watch {
    /// Watches these listeners. Make a new one when the set of listeners changes.
    ///
    /// # Errors
    /// What epoll_create1(2) and epoll_ctl(2) say. Without inotify it works on, but paths are then
    /// mended only when `examine` is called.
    pub fn new(listeners: &[Listener]) -> io::Result<Self> {
        let has_paths = listeners.iter().any(|l| l.owned_path().is_some());
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = if has_paths {
            inotify::init(flags).ok()
        } else {
            None
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let watch = Self {
            epoll,
            inotify,
            complaints: BTreeMap::new(),
        };
        if let Some(inotify) = &watch.inotify {
            epoll::add(
                &watch.epoll,
                inotify,
                epoll::EventData::new_u64(0),
                epoll::EventFlags::IN,
            )?;
        }
        for listener in listeners {
            watch.add(listener)?;
        }
        Ok(watch)
    }

    /// Looks at every listener and mends what it can; never blocks. To be called when the
    /// descriptor is readable; it is not readable any more afterwards, unless something new
    /// happened.
    pub fn examine(&mut self, listeners: &mut [Listener]) -> Vec<Repair> {
        self.drain();
        let mut repairs = Vec::new();
        for listener in listeners {
            let found = match listener.is_shut_down() {
                true => Some(self.reopen(listener, SHUT_DOWN)),
                false => self.path(listener),
            };
            let name = listener.name();
            match found {
                None => {
                    self.complaints.remove(name);
                }
                Some(RepairKind::Failed(why)) if self.complaints.get(name) == Some(&why) => {}
                Some(what) => {
                    if let RepairKind::Failed(why) = &what {
                        self.complaints.insert(name.to_owned(), why.clone());
                    }
                    repairs.push(Repair {
                        listener: name.to_owned(),
                        what,
                    });
                }
            }
        }
        repairs
    }

    /// Forgets a listener that is about to be closed here while workers still hold it: its
    /// registration would outlive our descriptor (FAILURES 6).
    pub fn forget(&self, listener: &Listener) {
        // ENOENT: it was never watched.
        let _ = epoll::delete(&self.epoll, listener.fd());
    }

    fn add(&self, listener: &Listener) -> io::Result<()> {
        let flags = epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(
            &self.epoll,
            listener.fd(),
            epoll::EventData::new_u64(1),
            flags,
        )?;
        if let (Some(inotify), Some(owned)) = (&self.inotify, listener.owned_path()) {
            watch_path(inotify, owned.path());
        }
        Ok(())
    }

    fn drain(&self) {
        const ROUNDS_MAX: usize = 64;
        if let Some(inotify) = &self.inotify {
            let mut buffer = [0_u8; 4096];
            for _ in 0..ROUNDS_MAX {
                if !matches!(rustix::io::read(inotify, &mut buffer), Ok(read) if read > 0) {
                    break;
                }
            }
        }
        let mut events = Vec::with_capacity(64);
        for _ in 0..ROUNDS_MAX {
            events.clear();
            let now = Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            });
            let got = epoll::wait(&self.epoll, spare_capacity(&mut events), now);
            if !matches!(got, Ok(count) if count > 0) {
                break;
            }
        }
    }

    fn reopen(&mut self, listener: &mut Listener, why: &'static str) -> RepairKind {
        let Err(why_not) = listener.relisten() else {
            return RepairKind::Relistened;
        };
        let new = match listener.replacement() {
            Ok(new) => new,
            Err(fault) => {
                return RepairKind::Failed(format!(
                    "it {why} and cannot be bound again: {fault} ({why_not})"
                ));
            }
        };
        let old_inode = listener.inode();
        self.forget(listener);
        match listener.replace(new).and_then(|()| self.add(listener)) {
            Ok(()) => RepairKind::Replaced {
                why,
                old_inode,
                inode: listener.inode(),
            },
            Err(error) => RepairKind::Failed(format!("the new socket cannot be watched: {error}")),
        }
    }

    fn path(&mut self, listener: &mut Listener) -> Option<RepairKind> {
        let owned = listener.owned_path()?;
        match owned.standing() {
            Standing::Ours => {
                owned.mend_keep();
                return None;
            }
            Standing::Taken(what) => return Some(RepairKind::Failed(what)),
            Standing::Lost | Standing::Dead => {}
        }
        if owned.restore().is_ok() {
            return Some(RepairKind::PathRestored);
        }
        let directory = owned.path().parent();
        if directory.is_some_and(|directory| !directory.is_dir()) {
            return Some(RepairKind::Failed(format!(
                "{} was removed with its directory; create that again",
                owned.path().display()
            )));
        }
        // Both links are gone, so the socket cannot be reached by anybody any more.
        Some(self.reopen(listener, UNREACHABLE))
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

/// Watches the file itself: unlink(2) of one of its links and rename(2) over one are IN_ATTRIB
/// (its link count), rename(2) away is IN_MOVE_SELF. That needs permission to read the file;
/// without it the directory is watched.
fn watch_path(inotify: &OwnedFd, path: &Path) {
    use inotify::WatchFlags as Flags;
    let itself = Flags::ATTRIB | Flags::MOVE_SELF | Flags::DELETE_SELF | Flags::DONT_FOLLOW;
    if inotify::add_watch(inotify, path, itself).is_ok() {
        return;
    }
    if let Some(directory) = path.parent() {
        let around = Flags::DELETE | Flags::MOVED_FROM | Flags::MOVED_TO | Flags::CREATE;
        // Without a watch the next examine still finds out.
        let _ = inotify::add_watch(inotify, directory, around);
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
