//! Every order of events on small worlds: the fleet against a world that may
//! do anything a real one may, with the invariants of the design asserted by
//! their names after every step.
//!
//! Beside them the stories, with a clock, in the same world; and a quick
//! selection (`quick::`) of the exhaustive worlds for the mutants.
//!
//! It includes the room's sources directly, so that it also proves that
//! `fleet` compiles alone; `tests/mutants.rs` compiles it the same way from
//! deliberately broken copies, each of which it must reject.

#![allow(dead_code, missing_docs)]

#[path = "../src/fleet/mod.rs"]
mod fleet;

#[path = "fleet/explorer.rs"]
mod explorer;
#[path = "fleet/holds.rs"]
mod holds;
#[path = "fleet/invariants.rs"]
mod invariants;
#[path = "fleet/kept.rs"]
mod kept;
#[path = "fleet/late.rs"]
mod late;
#[path = "fleet/pairs.rs"]
mod pairs;
#[path = "fleet/quick.rs"]
mod quick;
#[path = "fleet/service.rs"]
mod service;
#[path = "fleet/stories.rs"]
mod stories;
#[path = "fleet/tables.rs"]
mod tables;
#[path = "fleet/world.rs"]
mod world;
#[path = "fleet/worlds.rs"]
mod worlds;

use std::time::Duration;

use explorer::{Explorer, Report};
use fleet::Policy;
use world::{Budget, World};

fn policy(workers: u32) -> Policy {
    Policy {
        workers,
        watchdog: None,
        restart_delay: Duration::ZERO,
        ..Policy::default()
    }
}

fn explore(name: &str, policy: Policy, budget: Budget) -> Report {
    let report = Explorer::default().run(World::new(policy, budget));
    println!("{name}: {report}");
    assert!(
        report.finished > 0 || budget.stops == 0,
        "{name}: no order of events came to an end"
    );
    report
}

#[test]
fn two_upgrades_one_worker_every_failure() {
    explore(
        "two upgrades, one worker, two failures, a stop",
        policy(1),
        Budget {
            requests: 2,
            failures: 2,
            stops: 2,
            ..Budget::default()
        },
    );
}

#[test]
fn two_upgrades_two_workers_two_failures_anywhere() {
    explore(
        "two upgrades, two workers, two failures, a stop",
        policy(2),
        Budget {
            requests: 2,
            failures: 2,
            stops: 1,
            ..Budget::default()
        },
    );
}

#[test]
fn one_upgrade_two_workers_failures_abort_and_promote() {
    explore(
        "one upgrade, two workers, two failures, abort, promote, a stop",
        policy(2),
        Budget {
            requests: 1,
            failures: 2,
            aborts: 1,
            promotes: 1,
            stops: 1,
            ..Budget::default()
        },
    );
}

#[test]
fn aborts_and_promotes_meet_a_queued_upgrade() {
    explore(
        "two upgrades, one worker, abort, promote, one failure, a stop",
        policy(1),
        Budget {
            requests: 2,
            failures: 1,
            aborts: 1,
            promotes: 1,
            stops: 1,
            ..Budget::default()
        },
    );
}

#[test]
fn three_calls_join_queue_and_supersede() {
    explore(
        "three calls, one worker, no failure, a stop",
        policy(1),
        Budget {
            requests: 3,
            stops: 1,
            ..Budget::default()
        },
    );
}

#[test]
fn watchdogs_retries_and_few_draining_generations() {
    let strict = Policy {
        watchdog: Some(Duration::from_secs(5)),
        retries: 1,
        max_generations: 1,
        ..policy(1)
    };
    explore(
        "watchdog, one retry, one draining generation at most",
        strict,
        Budget {
            requests: 2,
            failures: 2,
            stops: 1,
            ..Budget::default()
        },
    );
}

#[test]
fn no_bake_at_all() {
    let hasty = Policy {
        bake: Duration::ZERO,
        ..policy(2)
    };
    explore(
        "no bake, two workers",
        hasty,
        Budget {
            requests: 2,
            failures: 1,
            stops: 1,
            ..Budget::default()
        },
    );
}
