//! The layers above the file: variables, then flags.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use super::address::{Address, split_name};
use super::build::{At, Build, Listener, shown_value, variable_hint};
use super::field::Field;
use super::key::Key;
use super::kind::Kind;
use super::raw::{Item, Raw, Wrong, shown};
use super::{field, keys, suggest};

/// A value that a flag sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key's path: `app.workers`; `listen` for all listeners, each `[NAME=]ADDR`.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// As the user wrote it, for messages: `--workers`.
    pub flag: String,
}

/// What a flag says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One value.
    Text(String),
    /// A flag given several times, or the words of a command.
    List(Vec<String>),
}

/// Applies `HANDOVER_SECTION__KEY` and `HANDOVER__KEY`; every other variable is ignored, with a word where it is
/// named as a key is.
pub(crate) fn variables(build: &mut Build<'_>, env: &[(OsString, OsString)]) {
    let mut ours: Vec<_> = env
        .iter()
        .filter_map(|(name, value)| {
            let rest = name.as_bytes().strip_prefix(b"HANDOVER_")?;
            // `HANDOVER__ROUTE` has its two underscores at the seam.
            let double = rest.starts_with(b"_") || rest.windows(2).any(|pair| pair == b"__");
            double.then(|| (name.to_string_lossy().into_owned(), value))
        })
        .collect();
    ours.sort_unstable();
    for name in env.iter().filter_map(|(name, _)| name.to_str()) {
        if let Some(meant) = one_underscore(name) {
            build.warnings.push(unused_variable(name, &meant));
        }
    }
    for (name, value) in ours {
        variable(build, &name, value);
    }
}

fn variable(build: &mut Build<'_>, name: &str, value: &OsString) {
    let key = keys::keys().find(|key| key.variable().as_deref() == Some(name));
    let is_listen = name == "HANDOVER__LISTEN";
    if key.is_none() && !is_listen {
        return unknown_variable(build, name);
    }
    let path = key.map_or("listen", |key| key.path);
    let Some(text) = value.to_str() else {
        let shown = shown_value(key, &value.to_string_lossy());
        let wrong = Wrong::new("is not UTF-8").hint("write it in UTF-8");
        return build.fault(&At::Variable(name.into(), shown), path, wrong);
    };
    let shown = if is_listen {
        Some(shown(text))
    } else {
        shown_value(key, text)
    };
    let at = At::Variable(name.into(), shown);
    match key {
        Some(key) => build.set(key, &Item::word(text), at),
        None => match Vec::<String>::read(&Item::word(text), &Kind::Words("[\":8080\"]")) {
            Ok(words) => listeners(build, &words, at),
            Err(wrong) => build.fault(&at, "listen", wrong),
        },
    }
}

/// What handover sets for what it starts, and is called as a key is: a master may run below another.
const OWN: [&str; 1] = ["HANDOVER_NAME"];

/// The variable that was meant by one with a single underscore, `HANDOVER_APP_WORKERS` or `HANDOVER_WORKERS`; those
/// that handover sets for what it starts are no keys.
fn one_underscore(name: &str) -> Option<String> {
    let rest = name.strip_prefix("HANDOVER_")?;
    if rest.starts_with('_') || rest.contains("__") || OWN.contains(&name) {
        return None;
    }
    if rest == "LISTEN" {
        return Some("HANDOVER__LISTEN".to_owned());
    }
    let named =
        |key: &&Key| key.variable().is_some() && key.path.to_uppercase().replace('.', "_") == rest;
    let last = |key: &&Key| key.variable().is_some() && key.name().to_uppercase() == rest;
    if let Some(key) = keys::keys().find(|key| named(key)) {
        return key.variable();
    }
    let mut alike = keys::keys().filter(|key| last(key));
    let only = alike.next().filter(|_| alike.next().is_none());
    only.and_then(Key::variable)
}

fn unused_variable(name: &str, meant: &str) -> super::fault::Fault {
    super::fault::Fault {
        place: super::fault::Place::Variable {
            name: name.to_owned(),
            value: None,
        },
        key: None,
        message: format!("{name} has no effect: the variable of a key has two underscores"),
        hint: Some(format!("write {meant}, or unset it")),
        snippet: None,
    }
}

