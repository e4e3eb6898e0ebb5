//! What happens when, told with a clock. Stories whose fault is known from
//! other managers carry its number.

use std::time::Duration;

use crate::fleet::{
    Cause, Effect, Ending, Failure, Fault, GenerationNumber, Kind, Note, Outcome, Plan, Policy,
    Refusal, ReleaseId, Stage, State,
};
use crate::service::{Service, life, secs, worker};
use crate::world::{Action, Stop};

#[path = "stories_canary.rs"]
mod canary;
#[path = "stories_endings.rs"]
mod endings;
#[path = "stories_gates.rs"]
mod gates;
#[path = "stories_respawn.rs"]
mod respawn;
#[path = "stories_rollback.rs"]
mod rollback;
#[path = "stories_rolling.rs"]
mod rolling;
#[path = "stories_scaling.rs"]
mod scaling;

pub fn policy(workers: u32) -> Policy {
    Policy {
        workers,
        ..Policy::default()
    }
}

pub fn failed(number: GenerationNumber, slot: u32, cause: Cause) -> Option<Outcome> {
    let worker = Some(worker(number, slot));
    Some(Outcome::Failed(number, Failure { worker, cause }))
}

#[test]
fn an_upgrade_replaces_the_old_generation_after_the_bake() {
    let mut service = Service::serving(policy(2));
    let call = service.upgrade(2);
    service.all_ready(2);
    service.advance(secs(1) - Duration::from_nanos(1));
    assert_eq!((service.active(), service.answer(call)), (Some(1), None));
    service.advance(Duration::from_nanos(1));
    assert_eq!(service.answer(call), Some(Outcome::Active(2)));
    assert!(service.was(Effect::Drain(worker(1, 0))));
    assert!(service.was(Effect::Drain(worker(1, 1))));
    service.the_told_end();
    assert!(service.was_told(Note::Ended(1)));
}

#[test]
fn f16_old_worker_dies_while_the_new_one_starts() {
    let mut service = Service::serving(policy(1));
    let call = service.upgrade(2);
    service.dies(worker(1, 0));
    assert_eq!(service.living(2).len(), 1, "the new one starts on");
    service.advance(Duration::from_millis(100));
    service.ready(life(1, 0, 1));
    service.all_ready(2);
    service.advance(secs(1));
    assert_eq!(service.answer(call), Some(Outcome::Active(2)));
    assert_eq!(service.state(1), Some(State::Draining));
}

#[test]
fn f16_a_failed_generation_stays_until_the_old_one_recovers() {
    let mut service = Service::serving(policy(2));
    let call = service.upgrade(2);
    service.all_ready(2);
    service.dies(worker(1, 0));
    service.dies(worker(1, 1));
    service.dies(worker(2, 0));
    assert!(service.was_told(Note::Held(2)));
    assert!(!service.was(Effect::Drain(worker(2, 1))));
    service.advance(Duration::from_millis(100));
    service.ready(life(1, 0, 1));
    assert!(service.was(Effect::Drain(worker(2, 1))));
    service.dies(worker(2, 1));
    assert_eq!(service.answer(call), failed(2, 0, Cause::ExitedInBake));
}

#[test]
fn f16_only_one_failed_generation_stays() {
    let mut service = Service::serving(policy(2));
    let first = service.upgrade(2);
    service.all_ready(2);
    service.dies(worker(1, 0));
    service.dies(worker(1, 1));
    service.dies(worker(2, 0));
    service.advance(secs(30));
    assert!(matches!(
        service.answer(first),
        Some(Outcome::NotUndone(2, _))
    ));
    let second = service.upgrade(3);
    service.all_ready(3);
    service.dies(worker(3, 0));
    assert!(service.was(Effect::Drain(worker(3, 1))), "2 serves already");
    service.dies(worker(3, 1));
    assert_eq!(service.answer(second), failed(3, 0, Cause::ExitedInBake));
    assert_eq!(service.living(2), [worker(2, 1)]);
    service.all_ready(1);
    assert!(service.was(Effect::Drain(worker(2, 1))));
}

