//! Long random walks of the fleet through a world with a clock: thousands of
//! events, several workers and generations, numbers that change on the way,
//! time that advances to any point. The invariants are those of the exhaustive
//! worlds, and F3 by the clock; in the end everything comes to rest.

#![expect(dead_code, reason = "the world serves the exhaustive tests too")]
#![allow(missing_docs)]

use handover::fleet;

#[path = "fleet/holds.rs"]
mod holds;
#[path = "fleet/invariants.rs"]
mod invariants;
#[path = "fleet/late.rs"]
mod late;
#[path = "fleet/world.rs"]
mod world;

use std::time::Duration;

use fleet::{
    Ending, Event, Kind, Moment, Plan, Policy, ReleaseId, Scale, Stage, State, Timer, WorkerId,
};
use proptest::prelude::*;
use world::{Action, Budget, Gate, Living, Stop, World};

/// More live generations than this make no new trouble.
const MOST_GENERATIONS: usize = 6;

struct Walk {
    world: World,
    /// How long a killed process may take to vanish.
    grace: Duration,
    longest_drain: Duration,
}

impl Walk {
    fn new(policy: Policy) -> Self {
        let mut world = World::empty(policy, Budget::default());
        world.clock = Some(Moment::ZERO);
        let whole = Plan::Whole;
        world.act(Action::Request(Kind::Upgrade, ReleaseId(0), true, whole));
        Self {
            world,
            grace: policy.kill_after / 2,
            longest_drain: policy.drain_timeout,
        }
    }

    fn now(&self) -> Moment {
        self.world.clock.unwrap_or_default()
    }

    fn workers(&self, which: impl Fn(&Living) -> bool) -> Vec<WorkerId> {
        let chosen = self.world.living.iter().filter(|(_, living)| which(living));
        chosen.map(|(id, _)| *id).collect()
    }

    /// Time passes; timers fire and killed processes end at their moments.
    fn advance(&mut self, by: Duration) {
        let end = self.now() + by;
        while self.now() < end && !self.world.finished {
            let killed = self
                .world
                .living
                .values()
                .filter_map(|living| living.killed);
            let vanish = killed.min().map(|killed| killed + self.grace);
            let next = [self.world.fleet.next_deadline(), vanish];
            let next = next.into_iter().flatten().fold(end, Moment::min);
            self.world.clock = Some(next.max(self.now()));
            self.let_the_killed_vanish();
            while let Some(timer) = self.world.fleet.next_due(self.now()) {
                self.world.act(Action::Due(timer));
            }
            self.f3_by_the_clock();
        }
    }

    fn let_the_killed_vanish(&mut self) {
        let (now, grace) = (self.now(), self.grace);
        let due = |living: &Living| living.killed.is_some_and(|killed| killed + grace <= now);
        for id in self.workers(due) {
            self.world.act(Action::Exit(id, Ending::Ended));
        }
    }

    fn f3_by_the_clock(&self) {
        let now = self.now();
        for (id, living) in &self.world.living {
            let hangs = living.told.filter(|_| living.killed.is_none());
            assert!(
                hangs.is_none_or(|told| now <= told + self.longest_drain),
                "F3: {id:?} still drains at {now:?}: {living:?}"
            );
        }
        for held in self.world.fleet.generations() {
            let ends = matches!(held.state, State::Draining | State::Failed);
            let deadline = held.drain_deadline.filter(|_| ends);
            assert!(
                deadline.is_none_or(|deadline| now <= deadline + self.grace),
                "F3: generation {} outlives its deadline at {now:?}",
                held.number
            );
        }
    }

