//! Clients that are slow, silent or gone.

use super::*;

fn brief() -> Duration {
    Duration::from_millis(50)
}

#[tokio::test]
async fn half_a_head_is_cut_off() {
    let limits = Limits {
        head_timeout: brief(),
        ..Limits::default()
    };
    let harness = Harness::start(limits, echo);
    for bytes in ["", "G", "GET /v1/status HTTP/1.1\r\nhost: x\r\nx: "] {
        assert_eq!(harness.raw(bytes).await, "", "{bytes:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_let_go() {
    let limits = Limits {
        idle_timeout: brief(),
        ..Limits::default()
    };
    let harness = Harness::start(limits, echo);
    let answer = harness
        .raw("GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    assert!(
        answer.ends_with("\"Status\"\n"),
        "answered, then closed: {answer}"
    );
}

#[tokio::test]
async fn the_next_head_has_its_own_time() {
    let limits = Limits {
        head_timeout: brief(),
        ..Limits::default()
    };
    let harness = Harness::start(limits, echo);
    // Idle connections may stay a minute, but half a head may not.
    let whole = "GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut stream = UnixStream::connect(harness.socket())
        .await
        .expect("connected");
    stream.write_all(whole.as_bytes()).await.expect("sent");
    let mut answer = vec![0; "HTTP/1.1 200 OK".len()];
    stream.read_exact(&mut answer).await.expect("answered");
    stream.write_all(b"GET /v1").await.expect("sent");
    let rest = timeout(BOUND, read_all(&mut stream))
        .await
        .expect("cut off");
    assert!(
        rest.ends_with("\"Status\"\n"),
        "nothing after the first answer: {rest}"
    );
}

#[tokio::test]
async fn half_a_body_is_cut_off() {
    let limits = Limits {
        body_timeout: brief(),
        ..Limits::default()
    };
    let harness = Harness::start(limits, echo);
    let half = "POST /v1/upgrade HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{";
    let answer = harness.raw(half).await;
    assert_eq!(
        (status(&answer), &json(&answer)["error"]["kind"]),
        (408, &"too_slow".into())
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let limits = Limits {
        connections: 1,
        write_timeout: brief(),
        ..Limits::default()
    };
    let harness = Harness::start(limits, |call| match call {
        Call::Status => Answer::Json(vec![b' '; 8 << 20].into()),
        _ => Answer::Text("free".to_owned()),
    });
    let mut stream = UnixStream::connect(harness.socket())
        .await
        .expect("connected");
    stream
        .write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    // The only place is free again once it was given up; until then the
    // client is told to come back, and does.
    let reply = harness
        .client()
        .get_raw("/metrics", Some(BOUND))
        .await
        .expect("a place");
    assert_eq!(reply.body, "free");
}

#[tokio::test]
async fn a_client_that_went_away_leaves_its_place() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let (harness, mut asked) = Harness::with_calls(limits);
    let mut stream = UnixStream::connect(harness.socket())
        .await
        .expect("connected");
    stream
        .write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    let (_, mut unanswered) = timeout(BOUND, asked.recv())
        .await
        .expect("asked")
        .expect("one");
    drop(stream);
    timeout(BOUND, unanswered.closed())
        .await
        .expect("the master is told");
    let client = harness.client();
    let next = tokio::spawn(async move { client.get_raw("/metrics", Some(BOUND)).await });
    let (_, answer) = timeout(BOUND, asked.recv())
        .await
        .expect("asked")
        .expect("one");
    answer
        .send(Answer::Text("free".to_owned()))
        .expect("it waits");
    assert_eq!(next.await.expect("ran").expect("answered").body, "free");
}
