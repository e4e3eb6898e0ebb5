//! Visits every state that a world can reach, each once.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::fleet::rollout::{PHASES, TURNS};
use crate::fleet::worker::{HAPPENINGS, PROCESSES};
use crate::world::{Action, Pairs, World};

/// What was visited.
#[derive(Debug, Default)]
pub struct Report {
    pub states: usize,
    pub transitions: usize,
    pub finished: usize,
    pub pairs: Pairs,
}

#[derive(Default)]
pub struct Explorer {
    seen: HashSet<(u64, u64)>,
    report: Report,
}

impl Explorer {
    /// Depth first, with the way here told when something does not hold.
    pub fn run(mut self, start: World) -> Report {
        let mut stack = vec![(start, Vec::new())];
        while let Some((world, path)) = stack.pop() {
            if !self.seen.insert(fingerprint(&world)) {
                continue;
            }
            self.report.states += 1;
            self.report.finished += usize::from(world.finished);
            for action in world.actions() {
                self.report.transitions += 1;
                world.pairs(action, &mut self.report.pairs);
                let mut next = world.clone();
                let outcome = catch_unwind(AssertUnwindSafe(|| next.act(action)));
                let mut way: Vec<Action> = path.clone();
                way.push(action);
                if let Err(fault) = outcome {
                    eprintln!("the way there:");
                    for step in &way {
                        eprintln!("  {step:?}");
                    }
                    resume_unwind(fault);
                }
                if !matches!(action, Action::Late(_)) {
                    stack.push((next, way));
                }
            }
        }
        self.report
    }
}

impl Report {
    pub fn add(&mut self, other: &Report) {
        self.states += other.states;
        self.transitions += other.transitions;
        self.finished += other.finished;
        self.pairs.0.extend(other.pairs.0.iter().cloned());
        self.pairs.1.extend(other.pairs.1.iter().cloned());
    }

    /// The pairs of the tables that no order of events asked for.
    pub fn unreached(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for process in PROCESSES {
            for happening in HAPPENINGS {
                let pair = (format!("{process:?}"), format!("{happening:?}"));
                if !self.pairs.0.contains(&pair) {
                    missing.push(format!("worker {pair:?}"));
                }
            }
        }
        for phase in PHASES {
            for turn in TURNS {
                let pair = (format!("{phase:?}"), format!("{turn:?}"));
                if !self.pairs.1.contains(&pair) {
                    missing.push(format!("rollout {pair:?}"));
                }
            }
        }
        missing
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} transitions, {} ways to the end; {} of {} worker pairs, {} of {} rollout pairs",
            self.states,
            self.transitions,
            self.finished,
            self.pairs.0.len(),
            PROCESSES.len() * HAPPENINGS.len(),
            self.pairs.1.len(),
            PHASES.len() * TURNS.len(),
        )
    }
}

/// 128 bits of two differently begun hashes: a collision would hide a state.
fn fingerprint(world: &World) -> (u64, u64) {
    let mut one = DefaultHasher::new();
    world.hash(&mut one);
    let mut two = DefaultHasher::new();
    0xfeed_u64.hash(&mut two);
    world.hash(&mut two);
    (one.finish(), two.finish())
}