    /// One of the things that can happen now, picked by `dice`.
    fn step(&mut self, dice: u32) {
        let pick = dice / 128;
        match dice % 128 {
            0..30 => {
                let deadline = self.world.fleet.next_deadline().unwrap_or_default();
                self.advance(deadline.saturating_sub(self.now()));
            }
            30..46 => self.advance(Duration::from_micros(u64::from(pick % 4_000_000))),
            46..72 => {
                let starting = |living: &Living| {
                    !living.ready && living.told.is_none() && living.killed.is_none()
                };
                self.pick_one(pick, starting, Action::Ready);
            }
            72..84 => {
                let ending = |living: &Living| living.told.is_some() || living.killed.is_some();
                self.pick_one(pick, ending, |id| Action::Exit(id, Ending::Ended));
            }
            84..88 => self.pick_one(pick, |_| true, |id| Action::Exit(id, Ending::Ended)),
            88..90 => {
                let well = |living: &Living| living.told.is_none() && living.killed.is_none();
                let fault = [Action::Fault, Action::Unhealthy][(pick % 2) as usize];
                self.pick_one(pick / 2, well, fault);
            }
            90 => {
                let unborn = |living: &Living| *living == Living::default();
                self.pick_one(pick, unborn, |id| Action::Exit(id, Ending::NotStarted));
            }
            91..100 => self.request(pick),
            100..102 => self.scale(pick),
            102..104 => drop(self.world.act(Action::Abort)),
            104..106 => drop(self.world.act(Action::Promote)),
            106 => {
                if let Some(number) = self.world.fleet.rollout().1 {
                    self.world.act(Action::Against(number));
                }
            }
            107..109 => {
                let by = Duration::from_millis(u64::from(pick % 60_000));
                self.pick_one(pick, |_| true, |id| Action::Extend(id, by));
            }
            109..118 => self.everybody_pings(),
            118..122 => self.hooks_answer(pick),
            122 => self.change(pick),
            123..127 => self.late_news(pick),
            _ if pick.is_multiple_of(64) => {
                let how = [Stop::Call, Stop::Now, Stop::Signal][(pick / 64 % 3) as usize];
                self.world.act(Action::Stop(how));
            }
            _ => {}
        }
    }

    fn pick_one(
        &mut self,
        pick: u32,
        which: impl Fn(&Living) -> bool,
        action: impl Fn(WorkerId) -> Action,
    ) {
        let workers = self.workers(which);
        if !workers.is_empty() {
            let id = workers[pick as usize % workers.len()];
            self.world.act(action(id));
        }
    }

    fn request(&mut self, pick: u32) {
        if self.world.fleet.generations().count() >= MOST_GENERATIONS {
            return;
        }
        let release = ReleaseId(pick / 16 % 4);
        let fixed = !pick.is_multiple_of(3);
        let good = self.world.fleet.rollback_target();
        let (kind, release) = match (pick % 4, good) {
            (0, Some(good)) => (Kind::Rollback { to: good.number }, good.release),
            (1, _) => (Kind::Reload, release),
            _ => (Kind::Upgrade, release),
        };
        let plan = match pick / 64 % 4 {
            0 => Plan::Canary(pick / 256 % 4),
            1 => Plan::Rolling(pick / 256 % 4),
            _ => Plan::Whole,
        };
        self.world.act(Action::Request(kind, release, fixed, plan));
    }

    fn scale(&mut self, pick: u32) {
        let to = match pick % 4 {
            0 => Scale::Up,
            1 => Scale::Down,
            _ => Scale::To(pick / 4 % 7),
        };
        self.world.act(Action::Scale(to));
    }

    /// Whoever was asked says yes, and now and then no.
    fn hooks_answer(&mut self, pick: u32) {
        let asked: Vec<Action> = self
            .world
            .known
            .iter()
            .filter_map(|(number, known)| {
                if pick.is_multiple_of(16)
                    && [known.prepared, known.approved].contains(&Gate::Asked)
                {
                    Some(Action::Denied(*number))
                } else if known.prepared == Gate::Asked {
                    Some(Action::Prepared(*number))
                } else {
                    (known.approved == Gate::Asked).then_some(Action::Approved(*number))
                }
            })
            .collect();
        for action in asked {
            self.world.act(action);
        }
    }

    fn all_ready(&mut self) {
        for id in self.workers(|living| *living == Living::default()) {
            self.world.act(Action::Ready(id));
        }
    }

    fn everybody_pings(&mut self) {
        for id in self.workers(|_| true) {
            self.world.act(Action::Ping(id));
        }
    }

