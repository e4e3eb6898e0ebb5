//! A worker that floods its notify socket: what the log is told of it.

use std::time::{Duration, Instant};

/// Lines of one worker that may come at once, and how long they last.
const BURST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(5);

/// Counts what one worker makes the log say.
#[derive(Debug, Default)]
pub(super) struct Chatter {
    since: Option<Instant>,
    said: u32,
    dropped: u64,
}

impl Chatter {
    /// Whether one more line may be said now.
    pub(super) fn may_speak(&mut self, now: Instant) -> bool {
        let over = self.over_at().is_none_or(|over| over <= now);
        if over && self.dropped == 0 {
            (self.since, self.said) = (Some(now), 0);
        }
        let speaks = self.said < BURST;
        match speaks {
            true => self.said += 1,
            false => self.dropped += 1,
        }
        speaks
    }

    /// When it is time to say how many lines were dropped.
    pub(super) fn over_at(&self) -> Option<Instant> {
        self.since.map(|since| since + WINDOW)
    }

    pub(super) fn has_dropped(&self) -> bool {
        self.dropped > 0
    }

    /// Ends a window that is over, or any with `at_once`; says how many lines it dropped.
    pub(super) fn end(&mut self, now: Instant, at_once: bool) -> Option<u64> {
        let over = self.over_at().is_some_and(|over| at_once || over <= now);
        over.then(|| std::mem::take(self).dropped)
            .filter(|dropped| *dropped > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_are_said_and_the_rest_is_counted() {
        let (mut chatter, now) = (Chatter::default(), Instant::now());
        let said = (0..100).filter(|_| chatter.may_speak(now)).count();
        assert_eq!(said, 10);
        assert_eq!(chatter.end(now, false), None, "the window is open");
        assert_eq!(chatter.end(now + WINDOW, false), Some(90));
        assert!(chatter.may_speak(now + WINDOW), "a new window");
        assert_eq!(
            chatter.end(now + WINDOW * 2, false),
            None,
            "nothing was dropped"
        );
        let said = (0..100).filter(|_| chatter.may_speak(now + WINDOW * 3));
        assert_eq!(said.count(), 10, "each window has its lines");
    }

    #[test]
    fn an_end_tells_at_once_what_was_dropped() {
        let (mut chatter, now) = (Chatter::default(), Instant::now());
        let said = (0..12).filter(|_| chatter.may_speak(now)).count();
        assert_eq!(said, 10);
        assert_eq!(chatter.end(now, true), Some(2));
        assert_eq!(chatter.end(now, true), None);
    }
}
