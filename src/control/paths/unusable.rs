//! Why a runtime directory cannot be used.

use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::Holder;

/// `sun_path` less its NUL (unix(7)).
pub(super) const SOCKET_PATH_MAX: usize = 107;

/// Why a runtime directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// Something could not be made or opened.
    #[error(
        "cannot {what} {}: {source}; make it so that this user may write there, or choose another with --runtime-dir",
        path.display()
    )]
    Io {
        /// "make", "open", "lock".
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another user could put something else there.
    #[error(
        "the runtime directory {} is not safe: {reason}; choose another with --runtime-dir",
        path.display()
    )]
    Unsafe {
        /// The directory in question: the runtime directory or the one above.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something that is none of handover's has a name in it.
    #[error(
        "{} is {what}, and handover needs this name for {wanted}; remove it, and start again: {command} {}; or \
         choose another directory with --runtime-dir",
        path.display(),
        path.display()
    )]
    InTheWay {
        /// What is in the way.
        path: PathBuf,
        /// "a FIFO"
        what: &'static str,
        /// "its lock"
        wanted: &'static str,
        /// What removes it.
        command: &'static str,
    },
    /// It would be emptied, and no master made it.
    #[error(
        "{} is not empty, and no master of handover made it: what is in it would be removed; give handover a directory of \
         its own with --runtime-dir",
        path.display()
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// A live master has it.
    #[error(
        "{} belongs to a running master{} give this one another --name or --runtime-dir",
        path.display(),
        whose(holder.as_ref(), path)
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who has it, where that could be read.
        holder: Option<Holder>,
    },
    /// The path of a socket in it would not fit into an address.
    #[error(
        "the runtime directory {} is {length} bytes long, and at most {most} work: its sockets, those of workers \
         with high numbers too, have longer paths, of which the kernel takes {SOCKET_PATH_MAX} bytes (unix(7)); \
         choose a shorter --runtime-dir, or a shorter --name where the directory is called after it",
        path.display()
    )]
    TooLong {
        /// The directory.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// How long it may be.
        most: usize,
    },
}

impl PathError {
    /// Nothing can be made there, by whomever, or nothing that works: another place may do.
    #[must_use]
    pub fn is_of_the_place(&self) -> bool {
        use io::ErrorKind as E;
        let source = match self {
            Self::Io { source, .. } => source,
            other => return matches!(other, Self::TooLong { .. }),
        };
        matches!(
            source.kind(),
            E::PermissionDenied | E::ReadOnlyFilesystem | E::NotFound | E::NotADirectory
        )
    }
}

/// Who holds `path`, and the commands that find it.
fn whose(holder: Option<&Holder>, path: &Path) -> String {
    let Some(holder) = holder else {
        return ":".to_owned();
    };
    format!(
        " ({}, pid {}): upgrade it: {}; stop it: {}; or",
        holder.name,
        holder.pid,
        holder.command("upgrade", path),
        holder.command("stop", path)
    )
}

/// Says what is at `path` unless it is nothing, or `fits`.
pub(super) fn refuse_other(
    path: &Path,
    wanted: &'static str,
    fits: impl FnOnce(FileType) -> bool,
) -> Result<(), PathError> {
    // Whoever cannot look cannot use it either, which the use will say.
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let kind = meta.file_type();
    if fits(kind) {
        return Ok(());
    }
    let what = match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_file() => "a file",
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let path = path.to_owned();
    Err(PathError::InTheWay {
        path,
        what,
        wanted,
        command: if kind.is_dir() { "rm -r" } else { "rm" },
    })
}

pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PathError {
    let path = path.to_owned();
    move |source| PathError::Io { what, path, source }
}
