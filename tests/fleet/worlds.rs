//! Exhaustive worlds of what changes the number of workers, or asks before it
//! goes on: canaries, rolling upgrades, scaling, hooks, a delayed stop.

use std::time::Duration;

use crate::fleet::{Plan, Policy};
use crate::pairs::Pairs;
use crate::world::Budget;
use crate::{explore, policy};

/// Everything that may be asked, is.
pub fn asking(workers: u32) -> Policy {
    Policy {
        prepare: true,
        approve: true,
        ..policy(workers)
    }
}

#[test]
fn a_canary_of_one_beside_two() {
    explore(
        "two calls, a canary of one beside two, one failure, abort, promote",
        Policy {
            canary_timeout: Duration::from_secs(60),
            ..policy(2)
        },
        Budget {
            requests: 2,
            failures: 1,
            aborts: 1,
            promotes: 1,
            plan: Plan::Canary(1),
            ..Budget::default()
        },
    );
}

#[test]
fn a_canary_two_failures_promoted_twice_a_stop() {
    explore(
        "a canary of one beside two, two failures, two promotes, a stop",
        policy(2),
        Budget {
            requests: 1,
            failures: 2,
            promotes: 2,
            stops: 1,
            plan: Plan::Canary(1),
            ..Budget::default()
        },
    );
}

#[test]
fn a_canary_of_more_than_all() {
    explore(
        "two calls, a canary of three beside one, two failures, promote, a retry",
        Policy {
            retries: 1,
            ..policy(1)
        },
        Budget {
            requests: 2,
            failures: 2,
            promotes: 1,
            aborts: 1,
            plan: Plan::Canary(3),
            ..Budget::default()
        },
    );
}

#[test]
fn rolling_two_one_by_one_two_failures() {
    explore(
        "rolling, two workers one by one, two failures, abort, a stop",
        policy(2),
        Budget {
            requests: 1,
            failures: 2,
            aborts: 1,
            stops: 1,
            plan: Plan::Rolling(1),
            ..Budget::default()
        },
    );
}

#[test]
fn rolling_three_one_by_one_a_failure() {
    explore(
        "rolling, three workers one by one, one failure, promote",
        policy(3),
        Budget {
            requests: 1,
            failures: 1,
            promotes: 1,
            plan: Plan::Rolling(1),
            ..Budget::default()
        },
    );
}

#[test]
fn rolling_without_a_bake_and_with_a_retry() {
    explore(
        "two calls, rolling two without a bake, one failure, one retry",
        Policy {
            bake: Duration::ZERO,
            retries: 1,
            ..policy(2)
        },
        Budget {
            requests: 2,
            failures: 1,
            plan: Plan::Rolling(1),
            ..Budget::default()
        },
    );
}

#[test]
fn one_worker_becomes_two_and_one_again() {
    explore(
        "scaling between one and two, three times, two failures, an upgrade, a stop",
        policy(1),
        Budget {
            scales: 3,
            requests: 1,
            failures: 2,
            stops: 1,
            ..Budget::default()
        },
    );
}

#[test]
fn scaling_meets_a_rolling_upgrade() {
    explore(
        "scaling between one and two, twice, rolling, two failures",
        policy(2),
        Budget {
            scales: 2,
            requests: 1,
            failures: 2,
            plan: Plan::Rolling(1),
            ..Budget::default()
        },
    );
}

#[test]
fn hooks_say_yes_and_no() {
    explore(
        "two upgrades that are asked for, one worker, two failures, abort, promote",
        asking(1),
        Budget {
            requests: 2,
            failures: 2,
            aborts: 1,
            promotes: 1,
            ..Budget::default()
        },
    );
}

#[test]
fn hooks_look_at_a_canary_and_at_a_batch() {
    for plan in [Plan::Canary(1), Plan::Rolling(1)] {
        explore(
            "one upgrade that is asked for, two workers in steps, one failure, promote",
            asking(2),
            Budget {
                requests: 1,
                failures: 1,
                promotes: 1,
                stops: 1,
                plan,
                ..Budget::default()
            },
        );
    }
}

