//! How many workers a generation has: more, fewer, and the scaling of the
//! active one.

use std::cmp::Reverse;

use super::rollout::{self, Move, Scaling, Turn};
use super::{
    Failure, Fleet, GenerationNumber, Note, OperationId, Outcome, Process, Scale, Stage, WorkerId,
};

impl Fleet {
    /// Starts workers until the generation has so many.
    pub(super) fn grow_to(&mut self, number: GenerationNumber, workers: u32, added: bool) {
        let Some(held) = self.generations.get_mut(&number) else {
            return;
        };
        let missing = workers.saturating_sub(held.wanted());
        let claimed: Vec<WorkerId> = (0..missing).map(|_| held.claim(added)).collect();
        for id in claimed {
            self.launch(id);
        }
    }

    /// Lets workers go until the generation has so many: first those that serve
    /// nobody, then the newest places. Who served may finish what it has.
    pub(super) fn shrink_to(&mut self, number: GenerationNumber, workers: u32) {
        let Some(held) = self.generations.get(&number) else {
            return;
        };
        let mut wanted: Vec<_> = held.workers().filter(|(_, slot)| slot.wanted).collect();
        wanted.sort_unstable_by_key(|(id, slot)| {
            let serves = match slot.process {
                Process::Absent | Process::Draining | Process::Killed => 0,
                Process::Starting => 1,
                Process::Ready => 2,
            };
            (serves, !slot.added, Reverse(id.slot))
        });
        let excess = wanted.len().saturating_sub(workers as usize);
        let spare: Vec<(WorkerId, bool)> = wanted
            .into_iter()
            .take(excess)
            .map(|(id, slot)| (id, slot.process == Process::Ready))
            .collect();
        for (id, served) in spare {
            let patience = if served {
                self.policy.drain_timeout
            } else {
                self.policy.patience_unready()
            };
            self.retire_worker(id, self.now.saturating_add(patience));
        }
    }

    /// Somebody wants another number of workers.
    pub(super) fn scale(&mut self, operation: OperationId, to: Scale) {
        if self.stage == Stage::Stopping {
            return self.answer(operation, Outcome::Stopping);
        }
        match (rollout::turn(self.phase(), Turn::Scale), self.active) {
            (Move::Scale, Some(number)) => self.resize(number, operation, to),
            (Move::Scale, None) => self.refuse(operation, Move::RefuseBusy),
            (other, _) => self.refuse(operation, other),
        }
    }

    /// The newest number counts: whoever waits for another one is told.
    fn resize(&mut self, number: GenerationNumber, operation: OperationId, to: Scale) {
        let Some(active) = self.generations.get_mut(&number) else {
            return;
        };
        let old = active.size;
        let workers = match to {
            Scale::To(workers) => workers.max(1),
            Scale::Up => old.saturating_add(1),
            Scale::Down => old.saturating_sub(1).max(1),
        };
        active.size = workers;
        let before = self.scaling.take();
        let from = before.as_ref().map_or(old, |scaling| scaling.from);
        if let Some(Scaling { waiter, .. }) = before {
            self.answer(waiter, Outcome::Superseded);
        }
        self.scaling = Some(Scaling {
            target: number,
            from: from.min(workers),
            waiter: operation,
        });
        self.tell(Note::Scaling(number, workers));
        self.grow_to(number, workers, true);
        self.shrink_to(number, workers);
        if workers <= from {
            // None is missing that was not missing before.
            self.forget_added(number);
        }
        self.check_ready(number);
    }

    /// All that were added are ready, or none had to be.
    pub(super) fn settle(&mut self) {
        let Some(scaling) = self.scaling.take() else {
            return;
        };
        let workers = self.forget_added(scaling.target);
        self.tell(Note::Scaled(scaling.target, workers));
        self.answer(scaling.waiter, Outcome::Scaled(workers));
        self.next();
    }

    /// A worker that was added failed: as many as before are kept. All run the
    /// same release, so those that serve are.
    pub(super) fn take_back(&mut self, failure: Option<Failure>) {
        let Some((scaling, failure)) = self.scaling.take().zip(failure) else {
            return;
        };
        let Scaling { target, from, .. } = scaling;
        if let Some(active) = self.generations.get_mut(&target) {
            active.size = from;
        }
        self.tell(Note::NotScaled(target, from, failure));
        self.shrink_to(target, from);
        self.forget_added(target);
        self.answer(scaling.waiter, Outcome::NotScaled(from, failure));
        self.check_restored(target);
        self.next();
    }

    fn forget_added(&mut self, number: GenerationNumber) -> u32 {
        let Some(held) = self.generations.get_mut(&number) else {
            return 0;
        };
        for slot in &mut held.slots {
            slot.added = false;
        }
        held.size
    }
}
