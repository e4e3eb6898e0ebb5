//! PURE: how often to look.

use std::time::{Duration, Instant};

/// The interval between rounds of looks.
///
/// Observing has a budget of processor time that fills by one part in 64 of the time that
/// passes, up to 4 ms, and a round is not begun before the budget covers it. So a worker
/// that starts quickly is looked at every 2 ms, and in any second observing all starting workers takes at most 2 % of
/// one core. The interval is never longer than 100 ms: where even then a whole round
/// would cost more than its share, a round covers only a part of the workers (and a look
/// only a part of a worker's threads).
#[derive(Debug, Clone)]
pub struct Schedule {
    /// What one worker's look costs, as lately measured.
    per_worker: Duration,
    /// The budget in nanoseconds, below zero while a dear round is paid for.
    budget_ns: i64,
    /// When it was counted last.
    counted: Option<Instant>,
}

/// When to look next, and at how many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// How long to wait from the end of the last round.
    pub after: Duration,
    /// How many workers to look at, going on after the last one looked at; at least 1.
    pub workers: usize,
}

/// What fills the budget: less than the 2 % that are promised, because the loop around the
/// looks costs something too.
const SHARE: u32 = 64;

/// What can be saved up: 1/64 and this, in one second, are less than 2 %.
const SAVED_MAX: Duration = Duration::from_millis(4);

impl Schedule {
    /// The shortest interval.
    pub const SHORTEST: Duration = Duration::from_millis(2);
    /// The longest interval.
    pub const LONGEST: Duration = Duration::from_millis(100);

    /// A schedule that knows no cost yet, with a full budget.
    pub fn new() -> Self {
        Self {
            per_worker: Duration::ZERO,
            budget_ns: nanoseconds(SAVED_MAX),
            counted: None,
        }
    }

    /// The turn after a round of looks at `looked` workers that ended `now` and cost `cost` of
    /// processor time, while `starting` are to be observed.
    pub fn next(&mut self, now: Instant, cost: Duration, looked: usize, starting: usize) -> Turn {
        if let Ok(count @ 1..) = u32::try_from(looked) {
            let each = cost / count;
            // Dearer at once, cheaper by and by: one cheap look promises nothing.
            self.per_worker = if each > self.per_worker {
                each
            } else {
                (self.per_worker.saturating_mul(3) + each) / 4
            };
        }
        let passed = self
            .counted
            .map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
        self.counted = Some(now);
        // A debt is never more than the longest interval pays off.
        let most = Self::LONGEST / SHARE;
        self.budget_ns = self
            .budget_ns
            .saturating_add(nanoseconds(passed / SHARE))
            .min(nanoseconds(SAVED_MAX))
            .saturating_sub(nanoseconds(cost))
            .max(-nanoseconds(most));
        let fit = most.as_nanos() / self.per_worker.as_nanos().max(1);
        let workers = usize::try_from(fit)
            .unwrap_or(usize::MAX)
            .min(starting)
            .max(1);
        let round = self
            .per_worker
            .saturating_mul(u32::try_from(workers).unwrap_or(u32::MAX));
        let missing = nanoseconds(round).saturating_sub(self.budget_ns).max(0);
        let after = Duration::from_nanos(missing.unsigned_abs())
            .saturating_mul(SHARE)
            .clamp(Self::SHORTEST, Self::LONGEST);
        Turn { after, workers }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new()
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rounds of a steady price, one after the other; says how long they took, what they
    /// cost, and what the next one is.
    fn rounds(
        schedule: &mut Schedule,
        each: Duration,
        starting: usize,
        count: u32,
    ) -> (Duration, Duration, Turn) {
        let mut turn = Turn {
            after: Duration::ZERO,
            workers: 1,
        };
        let start = Instant::now();
        let (mut now, mut spent) = (start, Duration::ZERO);
        for _ in 0..count {
            let cost = each * u32::try_from(turn.workers).expect("bounded by starting");
            turn = schedule.next(now, cost, turn.workers, starting);
            spent += cost;
            now += turn.after;
        }
        (now - start, spent, turn)
    }

    #[test]
    fn a_worker_that_starts_quickly_is_looked_at_every_two_milliseconds() {
        let mut schedule = Schedule::new();
        let (took, _, turn) = rounds(&mut schedule, Duration::from_micros(100), 1, 30);
        assert_eq!(turn.after, Schedule::SHORTEST);
        assert_eq!(took, Schedule::SHORTEST * 30);
    }

    #[test]
    fn one_that_takes_long_is_looked_at_within_the_share() {
        let mut schedule = Schedule::new();
        let each = Duration::from_micros(100);
        let (_, _, turn) = rounds(&mut schedule, each, 1, 1000);
        assert_eq!(turn.after, each * SHARE);
    }

    #[test]
    fn a_thousand_workers_are_looked_at_in_parts() {
        let mut schedule = Schedule::new();
        let (_, _, turn) = rounds(&mut schedule, Duration::from_micros(20), 1000, 100);
        assert_eq!(turn.workers, 78);
        assert!(turn.after > Duration::from_millis(99), "{turn:?}");
    }

    #[test]
    fn one_dear_round_is_forgotten() {
        let mut schedule = Schedule::new();
        let start = Instant::now();
        let dear = schedule.next(start, Duration::from_secs(1), 4, 4);
        assert_eq!((dear.workers, dear.after), (1, Schedule::LONGEST));
        let (_, _, turn) = rounds(&mut schedule, Duration::from_micros(10), 4, 100);
        assert_eq!(turn.workers, 4);
    }

    proptest! {
        #[test]
        fn the_bounds_hold(micros in 0_u64..10_000_000, looked in 0_usize..5000) {
            let cost = Duration::from_micros(micros);
            let turn = Schedule::new().next(Instant::now(), cost, looked, looked);
            prop_assert!(turn.after >= Schedule::SHORTEST && turn.after <= Schedule::LONGEST);
            prop_assert!(turn.workers >= 1);
        }

        /// Any number of workers, any steady price up to 2 ms a look: over seconds
        /// observing stays within 2 % of a core, and over any time within that and what was saved.
        #[test]
        fn steady_prices_cost_two_percent(
            each_us in 1_u32..2_000,
            starting in 1_usize..2_000,
            count in 1_u32..200,
        ) {
            let each = Duration::from_micros(each_us.into());
            let (took, spent, _) = rounds(&mut Schedule::new(), each, starting, count);
            prop_assert!(spent <= took / 50 + SAVED_MAX, "{spent:?} of {took:?}");
        }
    }
}
