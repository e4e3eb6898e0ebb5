//! The master's side of a start: one request, one child, one report.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::io::AsyncReadExt;

use super::cgroup::Group;
use super::child::Child;
use super::failure::{LaunchFailure, Step};
use super::limits::{Nofile, Resource, original_nofile};
use super::release::Release;
use super::search::Kind;
use super::spawner::Spawner;
use super::spec::{Failure, Identity, Limit, Spec};
use crate::sockets::pass;

/// The first argument that asks for the launcher's role.
pub const ROLE: &str = "__launch";
/// What the launcher writes when only the `execve` is left; no CBOR array begins with it.
pub(super) const ABOUT_TO_EXEC: u8 = 1;
/// The longest report; longer ones are no report.
const REPORT_MAX: u64 = 64 * 1024;
/// Names that describe descriptors (sd_listen_fds(3)); the launcher sets its own.
const LISTEN: [&str; 4] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
];

/// Starts workers, each through a short-lived process of the running binary itself.
#[derive(Debug)]
pub struct Launcher {
    spawner: Spawner,
    nofile: Nofile,
}

/// One worker to start.
#[derive(Debug)]
pub struct LaunchRequest<'a> {
    /// What to run.
    pub release: &'a Release,
    /// The command, templates filled in.
    pub argv: Vec<String>,
    /// The whole environment, without LISTEN_* (which are set here; any that are among it are left out).
    pub env: Vec<(OsString, OsString)>,
    /// Becomes descriptor 1. What the launcher itself prints, should it fail, goes here and to `stderr` too.
    pub stdout: BorrowedFd<'a>,
    /// Becomes descriptor 2.
    pub stderr: BorrowedFd<'a>,
    /// Become descriptors 3, 4, …; the names become LISTEN_FDNAMES.
    pub listeners: Vec<(String, BorrowedFd<'a>)>,
    /// The control group that it enters.
    pub group: Option<&'a Group>,
    /// Limits beside those of the release, soft and hard alike; where a lower one is in force, that stays.
    pub limits: &'a [(Resource, u64)],
    /// LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES are set, also where there is no listener: it is a worker.
    pub announced: bool,
}

/// A worker on its way.
#[derive(Debug)]
pub struct Launched {
    /// The process: first the launcher, then the program, under one number.
    pub child: Child,
    /// Whether it came to the program.
    pub report: Report,
}

impl Launcher {
    /// Opens the running binary, so that what is at its path later does not matter.
    ///
    /// # Errors
    /// What open(2) says of `/proc/self/exe`.
    pub fn open() -> io::Result<Self> {
        Self::open_at(Path::new("/proc/self/exe"))
    }

