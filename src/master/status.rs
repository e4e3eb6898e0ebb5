//! What `status` says.

use std::time::Duration;

use super::Master;
use super::metrics::state_of;
use crate::control::Timestamp;
use crate::control::view::{
    GenerationState, GenerationView, LastUpgrade, ListenerView, MasterState, Pinned, ReleaseView,
    SessionsView, Status, WorkerView,
};
use crate::fleet::{Generation, Moment, Process, Slot, Stage, State, WorkerId};
use crate::process::{self, Changed, Release};
use crate::sockets::Origin;

impl Master {
    pub(super) fn status(&mut self) -> Status {
        self.look_at_flags();
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
            .map(|held| self.generation_view(held));
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
            listeners: self.listeners.iter().map(listener_view).collect(),
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
            sticky: self.sticky_sentence(),
            admin: self.admin.address().map(str::to_owned),
            warnings: self
                .warnings
                .iter()
                .map(String::as_str)
                .chain(self.admin.trouble())
                .map(str::to_owned)
                .collect(),
        }
    }

    fn generation_view(&self, held: &Generation) -> GenerationView {
        let info = self.generations.get(&held.number);
        let release = self.releases.get(held.release);
        GenerationView {
            number: held.number,
            label: info.and_then(|info| info.label.clone()),
            state: match held.state {
                State::Starting => GenerationState::Starting,
                State::Baking => GenerationState::Baking,
                State::Active => GenerationState::Active,
                State::Draining => GenerationState::Draining,
                State::Failed => GenerationState::Failed,
            },
            release: release.map(release_view).unwrap_or_else(unknown_release),
            started_at: info.map_or_else(Timestamp::now, |info| info.started_at),
            drain_deadline: held
                .drain_deadline
                .map(|deadline| self.wall_clock(deadline)),
            workers: held
                .workers()
                .map(|(id, slot)| self.worker_view(id, slot))
                .collect(),
        }
    }

    /// The fleet's clock as a moment of the wall clock.
    fn wall_clock(&self, moment: Moment) -> Timestamp {
        let left: Duration = moment.saturating_sub(self.now());
        Timestamp::now().after(left)
    }

    fn worker_view(&self, id: WorkerId, slot: &Slot) -> WorkerView {
        // Between two lives the slot has nobody, and what its last process was is no news of the next.
        let held = self.workers.get(id);
        let held = held.filter(|_| slot.process != Process::Absent);
        let ready = held.and_then(|worker| worker.ready.as_ref());
        WorkerView {
            id: id.to_string(),
            pid: held.and_then(|worker| worker.pid()),
            state: state_of(slot),
            ready_ms: ready.map(|ready| ready.after_ms),
            ready_by: ready.map(|ready| ready.by.clone()),
            status: held.and_then(|worker| worker.status.clone()),
            restarts: slot.life,
            connections: None,
        }
    }
}

fn listener_view(listener: &crate::sockets::Listener) -> ListenerView {
    ListenerView {
        name: listener.name().to_owned(),
        address: listener.address(),
        origin: match listener.origin() {
            Origin::Bound => "bound".to_owned(),
            Origin::Systemd => "systemd".to_owned(),
        },
        backlog: listener.backlog(),
        ready: listener.counts_for_ready(),
        note: listener.overlap_note().map(str::to_owned),
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
