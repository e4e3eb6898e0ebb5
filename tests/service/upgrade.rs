//! Upgrades under load: forward, undone, and interrupted at every moment.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::support::{
    Broken, Load, Start, call, eventually, example_server, get, python_code, server, sh,
};

#[test]
fn upgrades_under_load_lose_nothing() {
    let service = Start::serving(&server()).start();
    let load = Load::on(&service.address());
    for _ in 0..3 {
        service.handover("upgrade", &[]).says(0, &[]);
    }
    assert_eq!(service.generation(), 4);
    load.lost_nothing(1..=4);
    service.stop();
}

#[test]
fn an_elf_program_with_several_workers_is_upgraded_under_load() {
    let program = [example_server().display().to_string()];
    let service = Start::serving(&program).flag("--workers", "3").start();
    let load = Load::on(&service.address());
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    assert_eq!(
        service.workers(1),
        [0; 0],
        "--drained waits for the old generation's end"
    );
    assert_eq!(service.workers(2).len(), 3);
    load.lost_nothing(1..=2);
    service.stop();
}

#[test]
fn usr2_upgrades_like_the_command() {
    let service = Start::serving(&server()).start();
    let load = Load::on(&service.address());
    service.signal(Signal::SIGUSR2);
    service.wait_generation(2);
    load.lost_nothing(1..=2);
    service.stop();
}

#[test]
fn a_broken_release_is_undone_and_its_last_words_are_shown() {
    let service = Start::serving(&server()).start();
    let load = Load::on(&service.address());
    service
        .upgrade_to(&Broken::at_once())
        .says(1, &["cannot find the database", "3"]);
    assert_eq!(service.generation(), 1);
    let status = service.status();
    assert_eq!(status["upgrades"]["failed"], 1, "{status:#}");
    let tail = status["last_upgrade"]["log_tail"].to_string();
    assert!(tail.contains("cannot find the database"), "{status:#}");
    // A failed one leaves no trace: the next upgrade is of the old command again.
    service.handover("upgrade", &[]).says(0, &[]);
    load.lost_nothing([1, 3]);
    service.stop();
}

#[test]
fn f17_ready_never_comes() {
    let service = Start::serving(&server())
        .flag("--ready-timeout", "2s")
        .start();
    let load = Load::on(&service.address());
    service
        .upgrade_to(&Broken::never_ready())
        .says(1, &["still loading", "1"]);
    let killed = service.wait_event("worker_killed");
    assert_eq!(
        killed["reason"],
        "it was not ready within 2 s (ready.timeout)"
    );
    load.lost_nothing([1]);
    assert_eq!(service.generation(), 1);
    service.stop();
}

#[test]
fn f17_a_worker_that_dies_in_the_bake_is_rolled_back() {
    let service = Start::serving(&server()).flag("--bake", "5s").start();
    service.upgrade_to(&Broken::in_the_bake()).says(1, &["9"]);
    assert_eq!(service.generation(), 1);
    assert_eq!(
        get(&service.address(), "/")
            .expect("the old one serves")
            .generation(),
        Some(1)
    );
    service.stop();
}

#[test]
fn upgrades_are_counted_by_how_they_ended() {
    let service = Start::serving(&server()).flag("--bake", "1s").start();
    let counts = || service.status()["upgrades"].clone();
    let of = |succeeded, failed, rolled_back| json!({"succeeded": succeeded, "failed": failed, "rolled_back": rolled_back});
    assert_eq!(counts(), of(0, 0, 0), "the first start is no upgrade");
    service.handover("upgrade", &["--env", "A=1"]).says(0, &[]);
    assert_eq!(counts(), of(1, 0, 0));
    service.upgrade_to(&Broken::at_once()).says(1, &[]);
    assert_eq!(counts(), of(1, 1, 0), "it never got ready");
    service.upgrade_to(&Broken::in_the_bake()).says(1, &[]);
    assert_eq!(counts(), of(1, 2, 0), "it was ready, and did not bake");
    service.handover("rollback", &[]).says(0, &[]);
    assert_eq!(counts(), of(1, 2, 1), "an earlier release is active again");
    let metrics = service.ask("GET", "/metrics", "").expect("metrics").body;
    for (result, count) in [("succeeded", 1), ("failed", 2), ("rolled_back", 1)] {
        let line = format!("handover_upgrades_total{{result=\"{result}\"}} {count}\n");
        assert!(metrics.contains(&line), "no {line:?} in {metrics}");
    }
    service.stop();
}

#[test]
fn f16_the_old_worker_dies_while_the_new_one_starts() {
    let service = Start::serving(&server()).start();
    let slow = python_code("time.sleep(1.5)\nserve()");
    let [old] = service.workers(1)[..] else {
        panic!("one worker: {}", service.status())
    };
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| service.upgrade_to(&slow));
        eventually("the new one starts", || {
            (!service.workers(2).is_empty()).then_some(())
        });
        kill(Pid::from_raw(old), Signal::SIGKILL).expect("the old worker");
        // Until it is gone for good, its accept() may still take a client with it.
        service.wait_event("worker_exited");
        // Clients wait in the queue, nobody is refused, and the service serves again.
        let answer = get(&service.address(), "/").expect("an answer, from whichever");
        assert_eq!(answer.status, 200);
        upgrade.join().expect("no panic").says(0, &[]);
    });
    assert_eq!(service.generation(), 2);
    service.stop();
}