    /// The same with another binary of handover.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn open_at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            spawner: Spawner::start(path)?,
            nofile: original_nofile(),
        })
    }

    /// The limits of open files that workers get unless their release says otherwise: those that this process had
    /// before [`raise_nofile`](super::raise_nofile).
    pub fn nofile(&self) -> Nofile {
        self.nofile
    }

    /// Starts a worker. Blocks no longer than it takes to start a process; whether the program was executed is
    /// told by the report. Changes no flag of any descriptor that is passed.
    ///
    /// # Errors
    /// Nothing was started. Where the kernel refused the process (EAGAIN, ENOMEM, EMFILE), the error's source and text are
    /// a [`LaunchFailure`] of step `Spawn`; `InvalidInput` for what cannot be passed (a NUL byte, a `:` in a name).
    pub fn launch(&self, request: &LaunchRequest<'_>) -> io::Result<Launched> {
        let program = request.release.executable().display().to_string();
        let spawn = |error: io::Error| {
            let errno = error.raw_os_error().unwrap_or(0);
            if errno == 0 {
                return error;
            }
            let failure = LaunchFailure {
                program: program.clone(),
                step: Step::Spawn,
                errno,
                detail: String::new(),
            };
            io::Error::new(error.kind(), failure)
        };
        let spec = self.spec(request)?.store().map_err(spawn)?;
        let (ours, theirs) = UnixStream::pair().map_err(spawn)?;
        let mut fds = vec![
            spec.as_fd(),
            request.release.program().fd.as_fd(),
            request.release.directory_fd(),
        ];
        fds.extend(request.listeners.iter().map(|(_, fd)| *fd));
        let entrance = request.group.map(|group| entrance(group, &program));
        let entrance = entrance.transpose()?;
        fds.extend(entrance.as_ref().map(AsFd::as_fd));
        // Before anyone runs: the socket holds it all, so this waits for nobody, and a failure leaves no process.
        pass::send(ours.as_fd(), &[], &fds).map_err(spawn)?;
        let child = self.spawn(request, theirs).map_err(spawn)?;
        Ok(Launched {
            child,
            report: Report {
                socket: ours,
                program,
            },
        })
    }

    fn spawn(&self, request: &LaunchRequest<'_>, socket: UnixStream) -> io::Result<Child> {
        let fds = [socket.as_fd(), request.stdout, request.stderr];
        let pid = self.spawner.spawn(fds)?;
        Child::new(pid).inspect_err(|_| {
            // Unreaped and ours, so the number is good. Nobody keeps a process that has no pidfd.
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::empty());
            }
        })
    }

    fn spec(&self, request: &LaunchRequest<'_>) -> io::Result<Spec> {
        let release = request.release;
        let plan = release.plan();
        let invalid = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if request.argv.is_empty() || request.argv.iter().any(|word| word.contains('\0')) {
            return invalid("the command is empty or contains a NUL byte".to_owned());
        }
        let names: Vec<String> = request
            .listeners
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        if let Some(name) = names
            .iter()
            .find(|n| n.is_empty() || n.contains([':', '\0']))
        {
            return invalid(format!(
                "{name:?} cannot be the name of a listener: it is empty or has a colon in it"
            ));
        }
        let mut env = Vec::with_capacity(request.env.len());
        for (name, value) in &request.env {
            if LISTEN.iter().any(|own| name == own) {
                continue;
            }
            let entry = [name.as_bytes(), b"=", value.as_bytes()].concat();
            if name.is_empty() || name.as_bytes().contains(&b'=') || entry.contains(&0) {
                return invalid(format!(
                    "the environment variable {name:?} cannot be passed"
                ));
            }
            env.push(entry.into());
        }
        Ok(Spec {
            argv: request
                .argv
                .iter()
                .map(|word| word.clone().into_bytes().into())
                .collect(),
            env,
            names,
            announced: request.announced,
            searched: bytes(release.program().searched.as_os_str()),
            resolved: bytes(release.program().resolved.as_os_str()),
            from_descriptor: matches!(release.program().kind, Kind::Elf { .. }),
            limits: self.limits(&plan.limits, request.limits),
            identity: release.account().map(|account| Identity {
                uid: account.owner.uid,
                gid: account.owner.gid,
                groups: account.groups.clone(),
                label: account.label.clone(),
            }),
            umask: plan.umask,
            no_new_privs: plan.no_new_privs,
            directory: release.directory().display().to_string(),
            group: request
                .group
                .map(|group| group.path().display().to_string()),
        })
    }

    /// The original limits of open files, then what the release says, then what else is asked for where that is less.
    fn limits(&self, asked: &[(Resource, u64)], more: &[(Resource, u64)]) -> Vec<Limit> {
        let nofile = (Resource::Nofile, (self.nofile.soft, self.nofile.hard));
        let mut limits = BTreeMap::from([nofile]);
        limits.extend(
            asked
                .iter()
                .map(|(resource, value)| (*resource, (*value, *value))),
        );
        for (resource, value) in more {
            let value = &resource.own_hard().min(*value);
            let held = limits.entry(*resource).or_insert((*value, *value));
            *held = (held.0.min(*value), held.1.min(*value));
        }
        let limits = limits.into_iter();
        limits
            .map(|(resource, (soft, hard))| Limit {
                resource: resource.number(),
                soft,
                hard,
            })
            .collect()
    }
}

