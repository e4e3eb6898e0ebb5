//! Which workers are asked whether they serve, when, and how often they failed in a row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Health, Probe};
use crate::fleet::WorkerId;
use crate::process::Child;

/// Between two probes of a worker that is not ready: the first pause, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What all probes that are under way may weigh together. One by `http:` is a connection, one by `exec:` two processes.
const WEIGHT_MAX: u32 = 256;
const HTTP_WEIGHT: u32 = 1;
const EXEC_WEIGHT: u32 = 16;

/// What a bake's shorter interval may not fall below, for each worker of the generation: so all of them together take
/// some hundredths of a core.
const HTTP_SHARE: Duration = Duration::from_millis(2);
const EXEC_SHARE: Duration = Duration::from_millis(50);
/// The same for a single worker.
const BAKE_INTERVAL_MIN: Duration = Duration::from_millis(20);

/// What a worker is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// `ready.on` is a probe.
    Ready,
    /// Another sign says that it is ready; its health check has to agree. The sign.
    Proof(String),
    /// It is ready, and is asked ever after.
    Health,
}

/// One worker that is asked.
pub(super) struct Asked {
    pub(super) purpose: Purpose,
    /// When it began to be asked for this.
    since: Instant,
    /// None while a probe is under way.
    due: Option<Instant>,
    /// Which probe it is.
    serial: u64,
    weight: u32,
    /// The process of a probe by `exec:` that is under way.
    errand: Option<Arc<Child>>,
    /// How many failed in a row.
    pub(super) failures: u32,
    pause: Duration,
}

/// All of them.
#[derive(Default)]
pub(super) struct Probing {
    asked: BTreeMap<WorkerId, Asked>,
    due: BTreeSet<(Instant, WorkerId)>,
    weight: u32,
    serial: u64,
    /// After whom the next look goes on, and when it is.
    pub(super) astray: Option<(Instant, Option<WorkerId>)>,
}

impl Probing {
    /// Asks it for this from now on. One that is asked for it already is left as it is.
    pub(super) fn begin(&mut self, id: WorkerId, purpose: Purpose, now: Instant) {
        let same = |asked: &Asked| {
            std::mem::discriminant(&asked.purpose) == std::mem::discriminant(&purpose)
        };
        if self.asked.get(&id).is_some_and(same) {
            return;
        }
        self.forget(id);
        let asked = Asked {
            purpose,
            since: now,
            due: Some(now),
            serial: 0,
            weight: 0,
            errand: None,
            failures: 0,
            pause: PAUSE_MIN,
        };
        self.due.insert((now, id));
        self.asked.insert(id, asked);
    }

    /// Asks it no more. A process that was asking is killed with its group.
    pub(super) fn forget(&mut self, id: WorkerId) {
        let Some(asked) = self.asked.remove(&id) else {
            return;
        };
        if let Some(due) = asked.due {
            self.due.remove(&(due, id));
        }
        if let Some(child) = asked.errand {
            // It may have ended by itself; then its end is on its way.
            child.kill();
        }
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Asked> {
        self.asked.get(&id)
    }

    /// When somebody is to be asked, as far as there is room for it.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let room = self.weight + EXEC_WEIGHT <= WEIGHT_MAX;
        let due = self.due.first().map(|(due, _)| *due);
        let astray = self.astray.map(|(at, _)| at);
        due.filter(|_| room).into_iter().chain(astray).min()
    }