    fn change(&mut self, pick: u32) {
        let old = *self.world.fleet.policy();
        let policy = Policy {
            workers: 1 + pick % 5,
            watchdog: (!pick.is_multiple_of(2)).then(|| Duration::from_secs(5)),
            bake: Duration::from_secs(u64::from(pick / 8 % 4)),
            drain_timeout: Duration::from_secs(u64::from(1 + pick / 32 % 30)),
            max_generations: 1 + pick / 16 % 4,
            ..old
        };
        self.longest_drain = self.longest_drain.max(policy.drain_timeout);
        self.world.act(Action::Policy(policy));
    }

    fn late_news(&mut self, pick: u32) {
        let mut news = Vec::new();
        for generation in self.world.fleet.generations() {
            for (id, _) in generation.workers() {
                if let Some(life) = id.life.checked_sub(1) {
                    let before = WorkerId { life, ..id };
                    news.push(Event::Ready(before));
                    news.push(Event::Exited(before, Ending::Ended));
                    news.push(Event::Due(Timer::Kill(before)));
                }
            }
        }
        if let Some(event) = news.get(pick as usize % news.len().max(1)) {
            // Only the time moves on by itself.
            let mut before = self.world.fleet.clone();
            before.handle(self.now(), Event::Against(0, fleet::Fault::Unfit));
            self.world.hear_late(*event, &before);
        }
    }

    /// Nobody calls and nothing fails any more: what is under way comes to its
    /// end, and everybody who asked has an answer.
    fn comes_to_rest(&mut self) {
        for round in 0..600 {
            self.all_ready();
            self.everybody_pings();
            self.hooks_answer(1);
            if self.world.fleet.rollout().0 == fleet::rollout::Phase::Canary {
                let decision = [Action::Promote, Action::Abort][round % 2];
                self.world.act(decision);
            }
            self.advance(Duration::from_millis(500));
        }
        assert_eq!(self.world.waiting.len(), 0, "F5: calls without an answer");
        if !self.world.finished {
            assert_eq!(self.world.fleet.stage(), Stage::Serving);
            assert_eq!(self.world.fleet.generations().count(), 1);
            let active = self.world.fleet.active().expect("it serves");
            assert_eq!(active.ready(), active.size as usize);
            assert!(!active.restoring);
        }
    }

    fn stops(&mut self) {
        if !self.world.finished {
            let policy = self.world.fleet.policy();
            let patience = policy.drain_delay + policy.drain_timeout + self.grace;
            self.world.act(Action::Stop(Stop::Call));
            self.advance(patience);
        }
        assert!(self.world.finished, "a stop that does not end");
    }
}

fn seconds(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    (range.start * 1000..range.end * 1000).prop_map(Duration::from_millis)
}

prop_compose! {
    fn policies()(
        workers in 1u32..6,
        ready_timeout in seconds(1..20),
        bake in seconds(0..4),
        canary_timeout in seconds(0..30),
        prepare in any::<bool>(),
        approve in any::<bool>(),
        retries in 0u32..3,
        drain_delay in seconds(0..4),
        drain_timeout in seconds(1..30),
        unready_timeout in proptest::option::of(seconds(1..40)),
        kill_after in seconds(1..6),
        max_generations in 1u32..5,
        restart_delay in seconds(0..2),
        restart_max_delay in seconds(1..30),
        settled_after in seconds(1..10),
        watchdog in proptest::option::of(seconds(2..8)),
    ) -> Policy {
        Policy {
            workers,
            ready_timeout,
            bake,
            canary_timeout,
            prepare,
            approve,
            retries,
            drain_delay,
            drain_timeout,
            unready_timeout,
            kill_after,
            max_generations,
            restart_delay,
            restart_max_delay,
            settled_after,
            watchdog,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        max_shrink_iters: 4096,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_the_invariants_hold(
        policy in policies(),
        dice in proptest::collection::vec(any::<u32>(), 0..4000),
    ) {
        let mut walk = Walk::new(policy);
        // Most walks begin with a service that serves: else most end at once.
        if !dice.len().is_multiple_of(8) {
            walk.all_ready();
        }
        for dice in dice {
            if !walk.world.finished {
                walk.step(dice);
            }
        }
        walk.comes_to_rest();
        walk.stops();
    }
}
