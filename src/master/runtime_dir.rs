//! Where the control socket and the workers' own files are, and how they come
//! back when somebody removed them.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::access::Access;
use super::{Input, Master};
use crate::config::WORKERS_MAX;
use crate::control::ControlDoor;
use crate::control::paths::{self, PathError};
use crate::fleet::WorkerId;
use crate::process::{pollable, remove_private};

/// From the first sign to the look: `rm -r` comes to its end, and does not
/// find the directory filled again under its hands.
const SETTLE: Duration = Duration::from_millis(200);

/// How soon what could not be made again is tried again, at first and at most;
/// the latter also where the user is out of inotify instances.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The directory of the workers' own directories.
const WORKERS: &str = "workers";
/// The directory of what keeps unix listeners from being removed.
const LISTENERS: &str = "listeners";
/// A worker's notify socket, in its own directory.
pub(super) const NOTIFY: &str = "notify";

/// The master's runtime directory, held by a lock.
pub(super) struct RuntimeDir {
    held: paths::RuntimeDir,
    access: Access,
    /// Why it could not be made again, and when that is tried next.
    trouble: Option<(String, Duration)>,
    /// The rooms were made again, which nobody was told yet.
    remade: bool,
}

impl RuntimeDir {
    /// Takes the directory; what workers of a dead master left in it goes.
    pub(super) fn take(path: &Path, name: &str, config: Option<&Path>) -> Result<Self, PathError> {
        // Now, and not when a worker is started again or the tenth generation comes.
        paths::check_length(path, &longest_socket())?;
        let mut held = paths::prepare(path, name)?;
        if held.is_new() {
            refuse_what_others_have(&held)?;
        }
        // Only others read it, and they do without.
        drop(held.tell_config(config));
        let runtime = Self {
            held,
            access: Access::owner_only(),
            trouble: None,
            remade: false,
        };
        // A leftover that cannot be removed shows when its name is needed.
        drop(fs::remove_dir_all(runtime.workers()));
        runtime.remove_listeners();
        Ok(runtime)
    }

    /// Takes the first of these that can be written to; also says why not the ones before it.
    pub(super) fn take_first(
        paths: &[PathBuf],
        name: &str,
        config: Option<&Path>,
    ) -> Result<(Self, Vec<String>), PathError> {
        let mut unusable = Vec::new();
        for (place, path) in paths.iter().enumerate() {
            match Self::take(path, name, config) {
                Err(error) if error.is_of_the_place() && place + 1 < paths.len() => {
                    unusable.push(error.to_string());
                }
                Err(error) => return Err(error),
                Ok(taken) => {
                    let here = taken.path().display();
                    let told = unusable.iter();
                    let told = told.map(|why| format!("{why}; the runtime directory is {here}"));
                    let told = told.collect();
                    return Ok((taken, told));
                }
            }
        }
        Self::take(Path::new(""), name, config).map(|taken| (taken, unusable))
    }

    pub(super) fn path(&self) -> &Path {
        self.held.path()
    }

    /// From the next binding on, the control socket is theirs.
    pub(super) fn let_in(&mut self, access: Access) {
        self.access = access;
    }

    /// Binds the control socket; to be called in a runtime.
    pub(super) fn bind_control(&mut self) -> io::Result<ControlDoor> {
        let Access { mode, admitted } = self.access.clone();
        let group = admitted.group.as_ref().map(|group| group.gid);
        let listener = self.held.bind_control_as(mode, group);
        let listener = listener.map_err(io::Error::other)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        Ok(ControlDoor::new(listener, admitted))
    }

    fn workers(&self) -> PathBuf {
        self.path().join(WORKERS)
    }

    /// Where the sockets room keeps second names of unix listeners.
    pub(super) fn listeners(&self) -> PathBuf {
        self.path().join(LISTENERS)
    }

    /// Whatever it is.
    fn remove_listeners(&self) {
        let listeners = self.listeners();
        if fs::remove_dir_all(&listeners).is_err() {
            drop(fs::remove_file(listeners));
        }
    }

    /// Why those who may give orders cannot, if that is so.
    pub(super) fn obstacle(&self) -> Option<String> {
        self.access.obstacle(self.path())
    }

    /// The private directory of one worker.
    pub(super) fn worker(&self, id: WorkerId) -> PathBuf {
        self.workers().join(name_of(id))
    }

    /// Makes the directories that the master alone fills: others may pass
    /// through to their own, and list nothing.
    pub(super) fn make_rooms(&self) -> Result<(), PathError> {
        paths::make_room(&self.workers(), 0o711, "its workers")?;
        paths::make_room(&self.listeners(), 0o700, "its listeners")
    }

    /// Makes runtime directory and rooms again if somebody removed them.
    ///
    /// # Errors
    /// Says why not: above all, when another master has taken the runtime directory since.
    pub(super) fn restore_rooms(&mut self) -> Result<(), String> {
        let lost = !self.workers().is_dir();
        self.held.restore().map_err(|error| error.to_string())?;
        // A thousand launches ask one after the other.
        if !lost {
            return Ok(());
        }
        self.remade = true;
        self.make_rooms()
            .map_err(|error| format!("{} cannot be used: {error}", self.path().display()))
    }

