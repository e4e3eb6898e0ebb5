//! Server-sent events.

use super::*;
use crate::control::Event;
use crate::control::view::EventsView;

fn warning(message: &str) -> Event {
    Event::Warning {
        message: message.to_owned(),
    }
}

/// Reads from `stream` until `text` came.
async fn read_until(stream: &mut UnixStream, text: &str) -> String {
    let mut seen = String::new();
    let mut piece = [0; 4096];
    while !seen.contains(text) {
        let read = timeout(BOUND, stream.read(&mut piece)).await;
        let length = read.expect("it comes").expect("readable");
        assert!(length > 0, "the stream ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    seen
}

async fn follow(harness: &Harness, path: &str, header: &str) -> UnixStream {
    let mut stream = UnixStream::connect(harness.socket())
        .await
        .expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

#[tokio::test]
async fn events_come_as_server_sent_events() {
    let harness = Harness::start(Limits::default(), echo);
    harness.events.push(&warning("old"));
    let mut stream = follow(&harness, "/v1/events", "").await;
    let head = read_until(&mut stream, ": events after 1\n\n").await;
    assert!(
        head.contains("content-type: text/event-stream\r\n"),
        "{head}"
    );
    harness.events.push(&warning("new"));
    let event = read_until(&mut stream, "\n\n").await;
    assert!(
        event.contains("id: 2\nevent: warning\ndata: {\"seq\":2,\"at\":\""),
        "{event}"
    );
    assert!(
        event.contains("\",\"kind\":\"warning\",\"message\":\"new\"}\n\n"),
        "{event}"
    );
    harness.events.close();
    let end = timeout(BOUND, read_all(&mut stream))
        .await
        .expect("the stream ends");
    assert_eq!(end, "0\r\n\r\n");
}

#[tokio::test]
async fn a_follower_goes_on_where_it_was() {
    let harness = Harness::start(Limits::default(), echo);
    for message in ["one", "two", "three"] {
        harness.events.push(&warning(message));
    }
    for (path, header) in [
        ("/v1/events?since=2", ""),
        ("/v1/events", "last-event-id: 2\r\n"),
        ("/v1/events?since=2", "last-event-id: 0\r\n"),
    ] {
        let seen = read_until(&mut follow(&harness, path, header).await, "three").await;
        assert!(!seen.contains("two"), "{seen}");
    }
}

#[tokio::test]
async fn silence_is_broken_by_a_comment() {
    let limits = Limits {
        heartbeat: Duration::from_millis(10),
        ..Limits::default()
    };
    let harness = Harness::start(limits, echo);
    let mut stream = follow(&harness, "/v1/events", "").await;
    read_until(&mut stream, "\n:\n\n").await;
}

#[tokio::test]
async fn a_slow_reader_is_told_of_the_gap() {
    let harness = Harness::start(Limits::default(), echo);
    let mut stream = follow(&harness, "/v1/events?since=0", "").await;
    read_until(&mut stream, ": events after 0\n\n").await;
    // More than the socket, hyper and the ring hold together.
    let long = "x".repeat(1000);
    for _ in 0..3000 {
        harness.events.push(&warning(&long));
        tokio::task::yield_now().await;
    }
    let seen = read_until(&mut stream, "id: 3000\n").await;
    let (before, after) = seen.split_once("event: gap\n").expect("a gap");
    assert!(before.contains("id: 1\n"), "it begins with the first");
    assert!(after.starts_with("data: {\"seq\":") && after.contains("\"kind\":\"gap\""));
}

#[tokio::test]
async fn the_client_follows_and_lists() {
    let harness = Harness::start(Limits::default(), echo);
    let mut reader = harness.client().events(None).await.expect("followed");
    let message = "two lines:\nand an ümlaut";
    harness.events.push(&warning(message));
    let event = timeout(BOUND, reader.next())
        .await
        .expect("comes")
        .expect("well");
    assert_eq!(event.expect("one").event(), Some(warning(message)));
    let list: EventsView = harness
        .client()
        .get("/v1/events?follow=false")
        .await
        .expect("listed");
    assert_eq!((list.events.len(), list.last), (1, 1));
    let none: EventsView = harness
        .client()
        .get("/v1/events?follow=false&since=1")
        .await
        .expect("listed");
    assert_eq!((none.events.len(), none.last), (0, 1));
    harness.events.close();
    let end = timeout(BOUND, reader.next())
        .await
        .expect("ends")
        .expect("well");
    assert_eq!(end, None);
}
