//! What must hold after every step, by the names that the design gives it.

use crate::fleet::rollout::Phase;
use crate::fleet::{
    Effect, Generation, GenerationNumber, Note, OperationId, Outcome, Process, ReleaseId, Stage,
    State, Timer, WorkerId,
};
use crate::world::{Action, Living, Plan, Stop, World};

impl World {
    /// One effect, in the order in which it was asked for.
    pub fn effect(&mut self, action: Action, effect: Effect) {
        match effect {
            Effect::Launch(id, release) => self.launched(id, release),
            Effect::Drain(id) => {
                assert!(
                    self.is_ending() || self.active != Some(id.generation),
                    "F2: the active generation was told to drain"
                );
                let clock = self.clock.unwrap_or_default();
                let living = self.signalled(id);
                assert!(
                    living.told.is_none() && living.killed.is_none(),
                    "told twice"
                );
                living.told = Some(clock);
            }
            Effect::Kill(id) => {
                self.f3_no_kill_before_the_deadline(action, id);
                let clock = self.clock.unwrap_or_default();
                let living = self.signalled(id);
                assert!(living.killed.is_none(), "killed twice");
                living.killed = Some(clock);
            }
            Effect::Answer(operation, outcome) => self.answered(action, operation, outcome),
            Effect::Tell(note) => self.told(note),
            Effect::Finish(failure) => {
                assert_eq!(
                    failure.is_some(),
                    self.fatal,
                    "the reason of the first generation's failure"
                );
                self.finished = true;
            }
        }
    }

    fn signalled(&mut self, id: WorkerId) -> &mut Living {
        self.living
            .get_mut(&id)
            .expect("F6: only the living are signalled")
    }

    fn launched(&mut self, id: WorkerId, release: ReleaseId) {
        let twin = |other: &WorkerId| (other.generation, other.slot) == (id.generation, id.slot);
        assert!(
            !self.living.keys().any(twin),
            "two processes in the slot of {id:?}"
        );
        let plan = self.plans.get(&id.generation).expect("it was announced");
        assert_eq!(
            plan.release, release,
            "a release is pinned once a generation"
        );
        assert!(id.slot < plan.workers, "more workers than slots");
        assert!(
            id.life == 0 || self.active == Some(id.generation),
            "only the active generation's workers are started again"
        );
        assert!(!self.is_ending(), "started {id:?} although all is ending");
        self.living.insert(id, Living::default());
    }

    fn told(&mut self, note: Note) {
        match note {
            Note::Starting(number, release) => {
                let workers = self.fleet.policy().workers.max(1);
                let plan = Plan {
                    release,
                    workers,
                    baked: false,
                };
                self.plans.insert(number, plan);
            }
            Note::Active(number) => self.f2_ready_and_baked_before_active(number),
            Note::Failed(number, _) => {
                assert_ne!(
                    self.active,
                    Some(number),
                    "F2: the active generation failed"
                );
                self.fatal |= self.active.is_none();
            }
            Note::Ended(number) => {
                let survivor = self.living.keys().find(|id| id.generation == number);
                assert_eq!(survivor, None, "F3: a process survived its generation");
                self.plans.remove(&number);
            }
            Note::Abandoned => self.living.clear(),
            Note::Baking(..)
            | Note::Draining(..)
            | Note::Held(_)
            | Note::CutShort(_)
            | Note::Respawn(..)
            | Note::CrashLoop(..)
            | Note::Unfit(..)
            | Note::Joined(..)
            | Note::Queued(_)
            | Note::Retry(_) => {}
        }
    }

    fn answered(&mut self, action: Action, operation: OperationId, outcome: Outcome) {
        assert!(
            self.waiting.remove(&operation),
            "F5: {operation:?} was answered twice, or never asked"
        );
        match outcome {
            Outcome::Failed(number, _) | Outcome::Aborted(number) => assert!(
                self.living.keys().all(|id| id.generation != number),
                "answered 'everything is as before' while {number} lives"
            ),
            Outcome::Active(number) => assert!(
                self.active == Some(number) || self.is_ending(),
                "answered 'active', but it is not"
            ),
            Outcome::Unchanged(number) => assert_eq!(self.active, Some(number)),
            Outcome::Superseded => assert!(
                matches!(action, Action::Request(..)),
                "superseded by no call at all"
            ),
            Outcome::Stopped => assert!(
                self.living.is_empty(),
                "answered 'stopped' while processes live"
            ),
            Outcome::Stopping => assert!(self.is_ending(), "nothing stops"),
            Outcome::NotUndone(..) | Outcome::Refused(_) => {}
        }
    }

    pub fn is_ending(&self) -> bool {
        self.stopping || self.fatal
    }

    /// After everything that an action brought about.
    pub fn check(&mut self, action: Action, serving: &[WorkerId], effects: &[Effect]) {
        self.f1_some_worker_stays_ready(action, serving);
        self.f1_held_only_while_needed();
        self.f3_few_generations_drain(effects);
        self.f5_every_call_gets_its_answer();
        self.views_agree();
        self.timers_are_those_that_are_needed();
    }

    /// The worker whose own fault this is.
    fn own_fault(action: Action) -> Option<WorkerId> {
        match action {
            Action::Fault(id)
            | Action::Exit(id, _)
            | Action::Due(Timer::Ready(id) | Timer::Watchdog(id)) => Some(id),
            _ => None,
        }
    }

    fn f1_some_worker_stays_ready(&self, action: Action, before: &[WorkerId]) {
        if self.is_ending() {
            return;
        }
        let at_fault = Self::own_fault(action);
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
            held <= usize::from(needed),
            "{held} failed generations stay"
        );
    }

    fn f2_ready_and_baked_before_active(&mut self, number: GenerationNumber) {
        let plan = self.plans.get(&number).expect("it was announced");
        let ready = self.living.iter();
        let ready = ready.filter(|(id, living)| id.generation == number && living.serves());
        assert_eq!(
            ready.count(),
            plan.workers as usize,
            "F2: active before all of its workers were ready"
        );
        let needless = self.active.is_none() || self.fleet.policy().bake.is_zero();
        assert!(plan.baked || needless, "F2: active before it was baked");
        self.active = Some(number);
    }

    fn f3_no_kill_before_the_deadline(&self, action: Action, id: WorkerId) {
        let living = self.living.get(&id).copied().unwrap_or_default();
        if action == Action::Due(Timer::Kill(id)) {
            let (drain, kill) = self.patience;
            let patience = if living.ready { drain } else { drain.min(kill) };
            let long_enough = |now| living.told.is_some_and(|told| now >= told + patience);
            assert!(
                self.clock.is_none_or(long_enough),
                "F3: {id:?} was killed at {:?}: {living:?}",
                self.clock
            );
            return;
        }
        let at_once = match action {
            Action::Stop(Stop::Now) => true,
            Action::Stop(Stop::Signal) => self.signals > 1,
            _ => false,
        };
        let unfit = Self::own_fault(action) == Some(id) && living.told.is_none();
        assert!(
            at_once || unfit || self.is_crowded_out(id.generation),
            "F3: {id:?} was killed before its deadline by {action:?}"
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
    fn is_crowded_out(&self, number: GenerationNumber) -> bool {
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
            (Phase::Baking, Some(number)) => needed.push(Timer::Bake(number)),
            (Phase::Undoing, Some(number)) => needed.push(Timer::Undo(number)),
            _ => {}
        }
        if self.fleet.stage() == Stage::Stopping {
            needed.push(Timer::Abandon);
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
