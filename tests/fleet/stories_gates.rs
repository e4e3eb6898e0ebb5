//! What is asked before a generation starts and before it goes on, and the time
//! that a stop leaves to those who have to notice.

use crate::fleet::{Cause, Effect, Failure, Fault, Note, Outcome, Plan, Policy, ReleaseId, Stage};
use crate::service::{Service, life, secs, worker};
use crate::world::{Action, Stop};

use super::policy;

fn asking(workers: u32) -> Policy {
    Policy {
        prepare: true,
        approve: true,
        ..policy(workers)
    }
}

fn denied(number: u32) -> Option<Outcome> {
    let failure = Failure {
        worker: None,
        cause: Cause::Fault(Fault::HookFailed),
    };
    Some(Outcome::Failed(number, failure))
}

#[test]
fn the_first_generation_is_not_asked_about() {
    let service = Service::serving(asking(1));
    assert!(!service.was(Effect::Prepare(1)) && !service.was(Effect::Approve(1)));
}

#[test]
fn nothing_starts_before_it_is_prepared() {
    let mut service = Service::serving(asking(2));
    let call = service.upgrade(2);
    assert!(service.was(Effect::Prepare(2)) && service.living(2).is_empty());
    service.act(Action::Prepared(2));
    service.all_ready(2);
    assert!(service.was(Effect::Approve(2)));
    service.act(Action::Approved(2));
    assert_eq!(service.answer(call), None, "the bake takes its time");
    service.advance(secs(1));
    assert_eq!(service.answer(call), Some(Outcome::Active(2)));
}

#[test]
fn the_bake_waits_for_the_approval() {
    let mut service = Service::serving(asking(1));
    let call = service.upgrade(2);
    service.act(Action::Prepared(2));
    service.all_ready(2);
    service.advance(secs(29));
    assert_eq!(service.answer(call), None);
    service.act(Action::Approved(2));
    assert_eq!(service.answer(call), Some(Outcome::Active(2)));
}

#[test]
fn without_a_bake_the_approval_is_waited_for_too() {
    let mut service = Service::serving(Policy {
        bake: secs(0),
        ..asking(1)
    });
    let call = service.upgrade(2);
    service.act(Action::Prepared(2));
    service.all_ready(2);
    assert_eq!(service.answer(call), None);
    service.act(Action::Approved(2));
    assert_eq!(service.answer(call), Some(Outcome::Active(2)));
}

#[test]
fn what_is_not_prepared_fails_with_nothing_to_undo() {
    let mut service = Service::serving(asking(1));
    let call = service.upgrade(2);
    service.act(Action::Denied(2));
    assert_eq!(service.answer(call), denied(2));
    assert_eq!(service.newest(), 1);
}

#[test]
fn what_is_not_approved_is_undone() {
    let mut service = Service::serving(asking(1));
    let call = service.upgrade(2);
    service.act(Action::Prepared(2));
    service.all_ready(2);
    service.act(Action::Denied(2));
    service.the_told_end();
    assert_eq!(service.answer(call), denied(2));
    assert_eq!(service.world.serving(), [worker(1, 0)]);
}

#[test]
fn abort_does_not_wait_for_an_answer() {
    let mut service = Service::serving(asking(1));
    service.upgrade(2);
    let abort = service.call(Action::Abort);
    assert_eq!(service.answer(abort), Some(Outcome::Aborted(2)));
}

#[test]
fn promote_does_not_wait_for_the_approval() {
    let mut service = Service::serving(asking(1));
    let call = service.upgrade(2);
    service.act(Action::Prepared(2));
    service.all_ready(2);
    service.call(Action::Promote);
    assert_eq!(service.answer(call), Some(Outcome::Active(2)));
}

#[test]
fn the_first_batch_alone_is_asked_about() {
    let mut service = Service::serving(asking(2));
    let call = service.upgrade_by(Plan::Rolling(1), 2);
    service.act(Action::Prepared(2));
    service.all_ready(2);
    service.act(Action::Approved(2));
    for _ in 0..2 {
        service.all_ready(2);
        service.advance(secs(1));
        service.the_told_end();
    }
    assert_eq!(service.answer(call), Some(Outcome::Active(2)));
    assert_eq!(service.count(|effect| *effect == Effect::Approve(2)), 1);
}

#[test]
fn every_try_is_prepared() {
    let mut service = Service::serving(Policy {
        retries: 1,
        ..asking(1)
    });
    service.upgrade(2);
    service.act(Action::Prepared(2));
    service.dies(worker(2, 0));
    assert!(service.was(Effect::Prepare(3)) && service.living(3).is_empty());
}

fn delayed(workers: u32) -> Policy {
    Policy {
        drain_delay: secs(5),
        ..policy(workers)
    }
}

#[test]
fn a_stop_serves_on_for_its_delay() {
    let mut service = Service::serving(delayed(2));
    let stop = service.call(Action::Stop(Stop::Call));
    assert_eq!(service.world.fleet.stage(), Stage::Stopping);
    assert!(!service.world.fleet.is_serving(), "not ready any more");
    assert!(service.was_told(Note::StopDelayed(secs(5))));
    service.dies(worker(1, 0));
    service.advance(secs(4));
    assert!(
        service.was(Effect::Launch(life(1, 0, 1), ReleaseId(1))),
        "it serves on"
    );
    assert!(!service.was(Effect::Drain(worker(1, 1))));
    service.advance(secs(1));
    assert!(service.was(Effect::Drain(worker(1, 1))));
    service.the_told_end();
    assert_eq!(service.answer(stop), Some(Outcome::Stopped));
}

#[test]
fn a_second_signal_or_now_does_not_wait() {
    for how in [Stop::Signal, Stop::Now] {
        let mut service = Service::serving(delayed(1));
        service.signal_term();
        service.advance(secs(1));
        service.act(Action::Stop(how));
        assert!(service.was(Effect::Kill(worker(1, 0))));
    }
    let mut service = Service::serving(delayed(1));
    service.act(Action::Stop(Stop::Now));
    assert!(service.was(Effect::Kill(worker(1, 0))));
}

#[test]
fn a_delayed_stop_ends_what_was_under_way() {
    let mut service = Service::serving(delayed(1));
    let upgrade = service.upgrade(2);
    service.all_ready(2);
    service.signal_term();
    assert_eq!(service.answer(upgrade), Some(Outcome::Stopping));
    let late = service.upgrade(3);
    assert_eq!(service.answer(late), Some(Outcome::Stopping));
    service.advance(secs(4));
    assert_eq!(service.active(), Some(1), "the bake is off");
    service.advance(secs(1));
    assert!(service.was(Effect::Drain(worker(2, 0))));
    service.the_told_end();
    assert!(service.was(Effect::Finish(None)));
}

#[test]
fn where_nothing_serves_a_stop_has_no_delay() {
    let mut service = Service::starting(delayed(1));
    service.signal_term();
    assert!(service.was(Effect::Drain(worker(1, 0))));
}
