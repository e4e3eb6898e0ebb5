//! What must hold of the whole after every step, by the names that the design
//! gives it.

use crate::fleet::rollout::Phase;
use crate::fleet::{
    Effect, Generation, GenerationNumber, Note, Process, Stage, State, Timer, WorkerId,
};
use crate::world::{Action, Living, World};

impl World {
    /// After everything that an action brought about.
    pub fn check(&mut self, action: Action, serving: &[WorkerId], effects: &[Effect]) {
        self.without_time_a_bake_is_over();
        self.f1_some_worker_stays_ready(action, serving);
        self.f1_held_only_while_needed();
        self.f3_few_generations_drain(effects);
        self.the_active_generation_has_its_workers();
        self.f5_every_call_gets_its_answer();
        self.views_agree();
        self.timers_are_those_that_are_needed();
    }

    /// A bake that takes no time, but waits for the approval.
    fn without_time_a_bake_is_over(&mut self) {
        if let (Phase::Baking, Some(number)) = self.fleet.rollout() {
            let serving = self.serving_of(number);
            let known = self.known.get_mut(&number);
            if let Some(known) = known.filter(|known| known.bake_over) {
                known.baked = serving;
            }
        }
    }

    /// The worker whose own fault this is.
    pub fn own_fault(action: Action) -> Option<WorkerId> {
        match action {
            Action::Fault(id)
            | Action::Unhealthy(id)
            | Action::Exit(id, _)
            | Action::Due(Timer::Ready(id) | Timer::Watchdog(id)) => Some(id),
            _ => None,
        }
    }

    fn f1_some_worker_stays_ready(&self, action: Action, before: &[WorkerId]) {
        if self.is_ending() {
            return;
        }
        // Who answers its check with a no serves until another one does.
        let stays = |id: &WorkerId| {
            matches!(action, Action::Unhealthy(_)) && self.active == Some(id.generation)
        };
        let at_fault = Self::own_fault(action).filter(|id| !stays(id));
        let well = before.iter().any(|id| Some(*id) != at_fault);
        assert!(
            !well || self.living.values().any(Living::serves),
            "F1: {action:?} left no ready worker"
        );
    }

    /// A failed generation's ready workers stay only while nobody else serves.
    fn f1_held_only_while_needed(&self) {
        let held = |held: &&Generation| held.state == State::Failed && held.ready() > 0;
        let held = self.fleet.generations().filter(held).count();
        let needed = self.fleet.active().is_none_or(|active| active.ready() == 0);
        assert!(
            held <= usize::from(needed) || self.restoring.is_some() || self.delayed,
            "{held} failed generations stay"
        );
    }

    /// As many as were asked for, except while others take their places.
    fn the_active_generation_has_its_workers(&self) {
        let Some(active) = self.fleet.active().filter(|_| !self.is_ending()) else {
            return;
        };
        let workers = self.known.get(&active.number).map(|known| known.workers);
        let target = self
            .fleet
            .rollout()
            .1
            .and_then(|target| self.known.get(&target));
        let rolls = target.is_some_and(|known| known.took) || self.delayed;
        assert!(
            Some(active.wanted()) == workers || (rolls && active.wanted() > 0),
            "{} workers are wanted, not {workers:?}",
            active.wanted()
        );
    }

    fn draining(&self) -> impl Iterator<Item = GenerationNumber> + '_ {
        let draining = |held: &&Generation| held.state == State::Draining;
        self.fleet
            .generations()
            .filter(draining)
            .map(|held| held.number)
    }

    /// It is one of the oldest of too many that drain.
    pub fn is_crowded_out(&self, number: GenerationNumber) -> bool {
        let most = self.fleet.policy().max_generations.max(1) as usize;
        let excess = self.draining().count().saturating_sub(most);
        self.draining().take(excess).any(|oldest| oldest == number)
    }

    fn f3_few_generations_drain(&self, effects: &[Effect]) {
        let retired = |effect: &Effect| matches!(effect, Effect::Tell(Note::Active(_)));
        if !effects.iter().any(retired) {
            return;
        }
        let has_time = |number: &GenerationNumber| {
            let mut living = self.living.iter();
            living.any(|(id, living)| id.generation == *number && living.killed.is_none())
        };
        let most = self.fleet.policy().max_generations.max(1) as usize;
        let count = self.draining().filter(has_time).count();
        assert!(count <= most, "F3: {count} generations drain");
    }

    fn f5_every_call_gets_its_answer(&self) {
        let idle = self.fleet.rollout() == (Phase::Idle, None);
        if self.finished || (idle && self.fleet.stage() == Stage::Serving) {
            assert_eq!(self.waiting.first(), None, "F5: a call without an answer");
        }
        if self.fleet.rollout().0 == Phase::Canary {
            // A renewal may wait for the end of the canary, nobody else.
            assert!(self.waiting.len() <= 1, "F5: a call waits for a canary");
        }
        if self.finished {
            assert!(self.living.is_empty(), "F3: processes survived the service");
        }
    }

    /// The fleet knows of exactly the processes that live.
    fn views_agree(&self) {
        let workers = self.fleet.generations().flat_map(Generation::workers);
        let known = workers.filter(|(_, slot)| slot.process != Process::Absent);
        assert!(
            known.map(|(id, _)| id).eq(self.living.keys().copied()),
            "the fleet and the world disagree on who lives"
        );
        let active = self.fleet.active().map(|held| held.number);
        assert!(active == self.active || self.is_ending(), "who is active");
    }

    /// The time of its bake is not over.
    fn bakes(&self, number: GenerationNumber) -> bool {
        self.known
            .get(&number)
            .is_some_and(|known| !known.bake_over)
    }

    /// Each state that somebody must leave has the timer that ends it, and no
    /// timer stays behind: nothing waits for ever, nothing fires for the dead.
    fn timers_are_those_that_are_needed(&self) {
        let mut needed = Vec::with_capacity(16);
        for generation in self.fleet.generations() {
            for (id, slot) in generation.workers() {
                let again = slot.wanted && generation.state == State::Active;
                let timer = match slot.process {
                    Process::Starting => Timer::Ready(id),
                    Process::Draining => Timer::Kill(id),
                    Process::Absent if again => Timer::Respawn(id),
                    Process::Ready if generation.watchdog.is_some() => Timer::Watchdog(id),
                    Process::Absent | Process::Ready | Process::Killed => continue,
                };
                needed.push(timer);
            }
        }
        match self.fleet.rollout() {
            (Phase::Baking, Some(number)) if self.bakes(number) => {
                needed.push(Timer::Bake(number));
            }
            (Phase::Canary, Some(number)) if !self.fleet.policy().canary_timeout.is_zero() => {
                needed.push(Timer::Canary(number));
            }
            (Phase::Undoing, Some(number)) => needed.push(Timer::Undo(number)),
            _ => {}
        }
        if self.fleet.stage() == Stage::Stopping {
            needed.push(if self.delayed {
                Timer::StopDelay
            } else {
                Timer::Abandon
            });
        }
        let ready = |id| self.living.get(&id).is_some_and(Living::serves);
        let optional = |timer: &Timer| matches!(timer, Timer::Settled(id) if ready(*id));
        needed.sort_unstable();
        // They come sorted.
        let set: Vec<Timer> = self
            .fleet
            .timers()
            .filter(|timer| !optional(timer))
            .collect();
        assert_eq!(set, needed, "the timers that are set, and that are needed");
    }
}
