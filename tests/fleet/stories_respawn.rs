//! Workers that are lost in the active generation, and come again.

use std::time::Duration;

use crate::fleet::{Effect, Fault, Note, Outcome, Policy, ReleaseId};
use crate::service::{Service, life, secs, worker};
use crate::world::Action;

use super::{Cause, policy};

fn watched() -> Policy {
    Policy {
        watchdog: Some(secs(3)),
        ..policy(1)
    }
}

#[test]
fn f18_a_lost_worker_comes_again_and_the_others_serve_on() {
    let mut service = Service::serving(policy(2));
    service.dies(worker(1, 1));
    assert_eq!(service.world.serving(), [worker(1, 0)]);
    service.advance(Duration::from_millis(100));
    assert!(service.was(Effect::Launch(life(1, 1, 1), ReleaseId(1))));
    assert!(!service.was(Effect::Drain(worker(1, 0))));
}

#[test]
fn f3_an_unhealthy_worker_finishes_what_it_has_and_comes_again() {
    let mut service = Service::serving(policy(2));
    service.act(Action::Unhealthy(worker(1, 1)));
    assert!(service.was(Effect::Drain(worker(1, 1))));
    let cause = Cause::Fault(Fault::Unhealthy);
    assert!(service.was_told(Note::Unfit(worker(1, 1), cause)));
    service.advance(Duration::from_millis(100));
    assert!(service.was(Effect::Launch(life(1, 2, 1), ReleaseId(1))));
    service.the_told_end();
    service.advance(secs(60));
    assert!(!service.was(Effect::Launch(life(1, 1, 1), ReleaseId(1))));
}

#[test]
fn f1_the_only_worker_that_serves_stays_until_another_one_does() {
    let mut service = Service::serving(policy(1));
    for _ in 0..2 {
        service.act(Action::Unhealthy(worker(1, 0)));
    }
    let stays = Note::Stays(worker(1, 0));
    assert_eq!(service.count(|effect| *effect == Effect::Tell(stays)), 1);
    service.advance(Duration::from_millis(100));
    service.dies(life(1, 1, 1));
    service.advance(secs(1));
    assert!(!service.was(Effect::Drain(worker(1, 0))));
    service.ready(life(1, 1, 2));
    assert!(service.was(Effect::Drain(worker(1, 0))));
    service.the_told_end();
    service.advance(secs(60));
    assert_eq!(service.living(1), [life(1, 1, 2)]);
}

#[test]
fn f1_the_worker_that_stays_is_killed_when_it_gives_no_answer_any_more() {
    let mut service = Service::serving(policy(1));
    service.act(Action::Unhealthy(worker(1, 0)));
    assert!(service.was_told(Note::Stays(worker(1, 0))));
    service.act(Action::Fault(worker(1, 0)));
    assert!(service.was(Effect::Kill(worker(1, 0))));
    service.the_told_end();
    service.advance(Duration::from_millis(100));
    assert_eq!(service.living(1), [life(1, 1, 1)], "one takes its place");
}

#[test]
fn no_more_of_the_unhealthy_finish_than_there_are_workers() {
    let mut service = Service::serving(policy(2));
    for slot in [0, 1] {
        service.act(Action::Unhealthy(worker(1, slot)));
        service.advance(Duration::from_millis(100));
        service.all_ready(1);
    }
    let fresh = service.world.serving();
    let finish = [worker(1, 0), worker(1, 1)];
    assert!(finish.iter().all(|id| service.was(Effect::Drain(*id))));
    for _ in 0..3 {
        service.act(Action::Unhealthy(fresh[0]));
    }
    service.advance(secs(1));
    assert!(service.was_told(Note::Waits(fresh[0])));
    assert_eq!(service.world.serving(), fresh, "it is not replaced");
    service.dies(worker(1, 0));
    assert_eq!(service.world.serving(), fresh, "it may have recovered");
    service.act(Action::Unhealthy(fresh[0]));
    assert!(service.was(Effect::Drain(fresh[0])), "there is room for it");
}

