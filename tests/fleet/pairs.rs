//! Which pairs of the two tables were asked for, seen from outside.

use crate::fleet::rollout::{PHASES, Phase, TURNS, Turn};
use crate::fleet::worker::{HAPPENINGS, Happening, PROCESSES};
use crate::fleet::{Event, Fault, Timer, WorkerId};
use crate::world::{Action, Stop, World};

/// A flag for every pair.
#[derive(Debug, Default, Clone, Copy)]
pub struct Pairs {
    workers: [[bool; HAPPENINGS.len()]; PROCESSES.len()],
    rollouts: [[bool; TURNS.len()]; PHASES.len()],
}

impl Pairs {
    /// How many pairs of the worker table were asked for.
    pub fn workers(&self) -> usize {
        self.workers.iter().flatten().filter(|seen| **seen).count()
    }

    /// How many pairs of the rollout table were asked for.
    pub fn rollouts(&self) -> usize {
        self.rollouts.iter().flatten().filter(|seen| **seen).count()
    }

    /// What was seen here and there.
    pub fn join(&mut self, other: &Self) {
        let mine = self.workers.iter_mut().flatten();
        for (seen, there) in mine.zip(other.workers.iter().flatten()) {
            *seen |= there;
        }
        let mine = self.rollouts.iter_mut().flatten();
        for (seen, there) in mine.zip(other.rollouts.iter().flatten()) {
            *seen |= there;
        }
    }

    /// The pairs that no order of events asked for.
    pub fn unreached(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for process in PROCESSES {
            for happening in HAPPENINGS {
                if !self.workers[process as usize][happening as usize] {
                    missing.push(format!("{process:?}, {happening:?}"));
                }
            }
        }
        for phase in PHASES {
            for turn in TURNS {
                if !self.rollouts[phase as usize][turn as usize] {
                    missing.push(format!("{phase:?}, {turn:?}"));
                }
            }
        }
        missing
    }

    /// The pairs that this action asks for.
    pub fn add(&mut self, world: &World, action: Action) {
        let turn = match action {
            Action::Late(event) => return self.event(world, event),
            Action::Ready(id) => return self.event(world, Event::Ready(id)),
            Action::Fault(id) => return self.event(world, Event::Fault(id, Fault::Unfit)),
            Action::Unhealthy(id) => return self.event(world, Event::Fault(id, Fault::Unhealthy)),
            Action::Exit(id, ending) => return self.event(world, Event::Exited(id, ending)),
            Action::Due(timer) => return self.event(world, Event::Due(timer)),
            Action::Request(_, release, fixed, plan) => {
                let same = fixed && world.rolls_out(release, plan);
                if matches!(world.fleet.rollout().0, Phase::Idle | Phase::Scaling) {
                    self.turn(world, Turn::SameRequest);
                    Turn::OtherRequest
                } else if same {
                    Turn::SameRequest
                } else {
                    Turn::OtherRequest
                }
            }
            Action::Against(_) | Action::Denied(_) => Turn::Against,
            Action::Scale(_) => Turn::Scale,
            Action::Prepared(_) => Turn::Prepared,
            Action::Approved(_) => Turn::Approved,
            Action::Abort => Turn::Abort,
            Action::Promote => Turn::Promote,
            Action::Stop(how) => {
                let end = how == Stop::Now || (how == Stop::Signal && world.signals > 0);
                return self.retirements(
                    world,
                    if end {
                        Happening::End
                    } else {
                        Happening::Retire
                    },
                );
            }
            Action::Extend(..) | Action::Ping(_) | Action::Policy(_) => return,
        };
        self.turn(world, turn);
    }

    fn turn(&mut self, world: &World, turn: Turn) {
        self.rollouts[world.fleet.rollout().0 as usize][turn as usize] = true;
    }

    fn worker(&mut self, world: &World, id: WorkerId, happening: Happening) {
        let held = world.fleet.generation(id.generation);
        let slot = held.and_then(|held| held.slots.get(id.slot as usize));
        if let Some(slot) = slot.filter(|slot| slot.life == id.life) {
            self.workers[slot.process as usize][happening as usize] = true;
        }
    }

    fn event(&mut self, world: &World, event: Event) {
        match event {
            Event::Ready(id) => {
                self.worker(world, id, Happening::Ready);
                self.turn(world, Turn::AllReady);
            }
            Event::Fault(id, Fault::Unhealthy) => self.worker(world, id, Happening::Unhealthy),
            Event::Fault(id, _) => self.worker(world, id, Happening::Fault),
            Event::Exited(id, _) => {
                self.worker(world, id, Happening::Exited);
                self.turn(world, Turn::Undone);
                self.turn(world, Turn::Replaced);
            }
            Event::Against(..) => self.turn(world, Turn::Against),
            Event::Prepared(_) => self.turn(world, Turn::Prepared),
            Event::Approved(_) => self.turn(world, Turn::Approved),
            Event::Due(Timer::Ready(id)) => self.worker(world, id, Happening::ReadyDue),
            Event::Due(Timer::Respawn(id)) => self.worker(world, id, Happening::RespawnDue),
            Event::Due(Timer::Kill(id)) => self.worker(world, id, Happening::KillDue),
            Event::Due(Timer::Settled(id)) => self.worker(world, id, Happening::SettledDue),
            Event::Due(Timer::Watchdog(id)) => self.worker(world, id, Happening::WatchdogDue),
            Event::Due(Timer::Bake(_)) => self.turn(world, Turn::BakeDue),
            Event::Due(Timer::Canary(_)) => self.turn(world, Turn::CanaryDue),
            Event::Due(Timer::Undo(_)) => self.turn(world, Turn::UndoDue),
            Event::Due(Timer::StopDelay | Timer::Abandon)
            | Event::Scale { .. }
            | Event::Request(_)
            | Event::Promote(_)
            | Event::Abort(_)
            | Event::Stop { .. }
            | Event::Extend(..)
            | Event::Ping(_) => {}
        }
    }

    fn retirements(&mut self, world: &World, happening: Happening) {
        for slot in world.fleet.generations().flat_map(|held| &held.slots) {
            self.workers[slot.process as usize][happening as usize] = true;
        }
    }
}
