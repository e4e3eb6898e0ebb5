//! Values by key, and the changes that lead to them.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// What a value is about: its kind, and which one of that kind.
///
/// Kinds are numbers that are never used again. One that a version does not know it leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Key {
    /// The kind.
    #[n(0)]
    pub kind: u16,
    /// Which one; for what belongs to a worker, its generation.
    #[n(1)]
    pub of: u64,
    /// Which part of it; for what belongs to a worker, its slot.
    #[n(2)]
    pub part: u32,
}

/// One change: a value, or that there is none any more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Change {
    #[n(0)]
    key: Key,
    #[n(1)]
    value: Option<ByteVec>,
}

/// Changes that count together.
#[derive(Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Batch {
    #[n(0)]
    changes: Vec<Change>,
}

/// All values that hold, and those of the changes that no file has yet.
#[derive(Debug, Default)]
pub struct Table {
    values: BTreeMap<Key, Vec<u8>>,
    pending: Batch,
}

impl Table {
    /// The value of this key becomes `value`. Nothing happens when it is that already.
    pub fn put(&mut self, key: Key, value: Vec<u8>) {
        if self.values.get(&key) == Some(&value) {
            return;
        }
        self.pending.changes.push(Change {
            key,
            value: Some(value.clone().into()),
        });
        self.values.insert(key, value);
    }

    /// There is no such value any more.
    pub fn remove(&mut self, key: Key) {
        if self.values.remove(&key).is_some() {
            self.pending.changes.push(Change { key, value: None });
        }
    }

    /// The value of this key.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&[u8]> {
        self.values.get(&key).map(Vec::as_slice)
    }

    /// All values of a kind, in the order of their keys.
    pub fn all(&self, kind: u16) -> impl Iterator<Item = (Key, &[u8])> + '_ {
        let first = |kind| Key {
            kind,
            of: 0,
            part: 0,
        };
        let range = match kind.checked_add(1) {
            Some(next) => self.values.range(first(kind)..first(next)),
            None => self.values.range(first(kind)..),
        };
        range.map(|(key, value)| (*key, value.as_slice()))
    }

    /// What is not in the file yet, as a payload; none when there is nothing.
    pub(super) fn changes(&self) -> Option<Vec<u8>> {
        (!self.pending.changes.is_empty()).then(|| encoded(&self.pending))
    }

    /// That is in the file now.
    pub(super) fn written(&mut self) {
        self.pending.changes.clear();
    }

    /// Everything, as a payload.
    pub(super) fn whole(&self) -> Vec<u8> {
        let values = self.values.iter();
        let changes = values.map(|(key, value)| Change {
            key: *key,
            value: Some(value.clone().into()),
        });
        encoded(&Batch {
            changes: changes.collect(),
        })
    }

    /// Takes a payload of a file; false when it is none.
    pub(super) fn take(&mut self, payload: &[u8]) -> bool {
        let Ok(batch) = minicbor::decode::<Batch>(payload) else {
            return false;
        };
        for Change { key, value } in batch.changes {
            match value {
                Some(value) => drop(self.values.insert(key, value.into())),
                None => drop(self.values.remove(&key)),
            }
        }
        true
    }
}

/// As CBOR.
pub(super) fn encoded(value: &impl Encode<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A vector takes whatever comes.
    drop(minicbor::encode(value, &mut bytes));
    bytes
}
