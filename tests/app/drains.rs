//! A drain in which everything comes to its own end.

use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use handover::app;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Client, Desk, PATIENCE, Server};

const GET: &str = "GET /again HTTP/1.1\r\nHost: a\r\n\r\n";
const WAIT: &str = "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_request_in_flight_finishes_with_its_whole_body() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.send(WAIT);
    server.arrived(1);
    server.drain();
    assert!(server.is_running());
    server.desk.gate.add_permits(1);
    client.answer().is_whole("waited", false);
    client.ends();
    drop(client);
    let report = server.report();
    assert_eq!((report.requests, report.finished, report.cut), (1, 1, 0));
}

#[test]
fn a_request_on_an_idle_connection_is_answered_with_close() {
    let mut server = Server::start();
    let mut client = server.kept();
    server.drain();
    client.send(GET);
    client.answer().is_whole("/again", false);
    client.ends();
    drop(client);
    let report = server.report();
    assert_eq!((report.requests, report.finished, report.cut), (2, 1, 0));
    assert!(report.took < Duration::from_secs(5), "{report}");
}

#[test]
fn a_connection_that_never_asked_is_answered_when_it_does() {
    let mut server = Server::start();
    let mut silent = server.connect();
    drop(server.kept());
    server.drain();
    silent.send(GET);
    silent.answer().is_whole("/again", false);
    silent.ends();
    drop(silent);
    assert_eq!(server.report().cut, 0);
}

#[test]
fn a_half_sent_head_is_answered_when_it_is_whole() {
    let mut server = Server::start();
    let mut fresh = server.connect();
    let mut kept = server.kept();
    for client in [&mut fresh, &mut kept] {
        client.send(&GET[..9]);
    }
    server.drain();
    for client in [&mut fresh, &mut kept] {
        client.send(&GET[9..20]);
        client.send(&GET[20..]);
        client.answer().is_whole("/again", false);
        client.ends();
    }
    drop((fresh, kept));
    assert_eq!(server.report().cut, 0);
}

#[test]
fn of_pipelined_requests_all_are_answered_and_the_last_says_close() {
    let mut server = Server::start();
    let mut client = server.connect();
    let body = "GET / HTTP/1.1\r\n\r\n"; // not a request
    let length = body.len();
    let echo = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
    // The last one has only begun.
    client.send(&format!("{WAIT}{GET}{echo}{}", &GET[..7]));
    server.arrived(1);
    server.drain();
    server.desk.gate.add_permits(1);
    client.answer().is_whole("waited", true);
    client.answer().is_whole("/again", true);
    client.answer().is_whole(body, true);
    client.send(&GET[7..]);
    client.answer().is_whole("/again", false);
    client.ends();
    drop(client);
    assert_eq!(server.report().requests, 4);
}

#[test]
fn a_client_that_never_stops_asking_is_told_to_all_the_same() {
    let linger = Duration::from_millis(100);
    let mut server = Server::with(|serve| serve.linger(linger));
    let mut client = server.connect();
    client.send(&[WAIT, GET].concat());
    server.arrived(1);
    server.drain();
    let began = Instant::now();
    server.desk.gate.add_permits(1);
    let mut answers = 0;
    loop {
        // Always one request ahead.
        let sent = std::io::Write::write_all(&mut client.stream, GET.as_bytes());
        answers += 1;
        if sent.is_err() || client.answer().says_close() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{answers} answers and no end");
    }
    assert!(answers > 1, "told at once");
    drop(client);
    assert_eq!(server.report().cut, 0);
}

#[test]
fn an_upload_that_has_begun_is_taken_to_its_end() {
    let mut server = Server::start();
    let mut sized = server.connect();
    sized.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234");
    let mut chunked = server.connect();
    chunked.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234");
    server.arrived(2);
    server.drain();
    sized.send("56789");
    sized.answer().is_whole("0123456789", false);
    chunked.send("\r\n5\r\n56789\r\n0\r\n\r\n");
    chunked.answer().is_whole("0123456789", false);
    sized.ends();
    chunked.ends();
    drop((sized, chunked));
    assert_eq!(server.report().finished, 2);
}

