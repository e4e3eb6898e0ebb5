//! The table of keys: the only place that knows which there are.

mod later;
mod limits;
mod listen;
mod now;
mod routed;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::key::Key;

/// Sections in the order of the reference, each with what it is about.
pub(crate) const SECTIONS: &[(&str, &str)] = &[
    ("", "The service itself."),
    (
        "app",
        "What to run. A change of what runs, not of how many, makes a new release.",
    ),
    (
        "listen",
        "A socket; `[[listen]]` once for each, in the order of the worker's descriptors from 3.",
    ),
    ("ready", "When a worker counts as ready."),
    ("health", "Whether a ready worker still serves."),
    ("upgrade", "How a new generation replaces the old one."),
    ("drain", "How an old generation ends."),
    (
        "restart",
        "How fast a worker that died is started again, with full jitter.",
    ),
    (
        "limits",
        "Bounds of each worker: resource limits (setrlimit(2)) and control groups.",
    ),
    ("hooks", "Commands at certain moments, 30 seconds each."),
    ("log", "Where log lines and worker output go."),
    ("control", "Who may speak to the master."),
    ("admin", "Metrics and health over TCP."),
    (
        "router",
        "The HTTP front of the routes balance and session.",
    ),
    ("router.tls", "TLS at the router."),
    (
        "sessions",
        "Which requests belong together, and the workers that serve them.",
    ),
];

const TABLE: [&[Key]; 5] = [
    now::KEYS,
    listen::KEYS,
    limits::KEYS,
    later::KEYS,
    routed::KEYS,
];

/// Every key, in the order of the reference.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|(section, _)| {
        TABLE
            .iter()
            .flat_map(|keys| keys.iter())
            .filter(move |key| key.section() == *section)
    })
}

/// The key with this path (`app.workers`).
pub fn find(path: &str) -> Option<&'static Key> {
    static BY_PATH: OnceLock<BTreeMap<&'static str, &'static Key>> = OnceLock::new();
    BY_PATH
        .get_or_init(|| {
            let mut by_path = BTreeMap::new();
            by_path.extend(keys().map(|key| (key.path, key)));
            by_path
        })
        .get(path)
        .copied()
}

/// True for `app`, `router.tls` and what leads to them.
pub(crate) fn is_section(path: &str) -> bool {
    !path.is_empty() && SECTIONS.iter().any(|(section, _)| *section == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::key::Store;
    use crate::config::raw::Item;
    use crate::config::types::{Config, Listen};

    /// Every key stands in a section that the reference shows, once.
    #[test]
    fn every_key_is_reachable_and_unique() {
        let all: usize = TABLE.iter().map(|keys| keys.len()).sum();
        assert_eq!(
            keys().count(),
            all,
            "a key's section is missing in SECTIONS"
        );
        let mut paths: Vec<_> = keys().map(|key| key.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), all, "a key stands twice");
    }

    /// The default in the table is the default in the types.
    #[test]
    fn defaults_of_table_and_types_agree() {
        let config = Config::default();
        let listen = Listen::new("", ":0".parse().expect("valid"));
        for key in keys() {
            let written = match &key.store {
                Store::Config { write, .. } => write(&config, &key.kind),
                Store::Listen { .. } if matches!(key.path, "listen.name" | "listen.address") => {
                    continue;
                }
                Store::Listen { write, .. } => write(&listen, &key.kind),
                Store::Nowhere => key.default_toml(),
            };
            assert_eq!(written, key.default_toml(), "{}", key.path);
            if !key.default.is_empty() {
                assert!(
                    key.kind.canonical(&Item::word(key.default)).is_ok(),
                    "{}",
                    key.path
                );
            }
        }
    }

    #[test]
    fn docs_are_one_whole_sentence_or_more() {
        for key in keys() {
            assert!(
                !key.doc.contains('\n') && key.doc.ends_with(['.', '?']),
                "{}",
                key.path
            );
        }
    }
}
