//! Whoever is killed between two events goes on from what was kept, and is what it was.

use std::time::Duration;

use crate::fleet::{Contradiction, Core, Fleet, Kind, Plan, Policy, ReleaseId, Timer, WorkerId};
use crate::world::{Action, Budget, World};

/// The fleet that goes on from what `fleet` is, but for `core`.
fn resumed(fleet: &Fleet, core: Core) -> Result<Fleet, Contradiction> {
    let generations = fleet.generations().cloned();
    Fleet::resume(*fleet.policy(), core, generations, fleet.deadlines())
}

impl World {
    /// The fleet that is read back is the fleet that was written.
    pub fn is_what_was_kept(&self) {
        let fleet = &self.fleet;
        let resumed = resumed(fleet, fleet.core());
        let resumed = resumed.expect("a fleet that ran is no contradiction");
        assert_eq!(resumed.core(), fleet.core());
        assert!(resumed.generations().eq(fleet.generations()));
        assert!(resumed.deadlines().eq(fleet.deadlines()));
    }
}

#[test]
fn what_cannot_be_together_is_refused() {
    let mut world = World::empty(Policy::default(), Budget::default());
    world.act(Action::Request(
        Kind::Upgrade,
        ReleaseId(0),
        true,
        Plan::Whole,
    ));
    let (fleet, core) = (&world.fleet, world.fleet.core());
    assert_eq!(
        resumed(fleet, core.clone()).as_ref().map(Fleet::core),
        Ok(core.clone())
    );

    let unborn = Core {
        next_number: 1,
        ..core.clone()
    };
    let what = "a generation has a number that was not given yet";
    assert_eq!(resumed(fleet, unborn).err(), Some(Contradiction(what)));

    let stranger = WorkerId {
        generation: 1,
        slot: 7,
        life: 0,
    };
    let timers = [(Timer::Kill(stranger), Duration::ZERO)];
    let generations = fleet.generations().cloned();
    let refused = Fleet::resume(*fleet.policy(), core, generations, timers);
    let what = "a timer is set for a worker that is not held";
    assert_eq!(refused.err(), Some(Contradiction(what)));
}
