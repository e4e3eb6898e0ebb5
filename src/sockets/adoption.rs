//! What a living socket took from an entry that is read again.

use crate::config::Listen;

/// Changes, each in a few words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Adoption {
    /// What is in force now: "backlog 4096 to 1024".
    pub applied: Vec<String>,
    /// What is not, and why; the others are.
    pub refused: Vec<String>,
}

/// How the owner and the permissions of a path change.
pub(super) fn ownership(before: &Listen, now: &Listen) -> Vec<String> {
    let octal = |mode: Option<u32>| mode.map(|mode| format!("{mode:04o}"));
    let change = |key: &str, before: Option<String>, now: Option<String>| {
        let before = before.map_or_else(String::new, |before| format!(" {before}"));
        now.map(|now| format!("{key}{before} to {now}"))
    };
    let mut changes = Vec::new();
    if before.mode != now.mode {
        changes.extend(change("mode", octal(before.mode), octal(now.mode)));
    }
    if before.user != now.user {
        changes.extend(change("user", before.user.clone(), now.user.clone()));
    }
    if before.group != now.group {
        changes.extend(change("group", before.group.clone(), now.group.clone()));
    }
    changes
}
