//! What a connection is waiting for, and until when it may.
//!
//! hyper's own header timeout runs between requests too, so that a head could
//! take as long as an idle connection may last, and nothing bounds a client
//! that does not read. Here each has its own bound.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Limits;
use super::heads::Heads;

/// The state of one connection, shared by its stream and its requests.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Since when the client does not take what is to be written.
    write_blocked: Option<Instant>,
    heads: Heads,
    /// The request that is answered has a body, which may still be coming.
    has_body: bool,
    /// Wakes who holds back what comes behind a request.
    held: Option<Waker>,
}

/// What may be read.
enum Turn {
    /// A head, and nothing behind it.
    Head,
    /// Anything: it is a body's.
    Body,
    /// Nothing until the answer is given.
    Hold,
}

/// What is read ahead while a request is answered, in bytes: only to see the client hang up.
const AHEAD_MAX: usize = 16 * 1024;

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing is asked.
    Idle(Instant),
    /// A request's head comes in.
    Head(Instant),
    /// A request is answered.
    Busy,
}

impl Activity {
    /// A connection that was just made, and owes its first request.
    pub(super) fn new() -> Arc<Self> {
        let phase = Phase::Head(Instant::now());
        Arc::new(Self(Mutex::new(State {
            phase,
            write_blocked: None,
            heads: Heads::default(),
            has_body: false,
            held: None,
        })))
    }

    /// A request's head was read.
    pub(super) fn request_began(&self) {
        self.state().phase = Phase::Busy;
    }

    /// Its answer was handed over.
    pub(super) fn request_ended(&self) {
        let mut state = self.state();
        state.phase = Phase::Idle(Instant::now());
        if let Some(held) = state.held.take() {
            held.wake();
        }
    }

    /// Nothing is being answered: it is the client's turn.
    pub(super) fn is_silent(&self) -> bool {
        !matches!(self.state().phase, Phase::Busy)
    }

    /// When the connection is to be closed if nothing happens.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let state = self.state();
        let phase = match state.phase {
            Phase::Idle(since) => Some(since + limits.idle_timeout),
            Phase::Head(since) => Some(since + limits.head_timeout),
            Phase::Busy => None,
        };
        let write = state
            .write_blocked
            .map(|since| since + limits.write_timeout);
        match (phase, write) {
            (Some(phase), Some(write)) => Some(phase.min(write)),
            (phase, write) => phase.or(write),
        }
    }

    /// Whether a request had a length and was chunked, too.
    pub(super) fn lengths_conflict(&self) -> bool {
        self.state().heads.conflict()
    }

    fn turn(&self) -> Turn {
        let state = self.state();
        match state.phase {
            Phase::Idle(_) | Phase::Head(_) => Turn::Head,
            Phase::Busy if state.has_body => Turn::Body,
            Phase::Busy => Turn::Hold,
        }
    }

    /// Takes of `bytes` what this turn is for, and says how many those are.
    fn bytes_came(&self, bytes: &[u8], turn: &Turn) -> usize {
        let mut state = self.state();
        if matches!(state.phase, Phase::Idle(_)) {
            state.phase = Phase::Head(Instant::now());
        }
        if !matches!(turn, Turn::Head) {
            state.heads.came(bytes);
            return bytes.len();
        }
        let (length, is_whole) = state.heads.came_to_end(bytes);
        if is_whole {
            state.has_body = state.heads.has_body();
        }
        length
    }

    fn hold(&self, waker: &Waker) {
        self.state().held = Some(waker.clone());
    }

    fn written<T>(&self, outcome: &Poll<T>) {
        let mut state = self.state();
        match outcome {
            Poll::Ready(_) => state.write_blocked = None,
            Poll::Pending if state.write_blocked.is_none() => {
                state.write_blocked = Some(Instant::now());
            }
            Poll::Pending => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Assignments only: it cannot be poisoned half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that reports what passes. hyper gets one request at a time: what it has read ahead would keep it from
/// reading on, and so from seeing that the client hung up.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    /// Read, and not passed on yet.
    ahead: Vec<u8>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        let ahead = Vec::new();
        Self {
            stream,
            activity,
            ahead,
        }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Passes on what this turn is for.
    fn pass(&mut self, buffer: &mut ReadBuf<'_>, turn: &Turn) {
        let fits = self.ahead.len().min(buffer.remaining());
        let came = self.ahead.get(..fits).unwrap_or_default();
        let length = self.activity.bytes_came(came, turn);
        buffer.put_slice(came.get(..length).unwrap_or_default());
        self.ahead.drain(..length);
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Reads on; ready with `false` at the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [0; 4096];
        let mut piece = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        self.ahead.extend_from_slice(piece.filled());
        Poll::Ready(Ok(!piece.filled().is_empty()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let turn = self.activity.turn();
        if let Turn::Hold = turn {
            self.activity.hold(cx.waker());
            while self.ahead.len() < AHEAD_MAX {
                if !ready!(self.poll_more(cx))? {
                    return Poll::Ready(Ok(()));
                }
            }
            return Poll::Pending;
        }
        if self.ahead.is_empty() && !ready!(self.poll_more(cx))? {
            return Poll::Ready(Ok(()));
        }
        self.pass(buffer, &turn);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.activity.written(&outcome);
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.activity.written(&outcome);
        outcome
    }
}
