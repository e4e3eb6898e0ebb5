//! `[control]`: whose the control socket is, and so who may give orders.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::config::{Control, Fault, Loaded};
use crate::control::{Admitted, Group};
use crate::process::{self, Owner};

/// The group's right to write: what connect(2) asks for.
const GROUP_WRITES: u32 = 0o020;

/// The control socket's permissions, and who is let in by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) mode: u32,
    pub(super) admitted: Admitted,
}

impl Access {
    /// Root and the user of this process.
    pub(super) fn owner_only() -> Self {
        Self {
            mode: 0o600,
            admitted: Admitted::owner_only(),
        }
    }

    /// As the config says.
    ///
    /// # Errors
    /// In words, when there is no such group.
    pub(super) fn of(control: &Control) -> Result<Self, String> {
        let group = group(control).map_err(|error| format!("control.group: {error}"))?;
        let admitted = Admitted {
            group: group.filter(|_| control.mode & GROUP_WRITES != 0),
            ..Admitted::owner_only()
        };
        Ok(Self {
            mode: control.mode,
            admitted,
        })
    }

    /// What keeps the group from the control socket all the same: a directory above that it may not pass.
    pub(super) fn obstacle(&self, runtime_dir: &Path) -> Option<String> {
        let group = self.admitted.group.as_ref()?;
        let closed = runtime_dir.ancestors().find(|directory| {
            let meta = std::fs::metadata(directory).ok();
            meta.is_some_and(|meta| {
                let passes = if meta.gid() == group.gid {
                    0o010
                } else {
                    0o001
                };
                meta.permissions().mode() & passes == 0
            })
        })?;
        Some(format!(
            "control.mode lets the members of group {} give orders, but they may not pass {}, where the \
             control socket is: choose another --runtime-dir, or chmod o+x it",
            group.name,
            closed.display()
        ))
    }
}

/// The group of the control socket: the config's, else this process's own.
fn group(control: &Control) -> Result<Option<Group>, process::OwnerError> {
    Ok(Some(match &control.group {
        Some(name) => Group {
            gid: process::gid_of(name)?,
            name: name.clone(),
        },
        None => {
            let gid = Owner::current().gid;
            let name = gid.to_string();
            Group { gid, name }
        }
    }))
}

/// What of `[control]` cannot be on this machine, or for this user.
pub(super) fn faults(loaded: &Loaded) -> Vec<Fault> {
    let key = "control.group";
    let Some(name) = &loaded.config.control.group else {
        return Vec::new();
    };
    let gid = match process::gid_of(name) {
        Ok(gid) => gid,
        Err(error) => return vec![loaded.fault(key, error.what(), error.hint())],
    };
    if process::may_give_to(gid) {
        return Vec::new();
    }
    // chown(2): only root gives a file to a group that it is not in.
    let what = format!("only root or a member can give the control socket to group {name}");
    let hint = "start handover as root, add its user to the group, or leave the key out";
    vec![loaded.fault(key, what, Some(hint.to_owned()))]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn control(group: Option<&str>, mode: u32) -> Control {
        let group = group.map(str::to_owned);
        Control { group, mode }
    }

    #[test]
    fn a_group_is_let_in_where_the_mode_lets_it_write() {
        let of = |group, mode| Access::of(&control(group, mode)).expect("a number needs no entry");
        assert_eq!(of(Some("990"), 0o600).admitted, Admitted::owner_only());
        assert_eq!(of(Some("990"), 0o640).admitted, Admitted::owner_only());
        let let_in = of(Some("990"), 0o660).admitted.group.expect("let in");
        assert_eq!(let_in.gid, 990);
        let own = of(None, 0o620).admitted.group.expect("its own group");
        assert_eq!(own.gid, Owner::current().gid);
        let error = Access::of(&control(Some("no-such-group"), 0o660)).expect_err("unknown");
        assert!(
            error.contains("control.group") && error.contains("no-such-group"),
            "{error}"
        );
    }

    #[test]
    fn a_directory_that_the_group_may_not_pass_is_said() {
        let place = tempfile::tempdir().expect("a directory");
        let inner = place.path().join("web");
        fs::create_dir(&inner).expect("made");
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
        };
        open(&inner, 0o711);
        open(place.path(), 0o700);
        let access = Access::of(&control(Some("54400"), 0o660)).expect("a number");
        let said = access.obstacle(&inner).expect("closed");
        let above = place.path().display().to_string();
        assert!(said.contains(&above) && said.contains("54400"), "{said}");
        open(place.path(), 0o711);
        assert_eq!(access.obstacle(&inner), None);
        open(place.path(), 0o700);
        let owner_only = Access::of(&control(Some("54400"), 0o600)).expect("a number");
        assert_eq!(owner_only.obstacle(&inner), None, "nobody else is let in");
    }
}
