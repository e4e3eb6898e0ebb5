//! Who is left of a worker: members of its process group, and processes that carry its nonce.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::place::pidfd_signal;
use super::procfs;

/// The variable that marks a worker and its descendants.
const NONCE: &[u8] = b"HANDOVER_NONCE=";
/// The kernel gives arguments and environment at most 6 MiB (three quarters of 8 MiB, execve(2)).
const ENVIRON_MAX: u64 = 6 << 20;

/// A process that was found, held by a pidfd that was opened before it was looked at a last time.
#[derive(Debug)]
pub struct Stray {
    /// Its number, for messages only.
    pub pid: i32,
    /// Through which alone it is signalled.
    pub pidfd: OwnedFd,
    /// Its short name.
    pub comm: String,
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
        .filter_map(|pid| hold(pid, || member(pid).map(|stat| (stat.comm, None))))
        .collect()
}

/// The numbers of the living members of process group `group`.
pub(super) fn living_members(group: i32) -> Vec<i32> {
    procfs::pids()
        .into_iter()
        .filter(|pid| procfs::stat(*pid).is_some_and(|s| s.pgrp == group && !s.is_dead()))
        .collect()
}

/// Every living process whose environment (as it was at its `execve`) carries one of `nonces`. One look at
/// every process, however many nonces. Processes whose environment we may not read are left out;
/// this process is too.
pub fn nonce_processes(nonces: &HashSet<String>) -> Vec<Stray> {
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    if nonces.is_empty() {
        return Vec::new();
    }
    let carries = |pid: i32| {
        let nonce = nonce_of(pid).filter(|nonce| nonces.contains(nonce))?;
        let stat = procfs::stat(pid).filter(|s| !s.is_dead())?;
        Some((stat.comm, Some(nonce)))
    };
    procfs::pids()
        .into_iter()
        .filter(|pid| *pid != me && carries(*pid).is_some())
        .filter_map(|pid| hold(pid, || carries(pid)))
        .collect()
}

/// Opens a pidfd, then looks again: what is found while the pidfd's process still lives is about it.
pub(super) fn hold(pid: i32, look: impl Fn() -> Option<(String, Option<String>)>) -> Option<Stray> {
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    let (comm, nonce) = look()?;
    let stray = Stray {
        pid,
        pidfd,
        comm,
        nonce,
    };
    match stray.signal(0) {
        // Not ours to signal, but alive: it is reported all the same.
        Err(error) if error.raw_os_error() != Some(nix::libc::EPERM) => None,
        _ => Some(stray),
    }
}

fn nonce_of(pid: i32) -> Option<String> {
    let file = File::open(format!("/proc/{pid}/environ")).ok()?;
    find_nonce(file.take(ENVIRON_MAX))
}

/// The value of the first `HANDOVER_NONCE=` in an environment block. Reads in pieces: most
/// workers have it in the first. A value may be at most 256 bytes.
fn find_nonce(mut from: impl Read) -> Option<String> {
    const PIECE: usize = 16 * 1024;
    const VALUE_MAX: usize = 256;
    let mut held: Vec<u8> = Vec::new();
    let mut starts_entry = true;
    loop {
        let old = held.len();
        held.resize(old + PIECE, 0);
        let got = from.read(held.get_mut(old..)?).ok()?;
        held.truncate(old + got);
        let end = got == 0;
        // Take whole entries off the front; the last, perhaps unfinished, one stays.
        while let Some(length) = held
            .iter()
            .position(|b| *b == 0)
            .or((end && !held.is_empty()).then_some(held.len()))
        {
            let value = held
                .get(..length)?
                .strip_prefix(NONCE)
                .filter(|v| starts_entry && v.len() <= VALUE_MAX);
            if let Some(value) = value {
                return String::from_utf8(value.to_vec()).ok();
            }
            held.drain(..(length + 1).min(held.len()));
            starts_entry = true;
        }
        if end {
            return None;
        }
        // An entry too long to be ours: forget it up to its end.
        if held.len() > NONCE.len() + VALUE_MAX {
            held.clear();
            starts_entry = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use proptest::prelude::*;

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
        let found = nonce_processes(&wanted);
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
        assert!(nonce_processes(&wanted).is_empty());
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

    /// Hands out at most `1..` bytes at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(self.1).min(into.len());
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    proptest! {
        #[test]
        fn a_nonce_is_found_wherever_it_stands(
            before in prop::collection::vec("[A-Z]{1,8}=[a-z]{0,600}", 0..20),
            after in prop::collection::vec("[A-Z]{1,8}=[a-z]{0,600}", 0..5),
            nonce in "[0-9a-f]{1,32}",
            there: bool,
            step in 1_usize..20_000,
        ) {
            let mut entries = before;
            entries.push(format!("X_HANDOVER_NONCE={nonce}x"));
            if there { entries.push(format!("HANDOVER_NONCE={nonce}")); }
            entries.extend(after);
            let mut block = entries.join("\0").into_bytes();
            block.push(0);
            prop_assert_eq!(find_nonce(Dribble(&block, step)), there.then_some(nonce));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), step in 1_usize..50) {
            let _ = find_nonce(Dribble(&bytes, step));
        }
    }
}