#[test]
fn who_gives_no_answer_waits_for_nobody() {
    let mut service = Service::serving(policy(1));
    service.act(Action::Unhealthy(worker(1, 0)));
    service.advance(Duration::from_millis(100));
    service.ready(life(1, 1, 1));
    service.act(Action::Fault(life(1, 1, 1)));
    assert!(service.was(Effect::Kill(life(1, 1, 1))));
    assert!(!service.was_told(Note::Waits(life(1, 1, 1))));
}

#[test]
fn those_that_a_scaling_took_are_not_in_the_way() {
    let mut service = Service::serving(policy(3));
    service.scale(1);
    let last = service.world.serving()[0];
    service.act(Action::Unhealthy(last));
    assert!(service.was_told(Note::Stays(last)), "it is being replaced");
}

fn may_accept_early(workers: u32) -> Policy {
    Policy {
        unready_timeout: None,
        ..policy(workers)
    }
}

#[test]
fn f3_who_is_late_and_may_have_accepted_finishes_what_it_has() {
    let mut service = Service::serving(may_accept_early(1));
    let call = service.upgrade(2);
    service.advance(secs(30));
    assert!(service.was(Effect::Drain(worker(2, 0))));
    service.advance(secs(19));
    assert!(!service.was(Effect::Kill(worker(2, 0))));
    service.the_told_end();
    let failed = super::failed(2, 0, Cause::ReadyTimeout);
    assert_eq!(service.answer(call), failed);
    service.dies(worker(1, 0));
    service.advance(Duration::from_millis(100));
    service.advance(secs(30));
    assert!(service.was(Effect::Drain(life(1, 0, 1))));
}

#[test]
fn who_is_late_while_too_many_finish_is_killed() {
    let mut service = Service::serving(Policy {
        drain_timeout: secs(600),
        ..may_accept_early(1)
    });
    service.dies(worker(1, 0));
    service.advance(secs(1));
    let late = life(1, 0, 1);
    service.advance(secs(31));
    assert!(service.was(Effect::Drain(late)), "there is room");
    let next = service.living(1)[1];
    service.act(Action::Unhealthy(next));
    assert!(service.was_told(Note::Waits(next)), "it may get well");
    service.advance(secs(30));
    assert!(service.was(Effect::Kill(next)));
}

#[test]
fn f3_who_waits_for_its_first_good_answer_finishes_what_it_has_too() {
    let mut service = Service::serving(policy(1));
    service.dies(worker(1, 0));
    service.advance(Duration::from_millis(100));
    service.act(Action::Unhealthy(life(1, 0, 1)));
    assert!(service.was(Effect::Drain(life(1, 0, 1))));
    assert!(!service.was(Effect::Kill(life(1, 0, 1))));
    let losses = |effect: &Effect| matches!(effect, Effect::Tell(Note::Respawn(_, _, 2)));
    assert_eq!(service.count(losses), 1, "it is slower from time to time");
}

#[test]
fn f3_an_unhealthy_worker_that_does_not_end_is_killed_at_its_deadline() {
    let mut service = Service::serving(policy(2));
    service.act(Action::Unhealthy(worker(1, 1)));
    let drain = service.world.fleet.policy().drain_timeout;
    service.advance(drain - Duration::from_millis(1));
    assert!(!service.was(Effect::Kill(worker(1, 1))));
    service.advance(Duration::from_millis(1));
    assert!(service.was(Effect::Kill(worker(1, 1))));
}

#[test]
fn f3_an_unhealthy_worker_keeps_its_time_when_fewer_are_wanted() {
    let mut service = Service::serving(policy(2));
    service.act(Action::Unhealthy(worker(1, 1)));
    service.scale(1);
    let policy = *service.world.fleet.policy();
    service.advance(policy.kill_after);
    assert!(!service.was(Effect::Kill(worker(1, 1))));
    service.the_told_end();
    service.advance(secs(60));
    assert!(!service.was(Effect::Launch(life(1, 1, 1), ReleaseId(1))));
}

#[test]
fn f28_a_lost_worker_comes_again_from_the_release_of_its_generation() {
    let mut service = Service::serving(policy(1));
    service.upgrade(2);
    service.dies(worker(1, 0));
    service.advance(Duration::from_millis(100));
    assert!(service.was(Effect::Launch(life(1, 0, 1), ReleaseId(1))));
}

