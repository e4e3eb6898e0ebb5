//! One worker's control group.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::bounds::{Bounds, Controller};
use super::place::words_of;
use super::refusal::{Lack, Refusal};
use crate::process::place::pidfd_signal;
use crate::process::{procfs, stragglers};

const SIGKILL: i32 = nix::libc::SIGKILL;

/// How often the members are looked at again where the kernel cannot kill a whole group (before 5.14).
const KILL_ROUNDS_MAX: usize = 16;

/// A worker's group. Dropping it removes nothing: who ends the worker removes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    path: PathBuf,
}

/// What a group used so far; unset: the kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Bytes now (memory.current).
    pub memory: Option<u64>,
    /// Since the group was made (cpu.stat, usage_usec).
    pub cpu: Option<Duration>,
}

impl Group {
    /// The group of this directory, which is there.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its cgroup.procs, for the process that is to enter it: whoever writes `0` is in it.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn entrance(&self) -> io::Result<OwnedFd> {
        let file = OpenOptions::new()
            .write(true)
            .open(self.file("cgroup.procs"))?;
        Ok(file.into())
    }

    /// Writes what may be used; returns what could not be written.
    pub(super) fn bound(&self, bounds: &Bounds, unless: &[Lack]) -> Vec<Lack> {
        let mut lacks = Vec::new();
        let wanted = bounds
            .controllers()
            .filter(|it| unless.iter().all(|lack| lack.controller != *it));
        for controller in wanted {
            let Some((name, value)) = bounds.setting(controller) else {
                continue;
            };
            if let Err(error) = self.write(name, &value) {
                let why = Refusal::failed("writing", &self.file(name), &error);
                lacks.push(Lack { controller, why });
            } else if controller == Controller::Memory {
                // One of its processes killed and the others waiting for it would be neither alive nor dead
                // (Linux 4.19; before that the kernel kills one of them).
                let _ = self.write("memory.oom.group", "1");
            }
        }
        lacks
    }

    /// Kills every process in it (cgroup.kill, Linux 5.14; before that one by one while none of them runs).
    ///
    /// # Errors
    /// What the kernel says; a group that is gone has nobody to kill.
    pub fn kill(&self) -> io::Result<()> {
        match self.write("cgroup.kill", "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.kill_one_by_one(),
            other => other,
        }
    }

    fn kill_one_by_one(&self) -> io::Result<()> {
        if !self.path.exists() {
            return Ok(());
        }
        // Nobody forks meanwhile (cgroup.freeze, Linux 5.2); SIGKILL ends a frozen process all the same.
        let _ = self.write("cgroup.freeze", "1");
        for _ in 0..KILL_ROUNDS_MAX {
            let members = self.members();
            if members.is_empty() {
                break;
            }
            for member in members {
                self.signal_member(member, SIGKILL);
            }
        }
        let _ = self.write("cgroup.freeze", "0");
        Ok(())
    }

    /// Sends `signal` to every process in it that is not in process group `except`.
    pub fn signal_others(&self, signal: i32, except: i32) {
        let others = self
            .members()
            .into_iter()
            .filter(|pid| procfs::stat(*pid).is_some_and(|stat| stat.pgrp != except));
        for pid in others {
            self.signal_member(pid, signal);
        }
    }

    /// Through a pidfd that was opened while the process was seen in the group.
    fn signal_member(&self, pid: i32, signal: i32) {
        let held = stragglers::hold(pid, || {
            let is_member = self.members().contains(&pid);
            is_member.then_some(())
        });
        if let Some((pidfd, ())) = held {
            // It may have ended meanwhile, which is as good.
            drop(pidfd_signal(pidfd.as_fd(), signal, 0));
        }
    }

    /// The processes in it, without zombies; none when it is gone. 0 stands for one that is not visible from here.
    pub fn members(&self) -> Vec<i32> {
        let words = words_of(&self.file("cgroup.procs"));
        words.iter().filter_map(|word| word.parse().ok()).collect()
    }

    /// Whether any living process is in it or below it (cgroup.events). A small read that waits for nothing.
    pub fn is_populated(&self) -> bool {
        self.count("cgroup.events", "populated")
            .is_some_and(|n| n > 0)
    }

    /// How many of its processes were killed because it was over its memory (memory.events).
    pub fn oom_kills(&self) -> u64 {
        self.count("memory.events", "oom_kill").unwrap_or(0)
    }

    /// How often it was refused another process because it had as many as it may (pids.events).
    pub fn forks_refused(&self) -> u64 {
        self.count("pids.events", "max").unwrap_or(0)
    }

    /// What it used.
    pub fn usage(&self) -> Counted {
        let current = fs::read_to_string(self.file("memory.current")).ok();
        Counted {
            memory: current.and_then(|text| text.trim().parse().ok()),
            cpu: self
                .count("cpu.stat", "usage_usec")
                .map(Duration::from_micros),
        }
    }

    /// Its cgroup.events: poll(2) tells a change by POLLPRI, once it was read.
    pub fn events(&self) -> io::Result<File> {
        File::open(self.file("cgroup.events"))
    }

    /// Removes it, with groups that its processes made in it. One that is gone already is removed.
    ///
    /// # Errors
    /// EBUSY while somebody is in it.
    pub fn remove(&self) -> io::Result<()> {
        match rustix::fs::rmdir(&self.path) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) if !self.is_populated() => {}
            Err(errno) => return Err(errno.into()),
        }
        for entry in fs::read_dir(&self.path)?.flatten() {
            // Not through links, of which a control group has none.
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                Self::at(entry.path()).remove()?;
            }
        }
        Ok(rustix::fs::rmdir(&self.path)?)
    }

    /// The number beside a name in one of its flat files.
    fn count(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.file(file)).ok()?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.trim().parse().ok()
    }

    fn write(&self, name: &str, value: &str) -> io::Result<()> {
        write(&self.file(name), value)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Writes a file that is there, in one write: the kernel takes each as one request.
pub(super) fn write(file: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scratch, eventually};
    use super::*;

    /// A directory with plain files in the place of a group: what is written and read is shown, not what a kernel makes of it.
    fn plain(files: &[(&str, &str)]) -> (tempfile::TempDir, Group) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let group = Group::at(directory.path().to_owned());
        (directory, group)
    }

    fn bounds() -> Bounds {
        Bounds {
            memory: Some(512 << 20),
            cpu: Some(Bounds::cpu_time(0.5)),
            pids: Some(7),
            best_effort: false,
        }
    }

    #[test]
    fn every_bound_is_written_into_its_file() {
        let files = ["memory.max", "memory.oom.group", "cpu.max", "pids.max"];
        let (_directory, group) = plain(&files.map(|name| (name, "")));
        assert_eq!(group.bound(&bounds(), &[]), []);
        let written = files.map(|name| fs::read_to_string(group.file(name)).unwrap());
        assert_eq!(written, ["536870912", "1", "50000 100000", "7"]);
    }

    #[test]
    fn a_bound_without_a_file_is_told_and_the_others_are_written() {
        let (_directory, group) = plain(&[("memory.max", ""), ("pids.max", "")]);
        let lacks = group.bound(&bounds(), &[]);
        let [lack] = &lacks[..] else {
            panic!("one: {lacks:?}")
        };
        assert_eq!(lack.controller, Controller::Cpu);
        let text = lack.to_string();
        assert!(
            text.starts_with("limits.cpu ") && text.contains("cpu.max failed: No such file"),
            "{text}"
        );
        assert_eq!(fs::read_to_string(group.file("pids.max")).unwrap(), "7");
        // What is known to be lacking is not tried.
        fs::write(group.file("pids.max"), "").unwrap();
        let known = |controller| Lack {
            controller,
            why: Refusal::NotBuilt(controller),
        };
        let unless = [known(Controller::Cpu), known(Controller::Pids)];
        assert_eq!(group.bound(&bounds(), &unless), []);
        assert_eq!(fs::read_to_string(group.file("pids.max")).unwrap(), "");
    }

    #[test]
    fn what_the_kernel_counts_is_read() {
        let (_directory, group) = plain(&[
            ("cgroup.events", "populated 1\nfrozen 0\n"),
            (
                "memory.events",
                "low 0\nhigh 0\nmax 31\noom 2\noom_kill 3\noom_group_kill 1\n",
            ),
            ("pids.events", "max 4\n"),
            ("memory.current", "4096\n"),
            ("cpu.stat", "usage_usec 1500000\nuser_usec 1\n"),
        ]);
        assert!(group.is_populated());
        assert_eq!((group.oom_kills(), group.forks_refused()), (3, 4));
        let usage = Counted {
            memory: Some(4096),
            cpu: Some(Duration::from_millis(1500)),
        };
        assert_eq!(group.usage(), usage);
    }

    #[test]
    fn a_group_that_is_gone_has_nobody_and_nothing() {
        let group = Group::at("/sys/fs/cgroup/no/such/group".into());
        assert!(!group.is_populated() && group.members().is_empty());
        assert_eq!((group.oom_kills(), group.usage()), (0, Counted::default()));
        group.kill().expect("nobody to kill");
        group.remove().expect("removed");
        assert!(group.entrance().is_err());
    }

    /// A shell, its child, and a daemon in a session of its own.
    const FAMILY: &str = "sleep 600 & (setsid sleep 600 &); wait";

    #[test]
    fn f22_a_group_is_killed_whole_also_where_the_kernel_cannot() {
        for kill in [Group::kill, Group::kill_one_by_one] {
            let Some(scratch) = Scratch::make("") else {
                return;
            };
            let group = Group::at(scratch.path().to_owned());
            let mut shell = Scratch::sh(group.path(), FAMILY);
            eventually("all three are in it", || group.members().len() == 3);
            assert!(group.is_populated());
            assert!(group.remove().is_err(), "somebody is in it");
            kill(&group).unwrap();
            shell.wait().unwrap();
            eventually("nobody is", || !group.is_populated());
            group.remove().unwrap();
            fs::create_dir(group.path()).unwrap();
        }
    }

    #[test]
    fn f22_only_those_outside_of_the_process_group_are_signalled() {
        let Some(scratch) = Scratch::make("") else {
            return;
        };
        let group = Group::at(scratch.path().to_owned());
        let mut shell = Scratch::sh(group.path(), FAMILY);
        // The shell shares this test's process group, and so does its child.
        let own = rustix::process::getpgrp().as_raw_pid();
        let groups = || {
            let members = group.members().into_iter().filter_map(procfs::stat);
            let (inside, outside): (Vec<_>, Vec<_>) = members.partition(|stat| stat.pgrp == own);
            (inside.len(), outside.len())
        };
        eventually("the daemon has a session of its own", || groups() == (2, 1));
        group.signal_others(SIGKILL, own);
        eventually("the daemon is gone", || groups() == (2, 0));
        group.kill().unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn groups_that_a_worker_made_in_its_own_go_with_it() {
        let Some(scratch) = Scratch::make("") else {
            return;
        };
        let group = Group::at(scratch.path().join("w-1.0.0"));
        let inner = group.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let mut shell = Scratch::sh(&inner, "exec sleep 600");
        eventually("somebody is below it", || group.is_populated());
        assert!(group.remove().is_err());
        group.kill().unwrap();
        shell.wait().unwrap();
        group.remove().unwrap();
        assert!(!group.path().exists());
    }

    #[test]
    fn what_a_group_used_is_counted_also_after_its_processes_ended() {
        let Some(scratch) = Scratch::make("") else {
            return;
        };
        let group = Group::at(scratch.path().to_owned());
        let burn = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done";
        Scratch::sh(group.path(), burn).wait().unwrap();
        let cpu = group.usage().cpu.expect("cpu.stat is everywhere");
        assert!(cpu > Duration::from_millis(1), "{cpu:?}");
    }
}
