//! Where this process's group is, whether it was delegated, and what it offers.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, getxattr};
use rustix::io::Errno;

use super::bounds::{Bounds, Controller};
use super::refusal::{Lack, Refusal};

/// The group below the delegated one in which the master is.
pub(super) const MASTER: &str = "master";

/// Where cgroup2 is mounted, and this process's group below it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    mount: PathBuf,
    /// As the kernel names it.
    group: String,
    directory: PathBuf,
}

/// What of these bounds could not be set if a worker were started now, each with the reason. Reads some small files and
/// changes nothing.
pub fn lacks(bounds: &Bounds) -> Vec<Lack> {
    let lacks = lacks_of_machine(bounds);
    if !lacks.is_empty() || bounds.is_empty() {
        return lacks;
    }
    match Place::find().and_then(|place| place.delegated()) {
        Ok(base) => lacks_in(&base, bounds.controllers()),
        Err(why) => all(bounds, &why),
    }
}

/// What of these bounds could not be set by any process on this machine (or in this container).
pub fn lacks_of_machine(bounds: &Bounds) -> Vec<Lack> {
    if bounds.is_empty() {
        return Vec::new();
    }
    match Place::find() {
        Ok(place) => lacks_in(&place.mount, bounds.controllers()),
        Err(why) => all(bounds, &why),
    }
}

/// The same reason for all.
pub(super) fn all(bounds: &Bounds, why: &Refusal) -> Vec<Lack> {
    let lack = |controller| Lack {
        controller,
        why: why.clone(),
    };
    bounds.controllers().map(lack).collect()
}

/// Which of these controllers a group does not have.
pub(super) fn lacks_in(group: &Path, wanted: impl Iterator<Item = Controller>) -> Vec<Lack> {
    let offered = words_of(&group.join("cgroup.controllers"));
    let missing = wanted.filter(|wanted| !offered.iter().any(|name| name == wanted.name()));
    let lack = |controller| Lack {
        controller,
        why: why_missing(controller, group),
    };
    missing.map(lack).collect()
}

fn why_missing(controller: Controller, group: &Path) -> Refusal {
    let table = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    match of_table(controller, &table) {
        Some(refusal) => refusal,
        // Only the root group has no cgroup.events: there is nobody above that could hand it on.
        None if is_root(group) => Refusal::NotBuilt(controller),
        None => Refusal::NotPassedOn {
            controller,
            group: group.display().to_string(),
        },
    }
}

/// What `/proc/cgroups` (cgroups(7)) tells of a controller that version 2 does not have: name, hierarchy of version 1 (0: none),
/// number of groups, enabled.
fn of_table(controller: Controller, table: &str) -> Option<Refusal> {
    let mut rows = table
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.first() == Some(&controller.name()))?;
    match row.get(1..4)? {
        [_, _, "0"] => Some(Refusal::Disabled(controller)),
        [hierarchy, ..] if *hierarchy != "0" => Some(Refusal::VersionOne(controller)),
        _ => None,
    }
}

pub(super) fn words_of(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn is_root(group: &Path) -> bool {
    !group.join("cgroup.events").exists()
}

impl Place {
    /// Of this process.
    pub(super) fn find() -> Result<Self, Refusal> {
        let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self::of(&cgroup, &mounts)
    }

    /// By the text of `/proc/self/cgroup` (cgroups(7)) and `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
    fn of(cgroup: &str, mountinfo: &[u8]) -> Result<Self, Refusal> {
        let group = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
        let mounts: Vec<_> = mountinfo.split(|byte| *byte == b'\n').collect();
        let mut mounts = mounts.into_iter().filter_map(cgroup2_mount).peekable();
        let (Some(group), Some(_)) = (group, mounts.peek()) else {
            return Err(Refusal::NoVersion2);
        };
        let shown = |(root, mount): (PathBuf, PathBuf)| {
            let below = Path::new(group).strip_prefix(&root).ok()?.to_owned();
            // "/../x" is outside of what a namespace shows.
            let inside = below.iter().all(|part| part != "..");
            inside.then(|| (mount.join(below), mount))
        };
        let found = mounts.find_map(shown);
        let (directory, mount) = found.ok_or_else(|| Refusal::Hidden {
            group: group.to_owned(),
        })?;
        Ok(Self {
            mount,
            group: group.to_owned(),
            directory,
        })
    }

    /// The directory of the group that was delegated to this process: its own, or the one above when it is in
    /// `master/` already.
    pub(super) fn delegated(&self) -> Result<PathBuf, Refusal> {
        let above = self.directory.parent().filter(|above| {
            self.directory.ends_with(MASTER)
                && above.starts_with(&self.mount)
                && !is_root(above)
                && is_delegated(above)
        });
        let base = above.unwrap_or(&self.directory);
        if is_root(base) {
            return Err(Refusal::Root);
        }
        if !is_delegated(base) {
            let group = self.group.clone();
            return Err(Refusal::NotDelegated { group });
        }
        for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
            let path = match file {
                "" => base.to_owned(),
                file => base.join(file),
            };
            match access(&path, Access::WRITE_OK) {
                Ok(()) => {}
                Err(Errno::ROFS) => {
                    let mount = self.mount.clone();
                    return Err(Refusal::ReadOnly { mount });
                }
                Err(_) => return Err(Refusal::Denied { path }),
            }
        }
        Ok(base.to_owned())
    }
}