#[test]
fn f17_new_worker_dies_right_after_ready() {
    let mut service = Service::serving(policy(1));
    let call = service.upgrade(2);
    service.ready(worker(2, 0));
    service.dies(worker(2, 0));
    assert_eq!(service.answer(call), failed(2, 0, Cause::ExitedInBake));
    service.advance(secs(60));
    assert_eq!(service.active(), Some(1));
    assert!(!service.was(Effect::Drain(worker(1, 0))));
}

#[test]
fn f17_ready_worker_dies_while_another_starts() {
    let mut service = Service::serving(policy(2));
    let call = service.upgrade(2);
    service.ready(worker(2, 0));
    service.dies(worker(2, 0));
    assert!(service.was(Effect::Drain(worker(2, 1))));
    assert_eq!(service.answer(call), None, "not as before yet");
    service.the_told_end();
    assert_eq!(service.answer(call), failed(2, 0, Cause::ExitedInBake));
}

#[test]
fn f17_ready_never_comes() {
    let mut service = Service::serving(policy(1));
    let call = service.upgrade(2);
    service.advance(secs(30));
    assert!(service.was(Effect::Kill(worker(2, 0))));
    assert!(service.was_told(Note::Unfit(worker(2, 0), Cause::ReadyTimeout)));
    service.the_told_end();
    assert_eq!(service.answer(call), failed(2, 0, Cause::ReadyTimeout));
    assert_eq!(service.active(), Some(1));
}

#[test]
fn f17_ready_of_an_earlier_life_changes_nothing() {
    let mut service = Service::serving(policy(1));
    service.dies(worker(1, 0));
    service.advance(secs(1));
    assert_eq!(service.living(1), [life(1, 0, 1)]);
    service.act(Action::Ping(life(1, 0, 1)));
    let before = service.world.fleet.clone();
    let event = crate::fleet::Event::Ready(worker(1, 0));
    service.world.hear_late(event, &before);
    assert_eq!(
        service.world.fleet.active().map(|held| held.ready()),
        Some(0)
    );
}

#[test]
fn f19_a_program_that_cannot_be_started_leaves_all_as_before() {
    let mut service = Service::serving(policy(1));
    let call = service.upgrade(2);
    service.act(Action::Exit(worker(2, 0), Ending::NotStarted));
    assert_eq!(service.answer(call), failed(2, 0, Cause::NotStarted));
    assert_eq!(service.world.fleet.good().len(), 1);
    assert_eq!(service.world.serving(), [worker(1, 0)]);
}

#[test]
fn f18_a_failure_seen_from_outside_undoes_the_new_alone() {
    let mut service = Service::serving(policy(1));
    let call = service.upgrade(2);
    service.all_ready(2);
    service.act(Action::Against(2));
    assert!(
        service.was(Effect::Drain(worker(2, 0))),
        "it may hold requests"
    );
    service.advance(secs(20));
    assert!(service.was(Effect::Kill(worker(2, 0))));
    service.the_told_end();
    let cause = Cause::Fault(Fault::QueueNotTaken);
    let failure = Failure {
        worker: None,
        cause,
    };
    assert_eq!(service.answer(call), Some(Outcome::Failed(2, failure)));
    assert_eq!(service.active(), Some(1));
}

#[test]
fn extend_timeout_gives_a_slow_start_more_time_and_never_less() {
    let mut service = Service::serving(policy(1));
    let call = service.upgrade(2);
    service.advance(secs(25));
    service.act(Action::Extend(worker(2, 0), secs(60)));
    service.act(Action::Extend(worker(2, 0), secs(1)));
    service.advance(secs(59));
    service.ready(worker(2, 0));
    service.act(Action::Extend(worker(2, 0), secs(60)));
    service.advance(secs(1));
    assert_eq!(service.answer(call), Some(Outcome::Active(2)));
}

#[test]
fn extend_timeout_ends_too() {
    let mut service = Service::serving(policy(1));
    service.upgrade(2);
    service.act(Action::Extend(worker(2, 0), secs(60)));
    service.advance(secs(60));
    assert!(service.was(Effect::Kill(worker(2, 0))));
}

