//! Resource limits (setrlimit(2)) by the names that a config uses, and the master's own RLIMIT_NOFILE.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::str::FromStr;
use std::sync::OnceLock;

use rustix::process::{Resource as Kernel, Rlimit, getrlimit, setrlimit};

/// No limit (RLIM_INFINITY).
pub const UNLIMITED: u64 = u64::MAX;

/// What can be limited for a worker (getrlimit(2)); the names are systemd's, without `Limit`, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names of getrlimit(2)")]
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// Every resource with its name and the kernel's; the place in this table is its number on the wire.
const TABLE: [(Resource, &str, Kernel); 16] = [
    (Resource::As, "as", Kernel::As),
    (Resource::Core, "core", Kernel::Core),
    (Resource::Cpu, "cpu", Kernel::Cpu),
    (Resource::Data, "data", Kernel::Data),
    (Resource::Fsize, "fsize", Kernel::Fsize),
    (Resource::Locks, "locks", Kernel::Locks),
    (Resource::Memlock, "memlock", Kernel::Memlock),
    (Resource::Msgqueue, "msgqueue", Kernel::Msgqueue),
    (Resource::Nice, "nice", Kernel::Nice),
    (Resource::Nofile, "nofile", Kernel::Nofile),
    (Resource::Nproc, "nproc", Kernel::Nproc),
    (Resource::Rss, "rss", Kernel::Rss),
    (Resource::Rtprio, "rtprio", Kernel::Rtprio),
    (Resource::Rttime, "rttime", Kernel::Rttime),
    (Resource::Sigpending, "sigpending", Kernel::Sigpending),
    (Resource::Stack, "stack", Kernel::Stack),
];

impl Resource {
    /// Its name in a config: `nofile`, `core`, …
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Sets soft and hard limit of this process; [`UNLIMITED`] for none.
    pub(super) fn set(self, soft: u64, hard: u64) -> io::Result<()> {
        let value = |n: u64| (n != UNLIMITED).then_some(n);
        Ok(setrlimit(
            self.row().2,
            Rlimit {
                current: value(soft),
                maximum: value(hard),
            },
        )?)
    }

    /// The hard limit of this process; [`UNLIMITED`] for none.
    pub(super) fn own_hard(self) -> u64 {
        getrlimit(self.row().2).maximum.unwrap_or(UNLIMITED)
    }

    fn row(self) -> (Self, &'static str, Kernel) {
        TABLE[self as usize]
    }

    pub(super) fn number(self) -> u8 {
        self as u8
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        TABLE.get(usize::from(number)).map(|row| row.0)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no limit called {0:?}")]
pub struct UnknownResource(pub String);

impl FromStr for Resource {
    type Err = UnknownResource;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        TABLE
            .iter()
            .find(|row| row.1 == name)
            .map(|row| row.0)
            .ok_or_else(|| UnknownResource(name.to_owned()))
    }
}

/// A pair of limits for open files, [`UNLIMITED`] for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nofile {
    /// The limit in force.
    pub soft: u64,
    /// How far an unprivileged process may raise it.
    pub hard: u64,
}

static ORIGINAL: OnceLock<Nofile> = OnceLock::new();

/// The pair that this process had before [`raise_nofile`]: what workers get.
pub(super) fn original_nofile() -> Nofile {
    *ORIGINAL.get_or_init(|| {
        let limit = getrlimit(Kernel::Nofile);
        Nofile {
            soft: limit.current.unwrap_or(UNLIMITED),
            hard: limit.maximum.unwrap_or(UNLIMITED),
        }
    })
}

/// Raises this process's soft limit of open files to the hard one, and remembers the pair that
/// it had, which every worker gets back. Returns the pair in force.
///
/// # Errors
/// What setrlimit(2) says; the limit is then as before.
pub fn raise_nofile() -> io::Result<Nofile> {
    let before = original_nofile();
    Resource::Nofile.set(before.hard, before.hard)?;
    Ok(Nofile {
        soft: before.hard,
        hard: before.hard,
    })
}

/// How many descriptors this process may open at once; [`UNLIMITED`] for no bound.
pub fn nofile_limit() -> u64 {
    getrlimit(Kernel::Nofile).current.unwrap_or(UNLIMITED)
}

/// Whether fewer than `reserve` descriptors, or an eighth of all that may be, are left for this process. The kernel
/// gives the lowest free number first (open(2)), so a new descriptor's number tells how many there are.
pub fn is_scarce(newest: BorrowedFd<'_>, reserve: u64) -> bool {
    let limit = nofile_limit();
    let number = u64::try_from(newest.as_raw_fd()).unwrap_or(0);
    number.saturating_add(reserve.min(limit / 8)) >= limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_their_resource() {
        for (place, (resource, name, _)) in TABLE.into_iter().enumerate() {
            assert_eq!(resource as usize, place);
            assert_eq!(name.parse(), Ok(resource));
            assert_eq!(Resource::from_number(resource.number()), Some(resource));
        }
        assert_eq!(Resource::from_number(16), None);
        assert!("files".parse::<Resource>().is_err());
    }
}
