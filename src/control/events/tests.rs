use super::*;
use crate::control::Timestamp;
use crate::control::view::EventView;

fn text(text: &str) -> String {
    text.to_owned()
}

type Known = (&'static str, Event, &'static str);

/// One of every kind, with its stable name and as a sentence.
fn one_of_each() -> Vec<Known> {
    [
        of_the_master(),
        of_generations(),
        super::steps::tests::of_steps(),
        of_workers(),
        of_other_things(),
    ]
    .concat()
}

fn of_the_master() -> Vec<Known> {
    let by = Caller { uid: 0, pid: 4711 };
    vec![
        (
            "master_started",
            Event::MasterStarted {
                pid: 812,
                version: text("0.1.0"),
            },
            "handover 0.1.0 runs, pid 812",
        ),
        (
            "master_stopping",
            Event::MasterStopping {
                by: Some(by),
                drain_timeout_ms: 20_000,
            },
            "stopping, asked by root (pid 4711); drains 20 s at most",
        ),
        (
            "master_stopping",
            Event::MasterStopping {
                by: Some(by),
                drain_timeout_ms: 0,
            },
            "stopping, asked by root (pid 4711); ends at once, without a drain",
        ),
        (
            "operation_queued",
            Event::OperationQueued {
                operation: text("up_9"),
                operation_kind: OperationKind::Upgrade,
                by,
            },
            "upgrade up_9 is queued, asked by root (pid 4711)",
        ),
        (
            "operation_started",
            Event::OperationStarted {
                operation: text("up_9"),
                operation_kind: OperationKind::Rollback,
                by,
            },
            "rollback up_9 began, asked by root (pid 4711)",
        ),
        (
            "operation_ended",
            Event::OperationEnded {
                operation: text("up_9"),
                operation_kind: OperationKind::Upgrade,
                result: OperationResult::Superseded,
                reason: Some(text("up_10 came")),
                duration_ms: 1200,
            },
            "upgrade up_9: superseded after 1.2 s: up_10 came",
        ),
        (
            "config_refused",
            Event::ConfigRefused {
                reason: text("web.toml:3:1: no"),
            },
            "the config has a fault, nothing changed: web.toml:3:1: no",
        ),
        (
            "admin_listening",
            Event::AdminListening {
                address: Some(text("127.0.0.1:9464")),
            },
            "metrics and health are served at 127.0.0.1:9464",
        ),
    ]
}

fn of_generations() -> Vec<Known> {
    let generation = 8;
    vec![
        (
            "generation_started",
            Event::GenerationStarted {
                generation,
                label: Some(text("v42")),
                workers: 2,
                operation: None,
            },
            "generation 8 starts, 2 workers (v42)",
        ),
        (
            "bake_started",
            Event::BakeStarted {
                generation,
                bake_ms: 1000,
            },
            "generation 8 is ready and bakes for 1 s",
        ),
        (
            "generation_active",
            Event::GenerationActive {
                generation,
                previous: Some(7),
            },
            "generation 8 is active",
        ),
        (
            "generation_draining",
            Event::GenerationDraining {
                generation: 7,
                workers: 2,
                drain_timeout_ms: 20_000,
            },
            "generation 7 drains, 20 s at most",
        ),
        (
            "generation_ended",
            Event::GenerationEnded {
                generation: 7,
                drain_ms: Some(3200),
                connections_cut: Some(0),
            },
            "generation 7 ended after 3.2 s; 0 connections cut",
        ),
        (
            "generation_failed",
            Event::GenerationFailed {
                generation,
                worker: None,
                reason: text("not ready"),
            },
            "generation 8 failed: not ready",
        ),
        (
            "upgrade_failed",
            Event::UpgradeFailed {
                operation: None,
                generation: Some(8),
                worker: Some(text("8.0")),
                serving: Some(7),
                reason: text("exit code 3"),
                changed_workers: Vec::new(),
            },
            "upgrade failed, generation 8, worker 8.0: exit code 3; generation 7 serves as before",
        ),
        (
            "rollback",
            Event::Rollback {
                operation: None,
                from: 8,
                to: 7,
                reason: text("it died"),
            },
            "generation 8 is let go: it died; generation 7 serves as before",
        ),
    ]
}