#[test]
fn f14_fifty_equal_signals_make_one_more_upgrade_at_most() {
    let mut service = Service::serving(policy(1));
    let calls: Vec<_> = (0..50).map(|_| service.upgrade(2)).collect();
    service.all_ready(2);
    service.advance(secs(1));
    let all = calls
        .iter()
        .all(|call| service.answer(*call) == Some(Outcome::Active(2)));
    assert!(all && service.newest() == 2, "fixed releases join");

    let by_path = Action::Request(Kind::Upgrade, ReleaseId(3), false, Plan::Whole);
    let calls: Vec<_> = (0..50).map(|_| service.call(by_path)).collect();
    service.all_ready(3);
    service.advance(secs(1));
    assert_eq!(service.answer(calls[0]), Some(Outcome::Active(3)));
    assert_eq!(service.newest(), 4, "the other 49 are one more");
    service.all_ready(4);
    service.advance(secs(1));
    let later = |call: &_| service.answer(*call) == Some(Outcome::Active(4));
    assert!(calls[1..].iter().all(later) && service.newest() == 4);
}

#[test]
fn f14_a_newer_release_supersedes_the_queued_one_but_not_the_running_one() {
    let mut service = Service::serving(policy(1));
    let running = service.upgrade(2);
    let queued = service.upgrade(3);
    let newer = service.upgrade(4);
    assert_eq!(service.answer(queued), Some(Outcome::Superseded));
    service.all_ready(2);
    service.advance(secs(1));
    assert_eq!(service.answer(running), Some(Outcome::Active(2)));
    assert!(service.was_told(Note::Starting(3, ReleaseId(4))));
    service.all_ready(3);
    service.advance(secs(1));
    assert_eq!(service.answer(newer), Some(Outcome::Active(3)));
}

#[test]
fn f14_a_queued_upgrade_outlives_the_failure_before_it() {
    let mut service = Service::serving(policy(1));
    let broken = service.upgrade(2);
    let mended = service.upgrade(3);
    service.dies(worker(2, 0));
    assert_eq!(
        service.answer(broken),
        failed(2, 0, Cause::ExitedBeforeReady)
    );
    service.all_ready(3);
    service.advance(secs(1));
    assert_eq!(service.answer(mended), Some(Outcome::Active(3)));
}

#[test]
fn a_reload_of_what_runs_changes_nothing() {
    let mut service = Service::serving(policy(1));
    let same = service.reload(1);
    assert_eq!(service.answer(same), Some(Outcome::Unchanged(1)));
    let other = service.reload(2);
    service.all_ready(2);
    service.advance(secs(1));
    assert_eq!(service.answer(other), Some(Outcome::Active(2)));
}

#[test]
fn a_queued_reload_looks_at_what_runs_when_its_turn_comes() {
    let mut service = Service::serving(policy(1));
    service.upgrade(2);
    let reload = service.reload(1);
    service.dies(worker(2, 0));
    assert_eq!(service.answer(reload), Some(Outcome::Unchanged(1)));
}

#[test]
fn a_renewal_is_of_what_is_active_when_its_turn_comes() {
    let mut service = Service::serving(policy(1));
    service.upgrade(2);
    let renewal = service.renew();
    service.all_ready(2);
    service.advance(secs(1));
    service.all_ready(3);
    service.advance(secs(1));
    assert_eq!(service.answer(renewal), Some(Outcome::Active(3)));
    let renewed = service.world.fleet.generation(3).map(|held| held.release);
    assert_eq!(renewed, Some(ReleaseId(2)), "not what it replaced");
}

#[test]
fn a_renewal_takes_nobodys_place() {
    let mut service = Service::serving(policy(1));
    service.upgrade(2);
    let waiting = service.upgrade(3);
    let renewal = service.renew();
    assert_eq!(service.answer(renewal), Some(Outcome::Superseded));
    assert_eq!(service.answer(waiting), None);
}

#[test]
fn retries_are_counted_and_the_last_failure_is_the_answer() {
    let mut service = Service::serving(Policy {
        retries: 2,
        ..policy(1)
    });
    let call = service.upgrade(2);
    for number in 2..=4 {
        assert_eq!(service.answer(call), None);
        service.dies(worker(number, 0));
    }
    assert_eq!(service.answer(call), failed(4, 0, Cause::ExitedBeforeReady));
    assert_eq!(
        service.count(|effect| matches!(effect, Effect::Tell(Note::Retry(_)))),
        2
    );
    assert_eq!(service.newest(), 1);
}

