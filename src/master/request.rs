//! From a call or a signal to an event of the fleet: the config is read again,
//! the release is pinned, and only then anything begins.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::watch;

use super::Master;
use super::binding::Asked;
use super::groups;
use super::lookup;
use super::operations::FIRST;
use super::releases::Manner;
use super::sticky::Sticky;
use crate::config::{self, Config, Faults, Loaded, ReadyOn, Workers};
use crate::control::view::{OperationKind, OperationState, OperationView};
use crate::control::{
    ApiError, Caller, Count, ErrorKind, Event, OperationRequest, Timestamp, UpgradeRequest,
};
use crate::fleet::{
    self, Good, HISTORY, Kind, OperationId, Plan, Policy, ReleaseId, Request, Scale, Stage,
};
use crate::process::{Release, ResolveError};
use crate::sockets::{Arranged, Arrangement};

/// A respawned worker that stays ready for this long is no longer counted as
/// failing in a row.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// The longest label: it is repeated wherever its upgrade is told.
const LABEL_BYTES_MAX: usize = 256;

impl Master {
    /// Begins, queues or joins what is asked; an error changes nothing, and stands in the history.
    pub(super) fn start_operation(
        &mut self,
        request: OperationRequest,
        by: Caller,
    ) -> Result<watch::Receiver<OperationView>, ApiError> {
        let kind = request.kind();
        let label = match &request {
            OperationRequest::Upgrade(upgrade) => upgrade.label.clone(),
            _ => None,
        };
        let begun = self.begin_operation(request, by);
        if let Err(error) = &begun
            && matches!(error.kind, ErrorKind::Refused | ErrorKind::Config)
        {
            let told = (error.in_a_line(), error.hint.clone());
            self.operations.refused(kind, by, label, told);
        }
        begun
    }

    fn begin_operation(
        &mut self,
        request: OperationRequest,
        by: Caller,
    ) -> Result<watch::Receiver<OperationView>, ApiError> {
        let ending = matches!(self.fleet.stage(), Stage::Stopping | Stage::Finished);
        if ending && !matches!(request, OperationRequest::Stop { .. }) {
            return Err(ApiError::new(ErrorKind::Stopping, self.why_it_ends()));
        }
        let kind = request.kind();
        match request {
            OperationRequest::Upgrade(upgrade) => self.upgrade(kind, upgrade, by),
            OperationRequest::Reload => self.upgrade(kind, UpgradeRequest::default(), by),
            OperationRequest::Rollback { to, anyway } => self.rollback(to, anyway, by),
            OperationRequest::Promote => Ok(self.promote(by)),
            OperationRequest::Abort => Ok(self.simple(kind, by, fleet::Event::Abort)),
            OperationRequest::Stop { now } => {
                let drain_timeout_ms = match now {
                    true => 0,
                    false => super::effects::millis(self.config().drain.timeout),
                };
                self.tell(&Event::MasterStopping {
                    by: Some(by),
                    drain_timeout_ms,
                });
                Ok(self.simple(kind, by, |id| fleet::Event::Stop {
                    operation: Some(id),
                    now,
                }))
            }
            OperationRequest::Scale(workers) => self.scale(Scale::To(workers), by),
        }
    }

    pub(super) fn simple(
        &mut self,
        kind: OperationKind,
        by: Caller,
        event: impl FnOnce(OperationId) -> fleet::Event,
    ) -> watch::Receiver<OperationView> {
        self.begin_simple(kind, by, event).1
    }

    pub(super) fn begin_simple(
        &mut self,
        kind: OperationKind,
        by: Caller,
        event: impl FnOnce(OperationId) -> fleet::Event,
    ) -> (OperationId, watch::Receiver<OperationView>) {
        let (id, receiver) = self.operations.begin(kind, by, None);
        let from = self.fleet.active().map(|active| active.number);
        self.operations.update(id, |view| {
            view.state = OperationState::Running;
            view.from = from;
        });
        self.pending.push_back(event(id));
        (id, receiver)
    }