#[test]
fn a_stop_waits_for_its_delay() {
    for plan in [Plan::Whole, Plan::Canary(1), Plan::Rolling(1)] {
        explore(
            "two stops with a delay, an upgrade, two workers, one failure",
            Policy {
                drain_delay: Duration::from_secs(5),
                ..policy(2)
            },
            Budget {
                requests: 1,
                failures: 1,
                promotes: 1,
                stops: 2,
                plan,
                ..Budget::default()
            },
        );
    }
}

#[test]
fn workers_that_are_not_well_are_replaced() {
    for (workers, budget) in [
        (
            1,
            Budget {
                unwell: 2,
                stops: 1,
                ..Budget::default()
            },
        ),
        (
            2,
            Budget {
                unwell: 2,
                failures: 1,
                ..Budget::default()
            },
        ),
        (
            2,
            Budget {
                unwell: 1,
                failures: 1,
                plan: Plan::Rolling(1),
                ..Budget::default()
            },
        ),
        (
            1,
            Budget {
                unwell: 1,
                failures: 1,
                promotes: 1,
                plan: Plan::Canary(1),
                ..Budget::default()
            },
        ),
        (
            1,
            Budget {
                unwell: 1,
                failures: 1,
                scales: 2,
                ..Budget::default()
            },
        ),
    ] {
        let requests = 1;
        explore(
            "an upgrade, one or two workers, some are not well",
            policy(workers),
            Budget { requests, ..budget },
        );
    }
}

#[test]
fn workers_that_may_have_accepted_are_late() {
    let two = Budget {
        failures: 2,
        ..Budget::default()
    };
    for (workers, budget) in [
        (
            1,
            Budget {
                unwell: 1,
                stops: 1,
                ..two
            },
        ),
        (1, Budget { scales: 1, ..two }),
        (
            2,
            Budget {
                failures: 1,
                plan: Plan::Rolling(1),
                ..two
            },
        ),
    ] {
        explore(
            "an upgrade, workers that are late where they may have accepted",
            Policy {
                unready_timeout: None,
                drain_delay: Duration::from_secs(5),
                ..policy(workers)
            },
            Budget {
                requests: 1,
                ..budget
            },
        );
    }
}

#[test]
fn workers_that_are_not_well_in_a_stop_that_waits() {
    explore(
        "two stops with a delay, an upgrade, one worker, two that are not well",
        Policy {
            drain_delay: Duration::from_secs(5),
            ..policy(1)
        },
        Budget {
            requests: 1,
            unwell: 2,
            stops: 2,
            ..Budget::default()
        },
    );
}

#[test]
fn every_pair_of_the_tables_is_reached() {
    let watched = Policy {
        watchdog: Some(Duration::from_secs(5)),
        canary_timeout: Duration::from_secs(60),
        ..asking(1)
    };
    let busy = Budget {
        requests: 2,
        failures: 1,
        aborts: 1,
        promotes: 1,
        late_news: true,
        ..Budget::default()
    };
    let mut pairs = Pairs::default();
    let mut visit = |name, policy, budget| pairs.join(&explore(name, policy, budget).pairs);
    let calm = Policy {
        prepare: false,
        approve: false,
        ..watched
    };
    visit("late news, whole", calm, Budget { stops: 1, ..busy });
    let one = Budget {
        requests: 1,
        scales: 1,
        ..busy
    };
    visit("late news, asking", watched, one);
    let calls = Budget {
        failures: 0,
        aborts: 0,
        promotes: 0,
        ..busy
    };
    visit("late news, two calls, asking", watched, calls);
    let scales = Budget {
        requests: 1,
        scales: 2,
        ..calls
    };
    visit("late news, scaling", calm, scales);
    let unwell = Budget {
        requests: 0,
        unwell: 1,
        ..calls
    };
    visit("late news, not well", calm, unwell);
    let plan = Plan::Canary(1);
    visit("late news, canary", calm, Budget { plan, ..busy });
    visit(
        "late news, a canary, scaling",
        calm,
        Budget { plan, ..scales },
    );
    let plan = Plan::Rolling(1);
    let two = Policy { workers: 2, ..calm };
    let rolling = Budget {
        plan,
        failures: 0,
        ..busy
    };
    visit("late news, rolling", two, rolling);
    visit(
        "late news, rolling, scaling",
        two,
        Budget { plan, ..scales },
    );
    let missing = pairs.unreached();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}