#[test]
fn a_retry_that_works_is_the_answer() {
    let mut service = Service::serving(Policy {
        retries: 1,
        ..policy(1)
    });
    let call = service.upgrade(2);
    service.dies(worker(2, 0));
    service.all_ready(3);
    service.advance(secs(1));
    assert_eq!(service.answer(call), Some(Outcome::Active(3)));
}

#[test]
fn abort_during_the_undo_ends_the_retries() {
    let mut service = Service::serving(Policy {
        retries: 5,
        ..policy(2)
    });
    let call = service.upgrade(2);
    service.dies(worker(2, 0));
    let abort = service.call(Action::Abort);
    assert_eq!(service.answer(abort), None);
    service.the_told_end();
    assert_eq!(service.answer(abort), Some(Outcome::Aborted(2)));
    assert_eq!(service.answer(call), failed(2, 0, Cause::ExitedBeforeReady));
    assert_eq!(service.newest(), 1, "no further try");
}

#[test]
fn abort_lets_the_new_generation_finish_what_it_has() {
    let mut service = Service::serving(policy(1));
    let call = service.upgrade(2);
    service.all_ready(2);
    let abort = service.call(Action::Abort);
    assert!(service.was(Effect::Drain(worker(2, 0))));
    service.advance(secs(10));
    service.the_told_end();
    let failure = Failure {
        worker: None,
        cause: Cause::Aborted,
    };
    assert_eq!(service.answer(call), Some(Outcome::Failed(2, failure)));
    assert_eq!(service.answer(abort), Some(Outcome::Aborted(2)));
    assert!(!service.was(Effect::Kill(worker(2, 0))));
}

#[test]
fn promote_and_abort_say_why_not() {
    let mut service = Service::starting(policy(1));
    let refused = |why| Some(Outcome::Refused(why));
    let abort = service.call(Action::Abort);
    assert_eq!(service.answer(abort), refused(Refusal::NothingBefore));
    service.all_ready(1);
    for action in [Action::Promote, Action::Abort] {
        let call = service.call(action);
        assert_eq!(service.answer(call), refused(Refusal::NothingUnderWay));
    }
    service.upgrade(2);
    let promote = service.call(Action::Promote);
    assert_eq!(service.answer(promote), refused(Refusal::NotReadyYet));
    service.call(Action::Abort);
    let promote = service.call(Action::Promote);
    assert_eq!(service.answer(promote), refused(Refusal::BeingUndone));
}

#[test]
fn promote_ends_the_bake() {
    let mut service = Service::serving(policy(1));
    let upgrade = service.upgrade(2);
    service.all_ready(2);
    let promote = service.call(Action::Promote);
    assert_eq!(service.answer(upgrade), Some(Outcome::Active(2)));
    assert_eq!(service.answer(promote), Some(Outcome::Active(2)));
}

#[test]
fn one_worker_becomes_three_when_the_policy_says_so() {
    let mut service = Service::serving(policy(1));
    service.act(Action::Policy(policy(3)));
    assert_eq!(service.living(1).len(), 1, "only the next generation");
    let call = service.upgrade(2);
    assert_eq!(service.living(2).len(), 3);
    service.ready(worker(2, 0));
    service.ready(worker(2, 2));
    service.advance(secs(10));
    assert_eq!(service.answer(call), None, "one is not ready");
    service.ready(worker(2, 1));
    service.advance(secs(1));
    assert_eq!(service.answer(call), Some(Outcome::Active(2)));
}

#[test]
fn the_first_generation_is_not_baked() {
    let mut service = Service::starting(policy(2));
    service.ready(worker(1, 0));
    assert_eq!(service.world.fleet.stage(), Stage::Starting);
    service.ready(worker(1, 1));
    assert!(service.world.fleet.is_serving());
    service.act(Action::Stop(Stop::Call));
    assert!(!service.world.fleet.is_serving());
}
