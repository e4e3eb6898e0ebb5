//! What a master keeps beside the fleet: plain values, which the master fills in and reads.
//!
//! Times of a clock are milliseconds since 1970; moments are nanoseconds of the fleet's own clock
//! ([`Moment`](crate::fleet::Moment)), of which [`Service::origin_ns`] tells what they count from. A field's number means the same for ever; a field
//! that is added is an `Option` or has `#[cbor(default)]`, so that what an earlier version wrote is read.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::fleet::Misread;
use super::table::{Key, Table, encoded};

/// A value that has a kind of key of its own.
pub trait Value: Encode<()> + for<'a> Decode<'a, ()> {
    /// Its kind: a number that is never used again. 1 to 31 are the fleet's.
    const KIND: u16;
}

/// What there is once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Service {
    /// The service's name.
    #[n(0)]
    pub name: String,
    /// When its first master began.
    #[n(1)]
    pub started_at: u64,
    /// What the fleet's clock counts from, on CLOCK_MONOTONIC, in nanoseconds.
    #[n(2)]
    pub origin_ns: u64,
    /// The number of the operation that comes next, and what tells this service's from those of another start.
    #[n(3)]
    pub operations: (u64, u64),
    /// The number of the last event.
    #[n(4)]
    pub last_event: u64,
    /// How often workers were started again.
    #[n(5)]
    pub restarts: u64,
    /// Soft and hard limit of open files before a master raised its own: what workers get.
    #[n(6)]
    pub nofile: (u64, u64),
    /// Workers that somebody asked for instead of the config's, who, and what the config said then (none: `auto`).
    #[n(7)]
    pub scaled: Option<Scaled>,
    /// The number of the release that comes next.
    #[n(8)]
    pub next_release: u32,
}

/// A number of workers that is not the config's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Scaled {
    /// So many.
    #[n(0)]
    pub workers: u32,
    /// User and process that asked.
    #[n(1)]
    pub by: (u32, i32),
    /// What the config said; none: `auto`.
    #[n(2)]
    pub against: Option<u32>,
}

/// A release that may still be launched; `of` is its number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Release {
    /// As `process::Release` gives itself.
    #[n(0)]
    pub release: ByteVec,
    /// The config of how its workers are watched and told to end, as `config::Config` gives itself.
    #[n(1)]
    pub manner: ByteVec,
    /// The programs of its probes, for readiness and for health.
    #[n(2)]
    pub errands: (Option<ByteVec>, Option<ByteVec>),
    /// What remains in force when it serves.
    #[n(3)]
    pub sticky: ByteVec,
    /// The listeners that its workers get.
    #[n(4)]
    pub lineup: Lineup,
}

/// Listeners in the order in which workers get them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lineup {
    /// The number of each, and the entry as which it is known.
    #[n(0)]
    pub members: Vec<(u64, ByteVec)>,
    /// The config's entries that they are.
    #[n(1)]
    pub entries: Vec<ByteVec>,
}

/// A listener; `of` is its number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Listener {
    /// As `sockets::Listener` gives itself.
    #[n(0)]
    pub listener: ByteVec,
}

/// A generation as the master holds it; `of` is its number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Generation {
    /// The number of its release.
    #[n(0)]
    pub release: u32,
    /// What people call it.
    #[n(1)]
    pub label: Option<String>,
    /// When it began.
    #[n(2)]
    pub started_at: u64,
    /// That it starts is told when its first worker is launched.
    #[n(3)]
    pub to_be_told: Option<ToBeTold>,
    /// How the last of its workers became ready: after how many milliseconds, and by which sign.
    #[n(4)]
    pub ready: Option<(u64, String)>,
    /// Since when it bakes, for how long that was planned, and how long it took once it is over.
    #[n(5)]
    pub bake: Option<(u64, u64, Option<u64>)>,
    /// Why it failed.
    #[n(6)]
    pub failure: Option<Failure>,
    /// By slot: the life that a restart began, and the how many-th in a row it was.
    #[n(7)]
    pub restarts: Vec<(u32, u32, u32)>,
    /// It was active.
    #[n(8)]
    pub was_active: bool,
    /// Since when it drains.
    #[n(9)]
    pub drains_since: Option<u64>,
    /// Connections that were cut, where that is known.
    #[n(10)]
    pub cut: Option<u64>,
    /// What people were told once: bit 0 changed files, 1 a signal that is not handled, 2 what a check leaves behind.
    #[n(11)]
    pub told: u8,
}

/// A start that nobody was told of yet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ToBeTold {
    /// Whose it is.
    #[n(0)]
    pub operation: Option<String>,
}

