//! A batch at a time.

use crate::fleet::{Effect, Note, Outcome, Plan, Policy, ReleaseId};
use crate::service::{Service, life, secs, worker};
use crate::world::Action;

use super::{Cause, failed, policy};

const ONE: Plan = Plan::Rolling(1);

#[test]
fn an_old_worker_drains_when_its_replacement_baked() {
    let mut service = Service::serving(policy(3));
    let call = service.upgrade_by(ONE, 2);
    for done in 0..3 {
        assert_eq!(service.living(2).len(), done + 1, "a batch at a time");
        assert_eq!(service.living(1).len(), 3 - done);
        service.all_ready(2);
        service.advance(secs(1));
        assert!(service.was(Effect::Drain(worker(1, 2 - done as u32))));
        service.the_told_end();
    }
    assert_eq!(service.answer(call), Some(Outcome::Active(2)));
    assert!(service.was_told(Note::Ended(1)));
}

#[test]
fn the_next_batch_waits_for_the_end_of_those_that_were_replaced() {
    let mut service = Service::serving(policy(2));
    service.upgrade_by(ONE, 2);
    service.all_ready(2);
    service.advance(secs(1));
    assert_eq!(service.living(2).len(), 1, "no more than a batch too many");
    service.advance(secs(20));
    assert!(
        service.was(Effect::Kill(worker(1, 1))),
        "F3 bounds the wait"
    );
    service.dies(worker(1, 1));
    assert_eq!(service.living(2).len(), 2);
}

#[test]
fn a_failed_batch_brings_the_old_workers_back_before_a_new_one_goes() {
    let mut service = Service::serving(policy(3));
    let call = service.upgrade_by(ONE, 2);
    for _ in 0..2 {
        service.all_ready(2);
        service.advance(secs(1));
        service.the_told_end();
    }
    service.dies(worker(2, 2));
    assert!(service.was_told(Note::Restoring(1)));
    for slot in [1, 2] {
        assert!(service.was(Effect::Launch(life(1, slot, 1), ReleaseId(1))));
        assert!(!service.was(Effect::Drain(worker(2, 0))), "F1");
        service.ready(life(1, slot, 1));
    }
    assert!(service.was(Effect::Drain(worker(2, 0))));
    assert!(service.was(Effect::Drain(worker(2, 1))));
    assert_eq!(service.answer(call), None, "not gone yet");
    service.the_told_end();
    assert_eq!(service.answer(call), failed(2, 2, Cause::ExitedBeforeReady));
    assert_eq!(service.living(1).len(), 3);
}

#[test]
fn those_that_still_drain_are_not_waited_for_when_the_old_come_back() {
    let mut service = Service::serving(policy(2));
    service.upgrade_by(ONE, 2);
    service.all_ready(2);
    service.advance(secs(1));
    service.call(Action::Abort);
    assert!(
        service.was(Effect::Launch(worker(1, 2), ReleaseId(1))),
        "a new place"
    );
}

#[test]
fn it_is_told_when_the_old_do_not_come_back() {
    let mut service = Service::serving(policy(2));
    let call = service.upgrade_by(ONE, 2);
    service.all_ready(2);
    service.advance(secs(1));
    service.the_told_end();
    service.dies(worker(2, 1));
    service.advance(secs(300));
    assert!(matches!(
        service.answer(call),
        Some(Outcome::NotUndone(2, _))
    ));
    assert_eq!(
        service.living(2),
        [worker(2, 0)],
        "it serves instead of the missing one"
    );
    service.the_told_end();
    service.advance(secs(30));
    service.all_ready(1);
    assert!(service.was(Effect::Drain(worker(2, 0))));
    service.the_told_end();
    assert_eq!((service.newest(), service.living(1).len()), (1, 2));
}

#[test]
fn an_undone_roll_waits_for_the_old_even_when_the_new_are_gone_first() {
    let mut service = Service::serving(policy(2));
    let call = service.upgrade_by(ONE, 2);
    service.all_ready(2);
    service.advance(secs(1));
    service.the_told_end();
    service.dies(worker(2, 1));
    service.dies(worker(2, 0));
    assert_eq!(service.answer(call), None, "one is missing");
    service.all_ready(1);
    assert_eq!(service.answer(call), failed(2, 1, Cause::ExitedBeforeReady));
}

#[test]
fn promote_ends_the_bake_of_one_batch() {
    let mut service = Service::serving(policy(2));
    service.upgrade_by(ONE, 2);
    service.all_ready(2);
    let promote = service.call(Action::Promote);
    service.the_told_end();
    assert_eq!(service.living(2).len(), 2);
    service.all_ready(2);
    service.advance(secs(1));
    assert_eq!(service.answer(promote), Some(Outcome::Active(2)));
}

#[test]
fn fewer_or_more_workers_than_before_are_replaced_in_proportion() {
    let mut service = Service::serving(policy(4));
    service.act(Action::Policy(policy(2)));
    service.upgrade_by(ONE, 2);
    service.all_ready(2);
    service.advance(secs(1));
    assert!(service.was_told(Note::Replacing(1, 2)));
    service.the_told_end();
    service.all_ready(2);
    service.advance(secs(1));
    service.the_told_end();
    assert_eq!((service.active(), service.living(2).len()), (Some(2), 2));
    service.act(Action::Policy(policy(3)));
    let call = service.upgrade_by(Plan::Rolling(2), 3);
    assert_eq!(service.living(3).len(), 2);
    service.all_ready(3);
    service.advance(secs(1));
    assert!(service.was_told(Note::Replacing(2, 1)));
    service.the_told_end();
    service.all_ready(3);
    service.advance(secs(1));
    assert_eq!(service.answer(call), Some(Outcome::Active(3)));
}

#[test]
fn a_batch_that_was_replaced_is_tried_again_from_the_start() {
    let mut service = Service::serving(Policy {
        retries: 1,
        ..policy(2)
    });
    let call = service.upgrade_by(ONE, 2);
    service.all_ready(2);
    service.advance(secs(1));
    service.the_told_end();
    service.dies(worker(2, 1));
    service.all_ready(1);
    service.the_told_end();
    assert_eq!(service.living(3).len(), 1);
    for _ in 0..2 {
        service.all_ready(3);
        service.advance(secs(1));
        service.the_told_end();
    }
    assert_eq!(service.answer(call), Some(Outcome::Active(3)));
}
