//! What an `upgrade` brought and that stays: "sticky when good".

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::state_dir::StateDir;
use super::{Input, Master, kept};
use crate::config::{App, Config};
use crate::control::view::OperationKind;
use crate::control::{Caller, Timestamp, UpgradeRequest};
use crate::fleet::rollout::Phase;
use crate::fleet::{OperationId, Outcome};

/// Characters of a command in a sentence.
const COMMAND_MAX: usize = 120;

/// Command and environment that an `upgrade` brought and that stay once it
/// succeeded, until the config's `[app]` changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sticky {
    pub(super) command: Option<Vec<String>>,
    pub(super) env: BTreeMap<String, String>,
    /// What the upgrade that brought it was called, or one that was given a name since.
    pub(super) label: Option<String>,
    /// Who asked for it, and when.
    pub(super) by: Option<(Caller, Timestamp)>,
    /// What the config said instead of which it stands: when that changes it is over.
    pub(super) against: Option<Against>,
}

/// The part of `[app]` that says what runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Against {
    pub(super) command: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) env_file: Option<PathBuf>,
    pub(super) directory: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
}

impl Against {
    fn of(app: &App) -> Self {
        Self {
            command: app.command.clone(),
            env: app.env.clone(),
            env_file: app.env_file.clone(),
            directory: app.directory.clone(),
            user: app.user.clone(),
            group: app.group.clone(),
        }
    }
}

impl Sticky {
    /// Nothing instead of this config.
    pub(super) fn none(config: &Config) -> Self {
        Self {
            against: Some(Against::of(&config.app)),
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.command.is_none() && self.env.is_empty()
    }

    /// It was asked for when the config said the same of the program.
    fn holds_for(&self, new: &Config) -> bool {
        self.against.as_ref() == Some(&Against::of(&new.app))
    }

    fn or_none_for(&self, config: &Config) -> Self {
        match self.holds_for(config) {
            true => self.clone(),
            false => Self::none(config),
        }
    }
}

/// The words of a command as one line, cut where it is longer than a sentence bears: `release.command` has them all.
fn shortened(command: &[String]) -> String {
    let mut words = command.join(" ");
    if let Some((end, _)) = words.char_indices().nth(COMMAND_MAX) {
        words.truncate(end);
        words.push('…');
    }
    words
}

/// What is in force, and what waits for its upgrade to succeed.
#[derive(Default)]
pub(super) struct Overrides {
    sticky: Sticky,
    waiting: BTreeMap<OperationId, Sticky>,
    /// Answers that wait until what they promise is kept.
    held_back: BTreeMap<OperationId, Outcome>,
    /// None: it is in memory only.
    state: Option<StateDir>,
    /// There is a config file, of which people know.
    from_file: bool,
    /// `handover upgrade NAME`, as it finds this master.
    upgrade: String,
}

impl Overrides {
    /// Reads what an earlier master of this service kept; also says what a person should know.
    /// `upgrade` is the command for one, which finds this master.
    pub(super) fn open(
        given: Option<PathBuf>,
        name: &str,
        from_file: bool,
        upgrade: String,
    ) -> (Self, Vec<String>) {
        let mut overrides = Self {
            from_file,
            upgrade,
            ..Self::default()
        };
        let warnings = match StateDir::open(given, name, &overrides.upgrade) {
            Ok((state, saved, warning)) => {
                overrides.sticky = saved.unwrap_or_default();
                overrides.state = Some(state);
                Vec::from_iter(warning)
            }
            Err(why) => vec![why],
        };
        (overrides, warnings)
    }

    /// What is in force with this config.
    pub(super) fn sticky_of(&self, config: &Config) -> Sticky {
        self.sticky.or_none_for(config)
    }

    /// That what was kept is over, since this config says something else of the program than the one that it stood
    /// against.
    pub(super) fn is_over(&self, config: &Config) -> Option<String> {
        if self.sticky.is_empty() || self.sticky.holds_for(config) {
            return None;
        }
        let (by, what) = self.what(&self.sticky);
        let (config, runs) = match self.from_file {
            true => ("the config's [app] changed", "the config's own runs"),
            false => ("the service is started with something else", "that runs"),
        };
        Some(format!(
            "{config} since an upgrade{by} brought {what}: that is over, {runs}"
        ))
    }

    /// That `held` is over when this succeeds: somebody says so, or this config says something else of the program.
    fn ends(
        &self,
        held: &Sticky,
        kind: OperationKind,
        upgrade: &UpgradeRequest,
        config: &Config,
    ) -> Option<String> {
        let changed = !held.holds_for(config);
        if held.is_empty() || !(changed || upgrade.from_config) {
            return None;
        }
        let (by, what) = self.what(held);
        let changed = match changed {
            true => ", and the config's [app] changed since",
            false => "",
        };
        let runs = match (&upgrade.command, self.from_file) {
            (Some(_), _) => "",
            (None, true) => ", and the config's own runs",
            (None, false) => ", and the command of its start runs",
        };
        Some(format!(
            "an upgrade{by} brought {what}{changed}: that is over when this {kind} succeeds{runs}"
        ))
    }

