//! The fleet as plain data, for whoever keeps it over the end of a master, and back.

use std::collections::{BTreeMap, BTreeSet};

use super::rollout::{Phase, Queued, Rollout, Scaling};
use super::timers::Timers;
use super::{
    Failure, Fleet, Generation, GenerationNumber, Good, Moment, OperationId, Policy, Stage, Timer,
};

/// What there is once; generations and timers stand beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Core {
    /// Drives the jitter of respawns.
    pub seed: u64,
    /// What the service as a whole does.
    pub stage: Stage,
    /// The generation that serves.
    pub active: Option<GenerationNumber>,
    /// The number of the generation that comes next.
    pub next_number: GenerationNumber,
    /// What is under way.
    pub rollout: Option<Rollout>,
    /// Or that.
    pub scaling: Option<Scaling>,
    /// What waits for it.
    pub queued: Option<Queued>,
    /// Who waits for the end.
    pub stop_waiters: Vec<OperationId>,
    /// The end was asked for by a signal.
    pub stop_signalled: bool,
    /// Why the first generation never became ready.
    pub fatal: Option<Failure>,
    /// The generations that were active, oldest first.
    pub good: Vec<Good>,
}

/// What of the data cannot be together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contradiction(pub &'static str);

impl Fleet {
    /// What there is once.
    pub fn core(&self) -> Core {
        Core {
            seed: self.seed,
            stage: self.stage,
            active: self.active,
            next_number: self.next_number,
            rollout: self.rollout.clone(),
            scaling: self.scaling.clone(),
            queued: self.queued.clone(),
            stop_waiters: self.stop_waiters.clone(),
            stop_signalled: self.stop_signalled,
            fatal: self.fatal,
            good: self.good.clone(),
        }
    }

    /// Every timer that is set, and when it is due.
    pub fn deadlines(&self) -> impl Iterator<Item = (Timer, Moment)> + '_ {
        self.timers.all()
    }

    /// The fleet that was `core`, with these generations and timers; it goes on by `policy`.
    ///
    /// Nothing that was to be done then is done again: whoever drives it knows what is missing, and says so by
    /// events.
    ///
    /// # Errors
    /// When these cannot be together: nothing is guessed.
    pub fn resume(
        policy: Policy,
        core: Core,
        generations: impl IntoIterator<Item = Generation>,
        deadlines: impl IntoIterator<Item = (Timer, Moment)>,
    ) -> Result<Self, Contradiction> {
        let mut held = BTreeMap::new();
        for generation in generations {
            held.insert(generation.number, generation);
        }
        let mut timers = Timers::default();
        for (timer, due) in deadlines {
            timers.set(timer, due);
        }
        let fleet = Self {
            policy,
            seed: core.seed,
            stage: core.stage,
            generations: held,
            active: core.active,
            next_number: core.next_number,
            rollout: core.rollout,
            scaling: core.scaling,
            queued: core.queued,
            stop_waiters: core.stop_waiters,
            stop_signalled: core.stop_signalled,
            fatal: core.fatal,
            good: core.good,
            timers,
            effects: Vec::new(),
            now: Moment::ZERO,
        };
        match fleet.contradiction() {
            Some(what) => Err(Contradiction(what)),
            None => Ok(fleet),
        }
    }

    fn contradiction(&self) -> Option<&'static str> {
        let given = |number: GenerationNumber| number < self.next_number;
        let phase = self.rollout.as_ref().map(|rollout| rollout.phase);
        let rolled_out = self.rollout.as_ref().map(|rollout| rollout.target);
        let scaled = self.scaling.as_ref().map(|scaling| scaling.target);
        let named = [self.active, rolled_out, scaled].into_iter().flatten();
        let faults = [
            (
                !named.chain(self.generations.keys().copied()).all(given),
                "a generation has a number that was not given yet",
            ),
            (
                rolled_out.is_some() && scaled.is_some(),
                "an upgrade and a scaling are under way",
            ),
            (
                matches!(phase, Some(Phase::Idle | Phase::Scaling)),
                "an upgrade is under way in a phase that is none of an upgrade",
            ),
            (
                self.unknown_workers(),
                "a timer is set for a worker that is not held",
            ),
        ];
        let found = faults.into_iter().find(|(wrong, _)| *wrong);
        found.map(|(_, what)| what)
    }

    fn unknown_workers(&self) -> bool {
        let mut workers = BTreeSet::new();
        for generation in self.generations.values() {
            workers.extend(generation.worker_ids());
        }
        self.timers.names().any(|timer| match timer {
            Timer::Ready(id)
            | Timer::Respawn(id)
            | Timer::Kill(id)
            | Timer::Settled(id)
            | Timer::Watchdog(id) => !workers.contains(&id),
            Timer::Bake(_) | Timer::Canary(_) | Timer::Undo(_) => false,
            Timer::StopDelay | Timer::Abandon => false,
        })
    }
}
