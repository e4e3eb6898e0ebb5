//! A control group for one test, as a unit with `Delegate=yes` has one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Start;
use super::wait::within;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Removed at the end of the test, with whatever is in it.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// `None` (and a word) where none can be made.
    pub fn delegated() -> Option<Self> {
        Self::make("")
    }

    /// One that looks like a unit's, without systemd's mark of delegation.
    pub fn of_a_unit() -> Option<Self> {
        Self::make(".service")
    }

    fn make(kind: &str) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let mut mounts = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = mounts.find(|fields| fields.get(2) == Some(&"cgroup2"));
        let Some(mount) = mount.and_then(|fields| fields.get(1).map(PathBuf::from)) else {
            eprintln!("skipped: no cgroup2 file system is mounted");
            return None;
        };
        let (pid, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = mount.join(format!("handover-test-{pid}-{number}{kind}"));
        match std::fs::create_dir(&path) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                eprintln!("skipped: no control group can be made here: {error}");
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Runs the master in it; where an earlier one made `master/`, in that, as systemd does with `DelegateSubgroup=master`: while
    /// controllers are handed on, nobody can be put beside it.
    pub fn hold(&self, start: Start) -> Start {
        start.through_sh(&format!(
            "g={}; [ -d $g/master ] && g=$g/master; echo $$ > $g/cgroup.procs || exit 99; exec \"$@\"",
            self.0.display()
        ))
    }

    /// Whether the kernel has these controllers in version 2; where not, says what is not shown.
    pub fn offers(&self, controllers: &[&str]) -> bool {
        let offered = self.read("cgroup.controllers");
        let missing: Vec<_> = controllers
            .iter()
            .filter(|name| !offered.split_whitespace().any(|it| it == **name))
            .collect();
        if !missing.is_empty() {
            eprintln!(
                "not shown here: control groups of version 2 offer no {missing:?} on this machine"
            );
        }
        missing.is_empty()
    }

    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }

    /// The groups below it, sorted.
    pub fn groups(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let groups = entries.filter(|entry| entry.path().is_dir());
        let mut names: Vec<String> = groups
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Nobody but this test's own is in it.
        let _ = std::fs::write(self.0.join("cgroup.kill"), "1");
        within(std::time::Duration::from_secs(5), || {
            for name in self.groups() {
                let _ = std::fs::remove_dir(self.0.join(name));
            }
            std::fs::remove_dir(&self.0).ok()
        });
    }
}
