//! Unix stream sockets at a path: who owns the path, and how it comes back.
//!
//! The socket is bound to a hidden name beside the path, gets its owner and mode, listens, and is
//! then renamed to the path: whoever sees the path can connect. A second hard link, the *keep*,
//! stays in a directory of the master's (or beside, as a dot file, where that is another file
//! system): when someone removes the path, link(2) restores it to the very same socket, queue and
//! all. (A socket without a link cannot be linked again by a descriptor, its own or O_PATH: EXDEV.)

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Uid, chownat, fchmod, fstat,
    renameat_with,
};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::error::Fault;
use super::holder;
use super::occupant::{Occupant, PATH_BYTES_MAX, occupant, refuse_unless_free, sock_addr};
use super::options;
use crate::config::Listen;

/// A path that this process bound.
#[derive(Debug)]
pub(super) struct OwnedPath {
    path: PathBuf,
    keep: Option<PathBuf>,
    id: FileId,
}

/// Device and inode of a socket file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

/// What is at an owned path now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Ours,
    /// nothing
    Lost,
    /// a socket that nobody serves any more
    Dead,
    /// something that is left alone: a sentence about it
    Taken(String),
}

/// Binds `path` and listens there. `keep_dir` is where the second link goes if it can.
pub(super) fn open(
    entry: &Listen,
    path: &Path,
    keep_dir: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<(Socket, OwnedPath), Fault> {
    let path = std::path::absolute(path).map_err(Fault::os("getcwd"))?;
    let length = path.as_os_str().len();
    if length > PATH_BYTES_MAX {
        return Err(Fault::PathTooLong { length });
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Fault::NoFileName(path));
    };
    let staged = directory.join(hidden(name, ".handover"));
    let occupant = occupant(&path).map_err(Fault::path("connect", directory))?;
    refuse_unless_free(&path, &occupant)?;
    clear(&staged, directory)?;

    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(Fault::os("socket"))?;
    socket
        .set_nonblocking(entry.nonblocking)
        .map_err(|error| Fault::Option {
            option: "nonblocking",
            error,
        })?;
    options::buffers(entry, &socket, warnings)?;
    bind(entry, &socket, &staged, directory)?;
    let id = FileId::of(&staged).map_err(Fault::path("stat", directory))?;
    let owned = OwnedPath {
        path,
        keep: None,
        id,
    };
    match finish(entry, &socket, &staged, owned, keep_dir, &occupant) {
        Ok(owned) => Ok((socket, owned)),
        Err(fault) => {
            // The fault that is returned says more than one about a leftover name would.
            let _ = remove_if(&staged, id);
            Err(fault)
        }
    }
}

impl OwnedPath {
    /// As [`parts`](Self::parts) gave them.
    pub(super) fn of_parts(path: PathBuf, keep: Option<PathBuf>, id: (u64, u64)) -> Self {
        let id = FileId(id.0, id.1);
        Self { path, keep, id }
    }

