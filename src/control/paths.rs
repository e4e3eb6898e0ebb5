//! Where masters live: the runtime directory, its lock and its control socket.
//!
//! One place for the master, which makes them, and the client, which looks
//! for them. Whoever may write above a runtime directory could put another
//! master there, so the directories above are checked before they are used.

mod directory;
mod making;
mod places;
mod unusable;

pub use directory::{RuntimeDir, check_length, prepare};
pub use making::{make_directory, make_room};
pub use places::{Places, default_runtime_dir, default_state_dir, is_found};
pub use unusable::PathError;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The name of the control socket in a runtime directory.
pub const CONTROL_SOCKET: &str = "control.sock";
/// The name of the lock that a running master holds. It says who holds it.
pub const LOCK: &str = "lock";

/// The control socket of the runtime directory `directory`.
#[must_use]
pub fn control_socket(directory: &Path) -> PathBuf {
    directory.join(CONTROL_SOCKET)
}

/// `handover VERB NAME`, to be copied, for the master in `directory`: with the flag that finds it where the command line
/// does not look by itself.
#[must_use]
pub fn command(verb: &str, name: &str, directory: &Path) -> String {
    match is_found(directory) {
        true => format!("handover {verb} {name}"),
        false => format!(
            "handover {verb} {name} --runtime-dir {}",
            directory.display()
        ),
    }
}

/// Who holds the lock of a runtime directory, as its holder wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The master's process ID.
    pub pid: i32,
    /// The service's name.
    pub name: String,
    /// Its config file; none where it has none.
    pub config: Option<PathBuf>,
}

impl Holder {
    /// What the lock of `directory` says, if it says something.
    #[must_use]
    pub fn of(directory: &Path) -> Option<Self> {
        let text = fs::read_to_string(directory.join(LOCK)).ok()?;
        let mut lines = text.lines();
        let (pid, name) = lines.next()?.split_once(' ')?;
        Some(Self {
            pid: pid.parse().ok()?,
            name: name.to_owned(),
            config: lines
                .next()
                .filter(|line| !line.is_empty())
                .map(PathBuf::from),
        })
    }

    /// `handover VERB NAME`, to be copied, for the master in `directory`.
    #[must_use]
    pub fn command(&self, verb: &str, directory: &Path) -> String {
        command(verb, &self.name, directory)
    }

    /// What is known of `pid` as a master, and its runtime directory: it has the lock in there open, and that
    /// names it. None for other processes, and for those that may not be looked at.
    #[must_use]
    pub fn of_master(pid: i32) -> Option<(Self, PathBuf)> {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let targets = open
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok());
        let mut locks =
            targets.filter(|target| target.file_name().is_some_and(|name| name == LOCK));
        locks.find_map(|lock| {
            let directory = lock.parent()?;
            let holder = Self::of(directory).filter(|holder| holder.pid == pid)?;
            Some((holder, directory.to_owned()))
        })
    }
}

/// Why a directory above a runtime directory cannot be trusted; none when it
/// can. `user` is who relies on it.
pub(super) fn distrust(parent: &Path, user: u32) -> Option<String> {
    let meta = match fs::symlink_metadata(parent) {
        Ok(meta) => meta,
        Err(error) => return Some(error.to_string()),
    };
    if !meta.is_dir() {
        return Some("it is no directory".to_owned());
    }
    if meta.uid() != 0 && meta.uid() != user {
        return Some(format!("it belongs to uid {}", meta.uid()));
    }
    let (mode, sticky) = (meta.mode() & 0o777, meta.mode() & 0o1000 != 0);
    if mode & 0o022 != 0 && !sticky {
        return Some(format!("others may write to it (mode {mode:04o})"));
    }
    None
}
