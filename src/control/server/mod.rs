//! The server: HTTP/1.1 over the unix socket and, read-only, over TCP; every part of it bounded.

mod activity;
mod admitted;
mod body;
mod connection;
mod door;
mod handler;
mod heads;
mod hostile;
mod order;
mod query;
mod refuse;
mod reply;
mod route;
mod stream;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::process::{is_scarce, nofile_limit};

use super::{ApiError, ErrorKind, Event, EventLog, Request};
use activity::Activity;
pub use admitted::{Admitted, Group};
pub use door::{AdminDoor, ControlDoor, Door};
pub use hostile::feed;

/// Descriptors that are left to the rest of the master: callers must not take those that a worker is started with.
pub(crate) const DESCRIPTORS_RESERVED: u64 = 64;

/// What the server allows itself and its clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once. A further one takes the place of the oldest that
    /// asks nothing; where all are busy it is told to come back (503).
    pub connections: usize,
    /// Further connections that are told so at once; beyond, they are closed.
    pub refusals: usize,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// From a request's first byte (or the connection) to the head's end.
    pub head_timeout: Duration,
    /// From the head's end to the body's.
    pub body_timeout: Duration,
    /// From one answer to the next request.
    pub idle_timeout: Duration,
    /// For a client that does not read what it asked for.
    pub write_timeout: Duration,
    /// For the master to take a call and answer it; not for an operation.
    pub answer_timeout: Duration,
    /// Between comments in a stream where nothing happens.
    pub heartbeat: Duration,
    /// How long accepting pauses when no descriptor is to be had.
    pub pause: Duration,
    /// From the end of the event log to the end of the last connection.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            refusals: 32,
            head_bytes: 16 * 1024,
            body_bytes: 1024 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(30),
            pause: Duration::from_millis(250),
            linger: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// The default, less where this process may open few descriptors: clients
    /// must not use up what the master needs to launch a worker.
    #[must_use]
    pub fn for_this_process() -> Self {
        let limits = Self::default();
        let descriptors = getrlimit(Resource::Nofile)
            .current
            .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Self {
            connections: limits.connections.min(descriptors / 4).max(1),
            refusals: limits.refusals.min(descriptors / 16),
            ..limits
        }
    }

    /// For a door that asks nobody who they are: fewer connections, smaller requests, less patience.
    #[must_use]
    pub fn for_anybody() -> Self {
        let limits = Self::for_this_process();
        Self {
            connections: limits.connections.div_ceil(4),
            refusals: limits.refusals.div_ceil(4),
            head_bytes: 8 * 1024,
            body_bytes: 0,
            head_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(10),
            ..limits
        }
    }
}

/// Serves the control API to callers of the control socket.
///
/// Every call goes to whoever reads `calls`, who must answer each soon; what
/// takes its time is an [`Answer::Operation`](super::Answer::Operation). After
/// [`EventLog::close`] no connection is accepted, streams end, what can be
/// answered is answered, and the future is ready within a second; so it is when the sender of
/// `renewed` is gone, which gives new doors in the place of the last. Dropping the future closes
/// every connection at once.
///
/// It spawns a task for each connection: it must run on a tokio runtime.
pub async fn serve(
    door: ControlDoor,
    renewed: mpsc::Receiver<ControlDoor>,
    calls: mpsc::Sender<Request>,
    events: EventLog,
) {
    serve_within(door, renewed, calls, events, Limits::for_this_process()).await;
}

/// As [`serve`], for anybody: `/metrics`, `/healthz` and `/readyz`, and nothing else.
pub async fn serve_admin(
    door: AdminDoor,
    renewed: mpsc::Receiver<AdminDoor>,
    calls: mpsc::Sender<Request>,
    events: EventLog,
) {
    serve_within(door, renewed, calls, events, Limits::for_anybody()).await;
}

/// Either with other limits.
pub async fn serve_within<D: Door>(
    mut door: D,
    mut renewed: mpsc::Receiver<D>,
    calls: mpsc::Sender<Request>,
    events: EventLog,
    limits: Limits,
) {
    let mut server = Server {
        places: Arc::new(Semaphore::new(limits.connections)),
        refusals: Arc::new(Semaphore::new(limits.refusals)),
        context: Arc::new(Context {
            calls,
            events,
            limits,
        }),
        tasks: JoinSet::new(),
        open: VecDeque::new(),
        warned: None,
    };
    server.run(&mut door, &mut renewed).await;
    // A client that connects now gets "connection refused", not silence.
    drop(door);
    server.finish().await;
}

/// What every connection shares.
#[derive(Debug)]
pub(in crate::control) struct Context {
    calls: mpsc::Sender<Request>,
    events: EventLog,
    limits: Limits,
}

