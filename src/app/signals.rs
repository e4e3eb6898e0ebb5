//! Signals that begin a drain.

use std::future::{Future, poll_fn};
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A future that ends at the first of these signals, for [`Serve::until`](super::Serve::until) when
/// `drain.signal` is another than TERM. They are caught from this call on, for as long as the
/// process lives: a second one changes nothing.
///
/// # Errors
/// A signal that cannot be caught, and a call outside of a tokio runtime with I/O.
pub fn signals(kinds: &[SignalKind]) -> io::Result<impl Future<Output = ()> + Send + use<>> {
    let streams: io::Result<Vec<Signal>> = kinds.iter().map(|kind| signal(*kind)).collect();
    let mut streams = streams?;
    Ok(poll_fn(move |cx| {
        let mut came = streams.iter_mut().map(|stream| stream.poll_recv(cx));
        match came.any(|came| came.is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }))
}