fn unknown_variable(build: &mut Build<'_>, name: &str) {
    let upper = name.to_uppercase();
    let variables: Vec<String> = keys::keys().filter_map(Key::variable).collect();
    let all = variables
        .iter()
        .map(String::as_str)
        .chain(["HANDOVER__LISTEN"]);
    let hint = if upper.starts_with("HANDOVER_LISTEN__") {
        "write HANDOVER__LISTEN='http=:8080 admin=127.0.0.1:9000'; options of a listener stand in the file".into()
    } else if upper.starts_with("HANDOVER_APP__ENV__") {
        format!(
            "write {}",
            variable_hint("app.env", "'NAME=VALUE NAME=VALUE'")
        )
    } else if let Some(near) = suggest::nearest(&upper, all) {
        format!("did you mean {near}?")
    } else {
        "unset it; variables are HANDOVER_SECTION__KEY, such as HANDOVER_APP__WORKERS".into()
    };
    // What is unknown may be a secret.
    let place = super::fault::Place::Variable {
        name: name.into(),
        value: None,
    };
    let message = format!("no key is set by {name}");
    build.push(super::fault::Fault {
        place,
        key: None,
        message,
        hint: Some(hint),
        snippet: None,
    });
}

/// Applies flags, in their order.
pub(crate) fn flags(build: &mut Build<'_>, settings: &[Setting]) {
    for setting in settings {
        let key = keys::find(&setting.key);
        let value = match &setting.value {
            Value::Text(text) => text.clone(),
            Value::List(words) => words.join(" "),
        };
        let is_listen = setting.key == "listen";
        let shown = if is_listen {
            Some(shown(&value))
        } else {
            shown_value(key, &value)
        };
        let at = At::Flag(setting.flag.clone(), shown);
        match (key, &setting.value) {
            (None, Value::List(words)) if is_listen => listeners(build, words, at),
            (None, Value::Text(word)) if is_listen => {
                listeners(build, std::slice::from_ref(word), at)
            }
            (Some(key), Value::Text(text)) => build.set(key, &Item::word(text.as_str()), at),
            (Some(key), Value::List(words)) => {
                let items = words.iter().map(|word| Item::word(word.as_str())).collect();
                build.set(
                    key,
                    &Item {
                        raw: Raw::List(items),
                        at: 0..0,
                    },
                    at,
                );
            }
            (None, _) => build.fault(
                &at,
                &setting.key,
                Wrong::new("is no key").hint("remove the flag"),
            ),
        }
    }
}

/// Listeners of a higher layer replace those of the layers below, as any value does.
fn listeners(build: &mut Build<'_>, words: &[String], at: At) {
    build.listeners.clear();
    build.set.retain(|path, _| !path.starts_with("listen["));
    build.listen_at = Some(at.clone());
    for (index, word) in words.iter().enumerate() {
        let at = match &at {
            At::Flag(flag, _) => At::Flag(flag.clone(), Some(shown(word))),
            other => other.clone(),
        };
        let (name, address) = split_name(word);
        let mut listener = Listener::new(at.clone());
        if let Some(name) = name {
            match field::check_name(name) {
                Ok(()) => {
                    listener.listen.name = name.into();
                    listener.named = true;
                    listener.set.insert("name", at.clone());
                }
                Err(wrong) => build.fault(
                    &at,
                    &format!("listen[{index}].name"),
                    with_address(wrong, address),
                ),
            }
        }
        match address.parse::<Address>() {
            Ok(address) => {
                listener.listen.address = address;
                listener.whole = true;
            }
            Err(error) => {
                let wrong = with_name(Wrong::from(error), name);
                build.fault(&at, &format!("listen[{index}].address"), wrong);
            }
        }
        listener.set.insert("address", at);
        build.listeners.push(listener);
    }
}

fn with_name(wrong: Wrong, name: Option<&str>) -> Wrong {
    match (wrong.fix.clone(), name) {
        (Some(super::raw::Fix::Text(fix)), Some(name)) => wrong.text(format!("{name}={fix}")),
        _ => wrong,
    }
}

fn with_address(wrong: Wrong, address: &str) -> Wrong {
    match wrong.fix.clone() {
        Some(super::raw::Fix::Text(fix)) => wrong.text(format!("{fix}={address}")),
        _ => wrong,
    }
}
