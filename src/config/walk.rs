//! The file's layer: from entries to keys.

use std::ops::Range;

use super::build::{At, Build, Listener};
use super::key::{Key, Store};
use super::keys::{self, SECTIONS};
use super::raw::{Item, Name, Raw, Wrong};
use super::{suggest, syntax};

/// Applies the file.
pub(crate) fn apply(build: &mut Build<'_>) {
    let Some(source) = &build.source else { return };
    let parsed = syntax::parse(source);
    let secrets = secrets(&parsed.entries);
    if let Some(source) = &mut build.source {
        secrets.into_iter().for_each(|secret| source.hide(secret));
    }
    for (at, wrong) in parsed.faults {
        build.fault_at(&at, wrong.message, wrong.hint);
    }
    build.broken_lines = parsed.lines;
    section(build, "", parsed.entries);
}

/// Where the values of `app.env` stand.
fn secrets(entries: &[(Name, Item)]) -> Vec<Range<usize>> {
    let inside = |entries: &[(Name, Item)], name: &str| -> Vec<Item> {
        entries
            .iter()
            .filter(|(n, _)| n.text == name)
            .map(|(_, item)| item.clone())
            .collect()
    };
    let mut secrets = Vec::new();
    for app in inside(entries, "app") {
        let Raw::Table(app) = app.raw else { continue };
        for env in inside(&app, "env") {
            match env.raw {
                Raw::Table(pairs) => secrets.extend(pairs.into_iter().map(|(_, value)| value.at)),
                _ => secrets.push(env.at),
            }
        }
    }
    secrets
}

fn section(build: &mut Build<'_>, prefix: &str, entries: Vec<(Name, Item)>) {
    for (name, item) in entries {
        if build.is_full() {
            return;
        }
        if build.is_broken_line(&name.at) || build.is_broken(&item) {
            continue;
        }
        let path = if prefix.is_empty() {
            name.text.clone()
        } else {
            format!("{prefix}.{}", name.text)
        };
        if name.text.contains('.') {
            unknown(build, prefix, &name);
        } else if path == "listen" {
            listeners(build, item);
        } else if let Some(key) = keys::find(&path) {
            build.set(key, &item, At::File(item.at.clone()));
        } else if keys::is_section(&path) {
            match item.raw {
                Raw::Table(entries) => section(build, &path, entries),
                _ => build.fault(
                    &At::File(item.at.clone()),
                    &path,
                    Wrong::new(format!("is a section, not {}", item.what()))
                        .hint(format!("write [{path}] on a line of its own")),
                ),
            }
        } else {
            unknown(build, prefix, &name);
        }
    }
}

fn listeners(build: &mut Build<'_>, item: Item) {
    let at = At::File(item.at.clone());
    build.listen_at = Some(at.clone());
    let items = match item.raw {
        Raw::List(items) => items,
        Raw::Table(_) => {
            let wrong = Wrong::new("is a list of sections: one pair of brackets is missing");
            return build.fault(&at, "listen", wrong.hint("write [[listen]]"));
        }
        Raw::Text(text) => {
            let wrong = Wrong::new("is a list of sections, not a string");
            return build.fault(
                &at,
                "listen",
                wrong.hint(format!(
                    "write [[listen]] and below it address = \"{text}\""
                )),
            );
        }
        _ => {
            let wrong = Wrong::new(format!("is a list of sections, not {}", item.what()));
            return build.fault(
                &at,
                "listen",
                wrong.hint("write [[listen]] and below it address = \":8080\""),
            );
        }
    };
    for (index, item) in items.into_iter().enumerate() {
        if build.is_full() {
            return;
        }
        if !build.is_broken(&item) {
            listener(build, index, item);
        }
    }
}

fn listener(build: &mut Build<'_>, index: usize, item: Item) {
    let at = At::File(item.at.clone());
    let entries = match item.raw {
        Raw::Table(entries) => entries,
        _ => {
            let wrong = Wrong::new(format!("is a section, not {}", item.what()));
            let hint = "write [[listen]] and below it address = \":8080\"";
            return build.fault(&at, &format!("listen[{index}]"), wrong.hint(hint));
        }
    };
    let mut listener = Listener::new(at);
    let mut address_given = false;
    for (name, item) in entries {
        address_given |= name.text == "address";
        if build.is_broken_line(&name.at) || build.is_broken(&item) {
            continue;
        }
        match keys::find(&format!("listen.{}", name.text)) {
            Some(key) => set_listen(build, &mut listener, index, key, &item),
            None => unknown(build, "listen", &name),
        }
    }
    if !address_given && build.broken_lines.is_empty() {
        let wrong = Wrong::new("has no address").text_line("address", ":8080");
        let at = listener.at.clone();
        build.fault(&at, &format!("listen[{index}]"), wrong);
    }
    build.listeners.push(listener);
}