/// What is told of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Failure {
    /// Why, in words.
    #[n(0)]
    pub reason: String,
    /// What its author can do.
    #[n(1)]
    pub hint: Option<String>,
    /// An event said that already.
    #[n(2)]
    pub hint_told: bool,
    /// The worker that showed it.
    #[n(3)]
    pub worker: Option<String>,
    /// Its last lines.
    #[n(4)]
    pub log_tail: Vec<String>,
}

/// The config that was in force when a generation began; `of` is its number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BeganWith {
    /// As `config::Config` gives itself.
    #[n(0)]
    pub config: ByteVec,
}

/// The worker in a slot; `of` is its generation, `part` the slot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Worker {
    /// How often the slot was started before.
    #[n(0)]
    pub life: u32,
    /// It and all its descendants carry this.
    #[n(1)]
    pub nonce: String,
    /// Its number and when it began (field 22 of `/proc/PID/stat`); none: it may have been started, and nobody was told yet.
    #[n(2)]
    pub process: Option<(i32, u64)>,
    /// When it was launched.
    #[n(3)]
    pub launched: u64,
    /// The launcher has said that the program was executed.
    #[n(4)]
    pub reported: bool,
    /// After how many milliseconds it was ready, and by which sign.
    #[n(5)]
    pub ready: Option<(u64, String)>,
    /// What it said last with `STATUS=`.
    #[n(6)]
    pub status: Option<String>,
    /// When it was told to end.
    #[n(7)]
    pub told: Option<u64>,
    /// It was killed.
    #[n(8)]
    pub killed: bool,
    /// Why handover ended it, where that was its own fault.
    #[n(9)]
    pub unfit: Option<String>,
    /// Another process that it named as its main one.
    #[n(10)]
    pub main: Option<i32>,
    /// Its control group's path.
    #[n(11)]
    pub group: Option<ByteVec>,
    /// It has a listener of its own for probes, at this number.
    #[n(12)]
    pub probe: Option<u32>,
    /// The names of the descriptors that it stored, in their order.
    #[n(13)]
    pub stored: Vec<String>,
}

/// An operation that runs, waits, or ended; `of` is its number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Operation {
    /// As the control API shows it, as JSON.
    #[n(0)]
    pub view: String,
    /// It needs nothing more: it is history.
    #[n(1)]
    pub ended: bool,
}

/// The config in force, and the one that was read last.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Config {
    /// As `config::Loaded` gives itself.
    #[n(0)]
    pub loaded: ByteVec,
    /// As `config::Config` gives itself.
    #[n(1)]
    pub said: ByteVec,
}

/// How upgrades ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Tally {
    /// How many succeeded, failed, and rolled back.
    #[n(0)]
    pub counts: (u64, u64, u64),
    /// When one ended so last: 0, 1 or 2 as above, and the time.
    #[n(1)]
    pub last: Vec<(u8, u64)>,
    /// How long they took: the count in each bucket, and the sum in seconds as bits.
    #[n(2)]
    pub took: (Vec<u64>, u64),
}

macro_rules! kinds {
    ($($type:ident = $kind:literal,)*) => {
        $(impl Value for $type {
            const KIND: u16 = $kind;
        })*
    };
}

kinds! {
    Service = 32,
    Config = 33,
    Tally = 34,
    Listener = 35,
    Release = 36,
    Generation = 37,
    BeganWith = 38,
    Worker = 39,
    Operation = 40,
}

impl Table {
    /// The value becomes this one.
    pub fn keep<T: Value>(&mut self, of: u64, part: u32, value: &T) {
        let kind = T::KIND;
        self.put(Key { kind, of, part }, encoded(value));
    }

    /// There is no such value any more.
    pub fn forget<T: Value>(&mut self, of: u64, part: u32) {
        let kind = T::KIND;
        self.remove(Key { kind, of, part });
    }

    /// A value, where there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kept<T: Value>(&self, of: u64, part: u32) -> Result<Option<T>, Misread> {
        let kind = T::KIND;
        let key = Key { kind, of, part };
        let bytes = self.get(key);
        bytes.map(|bytes| read(key, bytes)).transpose()
    }

    /// All values of a type, in the order of their keys.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn all_kept<T: Value>(&self) -> Result<Vec<(Key, T)>, Misread> {
        let all = self.all(T::KIND);
        all.map(|(key, bytes)| Ok((key, read(key, bytes)?)))
            .collect()
    }
}

fn read<T: Value>(key: Key, bytes: &[u8]) -> Result<T, Misread> {
    minicbor::decode(bytes).map_err(|_| Misread::Value(key))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
