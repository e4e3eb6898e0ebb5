//! A few workers of the new release beside the old ones, until somebody decides.

use crate::support::{Broken, Load, Service, Start, eventually, server};

/// Three workers of generation 1, and one of generation 2 as a canary.
fn standing(start: Start) -> Service {
    let service = start.flag("--workers", "3").start();
    let ended = service.handover("upgrade", &["--canary", "1"]);
    ended.says(0, &[]);
    let said = &ended.stdout;
    assert!(
        said.contains("1 worker of generation 2 stands as a canary beside generation 1")
            && said.contains("to go on: handover promote")
            && said.contains("to go back: handover abort"),
        "{ended:#?}"
    );
    service
}

fn state_of(service: &Service, generation: u64) -> String {
    let status = service.status();
    let generations = status["generations"].as_array().expect("a list");
    let held = generations.iter().find(|held| held["number"] == generation);
    held.map_or_else(String::new, |held| {
        held["state"].as_str().unwrap_or_default().to_owned()
    })
}

#[test]
fn a_canary_is_promoted_under_load() {
    let mut service = standing(Start::serving(&server()));
    assert_eq!(state_of(&service, 2), "canary");
    let status = service.status();
    assert_eq!(status["generation"], 1, "the active one: {status:#}");
    assert_eq!(
        status["state"], "serving",
        "nothing is under way: {status:#}"
    );
    assert_eq!(service.workers(1).len(), 3);
    assert_eq!(service.workers(2).len(), 1);
    let canary = service.workers(2);
    let load = Load::on(&service.address());
    service.handover("promote", &[]).says(0, &[]);
    assert_eq!(service.generation(), 2);
    assert_eq!(service.status()["last_upgrade"]["result"], "done");
    assert_eq!(service.workers(2).len(), 3);
    assert_eq!(service.workers(2)[..1], canary, "the canary goes on");
    load.lost_nothing([2]);
    let page = service.handover("history", &[]).stdout;
    assert!(page.contains("promote"), "{page}");
    service.wait_notified("STATUS=generation 2 active, 3 workers");
    service.stop();
}

#[test]
fn a_canary_is_aborted_under_load_and_no_request_fails() {
    let service = standing(Start::serving(&server()));
    let load = Load::on(&service.address());
    eventually("the canary answers", || {
        let answer = crate::support::get(&service.address(), "/").ok()?;
        (answer.generation() == Some(2)).then_some(())
    });
    service.handover("abort", &[]).says(0, &[]);
    assert_eq!(service.workers(2), [0; 0]);
    assert_eq!(service.workers(1).len(), 3);
    load.lost_nothing([1]);
    came_to_nothing(
        &service,
        "aborted",
        "it was aborted before it was active, asked by ",
    );
    let page = service.handover("history", &[]).stdout;
    let row = |kind: &str| {
        let mut rows = page.lines().filter(|line| line.contains(kind));
        rows.next().unwrap_or_default().to_owned()
    };
    assert!(row(" abort ").contains(" done "), "{page}");
    assert!(row(" upgrade ").contains(" aborted "), "{page}");
    service.handover("upgrade", &[]).says(0, &[]);
    service.stop();
}

