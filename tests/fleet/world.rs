//! A world in which anything may happen that may in a real one: processes that
//! become ready, fall ill or end at any moment, people who call at any moment.
//! What must hold after every step is in `invariants.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::fleet::rollout::Phase;
use crate::fleet::{
    Effect, Ending, Event, Fault, Fleet, GenerationNumber, Kind, Moment, OperationId, Policy,
    Process, ReleaseId, Request, Timer, WorkerId,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Living {
    pub ready: bool,
    /// When it was told to end.
    pub told: Option<Moment>,
    /// When it was killed.
    pub killed: Option<Moment>,
}

impl Living {
    pub fn serves(&self) -> bool {
        self.ready && self.told.is_none() && self.killed.is_none()
    }
}

/// What was announced of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Plan {
    pub release: ReleaseId,
    pub workers: u32,
    /// Its bake is over, or was ended by `promote`.
    pub baked: bool,
}

/// How people say that it shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Call,
    Now,
    Signal,
}

/// One thing that can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Kind, release, fixed.
    Request(Kind, ReleaseId, bool),
    Abort,
    Promote,
    Stop(Stop),
    Ready(WorkerId),
    Fault(WorkerId),
    Exit(WorkerId, Ending),
    Against(GenerationNumber),
    Due(Timer),
    Extend(WorkerId, Duration),
    Ping(WorkerId),
    /// The numbers change.
    Policy(Policy),
    /// News that comes too late, or twice; nothing may follow.
    Late(Event),
}

#[derive(Debug, Clone)]
pub struct World {
    pub fleet: Fleet,
    pub living: BTreeMap<WorkerId, Living>,
    pub budget: Budget,
    /// What time it is, where time passes.
    pub clock: Option<Moment>,
    /// Calls that wait for their answer. Numbers are used again.
    pub waiting: BTreeSet<OperationId>,
    pub active: Option<GenerationNumber>,
    pub plans: BTreeMap<GenerationNumber, Plan>,
    /// The shortest `drain_timeout` and `kill_after` that ever held.
    pub patience: (Duration, Duration),
    pub stopping: bool,
    pub signals: u32,
    pub fatal: bool,
    pub finished: bool,
}

impl World {
    /// A world without a clock, in which the first generation is starting.
    pub fn new(policy: Policy, budget: Budget) -> Self {
        let mut world = Self::empty(policy, budget);
        world.act(Action::Request(Kind::Upgrade, ReleaseId(1), true));
        world.budget = budget;
        world
    }

