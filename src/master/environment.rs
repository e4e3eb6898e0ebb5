//! What a worker sees: its environment and the templates in its command.

use std::ffi::{OsStr, OsString};

use crate::config::{Config, InheritEnv};
use crate::fleet::WorkerId;
use crate::systemd::OWN_VARIABLES;

/// What `inherit_env = false` leaves: what a login shell would have.
const LOGIN: [&str; 8] = [
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR",
];

/// The part of the environment that is the same for all workers of a release:
/// the master's own as `app.inherit_env` says, then `env_file`, then `env`.
pub(super) fn of_release(
    config: &Config,
    own: &[(OsString, OsString)],
    file: Vec<(String, String)>,
) -> Vec<(OsString, OsString)> {
    let inherited = own
        .iter()
        .filter(|(name, _)| is_inherited(&config.app.inherit_env, name))
        .cloned();
    let configured = file
        .into_iter()
        .chain(config.app.env.clone())
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    inherited.chain(configured).collect()
}

/// What a hook begins with: the master's own, without what is its own affair.
pub(super) fn of_hook(own: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
    own.into_iter()
        .filter(|(name, _)| is_inherited(&InheritEnv::All, name))
        .collect()
}

fn is_inherited(inherit: &InheritEnv, name: &OsStr) -> bool {
    // A name that is not UTF-8 is nobody's of ours.
    let text = name.to_string_lossy();
    if OWN_VARIABLES.contains(&text.as_ref()) || text.starts_with("HANDOVER_") {
        return false;
    }
    match inherit {
        InheritEnv::All => true,
        InheritEnv::Nothing => LOGIN.contains(&text.as_ref()) || text.starts_with("LC_"),
        InheritEnv::Only(names) => names.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(prefix) => text.starts_with(prefix),
            None => OsStr::new(wanted) == name,
        }),
    }
}

/// What the templates of one worker stand for.
pub(super) struct Templates<'a> {
    pub(super) worker: WorkerId,
    /// Descriptor number by listener name.
    pub(super) listeners: &'a [(String, u32)],
}

impl Templates<'_> {
    /// Fills in `{worker}`, `{generation}` and `{fd:NAME}`; anything else in
    /// braces is left as it is.
    pub(super) fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, from) = rest.split_at(open);
            filled.push_str(before);
            let known = from.find('}').and_then(|close| {
                let value = self.value(&from[1..close])?;
                Some((value, &from[close + 1..]))
            });
            match known {
                Some((value, after)) => {
                    filled.push_str(&value);
                    rest = after;
                }
                None => {
                    filled.push('{');
                    rest = &from[1..];
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    /// The same in every value of an environment; one that is not UTF-8 has none.
    pub(super) fn fill_values(&self, env: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
        let fill = |value: &OsString| match value.to_str() {
            Some(text) => OsString::from(self.fill(text)),
            None => value.clone(),
        };
        env.iter()
            .map(|(name, value)| (name.clone(), fill(value)))
            .collect()
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "worker" => Some(self.worker.slot.to_string()),
            "generation" => Some(self.worker.generation.to_string()),
            _ => {
                let listener = name.strip_prefix("fd:")?;
                let known = self.listeners.iter().find(|(name, _)| name == listener);
                known.map(|(_, number)| number.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(listeners: &[(String, u32)]) -> Templates<'_> {
        let worker = WorkerId {
            generation: 7,
            slot: 2,
            life: 0,
        };
        Templates { worker, listeners }
    }

    #[test]
    fn known_templates_are_filled_and_the_rest_is_left() {
        let listeners = [("http".to_owned(), 3), ("admin".to_owned(), 4)];
        let templates = templates(&listeners);
        assert_eq!(templates.fill("--fd={fd:admin}"), "--fd=4");
        assert_eq!(templates.fill("{generation}.{worker}"), "7.2");
        assert_eq!(
            templates.fill("{fd:none} {} {x} {{worker}}"),
            "{fd:none} {} {x} {2}"
        );
        assert_eq!(templates.fill("tail {"), "tail {");
        assert_eq!(templates.fill("{ \"json\": {worker} }"), "{ \"json\": 2 }");
    }

    #[test]
    fn f27_the_masters_own_variables_never_leak() {
        let own = |name: &str| (OsString::from(name), OsString::from("x"));
        let environment = [
            "NOTIFY_SOCKET",
            "LISTEN_FDS",
            "LISTEN_PIDFDID",
            "WATCHDOG_USEC",
            "INVOCATION_ID",
            "JOURNAL_STREAM",
            "HANDOVER_APP__WORKERS",
            "HANDOVER_NONCE",
            "PATH",
            "SECRET",
        ]
        .map(own);
        let names = |inherit| {
            let mut config = Config::default();
            config.app.inherit_env = inherit;
            let left = of_release(&config, &environment, Vec::new());
            left.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(InheritEnv::All), ["PATH", "SECRET"]);
        assert_eq!(names(InheritEnv::Nothing), ["PATH"]);
        assert_eq!(
            names(InheritEnv::Only(vec!["SECRET".to_owned()])),
            ["SECRET"]
        );
    }
}
