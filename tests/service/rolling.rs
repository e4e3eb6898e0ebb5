//! A batch of workers at a time.

use crate::support::{Load, Service, Start, eventually, python_code, server};

fn rolling() -> Start {
    Start::serving(&server())
        .flag("--workers", "3")
        .env("HANDOVER_UPGRADE__STRATEGY", "rolling")
}

fn most_workers(service: &Service) -> usize {
    // At one moment: one status, not two.
    let status = service.status();
    let generations = status["generations"].as_array().expect("a list").iter();
    let workers = generations.flat_map(|it| it["workers"].as_array().expect("a list").clone());
    workers.filter(|it| it["pid"].is_number()).count()
}

#[test]
fn three_workers_are_replaced_one_by_one_and_no_request_fails() {
    let service = rolling().start();
    let load = Load::on(&service.address());
    let (mut most, mut steps) = (0, 0);
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| service.handover("upgrade", &["--drained"]));
        while !upgrade.is_finished() {
            most = most.max(most_workers(&service));
        }
        let ended = upgrade.join().expect("no panic");
        ended.says(0, &[]);
        steps = ended.stderr.matches("generation 2 grows to").count();
    });
    assert!(most <= 4, "{most} workers at once: a batch too many");
    assert_eq!(steps, 2, "the first batch starts, two follow");
    assert_eq!(service.workers(2).len(), 3);
    load.lost_nothing([1, 2]);
    service.stop();
}

#[test]
fn a_third_batch_that_fails_brings_the_old_workers_back() {
    let service = rolling().start();
    let before = service.workers(1);
    let load = Load::on(&service.address());
    let broken = python_code(
        "if os.environ['HANDOVER_WORKER'] == '2': sys.exit('no third one')\n\
         serve()",
    );
    let ended = service.upgrade_to(&broken);
    ended.says(1, &["no third one", "generation 1 serves as before"]);
    service.wait_event("generation_restoring");
    let after = service.workers(1);
    assert_eq!(after.len(), 3);
    assert_eq!(
        after.iter().filter(|pid| before.contains(pid)).count(),
        1,
        "two were replaced and came again"
    );
    assert_eq!(service.workers(2), [0; 0]);
    load.lost_nothing([1, 2]);
    service.handover("upgrade", &[]).says(0, &[]);
    service.stop();
}

#[test]
fn a_promotion_ends_the_bake_of_one_batch_and_says_so() {
    let service = rolling().flag("--bake", "3s").start();
    service.handover("upgrade", &["--no-wait"]).says(0, &[]);
    service.wait_event("bake_started");
    let ended = service.handover("promote", &[]);
    ended.says(
        0,
        &["batch 1 of 3 is promoted; each of the other 2 bakes for 3 s again"],
    );
    assert_eq!(ended.stderr.matches("is promoted").count(), 1, "{ended:#?}");
    assert_eq!(service.generation(), 2, "it returns when all are replaced");
    assert_eq!(service.workers(2).len(), 3);
    service.stop();
}

#[test]
fn a_rolling_upgrade_is_aborted_under_load() {
    let service = rolling().flag("--bake", "1s").start();
    let load = Load::on(&service.address());
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| service.handover("upgrade", &[]));
        eventually("the second batch starts", || {
            (service.workers(2).len() == 2).then_some(())
        });
        service.handover("abort", &[]).says(0, &[]);
        upgrade.join().expect("no panic").says(1, &["aborted"]);
    });
    assert_eq!(service.workers(1).len(), 3);
    load.lost_nothing([1]);
    service.stop();
}
