//! The state directory: what outlives a master and the machine's uptime.
//!
//! A thread of its own writes: fsync(2) takes as long as the disk wants. Whole files replace each other by
//! rename(2), so that there is the old one or the new one after a power cut. The files hold values of variables,
//! which are secrets: mode 0600, in a directory of mode 0700.

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::oneshot;

use super::kept;
use super::sticky::Sticky;
use crate::control::paths::{default_state_dir, make_directory};

/// What only the master's user may look into; beside it is room for the workers' own state.
const PRIVATE: &str = "master";
const FILE: &str = "sticky";

/// Far above what execve(2) takes for a command and its environment (6 MiB).
const BYTES_MAX: u64 = 32 << 20;

/// How long an answer, and the end of the master, waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file to be written (or, without bytes, removed), and who wants to know.
type Job = (Option<Vec<u8>>, oneshot::Sender<io::Result<()>>);

/// A directory that can be written to, and the thread that does it.
pub(super) struct StateDir {
    private: PathBuf,
    jobs: Option<mpsc::Sender<Job>>,
    /// Closed when the thread ends.
    ended: mpsc::Receiver<()>,
    /// What was found in the file; none as soon as something was to be written.
    last: Option<Option<Vec<u8>>>,
}

impl StateDir {
    /// Opens the directory that was given, else the usual one of the service `name`, and reads what is in it. A file
    /// that cannot be read is put aside, with a warning, which says by which command (`upgrade`) another release comes.
    ///
    /// # Errors
    /// A sentence: why nothing can be kept there, and what follows.
    pub(super) fn open(
        given: Option<PathBuf>,
        name: &str,
        upgrade: &str,
    ) -> Result<(Self, Option<Sticky>, Option<String>), String> {
        let Some(directory) = given.or_else(|| default_state_dir(name)) else {
            return Err(memory_only(
                "there is no state directory: neither HOME nor XDG_STATE_HOME is set",
            ));
        };
        let unusable = |error: io::Error| {
            let directory = directory.display();
            memory_only(&format!(
                "the state directory {directory} cannot be used: {error}"
            ))
        };
        let private = prepare(&directory).map_err(unusable)?;
        let file = private.join(FILE);
        let (bytes, sticky, warning) = match read(&file) {
            Ok(None) => (None, None, None),
            Ok(Some(bytes)) => match kept::decode(&bytes) {
                Ok((_, Some(other))) if other != name => {
                    let directory = directory.display();
                    return Err(memory_only(&format!(
                        "the state directory {directory} holds what the service {other} runs, and is left to it \
                         (where there is no such service any more, remove {})",
                        file.display()
                    )));
                }
                Ok((sticky, _)) => (Some(bytes), Some(sticky), None),
                Err(why) => (
                    None,
                    None,
                    Some(put_aside(&file, &why.to_string(), upgrade)),
                ),
            },
            Err(error) if error.kind() == io::ErrorKind::InvalidData => (
                None,
                None,
                Some(put_aside(&file, &error.to_string(), upgrade)),
            ),
            Err(error) => {
                let named = format!("{}: {error}", file.display());
                return Err(unusable(io::Error::new(error.kind(), named)));
            }
        };
        let (jobs, waiting) = mpsc::channel();
        let (ends, ended) = mpsc::channel();
        let place = private.clone();
        let thread = std::thread::Builder::new().name("state".to_owned());
        thread
            .spawn(move || {
                work(&place, &waiting);
                drop::<mpsc::Sender<()>>(ends);
            })
            .map_err(unusable)?;
        let state = Self {
            private,
            jobs: Some(jobs),
            ended,
            last: Some(bytes),
        };
        Ok((state, sticky, warning))
    }

    pub(super) fn file(&self) -> PathBuf {
        self.private.join(FILE)
    }

