//! The thread that starts processes, with a descriptor table of its own.
//!
//! A process is started with a copy of its parent's descriptor table, which the kernel fills entry by entry
//! and, when the child executes, empties again. A master of a thousand workers holds thousands of
//! descriptors, and both together were more than half of the cost of a start. So one thread leaves the
//! common table (unshare(2), CLONE_FILES), closes all that it does not need, and starts every process from
//! there. What a child needs comes to it by SCM_RIGHTS. The parent is the process in any case: a child may be
//! waited for from every thread.
//!
//! Where the kernel refuses (a container whose seccomp filter forbids unshare(2)), the thread keeps the common table
//! and everything else is the same.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::launcher::ROLE;
use crate::sockets::pass;

/// Descriptors that go with each request: the launcher's socket, its standard output, its standard error.
const DESCRIPTORS: usize = 3;
/// posix_spawn(3) brings its own stack; reading a directory is the deepest that this one goes.
const STACK: usize = 128 * 1024;

/// The way to the thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Spawner {
    socket: Mutex<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Spawner {
    /// Starts the thread; every process that it starts is the handover at `path`, which is opened now.
    ///
    /// # Errors
    /// What open(2) says of `path`, or that a thread or a socket cannot be had.
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        Self::start_after(path, || unshare(CloneFlags::CLONE_FILES).is_ok())
    }

    /// `leave` leaves the common descriptor table, or says that it cannot.
    fn start_after(path: &Path, leave: fn() -> bool) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = Arc::new(theirs);
        let (path, shared) = (path.to_owned(), theirs.clone());
        let thread = thread::Builder::new()
            .name("launch".to_owned())
            .stack_size(STACK)
            .spawn(move || serve(shared, &path, leave))?;
        // From its answer on the thread has its own end of the pair; ours of it closes only then.
        answer(&ours)?;
        drop(theirs);
        Ok(Self {
            socket: Mutex::new(ours),
            thread: Some(thread),
        })
    }

    /// Starts the launcher with these as its descriptors 0, 1 and 2 in a process group of its own; returns its
    /// number. It is unreaped, so the number is good until somebody waits for it.
    ///
    /// # Errors
    /// What posix_spawn(3) says, or that the thread is gone.
    pub(super) fn spawn(&self, fds: [BorrowedFd<'_>; DESCRIPTORS]) -> io::Result<i32> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        pass::send(socket.as_fd(), &[], &fds)?;
        answer(&socket)
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        let socket = self
            .socket
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // It reads an end, and waits for nothing else.
        let _ = socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut socket: &UnixStream) -> io::Result<i32> {
    let mut answer = [0; 8];
    socket.read_exact(&mut answer)?;
    let [p0, p1, p2, p3, e0, e1, e2, e3] = answer;
    match i32::from_le_bytes([e0, e1, e2, e3]) {
        0 => Ok(i32::from_le_bytes([p0, p1, p2, p3])),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// A number and an errno, of which one is 0.
fn say(mut socket: &UnixStream, outcome: io::Result<i32>) -> io::Result<()> {
    let (pid, errno) = match outcome {
        Ok(pid) => (pid, 0),
        // An error without a number is one of ours: nothing that the kernel said.
        Err(error) => (
            0,
            error.raw_os_error().unwrap_or(Errno::PROTO.raw_os_error()),
        ),
    };
    let [p0, p1, p2, p3] = pid.to_le_bytes();
    let [e0, e1, e2, e3] = errno.to_le_bytes();
    socket.write_all(&[p0, p1, p2, p3, e0, e1, e2, e3])
}

/// The thread.
fn serve(shared: Arc<UnixStream>, path: &Path, leave: fn() -> bool) {
    let (socket, program) = match settle_in(&shared, path, leave) {
        Ok(own) => own,
        Err(error) => {
            // Whoever started this thread waits for the answer, and nobody else does.
            let _ = say(&shared, Err(error));
            return;
        }
    };
    // What is left of it in this table was closed above.
    drop(shared);
    let mut outcome = Ok(0);
    while say(&socket, outcome).is_ok() {
        match wait(&socket).and_then(|()| pass::recv(socket.as_fd(), 0)) {
            Ok((_, fds)) => outcome = start(&program, fds),
            // The master's end is closed.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return,
            Err(error) => outcome = Err(error),
        }
    }
}

/// Leaves the common descriptor table with nothing but what is needed: the standard three, which keep
/// their numbers taken, an end of the socket, the program.
fn settle_in(
    shared: &UnixStream,
    path: &Path,
    leave: fn() -> bool,
) -> io::Result<(UnixStream, OwnedFd)> {
    let alone = leave();
    let socket = shared.try_clone()?;
    let program = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    if alone {
        let keep = [0, 1, 2, socket.as_raw_fd(), program.as_raw_fd()];
        for fd in numbers()?.into_iter().filter(|fd| !keep.contains(fd)) {
            // Nothing in this thread owns any of them: their owners live in the other table. The
            // number of the listing itself is among them and closed already.
            let _ = nix::unistd::close(fd);
        }
    }
    Ok((socket, program))
}

fn numbers() -> io::Result<Vec<RawFd>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/thread-self/fd")? {
        numbers.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<RawFd>().ok()),
        );
    }
    Ok(numbers)
}

