//! A config over the end of a master: the values in force and where each came from, as bytes.
//!
//! The values are TOML, the rest CBOR (RFC 8949) in maps with numbered keys: a later version reads what an earlier one
//! wrote. The bytes hold values of variables, which are secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::effective::to_toml;
use super::fault::{Faults, Origin, Place};
use super::load::{Loaded, load_text};
use super::types::Config;

#[derive(Encode, Decode)]
#[cbor(map)]
struct Record {
    #[n(0)]
    toml: String,
    /// By key.
    #[n(1)]
    origins: BTreeMap<String, OriginRecord>,
    #[n(2)]
    file: Option<ByteVec>,
}

/// Where a value came from; a default stands nowhere.
#[derive(Encode, Decode)]
#[cbor(map)]
struct OriginRecord {
    /// The file, and its line.
    #[n(0)]
    file: Option<(ByteVec, u64)>,
    #[n(1)]
    variable: Option<String>,
    #[n(2)]
    flag: Option<String>,
}

/// Why bytes are no config of this version.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// They are not what `keep` gave.
    #[error("what is kept of the config cannot be read")]
    Bytes,
    /// They have a key or a value that this version does not know.
    #[error("what is kept of the config does not hold in this version:\n{0}")]
    Values(Faults),
}

impl Config {
    /// The values as bytes.
    #[must_use]
    pub fn keep(&self) -> Vec<u8> {
        to_toml(self).into_bytes()
    }

    /// The config that [`keep`](Self::keep) gave as `bytes`.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn recall(bytes: &[u8]) -> Result<Self, Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Bytes)?;
        of_text(text)
    }
}

impl Loaded {
    /// The values and where each came from, as bytes. Where each stands is not among them: that is for faults, which a config
    /// that is in force has none of.
    #[must_use]
    pub fn keep(&self) -> Vec<u8> {
        let mut origins = BTreeMap::new();
        for (key, origin) in &self.origins {
            if let Some(record) = record(origin) {
                origins.insert(key.clone(), record);
            }
        }
        let record = Record {
            toml: to_toml(&self.config),
            origins,
            file: self.file().map(bytes),
        };
        let mut bytes = Vec::new();
        // A vector takes whatever comes.
        drop(minicbor::encode(record, &mut bytes));
        bytes
    }

    /// The config that [`keep`](Self::keep) gave as `bytes`.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn recall(bytes: &[u8]) -> Result<Self, Unreadable> {
        let record: Record = minicbor::decode(bytes).map_err(|_| Unreadable::Bytes)?;
        let mut origins = BTreeMap::new();
        for (key, origin) in record.origins {
            origins.insert(key, of_record(origin));
        }
        Ok(Self {
            config: of_text(&record.toml)?,
            origins,
            warnings: Vec::new(),
            places: BTreeMap::new(),
            nowhere: record
                .file
                .map_or(Place::Nowhere, |file| Place::File(path(file))),
            broken: BTreeSet::new(),
        })
    }
}

fn of_text(text: &str) -> Result<Config, Unreadable> {
    let loaded = load_text(Path::new("(kept)"), text, &[], &[]);
    loaded
        .map(|loaded| loaded.config)
        .map_err(Unreadable::Values)
}

fn record(origin: &Origin) -> Option<OriginRecord> {
    let nothing = OriginRecord {
        file: None,
        variable: None,
        flag: None,
    };
    Some(match origin {
        Origin::Default => return None,
        Origin::File(file, line) => OriginRecord {
            file: Some((bytes(file), *line as u64)),
            ..nothing
        },
        Origin::Variable(name) => OriginRecord {
            variable: Some(name.clone()),
            ..nothing
        },
        Origin::Flag(name) => OriginRecord {
            flag: Some(name.clone()),
            ..nothing
        },
    })
}

fn of_record(record: OriginRecord) -> Origin {
    match (record.file, record.variable, record.flag) {
        (Some((file, line)), ..) => {
            Origin::File(path(file), usize::try_from(line).unwrap_or_default())
        }
        (None, Some(name), _) => Origin::Variable(name),
        (None, None, Some(name)) => Origin::Flag(name),
        (None, None, None) => Origin::Default,
    }
}

fn bytes(path: &Path) -> ByteVec {
    path.as_os_str().as_bytes().to_vec().into()
}

fn path(bytes: ByteVec) -> PathBuf {
    OsString::from_vec(bytes.into()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Setting, Value, effective};
    use super::*;

    #[test]
    fn a_config_is_the_same_after_it_was_kept() {
        let text = "name = \"web\"\n[app]\ncommand = [\"./server\"]\nworkers = 3\n\
                    env = { TOKEN = \"s3cret\" }\n[[listen]]\naddress = \"127.0.0.1:8080\"\n";
        let variable = ("HANDOVER_DRAIN__TIMEOUT".into(), "7s".into());
        let flag = Setting {
            key: "upgrade.bake".to_owned(),
            flag: "--bake".to_owned(),
            value: Value::Text("3s".to_owned()),
        };
        let file = Path::new("/etc/handover/web.toml");
        let before = load_text(file, text, &[variable], &[flag]).expect("it holds");
        let after = Loaded::recall(&before.keep()).expect("recalls");
        assert_eq!(before.config, after.config);
        assert_eq!(after.file(), Some(file));
        assert_eq!(
            effective(&before.config, &before.origins),
            effective(&after.config, &after.origins),
            "and so is where each value came from"
        );
        let config = Config::recall(&before.config.keep()).expect("recalls");
        assert_eq!(config, before.config);
    }

    #[test]
    fn what_this_version_does_not_know_is_refused() {
        let refused = Config::recall(b"[app]\ncommand = [\"a\"]\nlevitate = true\n");
        let said = refused.expect_err("refused").to_string();
        assert!(said.contains("does not hold in this version"), "{said}");
        assert!(said.contains("levitate"), "{said}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Loaded::recall(&bytes));
            drop(Config::recall(&bytes));
        }
    }
}
