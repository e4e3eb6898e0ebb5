//! A master's own runtime directory: made, locked, and with its socket.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};

use super::making::{make, make_parents};
use super::unusable::{PathError, SOCKET_PATH_MAX, io_error, refuse_other};
use super::{CONTROL_SOCKET, Holder, LOCK, distrust};

/// Connections that may wait until the master's loop comes round.
const BACKLOG: i32 = 1024;

/// A runtime directory that is ours: as long as this lives, no other master
/// can have it.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    /// No master had it before.
    is_new: bool,
    /// The service's name, as the lock says it.
    name: String,
    /// Its config file, as the lock says it.
    config: Option<PathBuf>,
    /// Locked by flock(2): the kernel unlocks it however the master ends.
    lock: File,
    /// The file of the control socket, once it is bound.
    control: Option<FileId>,
}

/// Device and inode of a file.
type FileId = (u64, u64);

/// Makes the runtime directory `path` if need be (0711: workers of other users
/// reach their own sockets in it, nobody else lists it), and locks it for the
/// service `name`.
///
/// # Errors
/// When it cannot be made, is not safe, or a live master has it. What a dead
/// master left is no error.
pub fn prepare(path: &Path, name: &str) -> Result<RuntimeDir, PathError> {
    let user = rustix::process::geteuid().as_raw();
    check_length(path, &format!("{CONTROL_SOCKET}.new"))?;
    let absolute = std::path::absolute(path).map_err(io_error("find", path))?;
    let path = absolute.as_path();
    if let Some(parent) = path.parent() {
        make_parents(parent, user)?;
        if let Some(reason) = distrust(parent, user) {
            return Err(PathError::Unsafe {
                path: parent.to_owned(),
                reason,
            });
        }
    }
    make(path, user)?;
    let (lock, is_new) = take_lock(path, name)?;
    Ok(RuntimeDir {
        path: path.to_owned(),
        is_new,
        name: name.to_owned(),
        config: None,
        lock,
        control: None,
    })
}

impl RuntimeDir {
    /// Says in the lock which config this master has: for those who meet it there.
    ///
    /// # Errors
    /// As write(2).
    pub fn tell_config(&mut self, config: Option<&Path>) -> io::Result<()> {
        // A path of several lines would be several lines.
        let config = config.filter(|path| !path.as_os_str().as_bytes().contains(&b'\n'));
        self.config =
            config.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        write_lock(&mut self.lock, &self.name, self.config.as_deref())
    }

    /// No master had it before this one: what is in it is not handover's.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Removes the lock of a directory that was new, and is not wanted after all.
    pub fn forget(&self) {
        drop(fs::remove_file(self.path.join(LOCK)));
    }

    /// Where it is; absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the control socket is.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        super::control_socket(&self.path)
    }

    /// The lock's descriptor: a master that executes itself keeps it open.
    #[must_use]
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Binds the control socket for its owner alone.
    ///
    /// # Errors
    /// As [`bind_control_as`](Self::bind_control_as).
    pub fn bind_control(&mut self) -> Result<UnixListener, PathError> {
        self.bind_control_as(0o600, None)
    }

    /// Binds the control socket, with this mode and group, in place of what a dead
    /// master left. It is non-blocking, as tokio wants it.
    ///
    /// # Errors
    /// As socket(2), bind(2), chown(2), listen(2) and rename(2); and that a directory has its name.
    pub fn bind_control_as(
        &mut self,
        mode: u32,
        group: Option<u32>,
    ) -> Result<UnixListener, PathError> {
        let path = self.control_socket();
        let fresh = self.path.join(format!("{CONTROL_SOCKET}.new"));
        for name in [&path, &fresh] {
            refuse_other(name, "its control socket", |kind| !kind.is_dir())?;
        }
        self.bind_through(&fresh, &path, mode, group)
            .map_err(io_error("bind", &path))
    }

    fn bind_through(
        &mut self,
        fresh: &Path,
        path: &Path,
        mode: u32,
        group: Option<u32>,
    ) -> io::Result<UnixListener> {
        remove_if_there(fresh)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // Linux gives the path the mode of the unbound socket: so there is no
        // moment in which others could connect.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(&socket, &SocketAddrUnix::new(fresh)?)?;
        // The group first: nobody of another one is let in for a moment.
        std::os::unix::fs::chown(fresh, None, group)?;
        fs::set_permissions(fresh, fs::Permissions::from_mode(mode))?;
        listen(&socket, BACKLOG)?;
        self.control = file_id(fresh);
        fs::rename(fresh, path)?;
        Ok(UnixListener::from(socket))
    }

    /// Whether lock and control socket are where they were: nobody removed
    /// them, or the directory.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.control.is_some()
            && self.is_locked()
            && file_id(&self.control_socket()) == self.control
    }

    /// Makes the directory again if somebody removed it, and locks it again
    /// if another master could: whoever locks a removed file locks nothing.
    ///
    /// # Errors
    /// As [`prepare`]; then nothing changed.
    pub fn restore(&mut self) -> Result<(), PathError> {
        if !self.is_locked() {
            let config = self.config.take();
            *self = prepare(&self.path, &self.name)?;
            self.tell_config(config.as_deref())
                .map_err(io_error("write the lock in", &self.path))?;
        }
        Ok(())
    }

    /// Whether the lock that is held is the one at the path: if not, somebody removed the
    /// directory, and another master may have made it again. What is in it is ours only then.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let held = self.lock.metadata().ok();
        let held = held.map(|meta| (meta.dev(), meta.ino()));
        held.is_some() && held == file_id(&self.path.join(LOCK))
    }

    /// Removes the control socket: the end of the service. The directory and
    /// its lock stay, so that two masters never lock two different files.
    ///
    /// # Errors
    /// As unlink(2); that it is gone already is none.
    pub fn remove_control(&self) -> io::Result<()> {
        remove_if_there(&self.control_socket())
    }
}