    /// A world in which nothing happened yet.
    pub fn empty(policy: Policy, budget: Budget) -> Self {
        Self {
            fleet: Fleet::new(policy, 1),
            living: BTreeMap::new(),
            budget,
            clock: None,
            waiting: BTreeSet::new(),
            active: None,
            plans: BTreeMap::new(),
            patience: (policy.drain_timeout, policy.kill_after),
            stopping: false,
            signals: 0,
            fatal: false,
            finished: false,
        }
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
            actions.extend([Stop::Call, Stop::Now, Stop::Signal].map(Action::Stop));
        }
        for (id, living) in &self.living {
            self.fates(*id, living, &mut actions);
        }
        if let (1.., Phase::Starting | Phase::Baking, Some(target)) = self.failures_left() {
            actions.push(Action::Against(target));
        }
        for timer in self.fleet.timers() {
            if !is_failure(timer) || self.budget.failures > 0 {
                actions.push(Action::Due(timer));
            }
        }
        if self.budget.late_news {
            self.late(&mut actions);
        }
        actions
    }

    fn failures_left(&self) -> (u32, Phase, Option<GenerationNumber>) {
        let (phase, target) = self.fleet.rollout();
        (self.budget.failures, phase, target)
    }

    fn calls(&self, actions: &mut Vec<Action>) {
        for release in [ReleaseId(1), ReleaseId(2)] {
            for fixed in [true, false] {
                actions.push(Action::Request(Kind::Upgrade, release, fixed));
            }
            actions.push(Action::Request(Kind::Reload, release, true));
        }
        if let Some(active) = self.fleet.active() {
            actions.push(Action::Request(Kind::Renew, active.release, false));
        }
        if let Some(good) = self.fleet.rollback_target() {
            let kind = Kind::Rollback { to: good.number };
            actions.push(Action::Request(kind, good.release, true));
        }
    }

    fn fates(&self, id: WorkerId, living: &Living, actions: &mut Vec<Action>) {
        let ending = living.told.is_some() || living.killed.is_some();
        if !living.ready && !ending {
            actions.push(Action::Ready(id));
        }
        if ending {
            actions.push(Action::Exit(id, Ending::Ended));
        } else if self.budget.failures > 0 {
            actions.push(Action::Exit(id, Ending::Ended));
            actions.push(Action::Fault(id));
            if !living.ready {
                actions.push(Action::Exit(id, Ending::NotStarted));
            }
        }
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
                    news(Event::Extend(id, Duration::from_secs(900)));
                }
                if process != Process::Ready {
                    news(Event::Due(Timer::Watchdog(id)));
                    news(Event::Due(Timer::Settled(id)));
                    news(Event::Ping(id));
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

    /// Takes news that must change nothing; `before` is the fleet as it was.
    pub fn hear_late(&mut self, event: Event, before: &Fleet) {
        let effects = self.fleet.handle(self.clock.unwrap_or_default(), event);
        assert!(
            effects.is_empty(),
            "late news {event:?} has effects {effects:?}"
        );
        assert_eq!(*before, self.fleet, "late news {event:?} changed something");
    }

    /// Lets it happen, checks all that must hold, and tells what followed.
    pub fn act(&mut self, action: Action) -> Vec<Effect> {
        let now = self.clock.unwrap_or_default();
        let serving = self.serving();
        let Some(event) = self.enact(action) else {
            return Vec::new();
        };
        let effects = self.fleet.handle(now, event);
        for effect in &effects {
            self.effect(action, *effect);
        }
        self.check(action, &serving, &effects);
        effects
    }

    /// What the action itself does to the world, before anybody reacts.
    fn enact(&mut self, action: Action) -> Option<Event> {
        let operation = self.unused();
        let asks = matches!(
            action,
            Action::Request(..)
                | Action::Abort
                | Action::Promote
                | Action::Stop(Stop::Call | Stop::Now)
        );
        if asks {
            self.waiting.insert(operation);
        }
        self.spend(action);
        Some(match action {
            Action::Request(kind, release, fixed) => Event::Request(Request {
                operation,
                release,
                fixed,
                kind,
            }),
            Action::Abort => Event::Abort(operation),
            Action::Promote => {
                if let (Phase::Baking, Some(target)) = self.fleet.rollout() {
                    self.has_baked(target);
                }
                Event::Promote(operation)
            }
            Action::Stop(how) => {
                self.stopping = true;
                self.signals += u32::from(how == Stop::Signal);
                Event::Stop {
                    operation: (how != Stop::Signal).then_some(operation),
                    now: how == Stop::Now,
                }
            }
            Action::Ready(id) => {
                self.living.get_mut(&id).expect("it lives").ready = true;
                Event::Ready(id)
            }
            Action::Fault(id) => Event::Fault(id, Fault::Unfit),
            Action::Exit(id, ending) => {
                self.living.remove(&id).expect("it lives");
                Event::Exited(id, ending)
            }
            Action::Against(number) => Event::Against(number, Fault::QueueNotTaken),
            Action::Due(timer) => {
                if let Timer::Bake(number) = timer {
                    self.has_baked(number);
                }
                Event::Due(timer)
            }
            Action::Extend(id, by) => Event::Extend(id, by),
            Action::Ping(id) => Event::Ping(id),
            Action::Policy(policy) => {
                self.patience.0 = self.patience.0.min(policy.drain_timeout);
                self.patience.1 = self.patience.1.min(policy.kill_after);
                self.fleet.set_policy(policy);
                return None;
            }
            Action::Late(event) => event,
        })
    }

    /// Takes from the budget what this costs.
    fn spend(&mut self, action: Action) {
        let well = |id| {
            let living: Option<&Living> = self.living.get(&id);
            living.is_some_and(|living| living.told.is_none() && living.killed.is_none())
        };
        let budget = match action {
            Action::Request(..) => &mut self.budget.requests,
            Action::Abort => &mut self.budget.aborts,
            Action::Promote => &mut self.budget.promotes,
            Action::Stop(_) => &mut self.budget.stops,
            Action::Fault(_) | Action::Against(_) => &mut self.budget.failures,
            Action::Exit(id, _) if well(id) => &mut self.budget.failures,
            Action::Due(timer) if is_failure(timer) => &mut self.budget.failures,
            _ => return,
        };
        *budget = budget.saturating_sub(1);
    }

    fn has_baked(&mut self, number: GenerationNumber) {
        if let Some(plan) = self.plans.get_mut(&number) {
            plan.baked = true;
        }
    }

    /// The number that the next call gets.
    pub fn unused(&self) -> OperationId {
        let taken = |number: &u64| self.waiting.contains(&OperationId(*number));
        OperationId((0..).find(|number| !taken(number)).unwrap_or(u64::MAX))
    }

    pub fn serving(&self) -> Vec<WorkerId> {
        let ids = self.living.iter().filter(|(_, living)| living.serves());
        ids.map(|(id, _)| *id).collect()
    }

    /// This release is the one that is being rolled out.
    pub fn rolls_out(&self, release: ReleaseId) -> bool {
        let target = self.fleet.rollout().1;
        let plan = target.and_then(|number| self.plans.get(&number));
        plan.is_some_and(|plan| plan.release == release)
    }
}

/// Timers whose firing means that something went wrong.
fn is_failure(timer: Timer) -> bool {
    matches!(timer, Timer::Ready(_) | Timer::Watchdog(_) | Timer::Abandon)
}
