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
    /// A few workers of it stand beside the active one until somebody decides.
    Canary,
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
    /// It counts as one of the generation's workers: while the generation is
    /// active a lost worker here is started again. The others are places that
    /// are being left, or empty ones that may be taken again.
    pub wanted: bool,
    /// It was added by a scaling that is not complete yet.
    pub added: bool,
    /// Another one takes the place of its worker, which is to finish what it has.
    pub dismissed: bool,
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
    /// How many workers it has when it is whole: a canary has fewer, and an old
    /// generation that is replaced batch by batch.
    pub size: u32,
    /// Workers of it that were replaced are being started again.
    pub restoring: bool,
    /// It failed, and its workers stand in for those of the active one that are
    /// being started again.
    pub stands_in: bool,
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
        Self {
            number,
            release,
            state: State::Starting,
            slots: Vec::new(),
            size: policy.workers.max(1),
            restoring: false,
            stands_in: false,
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

    /// How many workers it has or is about to have now.
    pub fn wanted(&self) -> u32 {
        let wanted = self.slots.iter().filter(|slot| slot.wanted).count();
        u32::try_from(wanted).unwrap_or(u32::MAX)
    }

    /// It has all of its workers.
    pub(super) fn is_whole(&self) -> bool {
        self.wanted() == self.size
    }

    /// Every worker that it has serves.
    pub(super) fn is_ready(&self) -> bool {
        let serves = |slot: &Slot| !slot.wanted || slot.process == Process::Ready;
        self.slots.iter().all(serves)
    }

    /// Every worker that was added serves.
    pub(super) fn added_are_ready(&self) -> bool {
        let serves = |slot: &Slot| !slot.added || slot.process == Process::Ready;
        self.slots.iter().all(serves)
    }

    /// Some worker that it no longer has is not gone yet.
    pub(super) fn is_being_left(&self) -> bool {
        // One that is ready stays until it is replaced.
        let here = |slot: &Slot| matches!(slot.process, Process::Absent | Process::Ready);
        let leaving = |slot: &Slot| !slot.wanted && !here(slot);
        self.slots.iter().any(leaving)
    }

    /// As many workers that others took the places of still finish as it has workers.
    pub(super) fn is_crowded(&self) -> bool {
        let gone = |slot: &Slot| matches!(slot.process, Process::Absent | Process::Ready);
        let finish = |slot: &&Slot| slot.dismissed && !gone(slot);
        self.slots.iter().filter(finish).count() >= self.size.max(1) as usize
    }

    /// Makes room for one more worker: the first empty place, in a new life so
    /// that no number comes twice, else a new one.
    pub(super) fn claim(&mut self, added: bool) -> WorkerId {
        let empty = |slot: &Slot| !slot.wanted && slot.process == Process::Absent;
        let place = self.slots.iter().position(empty);
        let place = place.unwrap_or(self.slots.len());
        let life = self.slots.get(place).map_or(0, |slot| slot.life + 1);
        let slot = Slot {
            life,
            process: Process::Absent,
            wanted: true,
            added,
            dismissed: false,
            losses: 0,
        };
        if place == self.slots.len() {
            self.slots.push(slot);
        } else {
            self.slots[place] = slot;
        }
        WorkerId {
            generation: self.number,
            slot: u32::try_from(place).unwrap_or(u32::MAX),
            life,
        }
    }

    /// No process of it lives.
    pub(super) fn is_empty(&self) -> bool {
        let absent = |slot: &Slot| slot.process == Process::Absent;
        self.slots.iter().all(absent)
    }
}