    /// The path, its second link, device and inode.
    pub(super) fn parts(&self) -> (&Path, Option<&Path>, (u64, u64)) {
        (&self.path, self.keep.as_deref(), (self.id.0, self.id.1))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the path, while it is ours, the owner and the permissions of `entry`; what that leaves out stays.
    pub(super) fn reown(&self, entry: &Listen) -> Result<(), Fault> {
        match self.standing() {
            Standing::Ours => set_owner(entry, &self.path, self.id, LINKS_MAX),
            // Whatever stands there is not ours to change.
            _ => Ok(()),
        }
    }

    /// Looks at the path, without changing anything.
    pub(super) fn standing(&self) -> Standing {
        match FileId::of(&self.path) {
            Ok(id) if id == self.id => return Standing::Ours,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Standing::Lost,
            _ => {}
        }
        let path = self.path.display();
        match occupant(&self.path) {
            Ok(Occupant::Nobody) => Standing::Lost,
            Ok(Occupant::Stale) => Standing::Dead,
            Ok(Occupant::NotASocket) => Standing::Taken(format!(
                "{path} was replaced by something that is not a socket, and no client gets through; remove that, and the \
                 socket is there again"
            )),
            Ok(Occupant::Live(holders)) => Standing::Taken(format!(
                "{path} was taken over by {}: clients reach that and not this service until it is removed",
                holder::list(&holders)
            )),
            Err(error) => Standing::Taken(format!("{path} cannot be looked at: {error}")),
        }
    }

    /// Leads a lost or dead path back to our socket by the second link.
    ///
    /// # Errors
    /// ENOENT when the second link is gone too, or the directory is.
    pub(super) fn restore(&self) -> io::Result<()> {
        let keep = self
            .keep
            .as_deref()
            .filter(|keep| FileId::of(keep).ok() == Some(self.id));
        let keep = keep.ok_or(Errno::NOENT)?;
        match fs::hard_link(keep, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done,
        }
        // A dead socket is in the way: over it, so that there is no moment without a path.
        let name = self.path.file_name().ok_or(Errno::INVAL)?;
        let next = self.path.with_file_name(hidden(name, NEXT));
        remove_socket(&next);
        fs::hard_link(keep, &next)?;
        fs::rename(&next, &self.path)
    }

    /// Makes the second link again when it was lost and the path is still ours.
    pub(super) fn mend_keep(&self) {
        if let Some(keep) = &self.keep
            && FileId::of(keep).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            // Nothing is lost when this fails: the path itself stands.
            let _ = fs::hard_link(&self.path, keep);
        }
    }

    /// Removes path and second link, each only if it still is our socket.
    pub(super) fn remove(self) -> io::Result<()> {
        if let Some(keep) = &self.keep {
            remove_if(keep, self.id)?;
        }
        remove_if(&self.path, self.id)
    }
}

/// As many of one name are never open at once.
const LISTENERS_MAX: u32 = 1000;

/// Path, second link, and the name of the moment in which the path is put back.
const LINKS_MAX: u64 = 3;

/// The name that a socket has for the moment before it is renamed over another.
const NEXT: &str = ".handover-new";

/// A dot file beside `name`: readable, but short enough to be bound where `name` is.
fn hidden(name: &OsStr, suffix: &str) -> OsString {
    const READABLE_MAX: usize = 48;
    let mut hidden = OsString::from(".");
    if name.len() <= READABLE_MAX {
        hidden.push(name);
    } else {
        // FNV-1a: the same name after every restart, so that what a crash left is found again.
        let hash = name
            .as_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        hidden.push(format!("{hash:016x}"));
    }
    hidden.push(suffix);
    hidden
}

impl FileId {
    fn of(path: &Path) -> io::Result<FileId> {
        let meta = fs::symlink_metadata(path)?;
        Ok(FileId(meta.dev(), meta.ino()))
    }
}

fn remove_if(path: &Path, id: FileId) -> io::Result<()> {
    match FileId::of(path) {
        Ok(found) if found == id => fs::remove_file(path),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what a crashed predecessor left under one of our own hidden names, if it is a socket.
fn remove_socket(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        let _ = fs::remove_file(path);
    }
}

/// Makes room for a hidden name of ours.
fn clear(staged: &Path, directory: &Path) -> Result<(), Fault> {
    let occupant = occupant(staged).map_err(Fault::path("connect", directory))?;
    refuse_unless_free(staged, &occupant)?;
    match occupant {
        Occupant::Stale => fs::remove_file(staged).map_err(Fault::path("unlink", directory)),
        _ => Ok(()),
    }
}

/// Binds the hidden name. The file gets the mode of the socket's own inode less the umask
/// (unix_bind_bsd in the kernel): with an explicit mode nothing at first, so that there is no
/// moment with too much.
fn bind(entry: &Listen, socket: &Socket, staged: &Path, directory: &Path) -> Result<(), Fault> {
    let first = if entry.mode.is_some() {
        Mode::empty()
    } else {
        Mode::from_raw_mode(0o666)
    };
    fchmod(socket, first)
        .map_err(io::Error::from)
        .map_err(Fault::os("fchmod"))?;
    let (address, _directory) = sock_addr(staged).map_err(Fault::path("open", directory))?;
    match socket.bind(&address) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::ADDRINUSE) => {
            Err(Fault::LivePath {
                holders: holder::of_path(staged),
                path: staged.to_owned(),
            })
        }
        bound => bound.map_err(Fault::path("bind", directory)),
    }
}

