//! What was probably meant by arguments that cannot be read.

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::text::shell;

/// Words of other managers, and what to type here. Of verbs and flags alike.
type Known = &'static [(&'static [&'static str], &'static str)];

const VERBS: Known = &[
    (
        &["start", "up", "serve", "exec", "launch", "daemon"],
        "to start a service: handover run --listen :8080 -- ./server, or handover run --config FILE",
    ),
    (
        &[
            "restart", "deploy", "redeploy", "update", "replace", "refresh",
        ],
        "for new workers without a lost request: handover upgrade",
    ),
    (
        &["kill", "shutdown", "quit", "down", "end", "terminate"],
        "to end a service: handover stop",
    ),
    (
        &["ps", "list", "ls", "show", "info", "state"],
        "what runs: handover status",
    ),
    (
        &["log", "tail", "output"],
        "what workers printed: handover logs",
    ),
    (
        &["undo", "revert", "back", "downgrade"],
        "to go back to the release before: handover rollback",
    ),
    (
        &["validate", "test", "lint", "verify"],
        "to try a config: handover check FILE",
    ),
    (&["cancel"], "to undo what is under way: handover abort"),
    (&["version"], "which version this is: handover --version"),
];

const FLAGS_OF_RUN: Known = &[
    (
        &["--json"],
        "for handover's own lines as JSON: handover run --log-format json …",
    ),
    (
        &[
            "--port",
            "-p",
            "--bind",
            "-b",
            "--host",
            "--addr",
            "--address",
            "-a",
        ],
        "where to listen: --listen :8080, or --listen 127.0.0.1:8080 for this machine only",
    ),
    (
        &["--env", "-e"],
        "set it before the command (K=V handover run …), or in the config: [app] env = { K = \"V\" }",
    ),
    (
        &["--env-file"],
        "in the config: [app] env_file = \"/etc/default/web\"",
    ),
    (
        &["--user", "-u", "--group", "-g"],
        "in the config: [app] user = \"web\"",
    ),
    (
        &["--directory", "--chdir", "--cwd", "-C"],
        "in the config: [app] directory = \"/srv/web\"; else workers start where handover was started",
    ),
    (
        &[
            "--detach",
            "-d",
            "--daemon",
            "-D",
            "--background",
            "--daemonize",
        ],
        "it stays in the foreground: systemctl start handover@NAME runs it behind you (systemd/handover@.service)",
    ),
    (
        &["--label"],
        "an upgrade has a label: handover upgrade --label TEXT",
    ),
];

const FLAGS_OF_OTHERS: Known = &[
    (
        &["--force", "-f", "-9", "--kill"],
        "without the drain: handover stop --now",
    ),
    (&["--tail"], "the last lines: handover logs --lines 20"),
    (
        &["--workers", "-w"],
        "set app.workers in the config, then: handover upgrade",
    ),
    (
        &["--listen", "-l", "--config", "-c"],
        "that is a flag of `handover run`; a master that runs reads its own config again with each upgrade",
    ),
];

/// Takes clap's guess out of `error` where a better one is known, and returns that. `words` are all that was typed.
pub(super) fn hint(error: &mut clap::Error, words: &[OsString]) -> Option<String> {
    let words = words.iter().skip(1).filter_map(|word| word.to_str());
    let words: Vec<&str> = words.collect();
    let verb = words.first().copied();
    let hint = match error.kind() {
        ErrorKind::InvalidSubcommand => of_verb(&context(error, ContextKind::InvalidSubcommand)?),
        ErrorKind::UnknownArgument => of_argument(
            &context(error, ContextKind::InvalidArg)?,
            verb.unwrap_or_default(),
        ),
        ErrorKind::ValueValidation if verb == Some("scale") => {
            of_number(&context(error, ContextKind::InvalidValue)?, &words)
        }
        _ => None,
    }?;
    for guess in [
        ContextKind::Suggested,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
    ] {
        error.remove(guess);
    }
    Some(format!("hint: {hint}"))
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    }
}

