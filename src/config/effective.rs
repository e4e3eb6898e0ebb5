//! A config as text again: for `handover config`, for comparing two, for the reference.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::fault::Origin;
use super::key::{Applies, Key, Store};
use super::keys::{SECTIONS, find, keys};
use super::raw::quote_key;
use super::types::Config;

/// A key, its value as TOML text, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// `app.workers`, `listen[0].address`.
    pub key: String,
    /// As TOML text; `None`: unset. Values of variables are masked.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: Origin,
}

/// Every key of this version with its value and origin, secrets masked.
pub fn effective(config: &Config, origins: &BTreeMap<String, Origin>) -> Vec<Effective> {
    let origin = |key: &str| origins.get(key).cloned().unwrap_or(Origin::Default);
    let mut all = Vec::new();
    for key in keys() {
        match &key.store {
            Store::Config { .. } if key.secret => {
                let names: Vec<_> = config
                    .app
                    .env
                    .keys()
                    .map(|name| format!("{} = \"***\"", quote_key(name)))
                    .collect();
                let value = if names.is_empty() {
                    "{}".into()
                } else {
                    format!("{{ {} }}", names.join(", "))
                };
                all.push(Effective {
                    key: key.path.into(),
                    value: Some(value),
                    origin: origin(key.path),
                });
            }
            Store::Config { write, .. } => {
                all.push(Effective {
                    key: key.path.into(),
                    value: write(config, &key.kind),
                    origin: origin(key.path),
                });
            }
            Store::Listen { .. } | Store::Nowhere => {}
        }
        if key.path == "app.no_new_privs" {
            all.extend(listeners(config, &origin));
        }
    }
    all
}

fn listeners(config: &Config, origin: &dyn Fn(&str) -> Origin) -> Vec<Effective> {
    let mut all = Vec::new();
    for (index, listen) in config.listen.iter().enumerate() {
        for key in keys() {
            if let Store::Listen { write, .. } = &key.store {
                let path = format!("listen[{index}].{}", key.name());
                all.push(Effective {
                    value: write(listen, &key.kind),
                    origin: origin(&path),
                    key: path,
                });
            }
        }
    }
    all
}

/// The config as a TOML file that loads to the same config. Contains secrets.
pub fn to_toml(config: &Config) -> String {
    let mut text = String::new();
    for (section, _) in SECTIONS {
        let inside = || keys().filter(|key| key.section() == *section);
        if *section == "listen" {
            for listen in &config.listen {
                text.push_str("\n[[listen]]\n");
                for key in inside() {
                    if let Store::Listen { write, .. } = &key.store {
                        line(&mut text, key, write(listen, &key.kind));
                    }
                }
            }
            continue;
        }
        let mut body = String::new();
        for key in inside() {
            if let Store::Config { write, .. } = &key.store {
                line(&mut body, key, write(config, &key.kind));
            }
        }
        if !body.is_empty() && !section.is_empty() {
            let _ = writeln!(text, "\n[{section}]");
        }
        text.push_str(&body);
    }
    text
}

/// Defaults are left out: some may be said only together with others.
fn line(text: &mut String, key: &Key, value: Option<String>) {
    let Some(value) = value else { return };
    if Some(&value) == key.default_toml().as_ref() {
        return;
    }
    let _ = writeln!(text, "{} = {value}", key.name());
}

/// The keys whose values differ, in the order of the reference. Listeners are compared by name;
/// `listen` stands for one that came, went or moved in the order.
pub fn changed(old: &Config, new: &Config) -> Vec<&'static str> {
    let names =
        |config: &Config| -> Vec<String> { config.listen.iter().map(|l| l.name.clone()).collect() };
    let mut changed: Vec<&'static str> = Vec::new();
    let mut listen_told = false;
    for key in keys() {
        match &key.store {
            Store::Config { write, .. } => {
                if write(old, &key.kind) != write(new, &key.kind) {
                    changed.push(key.path);
                }
            }
            Store::Listen { write, .. } => {
                if !listen_told && names(old) != names(new) {
                    changed.push("listen");
                }
                listen_told = true;
                let differs = |l: &super::types::Listen| {
                    let other = new.listen.iter().find(|other| other.name == l.name);
                    other.is_some_and(|other| write(l, &key.kind) != write(other, &key.kind))
                };
                if old.listen.iter().any(differs) {
                    changed.push(key.path);
                }
            }
            Store::Nowhere => {}
        }
    }
    changed
}

/// When a change of this key takes effect; takes what [`changed`] gives.
pub fn applies(key: &str) -> Applies {
    // Listeners that come and go do so with a generation.
    let unnamed = match key {
        "listen" => Applies::Release,
        _ => Applies::Restart,
    };
    find(key).map_or(unnamed, |key| key.applies)
}

/// Every key as a page of Markdown: type, default, when a change applies, variable, meaning.
pub fn reference_markdown() -> String {
    let mut text = String::from("# Configuration keys\n\nGenerated from the table of keys.\n");
    for (section, doc) in SECTIONS {
        let title = match *section {
            "" => "Top level".to_owned(),
            "listen" => "`[[listen]]`".to_owned(),
            _ => format!("`[{section}]`"),
        };
        let _ = write!(
            text,
            "\n## {title}\n\n{doc}\n\n| key | takes | default | a change applies | meaning |\n|---|---|---|---|---|\n"
        );
        for key in keys().filter(|key| key.section() == *section) {
            text.push_str(&row(key));
        }
    }
    text
}

fn row(key: &Key) -> String {
    let default = key
        .default_toml()
        .map_or("unset".into(), |default| format!("`{default}`"));
    let applies = match (key.later, key.applies) {
        (Some(_), _) => "in a later version",
        (None, Applies::Release) => "with the next generation",
        (None, Applies::Live) => "at once",
        (None, Applies::Restart) => "when the master starts",
    };
    let variable = key
        .variable()
        .map(|v| format!(" `{v}`"))
        .unwrap_or_default();
    let takes = format!("{}, such as `{}`", key.kind.expects(), key.kind.example());
    // A default is an example already.
    let plain = takes.contains("one of") || !matches!(key.default, "" | "[]" | "{}");
    let takes = if plain { key.kind.expects() } else { takes };
    format!(
        "| `{}`{variable} | {} | {default} | {applies} | {} |\n",
        key.name(),
        takes.replace('|', "\\|"),
        key.doc.replace('|', "\\|")
    )
}
