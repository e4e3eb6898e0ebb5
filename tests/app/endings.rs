//! What patience ends: idle connections, slow heads, and whatever the deadline finds.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::drains::upgraded;
use crate::support::{BIG_BYTES, Server};

const GET: &str = "GET /again HTTP/1.1\r\nHost: a\r\n\r\n";

/// Short, but far longer than a handler takes.
const MOMENT: Duration = Duration::from_millis(300);

#[test]
fn an_idle_connection_ends_after_the_linger_without_a_reset() {
    let mut server = Server::with(|serve| serve.linger(MOMENT));
    // In this order: who is answered was accepted, and so was who came before.
    let (mut silent, mut kept) = (server.connect(), server.kept());
    server.drain();
    let began = Instant::now();
    for client in [&mut kept, &mut silent] {
        // The end of our side; theirs is still open.
        assert_eq!(client.stream.read(&mut [0]).expect("an end"), 0);
        assert!(began.elapsed() >= MOMENT / 2, "{:?}", began.elapsed());
        // Bytes that cross the end are read and not reset.
        client.send(GET);
        client
            .stream
            .shutdown(std::net::Shutdown::Write)
            .expect("open");
        client.ends();
    }
    let report = server.report();
    assert_eq!((report.finished, report.cut), (2, 0));
}

#[test]
fn an_answer_is_not_lost_to_an_upload_that_nobody_reads() {
    let server = Server::start();
    let mut client = server.connect();
    let body = vec![b'x'; 8 << 20];
    let head = format!(
        "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(&head);
    // The handler answers at once; the client reads only after it has sent all it can.
    let _ = client.stream.write_all(&body);
    let answer = client.answer();
    assert!(answer.head.starts_with("http/1.1 200 "), "{answer:?}");
    assert_eq!(answer.body, b"/first");
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let server = Server::with(|serve| serve.head_timeout(MOMENT));
    let (mut slow, mut idle) = (server.connect(), server.kept());
    slow.send("GET / HT");
    let began = Instant::now();
    slow.ends();
    assert!(began.elapsed() < MOMENT * 20, "{:?}", began.elapsed());
    // An idle connection is another matter.
    idle.send(GET);
    idle.answer().is_whole("/again", true);
}

#[test]
fn an_idle_connection_ends_after_its_time_outside_of_a_drain_too() {
    let server = Server::with(|serve| serve.idle_timeout(MOMENT));
    let mut client = server.kept();
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    server.arrived(2);
    // A handler may take as long as it likes: longer than another one's idle time.
    server.kept().ends();
    server.desk.gate.add_permits(1);
    client.answer().is_whole("waited", true);
    client.ends();
    assert!(server.is_running());
}

#[test]
fn the_deadline_ends_a_client_that_never_reads() {
    let mut server = Server::with(|serve| serve.deadline(MOMENT));
    let mut client = server.connect();
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    server.arrived(1);
    server.drain();
    let report = server.report();
    assert_eq!((report.finished, report.cut, report.tunnels_cut), (0, 1, 0));
    assert!(
        report.took >= MOMENT && report.took < MOMENT * 20,
        "{report}"
    );
    // A part of an answer must not look like the whole.
    let mut received = Vec::new();
    let end = client.stream.read_to_end(&mut received);
    assert!(received.len() < BIG_BYTES);
    let error = end.expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn the_deadline_ends_and_counts_what_was_upgraded() {
    let mut server = Server::with(|serve| serve.deadline(MOMENT).linger(MOMENT / 3));
    let mut chat = upgraded(&server);
    let mut waiting = server.connect();
    waiting.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut half = server.connect();
    half.send("GET / HT");
    drop(server.kept());
    server.arrived(3);
    server.drain();
    chat.send("x");
    assert_eq!(chat.stream.read(&mut [0]).expect("an echo"), 1);
    let report = server.report();
    assert_eq!((report.cut, report.tunnels_cut), (3, 1), "{report:?}");
    chat.ends();
    waiting.try_answer().expect_err("never answered");
}

#[test]
fn the_deadline_ends_although_a_handler_blocks_its_thread() {
    let mut server = Server::with(|serve| serve.deadline(MOMENT));
    drop(server.kept());
    let mut client = server.connect();
    client.send("GET /block HTTP/1.1\r\nHost: a\r\n\r\n");
    server.arrived(2);
    server.drain();
    let report = server.report();
    assert_eq!(report.cut, 1);
    assert!(report.took < MOMENT * 10, "{report}");
}

#[test]
fn a_handler_that_panics_costs_its_own_connection_only() {
    let mut server = Server::start();
    let mut client = server.kept();
    server.desk.gate.close(); // makes `/wait` panic
    let mut doomed = server.connect();
    doomed.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    doomed.try_answer().expect_err("no answer");
    server.drain();
    client.send(GET);
    client.answer().is_whole("/again", false);
    drop((client, doomed));
    assert_eq!(server.report().cut, 0);
}
