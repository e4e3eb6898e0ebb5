//! Serves until it is told to end, and then ends in good order.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use super::acceptor::{Acceptor, Trouble};
use super::connection::{Shared, carry};
use super::drain::Drain;
use super::listener::Listener;
use super::signals::signals;
use super::stream::Stream;
use super::wire::Patience;

/// Connections that were accepted and not yet begun with: few, for whatever waits here cannot be
/// taken by another worker.
const TAKEN_MAX: usize = 16;

/// How often a thread that sits in accept is woken in a drain, and for how long in vain.
const WAKE_EVERY: Duration = Duration::from_millis(20);
const WAKE_MAX: Duration = Duration::from_secs(2);

/// How long connections that were cut may take to be gone.
const ABORT_MAX: Duration = Duration::from_secs(1);

type Until = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A server that is being described; made by [`serve`](super::serve), run by [`run`](Self::run).
#[must_use = "nothing is served before run()"]
pub struct Serve<S> {
    listeners: Vec<Listener>,
    service: S,
    until: Option<Until>,
    deadline: Duration,
    patience: Patience,
    trouble: Trouble,
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Requests that were answered from beginning to end of the server.
    pub requests: u64,
    /// Connections that were open in the drain and came to their own end.
    pub finished: usize,
    /// Connections that the deadline cut: with a request not wholly answered, or upgraded.
    pub cut: usize,
    /// How many of those that were cut were upgraded (WebSocket, CONNECT).
    pub tunnels_cut: usize,
    /// How long it took, from the signal to the last byte.
    pub took: Duration,
}

/// Serves HTTP/1 on a listener, to be run with [`Serve::run`].
pub fn serve<S>(listener: impl Into<Listener>, service: S) -> Serve<S> {
    Serve {
        listeners: vec![listener.into()],
        service,
        until: None,
        deadline: Duration::from_secs(15),
        patience: Patience {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            linger: Duration::from_secs(5),
        },
        trouble: Arc::new(|what| eprintln!("{what}")),
    }
}

impl<S> Serve<S> {
    /// One more listener for the same service.
    pub fn also(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// Begins the drain when this future ends, instead of at SIGTERM or SIGINT; see
    /// [`signals`](super::signals).
    pub fn until(mut self, end: impl Future<Output = ()> + Send + 'static) -> Self {
        self.until = Some(Box::pin(end));
        self
    }

    /// How long the drain may take before what is left is cut (15 s): to be below the manager's
    /// `drain.timeout` (20 s there) less `drain.kill_after`, or it cuts first.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long an idle connection is kept in the drain, so that its client may ask once more and
    /// learn from the answer that the connection ends (5 s).
    pub fn linger(mut self, linger: Duration) -> Self {
        self.patience.linger = linger;
        self
    }

    /// How long a client may take for the head of a request, from its first byte (10 s).
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.patience.head = timeout;
        self
    }

    /// How long a connection may be idle (75 s). To be longer than any proxy in front keeps its
    /// own: whoever closes first loses no request.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.patience.idle = timeout;
        self
    }

    /// Where to tell, in words, what goes wrong: connections that cannot be accepted (standard error).
    pub fn on_trouble(mut self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.trouble = Arc::new(tell);
        self
    }

    /// Serves until SIGTERM or SIGINT (or [`until`](Self::until)), drains, and reports.
    ///
    /// Must run in a tokio runtime with I/O and time. Dropping the future cuts every connection.
    ///
    /// # Errors
    /// The signals or a thread cannot be set up; afterwards nothing is an error of the server.
    pub async fn run<B>(self) -> io::Result<Report>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut until = match self.until {
            Some(until) => until,
            None => Box::pin(signals(&[
                tokio::signal::unix::SignalKind::terminate(),
                tokio::signal::unix::SignalKind::interrupt(),
            ])?),
        };
        let (begin, drain) = Drain::new();
        let shared = Arc::new(Shared::new(self.patience, drain));
        let service = Arc::new(self.service);
        let (sender, taken) = mpsc::channel(TAKEN_MAX);
        let acceptors: io::Result<Vec<Acceptor>> = self
            .listeners
            .into_iter()
            .map(|listener| Acceptor::spawn(listener, sender.clone(), self.trouble.clone()))
            .collect();
        drop(sender);
        let mut hall = Hall {
            acceptors: acceptors?,
            taken,
            open: JoinSet::new(),
            admitted: 0,
            trouble: self.trouble,
        };
        let admit = |stream| carry(stream, service.clone(), shared.clone());

        poll_fn(|cx| match until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => hall.turn(cx, &admit).map(|_| ()),
        })
        .await;
        let began = begin.now();
        while hall.open.try_join_next().is_some() {}
        hall.admitted = hall.open.len();
        let all_ended = hall.drain(began + self.deadline, &admit).await;

        let before = shared.cut();
        if !all_ended {
            // A handler that blocks its thread cannot be ended; it ends with the process.
            let _ = timeout(ABORT_MAX, hall.open.shutdown()).await;
        }
        let after = shared.cut();
        let cut = after.0 - before.0 + hall.open.len();
        Ok(Report {
            requests: shared.requests(),
            finished: hall.admitted.saturating_sub(cut),
            cut,
            tunnels_cut: after.1 - before.1,
            took: began.elapsed(),
        })
    }
}

