//! Workers that fail their health check and cannot be replaced at once, and those that never pass it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::health::{Switch, asked_often, worker};
use crate::support::{Service, Start, eventually, get, python_code, server, switched};

/// Worker 1.0 fails its check and stays: the one that is to take its place does not start for hours.
fn alone_and_unwell() -> (Start, Switch, Service) {
    let start = Start::bare(&[]);
    let switch = Switch::of(&start);
    let service = asked_often(Start::serving(&switch.server()), "http:/healthz")
        .env("HANDOVER_RESTART__DELAY", "1000h")
        .env("HANDOVER_RESTART__MAX_DELAY", "1000h")
        .start();
    switch.says("503 Service Unavailable");
    service.wait_said("worker 1.0 serves until another one is ready: nobody else is");
    (start, switch, service)
}

fn happened(service: &Service, kind: &str) -> usize {
    let kind = format!("\"kind\":\"{kind}\"");
    service.events().matches(&kind).count()
}

#[test]
fn the_last_worker_recovers_and_that_is_noticed() {
    let (_start, switch, service) = alone_and_unwell();
    let before = service.workers(1);
    let asked = switch.asked().len();
    eventually("it is asked on", || {
        (switch.asked().len() > asked + 8).then_some(())
    });
    assert_eq!(worker(&service, 1)["health"]["ok"], false);
    switch.says("200 OK");
    let event = service.wait_event("health_recovered");
    assert_eq!(event["worker"], "1.0");
    assert!(event["failures"].as_u64() > Some(8), "{event}");
    assert_eq!(worker(&service, 1)["health"]["ok"], true);
    assert_eq!(service.workers(1), before, "it serves on");
    let said = service.said();
    assert_eq!(said.matches("is not healthy").count(), 1, "{said}");
    service.stop();
}

#[test]
fn the_last_worker_hangs_and_that_is_noticed() {
    let (_start, switch, service) = alone_and_unwell();
    switch.says("hang");
    let event = service.wait_event("worker_killed");
    let reason = event["reason"].to_string();
    assert!(reason.contains("no answer within 1 s"), "{event}");
    eventually("it is gone", || service.workers(1).is_empty().then_some(()));
    service.stop();
}

