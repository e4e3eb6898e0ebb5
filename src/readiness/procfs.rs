//! Reading `/proc` without waste.
//!
//! Opening a file of `/proc` costs two to three times as much as reading it, so
//! what is read at every look stays open ([`Kept`]), within a budget of
//! descriptors that all observers share. An open file of `/proc/PID` is bound to
//! the process, not to the number: after its death it answers ESRCH, even if
//! the PID is used again.

use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, RawDir, SeekFrom, Stat};
use rustix::io::Errno;

use super::proctext::{Target, decimal, link_target};
use super::slice::Slice;

/// Why a file of `/proc` could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process or thread ended, or the file never existed.
    Gone,
    /// The kernel refuses (another user, Yama, a security module).
    Denied,
    /// This process has no descriptor or memory left.
    Exhausted,
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ACCESS | Errno::PERM => Self::Denied,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => Self::Exhausted,
            // A process that vanishes answers ENOENT, ESRCH, EIO or EINVAL, by the file.
            _ => Self::Gone,
        }
    }
}

/// Descriptors that observers keep open, of all observers in this process.
static KEPT: AtomicU64 = AtomicU64::new(0);

/// A file that stays open between looks, counted against [`budget`].
#[derive(Debug)]
pub(super) struct Kept(OwnedFd);

impl Kept {
    /// Opens a file to keep; `Ok(None)` when the budget is spent.
    fn open(dir: BorrowedFd<'_>, path: &str) -> Result<Option<Self>, Fault> {
        if KEPT.fetch_add(1, Ordering::Relaxed) >= budget() {
            KEPT.fetch_sub(1, Ordering::Relaxed);
            return Ok(None);
        }
        match rustix::fs::openat(dir, path, READ, Mode::empty()) {
            Ok(file) => Ok(Some(Self(file))),
            Err(errno) => {
                KEPT.fetch_sub(1, Ordering::Relaxed);
                Err(errno.into())
            }
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        KEPT.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An eighth of what the process may open: observing must not starve a launch. And no more than
/// can be closed while the master's loop waits: that costs some 4 µs each.
fn budget() -> u64 {
    const MOST: u64 = 1024;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(MOST, |limit| (limit / 8).min(MOST))
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Buffers that are used again at every read.
#[derive(Debug)]
pub(super) struct Reader {
    path: String,
    text: Vec<u8>,
    entries: Vec<MaybeUninit<u8>>,
}

/// The only file that threads have and processes have not.
const CHILDREN: &str = "children";

/// No text of `/proc` is read further than this many bytes.
const TEXT_MAX: usize = 1 << 20;
/// `seq_file` fills pages of at least 4 KiB before it returns; its records are short.
const LAST_PIECE: usize = 2048;

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            path: String::with_capacity(64),
            text: vec![0; 512],
            entries: vec![MaybeUninit::uninit(); 1024],
        }
    }

    /// The path of a thread's file below `/proc/PID/task`.
    fn path_of(&mut self, tid: i32, file: &str) {
        self.path.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.path, "{tid}/{file}");
    }

