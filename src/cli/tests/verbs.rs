//! Verbs that ask and print.

use std::io;

use serde_json::json;

use super::*;
use crate::cli::failure::Failure;
use crate::control::view::{ConfigView, HistoryView, LogLine, LogsView, Status, Stream};
use crate::control::{OperationRequest, Timestamp};

fn status() -> Status {
    serde_json::from_value(json!({
        "name": "web", "pid": 4711, "version": "0.1.0", "state": "serving", "generation": 7,
        "route": "direct", "at": "2026-03-21T17:04:05.120Z",
        "started_at": "2026-03-21T17:04:00.000Z", "listeners": [], "generations": [],
        "upgrades": {"succeeded": 0, "failed": 0, "rolled_back": 0}, "last_upgrade": null,
    }))
    .expect("a status")
}

fn answers(call: &Call) -> Answer {
    match call {
        Call::Status => Answer::view(&status()),
        Call::History => Answer::view(&HistoryView {
            since: None,
            operations: vec![running()],
        }),
        Call::Config => Answer::view(&ConfigView::default()),
        Call::Logs {
            worker: Some(worker),
            ..
        } => ApiError::not_found(format_args!("there is no worker {worker}")).into(),
        Call::Logs { .. } => Answer::view(&LogsView {
            lines: vec![LogLine {
                seq: 1,
                at: Timestamp::from_millis(0),
                worker: "7.0".to_owned(),
                stream: Stream::Stdout,
                text: "listening".to_owned(),
            }],
            next: 1,
            dropped: 0,
        }),
        other => no_answer(other),
    }
}

#[tokio::test]
async fn each_prints_its_page() {
    let place = place();
    let _master = Pretender::start(&place.path().join("web"), answers);
    for (line, expected) in [
        (
            "status",
            "web  serving  generation 7  direct  pid 4711  up 5 s  handover 0.1.0\n",
        ),
        (
            "status web",
            "web  serving  generation 7  direct  pid 4711  up 5 s  handover 0.1.0\n",
        ),
        ("logs", "7.0  listening\n"),
        ("events", ""),
    ] {
        let done = handover(line, place.path()).await;
        assert_eq!(
            (done.code, done.out.as_str()),
            (0, expected),
            "{line}: {}",
            done.err
        );
    }
    let done = handover("history", place.path()).await;
    assert!(
        done.out.starts_with("ID    KIND     GENERATION"),
        "{}",
        done.out
    );
}

#[tokio::test]
async fn each_prints_json() {
    let place = place();
    let master = Pretender::start(place.path(), answers);
    master.events.push(&Event::Warning {
        message: "look".to_owned(),
    });
    for (line, key) in [
        ("status --json", "/generation"),
        ("history --json", "/operations/0/id"),
        ("config --json", "/values"),
        ("logs --json", "/worker"),
        ("events --json", "/message"),
        ("upgrade --no-wait --json", "/id"),
    ] {
        let done = handover(line, place.path()).await;
        assert_eq!(done.code, 0, "{line}: {}", done.err);
        let value: serde_json::Value = serde_json::from_str(&done.out).expect("one JSON value");
        assert!(
            value.pointer(key).is_some_and(|v| !v.is_null()),
            "{line}: {value}"
        );
    }
}

#[tokio::test]
async fn an_error_of_the_master_is_told_with_its_hint() {
    let place = place();
    let _master = Pretender::start(place.path(), answers);
    let done = handover("logs --worker 9.0", place.path()).await;
    assert_eq!(
        (done.code, done.err.as_str()),
        (1, "error: there is no worker 9.0\n")
    );
    let done = handover("logs --worker 9.0 --json", place.path()).await;
    let error: serde_json::Value = serde_json::from_str(&done.out).expect("one JSON value");
    assert_eq!(error["error"]["kind"], "not_found");
}

