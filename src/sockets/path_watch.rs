//! Notices what happens to unix paths of ours (inotify(7)).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, ReadFlags, WatchFlags};

/// Watches the socket files themselves and not their directories, so that what else happens in
/// `/run` or `/tmp` wakes nobody. A directory is watched only while something is wrong with a path
/// in it, and where the file itself cannot be watched.
#[derive(Debug)]
pub(super) struct PathWatch {
    inotify: OwnedFd,
    /// by listener
    directories: BTreeMap<u64, Directory>,
}

#[derive(Debug, PartialEq, Eq)]
struct Directory {
    watch: i32,
    /// what is waited for in it
    name: OsString,
    /// it stands in for a watch of the file
    always: bool,
}

/// What there was to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// nothing at all
    Silence,
    /// other files of a watched directory
    Noise,
    /// something about one of our paths
    Ours,
}

impl PathWatch {
    /// None where the user is out of inotify instances.
    pub(super) fn new() -> Option<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Some(Self {
            inotify: inotify::init(flags).ok()?,
            directories: BTreeMap::new(),
        })
    }

    /// Watches the file: unlink(2) of one of its links and rename(2) over one are IN_ATTRIB (its
    /// link count), rename(2) away is IN_MOVE_SELF. That needs permission to read the file; without
    /// it the directory is watched. Without either the next look still finds out.
    pub(super) fn file(&mut self, listener: u64, path: &Path) {
        let itself = WatchFlags::ATTRIB
            | WatchFlags::MOVE_SELF
            | WatchFlags::DELETE_SELF
            | WatchFlags::DONT_FOLLOW;
        if inotify::add_watch(&self.inotify, path, itself).is_err() {
            self.directory(listener, path, true);
        }
    }

    /// Watches the place of a path that is not ours at the moment: its directory, or the nearest
    /// one above that is there. Says whether that is new.
    pub(super) fn around(&mut self, listener: u64, path: &Path) -> bool {
        self.directory(listener, path, false)
    }

    /// The path is ours again.
    pub(super) fn calm(&mut self, listener: u64) {
        if self.directories.get(&listener).is_some_and(|it| !it.always) {
            self.leave(listener);
        }
    }

    /// Reads all there is.
    pub(super) fn read(&mut self) -> News {
        // More than fits into the kernel's queue (fs.inotify.max_queued_events) by default.
        const EVENTS_MAX: usize = 32 * 1024;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut news = News::Silence;
        for _ in 0..EVENTS_MAX {
            let Ok(event) = reader.next() else {
                break;
            };
            let name = event
                .file_name()
                .map(|name| OsStr::from_bytes(name.to_bytes()));
            let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            let mut places = self.directories.values();
            let ours = match name {
                // Of a directory that is not watched any more for anybody, or for another name.
                Some(name) => places.any(|it| it.watch == event.wd() && it.name == name),
                None => true,
            };
            if ours || lost {
                news = News::Ours;
            } else if news == News::Silence {
                news = News::Noise;
            }
        }
        news
    }

    fn directory(&mut self, listener: u64, path: &Path, always: bool) -> bool {
        let Some((watch, name)) = self.nearest(path) else {
            return false;
        };
        let always = always || self.directories.get(&listener).is_some_and(|it| it.always);
        let new = Directory {
            watch,
            name,
            always,
        };
        if self.directories.get(&listener) == Some(&new) {
            return false;
        }
        self.leave_unless(listener, Some(watch));
        self.directories.insert(listener, new);
        true
    }

    /// The watch of the nearest directory that is there, and what to wait for in it.
    fn nearest(&self, path: &Path) -> Option<(i32, OsString)> {
        let around = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR;
        let mut below = path;
        while let (Some(directory), Some(name)) = (below.parent(), below.file_name()) {
            if let Ok(watch) = inotify::add_watch(&self.inotify, directory, around) {
                return Some((watch, name.to_owned()));
            }
            below = directory;
        }
        None
    }

    /// It is not ours to look after any more.
    pub(super) fn leave(&mut self, listener: u64) {
        self.leave_unless(listener, None);
    }

    /// Lets go of a listener's directory, and of its watch where that is not `kept` and no other
    /// listener's: the kernel has one watch for a directory, whoever asked for it.
    fn leave_unless(&mut self, listener: u64, kept: Option<i32>) {
        let Some(Directory { watch, .. }) = self.directories.remove(&listener) else {
            return;
        };
        if kept != Some(watch) && self.directories.values().all(|it| it.watch != watch) {
            // EINVAL: the directory is gone, and its watch with it.
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }
}

impl AsFd for PathWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
