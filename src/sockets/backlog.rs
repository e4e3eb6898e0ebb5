//! Backlogs that workers cut, and how they come back.
//!
//! listen(2) on a socket that listens already is no event for anybody, but it changes the queue of
//! every generation (FAILURES 3); what many runtimes pass is small. So it has to be looked for.

use std::collections::BTreeMap;

use super::listener::Listener;
use super::watch::{Repair, RepairKind};
use super::{diag, options};

/// Puts back what workers cut. One question to the kernel for each kind of listener.
pub fn mend_backlogs(listeners: &[Listener]) -> Vec<Repair> {
    let mut tables = BTreeMap::new();
    let mut repairs = Vec::new();
    for listener in listeners {
        let Some(family) = listener.table() else {
            continue;
        };
        let table = tables
            .entry(family.map(|family| family == diag::Family::V6))
            // Where the kernel does not tell there is nothing to compare.
            .or_insert_with(|| diag::backlogs(family).unwrap_or_default());
        if let Some(seen) = table.get(&listener.inode())
            && let Some(what) = mend(listener, *seen)
        {
            repairs.push(Repair {
                listener: listener.name().to_owned(),
                what,
            });
        }
    }
    repairs
}

fn mend(listener: &Listener, seen: u32) -> Option<RepairKind> {
    let wanted = listener.backlog();
    // The cap is read only where it matters: it can change at any time.
    if seen >= wanted || seen >= wanted.min(options::somaxconn()) {
        return None;
    }
    listener.requeue().then_some(RepairKind::Requeued {
        from: seen,
        to: wanted,
    })
}
