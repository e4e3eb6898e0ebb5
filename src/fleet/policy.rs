//! The numbers that the rules use; all of them come from the configuration.

use std::time::Duration;

/// Counts and times; see the configuration keys of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Workers of a generation that begins, at least 1.
    pub workers: u32,
    /// How long a worker may take to become ready.
    pub ready_timeout: Duration,
    /// How long a new generation is watched beside the old one.
    pub bake: Duration,
    /// How long a canary stands before it is aborted; zero: for as long as
    /// nobody says anything.
    pub canary_timeout: Duration,
    /// Ask before a generation starts ([`super::Effect::Prepare`]); not the first.
    pub prepare: bool,
    /// Ask when its first workers are ready ([`super::Effect::Approve`]); not the first.
    pub approve: bool,
    /// How often a failed generation is tried again.
    pub retries: u32,
    /// How long everything serves on after a stop was asked for.
    pub drain_delay: Duration,
    /// How long an old generation may take to finish.
    pub drain_timeout: Duration,
    /// How long a worker that was never ready may take to end. None where it may
    /// have accepted something all the same: then as long as one that was.
    pub unready_timeout: Option<Duration>,
    /// How long a killed process may take to vanish.
    pub kill_after: Duration,
    /// How many generations may drain at once.
    pub max_generations: u32,
    /// The first respawn waits at most this long; each further one in a row
    /// at most twice the one before.
    pub restart_delay: Duration,
    /// No respawn waits longer.
    pub restart_max_delay: Duration,
    /// A worker that stays ready for this long is no longer in a crash loop.
    pub settled_after: Duration,
    /// A ready worker that says nothing for this long is replaced.
    pub watchdog: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            workers: 1,
            ready_timeout: Duration::from_secs(30),
            bake: Duration::from_secs(1),
            canary_timeout: Duration::ZERO,
            prepare: false,
            approve: false,
            retries: 0,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(20),
            unready_timeout: Some(Duration::from_secs(5)),
            kill_after: Duration::from_secs(5),
            max_generations: 4,
            restart_delay: Duration::from_millis(100),
            restart_max_delay: Duration::from_secs(30),
            settled_after: Duration::from_secs(10),
            watchdog: None,
        }
    }
}

impl Policy {
    /// Never longer than for one that was ready.
    pub(super) fn patience_unready(&self) -> Duration {
        let whole = self.drain_timeout;
        self.unready_timeout.map_or(whole, |less| less.min(whole))
    }
}

/// After so many losses in a row a crash loop is told.
pub(super) const CRASH_LOOP: u32 = 5;

/// How long to wait before a worker is started for the `attempt`-th time in a
/// row (from 1): exponential with full jitter, so that many workers that died
/// together do not come back together. `dice` is any number; equal numbers
/// give equal delays.
pub(super) fn respawn_delay(policy: &Policy, attempt: u32, dice: u64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(20);
    let ceiling = policy
        .restart_delay
        .saturating_mul(1 << doublings)
        .min(policy.restart_max_delay);
    let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(mix(dice) % micros.saturating_add(1))
}

/// SplitMix64's finisher: spreads neighbouring numbers over all 64 bits.
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_stay_below_the_ceiling_and_differ() {
        let policy = Policy::default();
        let mut seen = std::collections::BTreeSet::new();
        for attempt in 1..60 {
            for dice in 0..50 {
                let delay = respawn_delay(&policy, attempt, dice);
                assert!(delay <= policy.restart_max_delay);
                assert!(attempt > 1 || delay <= policy.restart_delay);
                seen.insert(delay);
            }
        }
        assert!(seen.len() > 400, "the jitter hardly varies");
        let longest = (0..50).map(|dice| respawn_delay(&policy, 30, dice)).max();
        assert!(longest > Some(policy.restart_max_delay / 2));
    }

    #[test]
    fn no_delay_asked_for_is_no_delay() {
        let policy = Policy {
            restart_delay: Duration::ZERO,
            ..Policy::default()
        };
        assert_eq!(respawn_delay(&policy, 9, 7), Duration::ZERO);
    }
}