    fn upgrade(
        &mut self,
        kind: OperationKind,
        upgrade: UpgradeRequest,
        by: Caller,
    ) -> Result<watch::Receiver<OperationView>, ApiError> {
        if let Some(error) = upgrade.label.as_deref().and_then(label_fault) {
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
        let loaded = config::load(&self.sources).map_err(|faults| ApiError::faults(&faults))?;
        self.refuse_unfit(&loaded)?;
        let ends = self.what_ends(kind, upgrade, &loaded.config);
        let mut sticky = match upgrade.from_config {
            true => Sticky::none(&loaded.config),
            false => self.sticky_for(&loaded.config),
        };
        let file = lookup::environment_file(&loaded, upgrade.env_file.as_deref())
            .map_err(|faults| ApiError::faults(&faults))?;
        if upgrade.command.is_some() || !upgrade.env.is_empty() {
            sticky.by = Some((by, Timestamp::now()));
            sticky.label = None;
        }
        sticky.label = upgrade.label.clone().or(sticky.label);
        sticky.command = upgrade.command.clone().or(sticky.command);
        sticky.env.extend(upgrade.env.clone());
        let plan = lookup::plan(&loaded.config, &sticky, file, upgrade.label.clone());
        let (release, manner) = match lookup::resolve(&loaded.config, plan) {
            (Some(release), Some(manner), _) => (release, manner),
            (_, _, wrong) => return Err(unresolved(&loaded, &sticky, &wrong)),
        };
        let lacking = groups::survey(&loaded).map_err(|faults| ApiError::faults(&faults))?;
        let arrangement = self.arrange(&loaded)?;
        let kind = match kind {
            OperationKind::Reload => Kind::Reload,
            _ => Kind::Upgrade,
        };
        // systemd's reload has an end: it leaves no canary.
        let canary = upgrade.canary.filter(|_| !upgrade.systemd);
        let canary = canary.or(upgrade.systemd.then_some(0));
        let asked = Asked {
            kind,
            loaded,
            sticky,
            ends,
            release,
            manner,
            lacking,
            canary,
        };
        Ok((asked, arrangement))
    }

    /// Nothing is missing: from here on nothing can be refused.
    pub(super) fn go_on(&mut self, id: OperationId, asked: Asked, arranged: Arranged) {
        let mut adopted = self.adopt_config(asked.loaded);
        adopted.warnings.extend(asked.lacking.values().cloned());
        if let Some(ends) = asked.ends {
            self.warn(ends.clone());
            adopted.warnings.push(ends);
        }
        self.tell_lacks(asked.lacking);
        let lineup = self.adopt_arrangement(arranged, &mut adopted);
        let sticky = asked.sticky;
        let release = self
            .releases
            .number(asked.release, asked.manner, sticky.clone(), lineup);
        self.operations.update(id, |view| {
            view.warnings = adopted.warnings;
            view.applied = adopted.applied;
            view.pending = adopted.pending;
        });
        self.request.wait_for(id, sticky);
        let steps = self.steps(asked.canary);
        let all = self.fleet.policy().workers;
        if let Plan::Canary(workers) = steps
            && workers > all
        {
            let warning = format!(
                "a canary of {workers} is more than a generation has ({}): that is all of them at once",
                Count(all, "worker")
            );
            self.operations
                .update(id, |view| view.warnings.push(warning));
        }
        self.submit(id, release, asked.kind, steps);
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
                "restore the files and try again, or run what they hold now: {}",
                self.command(format_args!(
                    "rollback {} --to {} --anyway",
                    self.name, target.number
                ))
            )));
        }
        let label = self.labels.get(&target.number).cloned();
        let (id, receiver) = self.operations.begin(OperationKind::Rollback, by, label);
        self.operations
            .update(id, |view| view.back_to = Some(target.number));
        // What that release ran with is in force again, or the next upgrade would bring back what was rolled back.
        if let Some(held) = self.releases.held(target.release) {
            self.request.wait_for(id, held.sticky.clone());
        }
        let lineup = self.coming_lineup();
        let release = self.releases.with_lineup(target.release, lineup);
        let steps = self.steps(Some(0));
        let kind = Kind::Rollback { to: target.number };
        self.submit(id, release, kind, steps);
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
            None => {
                let good = self.fleet.good();
                let releases: BTreeSet<ReleaseId> = good.iter().map(|good| good.release).collect();
                let runs = self.fleet.active().map_or_else(String::new, |active| {
                    format!(
                        "generation {} runs the oldest good release that is kept: ",
                        active.number
                    )
                });
                ApiError::refused(format!(
                    "there is nothing to go back to: {runs}{}, of the last {HISTORY} good generations since the master \
                     started at {}",
                    Count(u32::try_from(releases.len()).unwrap_or(u32::MAX), "release"),
                    self.started_at
                ))
                .hint(format!(
                    "to run something else: {} -- COMMAND; what ran: {}",
                    self.command(format_args!("upgrade {}", self.name)),
                    self.command(format_args!("history {}", self.name))
                ))
            }
            Some(number) => {
                let known = self.fleet.good().iter().map(|good| good.number.to_string());
                let known: Vec<String> = known.collect();
                ApiError::refused(format!("generation {number} is not among the good ones"))
                    .hint(format!("these are: {}", known.join(", ")))
            }
        }
    }

    fn submit(&mut self, operation: OperationId, release: ReleaseId, kind: Kind, plan: Plan) {
        let fixed = self.releases.is_fixed(release);
        let request = Request {
            operation,
            release,
            fixed,
            kind,
            plan,
        };
        self.pending.push_back(fleet::Event::Request(request));
    }

    /// The first generation: of the config as it was read at start.
    pub(super) fn submit_first(&mut self, release: Release, manner: Manner) {
        let sticky = self.sticky_for(self.config());
        let lineup = self.first_lineup();
        self.request.wait_for(FIRST, sticky.clone());
        let release = self.releases.number(release, manner, sticky, lineup);
        self.submit(FIRST, release, Kind::Upgrade, Plan::Whole);
    }
}

