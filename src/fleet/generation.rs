//! A generation: a numbered set of slots that run one release.

use std::time::Duration;

use super::policy::Policy;
use super::types::{GenerationNumber, Moment, ReleaseId, WorkerId};
use super::worker::Process;

/// Where a generation is in its life. One that ended is no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Its workers are becoming ready.
    Starting,
    /// All are ready; it is watched beside the active one.
    Baking,
    /// It is the one that serves; lost workers are started again.
    Active,
    /// It finishes what it has.
    Draining,
    /// It failed and is being ended.
    Failed,
}

/// A place for one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// How often it was started before.
    pub life: u32,
    /// The process that is in it now.
    pub process: Process,
    /// A lost worker here is started again.
    pub wanted: bool,
    /// How often in a row it was lost without settling.
    pub losses: u32,
}

/// A numbered set of workers that run one release.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Generation {
    /// Its number.
    pub number: GenerationNumber,
    /// What it runs.
    pub release: ReleaseId,
    /// Where it is in its life.
    pub state: State,
    /// Its workers' places.
    pub slots: Vec<Slot>,
    /// The earlier generation whose release a rollback brought back, else
    /// its own number: where the next rollback starts to look.
    pub stands_for: GenerationNumber,
    /// How often its workers were told to send `WATCHDOG=1` when they were
    /// started; a later change of the policy does not reach them.
    pub watchdog: Option<Duration>,
    /// Until when it may drain.
    pub drain_deadline: Option<Moment>,
}

impl Generation {
    pub(super) fn new(
        number: GenerationNumber,
        release: ReleaseId,
        stands_for: GenerationNumber,
        policy: &Policy,
    ) -> Self {
        let slot = Slot {
            life: 0,
            process: Process::Absent,
            wanted: true,
            losses: 0,
        };
        Self {
            number,
            release,
            state: State::Starting,
            slots: vec![slot; policy.workers.max(1) as usize],
            stands_for,
            watchdog: policy.watchdog,
            drain_deadline: None,
        }
    }

    /// The workers that its slots hold or held last, in slot order.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, &Slot)> + '_ {
        (0u32..).zip(&self.slots).map(|(slot, held)| {
            let id = WorkerId {
                generation: self.number,
                slot,
                life: held.life,
            };
            (id, held)
        })
    }

    /// The workers as numbers alone, for loops that change the slots.
    pub(super) fn worker_ids(&self) -> Vec<WorkerId> {
        self.workers().map(|(id, _)| id).collect()
    }

    /// How many of its workers serve.
    pub fn ready(&self) -> usize {
        let ready = |slot: &&Slot| slot.process == Process::Ready;
        self.slots.iter().filter(ready).count()
    }

    /// Every slot serves.
    pub(super) fn is_ready(&self) -> bool {
        self.ready() == self.slots.len()
    }

    /// No process of it lives.
    pub(super) fn is_empty(&self) -> bool {
        let absent = |slot: &Slot| slot.process == Process::Absent;
        self.slots.iter().all(absent)
    }
}
