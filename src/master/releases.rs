//! Releases by number: the fleet compares numbers, this table makes equal
//! releases equal numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::sticky::Sticky;
use crate::config::{Config, Ready, Signal};
use crate::fleet::ReleaseId;
use crate::process::{Pinned, Release};

/// What belongs to a program and stands in the config beside it. A generation keeps what it began with:
/// an upgrade that fails must not change how its predecessor's workers are watched or told to end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Manner {
    pub(super) ready: Ready,
    pub(super) drain_signal: Signal,
}

impl Manner {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            ready: config.ready.clone(),
            drain_signal: config.drain.signal,
        }
    }
}

/// A release, and what it was asked for with last.
pub(super) struct Held {
    pub(super) release: Release,
    pub(super) manner: Arc<Manner>,
    /// What remains in force when this is what serves.
    pub(super) sticky: Sticky,
}

/// The releases that may still be launched.
#[derive(Default)]
pub(super) struct Releases {
    next: u32,
    known: BTreeMap<ReleaseId, Held>,
}

impl Releases {
    /// The number of this release: that of an equal one, else a new one. Generations that begin from now on take
    /// the manner.
    pub(super) fn number(&mut self, release: Release, manner: Manner, sticky: Sticky) -> ReleaseId {
        let manner = Arc::new(manner);
        let mut known = self.known.iter_mut();
        if let Some((id, equal)) = known.find(|(_, known)| known.release.same_as(&release)) {
            equal.manner = manner;
            equal.sticky = sticky;
            return *id;
        }
        self.next += 1;
        let id = ReleaseId(self.next);
        let held = Held {
            release,
            manner,
            sticky,
        };
        self.known.insert(id, held);
        id
    }

    pub(super) fn get(&self, id: ReleaseId) -> Option<&Release> {
        self.held(id).map(|held| &held.release)
    }

    pub(super) fn held(&self, id: ReleaseId) -> Option<&Held> {
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
