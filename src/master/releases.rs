//! Releases by number: the fleet compares numbers, this table makes equal
//! releases equal numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lineup::Lineup;
use super::sticky::Sticky;
use crate::config::{Config, Health, Probe, Ready, ReadyOn, Signal};
use crate::fleet::ReleaseId;
use crate::process::{Pinned, Plan, Release, ResolveError};

/// What belongs to a program and stands in the config beside it. A generation keeps what it began with:
/// an upgrade that fails must not change how its predecessor's workers are watched or told to end.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) ready: Ready,
    pub(super) health: Health,
    pub(super) errands: Errands,
    pub(super) drain_signal: Signal,
}

impl Manner {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            ready: config.ready.clone(),
            health: config.health.clone(),
            errands: Errands::default(),
            drain_signal: config.drain.signal,
        }
    }

    /// The same with the programs of its probes, which are looked up and opened like the release's own and from its
    /// directory.
    ///
    /// # Errors
    /// What is wrong with them, by the key that names them.
    pub(super) fn with_errands(
        config: &Config,
        plan: &Plan,
    ) -> Result<Self, Vec<(&'static str, ResolveError)>> {
        let mut manner = Self::of(config);
        let ready = match &config.ready.on {
            ReadyOn::Probe(probe) => Some(probe),
            _ => None,
        };
        let mut wrong = Vec::new();
        let mut look_up = |key, probe: Option<&Probe>| {
            let Some(Probe::Exec(words)) = probe else {
                return None;
            };
            let plan = Plan {
                argv: words.clone(),
                label: None,
                ..plan.clone()
            };
            let found = Release::resolve(plan);
            let told = |error| (key, error);
            found
                .map_err(|all| wrong.extend(all.0.into_iter().map(told)))
                .ok()
        };
        manner.errands = Errands {
            ready: look_up("ready.on", ready),
            health: look_up("health.check", config.health.check.as_ref()),
        };
        match wrong.is_empty() {
            true => Ok(manner),
            false => Err(wrong),
        }
    }

    /// Whether its workers are asked by `http:`, on a listener of their own.
    pub(super) fn asks_by_http(&self) -> bool {
        let http = |probe: &Probe| matches!(probe, Probe::Http(_));
        matches!(&self.ready.on, ReadyOn::Probe(probe) if http(probe))
            || self.health.check.as_ref().is_some_and(http)
    }
}

/// The programs of `exec:` probes. Their commands are those of the manner, templates unfilled.
#[derive(Debug, Default)]
pub(super) struct Errands {
    pub(super) ready: Option<Release>,
    pub(super) health: Option<Release>,
}

/// A release, and what it was asked for with last.
pub(super) struct Held {
    pub(super) release: Release,
    pub(super) manner: Arc<Manner>,
    /// What remains in force when this is what serves.
    pub(super) sticky: Sticky,
    /// What its workers are given.
    pub(super) lineup: Arc<Lineup>,
}

/// The releases that may still be launched.
#[derive(Default)]
pub(super) struct Releases {
    next: u32,
    known: BTreeMap<ReleaseId, Held>,
}

impl Releases {
    /// The number of this release with these listeners: that of an equal one, else a new one. Generations that begin
    /// from now on take the manner.
    pub(super) fn number(
        &mut self,
        release: Release,
        manner: Manner,
        sticky: Sticky,
        lineup: Arc<Lineup>,
    ) -> ReleaseId {
        let manner = Arc::new(manner);
        self.number_held(Held {
            release,
            manner,
            sticky,
            lineup,
        })
    }

    fn number_held(&mut self, held: Held) -> ReleaseId {
        let equals = |known: &Held| {
            known.lineup.same_as(&held.lineup) && known.release.same_as(&held.release)
        };
        if let Some((id, equal)) = self.known.iter_mut().find(|(_, known)| equals(known)) {
            (equal.manner, equal.sticky) = (held.manner, held.sticky);
            equal.lineup = held.lineup;
            return *id;
        }
        self.next += 1;
        let id = ReleaseId(self.next);
        self.known.insert(id, held);
        id
    }

    /// The same release with other listeners: the config's of today, not those of its time.
    pub(super) fn with_lineup(&mut self, id: ReleaseId, lineup: Arc<Lineup>) -> ReleaseId {
        let Some(held) = self.known.get(&id) else {
            return id;
        };
        let held = Held {
            release: held.release.clone(),
            manner: held.manner.clone(),
            sticky: held.sticky.clone(),
            lineup,
        };
        self.number_held(held)
    }

    /// Whether both run the same, whatever listeners they have.
    pub(super) fn run_the_same(&self, one: ReleaseId, other: ReleaseId) -> bool {
        match (self.get(one), self.get(other)) {
            (Some(one), Some(other)) => one.same_as(other),
            _ => one == other,
        }
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
