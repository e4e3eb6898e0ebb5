//! What waits for the writer, in order, and within bounds. Pure.

use std::collections::VecDeque;

use super::{Record, Stamped};

/// How many lines may wait, and how many bytes they may occupy.
pub(super) const QUEUE_RECORDS_MAX: usize = 4096;
pub(super) const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many lines of handover itself find room beyond that: a worker that floods
/// the log must not hide that its upgrade failed.
pub(super) const QUEUE_RECORDS_RESERVE: usize = 512;

/// A queue that was long once gives its memory back.
const QUEUE_CAPACITY_IDLE: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// From the first dropped line until half of the queue is written, so that one
    /// notice tells of many lines.
    overflowing: bool,
    /// The writer has taken one out and is at work on it; else it sleeps.
    pub(super) writing: bool,
    /// The last `Sink` is gone.
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) enum Entry {
    Record(Stamped),
    /// So many lines are missing here.
    Dropped(u64),
}

impl Queue {
    /// Puts a line in, or counts it where it is missing. Says whether it is in.
    pub(super) fn push(&mut self, stamped: Stamped) -> bool {
        let fits = self.has_room_for(&stamped.record);
        if fits {
            self.bytes += stamped.record.weight();
            self.entries.push_back(Entry::Record(stamped));
        } else {
            match self.entries.back_mut() {
                Some(Entry::Dropped(lines)) => *lines += 1,
                _ => self.entries.push_back(Entry::Dropped(1)),
            }
        }
        fits
    }

    /// Is every line written?
    pub(super) fn is_idle(&self) -> bool {
        self.entries.is_empty() && !self.writing
    }

    fn has_room_for(&mut self, record: &Record) -> bool {
        let full = self.entries.len() >= QUEUE_RECORDS_MAX
            || self.bytes + record.weight() > QUEUE_BYTES_MAX;
        if record.is_output() {
            self.overflowing |= full;
            return !self.overflowing;
        }
        self.entries.len() < QUEUE_RECORDS_MAX + QUEUE_RECORDS_RESERVE
            && self.bytes + record.weight() <= 2 * QUEUE_BYTES_MAX
    }

    /// The next entry, for the writer.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.writing = true;
        if let Entry::Record(stamped) = &entry {
            self.bytes -= stamped.record.weight();
        }
        if self.entries.len() <= QUEUE_RECORDS_MAX / 2 && self.bytes <= QUEUE_BYTES_MAX / 2 {
            self.overflowing = false;
        }
        if self.entries.is_empty() {
            self.entries.shrink_to(QUEUE_CAPACITY_IDLE);
        }
        Some(entry)
    }
}
