//! Carries out what the rollout table says.

use super::rollout::{self, Move, Phase, Queued, Rollout, Turn};
use super::{
    Cause, Failure, Fault, Fleet, Generation, GenerationNumber, Good, HISTORY, Kind, Note,
    OperationId, Outcome, Policy, Refusal, Request, Stage, State, Timer,
};

impl Fleet {
    /// A new generation is asked for.
    pub(super) fn request(&mut self, request: Request) {
        if self.stage == Stage::Stopping {
            return self.answer(request.operation, Outcome::Stopping);
        }
        let same = |rollout: &Rollout| rollout.request.release == request.release;
        let joins = request.fixed && self.rollout.as_ref().is_some_and(same);
        let turn = if joins {
            Turn::SameRequest
        } else {
            Turn::OtherRequest
        };
        match rollout::turn(self.phase(), turn) {
            Move::Begin => self.begin(request, vec![request.operation], self.policy.retries),
            Move::Join => {
                if let Some(rollout) = &mut self.rollout {
                    rollout.waiters.push(request.operation);
                    let target = rollout.target;
                    self.tell(Note::Joined(request.operation, target));
                }
            }
            _ => self.queue(request),
        }
    }

    /// Takes the queued place. Whoever waits there for the same release waits
    /// on, whoever waits for another is told.
    fn queue(&mut self, request: Request) {
        if request.kind == Kind::Renew && self.queued.is_some() {
            return self.answer(request.operation, Outcome::Superseded);
        }
        self.tell(Note::Queued(request.operation));
        match &mut self.queued {
            Some(queued) if queued.kind() != Kind::Renew && queued.release() == request.release => {
                queued.waiters.push(request.operation);
                // An upgrade makes a new generation in any case: it outweighs.
                if request.kind != Kind::Reload {
                    queued.request = request;
                }
            }
            queued => {
                if let Some(old) = queued.replace(Queued::new(request)) {
                    for operation in old.waiters {
                        self.answer(operation, Outcome::Superseded);
                    }
                }
            }
        }
    }

    fn begin(&mut self, mut request: Request, waiters: Vec<OperationId>, retries: u32) {
        if let (Kind::Reload, Some(active)) = (request.kind, self.active())
            && active.release == request.release
        {
            let outcome = Outcome::Unchanged(active.number);
            for operation in waiters {
                self.answer(operation, outcome);
            }
            return self.next();
        }
        if let (Kind::Renew, Some(active)) = (request.kind, self.active()) {
            request.release = active.release;
        }
        let number = self.next_number;
        self.next_number += 1;
        let stands_for = match request.kind {
            Kind::Rollback { to } => self.stands_for(to),
            Kind::Upgrade | Kind::Reload | Kind::Renew => number,
        };
        let generation = Generation::new(number, request.release, stands_for, &self.policy);
        let workers = generation.worker_ids();
        self.generations.insert(number, generation);
        self.rollout = Some(Rollout {
            phase: Phase::Starting,
            target: number,
            request,
            waiters,
            aborters: Vec::new(),
            failure: None,
            retries,
        });
        self.tell(Note::Starting(number, request.release));
        for worker in workers {
            self.launch(worker);
        }
    }

    /// Where the way back goes on from this generation: a generation that was a
    /// rollback itself leads on from what it brought back, so that what was
    /// rolled back once is not come across again.
    fn stands_for(&self, number: GenerationNumber) -> GenerationNumber {
        let good = self.good.iter().find(|good| good.number == number);
        good.map_or(number, |good| good.stands_for)
    }

    fn phase(&self) -> Phase {
        self.rollout
            .as_ref()
            .map_or(Phase::Idle, |rollout| rollout.phase)
    }

    /// A turn of the rollout of this generation; of any other it is late news.
    pub(super) fn turn_of(
        &mut self,
        number: GenerationNumber,
        turn: Turn,
        failure: Option<Failure>,
    ) {
        let target = self.rollout.as_ref().map(|rollout| rollout.target);
        if target != Some(number) {
            return;
        }
        match rollout::turn(self.phase(), turn) {
            Move::Bake => self.bake(number),
            Move::Activate => self.activate(number),
            Move::Undo => self.undo(number, failure),
            Move::Conclude => self.conclude(number),
            Move::GiveUp => self.give_up(number),
            Move::Nothing
            | Move::Begin
            | Move::Join
            | Move::Queue
            | Move::Desist
            | Move::RefuseIdle
            | Move::RefuseUnready
            | Move::RefuseUndoing => {}
        }
    }

    /// A worker became ready: perhaps it was the last one.
    pub(super) fn check_ready(&mut self, number: GenerationNumber) {
        if self
            .generations
            .get(&number)
            .is_some_and(Generation::is_ready)
        {
            self.turn_of(number, Turn::AllReady, None);
        }
    }

    pub(super) fn fail(&mut self, number: GenerationNumber, failure: Failure) {
        self.turn_of(number, Turn::Against, Some(failure));
    }

