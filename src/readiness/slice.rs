//! How much of a long walk is done at once.
//!
//! The master's loop serves its clients between two looks, so no look may last: a tree of thousands of threads is
//! looked at in slices, each going on where the last one stopped.

use std::time::{Duration, Instant};

/// A slice ends after this; a slice that costs as much is paid for within the longest interval
/// of the schedule.
const LONGEST: Duration = Duration::from_millis(1);
/// But not before so many steps: a usual program is looked at whole, also where the machine is so busy that the time
/// goes by without them.
const LEAST: u32 = 32;

/// One slice: to be asked before every step.
#[derive(Debug)]
pub(super) struct Slice {
    /// `None`: without an end.
    until: Option<Instant>,
    steps: u32,
}

impl Slice {
    /// A slice that begins now.
    pub(super) fn begin() -> Self {
        Self {
            until: Some(Instant::now() + LONGEST),
            steps: 0,
        }
    }

    /// Everything at once.
    pub(super) fn whole() -> Self {
        Self {
            until: None,
            steps: 0,
        }
    }

    /// Whether no other step fits.
    pub(super) fn is_over(&mut self) -> bool {
        self.steps = self.steps.saturating_add(1);
        self.steps > LEAST && self.until.is_some_and(|until| Instant::now() >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_has_its_least_steps_however_late_it_is() {
        let mut slice = Slice {
            until: Some(Instant::now()),
            steps: 0,
        };
        let steps = (0..1000).take_while(|_| !slice.is_over()).count();
        assert_eq!(steps, 32);
    }

    #[test]
    fn a_whole_one_never_ends() {
        let mut slice = Slice::whole();
        assert!((0..1000).all(|_| !slice.is_over()));
    }
}