fn file_id(path: &Path) -> Option<FileId> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a socket called `socket` can be bound in the runtime directory `path` (unix(7)).
///
/// # Errors
/// [`PathError::TooLong`], and that there is no working directory for a relative path.
pub fn check_length(path: &Path, socket: &str) -> Result<(), PathError> {
    let path = std::path::absolute(path).map_err(io_error("find", path))?;
    let length = path.as_os_str().len();
    // With the slash between them.
    let most = SOCKET_PATH_MAX.saturating_sub(socket.len() + 1);
    match length > most {
        true => Err(PathError::TooLong { path, length, most }),
        false => Ok(()),
    }
}

/// The lock, and whether no master ever had one here.
fn take_lock(directory: &Path, name: &str) -> Result<(File, bool), PathError> {
    let path = directory.join(LOCK);
    refuse_other(&path, "its lock", |kind| kind.is_file())?;
    let is_new = Holder::of(directory).is_none();
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(io_error("open", &path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let path = directory.to_owned();
            return Err(PathError::InUse {
                holder: Holder::of(&path),
                path,
            });
        }
        Err(TryLockError::Error(error)) => return Err(io_error("lock", &path)(error)),
    }
    write_lock(&mut lock, name, None).map_err(io_error("write", &path))?;
    Ok((lock, is_new))
}

