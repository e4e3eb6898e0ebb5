//! A world in which anything may happen that may in a real one: processes that
//! become ready, fall ill or end at any moment, people who call at any moment.
//! What must hold after every step is in `invariants.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::fleet::rollout::Phase;
use crate::fleet::{
    Effect, Ending, Event, Fault, Fleet, GenerationNumber, Kind, Moment, OperationId, Plan, Policy,
    ReleaseId, Request, Scale, Stage, Timer, WorkerId,
};
use crate::late;

/// How much may happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    pub requests: u32,
    pub failures: u32,
    /// Workers that answer their health check with a no.
    pub unwell: u32,
    pub aborts: u32,
    pub promotes: u32,
    pub stops: u32,
    pub scales: u32,
    /// In which steps the upgrades go.
    pub plan: Plan,
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
    /// A scaling that is not complete started it.
    pub added: bool,
    /// It was told to finish because it is not well, and is started again.
    pub dismissed: bool,
}

impl Living {
    pub fn serves(&self) -> bool {
        self.ready && self.is_well()
    }

    pub fn is_well(&self) -> bool {
        self.told.is_none() && self.killed.is_none()
    }
}

/// Something that must be allowed from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    Shut,
    Asked,
    Open,
}

/// What was announced of a generation, and what the world allowed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Known {
    pub release: ReleaseId,
    /// How many it has when it is whole.
    pub workers: u32,
    /// How many it has again when a scaling fails.
    pub from: u32,
    pub plan: Plan,
    /// Somebody asked for it although it was a canary.
    pub promoted: bool,
    pub prepared: Gate,
    pub approved: Gate,
    /// So many of its workers were there when a bake was over or was ended.
    pub baked: u32,
    /// No bake of it is under way.
    pub bake_over: bool,
    /// Workers of the generation before it were told to drain for it.
    pub took: bool,
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
    /// Kind, release, fixed, plan.
    Request(Kind, ReleaseId, bool, Plan),
    Abort,
    Promote,
    Scale(Scale),
    Prepared(GenerationNumber),
    Approved(GenerationNumber),
    /// What was asked says no.
    Denied(GenerationNumber),
    Stop(Stop),
    Ready(WorkerId),
    Fault(WorkerId),
    Unhealthy(WorkerId),
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
    pub known: BTreeMap<GenerationNumber, Known>,
    /// The shortest `drain_timeout` and `unready_timeout` that ever held.
    pub patience: (Duration, Duration),
    pub stopping: bool,
    /// It stops, but not yet.
    pub delayed: bool,
    /// Workers of the active generation were replaced in vain by this one, and it
    /// was not whole again since.
    pub restoring: Option<GenerationNumber>,
    pub signals: u32,
    pub fatal: bool,
    pub finished: bool,
}

impl World {
    /// A world without a clock, in which the first generation is starting.
    pub fn new(policy: Policy, budget: Budget) -> Self {
        let mut world = Self::empty(policy, budget);
        let first = Action::Request(Kind::Upgrade, ReleaseId(1), true, budget.plan);
        world.act(first);
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
            known: BTreeMap::new(),
            patience: (policy.drain_timeout, unready(policy)),
            stopping: false,
            delayed: false,
            restoring: None,
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
        if self.budget.scales > 0 {
            actions.extend([1, 2].map(Scale::To).map(Action::Scale));
        }
        for (id, living) in &self.living {
            self.fates(*id, living, &mut actions);
        }
        self.answers(&mut actions);
        if let (1.., phase, Some(target)) = self.failures_left()
            && !matches!(phase, Phase::Idle | Phase::Preparing | Phase::Undoing)
        {
            actions.push(Action::Against(target));
        }
        for timer in self.fleet.timers() {
            if !is_failure(timer) || self.budget.failures > 0 {
                actions.push(Action::Due(timer));
            }
        }
        if self.budget.late_news {
            let news = late::news(self).into_iter();
            actions.extend(news.map(Action::Late));
        }
        actions
    }

    /// What was asked is answered, one way or the other.
    fn answers(&self, actions: &mut Vec<Action>) {
        for (number, known) in &self.known {
            if known.prepared == Gate::Asked {
                actions.push(Action::Prepared(*number));
            }
            if known.approved == Gate::Asked {
                actions.push(Action::Approved(*number));
            }
            let asked = [known.prepared, known.approved].contains(&Gate::Asked);
            if asked && self.budget.failures > 0 {
                actions.push(Action::Denied(*number));
            }
        }
    }

    fn failures_left(&self) -> (u32, Phase, Option<GenerationNumber>) {
        let (phase, target) = self.fleet.rollout();
        (self.budget.failures, phase, target)
    }