fn set_listen(
    build: &mut Build<'_>,
    listener: &mut Listener,
    index: usize,
    key: &'static Key,
    item: &Item,
) {
    let Store::Listen { set, .. } = &key.store else {
        return;
    };
    let at = At::File(item.at.clone());
    listener.set.insert(key.name(), at.clone());
    match set(&mut listener.listen, item, &key.kind) {
        Ok(()) => {
            listener.whole |= key.name() == "address";
            listener.named |= key.name() == "name";
        }
        Err(wrong) => build.fault(&at, &format!("listen[{index}].{}", key.name()), wrong),
    }
}

fn unknown(build: &mut Build<'_>, prefix: &str, name: &Name) {
    let path = if prefix.is_empty() {
        name.text.clone()
    } else {
        format!("{prefix}.{}", name.text)
    };
    let what = if prefix.is_empty() {
        "key or section".to_owned()
    } else {
        format!("key of [{prefix}]")
    };
    let message = format!("{} is no {what}", super::render::plain(&name.text));
    build.broken.insert(path);
    let hint = meant(prefix, &name.text);
    build.fault_at(&name.at, message, Some(hint));
}

/// What an unknown key was probably meant to be; there is always something to say, and only what this version has
/// is offered.
fn meant(prefix: &str, given: &str) -> String {
    let siblings = || keys::keys().filter(|key| key.section() == prefix);
    let is_now = |key: &&'static Key| key.later.is_none();
    let sections = || {
        SECTIONS
            .iter()
            .map(|(section, _)| *section)
            .filter(|s| prefix.is_empty() && !s.is_empty())
    };
    let near_sections = sections().filter(|section| all_later(section).is_none());
    let names = siblings().filter(is_now).map(Key::name);
    if let Some(near) = suggest::nearest(given, names.chain(near_sections)) {
        return format!("did you mean {near}?");
    }
    let near = suggest::nearest(given, siblings().map(Key::name));
    if let Some(key) = siblings().find(|key| Some(key.name()) == near) {
        return not_now(key.path, key);
    }
    if let Some(near) = suggest::nearest(given, sections())
        && let Some(key) = all_later(near)
    {
        return not_now(&format!("[{near}]"), key);
    }
    if let Some(key) = all_later(prefix) {
        return format!("nothing of [{prefix}] is in this version: {}", instead(key));
    }
    let here: Vec<_> = called(given).filter(is_now).map(place_of).collect();
    if !here.is_empty() {
        return format!("did you mean {}?", here.join(" or "));
    }
    if let Some(key) = suggest::alias(given).and_then(keys::find) {
        return format!("did you mean {}?", place_of(key));
    }
    if let Some(key) = called(given).next() {
        return not_now(key.path, key);
    }
    let near = suggest::nearest(given, keys::keys().filter(is_now).map(Key::name));
    if let Some(key) = near.and_then(|near| called(near).find(is_now)) {
        return format!("did you mean {}?", place_of(key));
    }
    let names: Vec<_> = siblings().filter(is_now).map(Key::name).collect();
    match prefix {
        "" => "sections: app, listen, ready, health, upgrade, drain, restart, limits, log; remove it if it belongs to another program".into(),
        _ => format!("remove it; [{prefix}] has {}", names.join(", ")),
    }
}

fn called(name: &str) -> impl Iterator<Item = &'static Key> {
    keys::keys().filter(move |key| key.name() == name)
}

/// The first key of a section of which this version has none.
fn all_later(section: &str) -> Option<&'static Key> {
    let mut keys = keys::keys().filter(|key| key.section() == section);
    let first = keys.next().filter(|key| key.later.is_some())?;
    keys.all(|key| key.later.is_some()).then_some(first)
}

/// What to do without something that a later version brings.
fn not_now(what: &str, key: &Key) -> String {
    format!("{what} is not in this version: {}", instead(key))
}

fn instead(key: &Key) -> &'static str {
    key.later.unwrap_or_default()
}

fn place_of(key: &'static Key) -> String {
    match key.section() {
        "" => format!("{} at the top of the file", key.name()),
        "listen" => format!("{} under [[listen]]", key.name()),
        section => format!("{} under [{section}]", key.name()),
    }
}

impl Wrong {
    /// A whole line to write.
    fn text_line(self, name: &str, value: &str) -> Wrong {
        self.hint(format!("write {name} = \"{value}\""))
    }
}
