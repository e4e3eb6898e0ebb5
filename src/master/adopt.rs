//! A config that was read again: what of it is in force at once, and what waits for something.

use super::Master;
use crate::config::{self, Applies, Config, Faults, Loaded, ReadyOn, WorkerOutput};
use crate::control::ApiError;

/// What a config that was read again changed.
pub(super) struct Adopted {
    /// What the caller should know.
    pub(super) warnings: Vec<String>,
    /// What changed and is in force now: keys, and what living listeners took.
    pub(super) applied: Vec<String>,
    /// What is not as the active generation began with it: its workers do not know of it.
    pub(super) pending: Vec<String>,
}

impl Master {
    /// What the layers alone cannot tell: that this config cannot be in force in this master.
    pub(super) fn refuse_unfit(&self, loaded: &Loaded) -> Result<(), ApiError> {
        let by_output = matches!(loaded.config.ready.on, ReadyOn::Output { .. });
        if !by_output || self.config().log.worker_output != WorkerOutput::Inherit {
            return Ok(());
        }
        let what = "waits for a line of output, which nobody reads: this master was started with \
                    log.worker_output = \"inherit\", so output does not pass through it";
        let hint = "write another sign, such as on = \"auto\"; or start the master anew with worker_output = \
                    \"journal\"";
        let fault = loaded.fault("ready.on", what, Some(hint.to_owned()));
        Err(ApiError::faults(&Faults(vec![fault])))
    }

    /// From now on this config is in force, as far as it can be without a
    /// restart; says what cannot.
    pub(super) fn adopt_config(&mut self, mut loaded: Loaded) -> Adopted {
        self.said = loaded.config.clone();
        // Listeners change with the generation that has them.
        loaded.config.listen.clone_from(&self.loaded.config.listen);
        let changed = config::changed(&self.loaded.config, &loaded.config);
        let pending = self.began_with().map_or_else(Vec::new, |began| {
            // A generation's listeners are those of its line-up.
            let mut changed = config::changed(began, &loaded.config);
            changed.retain(|key| !key.starts_with("listen"));
            of_kind(&changed, Applies::Release)
        });
        let applied = of_kind(&changed, Applies::Live);
        let restart = of_kind(&changed, Applies::Restart);
        let mut warnings = Vec::new();
        if !restart.is_empty() {
            warnings.push(format!(
                "{} changed in the config and takes effect when the master starts anew",
                restart.join(", ")
            ));
        }
        if changed.contains(&"app.workers") {
            warnings.extend(super::room::shortage(&loaded.config, self.listeners.len()));
        }
        for warning in &warnings {
            self.warn(warning.clone());
        }
        let policy = self.policy_for(&loaded.config);
        self.fleet.set_policy(policy);
        // What needs a restart stays as the master was started.
        let kept = std::mem::replace(&mut self.loaded, loaded).config;
        let config = &mut self.loaded.config;
        config.name = kept.name;
        config.control = kept.control;
        config.log.format = kept.log.format;
        config.log.worker_output = kept.log.worker_output;
        self.sink
            .set_level(super::start::log_level(config.log.level));
        let wanted = std::mem::take(&mut self.loaded.config.admin);
        self.loaded.config.admin = self.move_admin(kept.admin, wanted);
        self.follow_program();
        Adopted {
            warnings,
            applied,
            pending,
        }
    }

    /// The config with which the active generation began.
    fn began_with(&self) -> Option<&Config> {
        let active = self.fleet.active()?.number;
        Some(&self.generations.get(&active)?.began_with)
    }
}

fn of_kind(keys: &[&str], applies: Applies) -> Vec<String> {
    let keys = keys.iter().filter(|key| config::applies(key) == applies);
    keys.map(|key| (*key).to_owned()).collect()
}