/// What is wrong with a label.
fn label_fault(label: &str) -> Option<String> {
    match label.len() {
        _ if label.trim().is_empty() => Some("the label is empty: leave it out".to_owned()),
        length if length > LABEL_BYTES_MAX => Some(format!(
            "the label has {length} bytes; shorten it: the longest has {LABEL_BYTES_MAX} bytes"
        )),
        _ => None,
    }
}

/// What a release needs is missing: at its place in the config, unless the command is another than the config's.
fn unresolved(
    loaded: &Loaded,
    sticky: &Sticky,
    wrong: &[(&'static str, ResolveError)],
) -> ApiError {
    let is_asked = |(key, _): &(&str, ResolveError)| *key == "app.command";
    if sticky.command.is_some() && wrong.iter().any(is_asked) {
        let told = wrong.iter().map(|(_, error)| error.to_string());
        return ApiError::refused(told.collect::<Vec<_>>().join("\n"));
    }
    let told = |(key, error): &(&str, ResolveError)| loaded.fault(key, error.what(), error.hint());
    let faults = Faults::in_order(wrong.iter().map(told).collect());
    // Not the config is wrong: what it names may come yet.
    ApiError {
        kind: ErrorKind::Refused,
        ..ApiError::faults(&faults)
    }
}

/// Who is seen to wait on its listeners is ready at once, unless it must be healthy too. Else nobody knows what a
/// worker accepted before it was ready.
fn accepts_before_ready(config: &Config) -> bool {
    let seen = matches!(config.ready.on, ReadyOn::Auto | ReadyOn::Accepting);
    !seen || config.health.check.is_some()
}

/// The numbers that the fleet works by.
pub(super) fn policy(config: &Config) -> Policy {
    Policy {
        workers: workers(config.app.workers),
        ready_timeout: config.ready.timeout,
        bake: config.upgrade.bake,
        canary_timeout: config.upgrade.canary_timeout,
        prepare: !config.hooks.pre_upgrade.is_empty(),
        approve: !config.hooks.post_ready.is_empty(),
        retries: config.upgrade.retries,
        drain_delay: config.drain.delay,
        drain_timeout: config.drain.timeout,
        unready_timeout: (!accepts_before_ready(config)).then_some(config.drain.kill_after),
        kill_after: config.drain.kill_after.min(config.drain.timeout),
        max_generations: config.drain.max_generations,
        restart_delay: config.restart.delay,
        restart_max_delay: config.restart.max_delay,
        settled_after: SETTLED_AFTER,
        watchdog: config.app.watchdog,
    }
}

pub(super) fn workers(workers: Workers) -> u32 {
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
