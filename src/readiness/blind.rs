//! Why nothing can be observed, in words that help.

use std::time::{Duration, Instant};

use super::evidence::Sight;
use super::procfs::Reader;
use super::proctext;

/// Something that hides a worker from the observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The kernel refuses to tell what a process does.
    Refused(i32),
    /// The process lives, but `/proc` does not show it.
    Hidden(i32),
    /// The master has no descriptors or memory left to look with.
    Exhausted,
    /// The kernel has no `/proc/PID/syscall`.
    NoSyscallFile,
    /// System call numbers of this processor are not known here.
    Processor,
    /// A 32-bit program on a 64-bit kernel.
    Narrow(i32),
    /// What waits is an io_uring.
    Ring(i32),
}

/// An obstacle counts when nothing at all could be seen for this long (a launch passes
/// through states that nobody may look at),
const GRACE_WHOLE: Duration = Duration::from_millis(100);
/// and when a part of the tree could be seen, for this long.
const GRACE_PART: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Blindness {
    since: Option<Instant>,
    told: Option<(Obstacle, String)>,
}

impl Blindness {
    /// Judges a look without evidence. `partly`: some thread could be looked at.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        obstacle: Option<Obstacle>,
        partly: bool,
        reader: &mut Reader,
    ) -> Sight {
        let Some(obstacle) = obstacle else {
            self.since = None;
            return Sight::NotYet;
        };
        let since = *self.since.get_or_insert(now);
        let grace = match obstacle {
            Obstacle::Ring(_) => GRACE_WHOLE,
            _ if partly => GRACE_PART,
            _ => GRACE_WHOLE,
        };
        if now.saturating_duration_since(since) < grace {
            return Sight::NotYet;
        }
        match &self.told {
            Some((same, reason)) if *same == obstacle => Sight::Blind(reason.clone()),
            _ => {
                let reason = explain(obstacle, reader);
                self.told = Some((obstacle, reason.clone()));
                Sight::Blind(reason)
            }
        }
    }
}

pub(super) fn explain(obstacle: Obstacle, reader: &mut Reader) -> String {
    match obstacle {
        Obstacle::Refused(pid) if reader.path(&format!("/proc/{pid}/stat"), 1).is_ok() => {
            Refusal::gather(pid, reader).explain()
        }
        // Even what everybody may read is refused: hidepid=1; hidepid=2 shows nothing at all.
        Obstacle::Refused(pid) | Obstacle::Hidden(pid) => format!(
            "/proc does not show the worker's process {pid} (hidepid): \
             mount /proc without hidepid, or give handover CAP_SYS_PTRACE"
        ),
        Obstacle::Exhausted => {
            "handover has no file descriptors left to look at its workers with: \
             raise LimitNOFILE="
                .into()
        }
        Obstacle::NoSyscallFile => "this kernel (or sandbox) has no /proc/PID/syscall".into(),
        Obstacle::Processor => {
            "the system call numbers of this processor are not known to handover".into()
        }
        Obstacle::Narrow(pid) => {
            format!(
                "{} is a 32-bit program, whose calls handover does not read",
                name(pid, reader)
            )
        }
        Obstacle::Ring(pid) => format!(
            "{} waits through io_uring, and the kernel does not tell on what",
            name(pid, reader)
        ),
    }
}

/// `python3 (pid 812)`.
fn name(pid: i32, reader: &mut Reader) -> String {
    let text = reader
        .path(&format!("/proc/{pid}/stat"), 4096)
        .unwrap_or_default();
    match proctext::stat(text) {
        Some(stat) => format!("{} (pid {pid})", stat.comm),
        None => format!("pid {pid}"),
    }
}

/// What is known about a refusal.
#[derive(Debug, Clone)]
struct Refusal {
    worker: String,
    worker_uid: Option<u32>,
    own_uid: u32,
    may_trace: bool,
    ptrace_scope: Option<u8>,
}

