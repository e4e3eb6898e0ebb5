//! Releases by number: the fleet compares numbers, this table makes equal
//! releases equal numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::ReleaseId;
use crate::process::{Pinned, Release};

/// The releases that may still be launched.
#[derive(Default)]
pub(super) struct Releases {
    next: u32,
    known: BTreeMap<ReleaseId, Release>,
}

impl Releases {
    /// The number of this release: that of an equal one, else a new one.
    pub(super) fn number(&mut self, release: Release) -> ReleaseId {
        let equal = self.known.iter().find(|(_, known)| known.same_as(&release));
        if let Some((id, _)) = equal {
            return *id;
        }
        self.next += 1;
        let id = ReleaseId(self.next);
        self.known.insert(id, release);
        id
    }

    pub(super) fn get(&self, id: ReleaseId) -> Option<&Release> {
        self.known.get(&id)
    }

    /// What it runs cannot change under its name any more.
    pub(super) fn is_fixed(&self, id: ReleaseId) -> bool {
        let pinned = self.get(id).map(Release::pinned);
        pinned.is_some_and(|pinned| pinned != Pinned::Path)
    }

    /// Lets go of those that nobody can launch any more.
    pub(super) fn keep(&mut self, in_use: impl Iterator<Item = ReleaseId>) {
        let in_use: BTreeSet<ReleaseId> = in_use.collect();
        self.known.retain(|id, _| in_use.contains(id));
    }
}