#[test]
fn f17_a_crash_loop_slows_down_and_is_told_once() {
    let mut service = Service::serving(policy(1));
    let mut longest = Duration::ZERO;
    for lives in 0..12 {
        service.dies(life(1, 0, lives));
        let due = service
            .world
            .fleet
            .next_deadline()
            .expect("a respawn is due");
        longest = longest.max(due - service.now());
        service.advance(secs(30));
        service.ready(life(1, 0, lives + 1));
    }
    assert!(longest > secs(1), "no backoff: {longest:?}");
    assert!(longest <= secs(30));
    let told = |effect: &Effect| matches!(effect, Effect::Tell(Note::CrashLoop(_, 5)));
    assert_eq!(service.count(told), 1);
}

#[test]
fn a_worker_that_settled_starts_its_backoff_anew() {
    let mut service = Service::serving(policy(1));
    for lives in 0..8 {
        service.dies(life(1, 0, lives));
        service.advance(Duration::from_millis(100));
        service.ready(life(1, 0, lives + 1));
        service.advance(secs(10));
    }
    let first = |effect: &Effect| matches!(effect, Effect::Tell(Note::Respawn(_, _, 1)));
    assert_eq!(service.count(first), 8);
}

#[test]
fn a_release_that_is_gone_is_tried_again_and_again() {
    let mut service = Service::serving(policy(1));
    service.dies(worker(1, 0));
    for lives in 1..30 {
        service.advance(secs(30));
        service.act(Action::Exit(life(1, 0, lives), super::Ending::NotStarted));
    }
    assert_eq!(service.active(), Some(1));
}

#[test]
fn a_worker_that_comes_again_must_be_ready_in_time_too() {
    let mut service = Service::serving(policy(1));
    service.dies(worker(1, 0));
    service.advance(Duration::from_millis(100));
    service.advance(secs(30));
    assert!(service.was(Effect::Kill(life(1, 0, 1))));
    service.the_told_end();
    service.advance(secs(1));
    assert!(service.was(Effect::Launch(life(1, 0, 2), ReleaseId(1))));
}

#[test]
fn a_missed_watchdog_ends_the_worker_and_it_comes_again() {
    let mut service = Service::serving(watched());
    for _ in 0..10 {
        service.advance(secs(2));
        service.act(Action::Ping(worker(1, 0)));
    }
    service.advance(secs(3));
    assert!(service.was_told(Note::Unfit(worker(1, 0), Cause::WatchdogMissed)));
    service.the_told_end();
    service.advance(Duration::from_millis(100));
    assert!(service.was(Effect::Launch(life(1, 0, 1), ReleaseId(1))));
}

#[test]
fn a_missed_watchdog_in_the_bake_undoes_the_upgrade() {
    let mut service = Service::serving(Policy {
        bake: secs(10),
        ..watched()
    });
    let call = service.upgrade(2);
    service.all_ready(2);
    for _ in 0..2 {
        service.advance(secs(2));
        service.act(Action::Ping(worker(1, 0)));
    }
    service.the_told_end();
    assert_eq!(
        service.answer(call),
        super::failed(2, 0, Cause::WatchdogMissed)
    );
    assert_eq!(service.world.serving(), [worker(1, 0)]);
}

#[test]
fn a_running_worker_keeps_the_watchdog_that_it_was_started_with() {
    let mut service = Service::serving(watched());
    service.act(Action::Policy(policy(1)));
    for _ in 0..5 {
        service.advance(secs(2));
        service.act(Action::Ping(worker(1, 0)));
    }
    assert_eq!(service.world.serving(), [worker(1, 0)]);
    service.act(Action::Policy(Policy {
        watchdog: Some(secs(1)),
        ..policy(1)
    }));
    service.advance(secs(2));
    assert_eq!(service.world.serving(), [worker(1, 0)]);
}

#[test]
fn f16_a_crash_loop_ends_with_an_upgrade_that_works() {
    let mut service = Service::serving(policy(1));
    service.dies(worker(1, 0));
    let call = service.upgrade(2);
    service.all_ready(2);
    service.advance(secs(1));
    assert_eq!(service.answer(call), Some(Outcome::Active(2)));
    service.the_told_end();
    service.advance(secs(60));
    assert_eq!(service.living(1), [], "nothing is started for the old one");
}
