//! The config under construction: values, where each came from, and what is wrong so far.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::fault::{Fault, Origin, Place, Snippet};
use super::key::{Key, Store, variable_of};
use super::raw::{Fix, Item, Raw, Wrong, quote, shown};
use super::rules::without_later;
use super::source::Source;
use super::types::{Config, Listen};

/// More faults than anybody reads: a file of another kind altogether.
const FAULTS_MAX: usize = 500;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    File(Range<usize>),
    Variable(String, Option<String>),
    Flag(String, Option<String>),
}

pub(crate) struct Build<'t> {
    pub(crate) source: Option<Source<'t>>,
    pub(crate) config: Config,
    pub(crate) listeners: Vec<Listener>,
    /// Where `listen` as a whole was said.
    pub(crate) listen_at: Option<At>,
    /// Keys that a layer set, with the place of the last.
    pub(crate) set: BTreeMap<String, At>,
    /// Keys with a fault: rules that need them are silent.
    pub(crate) broken: BTreeSet<String>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) warnings: Vec<Fault>,
    /// Lines of the file (from 0) that have a syntax fault.
    pub(crate) broken_lines: BTreeSet<usize>,
}

/// A `[[listen]]` under construction.
pub(crate) struct Listener {
    pub(crate) listen: Listen,
    pub(crate) at: At,
    pub(crate) set: BTreeMap<&'static str, At>,
    /// Its address could be read.
    pub(crate) whole: bool,
    /// A name was given.
    pub(crate) named: bool,
}

impl<'t> Build<'t> {
    pub(crate) fn new(source: Option<Source<'t>>) -> Build<'t> {
        Build {
            source,
            config: Config::default(),
            listeners: Vec::new(),
            listen_at: None,
            set: BTreeMap::new(),
            broken: BTreeSet::new(),
            faults: Vec::new(),
            warnings: Vec::new(),
            broken_lines: BTreeSet::new(),
        }
    }

    /// Sets a key, or says why not.
    pub(crate) fn set(&mut self, key: &'static Key, item: &Item, at: At) {
        let Store::Config { set, .. } = &key.store else {
            if let Some(wrong) = unavailable(key, item).err() {
                self.fault(&at, key.path, wrong);
            }
            self.set.insert(key.path.to_owned(), at);
            return;
        };
        // A failed setter leaves the value of the layer below, and only the fault counts.
        let result = match unavailable(key, item) {
            Ok(()) => set(&mut self.config, item, &key.kind),
            Err(wrong) => Err(wrong),
        };
        if let Err(wrong) = result {
            self.fault(&at, key.path, without_later(key.path, wrong));
        }
        self.set.insert(key.path.to_owned(), at);
    }

    /// A fault of a key, told in the language of its layer.
    pub(crate) fn fault(&mut self, at: &At, path: &str, mut wrong: Wrong) {
        self.broken.insert(path.to_owned());
        let mut next = wrong.next.take();
        self.fault_of(at, path, wrong);
        while let Some(mut wrong) = next {
            next = wrong.next.take();
            self.fault_of(at, path, *wrong);
        }
    }

    fn fault_of(&mut self, at: &At, path: &str, wrong: Wrong) {
        // Inside a table, what stands beside a syntax fault is its echo.
        let narrow = wrong.at.as_ref().filter(|_| matches!(at, At::File(_)));
        if narrow.is_some_and(|narrow| self.is_broken_line(narrow)) {
            return;
        }
        let fault = self.compose(Some(at), path, wrong);
        self.push(fault);
    }

    /// A fault of a key that rules found; it may stand nowhere.
    pub(crate) fn rule(&mut self, path: &str, wrong: Wrong) {
        let at = self.set.get(path).cloned();
        let fault = self.compose(at.as_ref(), path, wrong);
        self.push(fault);
    }

    /// As [`Build::rule`], but nothing is refused.
    pub(crate) fn warn(&mut self, path: &str, wrong: Wrong) {
        let at = self.set.get(path).cloned();
        let fault = self.compose(at.as_ref(), path, wrong);
        self.warnings.push(fault);
    }

    /// A fault that names no key, at bytes of the file.
    pub(crate) fn fault_at(&mut self, at: &Range<usize>, message: String, hint: Option<String>) {
        let fault = self.locate(Some(&At::File(at.clone())), None, message, hint);
        self.push(fault);
    }

    pub(crate) fn push(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.faults.len() >= FAULTS_MAX
    }

    /// True when the recovered tree cannot be trusted here. A section's header that stands a second
    /// time is a fault, but what is below it was read.
    pub(crate) fn is_broken(&self, item: &Item) -> bool {
        let Some(source) = &self.source else {
            return false;
        };
        let is_header = source
            .text
            .get(item.at.start..)
            .is_some_and(|text| text.starts_with('['))
            && matches!(item.raw, Raw::Table(_));
        !is_header && self.is_broken_line(&item.at)
    }

    pub(crate) fn is_broken_line(&self, at: &Range<usize>) -> bool {
        self.source.as_ref().is_some_and(|source| {
            let lines = source.line_of(at.start)..=source.line_of(at.end.max(at.start));
            self.broken_lines.range(lines).next().is_some()
        })
    }

    pub(crate) fn origin(&self, at: &At) -> Origin {
        match (at, &self.source) {
            (At::File(at), Some(source)) => {
                Origin::File(source.path.clone(), source.line_of(at.start) + 1)
            }
            (At::File(_), None) => Origin::Default,
            (At::Variable(name, _), _) => Origin::Variable(name.clone()),
            (At::Flag(name, _), _) => Origin::Flag(name.clone()),
        }
    }

    fn compose(&self, at: Option<&At>, path: &str, wrong: Wrong) -> Fault {
        let name = path.rsplit('.').next().unwrap_or(path);
        let write = wrong.fix.map(|fix| match at {
            Some(At::Variable(variable, _)) => format!("write {variable}={}", for_shell(&fix)),
            Some(At::Flag(flag, _)) => format!("write {flag} {}", for_shell(&fix)),
            _ => format!("write {name} = {}", for_file(&fix)),
        });
        let hint = match (write, wrong.hint) {
            (Some(write), Some(hint)) => Some(format!("{write}; {hint}")),
            (write, hint) => write.or(hint),
        };
        let at = match (at, wrong.at) {
            (Some(At::File(_)), Some(narrow)) => Some(At::File(narrow)),
            (at, _) => at.cloned(),
        };
        let message = format!("{path} {}", wrong.message);
        self.locate(at.as_ref(), Some(path.to_owned()), message, hint)
    }

    fn locate(
        &self,
        at: Option<&At>,
        key: Option<String>,
        message: String,
        hint: Option<String>,
    ) -> Fault {
        let (place, snippet) = at.map_or_else(|| self.whole(), |at| self.place(at));
        Fault {
            place,
            key,
            message,
            hint,
            snippet,
        }
    }
}

impl Build<'_> {
    /// Where a value stands, for people.
    pub(crate) fn place(&self, at: &At) -> (Place, Option<Snippet>) {
        match (at, &self.source) {
            (At::File(at), Some(source)) => (source.place(at), Some(source.snippet(at))),
            (At::File(_), None) => self.whole(),
            (At::Variable(name, value), _) => {
                let (name, value) = (name.clone(), value.clone());
                (Place::Variable { name, value }, None)
            }
            (At::Flag(name, value), _) => {
                let (name, value) = (name.clone(), value.clone());
                (Place::Flag { name, value }, None)
            }
        }
    }

