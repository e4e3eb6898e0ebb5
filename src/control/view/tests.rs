use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::control::{Caller, Timestamp};

/// A status in which everything that may be there is there.
pub(crate) fn full_status() -> Value {
    json!({
        "name": "web", "pid": 4711, "version": "0.1.0", "state": "upgrading", "generation": 7,
        "route": "direct", "at": "2026-03-21T17:04:05.120Z",
        "started_at": "2026-03-21T13:52:05.000Z",
        "listeners": [{
            "name": "http", "address": "0.0.0.0:8080", "origin": "bound", "backlog": 4096,
            "queue": 3, "ready": true, "broken": false, "note": null,
        }],
        "admin": "127.0.0.1:9464",
        "generations": [{
            "number": 7, "label": "v42", "state": "active",
            "release": {
                "command": ["./server", "--port", "{port}"], "executable": "/srv/web/server",
                "build_id": "00ff", "pinned": "program", "changed_files": ["/srv/web/app.py"],
            },
            "started_at": "2026-03-21T17:04:05.000Z", "drain_deadline": null,
            "canary_deadline": null,
            "workers": [{
                "id": "7.0", "pid": 812, "state": "ready", "ready_ms": 112,
                "ready_by": "READY=1", "status": "warm", "restarts": 0, "restart_in_ms": 3000,
                "ended": "exit status 3", "connections": null,
                "health": {
                    "check": "http:/healthz", "ok": false, "failures": 2,
                    "reason": "503 Service Unavailable", "at": "2026-03-21T17:04:04.000Z",
                },
            }],
        }],
        "sessions": {
            "bound": 0, "warm": 0, "starting": 0, "draining": 0, "queued": 0, "lost_total": 0,
        },
        "upgrades": {"succeeded": 6, "failed": 1, "rolled_back": 0},
        "last_upgrade": {
            "id": "up_7", "result": "done", "reason": null, "from": 6, "to": 7,
            "started_at": "2026-03-21T17:04:00.000Z", "duration_ms": 1200, "log_tail": [],
        },
        "operation": null, "queued": null, "sticky": null, "scaled": null, "uncounted": null,
        "admin": null, "warnings": [],
    })
}

#[test]
fn a_status_has_the_fields_that_scripts_read() {
    let status: Status = serde_json::from_value(full_status()).expect("a status");
    assert_eq!(serde_json::to_value(&status).expect("json"), full_status());
}

#[test]
fn a_status_of_a_newer_master_is_still_read() {
    let mut newer = full_status();
    newer["state"] = json!("migrating");
    newer["generations"][0]["state"] = json!("parked");
    newer["generations"][0]["release"]["pinned"] = json!("image");
    newer["moons"] = json!(3);
    let status: Status = serde_json::from_value(newer).expect("a status");
    assert_eq!(status.state, MasterState::Unknown);
    assert_eq!(status.generations[0].state, GenerationState::Unknown);
}

fn words_are_the_json<T>(all: &[T], word: fn(T) -> &'static str)
where
    T: Copy + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    for value in all {
        assert_eq!(
            serde_json::to_value(value).expect("json"),
            json!(word(*value))
        );
        let back: T = serde_json::from_value(json!(word(*value))).expect("reads back");
        assert_eq!(back, *value);
    }
}

#[test]
fn the_word_of_a_state_is_its_json() {
    words_are_the_json(MasterState::ALL, MasterState::as_str);
    words_are_the_json(GenerationState::ALL, GenerationState::as_str);
    words_are_the_json(WorkerState::ALL, WorkerState::as_str);
    words_are_the_json(Pinned::ALL, Pinned::as_str);
    words_are_the_json(OperationKind::ALL, OperationKind::as_str);
    words_are_the_json(OperationState::ALL, OperationState::as_str);
    words_are_the_json(OperationResult::ALL, OperationResult::as_str);
    words_are_the_json(Stream::ALL, Stream::as_str);
}

#[test]
fn an_operation_carries_id_kind_state_result_reason_and_by() {
    let mut operation = OperationView::new(
        "up_1",
        OperationKind::Upgrade,
        Caller { uid: 1000, pid: 42 },
    );
    operation.end(
        OperationResult::Failed,
        Some("worker 2.0 exited".to_owned()),
    );
    let json = serde_json::to_value(&operation).expect("json");
    for (name, value) in [
        ("id", json!("up_1")),
        ("kind", json!("upgrade")),
        ("state", json!("ended")),
        ("result", json!("failed")),
        ("reason", json!("worker 2.0 exited")),
        ("by", json!({"uid": 1000, "pid": 42})),
        ("drained", json!(true)),
    ] {
        assert_eq!(json[name], value, "{name}");
    }
    assert_eq!(
        serde_json::from_value::<OperationView>(json).expect("reads back"),
        operation
    );
}

#[test]
fn the_last_upgrade_is_known_once_it_ended() {
    let by = Caller { uid: 0, pid: 1 };
    let mut operation = OperationView::new("up_1", OperationKind::Upgrade, by);
    assert_eq!(LastUpgrade::of(&operation), None);
    operation.started_at = Timestamp::from_millis(0);
    operation.end(OperationResult::Aborted, Some("asked".to_owned()));
    let last = LastUpgrade::of(&operation).expect("ended");
    assert_eq!(
        (last.id.as_str(), last.result),
        ("up_1", OperationResult::Aborted)
    );
    assert!(last.duration_ms > 0);
}