    /// Who is to be asked now.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<WorkerId> {
        let room = self.weight + EXEC_WEIGHT <= WEIGHT_MAX;
        let (due, id) = *self.due.first().filter(|(due, _)| *due <= now && room)?;
        self.due.remove(&(due, id));
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.due = None;
        }
        Some(id)
    }

    /// A probe of it is under way; the number tells its result from that of an earlier one.
    pub(super) fn started(
        &mut self,
        id: WorkerId,
        probe: &Probe,
        child: Option<Arc<Child>>,
    ) -> u64 {
        self.serial += 1;
        let weight = weight_of(probe);
        self.weight += weight;
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.serial = self.serial;
            asked.weight = weight;
            asked.errand = child;
        }
        self.serial
    }

    /// A probe came to its end, whoever it was for.
    pub(super) fn ended(&mut self, probe: &Probe) {
        self.weight = self.weight.saturating_sub(weight_of(probe));
    }

    /// The worker whose probe this was, if it still is asked for the same.
    pub(super) fn of(&mut self, id: WorkerId, serial: u64) -> Option<&mut Asked> {
        let asked = self.asked.get_mut(&id)?;
        (asked.serial == serial && asked.due.is_none()).then(|| {
            asked.errand = None;
            asked
        })
    }

    /// The next probe of a worker that is not ready yet.
    pub(super) fn again(&mut self, id: WorkerId, now: Instant) {
        let Some(asked) = self.asked.get_mut(&id) else {
            return;
        };
        let pause = asked.pause;
        asked.pause = (pause * 3 / 2).min(PAUSE_MAX);
        self.set_due(id, now + pause);
    }

    /// The next probe of a ready worker, an `interval` after this one began.
    pub(super) fn later(&mut self, id: WorkerId, began: Instant, interval: Duration, now: Instant) {
        // A tenth more or less, so that those who were started together do not stay together.
        let at = began + interval.mul_f64(0.9 + 0.2 * self.dice());
        self.set_due(id, at.max(now));
    }

    /// The second probe of workers that became ready together is where they part.
    pub(super) fn spread(&mut self, id: WorkerId, interval: Duration, now: Instant) {
        let at = now + interval.mul_f64(0.1 + 0.9 * self.dice());
        self.set_due(id, at);
    }

    /// Workers of a generation that begins to bake are asked within this interval.
    pub(super) fn hasten(&mut self, ids: &[WorkerId], interval: Duration, now: Instant) {
        for id in ids {
            let waits = |asked: &&Asked| asked.purpose == Purpose::Health && asked.due.is_some();
            if self.asked.get(id).filter(waits).is_some() {
                let at = now + interval.mul_f64(self.dice());
                self.set_due(*id, at);
            }
        }
    }

    /// Those that are not ready, after this one.
    pub(super) fn next_unready(&self, after: Option<WorkerId>) -> Option<WorkerId> {
        let unready = |(_, asked): &(&WorkerId, &Asked)| asked.purpose == Purpose::Ready;
        let mut all = self.asked.iter().filter(unready).map(|(id, _)| *id);
        let first = all.clone().next();
        all.find(|id| after.is_none_or(|after| *id > after))
            .or(first)
    }

    fn set_due(&mut self, id: WorkerId, at: Instant) {
        let Some(asked) = self.asked.get_mut(&id) else {
            return;
        };
        if let Some(before) = asked.due.replace(at) {
            self.due.remove(&(before, id));
        }
        self.due.insert((at, id));
    }

    /// From 0 to 1: SplitMix64's finisher over a count. It spreads; nobody has to be unable to guess it.
    fn dice(&mut self) -> f64 {
        self.serial += 1;
        let mut z = self.serial.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Asked {
    /// One more failed in a row.
    pub(super) fn fail(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// For how long it has been asked for the same.
    pub(super) fn asked_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

fn weight_of(probe: &Probe) -> u32 {
    match probe {
        Probe::Http(_) => HTTP_WEIGHT,
        Probe::Exec(_) => EXEC_WEIGHT,
    }
}

/// How often a worker is asked while its generation of `workers` bakes: so often that `health.failures` fit into the
/// bake, and not more often than a machine bears.
pub(super) fn bake_interval(health: &Health, bake: Duration, workers: usize) -> Duration {
    let share = match health.check {
        Some(Probe::Exec(_)) => EXEC_SHARE,
        _ => HTTP_SHARE,
    };
    let workers = u32::try_from(workers).unwrap_or(u32::MAX);
    let least = share.saturating_mul(workers).max(BAKE_INTERVAL_MIN);
    (bake / health.failures.saturating_add(1))
        .max(least)
        .min(health.interval)
}

/// How long a worker that gave the sign of readiness may fail its health check: as long as a ready one may.
pub(super) fn patience(health: &Health) -> Duration {
    health.interval.saturating_mul(health.failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(slot: u32) -> WorkerId {
        WorkerId {
            generation: 1,
            slot,
            life: 0,
        }
    }

    fn http() -> Probe {
        Probe::Http("/".to_owned())
    }

    fn health(failures: u32) -> Health {
        Health {
            check: Some(http()),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            failures,
        }
    }

    #[test]
    fn workers_that_became_ready_together_are_not_asked_together() {
        let start = Instant::now();
        let mut probing = Probing::default();
        let interval = Duration::from_secs(5);
        for slot in 0..1000 {
            probing.begin(worker(slot), Purpose::Health, start);
        }
        for _ in 0..1000 {
            let id = probing.pop_due(start).expect("all at once");
            let serial = probing.started(id, &http(), None);
            probing.ended(&http());
            assert!(probing.of(id, serial).is_some());
            probing.spread(id, interval, start);
        }
        // Three rounds later no tenth of a second has more than twice its share.
        let mut counts: BTreeMap<u128, u32> = BTreeMap::new();
        while let Some(due) = probing.next_due().filter(|due| *due < start + interval * 4) {
            let id = probing.pop_due(due).expect("it is due");
            let serial = probing.started(id, &http(), None);
            probing.ended(&http());
            assert!(probing.of(id, serial).is_some());
            *counts.entry((due - start).as_millis() / 100).or_default() += 1;
            probing.later(id, due, interval, due);
        }
        let last = counts.range(150..199);
        let worst = last.clone().map(|(_, count)| *count).max();
        assert!(worst <= Some(45), "{counts:?}");
        assert!(
            last.map(|(_, count)| *count).sum::<u32>() > 900,
            "{counts:?}"
        );
    }

    #[test]
    fn only_so_many_are_asked_at_once_and_then_nobody_is_due() {
        let start = Instant::now();
        let mut probing = Probing::default();
        for slot in 0..1000 {
            probing.begin(worker(slot), Purpose::Ready, start);
        }
        let mut running = Vec::new();
        while let Some(id) = probing.pop_due(start) {
            running.push((id, probing.started(id, &http(), None)));
        }
        assert!((200..=256).contains(&running.len()), "{}", running.len());
        assert_eq!(probing.next_due(), None, "the loop may sleep");
        let (id, serial) = running[0];
        probing.ended(&http());
        assert!(probing.of(id, serial).is_some());
        probing.again(id, start);
        assert!(probing.pop_due(start).is_some_and(|next| next != id));
    }

    #[test]
    fn the_result_of_an_earlier_probe_is_nobodys() {
        let start = Instant::now();
        let mut probing = Probing::default();
        probing.begin(worker(0), Purpose::Ready, start);
        let id = probing.pop_due(start).expect("it is due");
        let serial = probing.started(id, &http(), None);
        // Meanwhile it became ready by itself.
        probing.begin(id, Purpose::Health, start);
        assert!(probing.of(id, serial).is_none());
        probing.forget(id);
        assert!(probing.of(id, serial).is_none() && probing.next_due().is_none());
    }

    #[test]
    fn who_is_not_ready_is_asked_ever_more_seldom() {
        let start = Instant::now();
        let mut probing = Probing::default();
        probing.begin(worker(0), Purpose::Ready, start);
        let mut pauses = Vec::new();
        let mut now = start;
        for _ in 0..10 {
            let id = probing.pop_due(now).expect("it is due");
            probing.started(id, &http(), None);
            probing.ended(&http());
            probing.again(id, now);
            let next = probing.next_due().expect("it waits");
            pauses.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(pauses[..3], [100, 150, 225]);
        assert_eq!(pauses[8..], [1000, 1000]);
    }

    #[test]
    fn all_failures_fit_into_a_bake() {
        let second = Duration::from_secs(1);
        assert_eq!(bake_interval(&health(3), second, 1), second / 4);
        assert_eq!(bake_interval(&health(3), second * 60, 1), second * 5);
        assert_eq!(bake_interval(&health(99), second, 1), second / 50);
        // A thousand workers are asked five hundred times a second at most.
        assert_eq!(bake_interval(&health(3), second, 1000), second * 2);
    }
}