#[test]
fn f15_term_while_starting_stops_both_generations() {
    let service = Start::serving(&server()).start();
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| service.upgrade_to(&Broken::never_ready()));
        eventually("the new one starts", || {
            (!service.workers(2).is_empty()).then_some(())
        });
        service.signal(Signal::SIGTERM);
        let answer = upgrade.join().expect("no panic");
        assert!(
            matches!(answer.code, Some(1 | 4 | 6)),
            "a waiting caller is told: {answer:#?}"
        );
    });
    let ended = service.ends(); // and asserts that nothing is left
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

#[test]
fn f15_term_before_the_first_generation_is_ready() {
    let service = Start::serving(&Broken::never_ready()).spawn();
    service.wait_said("still loading");
    service.stop();
}

/// Accepts, never answers, and ignores TERM.
fn stubborn() -> Vec<String> {
    python_code(
        "listener = socket.socket(fileno=3)\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         while True: listener.accept()",
    )
}

#[test]
fn a_second_term_stops_at_once() {
    let service = Start::serving(&stubborn())
        .flag("--drain-timeout", "60s")
        .start();
    let started = Instant::now();
    service.signal(Signal::SIGTERM);
    service.wait_event("master_stopping");
    service.signal(Signal::SIGTERM);
    let ended = service.ends();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "not after the drain's 60 s"
    );
}

#[test]
fn f23_a_worker_that_ignores_its_drain_is_killed_at_the_deadline() {
    let service = Start::serving(&stubborn())
        .flag("--drain-timeout", "500ms")
        .start();
    service.upgrade_to(&server()).says(0, &[]);
    service.wait_ended(1);
    service.wait_event("worker_killed");
    service.stop();
}

#[test]
fn f14_a_burst_of_signals_makes_at_most_one_more_upgrade() {
    let service = Start::serving(&server()).start();
    let load = Load::on(&service.address());
    service.signal(Signal::SIGUSR2);
    eventually("the upgrade began", || {
        (service.status()["state"] == "upgrading").then_some(())
    });
    for _ in 0..50 {
        service.signal(Signal::SIGUSR2);
    }
    eventually("all is quiet again", || {
        let status = service.status();
        (status["state"] == "serving" && status["queued"].is_null()).then_some(())
    });
    let generation = service.generation();
    assert!(
        matches!(generation, 2 | 3),
        "one, and at most one more: {generation}"
    );
    load.lost_nothing([1, 2]);
    service.stop();
}

#[test]
fn a_waiting_upgrade_is_superseded_by_a_newer_release() {
    let service = Start::serving(&server()).flag("--bake", "3s").start();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| service.upgrade_to(&server()));
        eventually("it runs", || {
            (service.status()["state"] == "upgrading").then_some(())
        });
        let queued = scope.spawn(|| service.upgrade_to(&Broken::at_once()));
        eventually("it is queued", || {
            (!service.status()["queued"].is_null()).then_some(())
        });
        let newest = scope.spawn(|| service.upgrade_to(&python_code("serve()")));
        queued.join().expect("no panic").says(3, &[]);
        running.join().expect("no panic").says(0, &[]);
        newest.join().expect("no panic").says(0, &[]);
    });
}

#[test]
fn equal_calls_share_one_upgrade() {
    let program = [example_server().display().to_string()];
    let service = Start::serving(&program).flag("--bake", "2s").start();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| service.handover("upgrade", &[]));
        eventually("it runs", || {
            (service.status()["state"] == "upgrading").then_some(())
        });
        let second = scope.spawn(|| service.handover("upgrade", &[]));
        first.join().expect("no panic").says(0, &[]);
        let second = second.join().expect("no panic");
        second.says(
            0,
            &[
                "op-1-",
                " was bringing the same release already: this upgrade joined it",
            ],
        );
    });
    assert_eq!(service.generation(), 2, "the second call joined the first");
    let history = service.handover("history", &[]).stdout;
    let joined = history.lines().find(|line| line.starts_with("op-2"));
    assert!(
        joined.is_some_and(|line| line.contains("joined op-1-")),
        "{history}"
    );
    service.stop();
}

#[test]
fn abort_ends_a_bake_backward_and_promote_forward() {
    let service = Start::serving(&server()).flag("--bake", "60s").start();
    let load = Load::on(&service.address());
    for (verb, code, active) in [("abort", 1, 1), ("promote", 0, 3)] {
        std::thread::scope(|scope| {
            let upgrade = scope.spawn(|| service.handover("upgrade", &[]));
            eventually("it bakes", || {
                service
                    .status()
                    .to_string()
                    .contains("\"baking\"")
                    .then_some(())
            });
            service.handover(verb, &[]).says(0, &[]);
            upgrade.join().expect("no panic").says(code, &[]);
        });
        assert_eq!(service.generation(), active, "after {verb}");
    }
    load.lost_nothing([1, 3]);
    service.stop();
}

#[test]
fn an_upgrade_behind_a_first_start_that_fails_is_told_why_nothing_serves() {
    let waits = sh("while [ ! -e go ]; do sleep 0.05; done; echo no database; exit 3");
    let service = Start::serving(&waits).spawn();
    let folder = service.runtime_dir();
    eventually("it can be asked", || {
        (service.handover("status", &[]).code == Some(0)).then_some(())
    });
    let words = server();
    let words: Vec<&str> = ["--"]
        .into_iter()
        .chain(words.iter().map(String::as_str))
        .collect();
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| call("upgrade", &folder, &words));
        eventually("it waits for the first one", || {
            service.events().contains("operation_queued").then_some(())
        });
        std::fs::write(service.path("go"), "").expect("written");
        let ended = upgrade.join().expect("no panic");
        ended.says(
            1,
            &[
                "the service ends, since the first generation did not get ready: ",
                "exit status 3",
            ],
        );
        assert!(!ended.stderr.contains("being stopped"), "{ended:#?}");
    });
    service.ends().says(1, &["no database"]);
}
