//! What a key takes: its type, its bounds, and the words for both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::address::Address;
use super::field::{Field, choose};
use super::raw::{Item, Wrong, quote};
use super::signal::Signal;
use super::types::{InheritEnv, Probe, ReadyOn, Workers};

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Switch,
    Number {
        min: u64,
        max: u64,
    },
    Duration {
        min: Duration,
    },
    /// Bytes.
    Size {
        min: u64,
        max: u64,
    },
    /// A resource limit that counts: a number or "unlimited".
    CountLimit,
    /// A resource limit in bytes: a size or "unlimited".
    SizeLimit,
    Percent,
    /// CPUs, in parts.
    Cpus,
    /// Octal permissions, at most this.
    Mode {
        max: u32,
    },
    Choice(&'static [&'static str]),
    Text,
    /// A service's or a listener's name.
    Name,
    /// A user or a group.
    Account,
    Path,
    /// A program and its arguments, or any list of strings.
    /// With an example.
    Words(&'static str),
    /// Environment variables.
    Variables,
    Signal,
    Address,
    Workers,
    InheritEnv,
    ReadyOn,
    Probe,
}

impl Kind {
    /// For the reference and for "must be …".
    pub(crate) fn expects(&self) -> String {
        match self {
            Kind::Switch => "true or false".into(),
            Kind::Number { min, max } if *max >= u64::from(u32::MAX) => {
                format!("a whole number of at least {min}")
            }
            Kind::Number { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Duration { .. } => "a duration".into(),
            Kind::Size { .. } => "a size".into(),
            Kind::CountLimit => "a whole number or \"unlimited\"".into(),
            Kind::SizeLimit => "a size or \"unlimited\"".into(),
            Kind::Percent => "a percentage".into(),
            Kind::Cpus => "a number of CPUs".into(),
            Kind::Mode { .. } => "an octal mode".into(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Text => "a string".into(),
            Kind::Name => "a name".into(),
            Kind::Account => "a user's or group's name or number".into(),
            Kind::Path => "a path".into(),
            Kind::Words(_) => "a list of strings".into(),
            Kind::Variables => "a table of strings".into(),
            Kind::Signal => "a signal's name".into(),
            Kind::Address => "an address".into(),
            Kind::Workers => "a whole number of at least 1, or \"auto\"".into(),
            Kind::InheritEnv => "true, false or a list of names".into(),
            Kind::ReadyOn => {
                "one of auto, notify, accepting, http:PATH, exec:COMMAND, output:REGEX, stdout:REGEX, stderr:REGEX, uptime:DURATION".into()
            }
            Kind::Probe => "http:PATH or exec:COMMAND".into(),
        }
    }

    /// A value that fits, as TOML text.
    pub(crate) fn example(&self) -> String {
        match self {
            Kind::Switch => "true".into(),
            Kind::Number { min, max } => 8.clamp(*min, *max).to_string(),
            Kind::Duration { .. } => "\"30s\"".into(),
            Kind::Size { .. } => "\"64K\"".into(),
            Kind::SizeLimit => "\"512M\"".into(),
            Kind::CountLimit => "65536".into(),
            Kind::Percent => "\"1%\"".into(),
            Kind::Cpus => "1.5".into(),
            Kind::Mode { .. } => "\"0660\"".into(),
            Kind::Choice(words) => quote(words.first().unwrap_or(&"")),
            Kind::Text => "\"text\"".into(),
            Kind::Name => "\"web\"".into(),
            Kind::Account => "\"www-data\"".into(),
            Kind::Path => "\"/srv/web\"".into(),
            Kind::Words(example) => (*example).into(),
            Kind::Variables => "{ RUST_LOG = \"info\" }".into(),
            Kind::Signal => "\"TERM\"".into(),
            Kind::Address => "\":8080\"".into(),
            Kind::Workers => "2".into(),
            Kind::InheritEnv => "true".into(),
            Kind::ReadyOn => "\"auto\"".into(),
            Kind::Probe => "\"http:/healthz\"".into(),
        }
    }

    /// Reads any value of this kind and gives its one way to be written; `None` is unset.
    pub(crate) fn canonical(&self, item: &Item) -> Result<Option<String>, Wrong> {
        fn via<T: Field>(item: &Item, kind: &Kind) -> Result<Option<String>, Wrong> {
            Option::<T>::read(item, kind).map(|value| value.write(kind))
        }
        match self {
            Kind::Switch => via::<bool>(item, self),
            Kind::Number { .. }
            | Kind::Size { .. }
            | Kind::CountLimit
            | Kind::SizeLimit
            | Kind::Mode { .. } => via::<u64>(item, self),
            Kind::Duration { .. } => via::<Duration>(item, self),
            Kind::Percent | Kind::Cpus => via::<f64>(item, self),
            Kind::Choice(words) => choose(item, words).map(|word| Some(quote(word))),
            Kind::Text | Kind::Name | Kind::Account => via::<String>(item, self),
            Kind::Path => via::<PathBuf>(item, self),
            Kind::Words(_) => via::<Vec<String>>(item, self),
            Kind::Variables => via::<BTreeMap<String, String>>(item, self),
            Kind::Signal => via::<Signal>(item, self),
            Kind::Address => via::<Address>(item, self),
            Kind::Workers => via::<Workers>(item, self),
            Kind::InheritEnv => via::<InheritEnv>(item, self),
            Kind::ReadyOn => via::<ReadyOn>(item, self),
            Kind::Probe => via::<Probe>(item, self),
        }
    }
}