/// The way into the control group, opened by the master, whose group it is.
fn entrance(group: &Group, program: &str) -> io::Result<OwnedFd> {
    group.entrance().map_err(|error| {
        let failure = LaunchFailure {
            program: program.to_owned(),
            step: Step::ControlGroup,
            errno: error.raw_os_error().unwrap_or(0),
            detail: group.path().display().to_string(),
        };
        io::Error::new(error.kind(), failure)
    })
}

fn bytes(text: &OsStr) -> minicbor::bytes::ByteVec {
    text.to_owned().into_vec().into()
}

/// Tells whether a start came to the program.
#[derive(Debug)]
pub struct Report {
    socket: UnixStream,
    program: String,
}

impl Report {
    /// Waits for the `execve`, or for the step that failed. The caller bounds the wait: an executable on a
    /// file system that hangs can make it long. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// The program was not executed; the child has ended or is about to.
    pub async fn outcome(self) -> Result<(), LaunchFailure> {
        let mut said = Vec::new();
        let read = match self
            .socket
            .set_nonblocking(true)
            .and_then(|()| tokio::net::UnixStream::from_std(self.socket))
        {
            Ok(socket) => socket.take(REPORT_MAX).read_to_end(&mut said).await,
            Err(error) => Err(error),
        };
        judge(&said, read, self.program)
    }

    /// The same, blocking: for callers without a runtime.
    ///
    /// # Errors
    /// As [`outcome`](Self::outcome).
    pub fn wait(self) -> Result<(), LaunchFailure> {
        let mut said = Vec::new();
        let read = File::from(OwnedFd::from(self.socket))
            .take(REPORT_MAX)
            .read_to_end(&mut said);
        judge(&said, read, self.program)
    }
}

/// The socket closed: what was said on it before?
fn judge(said: &[u8], read: io::Result<usize>, program: String) -> Result<(), LaunchFailure> {
    let (exec, rest) = match said.split_first() {
        Some((&ABOUT_TO_EXEC, rest)) => (true, rest),
        _ => (false, said),
    };
    if let Ok(failure) = minicbor::decode::<Failure>(rest) {
        let step = Step::from_number(failure.step).unwrap_or(Step::Launcher);
        return Err(LaunchFailure {
            program,
            step,
            errno: failure.errno,
            detail: failure.detail,
        });
    }
    // Killed with unread bytes in its socket, the launcher leaves a reset instead of an end.
    let errno = read.err().and_then(|e| e.raw_os_error()).unwrap_or(0);
    if exec && rest.is_empty() && errno == 0 {
        return Ok(());
    }
    Err(LaunchFailure {
        program,
        step: Step::Launcher,
        errno,
        detail: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_a_word_is_no_success() {
        let judged =
            |said: &[u8], read| judge(said, read, "srv".to_owned()).map_err(|f| (f.step, f.errno));
        let failure = Failure {
            step: Step::Uid.number(),
            errno: 1,
            detail: String::new(),
        };
        let failure = minicbor::to_vec(failure).unwrap();
        let late = [&[ABOUT_TO_EXEC][..], &failure].concat();
        assert_eq!(judged(&[ABOUT_TO_EXEC], Ok(1)), Ok(()));
        assert_eq!(judged(&[], Ok(0)), Err((Step::Launcher, 0)));
        assert_eq!(judged(&failure, Ok(9)), Err((Step::Uid, 1)));
        assert_eq!(judged(&late, Ok(9)), Err((Step::Uid, 1)));
        assert_eq!(judged(b"garbage", Ok(7)), Err((Step::Launcher, 0)));
        let reset = Err(io::Error::from_raw_os_error(104));
        assert_eq!(judged(&[], reset), Err((Step::Launcher, 104)));
    }
}