    pub(super) fn against(&mut self, number: GenerationNumber, fault: Fault) {
        let failure = Failure {
            worker: None,
            cause: Cause::Fault(fault),
        };
        self.fail(number, failure);
    }

    pub(super) fn promote(&mut self, operation: OperationId) {
        if self.stage == Stage::Stopping {
            return self.answer(operation, Outcome::Stopping);
        }
        match rollout::turn(self.phase(), Turn::Promote) {
            Move::Activate => {
                if let Some(rollout) = &mut self.rollout {
                    rollout.waiters.push(operation);
                    let number = rollout.target;
                    self.activate(number);
                }
            }
            other => self.refuse(operation, other),
        }
    }

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

    /// The running rollout is not tried again; `operation` is answered when it
    /// is gone.
    fn desist(&mut self, operation: OperationId) -> Option<GenerationNumber> {
        let rollout = self.rollout.as_mut()?;
        rollout.aborters.push(operation);
        rollout.retries = 0;
        Some(rollout.target)
    }

    fn refuse(&mut self, operation: OperationId, decision: Move) {
        let refusal = match decision {
            Move::RefuseUnready => Refusal::NotReadyYet,
            Move::RefuseUndoing => Refusal::BeingUndone,
            _ => Refusal::NothingUnderWay,
        };
        self.answer(operation, Outcome::Refused(refusal));
    }

    fn bake(&mut self, number: GenerationNumber) {
        // The first generation has nothing beside which it could be watched.
        if self.active.is_none() || self.policy.bake.is_zero() {
            return self.activate(number);
        }
        self.set_phase(Phase::Baking);
        self.set_state(number, State::Baking);
        let bake = self.policy.bake;
        self.timers
            .set(Timer::Bake(number), self.now.saturating_add(bake));
        self.tell(Note::Baking(number, bake));
    }

    fn activate(&mut self, number: GenerationNumber) {
        let Some(rollout) = self.rollout.take() else {
            return;
        };
        self.timers.stop(Timer::Bake(number));
        self.set_state(number, State::Active);
        let old = self.active.replace(number);
        self.stage = Stage::Serving;
        self.remember(number);
        self.tell(Note::Active(number));
        if let Some(old) = old {
            self.retire(old);
        }
        for operation in rollout.waiters {
            self.answer(operation, Outcome::Active(number));
        }
        self.next();
    }

    /// Keeps the generation as one to roll back to. Of too many, a neighbour of
    /// the same release is forgotten before a release that is left nowhere else.
    fn remember(&mut self, number: GenerationNumber) {
        let Some(held) = self.generations.get(&number) else {
            return;
        };
        self.good.push(Good {
            number,
            release: held.release,
            stands_for: held.stands_for,
        });
        if self.good.len() > HISTORY {
            let twins = |pair: &[Good]| pair[0].release == pair[1].release;
            let spare = self.good.windows(2).position(twins).unwrap_or(0);
            self.good.remove(spare);
        }
    }

    fn undo(&mut self, number: GenerationNumber, failure: Option<Failure>) {
        self.timers.stop(Timer::Bake(number));
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
        let Policy {
            drain_timeout,
            kill_after,
            ..
        } = self.policy;
        let patience = drain_timeout.saturating_add(kill_after.saturating_mul(2));
        let due = self.now.saturating_add(patience);
        self.timers.set(Timer::Undo(number), due);
        self.retire_failed(number);
    }

    /// The failed generation is gone: everything is as it was.
    fn conclude(&mut self, number: GenerationNumber) {
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

    /// Something of the failed generation stays; whoever waits is told.
    fn give_up(&mut self, number: GenerationNumber) {
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

    /// Whatever was queued has its turn.
    fn next(&mut self) {
        if self.rollout.is_none()
            && self.stage == Stage::Serving
            && let Some(Queued { request, waiters }) = self.queued.take()
        {
            self.begin(request, waiters, self.policy.retries);
        }
    }

    fn set_phase(&mut self, phase: Phase) {
        if let Some(rollout) = &mut self.rollout {
            rollout.phase = phase;
        }
    }

    pub(super) fn set_state(&mut self, number: GenerationNumber, state: State) {
        if let Some(generation) = self.generations.get_mut(&number) {
            generation.state = state;
        }
    }

    /// Everyone who waits for a rollout is told that the service ends first.
    pub(super) fn dismiss_rollouts(&mut self) {
        let running = self.rollout.take();
        let queued = self.queued.take();
        if let Some(rollout) = running {
            self.timers.stop(Timer::Bake(rollout.target));
            self.timers.stop(Timer::Undo(rollout.target));
            for operation in rollout.waiters.into_iter().chain(rollout.aborters) {
                self.answer(operation, Outcome::Stopping);
            }
        }
        for operation in queued.into_iter().flat_map(|queued| queued.waiters) {
            self.answer(operation, Outcome::Stopping);
        }
    }
}
