//! A real control group for a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::group::Group;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Removed at the end, with whatever is in it.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// `None` (and a word) where none can be made.
    pub(super) fn make(kind: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let mut mounts = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = mounts.find(|fields| fields[2] == "cgroup2");
        let Some(mount) = mount.map(|fields| PathBuf::from(fields[1])) else {
            eprintln!("skipped: no cgroup2 file system is mounted");
            return None;
        };
        let (pid, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = mount.join(format!("handover-unit-test-{pid}-{number}{kind}"));
        match fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                eprintln!("skipped: no control group can be made here: {error}");
                None
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn mount(&self) -> &Path {
        self.0.parent().unwrap()
    }

    /// A shell in a group, from its first instruction on.
    pub(super) fn sh(group: &Path, script: &str) -> Child {
        let script = format!("echo $$ > {}/cgroup.procs; {script}", group.display());
        Command::new("/bin/sh")
            .args(["-c", &script])
            .spawn()
            .unwrap()
    }
}

/// Waits for what no event tells.
pub(super) fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !look() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = Group::at(self.0.clone()).kill();
        eventually("the group can be removed", || {
            for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    let _ = fs::remove_dir(entry.path());
                }
            }
            fs::remove_dir(&self.0).is_ok()
        });
    }
}
