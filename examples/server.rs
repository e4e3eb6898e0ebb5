//! A small HTTP server that can be replaced while it serves.
//!
//! ```text
//! cargo build --release --example server
//! handover run --listen 127.0.0.1:8080 -- target/release/examples/server
//! ```
//!
//! It knows nothing of handover, only two old conventions:
//!
//! * its listening sockets are descriptors 3, 4, … when `LISTEN_PID` is its
//!   own process ID; `LISTEN_FDS` says how many (`sd_listen_fds(3)`);
//! * SIGTERM means: finish what you have, take nothing new, then leave.
//!
//! Saying `READY=1` on `NOTIFY_SOCKET` is possible but not needed: handover
//! sees in the kernel that the sockets are waited on.

use std::convert::Infallible;
use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Below handover's `drain.timeout` (20 s), after which it kills.
const DRAIN_MAX: Duration = Duration::from_secs(15);
const SLOW_MAX_MS: u64 = 10_000;

static GREETING: LazyLock<Bytes> = LazyLock::new(|| {
    let generation = std::env::var("HANDOVER_GENERATION").unwrap_or_else(|_| "0".to_owned());
    let pid = std::process::id();
    Bytes::from(format!("hello from generation {generation} (pid {pid})\n"))
});

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (drain, draining) = watch::channel(false);

    let mut accepting = JoinSet::new();
    for listener in listeners()? {
        accepting.spawn(accept(listener, draining.clone()));
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }

    // Every task sees this at its next step; `accept` is over once it has.
    drain.send_replace(true);
    drop(draining);
    accepting.join_all().await;
    // An idle connection is kept until its client asks once more, or until the deadline.
    if tokio::time::timeout(DRAIN_MAX, drain.closed())
        .await
        .is_err()
    {
        eprintln!(
            "{} connections left at the deadline",
            drain.receiver_count()
        );
    }
    Ok(())
}

/// The sockets that were passed to this process; without any, one of our own.
fn listeners() -> io::Result<Vec<TcpListener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        listeners.extend(passed.take_tcp_listener(index)?);
    }
    if listeners.is_empty() {
        eprintln!(
            "no sockets were passed (LISTEN_FDS, LISTEN_PID): listening on 127.0.0.1:8080 myself"
        );
        listeners.push(std::net::TcpListener::bind("127.0.0.1:8080")?);
    }
    // tokio needs O_NONBLOCK. The flag is shared with every generation, so it is only ever set,
    // and all of ours want it; `nonblocking = true` in [[listen]] sets it once and for all.
    listeners
        .into_iter()
        .map(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        })
        .collect()
}

/// Takes connections until the drain begins. `accept` is cancel-safe: what it
/// has taken from the queue is always served.
async fn accept(listener: TcpListener, mut draining: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = draining.wait_for(|draining| *draining) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, draining.clone()));
            }
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await; // out of descriptors, perhaps
            }
        }
    }
}

async fn serve(stream: TcpStream, draining: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let draining = draining.clone();
        async move {
            let mut response = answer(&request).await;
            // The client must learn that this was the last answer *before* the connection closes:
            // a bare close of an idle connection would race with its next request. hyper closes
            // after an answer with this header. (`graceful_shutdown` closes idle ones at once.)
            if *draining.borrow() {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let http = hyper::server::conn::http1::Builder::new();
    // An error here is a client that went away.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        "/" => (StatusCode::OK, GREETING.clone()),
        "/slow" => {
            let query = request.uri().query().unwrap_or_default();
            let ms = query
                .strip_prefix("ms=")
                .and_then(|ms| ms.parse().ok())
                .unwrap_or(300);
            tokio::time::sleep(Duration::from_millis(u64::min(ms, SLOW_MAX_MS))).await;
            (StatusCode::OK, GREETING.clone())
        }
        _ => (StatusCode::NOT_FOUND, Bytes::from_static(b"nothing here\n")),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
