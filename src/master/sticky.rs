//! What an `upgrade` brought and that stays: "sticky when good".

use std::collections::BTreeMap;

use super::Master;
use crate::config::{App, Config};
use crate::control::Caller;
use crate::control::view::OperationKind;
use crate::fleet::rollout::Phase;
use crate::fleet::{OperationId, Outcome};

/// Command and environment that an `upgrade` brought and that stay once it
/// succeeded, until the config's `[app]` changes.
#[derive(Clone, Default)]
pub(super) struct Sticky {
    pub(super) command: Option<Vec<String>>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) by: Option<Caller>,
    /// The `[app]` instead of which it stands: with another one it is over.
    pub(super) against: Option<Box<App>>,
}

impl Sticky {
    fn is_empty(&self) -> bool {
        self.command.is_none() && self.env.is_empty()
    }

    /// It was asked for when the config said the same of the program.
    fn holds_for(&self, new: &Config) -> bool {
        let release = |app: &App| {
            let App {
                command,
                env,
                env_file,
                directory,
                user,
                group,
                ..
            } = app.clone();
            (command, env, env_file, directory, user, group)
        };
        let against = self.against.as_deref();
        against.is_some_and(|against| release(against) == release(&new.app))
    }
}

/// What is in force, and what waits for its upgrade to succeed.
#[derive(Default)]
pub(super) struct Overrides {
    sticky: Sticky,
    waiting: BTreeMap<OperationId, Sticky>,
}

impl Overrides {
    pub(super) fn wait_for(&mut self, operation: OperationId, sticky: Sticky) {
        self.waiting.insert(operation, sticky);
    }
}

impl Master {
    /// What earlier upgrades brought, unless the config's `[app]` changed: the one on its way counts,
    /// since whoever asks behind it wants what it brings and not what it replaces.
    pub(super) fn sticky_for(&self, new: &Config) -> Sticky {
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
        let sticky = coming.map_or(&self.request.sticky, |held| &held.sticky);
        match sticky.holds_for(new) {
            true => sticky.clone(),
            false => Sticky {
                against: Some(Box::new(new.app.clone())),
                ..Sticky::default()
            },
        }
    }

    /// An upgrade that succeeded leaves its command and environment; one that
    /// failed leaves no trace.
    pub(super) fn conclude_overrides(&mut self, id: OperationId, outcome: Outcome) {
        let waiting = self.request.waiting.remove(&id);
        let Outcome::Active(number) = outcome else {
            if let (Outcome::Unchanged(_), Some(sticky)) = (outcome, waiting) {
                self.request.sticky = sticky;
            }
            return;
        };
        // Whoever asked for the canary that was promoted has the answer long since; its release kept what was asked.
        let kind = self.operations.view(id).map(|view| view.kind);
        let promoted = self
            .generations
            .get(&number)
            .filter(|_| kind == Some(OperationKind::Promote))
            .and_then(|info| self.releases.held(info.release));
        let kept = promoted.map(|held| held.sticky.clone());
        if let Some(sticky) = waiting.or(kept) {
            self.request.sticky = sticky;
        }
    }

    pub(super) fn sticky_sentence(&self) -> Option<String> {
        let sticky = &self.request.sticky;
        if sticky.is_empty() {
            return None;
        }
        let by = sticky
            .by
            .map_or_else(String::new, |by| format!(", asked by {by}"));
        let command = sticky.command.as_ref().map(|command| command.join(" "));
        let command = command.unwrap_or_else(|| "the config's command".to_owned());
        let names: Vec<&str> = sticky.env.keys().map(String::as_str).collect();
        let env = match names.is_empty() {
            true => String::new(),
            false => format!(" with {} set", names.join(", ")),
        };
        Some(format!(
            "an upgrade{by} runs {command}{env} instead of the config's [app], until that changes \
             or the master ends"
        ))
    }
}
