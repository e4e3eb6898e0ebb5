//! What the metrics say: numbers of this master, a family each. What routes have no part in is absent.

use super::Master;
use crate::control::metrics::Family;
use crate::control::view::{Status, WorkerState};
use crate::fleet::{Generation, Process, Slot};

impl Master {
    /// All but what workers use: that takes time, and a thread finds it (`usage`).
    pub(super) fn metrics(&mut self) -> Vec<Family> {
        let status = self.status();
        let mut families = vec![
            self.build_info(),
            self.start_time(),
            self.generation(),
            self.workers_by_state(),
            self.workers_wanted(),
        ];
        families.extend(self.upgrades.families());
        families.push(self.worker_restarts());
        families.push(draining_connections(&status));
        families.push(listener_queues(&status));
        families.push(self.broken_listeners());
        families
    }

    fn build_info(&self) -> Family {
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("name", &self.name)];
        Family::gauge(
            "handover_build_info",
            "The handover that runs, and its service; always 1.",
        )
        .sample(&labels, 1_u32)
    }

    fn start_time(&self) -> Family {
        Family::gauge(
            "handover_start_time_seconds",
            "When the master started, in seconds since 1970.",
        )
        .value(self.started_at.seconds())
    }

    fn generation(&self) -> Family {
        let active = self.fleet.active().map_or(0, |active| active.number);
        Family::gauge(
            "handover_generation",
            "The active generation; 0 before the first one is.",
        )
        .value(active)
    }

    fn workers_by_state(&self) -> Family {
        let [mut starting, mut ready, mut draining] = [0_u64; 3];
        for (_, slot) in self.fleet.generations().flat_map(Generation::workers) {
            match state_of(slot) {
                WorkerState::Starting => starting += 1,
                WorkerState::Ready => ready += 1,
                WorkerState::Draining => draining += 1,
                WorkerState::Exited | WorkerState::Unknown => {}
            }
        }
        Family::gauge(
            "handover_workers",
            "Worker processes of all generations by state.",
        )
        .sample(&[("state", "starting")], starting)
        .sample(&[("state", "ready")], ready)
        .sample(&[("state", "draining")], draining)
    }

    fn workers_wanted(&self) -> Family {
        let active = self.fleet.active();
        let wanted = active.map(|active| active.workers().filter(|(_, slot)| slot.wanted).count());
        let family = Family::gauge(
            "handover_workers_wanted",
            "Workers that the active generation is to have; absent before the first one is active.",
        );
        match wanted {
            Some(wanted) => family.value(wanted),
            None => family,
        }
    }

    fn worker_restarts(&self) -> Family {
        Family::counter(
            "handover_worker_restarts_total",
            "Workers started again inside a generation.",
        )
        .value(self.restarts)
    }
}

fn draining_connections(status: &Status) -> Family {
    let family = Family::gauge(
        "handover_draining_connections",
        "Connections that workers of draining generations still hold; absent where they cannot be counted.",
    );
    let draining = status.generations.iter();
    let draining = draining.filter(|held| held.drain_deadline.is_some());
    let mut living = draining
        .flat_map(|held| &held.workers)
        .filter(|worker| worker.pid.is_some());
    match living.try_fold(0, |sum, worker| Some(sum + worker.connections?)) {
        Some(left) => family.value(left),
        None => family,
    }
}

fn listener_queues(status: &Status) -> Family {
    let family = Family::gauge(
        "handover_listener_queue",
        "Connections that wait in the listener's accept queue.",
    );
    let listeners = status.listeners.iter();
    let queues = listeners.filter_map(|listener| Some((listener.name.as_str(), listener.queue?)));
    queues.fold(family, |family, (name, queue)| {
        family.sample(&[("listener", name)], queue)
    })
}

/// Where a worker stands, in the words of the API.
pub(super) fn state_of(slot: &Slot) -> WorkerState {
    match slot.process {
        Process::Starting => WorkerState::Starting,
        Process::Ready => WorkerState::Ready,
        Process::Draining | Process::Killed => WorkerState::Draining,
        Process::Absent if slot.wanted => WorkerState::Starting,
        Process::Absent => WorkerState::Exited,
    }
}
