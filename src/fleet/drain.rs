//! How generations end: retired after an upgrade, undone after a failure, and
//! all together when the service stops.

use super::rollout::Turn;
use super::timers::Timers;
use super::worker::{self, Happening, Step};
use super::{
    Effect, Failure, Fleet, GenerationNumber, Moment, Note, OperationId, Outcome, Process, Stage,
    State, Timer, WorkerId,
};

impl Fleet {
    /// Lets a generation finish what it has; its drain deadline starts now.
    pub(super) fn retire(&mut self, number: GenerationNumber) {
        self.set_state(number, State::Draining);
        let deadline = self.now.saturating_add(self.policy.drain_timeout);
        self.set_deadline(number, deadline);
        self.tell(Note::Draining(number, self.policy.drain_timeout));
        self.drain_slots(number, deadline, |_| true);
        self.end_when_empty(number);
        self.cut_the_oldest_short();
    }

    /// Undoes a failed generation. Those of its workers that serve may hold
    /// requests, so they drain, unless nobody else serves (F1), or the old
    /// generation's workers that they replaced are not back yet.
    pub(super) fn retire_failed(&mut self, number: GenerationNumber) {
        let soon = self.now.saturating_add(self.policy.patience_unready());
        self.drain_slots(number, soon, |process| process != Process::Ready);
        if self.may_go(number) {
            self.drain_the_rest(number);
        } else if self
            .generations
            .get(&number)
            .is_some_and(|held| held.ready() > 0)
        {
            self.tell(Note::Held(number));
        }
        self.end_when_empty(number);
    }

    /// A failed generation's workers that stayed may go as soon as they are not
    /// needed any more.
    pub(super) fn let_go_of_held(&mut self) {
        if self.stage != Stage::Serving {
            return;
        }
        let held: Vec<GenerationNumber> = self
            .generations
            .values()
            .filter(|held| held.state == State::Failed && held.ready() > 0)
            .map(|held| held.number)
            .collect();
        for number in held {
            if self.may_go(number) {
                self.drain_the_rest(number);
            }
        }
    }

    fn drain_the_rest(&mut self, number: GenerationNumber) {
        let deadline = self.now.saturating_add(self.policy.drain_timeout);
        self.set_deadline(number, deadline);
        self.drain_slots(number, deadline, |_| true);
    }

    /// The active generation is as it was and serves, or another failed one that
    /// was held for the same reason: one is enough.
    fn may_go(&self, number: GenerationNumber) -> bool {
        let stands_in = self
            .generations
            .get(&number)
            .is_some_and(|held| held.stands_in);
        let restoring = self.active().is_some_and(|active| active.restoring);
        let somebody_else_serves = self.generations.values().any(|other| {
            let stays = matches!(other.state, State::Active | State::Failed);
            other.number != number && stays && other.ready() > 0
        });
        somebody_else_serves && !(stands_in && restoring)
    }

    /// The first generation never became ready: there is nothing to go back to.
    /// Those of its workers that were ready took requests: they drain.
    pub(super) fn first_failed(&mut self, number: GenerationNumber, failure: Failure) {
        self.fatal = Some(failure);
        let soon = self.now.saturating_add(self.policy.patience_unready());
        self.drain_slots(number, soon, |process| process != Process::Ready);
        let served = self
            .generations
            .get(&number)
            .is_some_and(|held| held.ready() > 0);
        self.end_all(if served {
            self.policy.drain_timeout
        } else {
            self.policy.patience_unready()
        });
    }

    /// Somebody asked for the end: everything drains, after the delay for which
    /// it serves on. Only a second signal (it has no operation) or `now` kills; a
    /// call that is repeated waits as well.
    pub(super) fn stop(&mut self, operation: Option<OperationId>, now: bool) {
        self.stop_waiters.extend(operation);
        let again = operation.is_none() && std::mem::replace(&mut self.stop_signalled, true);
        let at_once = again || now;
        let delay = self.policy.drain_delay;
        if self.stage == Stage::Serving && !at_once && !delay.is_zero() {
            self.stage = Stage::Stopping;
            self.dismiss_rollouts();
            let due = self.now.saturating_add(delay);
            self.timers.set(Timer::StopDelay, due);
            self.tell(Note::StopDelayed(delay));
        } else if self.stage != Stage::Stopping {
            self.end_all(self.policy.drain_timeout);
        }
        if at_once {
            self.stop_delay_is_over();
            self.kill_all();
        }
    }

    /// Now everything drains, unless it does already.
    pub(super) fn stop_delay_is_over(&mut self) {
        if self.timers.due(Timer::Abandon).is_none() && self.stage == Stage::Stopping {
            self.end_all(self.policy.drain_timeout);
        }
    }

