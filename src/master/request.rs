//! From a call or a signal to an event of the fleet: the config is read again,
//! the release is pinned, and only then anything begins.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::watch;

use super::Master;
use super::binding::Asked;
use super::lookup;
use super::operations::FIRST;
use super::releases::Manner;
use super::sticky::Sticky;
use crate::config::{self, Config, Loaded, Workers};
use crate::control::view::{OperationKind, OperationState, OperationView};
use crate::control::{
    ApiError, Caller, ErrorKind, Event, OperationRequest, Timestamp, UpgradeRequest,
};
use crate::fleet::{self, Good, Kind, OperationId, Policy, ReleaseId, Request, Stage};
use crate::process::Release;
use crate::sockets::{Arranged, Arrangement};

/// A respawned worker that stays ready for this long is no longer counted as
/// failing in a row.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// The longest label: it is repeated wherever its upgrade is told.
const LABEL_BYTES_MAX: usize = 256;

impl Master {
    /// Begins, queues or joins what is asked; an error changes nothing.
    pub(super) fn start_operation(
        &mut self,
        request: OperationRequest,
        by: Caller,
    ) -> Result<watch::Receiver<OperationView>, ApiError> {
        let ending = matches!(self.fleet.stage(), Stage::Stopping | Stage::Finished);
        if ending && !matches!(request, OperationRequest::Stop { .. }) {
            return Err(ApiError::new(
                ErrorKind::Stopping,
                "the service is being stopped",
            ));
        }
        let kind = request.kind();
        match request {
            OperationRequest::Upgrade(upgrade) => self.upgrade(kind, upgrade, by),
            OperationRequest::Reload => self.upgrade(kind, UpgradeRequest::default(), by),
            OperationRequest::Rollback { to, anyway } => self.rollback(to, anyway, by),
            OperationRequest::Promote => Ok(self.simple(kind, by, fleet::Event::Promote)),
            OperationRequest::Abort => Ok(self.simple(kind, by, fleet::Event::Abort)),
            OperationRequest::Stop { now } => {
                let drain_timeout_ms = super::effects::millis(self.config().drain.timeout);
                self.tell(&Event::MasterStopping {
                    by: Some(by),
                    drain_timeout_ms,
                });
                Ok(self.simple(kind, by, |id| fleet::Event::Stop {
                    operation: Some(id),
                    now,
                }))
            }
            OperationRequest::Scale(_) => Err(ApiError::refused(
                "this version of handover cannot scale a running generation",
            )
            .hint("change app.workers in the config, then: handover upgrade")),
        }
    }

    fn simple(
        &mut self,
        kind: OperationKind,
        by: Caller,
        event: impl FnOnce(OperationId) -> fleet::Event,
    ) -> watch::Receiver<OperationView> {
        let (id, receiver) = self.operations.begin(kind, by, None);
        let from = self.fleet.active().map(|active| active.number);
        self.operations.update(id, |view| {
            view.state = OperationState::Running;
            view.from = from;
        });
        self.pending.push_back(event(id));
        receiver
    }

    fn upgrade(
        &mut self,
        kind: OperationKind,
        upgrade: UpgradeRequest,
        by: Caller,
    ) -> Result<watch::Receiver<OperationView>, ApiError> {
        if upgrade
            .label
            .as_ref()
            .is_some_and(|label| label.len() > LABEL_BYTES_MAX)
        {
            let error = format!("the label is longer than {LABEL_BYTES_MAX} bytes");
            return Err(ApiError::new(ErrorKind::BadRequest, error));
        }
        if self.binding.is_busy() {
            return Ok(self.wait_for_binding(kind, upgrade, by));
        }
        let (asked, arrangement) = self.prepare(kind, &upgrade, by)?;
        let (id, receiver) = self.operations.begin(kind, by, upgrade.label);
        self.bind(id, asked, arrangement);
        Ok(receiver)
    }

    /// Everything that can be found wrong before anything begins, but for what is still to be bound.
    pub(super) fn prepare(
        &self,
        kind: OperationKind,
        upgrade: &UpgradeRequest,
        by: Caller,
    ) -> Result<(Asked, Arrangement), ApiError> {
        let loaded = config::load(&self.sources).map_err(|faults| ApiError::config(&faults))?;
        let mut sticky = match upgrade.from_config {
            true => Sticky::none(&loaded.config),
            false => self.sticky_for(&loaded.config),
        };
        let file = lookup::environment_file(&loaded, upgrade.env_file.as_deref())
            .map_err(|faults| ApiError::config(&faults))?;
        if upgrade.command.is_some() || !upgrade.env.is_empty() {
            sticky.by = Some((by, Timestamp::now()));
        }
        sticky.command = upgrade.command.clone().or(sticky.command);
        sticky.env.extend(upgrade.env.clone());
        let plan = lookup::plan(&loaded.config, &sticky, file, upgrade.label.clone());
        let release =
            Release::resolve(plan).map_err(|error| ApiError::refused(error.to_string()))?;
        let arrangement = self.arrange(&loaded)?;
        let kind = match kind {
            OperationKind::Reload => Kind::Reload,
            _ => Kind::Upgrade,
        };
        let asked = Asked {
            kind,
            loaded,
            sticky,
            release,
        };
        Ok((asked, arrangement))
    }

    /// Nothing is missing: from here on nothing can be refused.
    pub(super) fn go_on(&mut self, id: OperationId, asked: Asked, arranged: Arranged) {
        let mut warnings = self.adopt_config(asked.loaded);
        let lineup = self.adopt_arrangement(arranged, &mut warnings);
        let manner = Manner::of(self.config());
        let (release, sticky) = (asked.release, asked.sticky);
        let release = self
            .releases
            .number(release, manner, sticky.clone(), lineup);
        self.operations.update(id, |view| view.warnings = warnings);
        self.request.wait_for(id, sticky);
        self.submit(id, release, asked.kind);
    }

