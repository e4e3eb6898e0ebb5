//! Directories that are made, or found and trusted.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::unusable::{PathError, io_error, refuse_other};

/// Makes what lies above a runtime directory, as far as it is not there.
pub(super) fn make_parents(parent: &Path, user: u32) -> Result<(), PathError> {
    // Root's workers may be other users and must pass; a user's are the user.
    let mode = if user == 0 { 0o755 } else { 0o700 };
    if parent.is_dir() {
        return Ok(());
    }
    if let Some(above) = parent.parent() {
        make_parents(above, user)?;
    }
    // What is there already is looked at later.
    make_directory(parent, mode)
        .map(drop)
        .map_err(io_error("make the directory", parent))
}

/// Makes one directory with exactly this mode, of which the umask takes no share, and says
/// whether it was not there before. One that was there stays as it is.
///
/// # Errors
/// As mkdir(2), open(2) and fchmod(2).
pub fn make_directory(path: &Path, mode: u32) -> io::Result<bool> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        made => made?,
    }
    // By descriptor: where others may write above, nobody can have us change something else.
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?;
    Ok(true)
}

/// As [`make_directory`], below a runtime directory: says so where something else has its name. `wanted`: what it is for.
///
/// # Errors
/// As mkdir(2), open(2) and fchmod(2), and [`PathError::InTheWay`].
pub fn make_room(path: &Path, mode: u32, wanted: &'static str) -> Result<(), PathError> {
    refuse_other(path, wanted, |kind| kind.is_dir())?;
    make_directory(path, mode)
        .map(drop)
        .map_err(io_error("make the directory", path))
}

/// Makes the runtime directory; one that is there must be safe from others.
pub(super) fn make(path: &Path, user: u32) -> Result<(), PathError> {
    if make_directory(path, 0o711).map_err(io_error("make the directory", path))? {
        return Ok(());
    }
    let meta = fs::symlink_metadata(path).map_err(io_error("look at", path))?;
    let (owner, mode) = (meta.uid(), meta.mode() & 0o777);
    let reason = if !meta.is_dir() {
        "it is no directory".to_owned()
    } else if owner != user && owner != 0 {
        format!("it belongs to uid {owner}")
    } else if mode & 0o022 != 0 {
        format!("others may write to it (mode {mode:04o})")
    } else {
        return Ok(());
    };
    Err(PathError::Unsafe {
        path: path.to_owned(),
        reason,
    })
}
