//! That no worker is ready although a generation is active: for how long, and what comes next.

use std::time::Instant;

use super::Master;
use super::effects::millis;
use crate::control::{Count, Span};
use crate::fleet::{Generation, Process, Stage};

impl Master {
    /// Remembers since when nobody serves.
    pub(super) fn look_who_serves(&mut self) {
        let unserved = self.is_unserved();
        self.unserved_since = unserved.then(|| self.unserved_since.unwrap_or_else(Instant::now));
    }

    fn is_unserved(&self) -> bool {
        self.fleet.stage() == Stage::Serving && !self.fleet.is_serving()
    }

    /// That the active generation has no worker that is ready, nor any other, for how long, and what comes next.
    pub(super) fn nobody_serves(&self) -> Option<String> {
        let active = self.fleet.active().filter(|_| self.is_unserved())?;
        let mut words = format!(
            "nobody serves: 0 of {} of generation {} are ready",
            Count(active.wanted(), "worker"),
            active.number
        );
        // In whole seconds, as ages are.
        let seconds = self.unserved_since.map_or(0, |it| it.elapsed().as_secs());
        if seconds > 0 {
            words += &format!(", for {} now", Span(seconds * 1000));
        }
        if let Some(next) = self.next_to_serve(active) {
            words += &format!("; {next}");
        }
        Some(words)
    }

    /// Which worker may be ready first: one that starts, else the one that is started again soonest.
    fn next_to_serve(&self, active: &Generation) -> Option<String> {
        let wanted = |process| {
            let mut slots = active.workers().filter(|(_, slot)| slot.wanted);
            slots.find(|(_, slot)| slot.process == process)
        };
        if let Some((id, _)) = wanted(Process::Starting) {
            return Some(format!("worker {id} starts and is not ready yet"));
        }
        let due = active.workers();
        let due = due.filter_map(|(id, _)| Some((self.fleet.respawns(id)?, id)));
        let (at, id) = due.min()?;
        let left = Span(millis(at.saturating_sub(self.now())));
        let ended = self.workers.get(id).filter(|worker| worker.delivered);
        let ended = ended.map_or_else(String::new, |worker| {
            format!(" ended ({}) and", worker.ending())
        });
        Some(format!("worker {id}{ended} is started again in {left}"))
    }
}
