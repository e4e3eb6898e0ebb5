//! Visits every state that a world can reach, each once.

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::fleet::rollout::{PHASES, TURNS};
use crate::fleet::worker::{HAPPENINGS, PROCESSES};
use crate::pairs::Pairs;
use crate::world::{Action, Living, World};

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
    seen: HashSet<u128>,
    /// How each state was first reached: from which one, by what.
    ways: Vec<(usize, Action)>,
    report: Report,
}

impl Explorer {
    /// Depth first, with the way here told when something does not hold.
    pub fn run(mut self, start: World) -> Report {
        self.seen.insert(fingerprint(&start));
        let mut stack = vec![(start, usize::MAX)];
        while let Some((world, here)) = stack.pop() {
            self.report.states += 1;
            self.report.finished += usize::from(world.finished);
            let mut unmoved = world.budget.late_news.then(|| world.clone());
            for action in world.actions() {
                self.report.transitions += 1;
                self.report.pairs.add(&world, action);
                if let (Action::Late(event), Some(unmoved)) = (action, &mut unmoved) {
                    self.step(here, action, || unmoved.hear_late(event, &world.fleet));
                    continue;
                }
                let mut next = world.clone();
                self.step(here, action, || drop(next.act(action)));
                if self.seen.insert(fingerprint(&next)) {
                    self.step(here, action, || next.is_what_was_kept());
                    self.ways.push((here, action));
                    stack.push((next, self.ways.len() - 1));
                }
            }
        }
        self.report
    }

    fn step(&self, here: usize, action: Action, act: impl FnOnce()) {
        if let Err(fault) = catch_unwind(AssertUnwindSafe(act)) {
            self.tell_the_way(here, action);
            resume_unwind(fault);
        }
    }

    fn tell_the_way(&self, mut here: usize, last: Action) {
        let mut way = vec![last];
        while let Some((before, action)) = self.ways.get(here) {
            way.push(*action);
            here = *before;
        }
        eprintln!("the way there:");
        for step in way.iter().rev() {
            eprintln!("  {step:?}");
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} transitions, {} ends; {} of {} worker pairs, {} of {} rollout pairs",
            self.states,
            self.transitions,
            self.finished,
            self.pairs.workers(),
            PROCESSES.len() * HAPPENINGS.len(),
            self.pairs.rollouts(),
            PHASES.len() * TURNS.len(),
        )
    }
}

/// 128 bits, so that no two of millions of states collide: a collision would
/// hide one.
fn fingerprint(world: &World) -> u128 {
    let mut state = Mixer([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
    world.hash_up_to_names(&mut state);
    (u128::from(state.0[0]) << 64) | u128::from(state.0[1])
}

impl World {
    /// Hashes the fleet and everything that the invariants look at, each worker
    /// with its slot. No time passes in these worlds, so no time is hashed.
    fn hash_up_to_names(&self, state: &mut Mixer) {
        let Self {
            fleet,
            living,
            budget,
            clock: _,
            waiting,
            active,
            known,
            patience: _,
            stopping,
            delayed,
            restoring,
            signals,
            fatal,
            finished,
        } = self;
        let about = |id| {
            let flags = |living: &Living| {
                let told = u64::from(living.told.is_some());
                let killed = u64::from(living.killed.is_some());
                let added = u64::from(living.added);
                let dismissed = u64::from(living.dismissed);
                let early = 1 | u64::from(living.ready) << 1 | told << 2;
                early | killed << 3 | added << 4 | dismissed << 5
            };
            living.get(&id).map_or(0, flags)
        };
        fleet.hash_up_to_names(about, waiting, state);
        living.len().hash(state);
        (budget, active, known).hash(state);
        (stopping, delayed, restoring, signals, fatal, finished).hash(state);
    }
}

/// Two lanes of multiply and fold: quicker than the standard hasher by far, and
/// nobody attacks it.
struct Mixer([u64; 2]);

impl Mixer {
    fn word(&mut self, word: u64) {
        const KEYS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
        for (lane, key) in self.0.iter_mut().zip(KEYS) {
            let wide = u128::from(*lane ^ word) * u128::from(key);
            *lane = ((wide >> 64) as u64 ^ wide as u64).wrapping_add(key.rotate_left(23));
        }
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0[0]
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.word(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.word(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.word(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.word(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.word(n as u64);
    }
}
