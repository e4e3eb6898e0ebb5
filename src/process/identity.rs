//! What a file was when a release was pinned, and what it is now.

use std::ffi::OsString;
use std::fmt;
use std::fs::Metadata;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Stat, fstat, statat};
use rustix::io::Errno;

/// What tells one state of a file from another, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last modification, nanoseconds since 1970.
    pub mtime_ns: i128,
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
        }
    }

    /// Of a file that somebody looked at.
    pub fn from_metadata(meta: &Metadata) -> Self {
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            mtime_ns: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
        }
    }

    pub(super) fn of_descriptor(fd: impl AsFd) -> Result<Self, Errno> {
        fstat(fd).map(|stat| Self::of(&stat))
    }

    /// Of the regular file that `path` names, links followed; `None` when it names none.
    pub(super) fn of_file(directory: BorrowedFd<'_>, path: &Path) -> Option<Self> {
        let stat = statat(directory, path, AtFlags::empty()).ok()?;
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(|| Self::of(&stat))
    }

    /// Whether both are the same file, whatever its content.
    pub(super) fn is_same_file(self, other: Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// What became of it: `now` is what is there.
    fn difference(self, now: Self) -> Option<Difference> {
        if self == now {
            None
        } else if self.is_same_file(now) {
            Some(Difference::Changed {
                from: self.size,
                to: now.size,
            })
        } else {
            Some(Difference::Replaced {
                from: self.size,
                to: now.size,
            })
        }
    }
}

/// A file of a release that is no longer what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The file.
    pub path: PathBuf,
    /// What became of it.
    pub difference: Difference,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Written to in place; sizes in bytes.
    Changed {
        /// Size when it was pinned.
        from: u64,
        /// Size now.
        to: u64,
    },
    /// Another file is at its path; sizes in bytes.
    Replaced {
        /// Size when it was pinned.
        from: u64,
        /// Size now.
        to: u64,
    },
    /// Nothing is at its path.
    Removed,
    /// It cannot be looked at: why.
    Unknown(String),
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.difference {
            Difference::Changed { from, to } if from == to => {
                write!(f, "changed (written to, still {to} bytes)")
            }
            Difference::Changed { from, to } => write!(f, "changed (size {from} → {to})"),
            Difference::Replaced { from, to } if from == to => {
                write!(f, "replaced (by another file of {to} bytes)")
            }
            Difference::Replaced { from, to } => write!(f, "replaced (size {from} → {to})"),
            Difference::Removed => f.write_str("removed"),
            Difference::Unknown(why) => write!(f, "cannot be examined ({why})"),
        }
    }
}

/// A file that is only known by its path, and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    /// As named; relative to the release's directory.
    pub(super) path: OsString,
    pub(super) identity: Identity,
}

impl Recorded {
    /// Looks at its path again, `directory` being the pinned one, called `shown_in` in messages.
    pub(super) fn changed(&self, directory: BorrowedFd<'_>, shown_in: &Path) -> Option<Changed> {
        let difference = match statat(directory, Path::new(&self.path), AtFlags::empty()) {
            Ok(stat) => self.identity.difference(Identity::of(&stat))?,
            Err(Errno::NOENT | Errno::NOTDIR) => Difference::Removed,
            Err(errno) => Difference::Unknown(errno.to_string()),
        };
        Some(Changed {
            path: shown_in.join(&self.path),
            difference,
        })
    }
}

/// Whether the file behind a descriptor was written to.
pub(super) fn changed_in_place(fd: impl AsFd, was: Identity, shown: &Path) -> Option<Changed> {
    let difference = match Identity::of_descriptor(fd) {
        Ok(now) => was.difference(now)?,
        Err(errno) => Difference::Unknown(errno.to_string()),
    };
    Some(Changed {
        path: shown.to_owned(),
        difference,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn f28_what_became_of_a_file_is_told_apart() {
        let base = tempfile::tempdir().unwrap();
        let directory = File::open(base.path()).unwrap();
        let path = base.path().join("server.py");
        std::fs::write(&path, "12345678").unwrap();
        let identity = Identity::of_file(directory.as_fd(), Path::new("server.py")).unwrap();
        let recorded = Recorded {
            path: "server.py".into(),
            identity,
        };
        let said = || {
            recorded
                .changed(directory.as_fd(), base.path())
                .map(|c| c.to_string())
        };
        let expect = |what: &str| Some(format!("{}: {what}", path.display()));
        assert_eq!(said(), None);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(said(), expect("changed (written to, still 8 bytes)"));
        file.set_len(10).unwrap();
        assert_eq!(said(), expect("changed (size 8 → 10)"));
        assert_eq!(
            changed_in_place(&file, identity, &path).map(|c| c.to_string()),
            expect("changed (size 8 → 10)")
        );
        std::fs::write(base.path().join("new"), "123").unwrap();
        std::fs::rename(base.path().join("new"), &path).unwrap();
        assert_eq!(said(), expect("replaced (size 8 → 3)"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(said(), expect("removed"));
        assert_eq!(
            Identity::of_file(directory.as_fd(), Path::new(".")),
            None,
            "a directory is no file"
        );
    }
}