#[test]
fn those_that_finish_do_not_pile_up() {
    let start = Start::bare(&[]);
    let switch = Switch::of(&start);
    let go = start.path("go");
    // It goes on accepting, and its end takes until it is let go.
    let stays = format!(
        "def drain(*_):\n\
         \x20   while not os.path.exists({:?}): time.sleep(0.02)\n\
         m.drain = drain",
        go.display().to_string()
    );
    let program = switched(&switch.0, &stays);
    let service = asked_often(Start::serving(&program), "http:/healthz")
        .flag("--drain-timeout", "10m")
        .start();
    let first = service.workers(1);
    switch.says("503 Service Unavailable");
    // The first stays, the second finishes, and the third waits.
    let waits = "it is not replaced yet: as many workers that were replaced before it still finish";
    service.wait_said(waits);
    let all: BTreeSet<i32> = service.workers(1).into_iter().collect();
    assert_eq!(all.len(), 3, "{all:?}");
    let failures = || worker_of(&service, &all, &first).as_u64();
    let before = failures();
    eventually("it fails a few times more", || {
        (failures() > before.map(|it| it + 6)).then_some(())
    });
    assert_eq!(service.said().matches(waits).count(), 1, "told once");
    assert_eq!(service.workers(1).into_iter().collect::<BTreeSet<_>>(), all);
    let finishes = pid_in(&service, "draining");
    kill(Pid::from_raw(finishes), Signal::SIGKILL).expect("it is a worker of this test");
    eventually("another one takes its place", || {
        let mut now = service.workers(1).into_iter();
        now.any(|pid| !all.contains(&pid)).then_some(())
    });
    assert!(service.workers(1).len() <= 3, "{:?}", service.workers(1));
    switch.says("200 OK");
    std::fs::write(&go, "").expect("a file");
    eventually("one is left, and it is well", || {
        let alone = service.workers(1).len() == 1;
        (alone && worker(&service, 1)["health"]["ok"] == true).then_some(())
    });
    service.stop();

    /// How often the one failed that neither was first nor finishes.
    fn worker_of(service: &Service, all: &BTreeSet<i32>, first: &[i32]) -> serde_json::Value {
        let status = service.status();
        let workers = status["generations"][0]["workers"]
            .as_array()
            .expect("a list");
        let waits = workers.iter().find(|it| {
            let pid = it["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
            it["state"] == "starting"
                && pid.is_some_and(|pid| all.contains(&pid) && !first.contains(&pid))
        });
        waits.map_or(serde_json::Value::Null, |it| {
            it["health"]["failures"].clone()
        })
    }

    fn pid_in(service: &Service, state: &str) -> i32 {
        let status = service.status();
        let workers = status["generations"][0]["workers"]
            .as_array()
            .expect("a list");
        let found = workers.iter().find(|it| it["state"] == state);
        let pid = found.and_then(|it| it["pid"].as_i64());
        i32::try_from(pid.expect("one is in it")).expect("a PID")
    }
}

#[test]
fn an_old_worker_that_is_not_well_takes_no_scaling_back() {
    let start = Start::bare(&[]);
    let (bad, go) = (start.path("bad"), start.path("go"));
    let slow = python_code(&format!(
        "while os.environ['HANDOVER_WORKER'] == '2' and not os.path.exists({:?}): time.sleep(0.02)\nserve()",
        go.display().to_string()
    ));
    let check = format!("exec:sh -c 'test ! -e {}.$HANDOVER_WORKER'", bad.display());
    let service = asked_often(Start::serving(&slow), &check)
        .flag("--workers", "2")
        .start();
    let before = service.workers(1);
    std::thread::scope(|scope| {
        let scale = scope.spawn(|| service.handover("scale", &["3"]));
        eventually("the third one starts", || {
            (service.workers(1).len() == 3).then_some(())
        });
        std::fs::write(bad.with_extension("0"), "").expect("a file");
        eventually("the first one is replaced", || {
            let now = service.workers(1);
            (now.len() == 3 && !now.contains(&before[0])).then_some(())
        });
        std::fs::write(&go, "").expect("a file");
        scale.join().expect("no panic").says(0, &[]);
    });
    assert_eq!(service.workers(1).len(), 3);
    service.stop();
}

#[test]
fn f3_a_release_that_is_never_healthy_finishes_what_it_accepted() {
    let start = Start::bare(&[]);
    let (old, new) = (Switch(start.path("old")), Switch(start.path("new")));
    old.says("200 OK");
    new.says("503 Service Unavailable");
    let service = Start::serving(&old.server())
        .env("HANDOVER_HEALTH__CHECK", "http:/healthz")
        .env("HANDOVER_HEALTH__INTERVAL", "1h")
        .env("HANDOVER_DRAIN__KILL_AFTER", "200ms")
        .flag("--ready-timeout", "4s")
        .start();
    let address = service.address();
    let ended = AtomicBool::new(false);
    let (upgrade, failed, answers) = std::thread::scope(|scope| {
        let ask_slowly = || {
            let mut answers = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let answer = get(&address, "/slow?ms=1500").expect("nothing is cut");
                answers.push((answer, Instant::now()));
            }
            answers
        };
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(ask_slowly)).collect();
        let upgrade = scope.spawn(|| service.upgrade_to(&new.server()));
        service.wait_event("generation_failed");
        let failed = Instant::now();
        let upgrade = upgrade.join().expect("no panic");
        ended.store(true, Ordering::Relaxed);
        let clients = clients.into_iter();
        let answers = clients.flat_map(|client| client.join().expect("no panic"));
        (upgrade, failed, answers.collect::<Vec<_>>())
    });
    upgrade.says(1, &["worker 2.0 was not ready within 4 s (ready.timeout)"]);
    assert!(answers.iter().all(|(answer, _)| answer.status == 200));
    let late = answers.iter().filter(|(answer, at)| {
        answer.generation() == Some(2) && *at > failed + Duration::from_millis(200)
    });
    assert!(late.count() > 0, "it had accepted none: {answers:?}");
    assert_eq!(happened(&service, "worker_killed"), 0);
    assert_eq!(service.generation(), 1);
    service.stop();
}

#[test]
fn who_accepted_nothing_has_kill_after_to_end() {
    let deaf = python_code("signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)");
    let service = Start::serving(&server())
        .env("HANDOVER_DRAIN__KILL_AFTER", "200ms")
        .flag("--drain-timeout", "10m")
        .flag("--workers", "2")
        .flag("--ready", "accepting")
        .flag("--ready-timeout", "2s")
        .start();
    let upgrade = service.upgrade_to(&deaf);
    upgrade.says(1, &["was not ready within 2 s (ready.timeout)"]);
    // The one that was late is killed, and the other one for it, after 200 ms.
    assert_eq!(happened(&service, "worker_killed"), 2);
    let events = service.events();
    assert!(
        events.contains("it was told to end and had not"),
        "{events}"
    );
    assert_eq!(service.generation(), 1);
    service.stop();
}
