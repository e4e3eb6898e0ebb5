//! Whether the end has begun, for everybody who wants to know.

use tokio::sync::watch;
use tokio::time::Instant;

/// Tells whether the drain has begun: [`serve`](super::serve) puts one into the extensions of
/// each request.
///
/// A handler that answers quickly need not ask. One that keeps a connection for long (a WebSocket,
/// server-sent events, a long poll) ends it in good order once this says so, before the deadline cuts it.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<Option<Instant>>);

/// Begins a drain.
#[derive(Debug)]
pub(super) struct Begin(watch::Sender<Option<Instant>>);

impl Drain {
    pub(super) fn new() -> (Begin, Self) {
        let (sender, receiver) = watch::channel(None);
        (Begin(sender), Self(receiver))
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.began_at().is_some()
    }

    /// Returns when it begins; at once if it has. Cancel-safe.
    pub async fn begun(&self) {
        // An error says that the server is gone, which is the end as well.
        let _ = self.0.clone().wait_for(Option::is_some).await;
    }

    pub(super) fn began_at(&self) -> Option<Instant> {
        *self.0.borrow()
    }
}

impl Begin {
    pub(super) fn now(&self) -> Instant {
        let now = Instant::now();
        self.0.send_replace(Some(now));
        now
    }
}
