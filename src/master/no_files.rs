//! What to do where a worker's files cannot be made, by the errno.

use std::io;

use rustix::io::Errno;

/// As the end of a sentence that says what failed.
pub(super) fn hint(error: &io::Error) -> &'static str {
    match errno(error) {
        Some(Errno::MFILE) => "; raise LimitNOFILE= of the unit, or ulimit -n",
        Some(Errno::NFILE) => "; the machine's limit is reached: raise fs.file-max",
        Some(Errno::NOSPC | Errno::DQUOT) => "; make room there",
        Some(Errno::ROFS) => "; the file system is read-only: mount it writable",
        Some(Errno::ACCESS | Errno::PERM) => "; the master's user may not write there",
        Some(Errno::NOTDIR | Errno::EXIST) => "; something else is in its place: remove that",
        Some(_) => "; is the file system full or read-only?",
        // What is ours to say is said.
        None => "",
    }
}

/// Its own, or that of the error that it names a file for.
fn errno(error: &io::Error) -> Option<Errno> {
    let inner = || {
        let source = error.get_ref()?.source()?;
        Errno::from_io_error(source.downcast_ref::<io::Error>()?)
    };
    Errno::from_io_error(error).or_else(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("opening /run/out: {0}")]
    struct Named(#[source] io::Error);

    #[test]
    fn the_hint_fits_the_errno_also_behind_the_name_of_a_file() {
        for (errno, part) in [
            (Errno::MFILE, "LimitNOFILE="),
            (Errno::NFILE, "fs.file-max"),
            (Errno::NOSPC, "make room"),
            (Errno::ROFS, "is read-only:"),
            (Errno::NOTDIR, "in its place"),
            (Errno::IO, "full or read-only?"),
        ] {
            let bare = io::Error::from(errno);
            assert!(hint(&bare).contains(part), "{errno}: {}", hint(&bare));
            let named = io::Error::new(bare.kind(), Named(bare));
            assert!(hint(&named).contains(part), "{named}: {}", hint(&named));
        }
        let ours = io::Error::new(io::ErrorKind::InvalidInput, "a path is too long");
        assert_eq!(hint(&ours), "");
    }
}
