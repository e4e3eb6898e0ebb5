//! PURE: how often to look.

use std::time::Duration;

/// The interval between rounds of looks.
///
/// A round over all starting workers costs processor time; the interval after it is at
/// least fifty times as long, so that observing takes at most 2 % of one core. It is never
/// shorter than 2 ms and never longer than 100 ms: where even then a whole round would
/// cost more than its share, a round covers only a part of the workers.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// What one worker's look costs, as lately measured.
    per_worker: Duration,
}

/// When to look next, and at how many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// How long to wait from the end of the last round.
    pub after: Duration,
    /// How many workers to look at, going on after the last one looked at; at least 1.
    pub workers: usize,
}

/// 2 % is one part in fifty.
const SHARE: u32 = 50;

impl Schedule {
    /// The shortest interval.
    pub const SHORTEST: Duration = Duration::from_millis(2);
    /// The longest interval.
    pub const LONGEST: Duration = Duration::from_millis(100);

    /// A schedule that knows no cost yet.
    pub fn new() -> Self {
        Self {
            per_worker: Duration::ZERO,
        }
    }

    /// The interval after a round that cost `cost` of processor time.
    pub fn interval(cost: Duration) -> Duration {
        cost.saturating_mul(SHARE)
            .clamp(Self::SHORTEST, Self::LONGEST)
    }

    /// The turn after a round of looks at `looked` workers that cost `cost`, while `starting`
    /// are to be observed.
    pub fn next(&mut self, cost: Duration, looked: usize, starting: usize) -> Turn {
        if let Ok(count @ 1..) = u32::try_from(looked) {
            let each = cost / count;
            // Dearer at once, cheaper by and by: one cheap look promises nothing.
            self.per_worker = if each > self.per_worker {
                each
            } else {
                (self.per_worker.saturating_mul(3) + each) / 4
            };
        }
        let most = Self::LONGEST / SHARE;
        let fit = most.as_nanos() / self.per_worker.as_nanos().max(1);
        let workers = usize::try_from(fit)
            .unwrap_or(usize::MAX)
            .min(starting)
            .max(1);
        Turn {
            after: Self::interval(cost),
            workers,
        }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cheap_rounds_come_every_two_milliseconds() {
        let mut schedule = Schedule::new();
        let turn = schedule.next(Duration::from_micros(40), 1, 1);
        assert_eq!(
            turn,
            Turn {
                after: Duration::from_millis(2),
                workers: 1
            }
        );
        let turn = schedule.next(Duration::from_micros(200), 2, 2);
        assert_eq!(
            turn,
            Turn {
                after: Duration::from_millis(10),
                workers: 2
            }
        );
    }

    #[test]
    fn a_thousand_workers_are_looked_at_in_parts() {
        let mut schedule = Schedule::new();
        let turn = schedule.next(Duration::from_millis(20), 1000, 1000);
        assert_eq!(
            turn,
            Turn {
                after: Duration::from_millis(100),
                workers: 100
            }
        );
        let turn = schedule.next(Duration::from_millis(2), 100, 1000);
        assert_eq!(
            turn,
            Turn {
                after: Duration::from_millis(100),
                workers: 100
            }
        );
    }

    #[test]
    fn one_dear_round_is_forgotten() {
        let mut schedule = Schedule::new();
        assert_eq!(schedule.next(Duration::from_secs(1), 4, 4).workers, 1);
        let cheap = |_| schedule.next(Duration::from_micros(40), 4, 4);
        assert_eq!((0..40).map(cheap).last().map(|turn| turn.workers), Some(4));
    }

    proptest! {
        #[test]
        fn the_share_and_the_bounds_hold(micros in 0_u64..10_000_000, looked in 0_usize..5000) {
            let cost = Duration::from_micros(micros);
            let turn = Schedule::new().next(cost, looked, looked);
            prop_assert!(turn.after >= Schedule::SHORTEST && turn.after <= Schedule::LONGEST);
            prop_assert!(turn.workers >= 1);
            if turn.after < Schedule::LONGEST {
                prop_assert!(cost * 50 <= turn.after);
            }
        }

        #[test]
        fn a_dearer_round_never_shortens_the_wait(a in 0_u64..5_000, b in 0_u64..5_000) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(
                Schedule::interval(Duration::from_micros(low))
                    <= Schedule::interval(Duration::from_micros(high))
            );
        }

        /// Any number of workers, any steady price up to 2 ms a look: after the first rounds
        /// observing stays within 2 % of a core.
        #[test]
        fn steady_prices_cost_two_percent(each_us in 1_u32..2_000, starting in 1_usize..2_000) {
            let each = Duration::from_micros(each_us.into());
            let mut schedule = Schedule::new();
            let mut turn = schedule.next(each, 1, starting);
            let (mut spent, mut passed) = (Duration::ZERO, Duration::ZERO);
            for _ in 0..50 {
                let cost = each * u32::try_from(turn.workers).expect("bounded by starting");
                let looked = turn.workers;
                turn = schedule.next(cost, looked, starting);
                spent += cost;
                passed += turn.after;
            }
            prop_assert!(spent * 50 <= passed, "{spent:?} of {passed:?}");
        }
    }
}
