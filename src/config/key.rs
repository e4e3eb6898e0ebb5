//! One key: everything that the layers, the reference and the diagnostics say comes from here.

use super::kind::Kind;
use super::raw::{Item, Wrong};
use super::types::{Config, Listen};

/// A key of the config.
#[derive(Debug)]
pub struct Key {
    /// Section and name: `app.workers`; a top-level key has its name only.
    pub path: &'static str,
    /// What it is for, in a line, with units.
    pub doc: &'static str,
    /// The value when nobody says anything, without quotes; empty: unset.
    pub default: &'static str,
    /// When a change takes effect.
    pub applies: Applies,
    pub(crate) kind: Kind,
    pub(crate) store: Store,
    /// Values other than the default come with a later version: what to do until then.
    pub(crate) later: Option<&'static str>,
    /// Values are never shown.
    pub(crate) secret: bool,
}

/// When a change of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// Part of the release: with the next generation.
    Release,
    /// At once, when the config is read again.
    Live,
    /// When the master starts.
    Restart,
}

type Set<T> = fn(&mut T, &Item, &Kind) -> Result<(), Wrong>;
type Write<T> = fn(&T, &Kind) -> Option<String>;

/// Where a key's value is kept.
#[derive(Debug)]
pub(crate) enum Store {
    Config {
        set: Set<Config>,
        write: Write<Config>,
    },
    Listen {
        set: Set<Listen>,
        write: Write<Listen>,
    },
    /// Nothing reads it yet: only the default is taken.
    Nowhere,
}

impl Key {
    /// With its path, what it is for and its default.
    pub(crate) const fn new(
        (path, doc, default): (&'static str, &'static str, &'static str),
        applies: Applies,
        kind: Kind,
        store: Store,
    ) -> Key {
        Key {
            path,
            doc,
            default,
            applies,
            kind,
            store,
            later: None,
            secret: false,
        }
    }

    /// `app` of `app.workers`; empty for a top-level key.
    pub fn section(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or("", |(section, _)| section)
    }

    /// `workers` of `app.workers`.
    pub fn name(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or(self.path, |(_, name)| name)
    }

    /// `HANDOVER_APP__WORKERS`; `None` for the keys of a `[[listen]]`, which `HANDOVER__LISTEN` replaces.
    pub fn variable(&self) -> Option<String> {
        (self.section() != "listen").then(|| variable_of(self.path))
    }

    /// The default as TOML text; `None`: unset.
    pub(crate) fn default_toml(&self) -> Option<String> {
        self.kind
            .canonical(&Item::word(self.default))
            .ok()
            .flatten()
            .filter(|_| !self.default.is_empty())
    }

    pub(crate) const fn later(self, instead: &'static str) -> Key {
        Key {
            later: Some(instead),
            ..self
        }
    }

    pub(crate) const fn applying(self, applies: Applies) -> Key {
        Key { applies, ..self }
    }

    pub(crate) const fn secret(self) -> Key {
        Key {
            secret: true,
            ..self
        }
    }
}

/// `HANDOVER_APP__WORKERS` for `app.workers`, `HANDOVER__ROUTE` for `route`.
pub(crate) fn variable_of(path: &str) -> String {
    let upper = path.to_uppercase().replace('.', "__");
    if path.contains('.') {
        format!("HANDOVER_{upper}")
    } else {
        format!("HANDOVER__{upper}")
    }
}

/// A key of the config with a field: `key!("app.workers", app.workers, Kind::Workers, "1", Release, "…")`.
macro_rules! key {
    ($path:literal, $($field:ident).+, $kind:expr, $default:literal, $applies:ident, $doc:literal) => {
        $crate::config::key::Key::new(
            ($path, $doc, $default),
            $crate::config::key::Applies::$applies,
            $kind,
            $crate::config::key::Store::Config {
                set: |config, item, kind| {
                    config.$($field).+ = $crate::config::field::Field::read(item, kind)?;
                    Ok(())
                },
                write: |config, kind| $crate::config::field::Field::write(&config.$($field).+, kind),
            },
        )
    };
}
pub(crate) use key;

/// A key of a `[[listen]]`.
macro_rules! listen_key {
    ($path:literal, $field:ident, $kind:expr, $default:literal, $doc:literal) => {
        $crate::config::key::Key::new(
            ($path, $doc, $default),
            $crate::config::key::Applies::Restart,
            $kind,
            $crate::config::key::Store::Listen {
                set: |listen, item, kind| {
                    listen.$field = $crate::config::field::Field::read(item, kind)?;
                    Ok(())
                },
                write: |listen, kind| $crate::config::field::Field::write(&listen.$field, kind),
            },
        )
    };
}
pub(crate) use listen_key;

/// A key that a later version brings.
macro_rules! later_key {
    ($path:literal, $kind:expr, $default:literal, $instead:expr, $doc:literal) => {
        $crate::config::key::Key::new(
            ($path, $doc, $default),
            $crate::config::key::Applies::Restart,
            $kind,
            $crate::config::key::Store::Nowhere,
        )
        .later($instead)
    };
}
pub(crate) use later_key;