    fn calls(&self, actions: &mut Vec<Action>) {
        let plan = self.budget.plan;
        for release in [ReleaseId(1), ReleaseId(2)] {
            for fixed in [true, false] {
                actions.push(Action::Request(Kind::Upgrade, release, fixed, plan));
            }
            actions.push(Action::Request(Kind::Reload, release, true, plan));
        }
        if plan != Plan::Whole {
            let whole = Plan::Whole;
            actions.push(Action::Request(Kind::Upgrade, ReleaseId(2), true, whole));
        }
        if let Some(active) = self.fleet.active() {
            let whole = Plan::Whole;
            actions.push(Action::Request(Kind::Renew, active.release, false, whole));
        }
        if let Some(good) = self.fleet.rollback_target() {
            let kind = Kind::Rollback { to: good.number };
            actions.push(Action::Request(kind, good.release, true, plan));
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
        if !ending && self.budget.unwell > 0 {
            actions.push(Action::Unhealthy(id));
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
        self.mark_dismissed(action);
        self.is_perhaps_whole_again();
        for effect in &effects {
            self.effect(action, *effect);
        }
        self.check(action, &serving, &effects);
        effects
    }

    /// Whoever is unwell, or late where it may have accepted something, finishes what it has.
    fn mark_dismissed(&mut self, action: Action) {
        let Some(id) = Self::own_fault(action) else {
            return;
        };
        let held = self.fleet.generation(id.generation);
        let slot = held.and_then(|held| held.slots.get(id.slot as usize));
        let dismissed = slot.is_some_and(|slot| slot.life == id.life && slot.dismissed);
        if let Some(living) = self.living.get_mut(&id) {
            living.dismissed |= dismissed;
        }
    }

    /// What the action itself does to the world, before anybody reacts.
    fn enact(&mut self, action: Action) -> Option<Event> {
        let operation = self.unused();
        let asks = matches!(
            action,
            Action::Request(..)
                | Action::Abort
                | Action::Promote
                | Action::Scale(_)
                | Action::Stop(Stop::Call | Stop::Now)
        );
        if asks {
            self.waiting.insert(operation);
        }
        self.spend(action);
        Some(match action {
            Action::Request(kind, release, fixed, plan) => Event::Request(Request {
                operation,
                release,
                fixed,
                kind,
                plan,
            }),
            Action::Abort => Event::Abort(operation),
            Action::Promote => {
                if let (Phase::Baking | Phase::Canary, Some(target)) = self.fleet.rollout()
                    && !self.stopping
                {
                    self.has_baked(target);
                    let known = self.known.get_mut(&target).expect("it was announced");
                    known.promoted = true;
                }
                Event::Promote(operation)
            }
            Action::Scale(to) => Event::Scale { operation, to },
            Action::Prepared(number) => {
                self.known.get_mut(&number).expect("it asked").prepared = Gate::Open;
                Event::Prepared(number)
            }
            Action::Approved(number) => {
                self.known.get_mut(&number).expect("it asked").approved = Gate::Open;
                Event::Approved(number)
            }
            Action::Denied(number) => {
                let known = self.known.get_mut(&number).expect("it asked");
                for gate in [&mut known.prepared, &mut known.approved] {
                    if *gate == Gate::Asked {
                        *gate = Gate::Shut;
                    }
                }
                Event::Against(number, Fault::HookFailed)
            }
            Action::Stop(how) => {
                self.signals += u32::from(how == Stop::Signal);
                let at_once = how == Stop::Now || (how == Stop::Signal && self.signals > 1);
                let delay = !self.fleet.policy().drain_delay.is_zero();
                let serves = self.fleet.stage() == Stage::Serving;
                self.delayed = !at_once && (self.delayed || (serves && delay));
                self.stopping = true;
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
            Action::Unhealthy(id) => {
                assert!(self.living.contains_key(&id), "it lives");
                Event::Fault(id, Fault::Unhealthy)
            }
            Action::Exit(id, ending) => {
                self.living.remove(&id).expect("it lives");
                Event::Exited(id, ending)
            }
            Action::Against(number) => Event::Against(number, Fault::QueueNotTaken),
            Action::Due(timer) => {
                if let Timer::Bake(number) = timer {
                    self.has_baked(number);
                }
                self.delayed &= timer != Timer::StopDelay;
                Event::Due(timer)
            }
            Action::Extend(id, by) => Event::Extend(id, by),
            Action::Ping(id) => Event::Ping(id),
            Action::Policy(policy) => {
                self.patience.0 = self.patience.0.min(policy.drain_timeout);
                self.patience.1 = self.patience.1.min(unready(policy));
                self.fleet.set_policy(policy);
                return None;
            }
            Action::Late(event) => event,
        })
    }

    /// Takes from the budget what this costs.
    fn spend(&mut self, action: Action) {
        let well = |id| self.living.get(&id).is_some_and(Living::is_well);
        let budget = match action {
            Action::Request(..) => &mut self.budget.requests,
            Action::Abort => &mut self.budget.aborts,
            Action::Promote => &mut self.budget.promotes,
            Action::Stop(_) => &mut self.budget.stops,
            Action::Scale(_) => &mut self.budget.scales,
            Action::Fault(_) | Action::Against(_) | Action::Denied(_) => &mut self.budget.failures,
            Action::Unhealthy(_) => &mut self.budget.unwell,
            Action::Exit(id, _) if well(id) => &mut self.budget.failures,
            Action::Due(timer) if is_failure(timer) => &mut self.budget.failures,
            _ => return,
        };
        *budget = budget.saturating_sub(1);
    }

    fn has_baked(&mut self, number: GenerationNumber) {
        let serving = self.serving_of(number);
        if let Some(known) = self.known.get_mut(&number) {
            known.baked = serving;
            known.bake_over = true;
        }
    }

    /// How many workers of it serve.
    pub fn serving_of(&self, number: GenerationNumber) -> u32 {
        let serves =
            |(id, living): &(&WorkerId, &Living)| id.generation == number && living.serves();
        self.living.iter().filter(serves).count() as u32
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

    /// This release is the one that is being rolled out, in the same steps.
    pub fn rolls_out(&self, release: ReleaseId, plan: Plan) -> bool {
        let target = self.fleet.rollout().1;
        let known = target.and_then(|number| self.known.get(&number));
        known.is_some_and(|known| known.release == release) && self.fleet.plan() == Some(plan)
    }
}

fn unready(policy: Policy) -> Duration {
    policy.unready_timeout.unwrap_or(policy.drain_timeout)
}

/// Timers whose firing means that something went wrong.
fn is_failure(timer: Timer) -> bool {
    matches!(timer, Timer::Ready(_) | Timer::Watchdog(_) | Timer::Abandon)
}
