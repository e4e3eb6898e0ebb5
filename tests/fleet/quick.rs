//! Worlds that take a moment even without optimisation: for the mutants, each
//! of which has to fail in one of them or in a story.

use std::time::Duration;

use crate::fleet::{Plan, Policy};
use crate::world::Budget;
use crate::worlds::asking;
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
fn an_upgrade_one_worker_that_is_not_well_twice() {
    explore(
        "quick: an upgrade, one worker that is not well, twice",
        policy(1),
        Budget {
            requests: 1,
            unwell: 2,
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

#[test]
fn a_canary_beside_one_or_two() {
    for workers in [1, 2] {
        explore(
            "quick: a canary, promote, abort",
            policy(workers),
            Budget {
                requests: 1,
                promotes: 1,
                aborts: 1,
                plan: Plan::Canary(1),
                ..Budget::default()
            },
        );
    }
}

#[test]
fn rolling_two_one_by_one() {
    explore(
        "quick: rolling, two workers one by one, a failure",
        policy(2),
        Budget {
            requests: 1,
            failures: 1,
            plan: Plan::Rolling(1),
            ..Budget::default()
        },
    );
}

#[test]
fn scaling_between_one_and_two() {
    explore(
        "quick: scaling between one and two, twice, a failure, an upgrade",
        policy(1),
        Budget {
            scales: 2,
            failures: 1,
            requests: 1,
            ..Budget::default()
        },
    );
}

#[test]
fn one_upgrade_that_is_asked_for_and_a_stop_with_a_delay() {
    explore(
        "quick: one upgrade that is asked for, two stops with a delay",
        Policy {
            drain_delay: Duration::from_secs(5),
            ..asking(1)
        },
        Budget {
            requests: 1,
            stops: 2,
            ..Budget::default()
        },
    );
}
