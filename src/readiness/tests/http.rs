//! Answers of every kind, from a server that says exactly what it is told.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::*;

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

/// Takes one connection, reads the head, then does `answer`.
async fn asked(
    patience: Duration,
    answer: impl FnOnce(&mut std::net::TcpStream, String) + Send + 'static,
) -> Result<Answered, String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(length) => head.extend_from_slice(&buffer[..length]),
            }
        }
        answer(&mut stream, String::from_utf8(head).unwrap());
    });
    let outcome = ask(to, "/healthz?full=1", patience).await;
    server.join().unwrap();
    outcome.map_err(|error| error.to_string())
}

async fn answered(text: &'static str) -> Result<Answered, String> {
    asked(LONG, move |stream, _| {
        stream.write_all(text.as_bytes()).unwrap();
    })
    .await
}

/// Until the other side hung up.
fn wait_closed(stream: &mut std::net::TcpStream) {
    let mut rest = [0; 1024];
    while matches!(stream.read(&mut rest), Ok(length) if length > 0) {}
}

#[tokio::test]
async fn a_good_status_is_an_answer_and_a_redirect_is_one() {
    let ok = answered("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(ok, Ok(Answered(200)));
    let old = answered("HTTP/1.0 200 OK\r\n\r\nto the end of the connection").await;
    assert_eq!(old, Ok(Answered(200)));
    let empty = answered("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(empty, Ok(Answered(204)));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    assert_eq!(answered(chunked).await, Ok(Answered(200)));
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(moved).await, Ok(Answered(302)));
}

#[tokio::test]
async fn the_request_is_a_plain_one() {
    let outcome = asked(LONG, |stream, head| {
        let lower = head.to_lowercase();
        let good = head.starts_with("GET /healthz?full=1 HTTP/1.1\r\n")
            && [
                "host: localhost\r\n",
                "user-agent: handover-probe\r\n",
                "connection: close\r\n",
            ]
            .iter()
            .all(|line| lower.contains(line));
        let status = if good { "200 OK" } else { "400 Bad Request" };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{head}",
            head.len()
        );
        stream.write_all(answer.as_bytes()).unwrap();
    });
    assert_eq!(outcome.await, Ok(Answered(200)));
}

#[tokio::test]
async fn a_bad_status_is_told_with_what_was_said() {
    let down = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 22\r\n\r\n\n no database\x07\r\nmore..";
    assert_eq!(
        answered(down).await,
        Err("503 Service Unavailable: \"no database\u{fffd}\"".to_owned())
    );
    let bare = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(bare).await, Err("404 Not Found".to_owned()));
}

#[tokio::test]
async fn what_is_no_http_is_quoted() {
    let ssh = answered("SSH-2.0-OpenSSH_9.2p1\r\nhello\r\n").await;
    assert_eq!(
        ssh,
        Err("the answer is no HTTP: \"SSH-2.0-OpenSSH_9.2p1\"".to_owned())
    );
    let garbage = asked(LONG, |stream, _| {
        stream
            .write_all(&[0, 255, 1, 2, 3, b'\r', b'\n', b'\r', b'\n'])
            .unwrap();
    });
    let garbage = garbage.await.unwrap_err();
    assert!(garbage.starts_with("the answer is no HTTP"), "{garbage}");
}

#[tokio::test]
async fn a_connection_that_is_cut_is_told_where() {
    let at_once = asked(LONG, |_, _| {}).await;
    assert_eq!(
        at_once,
        Err("the connection was closed without an answer".to_owned())
    );
    let in_the_head = answered("HTTP/1.1 200 OK\r\nContent-").await;
    assert_eq!(
        in_the_head,
        Err("the connection was closed after \"HTTP/1.1 200 OK\"".to_owned())
    );
    let in_the_body = answered("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nthr").await;
    assert_eq!(
        in_the_body,
        Err("the connection was closed after 200 OK and a part of its body".to_owned())
    );
}

#[tokio::test]
async fn slow_answers_end_in_time() {
    let began = Instant::now();
    let silent = asked(SHORT, |stream, _| wait_closed(stream)).await;
    assert_eq!(silent, Err("no answer".to_owned()));
    let head = asked(SHORT, |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nX: y\r\n").unwrap();
        wait_closed(stream);
    });
    assert_eq!(
        head.await,
        Err("no whole answer, only \"HTTP/1.1 200 OK\"".to_owned())
    );
    // A byte now and then keeps nobody waiting for longer.
    let drip = asked(SHORT, |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while stream.write_all(b".").is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(
        drip.await,
        Err("no whole answer, only 200 OK and a part of its body".to_owned())
    );
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

#[tokio::test]
async fn endless_answers_are_not_read_to_their_end() {
    let body = asked(LONG, |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    assert_eq!(
        body.await,
        Ok(Answered(200)),
        "its status says that it is well"
    );
    let head = asked(LONG, |stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        while stream.write_all(b"X-Filler: yes\r\n").is_ok() {}
    });
    let head = head.await.unwrap_err();
    assert!(head.contains("a head of more than 8192 bytes"), "{head}");
}

#[tokio::test]
async fn nobody_there_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    drop(listener);
    let refused = ask(to, "/", LONG).await.unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");
}