impl Refusal {
    fn gather(pid: i32, reader: &mut Reader) -> Self {
        const CAP_SYS_PTRACE: u32 = 19;
        let worker = name(pid, reader);
        let uid = |text: &[u8]| -> Option<u32> {
            let rest = field(text, "Uid:")?;
            rest.split_ascii_whitespace().nth(1)?.parse().ok()
        };
        let status = reader
            .path(&format!("/proc/{pid}/status"), 8192)
            .unwrap_or_default();
        let worker_uid = uid(status);
        let own = reader.path("/proc/self/status", 8192).unwrap_or_default();
        let effective = field(own, "CapEff:").and_then(|set| u64::from_str_radix(&set, 16).ok());
        let may_trace = effective.is_some_and(|set| set >> CAP_SYS_PTRACE & 1 == 1);
        let scope = reader.path("/proc/sys/kernel/yama/ptrace_scope", 16).ok();
        let ptrace_scope = scope.and_then(|text| proctext::decimal(text.trim_ascii()));
        let own_uid = rustix::process::geteuid().as_raw();
        Self {
            worker,
            worker_uid,
            own_uid,
            may_trace,
            ptrace_scope,
        }
    }

    fn explain(&self) -> String {
        let (worker, own) = (&self.worker, self.own_uid);
        let other = self.worker_uid.filter(|&uid| uid != own);
        match (self.ptrace_scope, self.may_trace, other) {
            (Some(3), _, _) => format!(
                "kernel.yama.ptrace_scope = 3 forbids every look into {worker} until the next boot"
            ),
            (_, true, _) => format!(
                "a security module (SELinux, AppArmor, a seccomp filter) or another user namespace \
                 keeps handover from looking into {worker}, though it has CAP_SYS_PTRACE"
            ),
            (_, false, Some(uid)) => format!(
                "{worker} runs as uid {uid} and handover as uid {own} without CAP_SYS_PTRACE: \
                 give handover that capability, or run both as one user"
            ),
            (Some(2), false, None) => format!(
                "kernel.yama.ptrace_scope = 2 allows a look into {worker} only with CAP_SYS_PTRACE"
            ),
            (Some(1), false, None) => format!(
                "kernel.yama.ptrace_scope = 1 allows a look only into handover's own descendants \
                 that are not set-user-ID; {worker} is none: set it to 0, or give handover \
                 CAP_SYS_PTRACE"
            ),
            (_, false, None) => format!(
                "{worker} is protected (a set-user-ID program, one that only its owner may read, \
                 or PR_SET_DUMPABLE): handover needs CAP_SYS_PTRACE to look into it"
            ),
        }
    }
}

/// A line of a `status` file, without its name.
fn field(text: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    text.lines()
        .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Refusal {
        Refusal {
            worker: "python3 (pid 812)".into(),
            worker_uid: Some(33),
            own_uid: 1000,
            may_trace: false,
            ptrace_scope: Some(1),
        }
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        assert_eq!(
            refusal().explain(),
            "python3 (pid 812) runs as uid 33 and handover as uid 1000 without CAP_SYS_PTRACE: \
             give handover that capability, or run both as one user"
        );
        let same = Refusal {
            worker_uid: Some(1000),
            ..refusal()
        };
        assert!(same.explain().contains("ptrace_scope = 1"));
        let admin = Refusal {
            ptrace_scope: Some(2),
            ..same.clone()
        };
        assert!(admin.explain().contains("ptrace_scope = 2"));
        let never = Refusal {
            ptrace_scope: Some(3),
            may_trace: true,
            ..same.clone()
        };
        assert!(never.explain().contains("until the next boot"));
        let module = Refusal {
            may_trace: true,
            ..same.clone()
        };
        assert!(module.explain().contains("security module"));
        let dumpable = Refusal {
            ptrace_scope: None,
            ..same
        };
        assert!(dumpable.explain().contains("PR_SET_DUMPABLE"));
    }

    #[test]
    fn a_process_that_proc_does_not_show_is_hidden() {
        let reason = explain(Obstacle::Refused(i32::MAX), &mut Reader::new());
        assert!(reason.contains("hidepid"), "{reason}");
    }

    #[test]
    fn an_obstacle_must_last() {
        let (start, mut blindness, mut reader) =
            (Instant::now(), Blindness::default(), Reader::new());
        let at = |ms| start + Duration::from_millis(ms);
        let ring = Some(Obstacle::Exhausted);
        assert_eq!(
            blindness.judge(at(0), ring, false, &mut reader),
            Sight::NotYet
        );
        assert_eq!(
            blindness.judge(at(99), None, false, &mut reader),
            Sight::NotYet
        );
        assert_eq!(
            blindness.judge(at(100), ring, false, &mut reader),
            Sight::NotYet
        );
        assert!(matches!(
            blindness.judge(at(200), ring, false, &mut reader),
            Sight::Blind(_)
        ));
        assert_eq!(
            blindness.judge(at(201), ring, true, &mut reader),
            Sight::NotYet
        );
    }
}