/// Owner, mode, listen(2), the second link, the path: in this order, so that whoever sees the path
/// finds it complete.
fn finish(
    entry: &Listen,
    socket: &Socket,
    staged: &Path,
    mut owned: OwnedPath,
    keep_dir: Option<&Path>,
    occupant: &Occupant,
) -> Result<OwnedPath, Fault> {
    set_owner(entry, staged, owned.id, 1)?;
    socket
        .listen(options::backlog(entry))
        .map_err(Fault::os("listen"))?;
    let keep = keep_dir.and_then(|keep_dir| {
        let name = entry.name.replace('/', "_");
        keep_in(keep_dir, staged, &owned.path, &name)
    });
    match publish(staged, &owned.path, keep.clone(), occupant) {
        // Looked at again: another process may have taken the path in this very moment.
        Ok(kept) if FileId::of(&owned.path).ok() == Some(owned.id) => {
            owned.keep = kept;
            Ok(owned)
        }
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            keep.map_or(Ok(()), |keep| remove_if(&keep, owned.id)).ok();
            let directory = staged.parent().unwrap_or(staged);
            Err(Fault::path("rename", directory)(error))
        }
        _ => {
            keep.map_or(Ok(()), |keep| remove_if(&keep, owned.id)).ok();
            let holders = holder::of_path(&owned.path);
            Err(Fault::LivePath {
                path: owned.path,
                holders,
            })
        }
    }
}

/// The directory may be writable by others than us, the worker's user for one: so the staged name is
/// looked at once, as a descriptor, and what it leads to must be our socket and nothing else's too.
fn set_owner(entry: &Listen, staged: &Path, id: FileId, links: u64) -> Result<(), Fault> {
    let uid = entry.user.as_deref().map(user).transpose()?;
    let gid = entry.group.as_deref().map(group).transpose()?;
    let option = match (uid, gid, entry.mode) {
        (Some(_), _, _) => "user",
        (None, Some(_), _) => "group",
        (None, None, Some(_)) => "mode",
        (None, None, None) => return Ok(()),
    };
    let refused = |option: &'static str| move |error: io::Error| Fault::Option { option, error };
    let node = staged_node(staged, id, links).map_err(refused(option))?;
    if uid.is_some() || gid.is_some() {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        chownat(&node, "", uid, gid, AtFlags::EMPTY_PATH)
            .map_err(io::Error::from)
            .map_err(refused(option))?;
    }
    if let Some(mode) = entry.mode {
        // fchmod(2) takes no O_PATH descriptor, but this link leads to what it is.
        let itself = format!("/proc/self/fd/{}", node.as_raw_fd());
        fs::set_permissions(itself, fs::Permissions::from_mode(mode & 0o7777))
            .map_err(refused("mode"))?;
    }
    Ok(())
}

fn staged_node(staged: &Path, id: FileId, links: u64) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::open(staged, flags, Mode::empty())?;
    let stat = fstat(&node)?;
    let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
    if !is_socket || stat.st_nlink > links || FileId(stat.st_dev, stat.st_ino) != id {
        return Err(io::Error::other(
            "somebody put something else in the socket's place at the same moment",
        ));
    }
    Ok(node)
}

