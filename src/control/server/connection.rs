//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::time::{Instant, sleep_until, timeout};

use super::activity::{Activity, Watched};
use super::door::Guest;
use super::{Context, handler};

/// Headers of a request; curl sends four.
const HEADERS_MAX: usize = 64;
/// Far enough off to stand for "no deadline"; tokio's clock cannot hold "never".
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// Answers what comes over `stream` until it ends, misbehaves, overruns a
/// limit, or the event log is closed.
pub(super) async fn drive<S>(
    stream: S,
    guest: Guest,
    context: Arc<Context>,
    activity: Arc<Activity>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &context.limits;
    let service = service_fn(|request: hyper::Request<Incoming>| {
        activity.request_began();
        let context = Arc::clone(&context);
        let activity = Arc::clone(&activity);
        async move {
            let response = match activity.lengths_conflict() {
                true => handler::two_lengths(),
                false => handler::respond(request, guest, &context).await,
            };
            Ok::<_, Infallible>(response.map(|body| body.tracked(activity)))
        }
    });
    let stream = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
    let mut connection = http1::Builder::new()
        // `Activity` bounds the head, and idle connections apart from it.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(limits.head_bytes)
        .max_header_size(limits.head_bytes)
        .half_close(false)
        .serve_connection(stream, service);
    let mut closed = pin!(context.events.closed());
    let mut closing = false;
    let mut alarm = pin!(sleep_until(Instant::now() + limits.head_timeout));
    let answered = poll_fn(|cx| {
        if !closing && closed.as_mut().poll(cx).is_ready() {
            closing = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        // An error is the client's: nobody is left to be told.
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        let deadline = activity
            .deadline(limits)
            .unwrap_or_else(|| Instant::now() + FAR);
        if alarm.deadline() != deadline {
            // "Far" moves with every poll, but an earlier alarm only polls once more.
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(cx).map(|()| false)
    })
    .await;
    if answered && !closing {
        let stream = connection.into_parts().io.into_inner().into_inner();
        tokio::select! {
            () = closed => {}
            () = hear_out(stream, limits.body_timeout) => {}
        }
    }
}

/// Reads what the client still writes, and drops it, until the client hangs up or `patience` is over. Where somebody
/// closes with bytes unread, a client that writes all of its request before it reads meets a broken pipe in the place
/// of the answer.
async fn hear_out<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, patience: Duration) {
    let _ = stream.shutdown().await;
    let _ = timeout(patience, copy(&mut stream, &mut sink())).await;
}
