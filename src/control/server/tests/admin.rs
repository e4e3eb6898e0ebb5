//! The door for anybody: what is read there, and clients that mean no good.

use tokio::net::{TcpListener, TcpStream};

use super::*;

struct Admin {
    address: std::net::SocketAddr,
    events: EventLog,
    doors: mpsc::Sender<AdminDoor>,
    server: JoinHandle<()>,
}

async fn door() -> (AdminDoor, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    (AdminDoor(listener), address)
}

impl Admin {
    async fn start(limits: Limits) -> Self {
        let (door, address) = door().await;
        let (calls, mut asked) = mpsc::channel::<Request>(16);
        let events = EventLog::new();
        let (doors, renewed) = mpsc::channel(1);
        let server = tokio::spawn(serve_within(door, renewed, calls, events.clone(), limits));
        tokio::spawn(async move {
            while let Some((call, sender)) = asked.recv().await {
                // The client may have gone.
                let _ = sender.send(echo(call));
            }
        });
        Self {
            address,
            events,
            doors,
            server,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    async fn raw(&self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        // It may close before it read all.
        let _ = stream.write_all(bytes.as_bytes()).await;
        rest(&mut stream).await
    }

    async fn ask(&self, line: &str) -> String {
        let head = "host: x\r\nconnection: close\r\n\r\n";
        self.raw(&format!("{line} HTTP/1.1\r\n{head}")).await
    }
}

/// All that comes until the server closes, which it does in time.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A reset after an answer is still an answer.
    let _ = timeout(BOUND, read).await.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn it_reads_metrics_and_health_and_nothing_else() {
    let admin = Admin::start(Limits::for_anybody()).await;
    for (line, code, body) in [
        ("GET /metrics", 200, "\"Metrics\"\n"),
        ("GET /healthz", 200, "ok\n"),
        ("GET /readyz", 503, "starting\n"),
        ("HEAD /readyz", 503, ""),
        ("HEAD /healthz", 200, ""),
    ] {
        let answer = admin.ask(line).await;
        assert_eq!(status(&answer), code, "{line}: {answer}");
        let (head, got) = answer.split_once("\r\n\r\n").expect("a head");
        assert_eq!(got, body, "{line}");
        assert!(head.contains("content-length: "), "{line}: {head}");
    }
    for (line, code, kind) in [
        ("GET /", 404, "not_found"),
        ("GET /v1/status", 404, "not_found"),
        ("GET /v1/config", 404, "not_found"),
        ("POST /v1/stop", 404, "not_found"),
        ("POST /metrics", 405, "method_not_allowed"),
        ("DELETE /healthz", 405, "method_not_allowed"),
        ("OPTIONS *", 404, "not_found"),
        ("GET /metrics?name=x", 400, "bad_request"),
    ] {
        let answer = admin.ask(line).await;
        assert_eq!(status(&answer), code, "{line}: {answer}");
        assert_eq!(json(&answer)["error"]["kind"], kind, "{line}");
    }
    let answer = admin.ask("POST /readyz").await;
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
}

#[tokio::test]
async fn a_scraper_keeps_its_connection() {
    let admin = Admin::start(Limits::for_anybody()).await;
    let one = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = admin.raw(&format!("{one}{one}{last}")).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let limits = Limits {
        head_timeout: Duration::from_millis(100),
        ..Limits::for_anybody()
    };
    let admin = Admin::start(limits).await;
    let mut slow = admin.connect().await;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nx: ")
        .await
        .expect("sent");
    assert_eq!(rest(&mut slow).await, "", "closed without an answer");
    let mut silent = admin.connect().await;
    assert_eq!(rest(&mut silent).await, "");
}

#[tokio::test]
async fn a_head_without_end_is_too_large() {
    let limits = Limits::for_anybody();
    let most = limits.head_bytes;
    let admin = Admin::start(limits).await;
    let head = format!("GET /metrics HTTP/1.1\r\nx: {}", "x".repeat(2 * most));
    let answer = admin.raw(&head).await;
    assert!(matches!(status(&answer), 0 | 431), "{answer}");
}

#[tokio::test]
async fn a_body_is_not_read() {
    let admin = Admin::start(Limits::for_anybody()).await;
    let head = "GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n";
    let answer = admin.raw(head).await;
    assert_eq!(status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn silent_connections_keep_no_scraper_out() {
    let limits = Limits {
        connections: 4,
        ..Limits::for_anybody()
    };
    let admin = Admin::start(limits).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(admin.connect().await);
    }
    let answer = admin.ask("GET /metrics").await;
    assert_eq!(status(&answer), 200, "{answer}");
    drop(silent);
}

#[tokio::test]
async fn a_new_door_takes_the_place_of_the_old_one() {
    let mut admin = Admin::start(Limits::for_anybody()).await;
    let old = admin.address;
    let (new, address) = door().await;
    admin.doors.send(new).await.expect("the server lives");
    admin.address = address;
    assert_eq!(status(&admin.ask("GET /healthz").await), 200);
    // It let go of the old one before it took anything from the new one.
    TcpStream::connect(old).await.expect_err("nobody listens");
}

#[tokio::test]
async fn it_ends_with_its_doors_and_with_the_log() {
    let Admin { doors, server, .. } = Admin::start(Limits::for_anybody()).await;
    drop(doors);
    timeout(BOUND, server).await.expect("bounded").expect("ran");
    let admin = Admin::start(Limits::for_anybody()).await;
    // A kept connection does not hold it.
    let mut kept = admin.connect().await;
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("sent");
    let mut some = [0; 12];
    kept.read_exact(&mut some).await.expect("an answer");
    admin.events.close();
    let answer = rest(&mut kept).await;
    assert!(answer.ends_with("ok\n"), "{answer}");
    timeout(BOUND, admin.server)
        .await
        .expect("bounded")
        .expect("ran");
    drop(admin.doors);
}
