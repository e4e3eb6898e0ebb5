//! Why a runtime directory cannot be used.

use std::io;
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
    /// The control socket's path would not fit into an address.
    #[error(
        "{} is {length} bytes long, and the kernel takes {SOCKET_PATH_MAX} for a socket: choose a \
         shorter --runtime-dir",
        path.display()
    )]
    TooLong {
        /// The socket's path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
}

impl PathError {
    /// Nothing can be made there, by whomever: another place may do.
    #[must_use]
    pub fn is_not_writable(&self) -> bool {
        use io::ErrorKind as E;
        let Self::Io { source, .. } = self else {
            return false;
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

pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PathError {
    let path = path.to_owned();
    move |source| PathError::Io { what, path, source }
}