    /// Reads a file that stays open in `slot` as long as the budget allows.
    pub(super) fn kept<'a>(
        &'a mut self,
        slot: &mut Option<Kept>,
        task: BorrowedFd<'_>,
        tid: i32,
        file: &str,
    ) -> Result<&'a [u8], Fault> {
        if slot.is_none() {
            self.path_of(tid, file);
            *slot = Kept::open(task, &self.path)?;
        }
        match slot {
            Some(kept) => self.all(kept.0.as_fd(), 0, TEXT_MAX),
            None => self.once(task, tid, file),
        }
    }

    /// Opens, reads and closes a thread's file.
    pub(super) fn once(
        &mut self,
        task: BorrowedFd<'_>,
        tid: i32,
        file: &str,
    ) -> Result<&[u8], Fault> {
        self.path_of(tid, file);
        let opened = rustix::fs::openat(task, &self.path, READ, Mode::empty())?;
        self.all(opened.as_fd(), 0, TEXT_MAX)
    }

    /// As [`once`](Self::once), by numbers alone: three system calls fewer for whoever wants but a file or two of a
    /// process, and nothing that ties them to one process when its number is taken again meanwhile.
    pub(super) fn loose(&mut self, pid: i32, tid: i32, file: &str) -> Result<&[u8], Fault> {
        self.loose_path(pid, tid, file);
        let opened = rustix::fs::open(&self.path, READ, Mode::empty())?;
        self.all(opened.as_fd(), 0, TEXT_MAX)
    }

    /// What the kernel says of a file or directory of a thread.
    pub(super) fn stat(&mut self, pid: i32, tid: i32, file: &str) -> Result<Stat, Fault> {
        self.loose_path(pid, tid, file);
        Ok(rustix::fs::stat(&self.path)?)
    }

    fn loose_path(&mut self, pid: i32, tid: i32, file: &str) {
        self.path.clear();
        // Writing to a String cannot fail.
        let _ = match pid == tid && file != CHILDREN {
            true => write!(self.path, "/proc/{pid}/{file}"),
            false => write!(self.path, "/proc/{pid}/task/{tid}/{file}"),
        };
    }

    /// Opens, reads and closes a file by its path, up to `most` bytes.
    pub(super) fn path(&mut self, path: &str, most: usize) -> Result<&[u8], Fault> {
        let opened = rustix::fs::open(path, READ, Mode::empty())?;
        self.all(opened.as_fd(), 0, most)
    }

    /// Reads `length` bytes of a thread's memory; fewer when the range ends.
    pub(super) fn memory(
        &mut self,
        task: BorrowedFd<'_>,
        tid: i32,
        address: u64,
        length: usize,
    ) -> Result<&[u8], Fault> {
        self.path_of(tid, "mem");
        // Never kept open: it would go on showing the memory from before an execve.
        let opened = rustix::fs::openat(task, &self.path, READ, Mode::empty())?;
        self.all(opened.as_fd(), address, length)
    }

    /// What descriptor `fd` of a thread refers to.
    pub(super) fn link(
        &mut self,
        task: BorrowedFd<'_>,
        tid: i32,
        fd: i32,
    ) -> Result<Target, Fault> {
        self.path.clear();
        let _ = write!(self.path, "{tid}/fd/{fd}");
        read_target(task, &self.path)
    }

    /// Everything from `offset` on, up to `most` bytes.
    fn all(&mut self, file: BorrowedFd<'_>, offset: u64, most: usize) -> Result<&[u8], Fault> {
        let mut length = 0;
        loop {
            if length == self.text.len() {
                self.text.resize((length * 2).min(TEXT_MAX), 0);
            }
            let end = self.text.len().min(most);
            let Some(room) = self
                .text
                .get_mut(length..end)
                .filter(|room| !room.is_empty())
            else {
                break;
            };
            match rustix::io::pread(file, room, offset.saturating_add(length as u64)) {
                Ok(0) => break,
                Ok(count) => {
                    length += count;
                    // A table comes in pieces of nearly a page; a shorter piece is the last.
                    if count < LAST_PIECE && length < end {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                // The part of a range that can be read counts.
                Err(_) if length > 0 => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(self.text.get(..length).unwrap_or_default())
    }

    /// Calls `each` for every number that names an entry of a directory.
    pub(super) fn numbers(
        &mut self,
        dir: BorrowedFd<'_>,
        each: impl FnMut(i32),
    ) -> Result<(), Fault> {
        rewind(dir)?;
        self.more_numbers(dir, &mut Slice::whole(), each).map(drop)
    }

    /// As [`numbers`](Self::numbers), going on where the directory was read to; false when the slice was over before
    /// the end.
    pub(super) fn more_numbers(
        &mut self,
        dir: BorrowedFd<'_>,
        slice: &mut Slice,
        mut each: impl FnMut(i32),
    ) -> Result<bool, Fault> {
        let mut entries = RawDir::new(dir, &mut self.entries);
        loop {
            // What is in the buffer would be lost.
            if entries.is_buffer_empty() && slice.is_over() {
                return Ok(false);
            }
            let Some(entry) = entries.next() else {
                return Ok(true);
            };
            if let Some(number) = decimal(entry?.file_name().to_bytes()) {
                each(number);
            }
        }
    }

    /// As [`links`](Self::links), by numbers alone.
    pub(super) fn loose_links(
        &mut self,
        pid: i32,
        tid: i32,
        most: usize,
    ) -> Result<Vec<(i32, Target)>, Fault> {
        self.loose_path(pid, tid, "fd");
        let dir = directory(rustix::fs::CWD, &self.path)?;
        self.links_in(dir.as_fd(), most)
    }

    /// Every descriptor of a thread and what it refers to, at most `most` of them.
    pub(super) fn links(
        &mut self,
        task: BorrowedFd<'_>,
        tid: i32,
        most: usize,
    ) -> Result<Vec<(i32, Target)>, Fault> {
        self.path_of(tid, "fd");
        let dir = directory(task, &self.path)?;
        self.links_in(dir.as_fd(), most)
    }

    fn links_in(&mut self, dir: BorrowedFd<'_>, most: usize) -> Result<Vec<(i32, Target)>, Fault> {
        let mut found = Vec::new();
        self.numbers(dir, |fd| {
            if found.len() < most {
                found.push((fd, Target::Other));
            }
        })?;
        let mut denied = false;
        found.retain_mut(|(fd, target)| {
            self.path.clear();
            let _ = write!(self.path, "{fd}");
            match read_target(dir, &self.path) {
                Ok(seen) => *target = seen,
                Err(fault) => {
                    denied |= fault == Fault::Denied;
                    return false; // closed meanwhile
                }
            }
            true
        });
        // Listed, but not to be looked at: nothing seen is not nothing there.
        match denied && found.is_empty() {
            true => Err(Fault::Denied),
            false => Ok(found),
        }
    }
}

fn read_target(dir: BorrowedFd<'_>, path: &str) -> Result<Target, Fault> {
    // "socket:[4294967295]" has 19 bytes; a longer link is a file's, and cut.
    let mut buffer = [MaybeUninit::uninit(); 48];
    let (link, _) = rustix::fs::readlinkat_raw(dir, path, &mut buffer)?;
    Ok(link_target(link))
}

/// The next entry read is the first.
pub(super) fn rewind(dir: BorrowedFd<'_>) -> Result<(), Fault> {
    rustix::fs::seek(dir, SeekFrom::Start(0))?;
    Ok(())
}

/// Opens a directory to list it or to open what is below it.
pub(super) fn directory(dir: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Fault> {
    let flags = OFlags::DIRECTORY.union(READ);
    Ok(rustix::fs::openat(dir, path, flags, Mode::empty())?)
}

/// The device number of the filesystem that counts socket inodes, as fdinfo shows it.
pub(super) fn socket_device() -> Option<u64> {
    static DEVICE: OnceLock<u64> = OnceLock::new();
    DEVICE.get().copied().or_else(|| {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
        let (unix, stream) = (AddressFamily::UNIX, SocketType::STREAM);
        let probe = socket_with(unix, stream, SocketFlags::CLOEXEC, None).ok()?;
        let device = rustix::fs::fstat(&probe).ok()?.st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        Some(*DEVICE.get_or_init(|| u64::from(major) << 20 | u64::from(minor)))
    })
}