    /// Who asked for it and when, and what it runs.
    fn what(&self, sticky: &Sticky) -> (String, String) {
        let by = sticky
            .by
            .map_or_else(String::new, |(by, at)| format!(", asked by {by} at {at},"));
        let command = sticky.command.as_ref().map(|command| shortened(command));
        let own = match self.from_file {
            true => "the config's command",
            false => "the command of its start",
        };
        let command = command.unwrap_or_else(|| own.to_owned());
        let names: Vec<&str> = sticky.env.keys().map(String::as_str).collect();
        let env = match names.is_empty() {
            true => String::new(),
            false => format!(" with {} set", names.join(", ")),
        };
        (by, command + &env)
    }

    /// The file that keeps it.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.state.as_ref().map(StateDir::file)
    }

    pub(super) fn wait_for(&mut self, operation: OperationId, sticky: Sticky) {
        self.waiting.insert(operation, sticky);
    }

    /// What it is, who asked for it and when it ends; none when the config's own release runs.
    pub(super) fn sentence(&self, sticky: &Sticky) -> Option<String> {
        if sticky.is_empty() {
            return None;
        }
        let (by, what) = self.what(sticky);
        let instead = match self.from_file {
            true => "the config's [app]",
            false => "what the service was started with",
        };
        let until = match self.state {
            Some(_) => format!("or somebody says: {} --from-config", self.upgrade),
            None => "or the master ends".to_owned(),
        };
        Some(format!(
            "an upgrade{by} runs {what} instead of {instead}, until that changes {until}"
        ))
    }
}

impl Master {
    /// What earlier upgrades brought, unless the config's `[app]` changed: the one on its way counts,
    /// since whoever asks behind it wants what it brings and not what it replaces.
    pub(super) fn sticky_for(&self, new: &Config) -> Sticky {
        self.in_force().or_none_for(new)
    }

    /// What of it an upgrade ends, for whoever asks for one.
    pub(super) fn what_ends(
        &self,
        kind: OperationKind,
        upgrade: &UpgradeRequest,
        new: &Config,
    ) -> Option<String> {
        self.request.ends(self.in_force(), kind, upgrade, new)
    }

    fn in_force(&self) -> &Sticky {
        let under_way = match self.fleet.rollout() {
            (Phase::Idle | Phase::Scaling | Phase::Undoing, _) => None,
            (
                Phase::Preparing
                | Phase::Starting
                | Phase::Baking
                | Phase::Canary
                | Phase::Replacing,
                number,
            ) => number,
        };
        let info = under_way.and_then(|number| self.generations.get(&number));
        let coming = info.and_then(|info| self.releases.held(info.release));
        coming.map_or(&self.request.sticky, |held| &held.sticky)
    }

    /// An upgrade that succeeded leaves its command and environment; one that
    /// failed leaves no trace. Says whether the answer waits until that is written.
    pub(super) fn conclude_overrides(&mut self, id: OperationId, outcome: Outcome) -> bool {
        let waiting = self.request.waiting.remove(&id);
        let kind = self.operations.view(id).map(|view| view.kind);
        let left = match outcome {
            // Whoever asked for the canary that was promoted has the answer long since; its release kept what was asked.
            Outcome::Active(number) if kind == Some(OperationKind::Promote) => {
                waiting.or_else(|| {
                    let release = self.generations.get(&number)?.release;
                    Some(self.releases.held(release)?.sticky.clone())
                })
            }
            Outcome::Active(_) | Outcome::Unchanged(_) => waiting,
            _ => None,
        };
        let Some(sticky) = left else {
            return false;
        };
        self.request.sticky = sticky;
        let Some(state) = &mut self.request.state else {
            return false;
        };
        let bytes = match self.request.sticky.is_empty() {
            true => None,
            false => Some(kept::encode(&self.request.sticky, &self.name)),
        };
        let Some(written) = state.keep(bytes) else {
            return false;
        };
        self.request.held_back.insert(id, outcome);
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let done = written.await;
            inputs.send(Input::Kept(id, outcome, done)).await.is_ok()
        });
        true
    }

    /// What an operation leaves is written, or could not be.
    pub(super) fn on_kept(&mut self, id: OperationId, outcome: Outcome, done: Result<(), String>) {
        if let Err(why) = done {
            let warning = format!(
                "what this upgrade brings cannot be kept over a restart of the master ({why}): it is in memory only"
            );
            self.warn(warning.clone());
            self.operations
                .update(id, |view| view.warnings.push(warning));
        }
        if self.request.held_back.remove(&id).is_some() {
            self.answer_now(id, outcome);
        }
    }

    /// The master ends: nobody waits any longer for what is written meanwhile.
    pub(super) fn answer_held_back(&mut self) {
        if let Some(state) = &mut self.request.state {
            state.finish();
        }
        for (id, outcome) in std::mem::take(&mut self.request.held_back) {
            self.answer_now(id, outcome);
        }
    }

    pub(super) fn sticky_sentence(&self) -> Option<String> {
        self.request
            .sentence(&self.request.sticky_of(self.config()))
    }
}
