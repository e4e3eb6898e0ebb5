//! What systemd is told: readiness, reloads, signs of life, and a sentence
//! that a person wants to read.

use std::time::{Duration, Instant};

use super::Master;
use super::effects::millis;
use crate::control::{Count, Span};
use crate::fleet::rollout::Phase;
use crate::fleet::{Stage, State};

/// How often more time is asked for while a start or an upgrade runs, and for
/// how long: systemd bounds both by TimeoutStartSec=.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
const EXTEND_BY: Duration = Duration::from_secs(20);

/// What systemd was told last.
#[derive(Default)]
pub(super) struct Told {
    ready: bool,
    reloading: bool,
    stopping: bool,
    status: String,
    next_watchdog: Option<Instant>,
    next_extension: Option<Instant>,
}

impl Master {
    /// Tells systemd what is new, and that the loop turns.
    pub(super) fn tell_systemd(&mut self) {
        if !self.notifier.is_present() {
            return;
        }
        let now = Instant::now();
        if let Some(interval) = self.notifier.watchdog_interval()
            && self.told.next_watchdog.is_none_or(|due| due <= now)
        {
            self.notifier.watchdog();
            self.told.next_watchdog = Some(now + interval);
        }
        let status = self.sentence();
        let serving = self.fleet.stage() == Stage::Serving;
        // A canary may stand for days, and scaling is no reload.
        let rests = matches!(
            self.fleet.rollout().0,
            Phase::Idle | Phase::Canary | Phase::Scaling
        );
        let rolling = serving && !rests;
        if serving && !self.told.ready {
            self.told.ready = true;
            self.notifier.ready(&status);
            self.told.status.clone_from(&status);
        }
        if self.fleet.stage() == Stage::Stopping && !self.told.stopping {
            self.told.stopping = true;
            self.notifier.stopping(&status);
            self.told.status.clone_from(&status);
        }
        if rolling && !self.told.reloading {
            self.told.reloading = true;
            self.notifier.reloading();
        }
        if !rolling {
            self.tell_reload_ended();
        }
        if status != self.told.status {
            self.notifier.status(&status);
            self.told.status = status;
        }
        // What met a full queue is tried again with whatever comes next.
        self.notifier.retry();
        self.extend_timeout(now);
    }

    /// `READY=1` ends a reload for systemd, however it went.
    pub(super) fn tell_reload_ended(&mut self) {
        if std::mem::take(&mut self.told.reloading) {
            let status = self.sentence();
            self.notifier.ready(&status);
            self.told.status = status;
        }
    }

    fn extend_timeout(&mut self, now: Instant) {
        let starting = self.fleet.stage() == Stage::Starting;
        let stopping = self.fleet.stage() == Stage::Stopping;
        if !(starting || stopping || self.told.reloading) {
            self.told.next_extension = None;
        } else if self.told.next_extension.is_none_or(|due| due <= now) {
            self.notifier.extend(EXTEND_BY);
            self.told.next_extension = Some(now + EXTEND_EVERY);
        }
    }

    pub(super) fn next_telling(&self) -> Option<Instant> {
        let due = [self.told.next_watchdog, self.told.next_extension];
        due.into_iter().flatten().min()
    }

    /// "generation 8 active, 4 workers; generation 7 draining, 12 connections left, 12 s left": as counted last,
    /// about once a second; before that, and where it cannot be counted, "20 s at most".
    pub(super) fn sentence(&self) -> String {
        let mut parts = Vec::new();
        for held in self.fleet.generations() {
            let number = held.number;
            let workers = held.wanted();
            let ready = u32::try_from(held.ready()).unwrap_or(u32::MAX);
            let part = match held.state {
                State::Active if ready == workers => {
                    format!("generation {number} active, {}", Count(workers, "worker"))
                }
                State::Active => {
                    format!("generation {number} active, {ready} of {workers} workers ready")
                }
                State::Starting if workers == 0 => format!("generation {number} preparing"),
                State::Starting => {
                    format!("generation {number} starting, {ready} of {workers} workers ready")
                }
                State::Baking => format!("generation {number} baking"),
                State::Canary => {
                    let workers = Count(workers, "worker");
                    format!("generation {number} canary, {workers}, until promoted or aborted")
                }
                State::Draining => match self.counting.left(number) {
                    Some(left) => format!(
                        "generation {number} draining, {} left, {} left",
                        Count(left.connections, "connection"),
                        Span(millis(left.time))
                    ),
                    None => {
                        let timeout = Span(millis(self.fleet.policy().drain_timeout));
                        format!("generation {number} draining, {timeout} at most")
                    }
                },
                State::Failed => format!("generation {number} failed"),
            };
            // What serves comes first.
            let at = if held.state == State::Active {
                0
            } else {
                parts.len()
            };
            parts.insert(at, part);
        }
        if !parts.is_empty() {
            parts.extend(self.broken_sentences());
        }
        match parts.is_empty() {
            true => "nothing runs".to_owned(),
            false => parts.join("; "),
        }
    }
}
