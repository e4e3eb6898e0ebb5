//! The launcher: a process between the master's spawn and the program's `execve`.
//!
//! It runs for a few milliseconds under the number that the worker will have. One thread, nothing
//! kept: every step either holds or ends it with a report.

use std::ffi::{CString, OsStr};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use minicbor::bytes::ByteVec;
use nix::fcntl::AtFlags;
use nix::sys::signal::SigSet;
use nix::unistd::{Gid, Uid, dup2_stdin, execve, execveat, setgroups, setresgid, setresuid};
use rustix::fs::{CWD, Mode, OFlags, fstat, open, statat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{SendFlags, send};
use rustix::process::{fchdir, getpgrp, getpid, setpgid, umask};

use super::failure::Step;
use super::launcher::ABOUT_TO_EXEC;
use super::limits::Resource;
use super::place::{default_signal_actions, place};
use super::spec::{Failure, Identity, Spec};
use crate::sockets::pass;

/// A shell's status for a command that cannot be executed.
const FAILED: i32 = 127;

/// The role itself, for `main` when the first argument is `__launch`. Executes the program that it is told to, or
/// reports the step that failed and exits with 127.
pub fn launcher_main() -> ! {
    if io::stdin().is_terminal() {
        eprintln!("error: __launch is for handover itself: it is how a master starts its workers");
        std::process::exit(2);
    }
    // The socket goes out of the way of descriptor 0, which the program gets as /dev/null.
    if let Ok(report) = fcntl_dupfd_cloexec(io::stdin(), 3) {
        let mut said = Said(report);
        let failure = match launch(&mut said) {
            Ok(never) => match never {},
            Err(failure) => failure,
        };
        said.failure(&failure);
    }
    std::process::exit(FAILED);
}

/// The socket to the master.
struct Said(OwnedFd);

impl Said {
    /// Puts the listeners at their numbers. `place` wants everything that this process has open, the
    /// socket too: it works on a copy, so that a failure can still be reported through this one.
    fn place(
        &mut self,
        listeners: Vec<OwnedFd>,
        program: OwnedFd,
        directory: OwnedFd,
    ) -> Result<(OwnedFd, OwnedFd), Failure> {
        let above = 3 + RawFd::try_from(listeners.len()).unwrap_or(RawFd::MAX - 3);
        self.0 = fcntl_dupfd_cloexec(&self.0, above).at(Step::Descriptors, "")?;
        let [program, directory] =
            place(listeners, [program, directory]).at(Step::Descriptors, "")?;
        Ok((program, directory))
    }

    /// The report; where nobody listens, a line in the worker's output.
    fn failure(&self, failure: &Failure) {
        let heard = minicbor::to_vec(failure).is_ok_and(|bytes| self.say(&bytes));
        if !heard {
            let Failure {
                step,
                errno,
                detail,
            } = failure;
            eprintln!(
                "error: the launcher failed in step {step}, errno {errno} {detail}, and no master listens"
            );
        }
    }

    fn say(&self, bytes: &[u8]) -> bool {
        send(&self.0, bytes, SendFlags::NOSIGNAL).is_ok()
    }
}

enum Never {}

/// Names the step of an error.
trait At<T> {
    fn at(self, step: Step, detail: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, step: Step, detail: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| {
            let error = error.into();
            let detail = detail.into();
            match error.raw_os_error() {
                Some(errno) => Failure {
                    step: step.number(),
                    errno,
                    detail,
                },
                None => Failure {
                    step: step.number(),
                    errno: 0,
                    detail: format!("{detail} ({error})"),
                },
            }
        })
    }
}

fn launch(said: &mut Said) -> Result<Never, Failure> {
    let (_, mut fds) = pass::recv(said.0.as_fd(), 0).at(Step::Request, "")?;
    if fds.len() < 3 {
        return Err(io::Error::from(Errno::PROTO)).at(Step::Request, "");
    }
    let mut listeners = fds.split_off(3);
    let [spec, program, directory] = <[OwnedFd; 3]>::try_from(fds)
        .map_err(|_| io::Error::from(Errno::PROTO))
        .at(Step::Request, "")?;
    let spec = Spec::load(spec).at(Step::Request, "")?;
    if let Some(group) = &spec.group {
        enter(listeners.pop(), group)?;
    }

    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .at(Step::Descriptors, "(/dev/null)")?;
    dup2_stdin(&null).at(Step::Descriptors, "(/dev/null)")?;
    drop(null);
    let (program, directory) = said.place(listeners, program, directory)?;

    if getpgrp() != getpid() {
        setpgid(None, None).at(Step::ProcessGroup, "")?;
    }
    for limit in &spec.limits {
        let Some(resource) = Resource::from_number(limit.resource) else {
            continue;
        };
        resource
            .set(limit.soft, limit.hard)
            .at(Step::Limits, format!("{resource} = {}", limit.soft))?;
    }
    if let Some(mask) = spec.umask {
        umask(Mode::from_raw_mode(mask));
    }
    if let Some(identity) = &spec.identity {
        become_user(identity)?;
    }
    if spec.no_new_privs {
        rustix::thread::set_no_new_privs(true).at(Step::NoNewPrivs, "")?;
    }
    fchdir(&directory).at(Step::Directory, &spec.directory)?;
    default_signal_actions();
    SigSet::empty().thread_set_mask().at(Step::Signals, "")?;
    execute(&spec, said, program.as_fd())
}

