//! A fleet that is killed after any event is read back as it was.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{Found, Mirror, Table, saved};
use crate::fleet::{
    Ending, Event, Fault, Fleet, Kind, OperationId, Plan, Policy, ReleaseId, Request, Scale, Timer,
    WorkerId,
};
use crate::journal::Journal;

/// What happens next, as numbers: what, to whom, and what else.
type Step = (u8, u8, u8);

/// Anything may happen to anybody, in any order.
fn event(fleet: &Fleet, (what, whom, more): Step) -> Option<Event> {
    let workers: Vec<WorkerId> = fleet
        .generations()
        .flat_map(|generation| generation.workers().map(|(id, _)| id))
        .collect();
    let worker = workers
        .get(usize::from(whom) % workers.len().max(1))
        .copied();
    let generations: Vec<u32> = fleet.generations().map(|held| held.number).collect();
    let number = generations
        .get(usize::from(whom) % generations.len().max(1))
        .copied();
    let timers: Vec<Timer> = fleet.timers().collect();
    let timer = timers.get(usize::from(whom) % timers.len().max(1)).copied();
    let operation = OperationId(u64::from(whom) << 8 | u64::from(more));
    let kind = match more % 4 {
        0 => Kind::Upgrade,
        1 => Kind::Reload,
        2 => Kind::Rollback { to: 1 },
        _ => Kind::Renew,
    };
    let plan = match whom % 3 {
        0 => Plan::Whole,
        1 => Plan::Canary(1),
        _ => Plan::Rolling(1 + u32::from(more % 2)),
    };
    let faults = [
        Fault::Unfit,
        Fault::QueueNotTaken,
        Fault::Stopped,
        Fault::Unanswered,
        Fault::Unhealthy,
        Fault::HookFailed,
    ];
    let fault = faults[usize::from(more) % faults.len()];
    let ending = if more % 5 == 0 {
        Ending::NotStarted
    } else {
        Ending::Ended
    };
    Some(match what {
        0..30 => Event::Request(Request {
            operation,
            release: ReleaseId(u32::from(more % 3)),
            fixed: more % 2 == 0,
            kind,
            plan,
        }),
        30..110 => Event::Ready(worker?),
        110..135 => Event::Exited(worker?, ending),
        135..150 => Event::Fault(worker?, fault),
        150..160 => Event::Prepared(number?),
        160..170 => Event::Approved(number?),
        170..175 => Event::Against(number?, fault),
        175..180 => Event::Promote(operation),
        180..185 => Event::Abort(operation),
        185..195 => Event::Scale {
            operation,
            to: Scale::To(1 + u32::from(more % 4)),
        },
        195..197 => Event::Stop {
            operation: (more % 2 == 0).then_some(operation),
            now: more % 4 == 1,
        },
        197..200 => Event::Ping(worker?),
        200..203 => Event::Extend(worker?, Duration::from_secs(more.into())),
        _ => Event::Due(timer?),
    })
}

fn policy(workers: u32, gates: u8) -> Policy {
    Policy {
        workers,
        prepare: gates & 1 != 0,
        approve: gates & 2 != 0,
        retries: u32::from(gates & 4 != 0),
        watchdog: (gates & 8 != 0).then_some(Duration::from_secs(5)),
        drain_delay: Duration::from_secs(u64::from(gates & 16)),
        canary_timeout: Duration::from_secs(u64::from(gates & 32)),
        ..Policy::default()
    }
}

/// What is in the table is the fleet, but for the timers of watchdogs.
fn check(table: &Table, fleet: &Fleet) {
    let saved = saved(table).expect("readable").expect("a fleet");
    assert_eq!(saved.core, fleet.core());
    assert!(saved.generations.iter().eq(fleet.generations()));
    let mut deadlines = saved.deadlines;
    deadlines.sort_unstable();
    let watchdog = |timer: &Timer| matches!(timer, Timer::Watchdog(_));
    let kept = fleet.deadlines().filter(|(timer, _)| !watchdog(timer));
    assert!(deadlines.iter().copied().eq(kept));
}

proptest! {
    #[test]
    fn a_fleet_is_read_back_as_it_was_after_any_event(
        steps in proptest::collection::vec(any::<Step>(), 1..120),
        (workers, gates) in (1u32..4, any::<u8>()),
    ) {
        let (_directory, path) = super::place();
        let mut fleet = Fleet::new(policy(workers, gates), 7);
        let mut mirror = Mirror::default();
        let mut journal = Journal::begin(&path, Table::default()).expect("begins");
        for (step, number) in steps.into_iter().zip(1u64..) {
            let Some(event) = event(&fleet, step) else { continue };
            fleet.handle(Duration::from_millis(number * 10), event);
            mirror.follow(&fleet, journal.table());
            check(journal.table(), &fleet);
            journal.commit().expect("writes");
        }
        if let Some(Found { table, .. }) = Journal::read(&path).expect("readable")
            && fleet.core() != Fleet::new(policy(workers, gates), 7).core()
        {
            check(&table, &fleet);
        }
    }
}
