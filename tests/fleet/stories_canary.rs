//! A few workers of the new release beside the old ones, until somebody decides.

use crate::fleet::{Effect, Note, Outcome, Plan, Policy, Refusal, ReleaseId, State};
use crate::service::{Service, secs, worker};
use crate::world::{Action, Stop};

use super::{Cause, Failure, failed, policy};

const ONE: Plan = Plan::Canary(1);

/// One worker of release 2 stands as generation 2 beside `workers` of release 1.
fn standing(policy: Policy) -> Service {
    let mut service = Service::serving(policy);
    let call = service.upgrade_by(ONE, 2);
    assert_eq!(service.living(2), [worker(2, 0)], "one, not all");
    service.all_ready(2);
    assert_eq!(service.answer(call), None, "it has to bake");
    service.advance(secs(1));
    assert_eq!(service.answer(call), Some(Outcome::Canary(2)));
    assert_eq!(service.state(2), Some(State::Canary));
    assert_eq!(service.active(), Some(1));
    service
}

#[test]
fn a_canary_stands_until_it_is_promoted_and_grows_before_the_old_go() {
    let mut service = standing(policy(3));
    service.advance(secs(3600));
    let promote = service.call(Action::Promote);
    assert!(service.was_told(Note::Growing(2, 3)));
    assert_eq!(service.living(2).len(), 3);
    service.all_ready(2);
    assert!(
        !service.was(Effect::Drain(worker(1, 0))),
        "F2: it bakes as a whole"
    );
    service.advance(secs(1));
    assert_eq!(service.answer(promote), Some(Outcome::Active(2)));
    assert!(service.was(Effect::Drain(worker(1, 0))));
    assert!(
        !service.was(Effect::Drain(worker(2, 0))),
        "the canary goes on"
    );
}

#[test]
fn a_canary_that_is_aborted_leaves_all_as_before() {
    let mut service = standing(policy(3));
    let abort = service.call(Action::Abort);
    assert!(
        service.was(Effect::Drain(worker(2, 0))),
        "it may hold requests"
    );
    service.the_told_end();
    assert_eq!(service.answer(abort), Some(Outcome::Aborted(2)));
    assert_eq!(service.living(1).len(), 3);
}

#[test]
fn nobody_decides_and_the_canary_goes() {
    let mut service = standing(Policy {
        canary_timeout: secs(60),
        ..policy(2)
    });
    service.advance(secs(59));
    assert_eq!(service.state(2), Some(State::Canary));
    service.advance(secs(1));
    let failure = Failure {
        worker: None,
        cause: Cause::NotPromoted,
    };
    assert!(service.was_told(Note::Failed(2, failure)));
    service.the_told_end();
    assert_eq!(service.newest(), 1);
}

#[test]
fn a_canary_that_dies_is_not_tried_again() {
    let mut service = standing(Policy {
        retries: 3,
        ..policy(2)
    });
    service.dies(worker(2, 0));
    assert!(service.was_told(Note::Ended(2)));
    assert_eq!((service.newest(), service.living(1).len()), (1, 2));
    let next = service.upgrade(3);
    service.all_ready(3);
    service.advance(secs(1));
    assert_eq!(service.answer(next), Some(Outcome::Active(3)));
}

#[test]
fn while_a_canary_stands_other_calls_are_refused_and_never_queued() {
    let mut service = Service::serving(policy(2));
    let canary = service.upgrade_by(ONE, 2);
    let early = service.upgrade(3);
    service.all_ready(2);
    service.advance(secs(1));
    assert_eq!(service.answer(canary), Some(Outcome::Canary(2)));
    let refused = Some(Outcome::Refused(Refusal::CanaryStands));
    assert_eq!(service.answer(early), refused, "it was queued before");
    for call in [service.upgrade(3), service.reload(1), service.scale(5)] {
        assert_eq!(service.answer(call), refused);
    }
    let same = service.upgrade_by(ONE, 2);
    assert_eq!(service.answer(same), refused);
}

#[test]
fn a_renewal_waits_for_the_end_of_the_canary() {
    let mut service = standing(policy(1));
    let renewal = service.renew();
    assert_eq!(service.answer(renewal), None);
    service.call(Action::Abort);
    service.the_told_end();
    assert!(service.was_told(Note::Starting(3, ReleaseId(1))));
}

#[test]
fn a_promoted_canary_that_cannot_grow_is_undone() {
    let mut service = standing(policy(2));
    let promote = service.call(Action::Promote);
    service.dies(worker(2, 1));
    service.the_told_end();
    assert_eq!(
        service.answer(promote),
        failed(2, 1, Cause::ExitedBeforeReady)
    );
    assert_eq!(service.living(1).len(), 2);
}

#[test]
fn promote_during_its_bake_lets_it_grow_at_once() {
    let mut service = Service::serving(policy(2));
    let call = service.upgrade_by(ONE, 2);
    service.all_ready(2);
    let promote = service.call(Action::Promote);
    service.all_ready(2);
    assert_eq!(service.active(), Some(1), "the rest bakes too");
    service.advance(secs(1));
    for call in [call, promote] {
        assert_eq!(service.answer(call), Some(Outcome::Active(2)));
    }
}

#[test]
fn a_canary_of_more_than_all_is_all_and_stands_too() {
    let mut service = Service::serving(policy(2));
    let call = service.upgrade_by(Plan::Canary(9), 2);
    assert_eq!(service.living(2).len(), 2);
    service.all_ready(2);
    service.advance(secs(1));
    assert_eq!(service.answer(call), Some(Outcome::Canary(2)));
    let promote = service.call(Action::Promote);
    assert_eq!(service.answer(promote), Some(Outcome::Active(2)));
}

#[test]
fn the_same_call_joins_only_when_it_wants_the_same_steps() {
    let mut service = Service::serving(policy(2));
    let first = service.upgrade_by(ONE, 2);
    let same = service.upgrade_by(ONE, 2);
    let whole = service.upgrade(2);
    service.all_ready(2);
    service.advance(secs(1));
    for call in [first, same] {
        assert_eq!(service.answer(call), Some(Outcome::Canary(2)));
    }
    let refused = Some(Outcome::Refused(Refusal::CanaryStands));
    assert_eq!(service.answer(whole), refused);
}

#[test]
fn the_first_generation_is_never_a_canary() {
    let mut service = Service::starting(policy(2));
    service.all_ready(1);
    service.act(Action::Stop(Stop::Call));
    service.the_told_end();
    let mut world = crate::world::World::new(
        policy(2),
        crate::world::Budget {
            plan: ONE,
            ..crate::world::Budget::default()
        },
    );
    for slot in 0..2 {
        world.act(Action::Ready(worker(1, slot)));
    }
    assert_eq!(world.active, Some(1));
}

#[test]
fn f15_term_while_a_canary_stands_ends_both() {
    let mut service = standing(policy(2));
    service.signal_term();
    assert!(service.was(Effect::Drain(worker(2, 0))));
    service.the_told_end();
    assert!(service.was(Effect::Finish(None)));
}