    /// Makes everything again, and gives the new control socket.
    fn restore(&mut self) -> Result<ControlDoor, String> {
        self.restore_rooms()?;
        let path = self.path().display().to_string();
        self.bind_control()
            .map_err(|error| format!("{path} cannot be used: {error}"))
    }

    /// Becomes readable when something happened to the directory or to what
    /// only stands in it while it is ours: none of that ever changes.
    fn guard(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags)?;
        let itself = WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::DONT_FOLLOW;
        inotify::add_watch(&inotify, self.path(), itself)?;
        for file in [paths::CONTROL_SOCKET, paths::LOCK] {
            // The link count is an attribute.
            let file = self.path().join(file);
            inotify::add_watch(&inotify, file, itself | WatchFlags::ATTRIB)?;
        }
        pollable(inotify)
    }

    /// Removes the files of a worker that is gone.
    pub(super) fn discard(&self, worker: &Path) {
        // After the directory was removed, another master's worker may have one with this name.
        if self.held.is_locked() {
            drop(remove_private(worker));
        }
    }

    /// Removes what a master that ends need not leave behind.
    pub(super) fn clear(&self) {
        if !self.held.is_locked() {
            return;
        }
        drop(fs::remove_dir_all(self.workers()));
        self.remove_listeners();
        drop(fs::remove_file(paths::control_socket(self.path())));
    }
}

/// What the private directory of a worker is called.
fn name_of(id: WorkerId) -> String {
    match id.life {
        0 => id.to_string(),
        life => format!("{id}-{life}"),
    }
}

/// The longest path of a socket below a runtime directory: workers are started again, and generations come, without end.
fn longest_socket() -> String {
    let last = WorkerId {
        generation: u32::MAX,
        // Not one less: whoever stands in for a worker that still drains has a slot above.
        slot: WORKERS_MAX,
        life: u32::MAX,
    };
    format!("{WORKERS}/{}/{NOTIFY}", name_of(last))
}

/// What is in the master's rooms goes at a start: in a directory that no master ever had it is somebody else's.
fn refuse_what_others_have(held: &paths::RuntimeDir) -> Result<(), PathError> {
    for room in [WORKERS, LISTENERS] {
        let path = held.path().join(room);
        // A link is removed, and not what it leads to.
        let is_one = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
        let mut entries = fs::read_dir(&path).into_iter().flatten();
        if is_one && entries.next().is_some() {
            held.forget();
            return Err(PathError::NotOurs { path });
        }
    }
    Ok(())
}

impl Master {
    /// From now on an input comes when the runtime directory wants a look.
    pub(super) fn guard_runtime(&self) {
        let inputs = self.inputs.clone();
        let guard = self.runtime.guard();
        // What happened before the guard stood is no event for it.
        let stands = self.runtime.held.stands();
        let retry = self.runtime.trouble.as_ref().map(|(_, after)| *after);
        tokio::spawn(async move {
            match (retry, guard) {
                (Some(after), _) => sleep(after).await,
                (None, Ok(guard)) if stands => {
                    // Whatever it says, a look tells.
                    drop(guard.readable().await);
                    sleep(SETTLE).await;
                }
                (None, Ok(_)) => sleep(SETTLE).await,
                (None, Err(_)) => sleep(RETRY_MAX).await,
            }
            inputs.send(Input::RuntimeDir).await.is_ok()
        });
    }

    /// Makes the runtime directory and its control socket again if somebody
    /// removed them.
    pub(super) fn mend_runtime(&mut self) {
        if !self.runtime.held.stands() {
            let path = self.runtime.path().display().to_string();
            match self.renew_control() {
                Ok(()) if std::mem::take(&mut self.runtime.remade) => self.warn(format!(
                    "the runtime directory {path} was removed and is made again with its control \
                     socket; what runs cannot reach its NOTIFY_SOCKET any more: {}",
                    self.command(format_args!("upgrade {}", self.name))
                )),
                Ok(()) => self.warn(format!(
                    "the control socket in {path} was removed and is bound again"
                )),
                Err(error) => self.tell_trouble(error),
            }
        }
        self.guard_runtime();
    }

    fn renew_control(&mut self) -> Result<(), String> {
        let door = self.runtime.restore()?;
        self.runtime.trouble = None;
        // The server takes it in its next turn; when it is gone, so are we.
        self.renewed.try_send(door).map_err(|e| e.to_string())
    }

    fn tell_trouble(&mut self, why: String) {
        let (known, after) = match &self.runtime.trouble {
            None => (false, RETRY_FIRST),
            Some((before, after)) => (*before == why, (*after * 2).min(RETRY_MAX)),
        };
        if !known {
            self.warn(format!(
                "the runtime directory was removed and cannot be made again: {why}; without its \
                 control socket the command line does not find this master: signals still work"
            ));
        }
        self.runtime.trouble = Some((why, after));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_too_long_is_told_and_the_next_one_taken() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let long = folder.path().join("x".repeat(64));
        let short = folder.path().join("run");
        let places = [long.clone(), short.clone()];
        let (taken, told) = RuntimeDir::take_first(&places, "web", None).expect("the second");
        assert_eq!(taken.path(), short);
        let told = told.join("\n");
        for part in [
            &format!("{} is ", long.display()),
            "at most 64 work",
            &format!("the runtime directory is {}", short.display()),
        ] {
            assert!(told.contains(part), "{part:?} is not in {told}");
        }
        assert!(!long.exists());
    }
}
