//! Events as a stream of server-sent events (WHATWG HTML, section 9.2).
//!
//! hyper asks for the next piece only when the client took the last one, so a
//! slow client holds one piece, however much happens meanwhile.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::control::view::EventView;
use crate::control::{Batch, Event, Subscription, Timestamp};

type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Subscription)>> + Send>>;

/// The pieces of one client's stream.
pub(in crate::control) struct EventStream {
    next: Next,
    heartbeat: Duration,
}

impl EventStream {
    /// What `subscription` yields; a comment after each `heartbeat` in which
    /// nothing happened.
    pub(super) fn new(subscription: Subscription, heartbeat: Duration) -> Self {
        // At once, so that the client knows that it follows, and since when.
        let hello = format!(": events after {}\n\n", subscription.cursor());
        let next = Box::pin(async move { Some((Bytes::from(hello), subscription)) });
        Self { next, heartbeat }
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Poll::Ready(piece) = self.next.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        let Some((bytes, subscription)) = piece else {
            // Polled again, it still says that it ended.
            self.next = Box::pin(async { None });
            return Poll::Ready(None);
        };
        self.next = Box::pin(piece_after(subscription, self.heartbeat));
        Poll::Ready(Some(bytes))
    }
}

async fn piece_after(mut from: Subscription, heartbeat: Duration) -> Option<(Bytes, Subscription)> {
    let bytes = match timeout(heartbeat, from.next()).await {
        Err(_) => Bytes::from_static(b":\n\n"),
        Ok(batch) => frames(&batch?),
    };
    Some((bytes, from))
}

fn frames(batch: &Batch) -> Bytes {
    let mut text = String::new();
    if let Some((from, to)) = batch.gap {
        // It stands in for the last event that it covers, so that a client
        // that comes back with this id goes on after the gap.
        let gap = EventView::new(to, Timestamp::now(), &Event::Gap { from, to });
        let json = serde_json::to_string(&gap).unwrap_or_default();
        frame(&mut text, to, &gap.kind, &json);
    }
    for stored in &batch.events {
        let json = String::from_utf8_lossy(&stored.json);
        frame(&mut text, stored.seq, &stored.kind, &json);
    }
    text.into()
}

fn frame(text: &mut String, seq: u64, kind: &str, json: &str) {
    // Writing to a String cannot fail; JSON on one line has no line break.
    let _ = write!(text, "id: {seq}\nevent: {kind}\ndata: {json}\n\n");
}
