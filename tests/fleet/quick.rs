//! Worlds that take a moment even without optimisation: for the mutants, each
//! of which has to fail in one of them or in a story.

use std::time::Duration;

use crate::fleet::Policy;
use crate::world::Budget;
use crate::{explore, policy};

#[test]
fn one_upgrade_two_workers_a_failure() {
    explore(
        "quick: one upgrade, two workers, one failure",
        policy(2),
        Budget {
            requests: 1,
            failures: 1,
            ..Budget::default()
        },
    );
}

#[test]
fn one_upgrade_one_worker_two_failures_a_stop() {
    explore(
        "quick: one upgrade, one worker, two failures, a stop",
        Policy {
            watchdog: Some(Duration::from_secs(5)),
            ..policy(1)
        },
        Budget {
            requests: 1,
            failures: 2,
            stops: 1,
            ..Budget::default()
        },
    );
}

#[test]
fn two_upgrades_with_one_draining_generation_and_a_retry() {
    explore(
        "quick: two upgrades, one draining generation at most, one retry",
        Policy {
            max_generations: 1,
            retries: 1,
            ..policy(1)
        },
        Budget {
            requests: 2,
            failures: 1,
            ..Budget::default()
        },
    );
}

#[test]
fn an_upgrade_an_abort_a_promote_and_late_news() {
    explore(
        "quick: one upgrade, abort, promote, one failure, late news",
        policy(1),
        Budget {
            requests: 1,
            failures: 1,
            aborts: 1,
            promotes: 1,
            late_news: true,
            ..Budget::default()
        },
    );
}

#[test]
fn two_stops_at_any_moment() {
    explore(
        "quick: two workers, two stops",
        policy(2),
        Budget {
            stops: 2,
            failures: 1,
            ..Budget::default()
        },
    );
}