/// systemd marks what it delegates with an extended attribute, and gives it to the unit's user; what it did not delegate
/// is its own to change (CGROUP_DELEGATION.md: "single writer"). A group that is no unit's has no such owner.
fn is_delegated(group: &Path) -> bool {
    let is_marked = |name: &str| {
        let mut value = [0_u8; 8];
        let read = getxattr(group, name, &mut value[..]);
        read.is_ok_and(|length| value.get(..length) == Some(b"1"))
    };
    let marked = is_marked("user.delegate") || is_marked("trusted.delegate");
    marked || !is_unit(group) || is_own(group)
}

/// What systemd calls its groups.
fn is_unit(group: &Path) -> bool {
    let kinds = ["service", "scope", "slice", "socket", "mount", "swap"];
    let kind = group.extension().and_then(|kind| kind.to_str());
    kind.is_some_and(|kind| kinds.contains(&kind))
}

/// Handed to this very user, who is not root: systemd before 250 left no mark that such a user could read. Below a
/// user's own systemd every group is the user's, and that tells nothing.
fn is_own(group: &Path) -> bool {
    let uid = rustix::process::geteuid().as_raw();
    let owner = rustix::fs::stat(group).map(|stat| stat.st_uid);
    let below_a_user = group
        .iter()
        .any(|part| part.to_string_lossy().starts_with("user@"));
    uid != 0 && owner == Ok(uid) && !below_a_user
}

/// Root and mount point, when a line is about a cgroup2 file system.
fn cgroup2_mount(line: &[u8]) -> Option<(PathBuf, PathBuf)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = unescaped(fields.nth(3)?);
    let mount = unescaped(fields.next()?);
    // Optional fields end at a lone hyphen.
    fields.find(|field| *field == b"-")?;
    (fields.next()? == b"cgroup2").then_some((root, mount))
}