/// What says how upgrades ended has it that the canary's did not succeed.
#[track_caller]
fn came_to_nothing(service: &Service, result: &str, why: &str) {
    let status = service.status();
    let last = &status["last_upgrade"];
    assert_eq!(last["result"], result, "{last}");
    let reason = last["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(why), "{last}");
    assert_eq!(
        status["upgrades"],
        serde_json::json!({"succeeded": 0, "failed": 1, "rolled_back": 0})
    );
    let body = service
        .ask("GET", "/v1/history", "")
        .expect("a history")
        .body;
    let history: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let operations = history["operations"].as_array().expect("a list");
    let upgrade = operations.iter().find(|it| it["kind"] == "upgrade");
    let upgrade = upgrade.expect("the upgrade");
    assert_eq!(upgrade["result"], result, "{upgrade}");
    assert_eq!(upgrade["canary"], true, "{upgrade}");
}

#[test]
fn nobody_promotes_it_and_it_is_aborted() {
    let start = Start::serving(&server()).env("HANDOVER_UPGRADE__CANARY_TIMEOUT", "2s");
    let service = standing(start);
    let deadline = service.status()["generations"][0]["canary_deadline"].clone();
    assert!(deadline.is_string(), "{deadline}");
    service.wait_ended(2);
    let event = service.wait_event("generation_failed");
    let reason = event["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("upgrade.canary_timeout"), "{event}");
    assert_eq!(service.generation(), 1);
    came_to_nothing(&service, "failed", "nobody promoted the canary within 2 s");
    service.stop();
}

#[test]
fn another_upgrade_is_refused_while_it_stands() {
    let service = standing(Start::serving(&server()));
    let last = service.status()["last_upgrade"].clone();
    assert_eq!(last["result"], "done", "the canary's: {last:#}");
    for verb in ["upgrade", "rollback", "reload"] {
        let words: &[&str] = match verb {
            "rollback" => &["--to", "1"],
            _ => &[],
        };
        service.handover(verb, words).says(
            1,
            &[
                "a canary stands: promote or abort first",
                "handover promote",
            ],
        );
    }
    service
        .handover("scale", &["5"])
        .says(1, &["a canary stands: promote or abort first"]);
    assert_eq!(state_of(&service, 2), "canary");
    // They are in the history; the last upgrade is the one that changed something.
    let history = service.handover("history", &[]).stdout;
    assert_eq!(history.matches("refused").count(), 4, "{history}");
    assert_eq!(service.status()["last_upgrade"], last);
    let page = service.handover("status", &[]).stdout;
    assert!(
        page.contains("last upgrade: ") && !page.contains("refused"),
        "{page}"
    );
    service.stop();
}

#[test]
fn a_canary_that_dies_is_undone_and_told() {
    let service = Start::serving(&server()).flag("--workers", "2").start();
    let mut words = vec!["--canary", "1", "--"];
    let broken = Broken::in_the_bake();
    words.extend(broken.iter().map(String::as_str));
    let ended = service.handover("upgrade", &words);
    // It stands after 200 ms, or dies in its bake on a machine that is slow.
    assert!(matches!(ended.code, Some(0 | 1)), "{ended:#?}");
    service.wait_ended(2);
    service.wait_event("generation_failed");
    assert_eq!(service.workers(1).len(), 2);
    service.handover("upgrade", &[]).says(0, &[]);
    service.stop();
}

#[test]
fn a_canary_of_more_workers_than_there_are_is_all_of_them_and_said() {
    let service = Start::serving(&server()).flag("--workers", "2").start();
    let ended = service.handover("upgrade", &["--canary", "5"]);
    ended.says(
        0,
        &["a canary of 5 is more than a generation has (2 workers): that is all of them at once"],
    );
    let stands = "2 workers of generation 2 stand as a canary";
    assert!(ended.stdout.contains(stands), "{ended:#?}");
    assert_eq!(service.workers(2).len(), 2);
    service.stop();
}

#[test]
fn what_a_canary_was_asked_with_stays_when_it_is_promoted() {
    let service = Start::serving(&server()).flag("--workers", "2").start();
    service
        .handover("upgrade", &["--canary", "1", "--env", "COLOUR=blue"])
        .says(0, &[]);
    assert!(service.status()["sticky"].is_null(), "it is not in force");
    service.handover("promote", &[]).says(0, &[]);
    let sticky = service.status()["sticky"].to_string();
    assert!(sticky.contains("COLOUR"), "{sticky}");
    service.stop();
}

#[test]
fn systemds_reload_leaves_no_canary() {
    let start = Start::serving(&server()).env("HANDOVER_UPGRADE__CANARY", "1");
    let service = start.flag("--workers", "2").start();
    service.handover("upgrade", &["--systemd"]).says(0, &[]);
    assert_eq!(service.generation(), 2);
    service.handover("upgrade", &[]).says(0, &[]);
    assert_eq!(state_of(&service, 3), "canary", "the config asks for one");
    service
        .handover("upgrade", &["--canary", "1", "--systemd"])
        .says(2, &["--canary"]);
    service.stop();
}
