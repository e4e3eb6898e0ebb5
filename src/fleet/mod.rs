//! Generations, workers and upgrades as one pure state machine.
//!
//! Knows: which generation runs what, who waits for an answer, what must
//! happen next. Must not know: processes, files, sockets, clocks, randomness,
//! configuration files, text for people. It imports `std` alone and compiles
//! alone; [`Fleet::handle`] takes the time and an event and returns effects,
//! which somebody else performs in their order.
//!
//! The two tables, [`worker::step`] and [`rollout::turn`], say what each
//! happening means in each state; the rest carries out what they say. The
//! invariants F1, F2, F3 and F5 are asserted, by these names, over every order
//! of events in `tests/fleet.rs`.

mod advance;
mod drain;
mod generation;
mod policy;
mod resize;
pub mod rollout;
mod saved;
#[cfg(test)]
mod symmetry;
mod timers;
mod types;
mod undo;
mod upgrade;
pub mod worker;
mod workers;

use std::collections::BTreeMap;

pub use generation::{Generation, Slot, State};
pub use policy::Policy;
pub use saved::{Contradiction, Core};
pub use timers::Timer;
pub use types::*;
pub use worker::Process;

use rollout::{Phase, Queued, Rollout, Scaling, Turn};
use timers::Timers;

/// Releases that can be rolled back to are remembered up to this many.
pub const HISTORY: usize = 16;

/// What the service as a whole does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It has no ready first generation yet.
    Starting,
    /// It serves.
    Serving,
    /// Everything is being ended.
    Stopping,
    /// Nothing is left.
    Finished,
}

/// A generation that was active, and its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Good {
    /// Its number.
    pub number: GenerationNumber,
    /// What it ran.
    pub release: ReleaseId,
    /// See [`Generation::stands_for`].
    pub stands_for: GenerationNumber,
}

/// The state machine. `seed` drives the jitter of respawns, nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fleet {
    policy: Policy,
    seed: u64,
    stage: Stage,
    generations: BTreeMap<GenerationNumber, Generation>,
    active: Option<GenerationNumber>,
    next_number: GenerationNumber,
    rollout: Option<Rollout>,
    /// Never beside a rollout.
    scaling: Option<Scaling>,
    queued: Option<Queued>,
    stop_waiters: Vec<OperationId>,
    stop_signalled: bool,
    /// Why the first generation never became ready.
    fatal: Option<Failure>,
    good: Vec<Good>,
    timers: Timers,
    effects: Vec<Effect>,
    now: Moment,
}