    /// Where what nobody said could stand.
    pub(crate) fn whole(&self) -> (Place, Option<Snippet>) {
        let file = self.source.as_ref().map(|source| source.path.clone());
        (file.map_or(Place::Nowhere, Place::File), None)
    }
}

impl Listener {
    pub(crate) fn new(at: At) -> Listener {
        Listener {
            // Replaced before anybody reads it: without an address `whole` stays false.
            listen: Listen::new(
                String::new(),
                super::address::Address::Inherited(String::new()),
            ),
            at,
            set: BTreeMap::new(),
            whole: false,
            named: false,
        }
    }

    pub(crate) fn at(&self, name: &str) -> &At {
        self.set.get(name).unwrap_or(&self.at)
    }
}

/// Refuses what a later version brings.
fn unavailable(key: &Key, item: &Item) -> Result<(), Wrong> {
    let Some(instead) = key.later else {
        return Ok(());
    };
    if key.kind.canonical(item)? == key.default_toml() {
        return Ok(());
    }
    Err(not_yet("", instead))
}

/// "… is not available in handover 0.1.0 yet".
pub(crate) fn not_yet(value: &str, instead: &str) -> Wrong {
    let version = env!("CARGO_PKG_VERSION");
    let value = if value.is_empty() {
        String::new()
    } else {
        format!("= {} ", shown(value))
    };
    Wrong::new(format!("{value}is not available in handover {version} yet")).hint(instead)
}

/// A value for a message, unless it may be a secret.
pub(crate) fn shown_value(key: Option<&Key>, value: &str) -> Option<String> {
    match key {
        Some(key) if !key.secret => Some(shown(value)),
        _ => None,
    }
}

/// The variable of a key, for hints.
pub(crate) fn variable_hint(path: &str, example: &str) -> String {
    format!("{}={example}", variable_of(path))
}

fn for_file(fix: &Fix) -> String {
    match fix {
        Fix::Text(text) => quote(text),
        Fix::Bare(text) => text.clone(),
    }
}

fn for_shell(fix: &Fix) -> String {
    let (Fix::Text(text) | Fix::Bare(text)) = fix;
    let text = match fix {
        // A TOML string without its quotes.
        Fix::Bare(bare) => bare
            .strip_prefix('"')
            .and_then(|t| t.strip_suffix('"'))
            .unwrap_or(text),
        Fix::Text(_) => text,
    };
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"_-./:@%+=,".contains(&b);
    if !text.is_empty() && text.bytes().all(safe) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