#[test]
fn an_upgraded_connection_lives_on_and_holds_the_drain() {
    let mut server = Server::start();
    let mut chat = upgraded(&server);
    server.drain();
    chat.send("still here");
    let mut echo = [0; 10];
    std::io::Read::read_exact(&mut chat.stream, &mut echo).expect("an echo");
    assert_eq!(&echo, b"still here");
    assert!(server.is_running());
    drop(chat);
    let report = server.report();
    assert_eq!((report.finished, report.cut), (1, 0));
}

/// A connection on which every byte comes back.
pub fn upgraded(server: &Server) -> Client<std::net::TcpStream> {
    let mut chat = server.connect();
    chat.send("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
    let answer = chat.answer();
    assert!(answer.head.starts_with("http/1.1 101 "), "{answer:?}");
    assert!(!answer.says_close(), "{answer:?}");
    chat
}

#[test]
fn a_thousand_connections_lose_no_request() {
    let mut server = Server::start();
    let mut waiting: Vec<_> = (0..500).map(|_| server.connect()).collect();
    for client in &mut waiting {
        client.send(WAIT);
    }
    server.arrived(500);
    let mut idle: Vec<_> = (0..500).map(|_| server.kept()).collect();
    server.drain();
    server.desk.gate.add_permits(500);
    for client in &mut idle {
        client.send(GET);
    }
    for mut client in idle {
        client.answer().is_whole("/again", false);
        client.ends();
    }
    for mut client in waiting {
        client.answer().is_whole("waited", false);
        client.ends();
    }
    let report = server.report();
    assert_eq!(
        (report.requests, report.finished, report.cut),
        (1500, 1000, 0)
    );
}

#[test]
fn a_unix_listener_is_served_and_drained_like_any() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("web.sock");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = UnixListener::bind(&path).expect("a listener");
    let desk = Desk::new();
    let (end, ends) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(
        app::serve(listener, desk)
            .until(async move { drop(ends.await) })
            .run(),
    );
    let stream = UnixStream::connect(&path).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut client = Client::of(stream);
    client.send(GET);
    client.answer().is_whole("/again", true);
    drop(end);
    client.send(&GET[..5]);
    client.send(&GET[5..]);
    // Sent at the very moment: with or before the drain, but answered.
    let answer = client.answer();
    if !answer.says_close() {
        client.send(GET);
        client.answer().is_whole("/again", false);
    }
    client.ends();
    drop(client);
    let report = runtime
        .block_on(running)
        .expect("no panic")
        .expect("a server");
    assert_eq!((report.finished, report.cut), (1, 0));
}

#[test]
fn a_second_term_changes_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let desk = Desk::new();
    let running = runtime.spawn(app::serve(listener, desk.clone()).run());
    let connect = || {
        let stream = std::net::TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Client::of(stream)
    };
    let (mut client, mut other) = (connect(), connect());
    // Who is answered is served, so the signal is caught by now.
    other.send(GET);
    other.answer().is_whole("/again", true);
    client.send(WAIT);
    other.send(GET);
    other.answer().is_whole("/again", true);
    let this = Pid::this();
    kill(this, Signal::SIGTERM).expect("it is us");
    // The drain has begun when an answer says so.
    loop {
        other.send(GET);
        if other.answer().says_close() {
            break;
        }
    }
    kill(this, Signal::SIGTERM).expect("it is us");
    drop(other);
    desk.gate.add_permits(1);
    client.answer().is_whole("waited", false);
    drop(client);
    let report = runtime
        .block_on(running)
        .expect("no panic")
        .expect("a server");
    assert_eq!((report.finished, report.cut), (2, 0));
}
