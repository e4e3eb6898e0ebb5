//! The way back.

use crate::fleet::{GenerationNumber, Note, Outcome, ReleaseId};
use crate::service::Service;

use super::policy;

fn target(service: &Service) -> Option<(GenerationNumber, ReleaseId)> {
    let good = service.world.fleet.rollback_target()?;
    Some((good.number, good.release))
}

#[test]
fn rollback_brings_the_release_before_as_a_new_generation() {
    let mut service = Service::serving(policy(1));
    assert_eq!(target(&service), None, "nothing was before");
    service.upgraded(2);
    let number = service.rolled_back();
    assert_eq!(number, 3);
    assert!(service.was_told(Note::Starting(3, ReleaseId(1))));
}

#[test]
fn rollback_again_goes_further_back() {
    let mut service = Service::serving(policy(1));
    service.upgraded(2);
    service.upgraded(3);
    service.rolled_back();
    assert!(service.was_told(Note::Starting(4, ReleaseId(2))));
    assert_eq!(target(&service), Some((1, ReleaseId(1))));
    service.rolled_back();
    assert!(service.was_told(Note::Starting(5, ReleaseId(1))));
    assert_eq!(target(&service), None);
}

#[test]
fn rollback_after_rollback_after_upgrade_skips_what_was_rolled_back() {
    let mut service = Service::serving(policy(1));
    service.upgraded(2);
    service.rolled_back();
    service.upgraded(3);
    assert_eq!(target(&service), Some((3, ReleaseId(1))));
    service.rolled_back();
    assert_eq!(target(&service), None, "2 was left on purpose");
}

#[test]
fn rollback_skips_generations_of_the_same_release() {
    let mut service = Service::serving(policy(1));
    for _ in 0..3 {
        service.upgraded(2);
    }
    assert_eq!(target(&service), Some((1, ReleaseId(1))));
}

#[test]
fn a_failed_release_is_nothing_to_go_back_to() {
    let mut service = Service::serving(policy(1));
    service.upgraded(2);
    service.upgrade(3);
    service.dies(crate::service::worker(3, 0));
    assert_eq!(target(&service), Some((1, ReleaseId(1))));
}

#[test]
fn a_rollback_that_fails_leaves_the_way_back_as_it_was() {
    let mut service = Service::serving(policy(1));
    service.upgraded(2);
    let call = service.rollback().expect("1 was before");
    service.dies(crate::service::worker(3, 0));
    assert!(matches!(service.answer(call), Some(Outcome::Failed(3, _))));
    assert_eq!(target(&service), Some((1, ReleaseId(1))));
}

#[test]
fn a_release_is_not_forgotten_behind_many_upgrades_of_another() {
    let mut service = Service::serving(policy(1));
    for _ in 0..100 {
        service.upgraded(2);
    }
    assert_eq!(target(&service), Some((1, ReleaseId(1))));
    assert!(service.world.fleet.good().len() <= crate::fleet::HISTORY);
}

#[test]
fn what_is_remembered_has_a_bound() {
    let mut service = Service::serving(policy(1));
    for release in 2..100 {
        service.upgraded(release);
    }
    assert_eq!(service.world.fleet.good().len(), crate::fleet::HISTORY);
    assert_eq!(target(&service), Some((98, ReleaseId(98))));
    assert!(service.world.fleet.releases_in_use().count() <= crate::fleet::HISTORY + 2);
}