    /// Writes the file, or removes it; none when it is so already. The future tells when that is done, within
    /// five seconds.
    pub(super) fn keep(
        &mut self,
        bytes: Option<Vec<u8>>,
    ) -> Option<impl Future<Output = Result<(), String>> + use<>> {
        if self.last.as_ref() == Some(&bytes) {
            return None;
        }
        // The same again is written again: this may fail.
        self.last = None;
        let (tell, told) = oneshot::channel();
        let sent = self.jobs.as_ref().map(|jobs| jobs.send((bytes, tell)));
        let file = self.file();
        Some(async move {
            let why = match (sent, tokio::time::timeout(PATIENCE, told).await) {
                (Some(Ok(())), Ok(Ok(Ok(())))) => return Ok(()),
                (Some(Ok(())), Ok(Ok(Err(error)))) => error.to_string(),
                (Some(Ok(())), Err(_)) => "the disk did not answer in time".to_owned(),
                _ => "the thread that writes it is gone".to_owned(),
            };
            Err(format!("{}: {why}", file.display()))
        })
    }

    /// Waits for what is being written, up to a bound.
    pub(super) fn finish(&mut self) {
        self.jobs = None;
        // Nothing is ever sent: closed, or too late.
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

fn memory_only(why: &str) -> String {
    format!(
        "{why}; the command and the variables that an upgrade brings are kept in memory only and end with this \
         master (--state-dir names another place)"
    )
}

/// Makes the directory, with the private one in it, and sees that it can be written to.
fn prepare(directory: &Path) -> io::Result<PathBuf> {
    let directory = std::path::absolute(directory)?;
    if let Some(above) = directory.parent() {
        fs::create_dir_all(above)?;
    }
    make_directory(&directory, 0o711)?;
    let private = directory.join(PRIVATE);
    make_directory(&private, 0o700)?;
    let meta = fs::symlink_metadata(&private)?;
    let user = rustix::process::geteuid().as_raw();
    if !meta.is_dir() || meta.uid() != user || meta.mode() & 0o077 != 0 {
        let shown = private.display();
        return Err(io::Error::other(format!(
            "{shown} must be a directory of uid {user} with mode 0700"
        )));
    }
    let probe = next(&private);
    create(&probe)?;
    fs::remove_file(probe)?;
    Ok(private)
}

/// The name that a file has until it is whole.
fn next(private: &Path) -> PathBuf {
    private.join(format!("{FILE}.new"))
}

/// Makes a file of its own: what bore the name is removed and not opened, since of a pipe that would wait for a reader.
fn create(path: &Path) -> io::Result<File> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(named)?,
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).map_err(named)
}

fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    // Of a pipe the opening would wait for a writer.
    let flags = nix::libc::O_NONBLOCK;
    let opened = match File::options().read(true).custom_flags(flags).open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A link to itself, a socket, a device that is not there: nothing that opens ever (open(2)).
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::LOOP | Errno::NXIO | Errno::NODEV)
            ) =>
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it is no regular file ({error})"),
            ));
        }
        opened => opened?,
    };
    if !opened.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is no regular file",
        ));
    }
    let mut bytes = Vec::new();
    opened.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Says what became of it, and what to do.
fn put_aside(file: &Path, why: &str, upgrade: &str) -> String {
    let aside = file.with_extension("unreadable");
    let moved = match fs::rename(file, &aside) {
        Ok(()) => format!("it is moved to {}", aside.display()),
        Err(error) => format!("it cannot be moved aside: {error}"),
    };
    format!(
        "{} cannot be read: {why}; {moved}. What an upgrade had brought is lost and the config's own release runs: \
         if it was another, say so again: {upgrade} -- COMMAND",
        file.display()
    )
}

fn work(private: &Path, jobs: &mpsc::Receiver<Job>) {
    while let Ok((bytes, tell)) = jobs.recv() {
        let done = match &bytes {
            Some(bytes) => write(private, bytes),
            None => remove(private),
        };
        if done.is_err() {
            // After a restart the config's release is right sooner than one that was replaced since.
            drop(remove(private));
        }
        drop(tell.send(done));
    }
}

fn write(private: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = next(private);
    let whole = create(&next).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = whole.and_then(|()| fs::rename(&next, private.join(FILE))) {
        drop(fs::remove_file(next));
        return Err(error);
    }
    File::open(private)?.sync_all()
}

fn remove(private: &Path) -> io::Result<()> {
    match fs::remove_file(private.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(private)?.sync_all(),
    }
}