struct Server {
    context: Arc<Context>,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    tasks: JoinSet<()>,
    /// The connections, oldest first, with those that just ended.
    open: VecDeque<(Arc<Activity>, AbortHandle)>,
    /// When it was said last that accepting fails.
    warned: Option<Instant>,
}

impl Server {
    async fn run<D: Door>(&mut self, door: &mut D, renewed: &mut mpsc::Receiver<D>) {
        let events = self.context.events.clone();
        let mut closed = std::pin::pin!(events.closed());
        loop {
            tokio::select! {
                () = &mut closed => return,
                // Ended tasks are let go of as they end.
                Some(_) = self.tasks.join_next() => self.forget_ended(),
                // Its path was removed, or its address changed: nobody is to find the old one any more.
                new = renewed.recv() => match new {
                    Some(new) => *door = new,
                    None => return,
                },
                accepted = door.accept() => match accepted {
                    Ok(stream) => self.admit(door, stream),
                    Err(error) => {
                        let Some(pause) = self.on_accept_error(D::NAME, &error) else { continue };
                        tokio::select! {
                            () = &mut closed => return,
                            () = sleep(pause) => {}
                        }
                    }
                },
            }
        }
    }

    fn admit<D: Door>(&mut self, door: &D, stream: D::Stream) {
        let guest = match door.guest(&stream) {
            Ok(guest) => guest,
            Err(None) => return,
            Err(Some(error)) => return self.refuse(stream, error),
        };
        // Taken here and not by the task: a burst that comes before any task runs counts too.
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let crowded = is_scarce(stream.as_fd(), DESCRIPTORS_RESERVED);
        if (place.is_none() || crowded) && !self.end_a_silent_one() {
            if place.is_none() {
                let most = self.context.limits.connections;
                let error = ApiError::new(
                    ErrorKind::Busy,
                    format_args!("{most} connections are open, which is the most at once"),
                );
                return self.refuse(stream, error.hint("try again, or close some of them"));
            }
            // One at a time is always answered: whoever mends what takes the descriptors must not be kept out.
            if !self.open.is_empty() {
                return self.refuse(stream, few_descriptors());
            }
        }
        let context = Arc::clone(&self.context);
        let places = Arc::clone(&self.places);
        let activity = Activity::new();
        let watched = Arc::clone(&activity);
        let task = self.tasks.spawn(async move {
            // Where a silent one made room, that is a moment away.
            let place = match place {
                Some(place) => Ok(place),
                None => places.acquire_owned().await,
            };
            if let Ok(_place) = place {
                connection::drive(stream, guest, context, activity).await;
            }
        });
        self.open.push_back((watched, task));
    }

    fn forget_ended(&mut self) {
        if self.open.len() > 2 * self.tasks.len() {
            self.open.retain(|(_, task)| !task.is_finished());
        }
    }

    /// Makes room for somebody who has something to ask: the oldest connection
    /// on which nothing is being answered ends. False when all are busy.
    fn end_a_silent_one(&mut self) -> bool {
        self.open.retain(|(_, task)| !task.is_finished());
        let silent = self
            .open
            .iter()
            .position(|(activity, _)| activity.is_silent());
        let Some((_, task)) = silent.and_then(|at| self.open.remove(at)) else {
            return false;
        };
        task.abort();
        true
    }

    fn refuse<S>(&mut self, stream: S, error: ApiError)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() {
            self.tasks.spawn(async move {
                refuse::refuse(stream, error).await;
                drop(place);
            });
        }
    }

    /// How long to wait after `error`; none where the next try may succeed.
    fn on_accept_error(&mut self, door: &str, error: &io::Error) -> Option<Duration> {
        if Errno::from_io_error(error) == Some(Errno::CONNABORTED) {
            return None;
        }
        let now = Instant::now();
        let again = Duration::from_secs(60);
        if self
            .warned
            .is_none_or(|last| now.duration_since(last) >= again)
        {
            self.warned = Some(now);
            let message = format!("{door} cannot accept a connection: {error}");
            self.context.events.push(&Event::Warning { message });
        }
        Some(self.context.limits.pause)
    }

    async fn finish(mut self) {
        let linger = self.context.limits.linger;
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // What did not end in time is ended by dropping its task.
        let _ = timeout(linger, all).await;
    }
}

/// Not the connections are too many.
fn few_descriptors() -> ApiError {
    let error = ApiError::new(
        ErrorKind::Busy,
        format_args!(
            "handover has hardly any descriptors left of the {} that it may have (RLIMIT_NOFILE)",
            nofile_limit()
        ),
    );
    error.hint(
        "try again; for more, set LimitNOFILE= in the unit, or `ulimit -Hn` as root before the start",
    )
}

#[cfg(test)]
mod tests;
