//! What one connection is doing: idle, in the middle of a head, busy, or a tunnel.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::scan::Scan;

/// Shared by the bytes, the answers and the task of one connection.
#[derive(Debug)]
pub(super) struct Wire {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    scan: Scan,
    /// Requests that the service was called with.
    called: u64,
    /// Requests whose answers are whole, or will never be.
    answered: u64,
    /// The last answer may still be in a buffer.
    flushing: bool,
    /// Since when a head is not whole.
    in_head_since: Instant,
    /// Since when nothing is to be done.
    idle_since: Instant,
    tunnel: bool,
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Idle,
    /// A request has begun and its head is not whole.
    InHead,
    /// A request is being answered.
    Busy,
    /// It was upgraded: no HTTP any more.
    Tunnel,
}

/// How long a connection may stay in one standing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    /// What `idle` becomes in the drain.
    pub(super) linger: Duration,
}

impl Wire {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            state: Mutex::new(State {
                scan: Scan::default(),
                called: 0,
                answered: 0,
                flushing: false,
                in_head_since: now,
                idle_since: now,
                tunnel: false,
            }),
        }
    }

    /// Bytes came from the client.
    pub(super) fn read(&self, bytes: &[u8]) {
        let mut state = self.state();
        if state.tunnel || bytes.is_empty() {
            return;
        }
        let (heads, was_in_head) = (state.scan.heads(), state.scan.is_in_head());
        state.scan.feed(bytes);
        if !was_in_head || state.scan.heads() > heads {
            state.in_head_since = Instant::now();
        }
    }

    /// Everything written so far is with the kernel.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        if state.flushing && state.answered >= state.scan.heads() {
            state.flushing = false;
            state.idle_since = Instant::now();
        }
    }

    pub(super) fn called(&self) {
        self.state().called += 1;
    }

    pub(super) fn answered(&self) {
        let mut state = self.state();
        state.answered += 1;
        state.flushing = true;
    }

    pub(super) fn upgraded(&self) {
        self.state().tunnel = true;
    }

    /// Has a request begun behind the one that the service was called with last? `unread` tells
    /// whether the kernel holds bytes of the client.
    pub(super) fn more_begun(&self, unread: impl FnOnce() -> bool) -> bool {
        let state = self.state();
        state.scan.heads() > state.called
            || state.scan.is_in_head()
            || (state.scan.is_between() && unread())
    }

    pub(super) fn standing(&self) -> Standing {
        self.state().standing()
    }

    /// When patience with its present standing ends; `None`: nothing but the deadline of the
    /// drain ends it.
    pub(super) fn due(&self, patience: &Patience, drain: Option<Instant>) -> Option<Instant> {
        let state = self.state();
        match (state.standing(), drain) {
            (Standing::Busy | Standing::Tunnel, _) => None,
            (Standing::InHead, _) => {
                Some(state.in_head_since.max(state.idle_since) + patience.head)
            }
            (Standing::Idle, None) => Some(state.idle_since + patience.idle),
            (Standing::Idle, Some(began)) => Some(state.idle_since.max(began) + patience.linger),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn standing(&self) -> Standing {
        if self.tunnel {
            Standing::Tunnel
        } else if self.scan.heads() > self.answered || self.flushing {
            Standing::Busy
        } else if self.scan.is_in_head() {
            Standing::InHead
        } else {
            Standing::Idle
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    #[test]
    fn a_connection_is_busy_until_the_last_byte_is_with_the_kernel() {
        let wire = Wire::new();
        assert_eq!(wire.standing(), Standing::Idle);
        wire.read(&GET[..4]);
        assert_eq!(wire.standing(), Standing::InHead);
        wire.read(&GET[4..]);
        wire.flushed();
        assert_eq!(wire.standing(), Standing::Busy);
        wire.called();
        wire.answered();
        assert_eq!(wire.standing(), Standing::Busy);
        wire.flushed();
        assert_eq!(wire.standing(), Standing::Idle);
    }

    #[test]
    fn the_last_of_pipelined_requests_is_known() {
        let wire = Wire::new();
        wire.read(&[GET, GET, &GET[..3]].concat());
        wire.called();
        assert!(wire.more_begun(|| false), "a second one is whole");
        wire.answered();
        wire.called();
        assert!(wire.more_begun(|| false), "a third one has begun");
        wire.answered();
        wire.read(&GET[3..]);
        wire.called();
        assert!(!wire.more_begun(|| false));
        assert!(wire.more_begun(|| true), "bytes wait in the kernel");
    }

    #[tokio::test]
    async fn patience_is_counted_from_the_right_moment() {
        let patience = Patience {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            linger: Duration::from_secs(5),
        };
        let wire = Wire::new();
        let before = Instant::now();
        let due = wire.due(&patience, None).expect("idle");
        assert!(due <= before + patience.idle);
        let later = before + Duration::from_secs(60);
        assert_eq!(
            wire.due(&patience, Some(later)),
            Some(later + patience.linger)
        );
        wire.read(b"G");
        let due = wire.due(&patience, Some(later)).expect("in a head");
        assert!(due >= before + patience.head && due <= Instant::now() + patience.head);
        wire.read(b"ET / HTTP/1.1\r\n\r\n");
        assert_eq!(wire.due(&patience, Some(later)), None);
        wire.upgraded();
        assert_eq!(wire.standing(), Standing::Tunnel);
    }
}
