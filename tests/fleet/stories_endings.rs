//! Stops, deadlines, and what does not want to end.

use crate::fleet::{Effect, Note, Outcome, Policy, Stage};
use crate::service::{Service, secs, worker};
use crate::world::{Action, Stop};

use super::{Cause, Ending, Failure, policy};

fn finished(service: &Service) -> bool {
    service.was(Effect::Finish(None)) && service.world.fleet.stage() == Stage::Finished
}

#[test]
fn f15_term_while_the_first_generation_starts() {
    let mut service = Service::starting(policy(2));
    service.ready(worker(1, 0));
    service.signal_term();
    assert!(service.was(Effect::Drain(worker(1, 0))));
    assert!(service.was(Effect::Drain(worker(1, 1))));
    service.the_told_end();
    assert!(finished(&service));
}

#[test]
fn f15_term_while_an_upgrade_starts_ends_both_generations() {
    let mut service = Service::serving(policy(1));
    let running = service.upgrade(2);
    let queued = service.upgrade(3);
    service.signal_term();
    assert_eq!(service.answer(running), Some(Outcome::Stopping));
    assert_eq!(service.answer(queued), Some(Outcome::Stopping));
    service.the_told_end();
    assert!(finished(&service));
}

#[test]
fn f15_term_while_an_upgrade_bakes() {
    let mut service = Service::serving(policy(1));
    service.upgrade(2);
    service.all_ready(2);
    service.signal_term();
    service.advance(secs(10));
    assert!(!service.was_told(Note::Active(2)), "the bake is off");
    service.advance(secs(10));
    service.the_told_end();
    assert!(finished(&service));
}

#[test]
fn f15_term_while_a_failed_upgrade_is_undone() {
    let mut service = Service::serving(policy(2));
    let call = service.upgrade(2);
    service.all_ready(2);
    service.dies(worker(2, 0));
    service.signal_term();
    assert_eq!(service.answer(call), Some(Outcome::Stopping));
    service.the_told_end();
    assert!(finished(&service));
}

#[test]
fn f15_term_while_a_worker_waits_to_be_started_again() {
    let mut service = Service::serving(policy(1));
    service.dies(worker(1, 0));
    service.signal_term();
    assert!(finished(&service), "nothing lives, nothing is waited for");
}

#[test]
fn f15_a_second_signal_stops_at_once_and_a_repeated_call_does_not() {
    let mut service = Service::serving(policy(1));
    let first = service.call(Action::Stop(Stop::Call));
    let again = service.call(Action::Stop(Stop::Call));
    service.signal_term();
    assert!(!service.was(Effect::Kill(worker(1, 0))));
    service.signal_term();
    assert!(service.was(Effect::Kill(worker(1, 0))));
    service.the_told_end();
    assert_eq!(service.answer(first), Some(Outcome::Stopped));
    assert_eq!(service.answer(again), Some(Outcome::Stopped));
    let late = service.call(Action::Stop(Stop::Call));
    assert_eq!(service.answer(late), Some(Outcome::Stopped));
    let upgrade = service.upgrade(2);
    assert_eq!(service.answer(upgrade), Some(Outcome::Stopping));
}

#[test]
fn stop_now_does_not_wait() {
    let mut service = Service::serving(policy(1));
    let call = service.call(Action::Stop(Stop::Now));
    assert!(service.was(Effect::Kill(worker(1, 0))));
    service.the_told_end();
    assert_eq!(service.answer(call), Some(Outcome::Stopped));
}

#[test]
fn stop_while_the_first_failure_is_cleaned_up() {
    let mut service = Service::starting(policy(3));
    service.ready(worker(1, 0));
    service.act(Action::Exit(worker(1, 1), Ending::NotStarted));
    let stop = service.call(Action::Stop(Stop::Call));
    service.advance(secs(5));
    assert!(service.was(Effect::Kill(worker(1, 2))), "it served nobody");
    assert!(!service.was(Effect::Kill(worker(1, 0))), "it served");
    service.advance(secs(15));
    assert!(service.was(Effect::Kill(worker(1, 0))));
    service.the_told_end();
    assert_eq!(service.answer(stop), Some(Outcome::Stopped));
    let failure = Failure {
        worker: Some(worker(1, 1)),
        cause: Cause::NotStarted,
    };
    assert!(service.was(Effect::Finish(Some(failure))));
}

#[test]
fn f23_a_drain_that_hangs_is_killed_at_its_deadline_and_not_before() {
    let mut service = Service::serving(policy(1));
    service.upgraded_but_stuck(2);
    service.advance(secs(20) - std::time::Duration::from_nanos(1));
    assert!(!service.was(Effect::Kill(worker(1, 0))));
    service.advance(std::time::Duration::from_nanos(1));
    assert!(service.was(Effect::Kill(worker(1, 0))));
    service.the_told_end();
    assert!(service.was_told(Note::Ended(1)));
}

#[test]
fn f23_long_drains_do_not_pile_up() {
    let mut service = Service::serving(Policy {
        max_generations: 2,
        ..policy(1)
    });
    for number in 2..=3 {
        service.upgraded_but_stuck(number);
    }
    assert!(!service.was(Effect::Kill(worker(1, 0))), "two may drain");
    service.upgraded_but_stuck(4);
    assert!(service.was_told(Note::CutShort(1)));
    assert!(service.was(Effect::Kill(worker(1, 0))));
    assert!(!service.was(Effect::Kill(worker(2, 0))));
}

#[test]
fn a_stop_does_not_lengthen_a_drain() {
    let mut service = Service::serving(policy(1));
    service.upgraded_but_stuck(2);
    service.advance(secs(15));
    service.signal_term();
    service.advance(secs(5));
    assert!(service.was(Effect::Kill(worker(1, 0))));
    assert!(!service.was(Effect::Kill(worker(2, 0))));
}

#[test]
fn f23_processes_that_survive_their_kill_are_abandoned() {
    let mut service = Service::serving(policy(1));
    let call = service.call(Action::Stop(Stop::Call));
    service.advance(secs(24));
    assert!(service.was(Effect::Kill(worker(1, 0))) && !finished(&service));
    service.advance(secs(1));
    assert!(service.was_told(Note::Abandoned) && finished(&service));
    assert_eq!(service.answer(call), Some(Outcome::Stopped));
    assert_eq!(service.world.fleet.next_deadline(), None);
}

#[test]
fn f23_repeated_signals_do_not_put_the_end_off() {
    let mut service = Service::serving(policy(1));
    for _ in 0..6 {
        service.signal_term();
        service.advance(secs(1));
    }
    assert!(service.was_told(Note::Abandoned) && finished(&service));
}

impl Service {
    /// As `upgraded`, but the old generation does not end.
    fn upgraded_but_stuck(&mut self, release: u32) {
        let call = self.upgrade(release);
        let number = self.newest();
        self.all_ready(number);
        self.call(Action::Promote);
        assert_eq!(self.answer(call), Some(Outcome::Active(number)));
    }
}
