//! A service with a clock, for stories: a few words for what happens, and all
//! that followed kept in order. Every invariant is checked at every step.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fleet::{
    Effect, Ending, GenerationNumber, Kind, Moment, Note, OperationId, Outcome, Plan, Policy,
    ReleaseId, Scale, State, WorkerId,
};
use crate::world::{Action, Budget, Stop, World};

/// A call that somebody made, to ask for its answer later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call(usize);

pub struct Service {
    pub world: World,
    pub effects: Vec<Effect>,
    open: BTreeMap<OperationId, Call>,
    answers: Vec<Option<Outcome>>,
}

/// Worker `slot` of `generation`, in its first life.
pub fn worker(generation: GenerationNumber, slot: u32) -> WorkerId {
    life(generation, slot, 0)
}

pub fn life(generation: GenerationNumber, slot: u32, life: u32) -> WorkerId {
    WorkerId {
        generation,
        slot,
        life,
    }
}

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Service {
    /// Release 1 is starting as generation 1.
    pub fn starting(policy: Policy) -> Self {
        let mut world = World::empty(policy, Budget::default());
        world.clock = Some(Moment::ZERO);
        let mut service = Self {
            world,
            effects: Vec::new(),
            open: BTreeMap::new(),
            answers: Vec::new(),
        };
        service.upgrade(1);
        service
    }

    /// Release 1 serves as generation 1.
    pub fn serving(policy: Policy) -> Self {
        let mut service = Self::starting(policy);
        service.all_ready(1);
        assert_eq!(service.active(), Some(1));
        service
    }

    pub fn act(&mut self, action: Action) {
        for effect in self.world.act(action) {
            if let Effect::Answer(operation, outcome) = effect
                && let Some(Call(call)) = self.open.remove(&operation)
            {
                self.answers[call] = Some(outcome);
            }
            self.effects.push(effect);
        }
    }

    pub fn call(&mut self, action: Action) -> Call {
        let call = Call(self.answers.len());
        self.answers.push(None);
        self.open.insert(self.world.unused(), call);
        self.act(action);
        call
    }

    pub fn upgrade(&mut self, release: u32) -> Call {
        self.upgrade_by(Plan::Whole, release)
    }

    pub fn upgrade_by(&mut self, plan: Plan, release: u32) -> Call {
        let release = ReleaseId(release);
        self.call(Action::Request(Kind::Upgrade, release, true, plan))
    }

    pub fn scale(&mut self, workers: u32) -> Call {
        self.call(Action::Scale(Scale::To(workers)))
    }

    pub fn reload(&mut self, release: u32) -> Call {
        self.call(Action::Request(
            Kind::Reload,
            ReleaseId(release),
            true,
            Plan::Whole,
        ))
    }

    /// As the master does it when a listener was replaced below the active generation.
    pub fn renew(&mut self) -> Call {
        let release = self.world.fleet.active().expect("it serves").release;
        self.call(Action::Request(Kind::Renew, release, false, Plan::Whole))
    }

    /// As the master does it: to what the fleet says.
    pub fn rollback(&mut self) -> Option<Call> {
        let good = self.world.fleet.rollback_target()?;
        let kind = Kind::Rollback { to: good.number };
        Some(self.call(Action::Request(kind, good.release, true, Plan::Whole)))
    }

    pub fn signal_term(&mut self) {
        self.act(Action::Stop(Stop::Signal));
    }

    pub fn ready(&mut self, id: WorkerId) {
        self.act(Action::Ready(id));
    }

    /// Every worker of it that lives becomes ready.
    pub fn all_ready(&mut self, number: GenerationNumber) {
        for id in self.living(number) {
            if !self.world.living[&id].ready {
                self.ready(id);
            }
        }
    }

    pub fn dies(&mut self, id: WorkerId) {
        self.act(Action::Exit(id, Ending::Ended));
    }

    /// Every worker that was told to end, or killed, ends.
    pub fn the_told_end(&mut self) {
        let told: Vec<WorkerId> = self
            .world
            .living
            .iter()
            .filter(|(_, living)| living.told.is_some() || living.killed.is_some())
            .map(|(id, _)| *id)
            .collect();
        for id in told {
            self.dies(id);
        }
    }

    /// Time passes; what comes due happens on its moment.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now() + by;
        while let Some(due) = self.world.fleet.next_deadline().filter(|due| *due <= end) {
            self.world.clock = Some(due.max(self.now()));
            while let Some(timer) = self.world.fleet.next_due(self.now()) {
                self.act(Action::Due(timer));
            }
        }
        self.world.clock = Some(end);
    }

    /// A whole upgrade that goes well, up to the end of the old generation.
    pub fn upgraded(&mut self, release: u32) -> GenerationNumber {
        let call = self.upgrade(release);
        self.becomes_active(call)
    }

    pub fn rolled_back(&mut self) -> GenerationNumber {
        let call = self.rollback().expect("there is something to go back to");
        self.becomes_active(call)
    }

    fn becomes_active(&mut self, call: Call) -> GenerationNumber {
        let number = self.newest();
        self.all_ready(number);
        self.advance(self.world.fleet.policy().bake);
        self.the_told_end();
        assert_eq!(self.answer(call), Some(Outcome::Active(number)));
        number
    }

    pub fn now(&self) -> Moment {
        self.world.clock.unwrap_or_default()
    }

    pub fn answer(&self, Call(call): Call) -> Option<Outcome> {
        self.answers[call]
    }

    pub fn active(&self) -> Option<GenerationNumber> {
        self.world.fleet.active().map(|held| held.number)
    }

    pub fn state(&self, number: GenerationNumber) -> Option<State> {
        self.world.fleet.generation(number).map(|held| held.state)
    }

    pub fn newest(&self) -> GenerationNumber {
        let numbers = self.world.fleet.generations().map(|held| held.number);
        numbers.max().unwrap_or_default()
    }

    pub fn living(&self, number: GenerationNumber) -> Vec<WorkerId> {
        let ids = self.world.living.keys();
        ids.filter(|id| id.generation == number).copied().collect()
    }

    pub fn was(&self, effect: Effect) -> bool {
        self.effects.contains(&effect)
    }

    pub fn was_told(&self, note: Note) -> bool {
        self.was(Effect::Tell(note))
    }

    /// How often something was done.
    pub fn count(&self, what: impl Fn(&Effect) -> bool) -> usize {
        self.effects.iter().filter(|effect| what(effect)).count()
    }
}
