//! More workers, and fewer.

use crate::fleet::{Effect, Failure, Note, Outcome, Refusal, ReleaseId, Scale};
use crate::service::{Service, life, secs, worker};
use crate::world::Action;

use super::{Cause, policy};

#[test]
fn one_becomes_three_when_all_are_ready() {
    let mut service = Service::serving(policy(1));
    let call = service.scale(3);
    assert_eq!(service.living(1).len(), 3);
    service.ready(worker(1, 2));
    assert_eq!(service.answer(call), None);
    service.ready(worker(1, 1));
    assert_eq!(service.answer(call), Some(Outcome::Scaled(3)));
    assert!(service.was_told(Note::Scaled(1, 3)));
}

#[test]
fn three_become_one_and_those_that_go_have_their_time() {
    let mut service = Service::serving(policy(3));
    let call = service.scale(1);
    assert_eq!(service.answer(call), Some(Outcome::Scaled(1)));
    assert!(service.was(Effect::Drain(worker(1, 2))));
    assert!(service.was(Effect::Drain(worker(1, 1))));
    service.advance(secs(20));
    assert!(service.was(Effect::Kill(worker(1, 2))), "F3: a deadline");
    service.the_told_end();
    service.advance(secs(300));
    assert_eq!(service.living(1), [worker(1, 0)]);
}

#[test]
fn a_place_that_is_taken_again_is_a_new_life() {
    let mut service = Service::serving(policy(2));
    service.scale(1);
    service.scale(2);
    assert!(
        service.was(Effect::Launch(worker(1, 2), ReleaseId(1))),
        "1.1 still drains"
    );
    service.all_ready(1);
    service.scale(1);
    service.the_told_end();
    service.scale(2);
    assert!(service.was(Effect::Launch(life(1, 1, 1), ReleaseId(1))));
}

#[test]
fn an_added_worker_that_fails_takes_the_others_back() {
    let mut service = Service::serving(policy(1));
    let call = service.scale(3);
    service.ready(worker(1, 1));
    service.dies(worker(1, 2));
    let failure = Failure {
        worker: Some(worker(1, 2)),
        cause: Cause::ExitedBeforeReady,
    };
    assert_eq!(service.answer(call), Some(Outcome::NotScaled(1, failure)));
    service.the_told_end();
    assert_eq!(service.living(1), [worker(1, 0)]);
}

#[test]
fn f1_the_only_one_that_serves_is_not_taken_back() {
    let mut service = Service::serving(policy(1));
    service.scale(3);
    service.ready(worker(1, 1));
    service.dies(worker(1, 0));
    service.dies(worker(1, 2));
    assert_eq!(service.world.serving(), [worker(1, 1)]);
    assert_eq!(
        service.world.fleet.active().map(|held| held.wanted()),
        Some(1)
    );
}

#[test]
fn fewer_workers_are_those_that_do_not_serve() {
    let mut service = Service::serving(policy(2));
    service.dies(worker(1, 0));
    service.scale(1);
    assert_eq!(service.world.serving(), [worker(1, 1)]);
    service.advance(secs(60));
    assert_eq!(service.living(1), [worker(1, 1)], "nobody comes again");
}

#[test]
fn a_lost_worker_that_was_there_before_does_not_fail_the_scaling() {
    let mut service = Service::serving(policy(1));
    let call = service.scale(2);
    service.dies(worker(1, 0));
    assert_eq!(service.answer(call), None);
    service.ready(worker(1, 1));
    assert_eq!(service.answer(call), Some(Outcome::Scaled(2)));
    service.advance(secs(1));
    assert_eq!(service.living(1), [life(1, 0, 1), worker(1, 1)]);
}

#[test]
fn the_newest_number_counts() {
    let mut service = Service::serving(policy(1));
    let first = service.call(Action::Scale(Scale::Up));
    let second = service.call(Action::Scale(Scale::Up));
    assert_eq!(service.answer(first), Some(Outcome::Superseded));
    assert_eq!(service.living(1).len(), 3);
    let third = service.call(Action::Scale(Scale::Down));
    service.ready(worker(1, 1));
    service.all_ready(1);
    assert_eq!(service.answer(second), Some(Outcome::Superseded));
    assert_eq!(service.answer(third), Some(Outcome::Scaled(2)));
}

#[test]
fn it_is_never_scaled_to_nothing() {
    let mut service = Service::serving(policy(1));
    let down = service.call(Action::Scale(Scale::Down));
    assert_eq!(service.answer(down), Some(Outcome::Scaled(1)));
    let none = service.scale(0);
    assert_eq!(service.answer(none), Some(Outcome::Scaled(1)));
    assert_eq!(service.world.serving(), [worker(1, 0)]);
}

#[test]
fn an_upgrade_and_a_scaling_do_not_mix() {
    let mut service = Service::starting(policy(1));
    let refused = Some(Outcome::Refused(Refusal::UpgradeUnderWay));
    let call = service.scale(2);
    assert_eq!(service.answer(call), refused);
    service.all_ready(1);
    service.upgrade(2);
    let call = service.scale(2);
    assert_eq!(service.answer(call), refused);
    service.all_ready(2);
    service.advance(secs(1));
    service.scale(2);
    let upgrade = service.upgrade(3);
    assert_eq!(service.newest(), 2, "it waits");
    service.all_ready(2);
    assert_eq!(service.newest(), 3);
    service.all_ready(3);
    service.advance(secs(1));
    assert_eq!(service.answer(upgrade), Some(Outcome::Active(3)));
}

#[test]
fn promote_and_abort_are_not_about_a_scaling() {
    let mut service = Service::serving(policy(1));
    service.scale(2);
    for action in [Action::Promote, Action::Abort] {
        let call = service.call(action);
        let refused = Outcome::Refused(Refusal::NothingUnderWay);
        assert_eq!(service.answer(call), Some(refused));
    }
}

#[test]
fn f15_term_while_it_is_scaled() {
    let mut service = Service::serving(policy(1));
    let call = service.scale(2);
    service.signal_term();
    assert_eq!(service.answer(call), Some(Outcome::Stopping));
    service.the_told_end();
    assert!(service.was(Effect::Finish(None)));
}
