//! During a bake: does anybody take what waits on the listeners?

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Master;
use crate::fleet::rollout::Phase;
use crate::fleet::{self, Fault, GenerationNumber, Process};
use crate::readiness::holds_connection;
use crate::sockets;

/// How often the queues are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Nobody took one of those who wait for this long: a program that serves takes somebody sooner.
const UNTAKEN_MAX: Duration = Duration::from_millis(500);

/// Who waited on each listener, and since when none of them was taken.
#[derive(Default)]
pub(super) struct Queues {
    next: Option<Instant>,
    waiting: BTreeMap<String, (Instant, BTreeSet<u64>)>,
}

impl Queues {
    /// When there is something to look at.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next
    }

    /// Takes what is there now; says since when nobody of it was taken.
    fn note(&mut self, listener: &str, now: Instant, waiting: BTreeSet<u64>) -> Option<Duration> {
        match self.waiting.get(listener) {
            Some((since, before)) if !before.is_empty() && waiting.is_superset(before) => {
                Some(now.saturating_duration_since(*since))
            }
            _ => {
                self.waiting.insert(listener.to_owned(), (now, waiting));
                None
            }
        }
    }
}

impl Master {
    /// A new generation bakes: its listeners are looked at from now on.
    pub(super) fn watch_queues(&mut self) {
        self.queues = Queues {
            next: Some(Instant::now() + LOOK_EVERY),
            ..Queues::default()
        };
    }

    /// The generation that bakes fails when those who wait on a listener are taken neither by it nor by anybody
    /// (FAILURES: an orphaned passed socket). One that holds a connection of the listener does take them: it is
    /// only slow.
    pub(super) fn look_at_queues(&mut self) {
        let now = Instant::now();
        if self.queues.next.is_none_or(|due| due > now) {
            return;
        }
        let (Phase::Baking, Some(number)) = self.fleet.rollout() else {
            self.queues = Queues::default();
            return;
        };
        let mut stuck = Vec::new();
        let lineup = self.lineup_of(number);
        for (member, listener) in lineup.members_in(&self.listeners) {
            // What cannot be asked speaks against nobody.
            let Ok(waiting) = sockets::waiting(listener) else {
                continue;
            };
            let untaken = self.queues.note(&member.entry.name, now, waiting);
            if untaken.is_some_and(|untaken| untaken >= UNTAKEN_MAX) {
                stuck.push(super::watching::wanted_of((member, listener)));
            }
        }
        let before = Instant::now();
        let idle = |wanted| !self.some_hold(number, std::slice::from_ref(wanted));
        match stuck.iter().any(idle) {
            true => {
                self.queues = Queues::default();
                let event = fleet::Event::Against(number, Fault::QueueNotTaken);
                self.pending.push_back(event);
            }
            // Looking through a thousand workers has its price.
            false => self.queues.next = Some(before + LOOK_EVERY.max(before.elapsed() * 20)),
        }
    }

    /// Whether a worker of this generation accepted a connection of the listener.
    fn some_hold(&self, number: GenerationNumber, wanted: &[crate::readiness::Wanted]) -> bool {
        let generation = self.fleet.generation(number);
        let workers = generation.into_iter().flat_map(|held| held.workers());
        let ready = workers.filter(|(_, slot)| slot.process == Process::Ready);
        let mut pids = ready.filter_map(|(id, _)| self.workers.get(id)?.pid());
        pids.any(|pid| holds_connection(pid, wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_of_whom_nobody_is_taken_count() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut queues = Queues::default();
        let mut note =
            |ms, waiting: &[u64]| queues.note("http", at(ms), waiting.iter().copied().collect());
        assert_eq!(note(0, &[]), None);
        assert_eq!(note(100, &[1, 2]), None);
        assert_eq!(note(200, &[1, 2, 3]), Some(Duration::from_millis(100)));
        assert_eq!(note(300, &[2, 3]), None, "one was taken");
        assert_eq!(note(400, &[2, 3, 4]), Some(Duration::from_millis(100)));
        assert_eq!(note(500, &[]), None);
        assert_eq!(note(600, &[]), None, "an empty queue is no fault");
    }
}
