//! For the exhaustive tests: a fingerprint that is equal for fleets that differ
//! only in names, so that of many such fleets one is visited.
//!
//! Two fleets with equal fingerprints behave alike, because everything is
//! hashed (a field that is added does not compile until it is here), except:
//!
//! * which slot of a generation is which: slots are hashed in the order of
//!   their contents. The room treats slots alike; only the jitter of respawns
//!   looks at the number, and the worlds that use this have no delays. Of alike
//!   workers the one in the highest slot is let go, of empty slots the lowest is
//!   taken: another choice would differ in the name and in the number of its life;
//! * which operation is which: they are renamed in the order in which they are
//!   met. Operations are never compared, only answered;
//! * when timers are due: in those worlds they fire in any order.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use super::rollout::{Queued, Rollout, Scaling};
use super::{Failure, Fleet, Generation, OperationId, Request, Timer, WorkerId};

/// Operations under names that do not depend on their numbers.
struct Names<'a> {
    asked: &'a BTreeSet<OperationId>,
    met: Vec<OperationId>,
}

impl Fleet {
    /// Hashes all that decides what happens next. `about` is what the world
    /// knows of a worker, `asked` the operations that it waits for.
    pub fn hash_up_to_names(
        &self,
        about: impl Fn(WorkerId) -> u64,
        asked: &BTreeSet<OperationId>,
        state: &mut impl Hasher,
    ) {
        let Self {
            policy,
            seed,
            stage,
            generations,
            active,
            next_number,
            rollout,
            scaling,
            queued,
            stop_waiters,
            stop_signalled,
            fatal,
            good,
            timers,
            effects,
            now: _,
        } = self;
        (policy, seed, stage, active, next_number).hash(state);
        (stop_signalled, good, effects).hash(state);
        let failures = [rollout.as_ref().and_then(|held| held.failure), *fatal];
        let mut bits: Vec<(WorkerId, u64)> = Vec::with_capacity(16);
        for timer in timers.names() {
            match bit(timer) {
                Some((id, bit)) if self.slot(id).is_some() => bits.push((id, bit)),
                _ => timer.hash(state),
            }
        }
        for (place, failure) in failures.into_iter().enumerate() {
            failure.map(|failure| failure.cause).hash(state);
            match failure.and_then(|Failure { worker, .. }| worker) {
                Some(id) if self.slot(id).is_some() => bits.push((id, 32 << place)),
                gone => gone.hash(state),
            }
        }
        for generation in generations.values() {
            hash_generation(generation, &bits, &about, state);
        }
        let mut names = Names {
            asked,
            met: Vec::new(),
        };
        if let Some(rollout) = rollout {
            names.hash_rollout(rollout, state);
        }
        if let Some(Scaling {
            target,
            from,
            waiter,
        }) = scaling
        {
            (target, from).hash(state);
            names.hash(*waiter, state);
        }
        if let Some(Queued { request, waiters }) = queued {
            hash_request(request, state);
            names.hash_waiters(waiters, state);
        }
        0xd0_u8.hash(state);
        for operation in stop_waiters {
            names.hash(*operation, state);
        }
        (names.met.len(), asked.len()).hash(state);
    }
}

impl Names<'_> {
    fn hash(&mut self, operation: OperationId, state: &mut impl Hasher) {
        let known = self.met.iter().position(|met| *met == operation);
        let name = known.unwrap_or_else(|| {
            self.met.push(operation);
            self.met.len() - 1
        });
        (name, self.asked.contains(&operation)).hash(state);
    }

    fn hash_waiters(&mut self, waiters: &[OperationId], state: &mut impl Hasher) {
        waiters.len().hash(state);
        for operation in waiters {
            self.hash(*operation, state);
        }
    }

    fn hash_rollout(&mut self, rollout: &Rollout, state: &mut impl Hasher) {
        let Rollout {
            phase,
            target,
            request,
            gate,
            waiters,
            aborters,
            failure: _,
            restores,
            retries,
        } = rollout;
        (phase, target, gate, restores, retries, aborters.len()).hash(state);
        hash_request(request, state);
        self.hash_waiters(waiters, state);
        for operation in aborters {
            self.hash(*operation, state);
        }
    }
}

fn hash_request(request: &Request, state: &mut impl Hasher) {
    let Request {
        operation: _,
        release,
        fixed,
        kind,
        plan,
    } = request;
    (release, fixed, kind, plan).hash(state);
}

fn hash_generation(
    generation: &Generation,
    bits: &[(WorkerId, u64)],
    about: &impl Fn(WorkerId) -> u64,
    state: &mut impl Hasher,
) {
    let Generation {
        number,
        release,
        state: stage,
        slots,
        size,
        restoring,
        stands_in,
        stands_for,
        watchdog,
        drain_deadline,
    } = generation;
    (number, release, stage, stands_for, watchdog).hash(state);
    (
        drain_deadline.is_some(),
        slots.len(),
        size,
        restoring,
        stands_in,
    )
        .hash(state);
    let mut contents: Vec<_> = generation
        .workers()
        .map(|(id, slot)| {
            let bits = bits.iter().filter(|(worker, _)| *worker == id);
            let bits = bits.fold(0, |all, (_, bit)| all | bit);
            let process = slot.process as u8;
            (
                process,
                slot.life,
                (slot.wanted, slot.added, slot.dismissed),
                slot.losses,
                bits,
                about(id),
            )
        })
        .collect();
    contents.sort_unstable();
    contents.hash(state);
}

/// The worker that a timer is about, and a bit for what it is for.
fn bit(timer: Timer) -> Option<(WorkerId, u64)> {
    match timer {
        Timer::Ready(id) => Some((id, 1)),
        Timer::Respawn(id) => Some((id, 2)),
        Timer::Kill(id) => Some((id, 4)),
        Timer::Settled(id) => Some((id, 8)),
        Timer::Watchdog(id) => Some((id, 16)),
        Timer::Bake(_) | Timer::Canary(_) | Timer::Undo(_) => None,
        Timer::StopDelay | Timer::Abandon => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use std::collections::{BTreeSet, hash_map::DefaultHasher};
    use std::hash::Hasher;

    fn fingerprint(events: &[Event], operation: OperationId) -> u64 {
        let policy = Policy {
            workers: 2,
            ..Policy::default()
        };
        let mut fleet = Fleet::new(policy, 1);
        let request = Request {
            operation,
            release: ReleaseId(1),
            fixed: true,
            kind: Kind::Upgrade,
            plan: Plan::Whole,
        };
        fleet.handle(Moment::ZERO, Event::Request(request));
        for event in events {
            fleet.handle(Moment::ZERO, *event);
        }
        let mut state = DefaultHasher::new();
        fleet.hash_up_to_names(|_| 0, &BTreeSet::from([operation]), &mut state);
        state.finish()
    }

    fn worker(slot: u32) -> WorkerId {
        WorkerId {
            generation: 1,
            slot,
            life: 0,
        }
    }

    #[test]
    fn slots_and_operations_have_no_names() {
        let first = fingerprint(&[Event::Ready(worker(0))], OperationId(1));
        let second = fingerprint(&[Event::Ready(worker(1))], OperationId(2));
        assert_eq!(first, second);
    }

    #[test]
    fn what_differs_stays_different() {
        let one = fingerprint(&[Event::Ready(worker(0))], OperationId(1));
        let none = fingerprint(&[], OperationId(1));
        let both = [Event::Ready(worker(0)), Event::Ready(worker(1))];
        let both = fingerprint(&both, OperationId(1));
        assert_eq!(BTreeSet::from([one, none, both]).len(), 3);
    }
}
