//! A program that is only a path, edited in place: what an upgrade that failed leaves is not what ran before it.

use serde_json::Value;

use crate::support::{Service, Start, eventually, python, python_code};

/// `python3 app.py` with two workers, replaced one by one.
fn serving() -> Service {
    let start = Start::serving(&[python().to_owned(), "app.py".to_owned()])
        .flag("--workers", "2")
        .flag("--ready-timeout", "2s")
        .flag("--drain-timeout", "1s")
        .env("HANDOVER_UPGRADE__STRATEGY", "rolling");
    edit(&start.path("app.py"), "serve()");
    start.start()
}

fn edit(file: &std::path::Path, code: &str) {
    let code = python_code(code).pop().expect("a code");
    std::fs::write(file, code).expect("a file");
}

fn operation(said: &str) -> Value {
    serde_json::from_str(said).expect("JSON")
}

/// The code that ran first serves again with all workers.
#[track_caller]
fn mended(service: &Service, number: u64) {
    edit(&service.path("app.py"), "serve()");
    service.handover("upgrade", &[]).says(0, &[]);
    assert_eq!(service.workers(number).len(), 2);
    eventually("what ran the wrong files is gone", || {
        service.workers(1).is_empty().then_some(())
    });
}

#[test]
fn a_failed_upgrade_says_which_workers_came_back_from_the_edited_file() {
    let service = serving();
    edit(
        &service.path("app.py"),
        "if os.environ['HANDOVER_WORKER'] == '1' and os.environ['HANDOVER_GENERATION'] == '2': os._exit(9)\nserve()",
    );
    let failed = service.handover("upgrade", &["--json"]);
    let whose = "worker 1.1 of generation 1 was started from files that changed since it began";
    failed.says(
        1,
        &[
            "exit status 9; worker 1.1 of generation 1 was started from files",
            "app.py: changed (size ",
            "they may run what failed; restore them, then: handover upgrade",
            "\ngeneration 1 serves, but not as before: restore the files that changed, then: handover upgrade",
        ],
    );
    assert!(!failed.stderr.contains("serves as before"), "{failed:#?}");
    let told = operation(&failed.stdout);
    assert_eq!(told["changed_workers"], serde_json::json!(["1.1"]));
    let has = |view: &Value, part: &str| {
        let warnings = view["warnings"].as_array().expect("a list").iter();
        let mut words = warnings.filter_map(Value::as_str);
        words.any(|words| words.contains(part))
    };
    assert!(has(&told, whose), "{told:#}");
    // Whoever comes later reads the same.
    let history = operation(&service.handover("history", &["--json"]).stdout);
    let last = &history["operations"][0];
    assert!(
        has(last, "restore them, then: handover upgrade"),
        "{last:#}"
    );
    assert!(
        last["reason"].as_str().expect("words").contains(whose),
        "{last:#}"
    );
    let history = service.handover("history", &[]);
    assert!(history.stdout.contains(whose), "{history:#?}");
    let event = service.wait_event("upgrade_failed");
    assert_eq!(
        event["changed_workers"], told["changed_workers"],
        "{event:#}"
    );

    mended(&service, 3);
    let failed = service.upgrade_to(&crate::support::Broken::at_once());
    failed.says(1, &["\ngeneration 3 serves as before"]);
    service.stop();
}

#[test]
fn an_upgrade_that_cannot_be_undone_over_an_edited_file_says_what_to_type() {
    let service = serving();
    // The second batch fails, and so does whoever is to come back.
    edit(
        &service.path("app.py"),
        "if os.environ['HANDOVER_GENERATION'] == '1' or os.environ['HANDOVER_WORKER'] == '1': os._exit(9)\nserve()",
    );
    let failed = service.handover("upgrade", &["--json"]);
    failed.says(
        6,
        &[
            "upgrade failed and is not wholly undone",
            "hint: worker 1.1 of generation 1 was started from files that changed",
            "restore them, then: handover upgrade",
            "what runs: handover status",
        ],
    );
    let told = operation(&failed.stdout);
    let hint = told["hint"].as_str().expect("a hint");
    assert!(hint.contains("app.py: changed"), "{told:#}");
    assert_ne!(told["warnings"], serde_json::json!([]), "{told:#}");
    mended(&service, 3);
    service.stop();
}