/// `\040` is a blank, as in fstab(5).
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let octal = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::Scratch;
    use super::*;

    const UNIFIED: &[u8] = b"22 1 8:1 / / rw - ext4 /dev/vda rw\n\
        30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &[u8] = b"31 22 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_own_group_is_found_below_the_mount() {
        let found = |cgroup: &str, mounts: &[u8]| Place::of(cgroup, mounts).map(|it| it.directory);
        let service = "0::/system.slice/web.service\n";
        assert_eq!(
            found(service, UNIFIED),
            Ok("/sys/fs/cgroup/system.slice/web.service".into())
        );
        let hybrid = format!("4:memory:/x\n{service}");
        assert_eq!(
            found(&hybrid, HYBRID),
            Ok("/sys/fs/cgroup/unified/system.slice/web.service".into())
        );
        // Only a part of the hierarchy is mounted, at a path with a blank.
        let part = b"9 1 0:26 /system.slice /a\\040b rw - cgroup2 cgroup2 rw";
        assert_eq!(found(service, part), Ok("/a b/web.service".into()));
        assert_eq!(found("0::/\n", UNIFIED), Ok("/sys/fs/cgroup/".into()));
    }

    #[test]
    fn f32_what_cannot_be_reached_says_why() {
        let refused = |cgroup: &str, mounts: &[u8]| Place::of(cgroup, mounts).unwrap_err();
        assert_eq!(refused("0::/x\n", b""), Refusal::NoVersion2);
        assert_eq!(refused("4:memory:/x\n", UNIFIED), Refusal::NoVersion2);
        let group = "/../other.scope".to_owned();
        assert_eq!(
            refused("0::/../other.scope\n", UNIFIED),
            Refusal::Hidden { group }
        );
        let part = b"9 1 0:26 /other.slice /cg rw - cgroup2 cgroup2 rw";
        let group = "/web.service".to_owned();
        assert_eq!(
            refused("0::/web.service\n", part),
            Refusal::Hidden { group }
        );
    }

    #[test]
    fn a_missing_controller_is_explained_by_what_the_kernel_says_of_it() {
        let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t4\t27\t1\ncpu\t0\t9\t0\npids\t0\t1\t1\n";
        let told = |controller| of_table(controller, table);
        assert_eq!(
            told(Controller::Memory),
            Some(Refusal::VersionOne(Controller::Memory))
        );
        assert_eq!(
            told(Controller::Cpu),
            Some(Refusal::Disabled(Controller::Cpu))
        );
        // It is there: then the group above keeps it.
        assert_eq!(told(Controller::Pids), None);
        assert_eq!(of_table(Controller::Pids, ""), None);
    }

    #[test]
    fn f32_a_unit_that_systemd_keeps_is_not_delegated() {
        let place = tempfile::tempdir().unwrap();
        // Made by root or by nobody: in both cases without systemd's mark.
        let (unit, other) = (place.path().join("web.service"), place.path().join("web"));
        fs::create_dir(&unit).unwrap();
        fs::create_dir(&other).unwrap();
        let root = rustix::process::geteuid().is_root();
        assert_eq!(is_delegated(&unit), !root);
        assert!(is_delegated(&other));
        fs::create_dir(place.path().join("a.slice")).unwrap();
        assert_eq!(is_delegated(&place.path().join("a.slice")), !root);
    }

    fn place(scratch: &Scratch, below: &str) -> Place {
        Place {
            mount: scratch.mount().to_owned(),
            group: "/web.service".to_owned(),
            directory: scratch.path().join(below),
        }
    }

    #[test]
    fn f32_the_delegated_group_is_found_from_within_master_too() {
        let Some(scratch) = Scratch::make(".service") else {
            return;
        };
        fs::create_dir(scratch.path().join(MASTER)).unwrap();
        let group = "/web.service".to_owned();
        let kept = Err(Refusal::NotDelegated { group });
        assert_eq!(place(&scratch, "").delegated(), kept);
        // As systemd does for Delegate=yes.
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(scratch.path(), "user.delegate", b"1", flags).unwrap();
        for below in ["", MASTER] {
            assert_eq!(
                place(&scratch, below).delegated(),
                Ok(scratch.path().to_owned())
            );
        }
        let root = Place {
            directory: scratch.mount().to_owned(),
            ..place(&scratch, "")
        };
        if is_root(scratch.mount()) {
            assert_eq!(root.delegated(), Err(Refusal::Root));
        }
    }

    #[test]
    fn f32_a_group_that_may_not_be_written_says_so() {
        let place_of = |directory: &Path| Place {
            mount: directory.to_owned(),
            group: "/".to_owned(),
            directory: directory.to_owned(),
        };
        // Not a control group at all, but it looks like one: what is asked is whether its files may be written.
        let fake = tempfile::tempdir().unwrap();
        for name in ["cgroup.events", "cgroup.procs"] {
            fs::write(fake.path().join(name), "").unwrap();
        }
        let path = fake.path().join("cgroup.subtree_control");
        let denied = Err(Refusal::Denied { path: path.clone() });
        assert_eq!(place_of(fake.path()).delegated(), denied);
        fs::write(path, "").unwrap();
        assert_eq!(
            place_of(fake.path()).delegated(),
            Ok(fake.path().to_owned())
        );
        let read_only = Refusal::failed("making", Path::new("/x"), &Errno::ROFS.into());
        assert!(read_only.what().contains("mounted read-only"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            cgroup in "(0::)?[/.a-z\n:]{0,40}",
            mounts in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = Place::of(&cgroup, &mounts);
            let _ = of_table(Controller::Memory, &String::from_utf8_lossy(&mounts));
        }

        #[test]
        fn no_damaged_line_makes_it_panic(at in 0_usize..100, byte in any::<u8>()) {
            let mut line = UNIFIED.to_vec();
            if let Some(place) = line.get_mut(at) { *place = byte; }
            let _ = Place::of("0::/a/b\n", &line);
        }
    }
}
