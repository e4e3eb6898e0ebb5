//! The way forward, step by step: which workers of the new generation start
//! next, and what follows when they have baked.

use super::rollout::{self, Gate, Move, Phase, Turn};
use super::{
    Effect, Fleet, GenerationNumber, Kind, Note, OperationId, Outcome, Plan, Refusal, Stage, State,
    Timer,
};

impl Fleet {
    /// Starts those workers that come next: all that are left, the canary, or
    /// the next batch.
    pub(super) fn launch_next(&mut self, number: GenerationNumber) {
        let Some((rollout, held)) = self.rollout.as_ref().zip(self.generations.get(&number)) else {
            return;
        };
        let (has, size) = (held.wanted(), held.size);
        let workers = match rollout.request.plan {
            Plan::Whole => size,
            Plan::Canary(workers) => workers.clamp(1, size),
            Plan::Rolling(batch) => has.saturating_add(batch.max(1)).min(size),
        };
        self.set_phase(Phase::Starting);
        self.set_state(number, State::Starting);
        if has > 0 {
            self.tell(Note::Growing(number, workers));
        }
        self.grow_to(number, workers, false);
    }

    pub(super) fn bake(&mut self, number: GenerationNumber) {
        // The first generation has nothing beside which it could be watched.
        if self.active.is_none() {
            return self.activate(number);
        }
        self.set_phase(Phase::Baking);
        self.set_state(number, State::Baking);
        let bake = self.policy.bake;
        if !bake.is_zero() {
            let due = self.now.saturating_add(bake);
            self.timers.set(Timer::Bake(number), due);
            self.tell(Note::Baking(number, bake));
        }
        if let Some(rollout) = &mut self.rollout
            && rollout.gate == Gate::Shut
        {
            rollout.gate = Gate::Asked;
            self.emit(Effect::Approve(number));
        }
        self.advance(number);
    }

    pub(super) fn approved(&mut self, number: GenerationNumber) {
        let turn = rollout::turn(self.phase(), Turn::Approved);
        if let (Move::Advance, Some(rollout)) = (turn, &mut self.rollout)
            && (rollout.target, rollout.gate) == (number, Gate::Asked)
        {
            rollout.gate = Gate::Open;
            self.advance(number);
        }
    }

    /// Goes on when the bake is over: its time, and the approval.
    pub(super) fn advance(&mut self, number: GenerationNumber) {
        let Some((rollout, held)) = self.rollout.as_ref().zip(self.generations.get(&number)) else {
            return;
        };
        if rollout.gate != Gate::Open || self.timers.due(Timer::Bake(number)).is_some() {
            return;
        }
        match rollout.request.plan {
            Plan::Canary(_) => self.stand(number),
            Plan::Whole | Plan::Rolling(_) if held.is_whole() => self.activate(number),
            Plan::Rolling(_) => self.replace(number),
            Plan::Whole => self.launch_next(number),
        }
    }

    /// The canary baked: it stands until somebody decides. Whoever asked for it
    /// has the answer now; what happens to it later is told, and not retried.
    fn stand(&mut self, number: GenerationNumber) {
        self.set_phase(Phase::Canary);
        self.set_state(number, State::Canary);
        let workers = self
            .generations
            .get(&number)
            .map_or(0, |held| held.wanted());
        let limit = self.policy.canary_timeout;
        if !limit.is_zero() {
            let due = self.now.saturating_add(limit);
            self.timers.set(Timer::Canary(number), due);
        }
        self.tell(Note::Canary(number, workers, limit));
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        rollout.retries = 0;
        for operation in std::mem::take(&mut rollout.waiters) {
            self.answer(operation, Outcome::Canary(number));
        }
        let queued = self.queued.take_if(|queued| queued.kind() != Kind::Renew);
        for operation in queued.into_iter().flat_map(|queued| queued.waiters) {
            self.answer(operation, Outcome::Refused(Refusal::CanaryStands));
        }
    }

    /// Ends the bake or the canary: forward, without further questions.
    pub(super) fn promote(&mut self, operation: OperationId) {
        if self.stage == Stage::Stopping {
            return self.answer(operation, Outcome::Stopping);
        }
        match rollout::turn(self.phase(), Turn::Promote) {
            Move::Promote => {
                let Some(rollout) = &mut self.rollout else {
                    return;
                };
                rollout.waiters.push(operation);
                rollout.gate = Gate::Open;
                if let Plan::Canary(_) = rollout.request.plan {
                    rollout.request.plan = Plan::Whole;
                }
                let number = rollout.target;
                self.stop_stage_timers(number);
                self.advance(number);
            }
            other => self.refuse(operation, other),
        }
    }

    /// A batch baked: the old generation's share of workers drains. The last of
    /// them stay until the new generation is whole and active.
    fn replace(&mut self, number: GenerationNumber) {
        let (Some(old), Some(new)) = (self.active(), self.generations.get(&number)) else {
            return;
        };
        // In numbers: old workers left = old size * (new ones missing / new size),
        // rounded up, so that it is never none while some are missing.
        let missing = new.size.saturating_sub(new.wanted());
        let left = u64::from(old.size) * u64::from(missing);
        let left = left.div_ceil(u64::from(new.size.max(1)));
        let left = u32::try_from(left).unwrap_or(u32::MAX).min(old.wanted());
        let old = old.number;
        self.set_phase(Phase::Replacing);
        self.tell(Note::Replacing(old, left));
        self.shrink_to(old, left);
        self.check_replaced();
    }

    /// Perhaps the old workers of the batch are gone: then the next one starts.
    /// Waiting for them bounds how many processes run at once.
    pub(super) fn check_replaced(&mut self) {
        let (Phase::Replacing, Some(number)) = self.rollout() else {
            return;
        };
        if !self.active().is_some_and(super::Generation::is_being_left) {
            self.turn_of(number, Turn::Replaced, None);
        }
    }

    /// Stops what would end the bake or the canary of this generation.
    pub(super) fn stop_stage_timers(&mut self, number: GenerationNumber) {
        self.timers.stop(Timer::Bake(number));
        self.timers.stop(Timer::Canary(number));
    }
}
