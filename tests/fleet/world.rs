//! A world small enough to try every order of events in it: processes that
//! may become ready, fall ill or end at any moment, timers that may fire in
//! any order, people who may call at any moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::fleet::rollout::{Phase, Turn};
use crate::fleet::worker::Happening;
use crate::fleet::{
    Effect, Ending, Event, Fault, Fleet, GenerationNumber, Kind, Note, OperationId, Outcome,
    Policy, Process, ReleaseId, Request, Stage, State, Timer, WorkerId,
};

/// How much may happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub requests: u32,
    pub failures: u32,
    pub aborts: u32,
    pub promotes: u32,
    pub stops: u32,
    pub late_news: bool,
}

/// A process as the world knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Living {
    pub ready: bool,
    pub told: bool,
    pub killed: bool,
}

/// One thing that can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Request(Kind, ReleaseId, bool, bool),
    Abort,
    Promote,
    Stop(bool),
    Ready(WorkerId),
    Fault(WorkerId),
    Exit(WorkerId, Ending),
    Against(GenerationNumber),
    Due(Timer),
    /// News that comes too late, or twice; nothing may follow.
    Late(Event),
}

/// What the tables were asked, seen from outside.
pub type Pairs = (BTreeSet<(String, String)>, BTreeSet<(String, String)>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub fleet: Fleet,
    pub living: BTreeMap<WorkerId, Living>,
    pub budget: Budget,
    /// Calls that wait for their answer. Numbers are used again, so that
    /// worlds that differ only in how many calls there were are one.
    waiting: BTreeSet<OperationId>,
    active: Option<GenerationNumber>,
    releases: BTreeMap<GenerationNumber, ReleaseId>,
    /// Generations whose bake is over, or was ended by `promote`.
    baked: BTreeSet<GenerationNumber>,
    stops: u32,
    fatal: bool,
    pub finished: bool,
}

impl World {
    pub fn new(policy: Policy, budget: Budget) -> Self {
        let mut world = Self {
            fleet: Fleet::new(policy, 1),
            living: BTreeMap::new(),
            budget,
            waiting: BTreeSet::new(),
            active: None,
            releases: BTreeMap::new(),
            baked: BTreeSet::new(),
            stops: 0,
            fatal: false,
            finished: false,
        };
        world.act(Action::Request(Kind::Upgrade, ReleaseId(1), true, false));
        world.budget = budget;
        world
    }

