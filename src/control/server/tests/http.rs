//! Routes, methods, parameters and bodies.

use super::*;

#[tokio::test]
async fn each_route_asks_the_master_its_call() {
    let harness = Harness::start(Limits::default(), echo);
    for (line, call) in [
        ("GET /v1/status", "Status"),
        ("GET /v1/config", "Config"),
        ("GET /v1/history", "History"),
        ("GET /metrics", "Metrics"),
        (
            "GET /v1/logs?generation=8&after=12&lines=20",
            "Logs { worker: None, generation: Some(8), after: Some(12), lines: Some(20) }",
        ),
        (
            "GET /v1/logs?worker=8.0",
            "Logs { worker: Some(\"8.0\"), generation: None, after: None, lines: None }",
        ),
        (
            "GET /v1/workers/8.0/logs?after=3",
            "Logs { worker: Some(\"8.0\"), generation: None, after: Some(3), lines: None }",
        ),
    ] {
        let answer = harness.ask(line).await;
        assert_eq!(status(&answer), 200, "{answer}");
        assert_eq!(json(&answer), call);
    }
}

#[tokio::test]
async fn health_is_the_loop_turning_and_readiness_is_a_worker() {
    let harness = Harness::start(Limits::default(), echo);
    let health = harness.ask("GET /healthz").await;
    assert!(
        status(&health) == 200 && health.ends_with("\r\n\r\nok\n"),
        "{health}"
    );
    let ready = harness.ask("GET /readyz").await;
    assert!(
        status(&ready) == 503 && ready.ends_with("\r\n\r\nstarting\n"),
        "{ready}"
    );
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let harness = Harness::start(Limits::default(), echo);
    let answer = harness.ask("HEAD /v1/status").await;
    assert_eq!(status(&answer), 200);
    assert!(
        answer.contains("content-length: 9\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_wrong_request_is_told_what_is_wrong() {
    let harness = Harness::start(Limits::default(), echo);
    for (line, expected, kind, message) in [
        ("GET /", 404, "not_found", "there is no /"),
        (
            "GET /v1/workers//logs",
            404,
            "not_found",
            "there is no /v1/workers//logs",
        ),
        (
            "DELETE /v1/status",
            405,
            "method_not_allowed",
            "/v1/status is GET, not DELETE",
        ),
        (
            "GET /v1/upgrade",
            405,
            "method_not_allowed",
            "/v1/upgrade is POST, not GET",
        ),
        (
            "GET /v1/status?x=1",
            400,
            "bad_request",
            "this route knows no ?x=",
        ),
        (
            "GET /v1/events?since=x",
            400,
            "bad_request",
            "?since= is an event's number, not \"x\"",
        ),
        (
            "POST /v1/stop?wait=maybe",
            400,
            "bad_request",
            "?wait= is true, false or drained",
        ),
    ] {
        let answer = harness.ask(line).await;
        assert_eq!(status(&answer), expected, "{line}");
        let error = &json(&answer)["error"];
        assert_eq!(error["kind"], kind, "{line}");
        let told = error["message"].as_str().expect("a message");
        assert!(told.starts_with(message), "{line}: {told}");
    }
    assert!(
        harness
            .ask("PUT /v1/status")
            .await
            .contains("allow: GET, HEAD\r\n")
    );
    let lost = json(&harness.ask("GET /v2").await);
    let hint = lost["error"]["hint"].as_str().expect("a hint");
    assert!(
        hint.contains("GET /v1/status") && hint.contains("POST /v1/upgrade"),
        "{hint}"
    );
}

#[tokio::test]
async fn a_wrong_body_is_told_with_line_and_column() {
    let harness = Harness::start(Limits::default(), echo);
    for (path, body, message) in [
        (
            "/v1/upgrade",
            "{\n  \"label\": 3\n}",
            "invalid type: integer `3`",
        ),
        (
            "/v1/upgrade",
            "{\"comand\": []}",
            "unknown field `comand`, expected one of `command`",
        ),
        (
            "/v1/upgrade",
            "{",
            "EOF while parsing an object at line 1 column 1",
        ),
        ("/v1/upgrade", "[]x", "at line 1 column"),
        ("/v1/upgrade", "\u{0}", "at line 1 column 1"),
        (
            "/v1/upgrade",
            "{\"command\": []}",
            "\"command\" names no program",
        ),
        (
            "/v1/upgrade",
            "{\"command\": [\"a\\u0000\"]}",
            "\"command\" holds a NUL",
        ),
        (
            "/v1/upgrade",
            "{\"env\": {\"a=b\": \"\"}}",
            "\"a=b\" is no name of a variable",
        ),
        (
            "/v1/upgrade",
            "{\"env\": {\"a\": \"\\u0000\"}}",
            "\"env\": a holds a NUL",
        ),
        (
            "/v1/upgrade",
            "{\"env\": {\"LISTEN_FDS\": \"9\"}}",
            "\"env\": handover sets LISTEN_FDS itself",
        ),
        (
            "/v1/upgrade",
            "{\"env_file\": \"x\"}",
            "\"env_file\" is no absolute path",
        ),
        ("/v1/scale", "{\"workers\": 0}", "\"workers\" is 1 at least"),
        ("/v1/scale", "", "missing field `workers`"),
        ("/v1/abort", "{\"x\": 1}", "unknown field `x`"),
        ("/v1/rollback", "{\"to\": -1}", "line 1 column"),
    ] {
        let answer = harness.post(path, body).await;
        assert_eq!(status(&answer), 400, "{body}");
        let error = json(&answer);
        let told = error["error"]["message"].as_str().expect("a message");
        assert!(told.contains(message), "{body}: {told}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let limits = Limits {
        body_bytes: 1000,
        ..Limits::default()
    };
    let harness = Harness::start(limits, echo);
    let announced = "POST /v1/stop HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n";
    assert_eq!(status(&harness.raw(announced).await), 413);
    let chunk = format!("200\r\n{}\r\n", " ".repeat(0x200));
    let chunked = format!(
        "POST /v1/stop HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}"
    );
    assert_eq!(status(&harness.raw(chunked).await), 413);
    let fits = harness.post("/v1/stop", &" ".repeat(1000)).await;
    assert_eq!(status(&fits), 500, "the echo is no operation: {fits}");
}

/// More than a unix socket and its server hold together: who writes it waits for somebody who reads.
const LONG: usize = 8 * 1024 * 1024;

/// Writes the whole request before it reads, as many clients do.
async fn write_then_read(harness: &Harness, line: &str) -> String {
    let mut client = UnixStream::connect(harness.socket())
        .await
        .expect("connected");
    let head = format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-length: {LONG}\r\n\r\n");
    let request = [head.as_bytes(), &vec![b' '; LONG]].concat();
    let exchange = async {
        client.write_all(&request).await.expect("taken to its end");
        read_all(&mut client).await
    };
    timeout(BOUND, exchange).await.expect("the server closes")
}

#[tokio::test]
async fn who_writes_all_before_it_reads_is_told_why_it_was_refused() {
    let harness = Harness::start(Limits::default(), echo);
    for (line, refusal) in [("POST /v1/upgrade", 413), ("POST /v1/nothing", 404)] {
        let answer = write_then_read(&harness, line).await;
        assert_eq!(status(&answer), refusal, "{answer}");
    }
    let answer = write_then_read(&harness, "POST /v1/upgrade").await;
    let error = &json(&answer)["error"];
    assert_eq!(error["message"], "the body has more than 1048576 bytes");
}

#[tokio::test]
async fn who_writes_for_ever_is_listened_to_for_a_while() {
    let limits = Limits {
        body_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let harness = Harness::start(limits, echo);
    let mut client = UnixStream::connect(harness.socket())
        .await
        .expect("connected");
    let head = format!(
        "POST /v1/stop HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        u32::MAX
    );
    let writing = async {
        client.write_all(head.as_bytes()).await.expect("written");
        while client.write_all(&[b' '; 4096]).await.is_ok() {}
        read_all(&mut client).await
    };
    let answer = timeout(BOUND, writing).await.expect("the server hangs up");
    assert_eq!(status(&answer), 413, "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let harness = Harness::start(Limits::default(), echo);
    let head = |extra: &str| format!("GET /v1/status HTTP/1.1\r\nhost: x\r\n{extra}\r\n");
    let wide = head(&format!("x: {}\r\n", "y".repeat(20_000)));
    assert_eq!(status(&harness.raw(wide).await), 431);
    let many: String = (0..100).map(|n| format!("x{n}: y\r\n")).collect();
    assert_eq!(status(&harness.raw(head(&many)).await), 431);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    let answer = harness.raw(long).await;
    assert!([414, 431].contains(&status(&answer)), "{answer}");
}

#[tokio::test]
async fn several_requests_share_a_connection() {
    let harness = Harness::start(Limits::default(), echo);
    let one = "GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET /v1/config HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = harness.raw(format!("{one}{one}{last}")).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    assert!(answers.ends_with("\"Config\"\n"));
}

#[tokio::test]
async fn who_is_turned_away_reads_why() {
    for request in ["GET / HTTP/1.1\r\n\r\n", ""] {
        let (mut client, server) = UnixStream::pair().expect("a pair");
        let error = ApiError::new(ErrorKind::Forbidden, "not you").hint("ask as uid 8");
        let told = async {
            client.write_all(request.as_bytes()).await.expect("written");
            read_all(&mut client).await
        };
        let (answer, ()) = timeout(BOUND, async {
            tokio::join!(told, refuse::refuse(server, error))
        })
        .await
        .expect("bounded");
        if request.is_empty() {
            // It said nothing for as long as we listened.
            assert_eq!(answer, "");
        } else {
            assert_eq!(status(&answer), 403);
            assert_eq!(json(&answer)["error"]["hint"], "ask as uid 8");
        }
    }
}
