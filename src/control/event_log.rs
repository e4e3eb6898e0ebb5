//! The last events, in memory, for whoever asks or follows.
//!
//! One writer (the master), many readers. Nothing here ever waits for a
//! reader: what a slow one missed is gone, and it is told how much.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::view::EventView;
use super::{Event, Timestamp};

/// How many events are kept.
const EVENTS_MAX: usize = 1024;
/// How many bytes of events are kept, as JSON.
const BYTES_MAX: usize = 256 * 1024;

/// A bounded ring of the last events. Cloning shares it.
#[derive(Clone, Debug)]
pub struct EventLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    /// Wakes followers; the ring is the truth.
    head: watch::Sender<Head>,
}

#[derive(Debug)]
struct Ring {
    /// The number of the newest event, 0 before there is one.
    last: u64,
    events: VecDeque<Stored>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    last: u64,
    closed: bool,
}

/// An event as it is kept: written once, however many read it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its number.
    pub seq: u64,
    /// Its kind.
    pub kind: String,
    /// The whole [`EventView`] as JSON, without a line break.
    pub json: Bytes,
}

impl Default for EventLog {
    fn default() -> Self {
        Self::new()
    }
}

impl EventLog {
    /// An empty log whose first event has number 1.
    #[must_use]
    pub fn new() -> Self {
        Self::continuing_after(0)
    }

    /// An empty log that goes on counting after `last`, so that a follower
    /// of the master before this one can go on where it was.
    #[must_use]
    pub fn continuing_after(last: u64) -> Self {
        let ring = Ring {
            last,
            events: VecDeque::new(),
            bytes: 0,
        };
        let (head, _) = watch::channel(Head {
            last,
            closed: false,
        });
        Self(Arc::new(Shared {
            ring: Mutex::new(ring),
            head,
        }))
    }

    /// Records that `event` happened now, and wakes who follows. Returns it as
    /// it is recorded.
    pub fn push(&self, event: &Event) -> EventView {
        let view = {
            let mut ring = self.ring();
            ring.last += 1;
            let view = EventView::new(ring.last, Timestamp::now(), event);
            let stored = Stored::new(&view);
            ring.push(stored);
            view
        };
        self.0.head.send_modify(|head| head.last = view.seq);
        view
    }

    /// The number of the newest event; 0 before there is one.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.ring().last
    }

    /// What is kept of the events after number `since`.
    #[must_use]
    pub fn after(&self, since: u64) -> Vec<Stored> {
        self.ring().after(since, usize::MAX)
    }

    /// Follows the log from the event after number `since`.
    #[must_use]
    pub fn subscribe(&self, since: u64) -> Subscription {
        Subscription {
            log: self.clone(),
            head: self.0.head.subscribe(),
            cursor: since,
        }
    }

    /// Ends the log: followers get what is left, then their end; the server
    /// that has this log finishes what it answers and ends.
    pub fn close(&self) {
        self.0.head.send_modify(|head| head.closed = true);
    }

    /// Waits until [`EventLog::close`] was called.
    pub(crate) async fn closed(&self) {
        let mut head = self.0.head.subscribe();
        // The sender lives as long as `self`: this cannot fail.
        let _ = head.wait_for(|head| head.closed).await;
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Every change of the ring is one that cannot panic half-way.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    fn new(view: &EventView) -> Self {
        // Strings, numbers and lists of them always have a JSON form.
        let json = serde_json::to_vec(view).unwrap_or_default();
        Self {
            seq: view.seq,
            kind: view.kind.clone(),
            json: json.into(),
        }
    }
}

impl Ring {
    fn push(&mut self, stored: Stored) {
        self.bytes += stored.json.len();
        self.events.push_back(stored);
        while self.events.len() > EVENTS_MAX || (self.bytes > BYTES_MAX && self.events.len() > 1) {
            if let Some(oldest) = self.events.pop_front() {
                self.bytes -= oldest.json.len();
            }
        }
    }

    fn after(&self, since: u64, count_max: usize) -> Vec<Stored> {
        let from = self.events.partition_point(|stored| stored.seq <= since);
        self.events.range(from..).take(count_max).cloned().collect()
    }
}

/// How many events a follower gets at once.
const BATCH_MAX: usize = 64;

/// One follower's place in the log.
#[derive(Debug)]
pub struct Subscription {
    log: EventLog,
    head: watch::Receiver<Head>,
    cursor: u64,
}

/// What a follower gets.
#[derive(Debug)]
pub struct Batch {
    /// Numbers that are no longer kept: first and last.
    pub gap: Option<(u64, u64)>,
    /// What follows, oldest first; a few at a time.
    pub events: Vec<Stored>,
}

impl Subscription {
    /// The next events; none when the log was closed and everything was told.
    /// Nothing is lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Option<Batch> {
        loop {
            let head = *self.head.borrow_and_update();
            if let Some(batch) = self.take() {
                return Some(batch);
            }
            if head.closed || self.head.changed().await.is_err() {
                return None;
            }
        }
    }

    /// The last number that this follower got, or was told that it is gone.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    fn take(&mut self) -> Option<Batch> {
        let (last, events) = {
            let ring = self.log.ring();
            // A number from the future was given by another master: this
            // one's events are all new to the follower.
            let since = if self.cursor > ring.last {
                0
            } else {
                self.cursor
            };
            (ring.last, ring.after(since, BATCH_MAX))
        };
        if self.cursor > last {
            let gap = Some((1, events.first().map_or(last, |first| first.seq - 1)));
            self.cursor = events.last().map_or(last, |newest| newest.seq);
            let gap = gap.filter(|(from, to)| from <= to);
            return (gap.is_some() || !events.is_empty()).then_some(Batch { gap, events });
        }
        let first = events.first()?.seq;
        let gap = (first > self.cursor + 1).then(|| (self.cursor + 1, first - 1));
        self.cursor = events.last()?.seq;
        Some(Batch { gap, events })
    }
}

#[cfg(test)]
#[path = "event_log_tests.rs"]
mod tests;
