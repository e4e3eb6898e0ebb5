//! When no worker of the active generation is ready, and what is told of that.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Broken, Start, eventually, get, python_code};

#[test]
fn a_failed_upgrade_does_not_say_that_something_serves_when_nothing_does() {
    let start = Start::bare(&[]);
    let fuse = start.path("burn");
    let program = python_code(&format!(
        "if os.path.exists({fuse:?}): sys.exit('no database')\nserve()",
        fuse = fuse.display().to_string()
    ));
    let service = Start::serving(&program).start();
    std::fs::write(&fuse, "").expect("a file");
    kill(Pid::from_raw(service.workers(1)[0]), Signal::SIGKILL).expect("a worker");
    service.wait_event("worker_exited");
    let failed = service.handover("upgrade", &[]);
    failed.says(
        1,
        &[
            "no database",
            "\ngeneration 1 is as before, but none of its workers is ready: handover status",
        ],
    );
    assert!(!failed.stderr.contains("serves as before"), "{failed:#?}");
    let unserved =
        |said: &str| serde_json::from_str::<Value>(said).expect("JSON")["unserved"].clone();
    let failed = service.handover("upgrade", &["--json"]);
    assert_eq!(unserved(&failed.stdout), true, "{failed:#?}");

    std::fs::remove_file(&fuse).expect("the file");
    eventually("generation 1 serves again", || {
        let status = service.status();
        let mut all = status["generations"].as_array()?.iter();
        let first = all.find(|held| held["number"] == 1)?;
        (first["workers"][0]["state"] == "ready").then_some(())
    });
    let failed = service.upgrade_to(&Broken::at_once());
    failed.says(1, &["\ngeneration 1 serves as before"]);
    // Of a stop nothing is to be complained of.
    let stopped = service.handover("stop", &["--json"]);
    assert_eq!(unserved(&stopped.stdout), false, "{stopped:#?}");
    service.ends();
}

#[test]
fn f16_who_is_ready_of_a_failed_generation_stays_while_nobody_else_serves() {
    let start = Start::bare(&[]);
    let (fuse, wish) = (start.path("burn"), start.path("die"));
    // Once the first file is there no worker of generation 1 starts; with the second one of generation 2 dies.
    let program = python_code(&format!(
        "first = os.environ['HANDOVER_GENERATION'] == '1'\n\
         if first and os.path.exists({fuse:?}): sys.exit('no database')\n\
         def die():\n\
         \x20   while not os.path.exists({wish:?}): time.sleep(0.02)\n\
         \x20   os._exit(9)\n\
         if not first and os.environ['HANDOVER_WORKER'] == '1': threading.Thread(target=die, daemon=True).start()\n\
         serve()",
        fuse = fuse.display().to_string(),
        wish = wish.display().to_string(),
    ));
    let service = Start::serving(&program)
        .flag("--workers", "2")
        .flag("--bake", "60s")
        .flag("--ready-timeout", "2s")
        .flag("--drain-timeout", "1s")
        .start();
    let ended = std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| service.handover("upgrade", &["--json"]));
        service.wait_event("bake_started");
        std::fs::write(&fuse, "").expect("a file");
        for pid in service.workers(1) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("a worker");
        }
        eventually("nobody of generation 1 is ready", || {
            let status = service.status();
            let mut all = status["generations"].as_array()?.iter();
            let first = all.find(|held| held["number"] == 1)?;
            let mut workers = first["workers"].as_array()?.iter();
            workers.all(|it| it["state"] != "ready").then_some(())
        });
        std::fs::write(&wish, "").expect("a file");
        service.wait_event("generation_failed");
        upgrade.join().expect("no panic")
    });
    ended.says(
        6,
        &[
            "upgrade failed and is not wholly undone",
            "hint: 0 of 2 workers of generation 1 are ready; what the others say: handover logs",
            "they come back by themselves, or: handover upgrade",
            "what runs: handover status",
        ],
    );
    let operation: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(
        operation["unserved"], false,
        "generation 2 serves: {operation:#}"
    );
    let answer = get(&service.address(), "/").expect("an answer");
    assert_eq!(answer.generation(), Some(2));
    // As soon as somebody of generation 1 is ready the failed one goes.
    std::fs::remove_file(&fuse).expect("the file");
    service.wait_ended(2);
    let answer = get(&service.address(), "/").expect("an answer");
    assert_eq!(answer.generation(), Some(1));
    service.stop();
}

#[test]
fn while_nobody_serves_status_says_for_how_long_and_what_comes_next() {
    let start = Start::bare(&[]);
    let fuse = start.path("burn");
    let program = python_code(&format!(
        "if os.path.exists({fuse:?}): sys.exit(7)\nserve()",
        fuse = fuse.display().to_string()
    ));
    let start = Start::serving(&program)
        .env("HANDOVER_RESTART__DELAY", "5s")
        .env("HANDOVER_RESTART__MAX_DELAY", "5s");
    let service = start.start();
    std::fs::write(&fuse, "").expect("a file");
    kill(Pid::from_raw(service.workers(1)[0]), Signal::SIGKILL).expect("a worker");
    let warned = |parts: &[&str]| {
        let status = service.status();
        let mut warnings = status["warnings"]
            .as_array()?
            .iter()
            .filter_map(Value::as_str);
        let warning = warnings
            .find(|it| it.starts_with("nobody serves: 0 of 1 worker of generation 1 are ready"))?;
        parts
            .iter()
            .all(|part| warning.contains(part))
            .then(|| warning.to_owned())
    };
    let ended = " s now; worker 1.0 ended (exit status 7) and is started again in ";
    eventually("the time and the next start are told", || {
        warned(&[" are ready, for ", ended])
    });
    let page = service.handover("status", &[]).stdout;
    let first = page.lines().next().unwrap_or_default();
    assert!(first.contains("  not serving  "), "{page}");
    std::fs::remove_file(&fuse).expect("the file");
    eventually("nothing is said any more", || {
        let ready = service.ask("GET", "/readyz", "").ok()?;
        (ready.status == 200 && warned(&[]).is_none()).then_some(())
    });
    service.stop();
}