#[tokio::test]
async fn following_ends_with_the_master() {
    let place = place();
    let master = Pretender::start(place.path(), answers);
    master.events.push(&Event::GenerationEnded {
        generation: 6,
        drain_ms: None,
        connections_cut: None,
    });
    let (mut terminal, out, err) = files();
    let end = async {
        eventually(|| out.text().ends_with("Z  generation 6 ended\n")).await;
        master.events.close();
    };
    let follow = carry_out("events --follow", place.path(), &mut terminal);
    let (exit, ()) = tokio::join!(follow, end);
    assert_eq!(
        (exit, err.text().as_str()),
        (Exit::Done, "web: the master ended\n")
    );
}

#[tokio::test]
async fn watching_shows_the_status_again_when_something_happens() {
    let place = place();
    let master = Pretender::start(place.path(), answers);
    let (mut terminal, out, _) = files();
    let end = async {
        eventually(|| out.text().lines().count() == 1).await;
        master.events.push(&Event::GenerationEnded {
            generation: 6,
            drain_ms: None,
            connections_cut: None,
        });
        eventually(|| out.text().lines().count() == 2).await;
        master.events.close();
    };
    let watch = carry_out("status --watch --json", place.path(), &mut terminal);
    let (exit, ()) = tokio::join!(watch, end);
    assert_eq!(exit, Exit::Done);
}

#[tokio::test]
async fn where_no_master_runs_it_says_where_it_looked() {
    let place = place();
    let done = handover("status", place.path()).await;
    let looked = place.path().join("*");
    assert_eq!(done.code, 4);
    assert_eq!(
        done.err,
        format!(
            "error: no handover is running here (looked in {})\n hint: start one: handover run \
             --listen :8080 -- ./server\n",
            looked.display()
        )
    );
    let done = handover("upgrade --if-running", place.path()).await;
    assert_eq!(
        (done.code, done.out.as_str(), done.err.as_str()),
        (0, "", "")
    );
}

#[tokio::test]
async fn an_order_is_what_the_flags_say() {
    let place = place();
    let mut master = Pretender::start(place.path(), no_answer);
    let full = "upgrade --no-wait --env A=1 --env-file /e --label v2 --systemd -- ./b -x";
    let done = handover(full, place.path()).await;
    assert_eq!((done.code, done.out.as_str()), (0, "up_8\n"));
    let Some(Call::Start {
        kind: OperationRequest::Upgrade(request),
        ..
    }) = master.orders.recv().await
    else {
        panic!("no upgrade");
    };
    assert_eq!(
        serde_json::to_value(&request).expect("json"),
        json!({
            "command": ["./b", "-x"], "env": {"A": "1"}, "env_file": "/e", "label": "v2",
            "systemd": true,
        })
    );
    for (line, expected) in [
        (
            "upgrade --no-wait",
            OperationRequest::Upgrade(Default::default()),
        ),
        (
            "rollback --no-wait --to 3 --anyway",
            OperationRequest::Rollback {
                to: Some(3),
                anyway: true,
            },
        ),
        (
            "rollback --no-wait",
            OperationRequest::Rollback {
                to: None,
                anyway: false,
            },
        ),
        ("promote --no-wait", OperationRequest::Promote),
        ("abort --no-wait", OperationRequest::Abort),
        ("reload --no-wait", OperationRequest::Reload),
        ("stop --no-wait --now", OperationRequest::Stop { now: true }),
    ] {
        assert_eq!(handover(line, place.path()).await.code, 0, "{line}");
        let Some(Call::Start { kind, .. }) = master.orders.recv().await else {
            panic!("{line}: no order");
        };
        assert_eq!(kind, expected, "{line}");
    }
}

#[test]
fn a_closed_pipe_is_quiet() {
    let (mut terminal, out, err) = files();
    let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
    assert_eq!(failure.report(&mut terminal, true), Exit::Done);
    assert_eq!((out.text(), err.text()), (String::new(), String::new()));
    let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
    assert_eq!(full.report(&mut terminal, false), Exit::Failed);
}
