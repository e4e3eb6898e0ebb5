//! Carries out what the rollout table says: how a rollout begins, who waits for
//! it, and how it becomes active.

use super::rollout::{self, Gate, Move, Phase, Queued, Rollout, Turn};
use super::{
    Cause, Effect, Failure, Fault, Fleet, Generation, GenerationNumber, Good, HISTORY, Kind, Note,
    OperationId, Outcome, Plan, Refusal, Request, Stage, State, Timer,
};

impl Fleet {
    /// A new generation is asked for.
    pub(super) fn request(&mut self, request: Request) {
        if self.stage == Stage::Stopping {
            return self.answer(request.operation, Outcome::Stopping);
        }
        let same = |rollout: &Rollout| rollout.is_what(&request);
        let turn = if self.rollout.as_ref().is_some_and(same) {
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
            // What was changed below the active generation stays changed: it
            // has its turn after the canary.
            Move::RefuseCanary if request.kind != Kind::Renew => {
                self.refuse(request.operation, Move::RefuseCanary);
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
            Some(queued)
                if queued.kind() != Kind::Renew
                    && (queued.release(), queued.plan()) == (request.release, request.plan) =>
            {
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

    pub(super) fn begin(&mut self, mut request: Request, waiters: Vec<OperationId>, retries: u32) {
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
        // The first generation is proven by nothing that is there already.
        let first = self.active.is_none();
        if first {
            request.plan = Plan::Whole;
        }
        let generation = Generation::new(number, request.release, stands_for, &self.policy);
        self.generations.insert(number, generation);
        let gate = if self.policy.approve && !first {
            Gate::Shut
        } else {
            Gate::Open
        };
        self.rollout = Some(Rollout {
            phase: Phase::Preparing,
            target: number,
            request,
            gate,
            waiters,
            aborters: Vec::new(),
            failure: None,
            restores: false,
            retries,
        });
        self.tell(Note::Starting(number, request.release));
        if self.policy.prepare && !first {
            self.emit(Effect::Prepare(number));
        } else {
            self.launch_next(number);
        }
    }

    /// Where the way back goes on from this generation: a generation that was a
    /// rollback itself leads on from what it brought back, so that what was
    /// rolled back once is not come across again.
    fn stands_for(&self, number: GenerationNumber) -> GenerationNumber {
        let good = self.good.iter().find(|good| good.number == number);
        good.map_or(number, |good| good.stands_for)
    }

    pub(super) fn phase(&self) -> Phase {
        self.rollout().0
    }

    /// A turn of what is under way with this generation; of any other it is late
    /// news.
    pub(super) fn turn_of(
        &mut self,
        number: GenerationNumber,
        turn: Turn,
        failure: Option<Failure>,
    ) {
        let (phase, target) = self.rollout();
        if target != Some(number) {
            return;
        }
        match rollout::turn(phase, turn) {
            Move::Launch => self.launch_next(number),
            Move::Bake => self.bake(number),
            Move::Advance => self.advance(number),
            Move::Undo => self.undo(number, failure),
            Move::Conclude => self.conclude(number),
            Move::GiveUp => self.give_up(number),
            Move::Settle => self.settle(),
            Move::TakeBack => self.take_back(failure),
            Move::Nothing
            | Move::Begin
            | Move::Join
            | Move::Queue
            | Move::Promote
            | Move::Desist
            | Move::Scale
            | Move::RefuseIdle
            | Move::RefuseUnready
            | Move::RefuseUndoing
            | Move::RefuseCanary
            | Move::RefuseBusy => {}
        }
    }

    /// A worker became ready: perhaps it was the last one that was waited for.
    pub(super) fn check_ready(&mut self, number: GenerationNumber) {
        let ready = self.generations.get(&number).is_some_and(|held| {
            // Of the active generation those are waited for that were added:
            // another that is lost meanwhile comes again in its own time.
            match held.state {
                State::Active => held.added_are_ready(),
                _ => held.is_ready(),
            }
        });
        if ready {
            self.turn_of(number, Turn::AllReady, None);
        }
        self.check_restored(number);
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

    pub(super) fn activate(&mut self, number: GenerationNumber) {
        let Some(rollout) = self.rollout.take() else {
            return;
        };
        self.stop_stage_timers(number);
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

    /// Whatever was queued has its turn.
    pub(super) fn next(&mut self) {
        if self.phase() == Phase::Idle
            && self.stage == Stage::Serving
            && let Some(Queued { request, waiters }) = self.queued.take()
        {
            self.begin(request, waiters, self.policy.retries);
        }
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        if let Some(rollout) = &mut self.rollout {
            rollout.phase = phase;
        }
    }

    pub(super) fn set_state(&mut self, number: GenerationNumber, state: State) {
        if let Some(generation) = self.generations.get_mut(&number) {
            generation.state = state;
        }
    }

    pub(super) fn refuse(&mut self, operation: OperationId, decision: Move) {
        let refusal = match decision {
            Move::RefuseUnready => Refusal::NotReadyYet,
            Move::RefuseUndoing => Refusal::BeingUndone,
            Move::RefuseCanary => Refusal::CanaryStands,
            Move::RefuseBusy => Refusal::UpgradeUnderWay,
            _ => Refusal::NothingUnderWay,
        };
        self.answer(operation, Outcome::Refused(refusal));
    }

    /// Everyone who waits for a rollout is told that the service ends first.
    pub(super) fn dismiss_rollouts(&mut self) {
        let running = self.rollout.take();
        let queued = self.queued.take();
        if let Some(rollout) = running {
            self.stop_stage_timers(rollout.target);
            self.timers.stop(Timer::Undo(rollout.target));
            for operation in rollout.waiters.into_iter().chain(rollout.aborters) {
                self.answer(operation, Outcome::Stopping);
            }
        }
        if let Some(scaling) = self.scaling.take() {
            self.answer(scaling.waiter, Outcome::Stopping);
        }
        for operation in queued.into_iter().flat_map(|queued| queued.waiters) {
            self.answer(operation, Outcome::Stopping);
        }
    }
}
