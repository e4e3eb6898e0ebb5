//! What `status` says.

use std::time::Duration;

use super::Master;
use super::count::Count;
use super::effects::millis;
use super::metrics::state_of;
use super::worker::{Verdict, Worker};
use crate::control::Timestamp;
use crate::control::view::{
    GenerationState, GenerationView, HealthView, LastUpgrade, ListenerView, MasterState, Pinned,
    ReleaseView, SessionsView, Status, WorkerView,
};
use crate::fleet::{Generation, Moment, Process, Slot, Stage, State, WorkerId};
use crate::process::{self, Changed, Release};
use crate::sockets::{Listener, Member, Origin};

impl Master {
    pub(super) fn status(&mut self) -> Status {
        self.look_at_flags();
        let (count, uncounted) = match (self.never_counted(), self.listeners.is_empty()) {
            (None, false) => self.counting.shown(),
            (never, _) => (None, never),
        };
        let (operation, queued) = self.operations.current();
        let state = match self.fleet.stage() {
            Stage::Starting => MasterState::Starting,
            Stage::Serving if self.is_upgrading() => MasterState::Upgrading,
            Stage::Serving => MasterState::Serving,
            Stage::Stopping | Stage::Finished => MasterState::Stopping,
        };
        let generations = self
            .fleet
            .generations()
            .map(|held| self.generation_view(held, count));
        let mut generations: Vec<GenerationView> = generations.collect();
        generations.reverse();
        Status {
            name: self.name.clone(),
            pid: super::listeners::own_pid(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state,
            generation: self.fleet.active().map_or(0, |active| active.number),
            route: "direct".to_owned(),
            at: Timestamp::now(),
            started_at: self.started_at,
            listeners: self.listener_views(count),
            generations,
            sessions: SessionsView::default(),
            upgrades: self.upgrades.counts(),
            last_upgrade: self
                .operations
                .last_upgrade()
                .as_ref()
                .and_then(LastUpgrade::of),
            operation,
            queued,
            uncounted,
            sticky: self.sticky_sentence(),
            scaled: self.scaled_sentence(),
            admin: self.admin.address().map(str::to_owned),
            warnings: self.standing_warnings(),
        }
    }

    fn generation_view(&self, held: &Generation, count: Option<&Count>) -> GenerationView {
        let info = self.generations.get(&held.number);
        let release = self.releases.get(held.release);
        GenerationView {
            number: held.number,
            label: info.and_then(|info| info.label.clone()),
            state: match held.state {
                State::Starting => GenerationState::Starting,
                State::Baking => GenerationState::Baking,
                State::Canary => GenerationState::Canary,
                State::Active => GenerationState::Active,
                State::Draining => GenerationState::Draining,
                State::Failed => GenerationState::Failed,
            },
            release: release.map(release_view).unwrap_or_else(unknown_release),
            started_at: info.map_or_else(Timestamp::now, |info| info.started_at),
            drain_deadline: held
                .drain_deadline
                .map(|deadline| self.wall_clock(deadline)),
            canary_deadline: self
                .fleet
                .canary_ends(held.number)
                .map(|deadline| self.wall_clock(deadline)),
            workers: held
                .workers()
                .filter(|(_, slot)| held.state != State::Active || is_taken(slot))
                .map(|(id, slot)| self.worker_view(id, slot, count))
                .collect(),
        }
    }

    /// The fleet's clock as a moment of the wall clock.
    fn wall_clock(&self, moment: Moment) -> Timestamp {
        let left: Duration = moment.saturating_sub(self.now());
        Timestamp::now().after(left)
    }

    fn worker_view(&self, id: WorkerId, slot: &Slot, count: Option<&Count>) -> WorkerView {
        // Between two lives the slot has nobody, and what its last process was is no news of the next, but for its end.
        let held = self.workers.get(id);
        let lost = held.filter(|worker| slot.process == Process::Absent && worker.delivered);
        let held = held.filter(|_| slot.process != Process::Absent);
        let restarts_at = self.fleet.respawns(id);
        let ready = held.and_then(|worker| worker.ready.as_ref());
        let info = self.generations.get(&id.generation);
        WorkerView {
            id: id.to_string(),
            pid: held.and_then(|worker| worker.pid()),
            state: state_of(slot),
            ready_ms: ready.map(|ready| ready.after_ms),
            ready_by: ready.map(|ready| ready.by.clone()),
            status: held.and_then(|worker| worker.status.clone()),
            health: held.and_then(|worker| worker.verdict.as_ref().map(health_view)),
            restarts: info.map_or(0, |info| info.restarts_of(id)),
            restart_in_ms: restarts_at.map(|at| millis(at.saturating_sub(self.now()))),
            ended: lost.map(Worker::ending),
            connections: held.and_then(|_| count?.connections.get(&id).copied()),
        }
    }
}

fn health_view(verdict: &Verdict) -> HealthView {
    HealthView {
        check: verdict.check.clone(),
        ok: verdict.ok,
        failures: verdict.failures,
        reason: verdict.reason.clone(),
        at: verdict.at,
    }
}

/// Not a place that a scaling or a rolling upgrade left empty.
fn is_taken(slot: &Slot) -> bool {
    slot.wanted || slot.process != Process::Absent
}

pub(super) fn listener_view(
    (member, listener): (&Member, &Listener),
    count: Option<&Count>,
) -> ListenerView {
    ListenerView {
        name: member.entry.name.clone(),
        address: listener.address(),
        origin: match listener.origin() {
            Origin::Bound => "bound".to_owned(),
            Origin::Systemd => "systemd".to_owned(),
        },
        backlog: listener.backlog(),
        queue: count.and_then(|count| count.queues.get(listener.name()).copied()),
        ready: member.entry.ready,
        broken: listener.trouble().is_some(),
        note: listener
            .trouble()
            .or(listener.overlap_note())
            .map(str::to_owned),
    }
}

fn release_view(release: &Release) -> ReleaseView {
    ReleaseView {
        command: release.argv().to_vec(),
        executable: release.executable().display().to_string(),
        build_id: release.build_id().map(str::to_owned),
        pinned: match release.pinned() {
            process::Pinned::Program => Pinned::Program,
            process::Pinned::Directory => Pinned::Directory,
            process::Pinned::Path => Pinned::Path,
        },
        changed_files: release
            .changed_files()
            .iter()
            .map(Changed::to_string)
            .collect(),
    }
}

/// The release of a generation that is being forgotten.
fn unknown_release() -> ReleaseView {
    ReleaseView {
        command: Vec::new(),
        executable: String::new(),
        build_id: None,
        pinned: Pinned::Unknown,
        changed_files: Vec::new(),
    }
}
