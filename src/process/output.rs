//! A worker's standard output and error: two FIFOs that can neither kill nor, while a master reads, block it.
//!
//! The worker's side is open for reading and writing, so that neither the reader's death nor its absence is
//! an EPIPE; it is a FIFO of the worker's own user and not a pipe of root's, so that `/dev/stdout`
//! can be opened again; it has a path, so that the next master finds it; and it is enlarged where
//! the kernel allows it (fcntl(2), F_SETPIPE_SZ), so that there is time until a next master reads.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, mkfifoat, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use tokio::net::unix::pipe::Receiver;

use super::owner::Owner;
use super::tail::Stream;

/// What the kernel lets an unprivileged process have unless told otherwise (`/proc/sys/fs/pipe-max-size`).
const SIZE_WANTED: usize = 1 << 20;

/// How much is read at once, in bytes.
const AT_ONCE: usize = 16 * 1024;

/// The two FIFOs of one worker, `out` and `err` in a directory of its own.
#[derive(Debug)]
pub struct Pipes {
    directory: PathBuf,
}

/// The worker's ends, to be handed to [`Launcher::launch`](super::Launcher::launch) and then dropped: as long as
/// one is held here, the readers see no end.
#[derive(Debug)]
pub struct Writers {
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Writers {
    /// What becomes descriptor 1.
    pub fn stdout(&self) -> BorrowedFd<'_> {
        self.stdout.as_fd()
    }

    /// What becomes descriptor 2.
    pub fn stderr(&self) -> BorrowedFd<'_> {
        self.stderr.as_fd()
    }

    /// Both as they are: standard output, standard error.
    pub fn into_parts(self) -> (OwnedFd, OwnedFd) {
        (self.stdout, self.stderr)
    }
}

impl Pipes {
    /// Makes both FIFOs in `directory` (which is there; see [`private_directory`](super::private_directory)), for
    /// `owner` alone. What an earlier worker left there is replaced.
    ///
    /// # Errors
    /// What mkfifo(3), open(2), chown(2) say, with the path.
    pub fn create(directory: &Path, owner: Owner) -> io::Result<(Self, Writers)> {
        let pipes = Self {
            directory: directory.to_owned(),
        };
        let writers = Writers {
            stdout: make(&pipes.path(Stream::Stdout), owner)?,
            stderr: make(&pipes.path(Stream::Stderr), owner)?,
        };
        Ok((pipes, writers))
    }

    /// Those that an earlier master made.
    pub fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Where the FIFO of `stream` is.
    pub fn path(&self, stream: Stream) -> PathBuf {
        self.directory.join(match stream {
            Stream::Stdout => "out",
            Stream::Stderr => "err",
        })
    }

    /// Opens one for reading. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// What open(2) says; `InvalidData` when something else is at its place (the directory is the worker's).
    pub fn reader(&self, stream: Stream) -> io::Result<Reader> {
        let path = self.path(stream);
        let fd = open_fifo(&path, OFlags::RDONLY | OFlags::NONBLOCK)
            .map_err(|e| named("opening", &path, e))?;
        Ok(Reader {
            stream,
            pipe: Receiver::from_owned_fd(fd)?,
        })
    }

    /// Removes both paths. What is open goes on.
    pub fn remove(&self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let _ = std::fs::remove_file(self.path(stream));
        }
    }
}

/// A pipe for all that a short-lived command prints: our end, and the one that becomes its descriptors
/// 1 and 2. Needs a tokio runtime with I/O.
///
/// # Errors
/// What pipe(2) says.
pub fn short_pipe() -> io::Result<(Reader, OwnedFd)> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    let reader = Reader {
        stream: Stream::Stdout,
        pipe: Receiver::from_owned_fd(ours)?,
    };
    Ok((reader, theirs))
}

/// Our end of one FIFO.
#[derive(Debug)]
pub struct Reader {
    stream: Stream,
    pipe: Receiver,
}

impl Reader {
    /// Which stream it is.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// Waits for output; 0 when no process has the other end open any more. Nothing is lost when it is
    /// cancelled.
    ///
    /// # Errors
    /// What read(2) says.
    pub async fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            self.pipe.readable().await?;
            match self.pipe.try_read(into) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                result => return result,
            }
        }
    }

    /// Waits for output; empty when no process has the other end open any more. It holds
    /// no memory while it waits.
    ///
    /// # Errors
    /// What read(2) says.
    pub async fn next(&self) -> io::Result<Vec<u8>> {
        loop {
            self.pipe.readable().await?;
            let mut bytes = Vec::with_capacity(AT_ONCE);
            match self.pipe.try_read_buf(&mut bytes) {
                Ok(_) => return Ok(bytes),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What is there now, without waiting: for the last words of a worker that ended while a
    /// descendant still holds the other end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, else what read(2) says.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        // Not through tokio, which says `WouldBlock` until its next look at the descriptor.
        loop {
            match rustix::io::read(&self.pipe, &mut *into) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

fn make(path: &Path, owner: Owner) -> io::Result<OwnedFd> {
    let create = || mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR);
    match create() {
        Err(Errno::EXIST) => {
            std::fs::remove_file(path).map_err(|e| named("replacing", path, e))?;
            create()
        }
        created => created,
    }
    .map_err(|e| named("creating", path, e.into()))?;
    // Reading and writing: this does not wait for the other side (fifo(7)).
    let fd = open_fifo(path, OFlags::RDWR).map_err(|e| named("opening", path, e))?;
    let there = fstat(&fd).map_err(|e| named("examining", path, e.into()))?;
    // The directory is the worker's: that the path still means what was made a moment ago is not certain.
    if there.st_uid != Owner::current().uid || there.st_nlink != 1 {
        return Err(named("opening", path, ErrorKind::PermissionDenied.into()));
    }
    // A smaller one works too.
    let _ = fcntl_setpipe_size(&fd, SIZE_WANTED);
    // Whatever the umask was.
    fchmod(&fd, Mode::RUSR | Mode::WUSR)
        .map_err(|e| named("setting the mode of", path, e.into()))?;
    if (there.st_uid, there.st_gid) != (owner.uid, owner.gid) {
        fchown(
            &fd,
            Some(Uid::from_raw(owner.uid)),
            Some(Gid::from_raw(owner.gid)),
        )
        .map_err(|e| named("setting the owner of", path, e.into()))?;
    }
    Ok(fd)
}

fn open_fifo(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    // Never waits, whatever is there; the flag is taken back for the worker's end below.
    let fd = open(
        path,
        flags | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    if FileType::from_raw_mode(fstat(&fd)?.st_mode) != FileType::Fifo {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is not a FIFO"));
    }
    if !flags.contains(OFlags::NONBLOCK) {
        // A description of our own, which nobody else has yet.
        rustix::fs::fcntl_setfl(&fd, flags)?;
    }
    Ok(fd)
}

/// What failed on which file; the errno stays behind it.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}: {source}", path.display())]
struct Named {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn named(doing: &'static str, path: &Path, source: io::Error) -> io::Error {
    let path = path.to_owned();
    io::Error::new(
        source.kind(),
        Named {
            doing,
            path,
            source,
        },
    )
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
