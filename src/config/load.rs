//! The layers together.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::build::{At, Build};
use super::fault::{Fault, Faults, Origin, Place, Snippet};
use super::key::Store;
use super::keys::keys;
use super::layers::{self, Setting};
use super::source::Source;
use super::types::Config;
use super::{read, rules, walk};

/// Where a config comes from, the weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// The whole environment; only `HANDOVER_*__*` is looked at.
    pub env: Vec<(OsString, OsString)>,
    /// What the command line says.
    pub flags: Vec<Setting>,
}

/// A config that holds.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The config, with defaults filled in.
    pub config: Config,
    /// Where each value came from, by key (`app.workers`, `listen[0].address`), defaults included.
    pub origins: BTreeMap<String, Origin>,
    /// What is allowed, but probably not meant.
    pub warnings: Vec<Fault>,
    /// Where each key stands that somebody said.
    pub(super) places: BTreeMap<String, (Place, Option<Snippet>)>,
    /// Where everything else could stand.
    pub(super) nowhere: Place,
    /// Keys whose value has a fault: what stands for them here is what they would be without it.
    pub(super) broken: BTreeSet<String>,
}

impl Loaded {
    /// The file that was read, if any.
    pub fn file(&self) -> Option<&Path> {
        match &self.nowhere {
            Place::File(file) => Some(file),
            _ => None,
        }
    }

    /// Whether somebody said this key.
    pub fn is_said(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Whether somebody said this key, and nothing is wrong with what was said.
    pub fn is_sound(&self, key: &str) -> bool {
        self.is_said(key) && !self.broken.contains(key)
    }

    /// A fault of a key (`app.user`, `listen[0].address`) that only a look at the machine shows; it is told at
    /// the key's place.
    pub fn fault(&self, key: &str, what: impl Display, hint: Option<String>) -> Fault {
        let (place, snippet) = match self.places.get(key) {
            Some((place, snippet)) => (place.clone(), snippet.clone()),
            None => (self.nowhere.clone(), None),
        };
        Fault {
            place,
            key: Some(key.to_owned()),
            message: format!("{key}: {what}"),
            hint,
            snippet,
        }
    }
}

/// Reads all layers.
///
/// # Errors
/// Every fault of every layer at once.
pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
    let Some(path) = &sources.file else {
        return finish(None, &sources.env, &sources.flags);
    };
    let bytes = match read::bytes(path) {
        Ok(bytes) => bytes,
        Err(faults) => return Err(with_upper_layers(faults, sources)),
    };
    match read::text(path, &bytes) {
        Ok(text) => load_text(path, text, &sources.env, &sources.flags),
        Err(faults) => Err(with_upper_layers(faults, sources)),
    }
}

/// As [`load`], with the file's text given; `name` is for messages and origins.
///
/// # Errors
/// Every fault of every layer at once.
pub fn load_text(
    name: &Path,
    text: &str,
    env: &[(OsString, OsString)],
    flags: &[Setting],
) -> Result<Loaded, Faults> {
    let text = read::text(name, text.as_bytes())?;
    finish(Some(Source::new(name, text)), env, flags)
}

/// For `handover check FILE`: the file alone, without environment and flags.
///
/// # Errors
/// Every fault of the file at once.
pub fn check(file: &Path) -> Result<Loaded, Faults> {
    load(&Sources {
        file: Some(file.to_owned()),
        ..Sources::default()
    })
}

/// As [`check`]; beside the faults comes what could be read, of which [`Loaded::is_sound`] tells what to trust.
/// None where the file cannot be read at all.
pub fn examine(file: &Path) -> (Option<Loaded>, Vec<Fault>) {
    let read = read::bytes(file).and_then(|bytes| {
        let text = read::text(file, &bytes)?;
        Ok(examine_source(Some(Source::new(file, text)), &[], &[]))
    });
    match read {
        Ok((loaded, faults)) => (Some(loaded), faults),
        Err(faults) => (None, faults.0),
    }
}

fn finish(
    source: Option<Source<'_>>,
    env: &[(OsString, OsString)],
    flags: &[Setting],
) -> Result<Loaded, Faults> {
    match examine_source(source, env, flags) {
        (loaded, faults) if faults.is_empty() => Ok(loaded),
        (_, faults) => Err(Faults::in_order(faults)),
    }
}

fn examine_source(
    source: Option<Source<'_>>,
    env: &[(OsString, OsString)],
    flags: &[Setting],
) -> (Loaded, Vec<Fault>) {
    let mut build = Build::new(source);
    let blank = build
        .source
        .as_ref()
        .is_some_and(|source| is_blank(source.text));
    walk::apply(&mut build);
    layers::variables(&mut build, env);
    layers::flags(&mut build, flags);
    if let (true, Some(source)) = (blank, &build.source) {
        // One fault says it all: whatever else is missing, is missing because of this.
        let place = Place::File(source.path.clone());
        let hint =
            "write [app] with command = [\"./server\"], and [[listen]] with address = \":8080\"";
        let message = "the file is empty: it sets no key".to_owned();
        build.push(Fault {
            place,
            key: None,
            message,
            hint: Some(hint.into()),
            snippet: None,
        });
    } else {
        rules::check(&mut build);
    }
    let (mut origins, mut places) = (BTreeMap::new(), BTreeMap::new());
    for (key, at) in all_keys(&build) {
        if let Some(at) = at {
            places.insert(key.clone(), build.place(at));
        }
        origins.insert(key, at.map_or(Origin::Default, |at| build.origin(at)));
    }
    let (nowhere, _) = build.whole();
    let mut config = build.config;
    config.listen = build
        .listeners
        .into_iter()
        .map(|listener| listener.listen)
        .collect();
    let loaded = Loaded {
        config,
        origins,
        warnings: build.warnings,
        places,
        nowhere,
        broken: build.broken,
    };
    (loaded, build.faults)
}

/// The file cannot be read at all; what else is wrong is told as well.
fn with_upper_layers(mut faults: Faults, sources: &Sources) -> Faults {
    let mut build = Build::new(None);
    layers::variables(&mut build, &sources.env);
    layers::flags(&mut build, &sources.flags);
    faults.0.append(&mut build.faults);
    faults
}

fn is_blank(text: &str) -> bool {
    text.lines()
        .all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#'))
}

impl Faults {
    /// Each file by position, then variables, then flags, then what no layer said.
    pub fn in_order(mut faults: Vec<Fault>) -> Faults {
        fn rank(fault: &Fault) -> (u8, Option<&Path>, usize, usize) {
            match &fault.place {
                Place::At { file, line, column } => (0, Some(file), *line, *column),
                Place::File(_) => (1, None, 0, 0),
                Place::Variable { .. } => (2, None, 0, 0),
                Place::Flag { .. } => (3, None, 0, 0),
                Place::Nowhere => (4, None, 0, 0),
            }
        }
        faults.sort_by(|a, b| rank(a).cmp(&rank(b)));
        Faults(faults)
    }
}

/// Every key of this version, and where its value was said.
fn all_keys<'b>(build: &'b Build<'_>) -> Vec<(String, Option<&'b At>)> {
    let configs = keys().filter(|key| matches!(key.store, Store::Config { .. }));
    let mut all: Vec<_> = configs
        .map(|key| (key.path.to_owned(), build.set.get(key.path)))
        .collect();
    for (index, listener) in build.listeners.iter().enumerate() {
        for key in keys().filter(|key| matches!(key.store, Store::Listen { .. })) {
            let path = format!("listen[{index}].{}", key.name());
            all.push((path, listener.set.get(key.name())));
        }
    }
    all
}
