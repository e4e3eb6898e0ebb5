//! The way back: a rollout that failed or was aborted, until everything is as
//! it was before it.

use super::rollout::{self, Move, Phase, Rollout, Turn};
use super::{
    Cause, Failure, Fleet, GenerationNumber, Note, OperationId, Outcome, Refusal, Stage, State,
    Timer,
};

impl Fleet {
    pub(super) fn abort(&mut self, operation: OperationId) {
        if self.stage == Stage::Stopping {
            return self.answer(operation, Outcome::Stopping);
        }
        match (rollout::turn(self.phase(), Turn::Abort), self.active) {
            (Move::Undo, None) => {
                self.answer(operation, Outcome::Refused(Refusal::NothingBefore));
            }
            (Move::Undo, Some(_)) => {
                if let Some(number) = self.desist(operation) {
                    let failure = Failure {
                        worker: None,
                        cause: Cause::Aborted,
                    };
                    self.undo(number, Some(failure));
                }
            }
            (Move::Desist, _) => {
                self.desist(operation);
            }
            (other, _) => self.refuse(operation, other),
        }
    }

    /// Nobody promoted it.
    pub(super) fn canary_due(&mut self, number: GenerationNumber) {
        let failure = Failure {
            worker: None,
            cause: Cause::NotPromoted,
        };
        self.turn_of(number, Turn::CanaryDue, Some(failure));
    }

    /// The running rollout is not tried again; `operation` is answered when it
    /// is gone.
    fn desist(&mut self, operation: OperationId) -> Option<GenerationNumber> {
        let rollout = self.rollout.as_mut()?;
        rollout.aborters.push(operation);
        rollout.retries = 0;
        Some(rollout.target)
    }

    pub(super) fn undo(&mut self, number: GenerationNumber, failure: Option<Failure>) {
        self.stop_stage_timers(number);
        self.set_phase(Phase::Undoing);
        self.set_state(number, State::Failed);
        let Some(failure) = failure else {
            return;
        };
        if let Some(rollout) = &mut self.rollout {
            rollout.failure = Some(failure);
        }
        self.tell(Note::Failed(number, failure));
        if self.active.is_none() {
            return self.first_failed(number, failure);
        }
        let policy = self.policy;
        let mut patience = policy
            .drain_timeout
            .saturating_add(policy.kill_after.saturating_mul(2));
        if self.restore() {
            patience = patience.saturating_add(policy.ready_timeout);
            if let Some(rollout) = &mut self.rollout {
                rollout.restores = true;
            }
            if let Some(failed) = self.generations.get_mut(&number) {
                failed.stands_in = true;
            }
        }
        let due = self.now.saturating_add(patience);
        self.timers.set(Timer::Undo(number), due);
        self.retire_failed(number);
    }

    /// Everything is as it was, once the failed generation is gone and the active
    /// one has again what was replaced.
    pub(super) fn conclude(&mut self, number: GenerationNumber) {
        let restores = self
            .rollout
            .as_ref()
            .is_some_and(|rollout| rollout.restores);
        let restoring = restores && self.active().is_some_and(|active| active.restoring);
        if restoring || self.generations.contains_key(&number) {
            return;
        }
        self.timers.stop(Timer::Undo(number));
        let Some((rollout, failure)) = self.take_failed() else {
            return;
        };
        // A newer call that waits outweighs another try of the old one.
        if rollout.retries > 0 && self.stage == Stage::Serving && self.queued.is_none() {
            let retries = rollout.retries - 1;
            self.tell(Note::Retry(retries));
            return self.begin(rollout.request, rollout.waiters, retries);
        }
        self.answer_failed(rollout, Outcome::Failed(number, failure));
    }

    /// Something of the failed generation stays, or something of the active one is
    /// not back; whoever waits is told.
    pub(super) fn give_up(&mut self, number: GenerationNumber) {
        if let Some((rollout, failure)) = self.take_failed() {
            self.answer_failed(rollout, Outcome::NotUndone(number, failure));
        }
    }

    fn take_failed(&mut self) -> Option<(Rollout, Failure)> {
        let rollout = self.rollout.take()?;
        let failure = rollout.failure?;
        Some((rollout, failure))
    }

    fn answer_failed(&mut self, rollout: Rollout, outcome: Outcome) {
        for operation in rollout.aborters {
            let done = match outcome {
                Outcome::Failed(number, _) => Outcome::Aborted(number),
                other => other,
            };
            self.answer(operation, done);
        }
        for operation in rollout.waiters {
            self.answer(operation, outcome);
        }
        self.next();
    }

    /// Starts again what a rolling upgrade took from the active generation, from
    /// its own release.
    fn restore(&mut self) -> bool {
        let Some(number) = self.active else {
            return false;
        };
        let Some(active) = self.generations.get_mut(&number) else {
            return false;
        };
        if active.is_whole() {
            return false;
        }
        active.restoring = true;
        let size = active.size;
        self.tell(Note::Restoring(number));
        self.grow_to(number, size, false);
        true
    }

    /// A worker became ready, or fewer are wanted: perhaps the active generation
    /// is what it was.
    pub(super) fn check_restored(&mut self, number: GenerationNumber) {
        let Some(held) = self.generations.get_mut(&number) else {
            return;
        };
        if held.restoring && held.is_whole() && held.is_ready() {
            held.restoring = false;
            if let (_, Some(failed)) = self.rollout() {
                self.turn_of(failed, Turn::Undone, None);
            }
        }
    }
}
