//! Named timers in one table. A timer that is set again moves; one that is
//! stopped never fires.

use std::collections::{BTreeMap, BTreeSet};

use super::types::{GenerationNumber, Moment, WorkerId};

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// When a starting worker must be ready.
    Ready(WorkerId),
    /// When a lost worker's slot is started again.
    Respawn(WorkerId),
    /// When a worker that was told to end is killed.
    Kill(WorkerId),
    /// When a respawned worker counts as well again.
    Settled(WorkerId),
    /// When a ready worker must have sent `WATCHDOG=1`.
    Watchdog(WorkerId),
    /// When the bake of a generation ends.
    Bake(GenerationNumber),
    /// When a canary that nobody promoted is aborted.
    Canary(GenerationNumber),
    /// When a failed generation that is still there is told as not undone.
    Undo(GenerationNumber),
    /// When a stopping fleet begins to drain.
    StopDelay,
    /// When a stopping fleet no longer waits for killed processes.
    Abandon,
}

/// The table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Timers {
    by_name: BTreeMap<Timer, Moment>,
    by_time: BTreeSet<(Moment, Timer)>,
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, due: Moment) {
        self.stop(timer);
        self.by_name.insert(timer, due);
        self.by_time.insert((due, timer));
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        if let Some(due) = self.by_name.remove(&timer) {
            self.by_time.remove(&(due, timer));
        }
    }

    pub(super) fn due(&self, timer: Timer) -> Option<Moment> {
        self.by_name.get(&timer).copied()
    }

    pub(super) fn next(&self) -> Option<(Moment, Timer)> {
        self.by_time.first().copied()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Timer, Moment)> + '_ {
        self.by_name.iter().map(|(timer, due)| (*timer, *due))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = Timer> + '_ {
        self.by_name.keys().copied()
    }
}