    fn end_all(&mut self, patience: std::time::Duration) {
        self.stage = Stage::Stopping;
        self.timers.stop(Timer::StopDelay);
        self.dismiss_rollouts();
        let deadline = self.now.saturating_add(patience);
        let numbers: Vec<GenerationNumber> = self.generations.keys().copied().collect();
        for number in numbers {
            if !matches!(self.state_of(number), Some(State::Draining | State::Failed)) {
                self.set_state(number, State::Draining);
                self.tell(Note::Draining(number, patience));
            }
            self.set_deadline(number, deadline);
            self.drain_slots(number, deadline, |_| true);
            self.end_when_empty(number);
        }
        self.abandon_at(deadline.saturating_add(self.policy.kill_after));
    }

    fn kill_all(&mut self) {
        let living: Vec<WorkerId> = self
            .generations
            .values()
            .flat_map(|held| held.worker_ids())
            .collect();
        for id in living {
            self.happen(id, Happening::End, None);
        }
        self.abandon_at(self.now.saturating_add(self.policy.kill_after));
    }

    /// However often a stop is repeated, this only ever comes nearer.
    fn abandon_at(&mut self, moment: Moment) {
        let sooner = self.timers.due(Timer::Abandon).unwrap_or(moment);
        self.timers.set(Timer::Abandon, sooner.min(moment));
    }

    /// Killed processes that do not end cannot be waited for any longer.
    pub(super) fn abandon(&mut self) {
        if self.stage == Stage::Stopping {
            self.tell(Note::Abandoned);
            self.generations.clear();
        }
    }

    /// Tells the slots that `chosen` picks to end, and starts none again.
    fn drain_slots(
        &mut self,
        number: GenerationNumber,
        deadline: Moment,
        chosen: impl Fn(Process) -> bool,
    ) {
        let Some(generation) = self.generations.get_mut(&number) else {
            return;
        };
        for slot in &mut generation.slots {
            slot.wanted = false;
        }
        let workers: Vec<WorkerId> = generation
            .workers()
            .filter(|(_, slot)| chosen(slot.process))
            .map(|(id, _)| id)
            .collect();
        for id in workers {
            self.retire_worker(id, deadline);
        }
    }

    /// Tells one worker to end; its place is left.
    pub(super) fn retire_worker(&mut self, id: WorkerId, deadline: Moment) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        (slot.wanted, slot.added) = (false, false);
        let process = slot.process;
        match worker::step(process, Happening::Retire) {
            Step::Drain => self.drain_worker(id, deadline),
            _ if process == Process::Absent => self.silence(id),
            _ => self.hasten(id, deadline),
        }
    }

    /// A deadline only ever comes nearer.
    fn hasten(&mut self, id: WorkerId, deadline: Moment) {
        if self
            .timers
            .due(Timer::Kill(id))
            .is_some_and(|due| due > deadline)
        {
            self.timers.set(Timer::Kill(id), deadline);
        }
    }

    /// More generations drain than may: the oldest one's deadline becomes now.
    fn cut_the_oldest_short(&mut self) {
        let draining = |held: &&super::Generation| held.state == State::Draining;
        let numbers: Vec<GenerationNumber> = self
            .generations
            .values()
            .filter(draining)
            .map(|held| held.number)
            .collect();
        let most = self.policy.max_generations.max(1) as usize;
        let excess = numbers.len().saturating_sub(most);
        for number in numbers.into_iter().take(excess) {
            self.tell(Note::CutShort(number));
            self.set_deadline(number, self.now);
            let workers = self.generations.get(&number).map(|held| held.worker_ids());
            for id in workers.into_iter().flatten() {
                self.happen(id, Happening::End, None);
            }
        }
    }

    fn set_deadline(&mut self, number: GenerationNumber, deadline: Moment) {
        if let Some(generation) = self.generations.get_mut(&number) {
            let sooner = generation
                .drain_deadline
                .map_or(deadline, |old| old.min(deadline));
            generation.drain_deadline = Some(sooner);
        }
    }

    fn state_of(&self, number: GenerationNumber) -> Option<State> {
        self.generations.get(&number).map(|held| held.state)
    }

    /// A process is gone: perhaps it was the last of its generation, or of those
    /// that a batch replaced.
    pub(super) fn gone(&mut self, id: WorkerId) {
        self.end_when_empty(id.generation);
        self.check_replaced();
    }

    fn end_when_empty(&mut self, number: GenerationNumber) {
        let ends = |held: &&super::Generation| {
            matches!(held.state, State::Draining | State::Failed) && held.is_empty()
        };
        if self.generations.get(&number).filter(ends).is_none() {
            return;
        }
        self.generations.remove(&number);
        self.tell(Note::Ended(number));
        self.turn_of(number, Turn::Undone, None);
    }

    pub(super) fn finish_when_empty(&mut self) {
        if self.stage != Stage::Stopping || !self.generations.is_empty() {
            return;
        }
        self.stage = Stage::Finished;
        // A timer that stayed would be due for ever: nothing is heard any more.
        self.timers = Timers::default();
        for operation in std::mem::take(&mut self.stop_waiters) {
            self.answer(operation, Outcome::Stopped);
        }
        self.emit(Effect::Finish(self.fatal));
    }
}