    fn rollback(
        &mut self,
        to: Option<u32>,
        anyway: bool,
        by: Caller,
    ) -> Result<watch::Receiver<OperationView>, ApiError> {
        let target = match to {
            None => self.rollback_target(),
            Some(number) => self
                .fleet
                .good()
                .iter()
                .find(|good| good.number == number)
                .copied(),
        };
        let target = target.ok_or_else(|| self.no_such_target(to))?;
        let release = self.releases.get(target.release);
        let changed = release.map(Release::changed_files).unwrap_or_default();
        if !changed.is_empty() && !anyway {
            let files: Vec<String> = changed.iter().map(ToString::to_string).collect();
            return Err(ApiError::refused(format!(
                "generation {} cannot be brought back as it was: its files changed since: {}",
                target.number,
                files.join("; ")
            ))
            .hint(format!(
                "restore the files and try again, or run what they hold now: handover rollback {} \
                 --to {} --anyway",
                self.name, target.number
            )));
        }
        let (id, receiver) = self.operations.begin(OperationKind::Rollback, by, None);
        // What that release ran with is in force again, or the next upgrade would bring back what was rolled back.
        if let Some(held) = self.releases.held(target.release) {
            self.request.wait_for(id, held.sticky.clone());
        }
        let lineup = self.coming_lineup();
        let release = self.releases.with_lineup(target.release, lineup);
        self.submit(id, release, Kind::Rollback { to: target.number });
        Ok(receiver)
    }

    /// The last good release before the active one, and one that runs something else.
    fn rollback_target(&self) -> Option<Good> {
        let active = self.fleet.active()?;
        let earlier = |good: &&Good| {
            good.number < active.stands_for
                && !self.releases.run_the_same(good.release, active.release)
        };
        self.fleet.good().iter().rev().find(earlier).copied()
    }

    fn no_such_target(&self, to: Option<u32>) -> ApiError {
        match to {
            None if self.fleet.good().len() > 1 => {
                ApiError::refused("every good generation ran what runs now: nothing to go back to")
            }
            None => ApiError::refused("no earlier release is known that was good")
                .hint("handover history shows what ran"),
            Some(number) => {
                let known = self.fleet.good().iter().map(|good| good.number.to_string());
                let known: Vec<String> = known.collect();
                ApiError::refused(format!("generation {number} is not among the good ones"))
                    .hint(format!("these are: {}", known.join(", ")))
            }
        }
    }

    fn submit(&mut self, operation: OperationId, release: ReleaseId, kind: Kind) {
        let fixed = self.releases.is_fixed(release);
        let request = Request {
            operation,
            release,
            fixed,
            kind,
        };
        self.pending.push_back(fleet::Event::Request(request));
    }

    /// The first generation: of the config as it was read at start.
    pub(super) fn submit_first(&mut self, release: Release) {
        let config = self.config();
        let (manner, sticky) = (Manner::of(config), self.sticky_for(config));
        let lineup = self.first_lineup();
        self.request.wait_for(FIRST, sticky.clone());
        let release = self.releases.number(release, manner, sticky, lineup);
        self.submit(FIRST, release, Kind::Upgrade);
    }

    /// From now on this config is in force, as far as it can be without a
    /// restart; says what cannot.
    fn adopt_config(&mut self, mut loaded: Loaded) -> Vec<String> {
        // Listeners change with the generation that has them.
        loaded.config.listen.clone_from(&self.loaded.config.listen);
        let changed = config::changed(&self.loaded.config, &loaded.config);
        let restart = changed
            .into_iter()
            .filter(|key| config::applies(key) == config::Applies::Restart);
        let restart: Vec<&str> = restart.collect();
        let mut warnings = Vec::new();
        if !restart.is_empty() {
            let message = format!(
                "{} changed in the config and takes effect when the master starts anew",
                restart.join(", ")
            );
            self.warn(message.clone());
            warnings.push(message);
        }
        self.fleet.set_policy(policy(&loaded.config));
        // What needs a restart stays as the master was started.
        let kept = std::mem::replace(&mut self.loaded, loaded).config;
        let config = &mut self.loaded.config;
        config.log.format = kept.log.format;
        config.log.worker_output = kept.log.worker_output;
        self.sink
            .set_level(super::start::log_level(config.log.level));
        self.follow_program();
        warnings
    }
}

/// The numbers that the fleet works by.
pub(super) fn policy(config: &Config) -> Policy {
    Policy {
        workers: workers(config.app.workers),
        ready_timeout: config.ready.timeout,
        bake: config.upgrade.bake,
        retries: config.upgrade.retries,
        drain_timeout: config.drain.timeout,
        kill_after: config.drain.kill_after.min(config.drain.timeout),
        max_generations: config.drain.max_generations,
        restart_delay: config.restart.delay,
        restart_max_delay: config.restart.max_delay,
        settled_after: SETTLED_AFTER,
        watchdog: config.app.watchdog,
    }
}

fn workers(workers: Workers) -> u32 {
    let count = match workers {
        Workers::Count(count) => count,
        // Affinity and the cgroup's quota are counted in; at least 1.
        Workers::Auto => std::thread::available_parallelism()
            .ok()
            .and_then(|count| NonZeroU32::try_from(count).ok())
            .unwrap_or(NonZeroU32::MIN),
    };
    count.get()
}