fn of_workers() -> Vec<Known> {
    let (worker, generation, pid) = (text("8.0"), 8, 812);
    vec![
        (
            "worker_launched",
            Event::WorkerLaunched {
                worker: worker.clone(),
                generation,
                pid,
            },
            "worker 8.0 launched, pid 812",
        ),
        (
            "worker_ready",
            Event::WorkerReady {
                worker: worker.clone(),
                generation,
                pid,
                ready_ms: 112,
                ready_by: text("epoll_wait on listener http"),
            },
            "worker 8.0 is ready after 112 ms by epoll_wait on listener http",
        ),
        (
            "worker_status",
            Event::WorkerStatus {
                worker: worker.clone(),
                generation,
                status: text("warm"),
            },
            "worker 8.0: warm",
        ),
        (
            "worker_exited",
            Event::WorkerExited {
                worker: worker.clone(),
                generation,
                pid,
                exit: text("signal 9 (KILL)"),
                expected: false,
            },
            "worker 8.0 ended (pid 812): signal 9 (KILL)",
        ),
        (
            "worker_restarting",
            Event::WorkerRestarting {
                worker: worker.clone(),
                generation,
                restarts: 1,
                delay_ms: 80,
            },
            "worker 8.0 starts again in 80 ms (restart 1)",
        ),
        (
            "worker_drained",
            Event::WorkerDrained {
                worker: worker.clone(),
                generation,
                drain_ms: 340,
                exit: None,
            },
            "worker 8.0 drained in 340 ms",
        ),
        (
            "worker_drained",
            Event::WorkerDrained {
                worker: worker.clone(),
                generation,
                drain_ms: 6,
                exit: Some(text("exit status 2")),
            },
            "worker 8.0 ended 6 ms after it was told to drain, and not in order: exit status 2",
        ),
        (
            "worker_killed",
            Event::WorkerKilled {
                worker: worker.clone(),
                generation,
                pid,
                reason: text("late"),
            },
            "worker 8.0 was killed (pid 812): late",
        ),
        (
            "worker_elsewhere",
            Event::WorkerElsewhere {
                worker: worker.clone(),
                generation,
                reason: text("no"),
            },
            "worker 8.0: no",
        ),
        (
            "health_failed",
            Event::HealthFailed {
                worker: text("7.0"),
                generation: 7,
                check: text("http:/healthz"),
                failures: 2,
                failures_max: 3,
                reason: text("503 Service Unavailable"),
            },
            "worker 7.0 failed its health check http:/healthz, 2 of 3: 503 Service Unavailable",
        ),
        (
            "health_recovered",
            Event::HealthRecovered {
                worker: text("7.0"),
                generation: 7,
                check: text("exec:./check"),
                failures: 1,
            },
            "worker 7.0 passes its health check exec:./check again after 1 failure",
        ),
        (
            "crash_loop",
            Event::CrashLoop {
                worker: worker.clone(),
                generation,
                restarts: 5,
                delay_ms: 30_000,
                exit: text("exit code 1"),
            },
            "worker 8.0 ends again and again (5 restarts, last: exit code 1); the pause before the next \
             start grows to 30 s at most (restart.max_delay)",
        ),
        (
            "output_dropped",
            Event::OutputDropped {
                worker,
                generation,
                lines: 1,
            },
            "1 line of worker 8.0 not kept",
        ),
    ]
}

fn of_other_things() -> Vec<Known> {
    let generation = 8;
    vec![
        (
            "release_changed",
            Event::ReleaseChanged {
                generation,
                files: vec![text("/srv/a"), text("/srv/b")],
            },
            "a worker of generation 8 starts from files that changed: /srv/a, /srv/b",
        ),
        (
            "listener_repaired",
            Event::ListenerRepaired {
                listener: text("http"),
                what: text("listening again"),
            },
            "listener http was broken and is repaired: listening again",
        ),
        (
            "listener_failed",
            Event::ListenerFailed {
                listener: text("http"),
                reason: text("in use"),
            },
            "listener http is broken: in use",
        ),
        (
            "listener_changed",
            Event::ListenerChanged {
                listener: text("http"),
                what: text("O_NONBLOCK is set"),
                usual: true,
            },
            "listener http: O_NONBLOCK is set",
        ),
        (
            "program_changed",
            Event::ProgramChanged {
                path: text("/srv/app"),
                what: text("an upgrade is asked for"),
            },
            "/srv/app changed on disk: an upgrade is asked for",
        ),
        (
            "listener_opened",
            Event::ListenerOpened {
                listener: text("admin"),
                address: text("127.0.0.1:9000"),
            },
            "listener admin is bound to 127.0.0.1:9000",
        ),
        (
            "listener_closed",
            Event::ListenerClosed {
                listener: text("admin"),
                address: text("127.0.0.1:9000"),
            },
            "listener admin (127.0.0.1:9000) is closed: no generation has it any more",
        ),
        (
            "warning",
            Event::Warning {
                message: text("look"),
            },
            "look",
        ),
        (
            "gap",
            Event::Gap { from: 1, to: 9 },
            "events 1 to 9 are no longer kept",
        ),
    ]
}

#[test]
fn every_kind_has_its_stable_name_and_sentence() {
    for (name, event, sentence) in one_of_each() {
        let view = EventView::new(1, Timestamp::from_millis(0), &event);
        assert_eq!(view.kind, name);
        assert_eq!(event.to_string(), sentence);
    }
}

#[test]
fn every_kind_reads_back_from_its_flat_json() {
    for (name, event, _) in one_of_each() {
        let view = EventView::new(7, Timestamp::from_millis(1_774_112_645_120), &event);
        let json = serde_json::to_string(&view).expect("json");
        let head = format!(r#"{{"seq":7,"at":"2026-03-21T17:04:05.120Z","kind":"{name}","#);
        assert!(json.starts_with(&head), "{json}");
        let back: EventView = serde_json::from_str(&json).expect("reads back");
        assert_eq!(back.event(), Some(event), "{name}");
    }
}

#[test]
fn an_event_of_a_newer_version_keeps_its_fields() {
    let json = r#"{"seq":1,"at":"2026-03-21T17:04:05.000Z","kind":"session_lost","session":"s_0"}"#;
    let view: EventView = serde_json::from_str(json).expect("it is an event");
    assert_eq!(view.event(), None);
    assert_eq!(view.fields["session"], "s_0");
    assert_eq!(serde_json::to_string(&view).expect("json"), json);
}

#[test]
fn an_event_without_its_number_is_none() {
    for json in [
        r#"{"at":"2026-03-21T17:04:05Z","kind":"gap"}"#,
        r#"{"seq":"1"}"#,
        "[]",
    ] {
        serde_json::from_str::<EventView>(json).expect_err(json);
    }
}