/// The second link in `keep_dir`; `None` where that is another file system, or forbidden.
fn keep_in(keep_dir: &Path, staged: &Path, path: &Path, name: &str) -> Option<PathBuf> {
    // By the listener's name: file names of several directories may be the same. While a listener drains that
    // had the name, its link stays.
    let here = FileId::of(path).ok();
    let of_another = |keep: &PathBuf| {
        fs::symlink_metadata(keep)
            .is_ok_and(|meta| meta.nlink() > 1 && here != Some(FileId(meta.dev(), meta.ino())))
    };
    let first = keep_dir.join(format!("{name}.socket"));
    let more = (1..LISTENERS_MAX).map(|n: u32| keep_dir.join(format!("{name}-{n}.socket")));
    let keep = std::iter::once(first)
        .chain(more)
        .find(|keep| !of_another(keep))?;
    remove_socket(&keep);
    fs::hard_link(staged, &keep).ok()?;
    Some(keep)
}

/// Gives the staged socket its path, and says where its second link is.
fn publish(
    staged: &Path,
    path: &Path,
    keep: Option<PathBuf>,
    occupant: &Occupant,
) -> io::Result<Option<PathBuf>> {
    if keep.is_some() {
        return rename(staged, path, occupant).map(|()| keep);
    }
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let next = &path.with_file_name(hidden(name, NEXT));
    remove_socket(next);
    match fs::hard_link(staged, next) {
        Ok(()) => {
            rename(next, path, occupant).inspect_err(|_| remove_socket(next))?;
            Ok(Some(staged.to_owned()))
        }
        // A file system without hard links: nothing to restore from, all else works.
        Err(_) => rename(staged, path, occupant).map(|()| None),
    }
}

/// Over a stale socket, but never over something that appeared since we looked.
fn rename(from: &Path, to: &Path, occupant: &Occupant) -> io::Result<()> {
    if *occupant == Occupant::Stale {
        return fs::rename(from, to);
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        done => done.map_err(io::Error::from),
    }
}

fn user(name: &str) -> Result<u32, Fault> {
    if let Ok(uid) = name.parse() {
        return Ok(uid);
    }
    let found = User::from_name(name)
        .map_err(io::Error::from)
        .map_err(Fault::os("getpwnam"))?;
    found
        .map(|user| user.uid.as_raw())
        .ok_or_else(|| Fault::Nobody {
            kind: "user",
            name: name.to_owned(),
        })
}

fn group(name: &str) -> Result<u32, Fault> {
    if let Ok(gid) = name.parse() {
        return Ok(gid);
    }
    let found = Group::from_name(name)
        .map_err(io::Error::from)
        .map_err(Fault::os("getgrnam"))?;
    found
        .map(|group| group.gid.as_raw())
        .ok_or_else(|| Fault::Nobody {
            kind: "group",
            name: name.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::sockets::testing::unix;

    #[test]
    fn f08_owner_and_mode_reach_our_socket_and_nothing_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (staged, secret) = (dir.path().join("staged"), dir.path().join("secret"));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        let _socket = UnixListener::bind(&staged).unwrap();
        let mut entry = unix("web", &dir.path().join("web.sock"));
        entry.mode = Some(0o666);
        entry.group = Some(rustix::process::getegid().as_raw().to_string());
        let ours = FileId::of(&staged).unwrap();
        set_owner(&entry, &staged, ours, 1).unwrap();
        assert_eq!(mode(&staged), 0o666);

        fs::write(&secret, "").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(&staged).unwrap();
        symlink(&secret, &staged).unwrap();
        // Swapped after the bind, and so early that the link was taken for the socket.
        for id in [ours, FileId::of(&staged).unwrap()] {
            let fault = set_owner(&entry, &staged, id, 1).unwrap_err().to_string();
            assert!(fault.contains("somebody put something else"), "{fault}");
        }
        // Another service's socket under a second name.
        let other = dir.path().join("other");
        let _other = UnixListener::bind(&other).unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(&staged).unwrap();
        fs::hard_link(&other, &staged).unwrap();
        set_owner(&entry, &staged, FileId::of(&staged).unwrap(), 1).unwrap_err();
        assert_eq!((mode(&secret), mode(&other)), (0o600, 0o600));
    }
}