/// Moves this process into the control group of the worker (cgroup-v2.rst: `0` stands for whoever writes). First of all, so
/// that everything after it is bounded, and while nobody has given up a right.
fn enter(entrance: Option<OwnedFd>, group: &str) -> Result<(), Failure> {
    let entrance = entrance
        .ok_or(io::Error::from(Errno::PROTO))
        .at(Step::Request, "")?;
    rustix::io::write(&entrance, b"0")
        .map(drop)
        .at(Step::ControlGroup, group)
}

/// Takes on groups, group and user, in the order in which the privilege for each is still there.
fn become_user(identity: &Identity) -> Result<(), Failure> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    if !Uid::effective().is_root() && uid == Uid::effective() && gid == Gid::effective() {
        // Asked to be who we are: no privilege is needed, and none is there to change groups.
        return Ok(());
    }
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups).at(Step::Groups, &identity.label)?;
    setresgid(gid, gid, gid).at(Step::Gid, &identity.label)?;
    setresuid(uid, uid, uid).at(Step::Uid, &identity.label)
}

/// Executes the pinned program: by the path under which it was found while that still is the pinned file, so
/// that `ps` reads well; else by its path without links; else, where the kernel can, by its descriptor.
///
/// A script cannot run from a descriptor that is closed at the `execve`, and one that is not would leak
/// into the program: it is left to its path without links.
fn execute(spec: &Spec, said: &Said, program: BorrowedFd<'_>) -> Result<Never, Failure> {
    let argv = c_strings(&spec.argv)?;
    let mut env = c_strings(&spec.env)?;
    let listen = [
        format!("LISTEN_FDS={}", spec.names.len()),
        format!("LISTEN_PID={}", std::process::id()),
        format!("LISTEN_FDNAMES={}", spec.names.join(":")),
    ];
    for entry in listen.into_iter().filter(|_| spec.announced) {
        env.push(c_string(entry.into_bytes())?);
    }
    // Whoever has a watchdog learns that it is this very process (sd_watchdog_enabled(3)).
    if spec
        .env
        .iter()
        .any(|entry| entry.starts_with(b"WATCHDOG_USEC="))
    {
        env.push(c_string(
            format!("WATCHDOG_PID={}", std::process::id()).into_bytes(),
        )?);
    }
    said.say(&[ABOUT_TO_EXEC]);
    let chosen = [&spec.searched, &spec.resolved]
        .into_iter()
        .find(|path| is_program(path, program));
    let (errno, path) = match (chosen, spec.from_descriptor) {
        (None, true) => (
            execveat(program, c"", &argv, &env, AtFlags::AT_EMPTY_PATH),
            &spec.resolved,
        ),
        (None, false) => (by_path(&spec.resolved, &argv, &env), &spec.resolved),
        (Some(path), _) => (by_path(path, &argv, &env), path),
    };
    let shown = String::from_utf8_lossy(path);
    let detail = match errno {
        Err(nix::errno::Errno::ENOENT) if chosen.is_some() => {
            format!("{shown}, of which the interpreter (or the dynamic loader) is missing")
        }
        _ => shown.into_owned(),
    };
    match errno {
        Ok(never) => match never {},
        Err(errno) => Err(errno).at(Step::Exec, detail),
    }
}

fn by_path(
    path: &ByteVec,
    argv: &[CString],
    env: &[CString],
) -> nix::Result<std::convert::Infallible> {
    let path = CString::new(path.to_vec()).map_err(|_| nix::errno::Errno::EINVAL)?;
    execve::<CString, CString>(path.as_c_str(), argv, env)
}

fn is_program(path: &[u8], program: BorrowedFd<'_>) -> bool {
    match (
        statat(
            CWD,
            Path::new(OsStr::from_bytes(path)),
            rustix::fs::AtFlags::empty(),
        ),
        fstat(program),
    ) {
        (Ok(there), Ok(pinned)) => (there.st_dev, there.st_ino) == (pinned.st_dev, pinned.st_ino),
        _ => false,
    }
}

fn c_strings(words: &[ByteVec]) -> Result<Vec<CString>, Failure> {
    words.iter().map(|word| c_string(word.to_vec())).collect()
}

fn c_string(word: Vec<u8>) -> Result<CString, Failure> {
    CString::new(word)
        .map_err(|_| io::Error::from(Errno::INVAL))
        .at(Step::Request, "")
}
