//! How upgrades ended since the master started, and how long they took.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::control::Timestamp;
use crate::control::metrics::{Family, Histogram};
use crate::control::view::UpgradesView;
use crate::fleet::GenerationNumber;

/// From an upgrade that a bake of a tenth of a second ends to one that loads for half an hour.
const BOUNDS: &[f64] = &[
    0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
];

/// How an upgrade ended: how its generation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// A new release is or was active.
    Succeeded,
    /// It did not become ready, failed its bake, or was aborted.
    Failed,
    /// An earlier release is or was active again, because somebody wanted it.
    RolledBack,
}

impl End {
    const ALL: [End; 3] = [End::Succeeded, End::Failed, End::RolledBack];

    fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// Every upgrade counts once, and by its generation: callers that joined share it.
pub(super) struct Tally {
    counts: UpgradesView,
    /// When one ended so last.
    last: BTreeMap<End, Timestamp>,
    took: Histogram,
    /// Generations whose end is not known yet.
    begun: BTreeMap<GenerationNumber, Instant>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            counts: UpgradesView::default(),
            last: BTreeMap::new(),
            took: Histogram::new(BOUNDS),
            begun: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// The first worker of this generation is launched next.
    pub(super) fn begins(&mut self, generation: GenerationNumber) {
        self.begun.insert(generation, Instant::now());
    }

    /// It has come to its end as an upgrade; `None` where it replaced nothing, and so was none.
    pub(super) fn ends(&mut self, generation: GenerationNumber, end: Option<End>) {
        let begun = self.begun.remove(&generation);
        let (Some(begun), Some(end)) = (begun, end) else {
            return;
        };
        match end {
            End::Succeeded => self.counts.succeeded += 1,
            End::Failed => self.counts.failed += 1,
            End::RolledBack => self.counts.rolled_back += 1,
        }
        self.last.insert(end, Timestamp::now());
        self.took.observe(begun.elapsed());
    }

    /// How many ended how.
    pub(super) fn counts(&self) -> UpgradesView {
        self.counts
    }

    pub(super) fn families(&self) -> [Family; 3] {
        let mut total = Family::counter("handover_upgrades_total", "Upgrades by how they ended.");
        let mut last = Family::gauge(
            "handover_last_upgrade_timestamp_seconds",
            "When an upgrade ended so last, in seconds since 1970; absent before one did.",
        );
        for end in End::ALL {
            let count = match end {
                End::Succeeded => self.counts.succeeded,
                End::Failed => self.counts.failed,
                End::RolledBack => self.counts.rolled_back,
            };
            let labels = [("result", end.as_str())];
            total = total.sample(&labels, count);
            if let Some(at) = self.last.get(&end) {
                last = last.sample(&labels, at.seconds());
            }
        }
        let took = Family::histogram(
            "handover_upgrade_duration_seconds",
            "From the first launch of a new generation until it was active, or had failed.",
            &self.took,
        );
        [total, last, took]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::metrics::exposition;

    #[test]
    fn an_upgrade_counts_once_and_the_first_generation_is_none() {
        let mut tally = Tally::default();
        tally.begins(1);
        tally.ends(1, None);
        assert_eq!(tally.counts(), UpgradesView::default());
        tally.begins(2);
        tally.ends(2, Some(End::Succeeded));
        // Ready, promoted, and told of once more.
        tally.ends(2, Some(End::Succeeded));
        tally.begins(3);
        tally.ends(3, Some(End::RolledBack));
        let counts = tally.counts();
        assert_eq!(
            (counts.succeeded, counts.failed, counts.rolled_back),
            (1, 0, 1)
        );
        let text = exposition(&tally.families());
        assert!(
            text.contains("handover_upgrade_duration_seconds_count 2\n"),
            "{text}"
        );
        let last = "handover_last_upgrade_timestamp_seconds{result=";
        assert!(text.contains(&format!("{last}\"succeeded\"")), "{text}");
        assert!(!text.contains(&format!("{last}\"failed\"")), "{text}");
    }
}
