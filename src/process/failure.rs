//! Why a worker could not be started: the step, the errno, and what a person can do.

use std::fmt;

use nix::errno::Errno;

/// What the launcher does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The master starts the launcher.
    Spawn,
    /// The launcher runs at all: it ended without a word, or was killed.
    Launcher,
    /// It takes the request and the descriptors.
    Request,
    /// It enters its control group.
    ControlGroup,
    /// It puts the descriptors at their numbers.
    Descriptors,
    /// It leads a process group.
    ProcessGroup,
    /// It sets resource limits.
    Limits,
    /// It takes on the supplementary groups.
    Groups,
    /// It takes on the group.
    Gid,
    /// It takes on the user.
    Uid,
    /// It gives up gaining privileges.
    NoNewPrivs,
    /// It enters the working directory.
    Directory,
    /// It unblocks signals.
    Signals,
    /// It executes the program.
    Exec,
}

/// Every step, in order; the place is the number on the wire.
const STEPS: [Step; 14] = [
    Step::Spawn,
    Step::Launcher,
    Step::Request,
    Step::ControlGroup,
    Step::Descriptors,
    Step::ProcessGroup,
    Step::Limits,
    Step::Groups,
    Step::Gid,
    Step::Uid,
    Step::NoNewPrivs,
    Step::Directory,
    Step::Signals,
    Step::Exec,
];

impl Step {
    pub(super) fn number(self) -> u8 {
        self as u8
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        STEPS.get(usize::from(number)).copied()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spawn => "starting the launcher",
            Self::Launcher => "running the launcher",
            Self::Request => "taking the request",
            Self::ControlGroup => "entering the control group",
            Self::Descriptors => "passing the sockets",
            Self::ProcessGroup => "leading a process group",
            Self::Limits => "setting the limit",
            Self::Groups => "taking on the groups of",
            Self::Gid => "taking on the group of",
            Self::Uid => "changing to",
            Self::NoNewPrivs => "giving up new privileges",
            Self::Directory => "entering the working directory",
            Self::Signals => "unblocking signals",
            Self::Exec => "executing",
        })
    }
}

/// A worker that did not come to its `execve`. Its [`Display`](fmt::Display) is a whole sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot start {program}: {step}{}: {}{}", Detail(.detail), why(*.step, *.errno), hint(*.step, *.errno))]
pub struct LaunchFailure {
    /// The executable.
    pub program: String,
    /// Where it ended.
    pub step: Step,
    /// What the kernel said; 0 when it said nothing.
    pub errno: i32,
    /// What the step was about (`user "web"`, a path); may be empty.
    pub detail: String,
}

struct Detail<'a>(&'a str);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, " {}", self.0)
        }
    }
}

fn why(step: Step, errno: i32) -> String {
    let why = match (step, Errno::from_raw(errno)) {
        (Step::Launcher, _) => "it ended before it could say why",
        (_, _) if errno == 0 => "it failed",
        (Step::Exec, Errno::ENOEXEC) => "the kernel cannot run it (Exec format error)",
        (Step::Spawn | Step::Exec, Errno::EAGAIN) => {
            "no further process is allowed (Resource temporarily unavailable)"
        }
        (_, _) => return std::io::Error::from_raw_os_error(errno).to_string(),
    };
    why.to_owned()
}

fn hint(step: Step, errno: i32) -> &'static str {
    let privileged = "; only root may do this: run the master as root, or leave the setting out";
    match (step, Errno::from_raw(errno)) {
        (Step::Spawn, Errno::EAGAIN) => {
            "; raise the limit of processes (ulimit -u, TasksMax= of the unit, pids.max of the cgroup)"
        }
        (Step::Exec, Errno::EAGAIN) => "; the user has as many processes as limits.nproc allows",
        (Step::Spawn, Errno::ENOMEM) => "; memory is short",
        (Step::Spawn, Errno::EMFILE | Errno::ENFILE)
        | (Step::Descriptors | Step::Request, Errno::EMFILE) => {
            "; raise the limit of open files (LimitNOFILE= of the unit, ulimit -n)"
        }
        (Step::Spawn, Errno::ENOENT) => "; is /proc mounted?",
        (Step::Launcher, _) => {
            "; what it printed, if anything, is in the worker's output; was it killed for want of memory?"
        }
        (Step::Limits, Errno::EPERM) => {
            "; it is above the hard limit of the master: raise that (Limit…= of the unit), or lower the setting"
        }
        (Step::Groups | Step::Gid | Step::Uid, Errno::EPERM) => privileged,
        (Step::Uid, Errno::EAGAIN) => "; the user has as many processes as limits.nproc allows",
        (Step::ControlGroup, Errno::EAGAIN) => {
            "; pids.max of a control group above it allows no further process"
        }
        (Step::ControlGroup, Errno::ENODEV) => "; somebody removed it",
        (Step::Directory, Errno::EACCES) => {
            "; the user may not enter it: every directory on the way needs x for it"
        }
        (Step::Exec, Errno::EACCES) => {
            "; the user may not execute it: the file and every directory on the way need x for it, and the file system must not be noexec"
        }
        (Step::Exec, Errno::ENOEXEC) => {
            "; a script needs a first line such as #!/bin/sh, a program must be built for this machine"
        }
        (Step::Exec, Errno::E2BIG) => {
            "; arguments and environment are too large: at most 128 KiB in one string, and in all a quarter of limits.stack"
        }
        (Step::Exec, Errno::ETXTBSY) => {
            "; it is open for writing: install programs by renaming them into place"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_their_step() {
        for (place, step) in STEPS.into_iter().enumerate() {
            assert_eq!(usize::from(step.number()), place);
            assert_eq!(Step::from_number(step.number()), Some(step));
        }
        assert_eq!(Step::from_number(14), None);
    }

    #[test]
    fn failures_are_sentences_for_people() {
        let said = |step, errno: Errno, detail: &str| {
            LaunchFailure {
                program: "/usr/bin/srv".to_owned(),
                step,
                errno: errno as i32,
                detail: detail.to_owned(),
            }
            .to_string()
        };
        assert_eq!(
            said(Step::Uid, Errno::EPERM, "user \"web\""),
            "cannot start /usr/bin/srv: changing to user \"web\": Operation not permitted (os error 1); \
             only root may do this: run the master as root, or leave the setting out"
        );
        assert!(
            said(Step::Spawn, Errno::EAGAIN, "").starts_with(
                "cannot start /usr/bin/srv: starting the launcher: no further process"
            )
        );
        assert!(said(Step::Exec, Errno::ENOEXEC, "/a").contains("#!/bin/sh"));
        let silent = LaunchFailure {
            program: "x".to_owned(),
            step: Step::Launcher,
            errno: 0,
            detail: String::new(),
        };
        assert!(silent.to_string().contains("ended before it could say why"));
    }
}