/// The connections of a server, and where new ones come from.
struct Hall {
    acceptors: Vec<Acceptor>,
    taken: mpsc::Receiver<OwnedFd>,
    open: JoinSet<()>,
    /// Connections that the drain found or let in.
    admitted: usize,
    trouble: Trouble,
}

impl Hall {
    /// Lets in who comes and lets go who is done; ready when no acceptor is left.
    fn turn<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        cx: &mut Context<'_>,
        admit: &impl Fn(Stream) -> F,
    ) -> Poll<()> {
        // A handler that panicked has said so on standard error; its connection is closed.
        while let Poll::Ready(Some(_)) = self.open.poll_join_next(cx) {}
        loop {
            match self.taken.poll_recv(cx) {
                Poll::Ready(Some(fd)) => {
                    match Stream::of(fd) {
                        Ok(stream) => {
                            self.open.spawn(admit(stream));
                            self.admitted += 1;
                        }
                        // epoll(7) has limits of its own.
                        Err(error) => {
                            (self.trouble)(&format!("a connection is closed unserved: {error}"));
                        }
                    }
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        // What was just let in is to be heard of when it ends.
        while let Poll::Ready(Some(_)) = self.open.poll_join_next(cx) {}
        Poll::Pending
    }

    /// Until nothing is open and no acceptor is left, or the deadline: says whether all ended.
    async fn drain<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        deadline: Instant,
        admit: &impl Fn(Stream) -> F,
    ) -> bool {
        for acceptor in &self.acceptors {
            acceptor.stop();
        }
        let give_up = Instant::now() + WAKE_MAX;
        let mut deadline = pin!(sleep_until(deadline));
        let mut wake = pin!(sleep(WAKE_EVERY));
        let all_ended = poll_fn(|cx| {
            let accepting = self.turn(cx, admit).is_pending();
            let in_vain = Instant::now() >= give_up;
            if self.open.is_empty() && (!accepting || in_vain) {
                return Poll::Ready(true);
            }
            // A knock is let go, too: another worker may have it by now.
            let knocking = self.acceptors.iter().any(Acceptor::is_knocking);
            if knocking || (accepting && !in_vain) {
                self.wake_when(wake.as_mut(), cx);
            }
            deadline.as_mut().poll(cx).map(|()| false)
        })
        .await;
        for stuck in self.acceptors.iter().filter(|it| !it.has_ended()) {
            (self.trouble)(&format!(
                "a thread still waits in accept on {}, where it cannot be reached: a connection that comes \
                 in this very moment is lost; nonblocking = true in [[listen]] avoids that",
                stuck.listener()
            ));
        }
        all_ended
    }

    fn wake_when(&mut self, mut alarm: Pin<&mut Sleep>, cx: &mut Context<'_>) {
        while alarm.as_mut().poll(cx).is_ready() {
            for acceptor in &mut self.acceptors {
                acceptor.wake();
            }
            alarm.as_mut().reset(Instant::now() + WAKE_EVERY);
        }
    }
}

impl<S> fmt::Debug for Serve<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listeners", &self.listeners)
            .field("deadline", &self.deadline)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Report {
    /// One sentence for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            finished,
            cut,
            tunnels_cut,
            took,
            ..
        } = self;
        write!(
            f,
            "drained in {} ms: {finished} connections finished",
            took.as_millis()
        )?;
        match cut {
            0 => Ok(()),
            cut => write!(
                f,
                ", {cut} cut at the deadline ({tunnels_cut} of them upgraded)"
            ),
        }
    }
}
