//! Operations: begun, waited for, lost.

use tokio::sync::watch;

use super::*;
use crate::control::OperationRequest;
use crate::control::view::{OperationKind, OperationResult, OperationState, OperationView};

fn running(id: &str) -> OperationView {
    let mut operation = OperationView::new(id, OperationKind::Upgrade, Caller { uid: 0, pid: 1 });
    operation.state = OperationState::Running;
    operation
}

/// A harness whose master gives the same operation to everybody, and that
/// operation's sender.
fn with_operation(limits: Limits) -> (Harness, watch::Sender<OperationView>) {
    let (progress, seen) = watch::channel(running("up_1"));
    let harness = Harness::start(limits, move |_| Answer::Operation(seen.clone()));
    (harness, progress)
}

#[tokio::test]
async fn a_post_is_an_order_with_its_caller() {
    let (harness, mut asked) = Harness::with_calls(Limits::default());
    let me = Caller {
        uid: rustix::process::geteuid().as_raw(),
        pid: std::process::id().cast_signed(),
    };
    let upgrade =
        |json: &str| OperationRequest::Upgrade(serde_json::from_str(json).expect("an upgrade"));
    let full = r#"{"command":["./b"],"env":{"A":"1"},"label":"v2","env_file":"/e","systemd":true}"#;
    for (path, body, kind) in [
        ("/v1/upgrade", "", upgrade("{}")),
        ("/v1/upgrade", full, upgrade(full)),
        (
            "/v1/rollback",
            r#"{"to":3,"anyway":true}"#,
            OperationRequest::Rollback {
                to: Some(3),
                anyway: true,
            },
        ),
        ("/v1/promote", "{}", OperationRequest::Promote),
        ("/v1/abort", " ", OperationRequest::Abort),
        ("/v1/reload", "", OperationRequest::Reload),
        ("/v1/scale", r#"{"workers":4}"#, OperationRequest::Scale(4)),
        (
            "/v1/stop",
            r#"{"now":true}"#,
            OperationRequest::Stop { now: true },
        ),
    ] {
        let master = async {
            let (call, answer) = asked.recv().await.expect("asked");
            assert_eq!(call, Call::Start { kind, by: me });
            let refusal = ApiError::refused("not now").hint("later");
            answer.send(refusal.into()).expect("somebody waits");
        };
        let (answer, ()) = tokio::join!(harness.post(path, body), master);
        assert_eq!(status(&answer), 409);
        assert_eq!(json(&answer)["error"]["hint"], "later");
    }
}

#[tokio::test]
async fn f34_a_waiting_call_is_answered_with_the_end_of_its_operation() {
    let (harness, progress) = with_operation(Limits::default());
    let waiting = harness.post("/v1/upgrade", "");
    let master = async {
        progress.send_modify(|operation| operation.to = Some(8));
        progress.send_modify(|o| o.end(OperationResult::Failed, Some("exit 3".to_owned())));
    };
    let (answer, ()) = tokio::join!(waiting, master);
    assert_eq!(status(&answer), 200);
    let operation = json(&answer);
    assert_eq!(
        (&operation["result"], &operation["to"]),
        (&"failed".into(), &8.into())
    );
}

#[tokio::test]
async fn a_call_that_does_not_wait_gets_the_id() {
    let (harness, _progress) = with_operation(Limits::default());
    let answer = harness.post("/v1/upgrade?wait=false", "").await;
    assert_eq!(status(&answer), 202);
    assert_eq!(
        (&json(&answer)["id"], &json(&answer)["state"]),
        (&"up_1".into(), &"running".into())
    );
    let answer = harness.ask("GET /v1/operations/up_1").await;
    assert_eq!(
        (status(&answer), &json(&answer)["state"]),
        (200, &"running".into())
    );
}

#[tokio::test]
async fn drained_waits_for_the_old_generation_too() {
    let (harness, progress) = with_operation(Limits::default());
    progress.send_modify(|operation| operation.end(OperationResult::Done, None));
    assert_eq!(
        json(&harness.post("/v1/upgrade", "").await)["drained"],
        false
    );
    let waiting = harness.post("/v1/upgrade", r#"{"drained":true}"#);
    let also = harness.ask("GET /v1/operations/up_1?wait=drained");
    let master = async { progress.send_modify(|operation| operation.drained = true) };
    let (one, other, ()) = tokio::join!(waiting, also, master);
    assert_eq!(json(&one)["drained"], true);
    assert_eq!(json(&other)["drained"], true);
}

#[tokio::test]
async fn a_failed_upgrade_has_nothing_to_drain() {
    let (harness, progress) = with_operation(Limits::default());
    progress.send_modify(|operation| operation.end(OperationResult::Aborted, None));
    let answer = harness.post("/v1/upgrade", r#"{"drained":true}"#).await;
    assert_eq!(json(&answer)["result"], "aborted");
}

#[tokio::test]
async fn an_operation_that_the_master_drops_is_told() {
    let (harness, progress) = with_operation(Limits::default());
    let waiting = harness.post("/v1/upgrade", "");
    let (answer, ()) = tokio::join!(waiting, async { drop(progress) });
    assert_eq!(status(&answer), 500);
    let error = json(&answer);
    assert_eq!(
        error["error"]["message"],
        "upgrade up_1 did not end: the master ends"
    );
}

#[tokio::test]
async fn a_call_that_the_master_drops_or_forgets_is_answered() {
    let limits = Limits {
        answer_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let (harness, mut asked) = Harness::with_calls(limits);
    let dropped = async { drop(asked.recv().await) };
    let (answer, ()) = tokio::join!(harness.ask("GET /v1/status"), dropped);
    assert_eq!(
        (status(&answer), &json(&answer)["error"]["kind"]),
        (503, &"stopping".into())
    );
    let answer = harness.ask("GET /v1/status").await;
    assert_eq!(
        (status(&answer), &json(&answer)["error"]["kind"]),
        (504, &"no_answer".into())
    );
    drop(asked);
    let answer = harness.ask("GET /healthz").await;
    assert_eq!(status(&answer), 503, "nobody reads the calls: {answer}");
}

#[tokio::test]
async fn the_end_of_the_log_ends_the_server_after_the_last_answer() {
    let (harness, progress) = with_operation(Limits::default());
    let mut stream = UnixStream::connect(harness.socket())
        .await
        .expect("connected");
    let request = "POST /v1/stop HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut lost = UnixStream::connect(harness.socket())
        .await
        .expect("connected");
    let half = "GET /v1/status HTTP/1.1\r\n";
    lost.write_all(half.as_bytes()).await.expect("sent");
    // One that asks in vain for what does not end.
    let client = harness.client();
    client
        .get_raw("/v1/operations/up_1", None)
        .await
        .expect("the server is there");
    progress.send_modify(|operation| operation.end(OperationResult::Done, None));
    harness.events.close();
    let answer = timeout(BOUND, read_all(&mut stream)).await.expect("closed");
    assert_eq!(json(&answer)["result"], "done");
    timeout(BOUND, harness.server)
        .await
        .expect("ended")
        .expect("well");
    let error = UnixStream::connect(harness.directory.path().join("s")).await;
    assert_eq!(
        error.expect_err("nobody listens").kind(),
        std::io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn an_operation_that_outlives_the_log_is_told_so() {
    let (harness, _progress) = with_operation(Limits::default());
    let waiting = harness.ask("GET /v1/operations/up_1?wait=true");
    let close = async {
        // Until the server asked the master, there is nothing to cut short.
        harness
            .client()
            .get_raw("/v1/operations/up_1", None)
            .await
            .expect("there");
        harness.events.close();
    };
    let (answer, ()) = tokio::join!(waiting, close);
    assert_eq!(
        (status(&answer), &json(&answer)["error"]["kind"]),
        (503, &"stopping".into())
    );
}
