//! Who may give orders.

use std::fs;

use crate::control::{ApiError, Caller, ErrorKind};

/// Who may give orders: root, the master's own user, and a group where the config names one.
///
/// The kernel asks the same of the socket's owner, group and mode when somebody connects (unix(7)); what is
/// asked here holds as well where somebody widened the file's permissions, and says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The user that the master runs as.
    pub owner: u32,
    /// `[control] group`, where `mode` lets it write.
    pub group: Option<Group>,
}

/// A group of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub gid: u32,
    /// What the config calls it.
    pub name: String,
}

impl Admitted {
    /// Root and the user of this process.
    #[must_use]
    pub fn owner_only() -> Self {
        let owner = rustix::process::geteuid().as_raw();
        Self { owner, group: None }
    }

    /// Why `caller` may not speak to this master; none when it may. `gid` is its effective group.
    pub(super) fn forbids(&self, caller: Caller, gid: u32) -> Option<ApiError> {
        if caller.uid == 0 || caller.uid == self.owner {
            return None;
        }
        let members = self.group.as_ref();
        if members.is_some_and(|group| gid == group.gid || is_member(caller, group.gid)) {
            return None;
        }
        Some(self.refusal(caller.uid))
    }

    fn refusal(&self, uid: u32) -> ApiError {
        let owner = self.owner;
        let forbidden = |message: String| ApiError::new(ErrorKind::Forbidden, message);
        let Some(Group { gid, name }) = &self.group else {
            let error = forbidden(format!(
                "uid {uid} may not speak to this master, which runs as uid {owner}"
            ));
            return error.hint(format_args!(
                "ask as root or as uid {owner}; or let a group in: [control] group = \"NAME\", mode = \"0660\""
            ));
        };
        let error = forbidden(format!(
            "uid {uid} may not speak to this master, which runs as uid {owner} and listens to the \
             members of group {name} (gid {gid})"
        ));
        error.hint(format_args!(
            "ask as root or as uid {owner}; or make it a member (usermod -aG {name} USER) and log in again"
        ))
    }
}

/// Whether the process that connected is in this group; no where it cannot be seen. Its number may be
/// another's by now, so what is there must at least be the same user's.
fn is_member(caller: Caller, gid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", caller.pid));
    status.is_ok_and(|status| says_member(&status, caller.uid, gid))
}

/// What `/proc/PID/status` says (proc(5)): `Uid:` real, effective, saved, file system; `Groups:` the
/// supplementary ones.
fn says_member(status: &str, uid: u32, gid: u32) -> bool {
    let numbers = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let numbers = line.unwrap_or_default().split_ascii_whitespace();
        let numbers: Vec<u32> = numbers.filter_map(|number| number.parse().ok()).collect();
        numbers
    };
    numbers("Uid:").get(1) == Some(&uid) && numbers("Groups:").contains(&gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: u32 = 1000;

    fn caller(uid: u32) -> Caller {
        Caller { uid, pid: 0 }
    }

    fn with_group() -> Admitted {
        let name = "deploy".to_owned();
        let group = Some(Group { gid: 990, name });
        let owner = MASTER;
        Admitted { owner, group }
    }

    #[test]
    fn root_and_the_masters_own_user_may_always() {
        let owner_only = Admitted {
            group: None,
            ..with_group()
        };
        for admitted in [owner_only, with_group()] {
            assert_eq!(admitted.forbids(caller(0), 0), None);
            assert_eq!(admitted.forbids(caller(MASTER), 5), None);
        }
    }

    #[test]
    fn anybody_else_is_told_who_may_and_what_to_do() {
        let owner_only = Admitted {
            group: None,
            ..with_group()
        };
        let error = owner_only.forbids(caller(1001), 990).expect_err_kind();
        assert!(
            error.contains("uid 1001") && error.contains("uid 1000"),
            "{error}"
        );
        assert!(error.contains("[control] group"), "{error}");
        let error = with_group().forbids(caller(1001), 1001).expect_err_kind();
        assert!(error.contains("group deploy (gid 990)"), "{error}");
        assert!(error.contains("usermod -aG deploy"), "{error}");
    }

    #[test]
    fn members_of_the_group_may() {
        assert_eq!(with_group().forbids(caller(1001), 990), None);
        let status = "Name:\tcurl\nUid:\t1001\t1001\t1001\t1001\nGid:\t1001\t1001\t1001\t1001\n\
                      Groups:\t27 990 1001 \n";
        assert!(says_member(status, 1001, 990));
        assert!(
            !says_member(status, 1001, 99),
            "a part of a number is no group"
        );
        assert!(
            !says_member(status, 1002, 990),
            "somebody else's process by now"
        );
        assert!(!says_member("", 1001, 990));
    }

    /// For tests of refusals.
    trait Refusal {
        fn expect_err_kind(self) -> String;
    }

    impl Refusal for Option<ApiError> {
        fn expect_err_kind(self) -> String {
            let error = self.expect("refused");
            assert_eq!(error.kind, ErrorKind::Forbidden);
            let hint = error.hint.expect("what to do");
            format!("{}; {hint}", error.message)
        }
    }
}
