//! One connection, from accept to its last byte.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::net::Shutdown;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::answering::Answering;
use super::drain::Drain;
use super::stream::{Io, Stream};
use super::wire::{Patience, Standing, Wire};

/// How long a client may take to end its side after ours has ended (nginx: lingering_timeout, 5 s).
const CLOSING_MAX: Duration = Duration::from_secs(2);

/// Bytes that the kernel holds are with hyper after a turn of the runtime.
const UNREAD_AGAIN: Duration = Duration::from_millis(10);

/// What the connections of one server have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) patience: Patience,
    pub(super) drain: Drain,
    requests: AtomicU64,
    cut: AtomicUsize,
    tunnels_cut: AtomicUsize,
}

/// Ends the connection, however its task ends.
struct Ending {
    stream: Arc<Stream>,
    wire: Arc<Wire>,
    shared: Arc<Shared>,
    orderly: bool,
}

impl Shared {
    pub(super) fn new(patience: Patience, drain: Drain) -> Self {
        Self {
            patience,
            drain,
            requests: AtomicU64::new(0),
            cut: AtomicUsize::new(0),
            tunnels_cut: AtomicUsize::new(0),
        }
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Connections that were cut, and how many of them were tunnels.
    pub(super) fn cut(&self) -> (usize, usize) {
        let tunnels = self.tunnels_cut.load(Ordering::Relaxed);
        (self.cut.load(Ordering::Relaxed), tunnels)
    }
}

/// Serves a connection until both sides have ended it, a tunnel's time included. Dropping the
/// future cuts it.
pub(super) async fn carry<S, B>(stream: Stream, service: Arc<S>, shared: Arc<Shared>)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (stream, wire) = (Arc::new(stream), Arc::new(Wire::new()));
    let mut ending = Ending {
        stream: stream.clone(),
        wire: wire.clone(),
        shared: shared.clone(),
        orderly: false,
    };
    let (held, released) = oneshot::channel();
    let io = Io {
        stream: stream.clone(),
        wire: wire.clone(),
        _held: held,
    };
    let service = Answering {
        service,
        stream: stream.clone(),
        wire: wire.clone(),
        shared: shared.clone(),
    };
    speak_http(io, service, &wire, &shared).await;
    // hyper forgets a connection that was upgraded. Its new holder drops it in the end, and an error
    // is how that arrives here.
    let _ = released.await;
    ending.orderly = true;
    stream.shutdown(Shutdown::Write);
    let _ = timeout(CLOSING_MAX, stream.read_to_its_end()).await;
}

/// Until hyper is done with it, or patience is.
async fn speak_http<S, B>(io: Io, service: Answering<S>, wire: &Wire, shared: &Shared)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = io.stream.clone();
    let connection = http1::Builder::new()
        // Its clock runs for an idle connection, too, which it closes without a look at what has come.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut begun = pin!(shared.drain.begun());
    let mut draining = false;
    let mut told = false;
    let mut alarm = pin!(sleep_until(Instant::now() + shared.patience.idle));
    poll_fn(|cx| {
        loop {
            // An error is a client that broke the rules or went away; hyper has answered what it could.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            draining = draining || begun.as_mut().poll(cx).is_ready();
            let Some(mut due) = wire.due(&shared.patience, shared.drain.began_at()) else {
                return Poll::Pending;
            };
            if due <= Instant::now() {
                match wire.standing() {
                    // The rest of its head did not come.
                    Standing::InHead => return Poll::Ready(()),
                    _ if told => return Poll::Pending,
                    _ if stream.has_unread() => due = Instant::now() + UNREAD_AGAIN,
                    _ => {
                        told = true;
                        connection.as_mut().graceful_shutdown();
                        continue;
                    }
                }
            }
            if due < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(due);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.orderly {
            return;
        }
        match self.wire.standing() {
            Standing::Idle => self.stream.shutdown(Shutdown::Both),
            Standing::InHead | Standing::Busy => {
                self.shared.cut.fetch_add(1, Ordering::Relaxed);
                self.stream.reset_when_closed();
            }
            Standing::Tunnel => {
                self.shared.cut.fetch_add(1, Ordering::Relaxed);
                self.shared.tunnels_cut.fetch_add(1, Ordering::Relaxed);
                // Its holder reads an end of file.
                self.stream.shutdown(Shutdown::Both);
            }
        }
    }
}