/// Who holds the lock: `PID NAME`, then a line for the config.
fn write_lock(lock: &mut File, name: &str, config: Option<&Path>) -> io::Result<()> {
    let name = name.replace('\n', " ");
    let mut lines = format!("{} {name}\n", std::process::id()).into_bytes();
    if let Some(config) = config {
        lines.extend_from_slice(config.as_os_str().as_bytes());
        lines.push(b'\n');
    }
    lock.rewind()?;
    lock.write_all(&lines)?;
    // Last: whoever is killed in between leaves a lock that can be read.
    lock.set_len(lines.len() as u64)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A directory that only its owner may write to, as tempfile makes it.
    fn room() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn a_fresh_directory_is_made_locked_and_bound() {
        let room = room();
        let mut dir = prepare(&room.path().join("a/web"), "web").expect("fresh");
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o711);
        let listener = dir.bind_control().expect("bound");
        assert_eq!(mode(&dir.control_socket()), 0o600);
        UnixStream::connect(dir.control_socket()).expect("it listens");
        let me = Holder {
            pid: std::process::id().cast_signed(),
            name: "web".to_owned(),
            config: None,
        };
        assert_eq!(Holder::of(dir.path()), Some(me.clone()));
        dir.tell_config(Some(Path::new("/etc/handover/web.toml")))
            .expect("written");
        let me = Holder {
            config: Some("/etc/handover/web.toml".into()),
            ..me
        };
        assert_eq!(Holder::of(dir.path()), Some(me.clone()));
        assert_eq!(Holder::of_master(me.pid), Some((me, dir.path().to_owned())));
        drop(listener);
        dir.remove_control().expect("removed");
        dir.remove_control().expect("gone already");
    }

    #[test]
    fn a_live_master_keeps_its_directory() {
        let room = room();
        let path = room.path().join("web");
        let _dir = prepare(&path, "web").expect("fresh");
        let error = prepare(&path, "other").expect_err("in use").to_string();
        let pid = std::process::id();
        assert!(
            error.contains(&format!("running master (web, pid {pid})")),
            "{error}"
        );
    }

    #[test]
    fn what_a_dead_master_left_is_taken_over() {
        let room = room();
        let path = room.path().join("web");
        let mut first = prepare(&path, "web").expect("fresh");
        // Closing without removing is what a crash does.
        drop(first.bind_control().expect("bound"));
        drop(first);
        fs::write(path.join("control.sock.new"), "").expect("a half-made one");
        let mut second = prepare(&path, "web").expect("stale is free");
        let _listener = second.bind_control().expect("bound over it");
        UnixStream::connect(second.control_socket()).expect("the new one listens");
    }

    #[test]
    fn a_removed_directory_is_made_locked_and_bound_again() {
        let room = room();
        let path = room.path().join("web");
        let mut dir = prepare(&path, "web").expect("fresh");
        let _first = dir.bind_control().expect("bound");
        assert!(dir.stands());
        fs::remove_file(dir.control_socket()).expect("removed");
        assert!(!dir.stands());
        dir.restore().expect("nothing to do");
        let _second = dir.bind_control().expect("bound again");
        assert!(dir.stands());
        fs::remove_dir_all(&path).expect("removed");
        assert!(!dir.stands());
        dir.restore().expect("made again");
        assert!(!dir.stands(), "the control socket is still missing");
        let _third = dir.bind_control().expect("bound again");
        assert!(dir.stands());
        UnixStream::connect(dir.control_socket()).expect("it listens");
        prepare(&path, "other").expect_err("locked again");
    }

    #[test]
    fn a_removed_directory_that_another_master_made_is_left_to_it() {
        let room = room();
        let path = room.path().join("web");
        let mut dir = prepare(&path, "web").expect("fresh");
        fs::remove_dir_all(&path).expect("removed");
        let _other = prepare(&path, "other").expect("nobody has it");
        let error = dir.restore().expect_err("in use").to_string();
        assert!(error.contains("other"), "{error}");
        assert!(!dir.stands());
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let room = room();
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
        };
        let path = room.path().join("web");
        fs::create_dir(&path).expect("made");
        open(&path, 0o777);
        let error = prepare(&path, "web").expect_err("unsafe").to_string();
        assert!(
            error.contains("others may write to it (mode 0777)"),
            "{error}"
        );
        open(&path, 0o755);
        open(room.path(), 0o777);
        let error = prepare(&path, "web").expect_err("unsafe above").to_string();
        assert!(error.contains(&*room.path().to_string_lossy()), "{error}");
        // Sticky, like /tmp: nobody else can replace it.
        open(room.path(), 0o1777);
        prepare(&path, "web").expect("safe");
    }

    #[test]
    fn a_link_or_a_file_in_its_place_is_refused() {
        let room = room();
        let target = room.path().join("target");
        fs::create_dir(&target).expect("made");
        let link = room.path().join("link");
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        let error = prepare(&link, "web").expect_err("a link").to_string();
        assert!(error.contains("it is no directory"), "{error}");
        fs::write(room.path().join("file"), "").expect("written");
        prepare(&room.path().join("file"), "web").expect_err("a file");
        prepare(&room.path().join("file/web"), "web").expect_err("below a file");
    }

    #[test]
    fn a_path_too_long_for_a_socket_says_so() {
        let error = prepare(&Path::new("/tmp").join("x".repeat(120)), "web").expect_err("long");
        assert!(error.is_of_the_place());
        let error = error.to_string();
        for part in [
            "xxx is 125 bytes long, and at most 90 work",
            "choose a shorter --runtime-dir",
        ] {
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
    }

    #[test]
    fn the_longest_directory_is_one_in_which_the_socket_can_be_bound() {
        let room = room();
        let length = room.path().as_os_str().len();
        let path = room
            .path()
            .join("x".repeat(SOCKET_PATH_MAX - length - "//s".len()));
        check_length(&path, "s").expect("it fits");
        check_length(&path, "ss").expect_err("a byte too many");
        fs::create_dir(&path).expect("made");
        UnixListener::bind(path.join("s")).expect("bound");
        UnixListener::bind(path.join("ss")).expect_err("a byte too many");
    }
}
