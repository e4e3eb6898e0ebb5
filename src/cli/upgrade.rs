//! `handover upgrade`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::number::canary;
use super::operation::{Order, perform};
use super::target::Target;
use super::terminal::Terminal;
use super::text::shell;
use super::waiting::Waiting;
use super::{Exit, Failure};
use crate::config::is_reserved_variable;
use crate::control::UpgradeRequest;
use crate::control::client::NotFound;

/// Replace the running generation by a new one; waits and tells the truth
#[derive(Debug, Default, PartialEq, Args)]
#[command(override_usage = "handover upgrade [OPTIONS] [NAME] [-- COMMAND [ARG]...]")]
pub(super) struct Upgrade {
    #[command(flatten)]
    pub(super) target: Target,
    /// Set a variable in the new generation; repeatable
    #[arg(long, value_name = "K=V", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Read variables from this file instead of the config's env_file
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// A name for people: a version, a commit
    #[arg(long, value_name = "TEXT", value_parser = label)]
    label: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
    /// Wait until the old generation ended, too
    #[arg(long, conflicts_with = "no_wait")]
    drained: bool,
    /// Do nothing where no master runs [exit code 0]
    #[arg(long)]
    if_running: bool,
    /// For systemd's ExecReload=: ends at once with 1 when the master goes away
    #[arg(long)]
    systemd: bool,
    /// Only N workers, beside the old generation, until `promote` or `abort` [0: none]
    #[arg(long, value_name = "N", conflicts_with = "systemd", allow_negative_numbers = true, value_parser = canary)]
    canary: Option<u32>,
    /// Forget what an earlier upgrade brought: the config's own release again
    #[arg(long, conflicts_with = "command")]
    from_config: bool,
    /// The program to run from now on, and its arguments
    #[arg(last = true)]
    command: Vec<String>,
}

impl Upgrade {
    pub(super) async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let directory = std::env::current_dir().ok();
        let request = self.request(directory.as_deref())?;
        let master = match self.target.seek().await {
            Err(NotFound::Nothing { denied: false, .. }) if self.if_running => {
                if self.target.json {
                    terminal.say(&json!({"running": false}).to_string())?;
                }
                return Ok(Exit::Done);
            }
            Err(_) => self.target.find("upgrade", None).await?,
            Ok(master) => master,
        };
        let body = serde_json::to_value(&request)
            .map_err(|error| Failure::usage(format_args!("no JSON: {error}")))?;
        let order = Order {
            drained: self.drained,
            systemd: self.systemd,
            ..Order::new("upgrade", body, self.waiting)
        };
        perform(terminal, &self.target, master, order).await
    }

    /// What the master is asked; `directory` is the one we are in.
    fn request(&self, directory: Option<&Path>) -> Result<UpgradeRequest, Failure> {
        let env_file = match (&self.env_file, directory) {
            // The master is elsewhere.
            (Some(file), Some(directory)) => Some(directory.join(file)),
            (Some(file), None) if !file.is_absolute() => {
                let message = format_args!("--env-file {}: no current directory", file.display());
                return Err(Failure::usage(message).hint("write the whole path"));
            }
            (file, None) => file.clone(),
            (None, _) => None,
        };
        Ok(UpgradeRequest {
            command: (!self.command.is_empty()).then(|| self.command.clone()),
            env: self.env.iter().cloned().collect(),
            env_file,
            from_config: self.from_config,
            label: self.label.clone(),
            canary: self.canary,
            drained: self.drained,
            systemd: self.systemd,
        })
    }
}

fn label(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty; leave --label out for an upgrade without a label".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", value)) => {
            let fix = shell(&[format!("NAME={value}")]);
            Err(format!("the name is missing; write --env {fix}"))
        }
        Some((name, _)) if is_reserved_variable(name) => Err(format!(
            "handover sets {name} itself for each worker; leave it out"
        )),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None if text.is_empty() => Err("it is empty; write --env NAME=VALUE".to_owned()),
        None => Err(format!(
            "there is no = in it; to set it empty: --env {}",
            shell(&[format!("{text}=")])
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_env_file_is_ours() {
        let upgrade = |file: &str| Upgrade {
            env_file: Some(file.into()),
            ..Upgrade::default()
        };
        let path = |file: &str| {
            upgrade(file)
                .request(Some(Path::new("/srv")))
                .map(|r| r.env_file)
        };
        assert_eq!(path("env").expect("fine"), Some(PathBuf::from("/srv/env")));
        assert_eq!(
            path("/etc/env").expect("fine"),
            Some(PathBuf::from("/etc/env"))
        );
        assert!(upgrade("env").request(None).is_err());
        assert!(upgrade("/etc/env").request(None).is_ok());
    }
}
