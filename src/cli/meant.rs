//! What was probably meant by arguments that cannot be read.

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::text::shell;

mod flags;
mod typed;

use typed::Typed;

/// Words of other managers, and what to type here.
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

/// Verbs behind which a NAME may stand.
const NAMED: &[&str] = &[
    "upgrade", "promote", "abort", "rollback", "reload", "scale", "stop", "status", "history",
    "events", "logs", "config",
];

/// Takes clap's guess out of `error` where a better one is known, and returns that. `words` are all that was typed.
pub(super) fn hint(error: &mut clap::Error, words: &[OsString]) -> Option<String> {
    let typed = Typed::new(words.iter().skip(1).filter_map(|word| word.to_str()));
    let hint = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            of_verb(&context(error, ContextKind::InvalidSubcommand)?, &typed)
        }
        ErrorKind::UnknownArgument => {
            // "use '-- --dry-run'": behind `upgrade` that would be a COMMAND.
            error.remove(ContextKind::Suggested);
            of_argument(&context(error, ContextKind::InvalidArg)?, &typed)
        }
        ErrorKind::ValueValidation if typed.verb() == "scale" => {
            of_number(&context(error, ContextKind::InvalidValue)?, &typed)
        }
        ErrorKind::InvalidValue if typed.verb() == "completions" => {
            of_shell(&context(error, ContextKind::InvalidValue)?)
        }
        ErrorKind::MissingRequiredArgument => of_nothing(&typed),
        _ => None,
    }?;
    for guess in [
        ContextKind::Suggested,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
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

fn of_verb(word: &str, typed: &Typed<'_>) -> Option<String> {
    // `handover web upgrade`
    if let Some((verb, rest)) = typed.behind().split_first()
        && NAMED.contains(verb)
    {
        let rest = rest.iter().map(|word| format!(" {}", quoted(word)));
        return Some(format!(
            "the name stands behind the verb: handover {verb} {}{}",
            quoted(word),
            rest.collect::<String>()
        ));
    }
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

fn of_argument(word: &str, typed: &Typed<'_>) -> Option<String> {
    let verb = typed.verb();
    if word.starts_with('-') {
        // `--port=80`
        let flag = word.split_once('=').map_or(word, |(flag, _)| flag);
        if verb == "scale" && flag.bytes().skip(1).all(|byte| byte.is_ascii_digit()) {
            return Some(format!(
                "N is how many workers there shall be, not how many fewer: {} 3",
                typed.command("scale")
            ));
        }
        return flags::of(flag, typed);
    }
    match verb {
        "run" if is_config(word) => Some(format!(
            "a config is given by its flag: handover run --config {}",
            quoted(word)
        )),
        "upgrade" if is_assignment(word) => Some(format!(
            "to set a variable: handover upgrade … --env {}",
            quoted(word)
        )),
        "run" if is_assignment(word) => flags::of("--env", typed),
        // The commonest first mistake: a program without the `--` before it.
        "run" | "upgrade" => Some(format!(
            "a program stands behind `--`: handover {verb} … -- {}",
            program(word)
        )),
        "check" => Some("one FILE at a time".to_owned()),
        "config" if typed.operands().iter().any(|word| word.contains('.')) => of_key(typed),
        _ => Some(format!(
            "one NAME at a time: handover {verb} {}",
            quoted(word)
        )),
    }
}

/// `config set upgrade.bake 3s`, `config get upgrade.bake`, `config web upgrade.bake`
fn of_key(typed: &Typed<'_>) -> Option<String> {
    let mut operands = typed.operands();
    let at = operands.iter().position(|word| word.contains('.'))?;
    let key = operands.remove(at);
    let place = typed
        .value("--runtime-dir")
        .map_or_else(String::new, |place| {
            format!(" --runtime-dir {}", quoted(place))
        });
    if let Some(value) = operands.get(at) {
        let (section, key) = key.rsplit_once('.')?;
        let header = match section.starts_with("listen") {
            true => "[[listen]]".to_owned(),
            false => format!("[{section}]"),
        };
        let bare = value.parse::<f64>().is_ok() || ["true", "false"].contains(value);
        let value = if bare {
            (*value).to_owned()
        } else {
            format!("{value:?}")
        };
        return Some(format!(
            "a key is set in the config file: {key} = {value} under {header}; then: handover reload{place}"
        ));
    }
    let name = operands
        .iter()
        .find(|word| !["get", "set", "show"].contains(word));
    let name = name.map_or_else(String::new, |name| format!(" {}", quoted(name)));
    Some(format!(
        "for one value: handover config{name}{place} | grep -F {}",
        quoted(key)
    ))
}

/// `scale 3 web`, `scale web=3`, `scale web`
fn of_number(word: &str, typed: &Typed<'_>) -> Option<String> {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((name, number)) = word.split_once('=')
        && !name.is_empty()
        && is_number(number)
    {
        return Some(format!(
            "the name and the number are two words: handover scale {} {number}",
            quoted(name)
        ));
    }
    if !word.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    let operands = typed.operands();
    match operands.iter().find(|word| is_number(word)) {
        Some(number) => Some(format!(
            "the name stands before the number: handover scale {} {number}",
            quoted(word)
        )),
        None if operands == [word] => Some(format!(
            "how many workers there shall be stands behind the name: handover scale {} 3",
            quoted(word)
        )),
        None => None,
    }
}

fn of_shell(word: &str) -> Option<String> {
    const OTHERS: &[&str] = &[
        "tcsh",
        "csh",
        "sh",
        "ksh",
        "dash",
        "ash",
        "nu",
        "nushell",
        "elvish",
        "xonsh",
        "powershell",
        "pwsh",
    ];
    let known = OTHERS.contains(&word);
    known.then(|| format!("there is none for {word}; for another shell: handover completions bash"))
}

/// A verb without the word that it must have.
fn of_nothing(typed: &Typed<'_>) -> Option<String> {
    Some(match typed.verb() {
        "check" => "as in: handover check web.toml".to_owned(),
        "man" => "into a new directory, as in: handover man ./man".to_owned(),
        "completions" => "as in: handover completions bash".to_owned(),
        "scale" => format!(
            "how many workers there shall be, as in: {} 3",
            typed.command("scale")
        ),
        _ => return None,
    })
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

    fn typed(line: &str) -> Typed<'_> {
        Typed::new(line.split(' '))
    }

    #[test]
    fn words_of_others_lead_to_ours() {
        for (line, said) in [
            ("restart", "handover upgrade"),
            ("start", "handover run"),
            ("./server.py", "handover run --listen :8080 -- ./server.py"),
            ("web.toml", "handover run --config web.toml"),
            ("g upgrade", "behind the verb: handover upgrade g"),
            (
                "g upgrade --label v2 -- ./b",
                "handover upgrade g --label v2 -- ./b",
            ),
        ] {
            let word = line.split(' ').next().unwrap_or_default();
            let hint = of_verb(word, &typed(line)).unwrap_or_default();
            assert!(hint.contains(said), "{line}: {hint}");
        }
        assert_eq!(of_verb("statsu", &typed("statsu")), None);
        let spaced = of_verb("my app.toml", &Typed::new(["my app.toml"]));
        assert!(spaced.is_some_and(|hint| hint.ends_with("--config 'my app.toml'")));
        for (word, line, said) in [
            ("python3", "run python3", "handover run … -- python3"),
            ("web.toml", "run web.toml", "handover run --config web.toml"),
            ("A=1", "upgrade web A=1", "handover upgrade … --env A=1"),
            ("A=1", "run A=1", "K=V handover run"),
            ("./new", "upgrade web ./new", "handover upgrade … -- ./new"),
            (
                "api",
                "status web api",
                "one NAME at a time: handover status api",
            ),
            ("--force", "stop --force", "handover stop --now"),
            (
                "-1",
                "scale web -1",
                "not how many fewer: handover scale web 3",
            ),
            (
                "upgrade.bake",
                "config set upgrade.bake 3s",
                "bake = \"3s\" under [upgrade]; then: handover reload",
            ),
            (
                "app.workers",
                "config set app.workers 3",
                "workers = 3 under [app]",
            ),
            (
                "listen[0].backlog",
                "config set listen[0].backlog 9",
                "backlog = 9 under [[listen]]; then",
            ),
            (
                "upgrade.bake",
                "config get upgrade.bake",
                "handover config | grep -F upgrade.bake",
            ),
            (
                "upgrade.bake",
                "config web upgrade.bake --runtime-dir r",
                "handover config web --runtime-dir r | grep -F upgrade.bake",
            ),
        ] {
            let hint = of_argument(word, &typed(line)).unwrap_or_default();
            assert!(hint.contains(said), "{line}: {hint}");
        }
    }

    #[test]
    fn a_number_has_its_place() {
        for (word, line, said) in [
            ("web", "scale 3 web", ": handover scale web 3"),
            ("g=3", "scale g=3", ": handover scale g 3"),
            ("web", "scale web", ": handover scale web 3"),
        ] {
            let hint = of_number(word, &typed(line)).unwrap_or_default();
            assert!(hint.ends_with(said), "{line}: {hint}");
        }
        assert_eq!(of_number("+1", &typed("scale +1")), None);
        assert_eq!(of_number("10%", &typed("scale web 10%")), None);
        let hint = of_nothing(&typed("scale --runtime-dir r")).unwrap_or_default();
        assert!(hint.ends_with("handover scale --runtime-dir r 3"), "{hint}");
    }
}