fn look(table: Known, word: &str) -> Option<String> {
    let row = table.iter().find(|(words, _)| words.contains(&word));
    row.map(|(_, hint)| (*hint).to_owned())
}

fn of_verb(word: &str) -> Option<String> {
    if is_config(word) {
        return Some(format!(
            "to run a config: handover run --config {}",
            quoted(word)
        ));
    }
    if word.contains(['/', '.']) || Path::new(word).is_file() {
        return Some(format!(
            "to run a program: handover run --listen :8080 -- {}",
            program(word)
        ));
    }
    look(VERBS, word)
}

fn of_argument(word: &str, verb: &str) -> Option<String> {
    // `--port=80`
    let flag = word.split_once('=').map_or(word, |(flag, _)| flag);
    match (word.starts_with('-'), verb) {
        (true, "run") => look(FLAGS_OF_RUN, flag),
        (true, _) => look(FLAGS_OF_OTHERS, flag),
        (false, "run") if is_config(word) => Some(format!(
            "a config is given by its flag: handover run --config {}",
            quoted(word)
        )),
        (false, "upgrade") if is_assignment(word) => Some(format!(
            "to set a variable: handover upgrade … --env {}",
            quoted(word)
        )),
        (false, "run") if is_assignment(word) => look(FLAGS_OF_RUN, "--env"),
        // The commonest first mistake: a program without the `--` before it.
        (false, "run" | "upgrade") => Some(format!(
            "a program stands behind `--`: handover {verb} … -- {}",
            program(word)
        )),
        (false, "check") => Some("one FILE at a time".to_owned()),
        (false, _) => Some(format!(
            "one NAME at a time: handover {verb} {}",
            quoted(word)
        )),
    }
}

/// `scale 3 web`
fn of_number(word: &str, words: &[&str]) -> Option<String> {
    let is_number = |word: &&&str| word.parse::<u32>().is_ok();
    let number = words.iter().find(is_number)?;
    Some(format!(
        "the name stands before the number: handover scale {} {number}",
        quoted(word)
    ))
}

/// `NAME=VALUE`, as of a variable.
pub(super) fn is_assignment(word: &str) -> bool {
    let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    word.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(of_a_name))
}

fn is_config(word: &str) -> bool {
    word.ends_with(".toml")
}

/// As it must be written to be found: what is here and not in PATH needs its `./`.
fn program(word: &str) -> String {
    match !word.contains('/') && Path::new(word).is_file() {
        true => quoted(&format!("./{word}")),
        false => quoted(word),
    }
}

fn quoted(word: &str) -> String {
    shell(&[word.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_lead_to_ours() {
        for (word, said) in [
            ("restart", "handover upgrade"),
            ("start", "handover run"),
            ("./server.py", "handover run --listen :8080 -- ./server.py"),
            ("web.toml", "handover run --config web.toml"),
            ("my app.toml", "--config 'my app.toml'"),
        ] {
            let hint = of_verb(word).unwrap_or_default();
            assert!(hint.contains(said), "{word}: {hint}");
        }
        assert_eq!(of_verb("statsu"), None);
        for (word, verb, said) in [
            ("python3", "run", "handover run … -- python3"),
            ("web.toml", "run", "handover run --config web.toml"),
            ("A=1", "upgrade", "handover upgrade … --env A=1"),
            ("A=1", "run", "K=V handover run"),
            ("./new", "upgrade", "handover upgrade … -- ./new"),
            ("api", "status", "one NAME at a time: handover status api"),
            ("--json", "run", "--log-format json"),
            ("--port=80", "run", "--listen :8080"),
            ("--force", "stop", "handover stop --now"),
        ] {
            let hint = of_argument(word, verb).unwrap_or_default();
            assert!(hint.contains(said), "{word}: {hint}");
        }
        assert_eq!(of_argument("--watc", "status"), None);
        let typed = ["scale", "3", "web"];
        let hint = of_number("web", &typed).unwrap_or_default();
        assert!(hint.ends_with(": handover scale web 3"), "{hint}");
        assert_eq!(of_number("many", &["scale", "many"]), None);
    }
}
