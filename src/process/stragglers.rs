//! Who is left of a worker or an errand: members of its process group, and processes that carry its nonce.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::nonce::Mark;
use super::place::pidfd_signal;
use super::procfs::{self, Stat};

/// A process that was found, held by a pidfd that was opened before it was looked at a last time.
#[derive(Debug)]
pub struct Stray {
    /// Its number, for messages only.
    pub pid: i32,
    /// Through which alone it is signalled.
    pub pidfd: OwnedFd,
    /// Its short name.
    pub comm: String,
    /// Its process group.
    pub pgrp: i32,
    /// Clock ticks after boot at which it began.
    pub start_time: u64,
    /// The nonce that it carries, where it was found by that.
    pub nonce: Option<String>,
}

impl Stray {
    /// Sends `signal` to this very process.
    ///
    /// # Errors
    /// ESRCH when it is gone, EPERM when it is not ours to signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        pidfd_signal(self.pidfd.as_fd(), signal, 0)
    }
}

/// The living members of process group `group`. The caller holds the group's identity (a [`Child`](super::Child) that
/// says that it is not empty): the number alone may mean another group by now.
pub fn group_members(group: i32) -> Vec<Stray> {
    let member = |pid: i32| procfs::stat(pid).filter(|s| s.pgrp == group && !s.is_dead());
    living_members(group)
        .into_iter()
        .filter_map(|pid| stray(pid, || Some((member(pid)?, None))))
        .collect()
}

/// The numbers of the living members of process group `group`.
pub(super) fn living_members(group: i32) -> Vec<i32> {
    procfs::pids()
        .into_iter()
        .filter(|pid| procfs::stat(*pid).is_some_and(|s| s.pgrp == group && !s.is_dead()))
        .collect()
}

/// Every living process whose environment (as it was at its `execve`) carries one of `nonces` as this mark. One look at
/// every process, however many nonces, each when its turn comes: whoever wants them to end signals each at once, since
/// those that fork and end are gone soon. Processes whose environment we may not read are left out; this process is too.
pub fn nonce_processes(mark: Mark, nonces: &HashSet<String>) -> impl Iterator<Item = Stray> {
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let pids = match nonces.is_empty() {
        true => Vec::new(),
        false => procfs::pids(),
    };
    let others = pids.into_iter().filter(move |pid| *pid != me);
    others.filter_map(move |pid| carrier(pid, mark, nonces))
}

/// This process, if it lives and carries one of `nonces`.
pub(super) fn carrier(pid: i32, mark: Mark, nonces: &HashSet<String>) -> Option<Stray> {
    stray(pid, || {
        let nonce = mark.of(pid).filter(|nonce| nonces.contains(nonce))?;
        let stat = procfs::stat(pid).filter(|stat| !stat.is_dead())?;
        Some((stat, Some(nonce)))
    })
}

fn stray(pid: i32, look: impl Fn() -> Option<(Stat, Option<String>)>) -> Option<Stray> {
    let (pidfd, (stat, nonce)) = hold(pid, look)?;
    Some(Stray {
        pid,
        pidfd,
        comm: stat.comm,
        pgrp: stat.pgrp,
        start_time: stat.start_time,
        nonce,
    })
}

/// Opens a pidfd, then looks: what is found while the pidfd's process still lives is about it.
pub(super) fn hold<T>(pid: i32, look: impl Fn() -> Option<T>) -> Option<(OwnedFd, T)> {
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    let seen = look()?;
    match pidfd_signal(pidfd.as_fd(), 0, 0) {
        // Not ours to signal, but alive: it is reported all the same.
        Err(error) if error.raw_os_error() != Some(nix::libc::EPERM) => None,
        _ => Some((pidfd, seen)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn sleeper(nonce: &str) -> Child {
        let mut child = Command::new("sh")
            .args(["-c", "echo up; exec sleep 60"])
            .env("HANDOVER_NONCE", nonce)
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        child
    }

    #[test]
    fn f22_processes_are_found_by_nonce_for_many_nonces_at_once() {
        let unique = |name: &str| format!("{name}-{}", std::process::id());
        let mut children = ["one", "two", "other"].map(|name| sleeper(&unique(name)));
        let wanted = HashSet::from([unique("one"), unique("two")]);
        let found: Vec<Stray> = nonce_processes(Mark::Worker, &wanted).collect();
        let mut pids: Vec<_> = found.iter().map(|s| s.pid.cast_unsigned()).collect();
        pids.sort_unstable();
        let mut expected: Vec<_> = children.iter().take(2).map(Child::id).collect();
        expected.sort_unstable();
        assert_eq!(pids, expected);
        for stray in &found {
            stray.signal(9).unwrap();
        }
        children[2].kill().unwrap();
        for child in &mut children {
            child.wait().unwrap();
        }
        assert_eq!(nonce_processes(Mark::Worker, &wanted).count(), 0);
        assert!(
            found.iter().all(|s| s.signal(9).is_err()),
            "and nobody else is hit"
        );
    }

    #[test]
    fn members_of_a_group_are_named() {
        let mut child = sleeper("group");
        let members = group_members(child.id().cast_signed());
        assert_eq!(members.len(), 1);
        assert!(["sleep", "sh"].contains(&members[0].comm.as_str()));
        members[0].signal(9).unwrap();
        child.wait().unwrap();
        assert!(group_members(child.id().cast_signed()).is_empty());
    }
}