/// Until something is to be read, however long that takes.
fn wait(socket: &UnixStream) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], None) {
            Err(Errno::INTR) => {}
            other => return other.map(drop).map_err(io::Error::from),
        }
    }
}

fn start(program: &OwnedFd, fds: Vec<OwnedFd>) -> io::Result<i32> {
    let [stdin, stdout, stderr]: [OwnedFd; DESCRIPTORS] = fds
        .try_into()
        .map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
    // No environment and no other descriptor: std makes all it opens close-on-exec, and so do we. No `pre_exec`, so
    // std uses posix_spawn(3), which does not copy the master's memory and clears the signal mask.
    let spawned = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .arg0("handover")
        .arg(ROLE)
        .env_clear()
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr))
        .process_group(0)
        .spawn()?;
    Ok(spawned.id().cast_signed())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::pipe::pipe;
    use rustix::process::{Pid, WaitOptions, waitpid};

    use super::*;

    /// Starts `/bin/echo` in the launcher's place and returns what it printed.
    fn echo(spawner: &Spawner) -> String {
        let (stdin, _theirs) = UnixStream::pair().unwrap();
        let (reader, writer) = pipe().unwrap();
        let fds = [stdin.as_fd(), writer.as_fd(), writer.as_fd()];
        let pid = spawner.spawn(fds).unwrap();
        drop(writer);
        let mut printed = String::new();
        File::from(reader).read_to_string(&mut printed).unwrap();
        let ended = waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap();
        assert_eq!(ended.unwrap().1.exit_status(), Some(0));
        printed
    }

    #[test]
    fn what_the_thread_starts_is_our_child_and_has_its_descriptors() {
        let spawner = Spawner::start(Path::new("/bin/echo")).unwrap();
        assert_eq!(echo(&spawner), format!("{ROLE}\n"));
        assert_eq!(echo(&spawner), format!("{ROLE}\n"));
    }

    #[test]
    fn nothing_of_ours_stays_open_in_the_thread() {
        let (reader, writer) = pipe().unwrap();
        let spawner = Spawner::start(Path::new("/bin/echo")).unwrap();
        drop(writer);
        // A copy in the other table would keep the pipe from its end.
        assert_eq!(File::from(reader).read(&mut [0]).unwrap(), 0);
        assert_eq!(echo(&spawner), format!("{ROLE}\n"));
    }

    #[test]
    fn a_kernel_that_keeps_the_table_common_changes_nothing() {
        let (_reader, writer) = pipe().unwrap();
        let spawner = Spawner::start_after(Path::new("/bin/echo"), || false).unwrap();
        assert_eq!(echo(&spawner), format!("{ROLE}\n"));
        drop(spawner);
        // The thread closed nothing that is ours.
        assert!(rustix::io::fcntl_getfd(&writer).is_ok());
    }

    #[test]
    fn a_program_that_is_not_there_is_said_at_once() {
        let error = Spawner::start(Path::new("/nonexistent/handover")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