impl Fleet {
    /// A fleet with nothing in it.
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            seed,
            stage: Stage::Starting,
            generations: BTreeMap::new(),
            active: None,
            next_number: 1,
            rollout: None,
            scaling: None,
            queued: None,
            stop_waiters: Vec::new(),
            stop_signalled: false,
            fatal: None,
            good: Vec::new(),
            timers: Timers::default(),
            effects: Vec::new(),
            now: Moment::ZERO,
        }
    }

    /// Takes what happened at `now` and returns what is to be done, in order.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Effect> {
        self.now = now;
        if self.stage != Stage::Finished {
            self.dispatch(event);
            self.let_go_of_held();
            self.finish_when_empty();
        } else if let Event::Request(Request { operation, .. })
        | Event::Promote(operation)
        | Event::Abort(operation)
        | Event::Scale { operation, .. } = event
        {
            self.answer(operation, Outcome::Stopping);
        } else if let Event::Stop {
            operation: Some(operation),
            ..
        } = event
        {
            self.answer(operation, Outcome::Stopped);
        }
        std::mem::take(&mut self.effects)
    }

    fn dispatch(&mut self, event: Event) {
        use worker::Happening as H;
        match event {
            Event::Request(request) => self.request(request),
            Event::Promote(operation) => self.promote(operation),
            Event::Abort(operation) => self.abort(operation),
            Event::Scale { operation, to } => self.scale(operation, to),
            Event::Prepared(number) => self.turn_of(number, Turn::Prepared, None),
            Event::Approved(number) => self.approved(number),
            Event::Stop { operation, now } => self.stop(operation, now),
            Event::Ready(id) => self.happen(id, H::Ready, None),
            Event::Extend(id, by) => self.extend(id, by),
            Event::Ping(id) => self.ping(id),
            Event::Fault(id, fault) => {
                let happening = match fault {
                    Fault::Unhealthy => H::Unhealthy,
                    _ => H::Fault,
                };
                self.happen(id, happening, Some(Cause::Fault(fault)));
            }
            Event::Exited(id, ending) => self.exited(id, ending),
            Event::Against(number, fault) => self.against(number, fault),
            Event::Due(timer) => self.due(timer),
        }
    }

    fn due(&mut self, timer: Timer) {
        use worker::Happening as H;
        self.timers.stop(timer);
        match timer {
            Timer::Ready(id) => {
                let happening = match self.policy.unready_timeout {
                    Some(_) => H::ReadyDue,
                    // It may have accepted something, and finishes that.
                    None => H::Unhealthy,
                };
                self.happen(id, happening, Some(Cause::ReadyTimeout));
            }
            Timer::Respawn(id) => self.happen(id, H::RespawnDue, None),
            Timer::Kill(id) => self.happen(id, H::KillDue, None),
            Timer::Settled(id) => self.happen(id, H::SettledDue, None),
            Timer::Watchdog(id) => self.happen(id, H::WatchdogDue, Some(Cause::WatchdogMissed)),
            Timer::Bake(number) => self.turn_of(number, Turn::BakeDue, None),
            Timer::Canary(number) => self.canary_due(number),
            Timer::Undo(number) => self.turn_of(number, Turn::UndoDue, None),
            Timer::StopDelay => self.stop_delay_is_over(),
            Timer::Abandon => self.abandon(),
        }
    }

    /// The next timer that is due at `now`; the driver feeds it back as
    /// [`Event::Due`] until there is none.
    pub fn next_due(&self, now: Moment) -> Option<Timer> {
        let (due, timer) = self.timers.next()?;
        (due <= now).then_some(timer)
    }

    /// When the driver must look again at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.timers.next().map(|(due, _)| due)
    }

    /// Every timer that is set, whenever it is due.
    pub fn timers(&self) -> impl Iterator<Item = Timer> + '_ {
        self.timers.names()
    }

    /// Changes the numbers for all that begins from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The numbers in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What the service as a whole does.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The generation that serves, once there is one.
    pub fn active(&self) -> Option<&Generation> {
        self.active.and_then(|number| self.generations.get(&number))
    }

    /// The generations that have not ended, oldest first.
    pub fn generations(&self) -> impl Iterator<Item = &Generation> + '_ {
        self.generations.values()
    }

    /// One of them.
    pub fn generation(&self, number: GenerationNumber) -> Option<&Generation> {
        self.generations.get(&number)
    }

    /// What is under way, and with which generation: a rollout, or the scaling of
    /// the active one.
    pub fn rollout(&self) -> (Phase, Option<GenerationNumber>) {
        match (&self.rollout, &self.scaling) {
            (Some(rollout), _) => (rollout.phase, Some(rollout.target)),
            (None, Some(scaling)) => (Phase::Scaling, Some(scaling.target)),
            (None, None) => (Phase::Idle, None),
        }
    }

    /// In which steps the rollout that is under way goes; a promoted canary's is
    /// [`Plan::Whole`].
    pub fn plan(&self) -> Option<Plan> {
        self.rollout.as_ref().map(|rollout| rollout.request.plan)
    }

    /// When the canary is aborted unless somebody promotes it.
    pub fn canary_ends(&self, number: GenerationNumber) -> Option<Moment> {
        self.timers.due(Timer::Canary(number))
    }

    /// When the slot of this worker, which was lost, is started again.
    pub fn respawns(&self, id: WorkerId) -> Option<Moment> {
        self.timers.due(Timer::Respawn(id))
    }

    /// When a stop that was asked for begins to drain.
    pub fn drain_begins(&self) -> Option<Moment> {
        self.timers.due(Timer::StopDelay)
    }

    /// When the bake of this generation ends.
    pub fn bake_ends(&self, number: GenerationNumber) -> Option<Moment> {
        self.timers.due(Timer::Bake(number))
    }

    /// The generations that were active, oldest first.
    pub fn good(&self) -> &[Good] {
        &self.good
    }

    /// What a rollback goes to: the last good release before the one that the
    /// active generation stands for, and a different one.
    pub fn rollback_target(&self) -> Option<Good> {
        let active = self.active()?;
        let earlier =
            |good: &&Good| good.number < active.stands_for && good.release != active.release;
        self.good.iter().rev().find(earlier).copied()
    }

    /// Every release that may still be launched.
    pub fn releases_in_use(&self) -> impl Iterator<Item = ReleaseId> + '_ {
        let good = self.good.iter().map(|good| good.release);
        self.releases_at_work().chain(good)
    }

    /// Every release that runs, or waits for its turn.
    pub fn releases_at_work(&self) -> impl Iterator<Item = ReleaseId> + '_ {
        let running = self.generations.values().map(|held| held.release);
        let queued = self.queued.iter().map(Queued::release);
        running.chain(queued)
    }

    /// Some worker serves, and no stop is under way.
    pub fn is_serving(&self) -> bool {
        let ready = |held: &Generation| held.ready() > 0;
        self.stage == Stage::Serving && self.generations.values().any(ready)
    }

    fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn tell(&mut self, note: Note) {
        self.emit(Effect::Tell(note));
    }

    fn answer(&mut self, operation: OperationId, outcome: Outcome) {
        self.emit(Effect::Answer(operation, outcome));
    }
}
