//! Which master a verb speaks to.

use std::fmt::{Display, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::meant::is_assignment;
use super::text::{clean, shell};
use super::{Exit, Failure};
use crate::control::client::{Looked, Master, NotFound, locate};

/// What every verb that speaks to a master takes.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(super) struct Target {
    /// The service; may be left out where exactly one master runs
    pub(super) name: Option<String>,
    /// The runtime directory of the master, or the one above it
    #[arg(long, value_name = "DIR")]
    pub(super) runtime_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Target {
    /// Finds it. `verb` and `number` are for the messages: the verb as it was
    /// typed, and the flag that takes a generation's number, if it has one.
    pub(super) async fn find(&self, verb: &str, number: Option<&str>) -> Result<Master, Failure> {
        self.seek()
            .await
            .map_err(|refusal| self.explain(refusal, verb, number))
    }

    /// [`Target::find`], without words for when there is none.
    pub(super) async fn seek(&self) -> Result<Master, NotFound> {
        locate(self.name.as_deref(), self.runtime_dir.as_deref()).await
    }

    /// `handover WORDS`, to be copied: with the flag by which this master was found.
    pub(super) fn command(&self, words: impl Display) -> String {
        let place = self.runtime_dir.as_ref().map_or_else(String::new, |place| {
            let place = clean(&place.display().to_string());
            format!(" --runtime-dir {}", shell(&[place]))
        });
        format!("handover {words}{place}")
    }

    fn explain(&self, refusal: NotFound, verb: &str, number: Option<&str>) -> Failure {
        match refusal {
            NotFound::Several(masters) => self.several(&masters, verb),
            NotFound::Nothing {
                name,
                looked,
                others,
                denied,
            } => {
                let looked: Vec<String> = looked.iter().map(Looked::to_string).collect();
                let called = name.as_ref().map(|name| format!(" called {name}"));
                let looked = match looked.is_empty() {
                    true => String::new(),
                    false => format!(" (looked in {})", looked.join(", ")),
                };
                let message = format!(
                    "no handover{} is running here{looked}",
                    called.unwrap_or_default()
                );
                let hint = match self.instead(name.as_deref(), &others, verb, number) {
                    Some(hint) => hint,
                    None if denied => "ask as root, as the user that the service runs as, or as a member of its control.group".into(),
                    None => "start one: handover run --listen :8080 -- ./server".into(),
                };
                // A master may be where nobody looks without being told.
                let elsewhere = match self.runtime_dir {
                    None => "; one that was started with --runtime-dir is found with the same flag",
                    Some(_) => "",
                };
                let hint = format!("{hint}{elsewhere}");
                Failure::new(Exit::NoMaster, message).hint(hint)
            }
        }
    }

    /// What was probably meant by a name that no master has.
    fn instead(
        &self,
        name: Option<&str>,
        others: &[Master],
        verb: &str,
        number: Option<&str>,
    ) -> Option<String> {
        let name = name?;
        let first = &others.first()?.name;
        // `upgrade COLOUR=blue`, `rollback 7`, `logs 8.0`: what stands there is a name.
        if verb == "upgrade" && is_assignment(name) {
            let variable = shell(&[clean(name)]);
            return Some(format!(
                "to set a variable: {}",
                self.command(format_args!("upgrade {first} --env {variable}"))
            ));
        }
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits(name)
            && let Some(flag) = number
        {
            return Some(format!(
                "for generation {name}: {}",
                self.command(format_args!("{verb} {first} {flag} {name}"))
            ));
        }
        if verb == "logs"
            && name
                .split_once('.')
                .is_some_and(|(a, b)| digits(a) && digits(b))
        {
            return Some(format!(
                "for worker {name}: {}",
                self.command(format_args!("logs {first} --worker {name}"))
            ));
        }
        if verb == "config" && name.contains('.') {
            let key = shell(&[clean(name)]);
            return Some(format!(
                "for one value: {} | grep -F {key}",
                self.command(format_args!("config {first}"))
            ));
        }
        let names: Vec<&str> = others.iter().map(|master| master.name.as_str()).collect();
        let running = format!("running here: {}", names.join(", "));
        let nearest = others
            .iter()
            .map(|master| {
                (
                    strsim::damerau_levenshtein(name, &master.name),
                    &master.name,
                )
            })
            .min();
        match nearest {
            Some((distance, nearest)) if distance <= 2 => Some(format!(
                "did you mean {nearest}? {}; {running}",
                self.command(format_args!("{verb} {nearest}"))
            )),
            _ => Some(running),
        }
    }

    fn several(&self, masters: &[Master], verb: &str) -> Failure {
        let mut hint = String::from("say which:");
        let same = masters.iter().any(|one| {
            masters
                .iter()
                .any(|other| one.name == other.name && one.directory != other.directory)
        });
        for master in masters {
            let words = format!("{verb} {}", clean(&master.name));
            let command = match same {
                // The name alone means both.
                true => {
                    let place = Self {
                        runtime_dir: Some(master.directory.clone()),
                        ..Self::default()
                    };
                    place.command(words)
                }
                false => self.command(words),
            };
            // Writing to a String cannot fail.
            let _ = write!(hint, "\n  {command}");
        }
        let message = format!("{} masters run here", masters.len());
        Failure::usage(message).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::client::Client;

    fn master(name: &str, directory: &str) -> Master {
        Master {
            name: name.to_owned(),
            directory: PathBuf::from(directory),
            pid: Some(1),
            client: Client::new("/nowhere"),
        }
    }

    fn told(refusal: NotFound, verb: &str, number: Option<&str>) -> (Exit, String) {
        let failure = Target::default().explain(refusal, verb, number);
        let (mut terminal, _, err) = super::super::terminal::fake::files();
        (failure.report(&mut terminal, false), err.text())
    }

    fn nothing(name: Option<&str>, others: Vec<Master>) -> NotFound {
        let looked = vec![
            Looked {
                path: "/run/handover/*".into(),
                reason: None,
            },
            Looked {
                path: "/tmp/handover-0/web".into(),
                reason: Some("dead".to_owned()),
            },
        ];
        NotFound::Nothing {
            name: name.map(str::to_owned),
            looked,
            others,
            denied: false,
        }
    }

    #[test]
    fn where_none_runs_it_says_how_to_start_one() {
        let (exit, text) = told(nothing(None, vec![]), "status", None);
        assert_eq!(exit, Exit::NoMaster);
        assert_eq!(
            text,
            "error: no handover is running here (looked in /run/handover/*, /tmp/handover-0/web \
             (dead))\n hint: start one: handover run --listen :8080 -- ./server; one that was started with \
             --runtime-dir is found with the same flag\n"
        );
    }

    #[test]
    fn where_another_user_s_may_run_it_says_whom_to_ask_as() {
        let refusal = NotFound::Nothing {
            name: None,
            looked: vec![],
            others: vec![],
            denied: true,
        };
        let (exit, text) = told(refusal, "status", None);
        assert_eq!(exit, Exit::NoMaster);
        let hint = " hint: ask as root, as the user that the service runs as, or as a member of its control.group; ";
        assert!(text.contains(hint), "{text}");
    }

    #[test]
    fn a_number_or_a_wrong_name_is_told_what_was_meant() {
        let web = || {
            vec![
                master("web", "/run/handover/web"),
                master("api", "/run/handover/api"),
            ]
        };
        for (name, verb, number, hint) in [
            (
                "7",
                "rollback",
                Some("--to"),
                "for generation 7: handover rollback web --to 7",
            ),
            (
                "8.0",
                "logs",
                Some("--generation"),
                "for worker 8.0: handover logs web --worker 8.0",
            ),
            (
                "wbe",
                "status",
                None,
                "did you mean web? handover status web; running here: web, api",
            ),
            (
                "COLOUR=blue",
                "upgrade",
                None,
                "to set a variable: handover upgrade web --env COLOUR=blue",
            ),
            (
                "upgrade.bake",
                "config",
                None,
                "for one value: handover config web | grep -F upgrade.bake",
            ),
            ("shop", "status", None, "running here: web, api"),
            ("7", "status", None, "running here: web, api"),
        ] {
            let (exit, text) = told(nothing(Some(name), web()), verb, number);
            assert_eq!(exit, Exit::NoMaster);
            assert!(
                text.starts_with(&format!("error: no handover called {name} is")),
                "{text}"
            );
            assert!(
                text.contains(&format!(" hint: {hint}; one that was")),
                "{text}"
            );
        }
    }

    #[test]
    fn where_several_run_it_lists_the_commands() {
        let masters = vec![
            master("api", "/run/handover/api"),
            master("web", "/run/handover/web"),
        ];
        let (exit, text) = told(NotFound::Several(masters), "status", None);
        assert_eq!(exit, Exit::Usage);
        assert_eq!(
            text,
            "error: 2 masters run here\n hint: say which:\n  handover status api\n  handover \
             status web\n"
        );
        let below = Target {
            runtime_dir: Some("/r un".into()),
            ..Target::default()
        };
        let masters = vec![master("api", "/r un/api"), master("web", "/r un/web")];
        let failure = below.explain(NotFound::Several(masters), "status", None);
        let (mut terminal, _, err) = super::super::terminal::fake::files();
        failure.report(&mut terminal, false);
        let command = "\n  handover status web --runtime-dir '/r un'\n";
        assert!(err.text().ends_with(command), "{}", err.text());
        let same = vec![
            master("web", "/run/handover/web"),
            master("web", "/tmp/handover-0/web"),
        ];
        let (_, text) = told(NotFound::Several(same), "stop", None);
        assert!(
            text.contains("handover stop web --runtime-dir /tmp/handover-0/web\n"),
            "{text}"
        );
    }
}