    /// Everything that can happen next.
    pub fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.finished {
            return actions;
        }
        if self.budget.requests > 0 {
            self.calls(&mut actions);
        }
        if self.budget.aborts > 0 {
            actions.push(Action::Abort);
        }
        if self.budget.promotes > 0 {
            actions.push(Action::Promote);
        }
        if self.budget.stops > 0 {
            actions.extend([Action::Stop(false), Action::Stop(true)]);
        }
        for (id, living) in &self.living {
            self.fates(*id, living, &mut actions);
        }
        for timer in self.fleet.timers() {
            if !Self::is_failure(timer) || self.budget.failures > 0 {
                actions.push(Action::Due(timer));
            }
        }
        if self.budget.late_news {
            self.late(&mut actions);
        }
        actions
    }

    fn calls(&self, actions: &mut Vec<Action>) {
        for release in [ReleaseId(1), ReleaseId(2)] {
            for fixed in [true, false] {
                actions.push(Action::Request(Kind::Upgrade, release, fixed, false));
            }
            actions.push(Action::Request(Kind::Upgrade, release, true, true));
            actions.push(Action::Request(Kind::Reload, release, true, false));
        }
        if let Some(good) = self.fleet.rollback_target() {
            let kind = Kind::Rollback { to: good.number };
            actions.push(Action::Request(kind, good.release, true, false));
        }
    }

    fn fates(&self, id: WorkerId, living: &Living, actions: &mut Vec<Action>) {
        if !living.ready && !living.told && !living.killed {
            actions.push(Action::Ready(id));
        }
        if living.told || living.killed {
            actions.push(Action::Exit(id, Ending::Ended));
        } else if self.budget.failures > 0 {
            actions.push(Action::Exit(id, Ending::Ended));
            actions.push(Action::Fault(id));
            if !living.ready {
                actions.push(Action::Exit(id, Ending::NotStarted));
            }
            if let (Phase::Starting | Phase::Baking, Some(target)) = self.fleet.rollout() {
                actions.push(Action::Against(target));
            }
        }
    }

    /// Timers whose firing means that something went wrong.
    fn is_failure(timer: Timer) -> bool {
        matches!(timer, Timer::Ready(_) | Timer::Watchdog(_) | Timer::Abandon)
    }

    /// What a slow messenger may still bring.
    fn late(&self, actions: &mut Vec<Action>) {
        let mut news = |event| actions.push(Action::Late(event));
        for generation in self.fleet.generations() {
            for (id, slot) in generation.workers() {
                let process = slot.process;
                let absent = process == Process::Absent;
                if process != Process::Starting {
                    news(Event::Ready(id));
                    news(Event::Due(Timer::Ready(id)));
                }
                if process != Process::Ready {
                    news(Event::Due(Timer::Watchdog(id)));
                    news(Event::Due(Timer::Settled(id)));
                }
                if process != Process::Draining {
                    news(Event::Due(Timer::Kill(id)));
                }
                if !absent {
                    news(Event::Due(Timer::Respawn(id)));
                }
                if !matches!(process, Process::Starting | Process::Ready) {
                    news(Event::Fault(id, Fault::Unfit));
                }
                if absent {
                    news(Event::Exited(id, Ending::Ended));
                }
                if let Some(life) = id.life.checked_sub(1) {
                    news(Event::Exited(WorkerId { life, ..id }, Ending::Ended));
                    news(Event::Ready(WorkerId { life, ..id }));
                }
            }
            let (phase, target) = self.fleet.rollout();
            let number = generation.number;
            if target != Some(number) || phase != Phase::Baking {
                news(Event::Due(Timer::Bake(number)));
            }
            if target != Some(number) || phase != Phase::Undoing {
                news(Event::Due(Timer::Undo(number)));
            }
            if target != Some(number) || phase == Phase::Undoing {
                news(Event::Against(number, Fault::QueueNotTaken));
            }
        }
    }

    /// Lets it happen, and checks all that must hold.
    pub fn act(&mut self, action: Action) {
        if let Action::Late(event) = action {
            let before = self.fleet.clone();
            let effects = self.fleet.handle(before_time(), event);
            assert!(
                effects.is_empty(),
                "late news {event:?} has effects {effects:?}"
            );
            assert_eq!(before, self.fleet, "late news {event:?} changed something");
            return;
        }
        let serving = self.serving();
        let event = self.enact(action);
        let effects = self.fleet.handle(before_time(), event);
        for effect in effects {
            self.effect(action, effect);
        }
        self.f1_some_worker_stays_ready(action, &serving);
        self.f5_every_call_gets_its_answer();
        self.views_agree();
    }

    /// What the action itself does to the world, before anybody reacts.
    fn enact(&mut self, action: Action) -> Event {
        let operation = self.unused();
        if matches!(
            action,
            Action::Request(..) | Action::Abort | Action::Promote | Action::Stop(_)
        ) {
            self.waiting.insert(operation);
        }
        match action {
            Action::Request(kind, release, fixed, drained) => {
                self.budget.requests = self.budget.requests.saturating_sub(1);
                Event::Request(Request {
                    operation,
                    release,
                    fixed,
                    kind,
                    drained,
                })
            }
            Action::Abort => {
                self.budget.aborts -= 1;
                Event::Abort(operation)
            }
            Action::Promote => {
                self.budget.promotes -= 1;
                if let (Phase::Baking, Some(target)) = self.fleet.rollout() {
                    self.baked.insert(target);
                }
                Event::Promote(operation)
            }
            Action::Stop(now) => {
                self.budget.stops -= 1;
                self.stops += if now { 2 } else { 1 };
                Event::Stop {
                    operation: Some(operation),
                    now,
                }
            }
            Action::Ready(id) => {
                self.living.get_mut(&id).expect("it lives").ready = true;
                Event::Ready(id)
            }
            Action::Fault(id) => {
                self.budget.failures -= 1;
                Event::Fault(id, Fault::Unfit)
            }
            Action::Exit(id, ending) => {
                let gone = self.living.remove(&id).expect("it lives");
                if !gone.told && !gone.killed {
                    self.budget.failures -= 1;
                }
                Event::Exited(id, ending)
            }
            Action::Against(number) => {
                self.budget.failures -= 1;
                Event::Against(number, Fault::QueueNotTaken)
            }
            Action::Due(timer) => {
                if Self::is_failure(timer) {
                    self.budget.failures -= 1;
                }
                if let Timer::Bake(number) = timer {
                    self.baked.insert(number);
                }
                Event::Due(timer)
            }
            Action::Late(event) => event,
        }
    }

    fn effect(&mut self, action: Action, effect: Effect) {
        match effect {
            Effect::Launch(id, release) => {
                let twin =
                    |other: &WorkerId| (other.generation, other.slot) == (id.generation, id.slot);
                assert!(
                    !self.living.keys().any(twin),
                    "two processes in the slot of {id:?}"
                );
                assert_eq!(
                    self.releases.get(&id.generation),
                    Some(&release),
                    "a release is pinned once a generation"
                );
                self.living.insert(id, Living::default());
            }
            Effect::Drain(id) => {
                assert!(
                    self.is_ending() || self.active != Some(id.generation),
                    "F2: the active generation was told to drain"
                );
                let living = self
                    .living
                    .get_mut(&id)
                    .expect("F6: only the living are signalled");
                assert!(!living.told && !living.killed, "told twice");
                living.told = true;
            }
            Effect::Kill(id) => {
                self.f3_no_kill_before_the_deadline(action, id);
                let living = self
                    .living
                    .get_mut(&id)
                    .expect("F6: only the living are signalled");
                assert!(!living.killed, "killed twice");
                living.killed = true;
            }
            Effect::Answer(operation, outcome) => self.answered(operation, outcome),
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

    fn told(&mut self, note: Note) {
        match note {
            Note::Starting(number, release) => {
                self.releases.insert(number, release);
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
                self.releases.remove(&number);
                self.baked.remove(&number);
            }
            Note::Abandoned => self.living.clear(),
            Note::Baking(..)
            | Note::Draining(..)
            | Note::Held(_)
            | Note::CutShort(_)
            | Note::Respawn(..)
            | Note::CrashLoop(..)
            | Note::Unfit(..)
            | Note::Retry(_) => {}
        }
    }

    fn answered(&mut self, operation: OperationId, outcome: Outcome) {
        assert!(
            self.waiting.remove(&operation),
            "F5: {operation:?} was answered twice, or never asked"
        );
        if let Outcome::Failed(number, _) | Outcome::Aborted(number) = outcome {
            let left = self.living.keys().any(|id| id.generation == number);
            assert!(
                !left,
                "answered 'everything is as before' while {number} lives"
            );
        }
    }

    fn unused(&self) -> OperationId {
        let taken = |number: &u64| self.waiting.contains(&OperationId(*number));
        OperationId((0..).find(|number| !taken(number)).unwrap_or(u64::MAX))
    }

    fn is_ending(&self) -> bool {
        self.stops > 0 || self.fatal
    }

    fn serving(&self) -> BTreeSet<WorkerId> {
        let serves = |living: &Living| living.ready && !living.told && !living.killed;
        let ids = self.living.iter().filter(|(_, living)| serves(living));
        ids.map(|(id, _)| *id).collect()
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

    fn f1_some_worker_stays_ready(&self, action: Action, before: &BTreeSet<WorkerId>) {
        if self.is_ending() {
            return;
        }
        let at_fault = Self::own_fault(action);
        let well = before.iter().any(|id| Some(*id) != at_fault);
        assert!(
            !well || !self.serving().is_empty(),
            "F1: {action:?} left no ready worker"
        );
    }

    fn f2_ready_and_baked_before_active(&mut self, number: GenerationNumber) {
        let slots = self.fleet.policy().workers as usize;
        let serving = self.serving();
        let ready = serving.iter().filter(|id| id.generation == number).count();
        assert_eq!(
            ready, slots,
            "F2: active before all of its workers were ready"
        );
        let baked = self.baked.contains(&number);
        let needless = self.active.is_none() || self.fleet.policy().bake.is_zero();
        assert!(baked || needless, "F2: active before it was baked");
        self.active = Some(number);
    }

    fn f3_no_kill_before_the_deadline(&self, action: Action, id: WorkerId) {
        let told = self.living.get(&id).is_some_and(|living| living.told);
        let deadline = action == Action::Due(Timer::Kill(id));
        let at_once = matches!(action, Action::Stop(_)) && self.stops > 1;
        let unfit = Self::own_fault(action) == Some(id);
        let draining = |held: &&crate::fleet::Generation| held.state == State::Draining;
        let most = self.fleet.policy().max_generations as usize;
        let crowded = self.fleet.generations().filter(draining).count() > most;
        assert!(
            deadline || at_once || (unfit && !told) || crowded,
            "F3: {id:?} was killed before its deadline by {action:?}"
        );
    }

    fn f5_every_call_gets_its_answer(&self) {
        let waits_for_drain = self.fleet.generations().count() > 1;
        let idle = self.fleet.rollout() == (Phase::Idle, None) && !waits_for_drain;
        let serving = self.fleet.stage() == Stage::Serving && self.stops == 0;
        if self.finished || (idle && serving) {
            assert!(
                self.waiting.is_empty(),
                "F5: no answer to {:?}",
                self.waiting
            );
        }
        if self.finished {
            assert!(self.living.is_empty(), "F3: processes survived the service");
        }
    }

    /// The fleet knows of exactly the processes that live.
    fn views_agree(&self) {
        let mut known = BTreeSet::new();
        for generation in self.fleet.generations() {
            let held = generation
                .workers()
                .filter(|(_, slot)| slot.process != Process::Absent);
            known.extend(held.map(|(id, _)| id));
        }
        let living: BTreeSet<WorkerId> = self.living.keys().copied().collect();
        assert_eq!(
            known, living,
            "the fleet and the world disagree on who lives"
        );
    }

    /// The pairs of the two tables that this action asks for.
    pub fn pairs(&self, action: Action, pairs: &mut Pairs) {
        let event = match action {
            Action::Late(event) => event,
            Action::Ready(id) => Event::Ready(id),
            Action::Fault(id) => Event::Fault(id, Fault::Unfit),
            Action::Exit(id, ending) => Event::Exited(id, ending),
            Action::Due(timer) => Event::Due(timer),
            Action::Against(number) => Event::Against(number, Fault::QueueNotTaken),
            Action::Request(kind, release, fixed, drained) => {
                let operation = self.unused();
                Event::Request(Request {
                    operation,
                    release,
                    fixed,
                    kind,
                    drained,
                })
            }
            Action::Abort => Event::Abort(self.unused()),
            Action::Promote => Event::Promote(self.unused()),
            Action::Stop(now) => {
                self.retirements(
                    if self.stops > 0 || now {
                        Happening::End
                    } else {
                        Happening::Retire
                    },
                    pairs,
                );
                return;
            }
        };
        self.pair_of(event, pairs);
    }

    fn pair_of(&self, event: Event, (workers, turns): &mut Pairs) {
        let (phase, target) = self.fleet.rollout();
        let mut turn = |turn: Turn| {
            turns.insert((format!("{phase:?}"), format!("{turn:?}")));
        };
        let mut worker = |id: WorkerId, happening: Happening| {
            let held = self.fleet.generation(id.generation);
            let slot = held.and_then(|held| held.slots.get(id.slot as usize));
            if let Some(slot) = slot.filter(|slot| slot.life == id.life) {
                workers.insert((format!("{:?}", slot.process), format!("{happening:?}")));
            }
        };
        match event {
            Event::Ready(id) => {
                worker(id, Happening::Ready);
                turn(Turn::AllReady);
            }
            Event::Fault(id, _) => worker(id, Happening::Fault),
            Event::Exited(id, _) => {
                worker(id, Happening::Exited);
                turn(Turn::Undone);
            }
            Event::Against(..) => turn(Turn::Against),
            Event::Due(Timer::Ready(id)) => worker(id, Happening::ReadyDue),
            Event::Due(Timer::Respawn(id)) => worker(id, Happening::RespawnDue),
            Event::Due(Timer::Kill(id)) => worker(id, Happening::KillDue),
            Event::Due(Timer::Settled(id)) => worker(id, Happening::SettledDue),
            Event::Due(Timer::Watchdog(id)) => worker(id, Happening::WatchdogDue),
            Event::Due(Timer::Bake(_)) => turn(Turn::BakeDue),
            Event::Due(Timer::Undo(_)) => turn(Turn::UndoDue),
            Event::Request(request) => {
                let running = target.and_then(|number| self.releases.get(&number));
                let same = request.fixed && running == Some(&request.release);
                let idle = phase == Phase::Idle;
                if same || idle {
                    turn(Turn::SameRequest);
                }
                if !same || idle {
                    turn(Turn::OtherRequest);
                }
            }
            Event::Promote(_) => turn(Turn::Promote),
            Event::Abort(_) => turn(Turn::Abort),
            Event::Due(Timer::Abandon)
            | Event::Stop { .. }
            | Event::Extend(..)
            | Event::Ping(_) => {}
        }
    }

    fn retirements(&self, happening: Happening, (workers, _): &mut Pairs) {
        for generation in self.fleet.generations() {
            for slot in &generation.slots {
                workers.insert((format!("{:?}", slot.process), format!("{happening:?}")));
            }
        }
    }
}

/// Time stands still in these worlds: timers fire in any order instead.
fn before_time() -> std::time::Duration {
    std::time::Duration::ZERO
}
