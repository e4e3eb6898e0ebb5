//! Where the control socket and the workers' own files are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::control::paths::{self, PathError};
use crate::fleet::WorkerId;

/// The master's runtime directory, held by a lock.
pub(super) struct RuntimeDir {
    held: paths::RuntimeDir,
}

impl RuntimeDir {
    /// Takes the directory; what workers of a dead master left in it goes.
    pub(super) fn take(path: &Path, name: &str) -> Result<Self, PathError> {
        let held = paths::prepare(path, name)?;
        let runtime = Self { held };
        // A leftover that cannot be removed shows when its name is needed.
        drop(fs::remove_dir_all(runtime.workers()));
        drop(fs::remove_dir_all(runtime.listeners()));
        Ok(runtime)
    }

    pub(super) fn path(&self) -> &Path {
        self.held.path()
    }

    pub(super) fn bind_control(&self) -> io::Result<std::os::unix::net::UnixListener> {
        self.held.bind_control()
    }

    fn workers(&self) -> PathBuf {
        self.path().join("workers")
    }

    /// Where the sockets room keeps second names of unix listeners.
    pub(super) fn listeners(&self) -> PathBuf {
        self.path().join("listeners")
    }

    /// The private directory of one worker.
    pub(super) fn worker(&self, id: WorkerId) -> PathBuf {
        let name = match id.life {
            0 => id.to_string(),
            life => format!("{id}-{life}"),
        };
        self.workers().join(name)
    }

    /// Makes the directories that the master alone fills: others may pass
    /// through to their own, and list nothing.
    pub(super) fn make_rooms(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        for (path, mode) in [(self.workers(), 0o711), (self.listeners(), 0o700)] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(path)?;
        }
        Ok(())
    }

    /// Makes the directories again if somebody removed them; says whether.
    pub(super) fn restore_rooms(&self) -> io::Result<bool> {
        let lost = !self.workers().is_dir();
        if lost {
            self.make_rooms()?;
        }
        Ok(lost)
    }

    /// Removes what a master that ends need not leave behind.
    pub(super) fn clear(&self) {
        drop(fs::remove_dir_all(self.workers()));
        drop(fs::remove_dir_all(self.listeners()));
        drop(fs::remove_file(paths::control_socket(self.path())));
    }
}
