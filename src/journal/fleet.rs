//! The fleet as values: what is written of it after each event, and how it is read.
//!
//! Times are the fleet's own ([`Moment`]), in nanoseconds; whoever reads them knows what they count from.

use std::collections::BTreeMap;
use std::time::Duration;

use minicbor::Decode;

use super::records::{
    GenerationRecord, TimerRecord, core_of, core_record, count, generation_of, generation_record,
    nanos, slot_of, slot_record,
};
use super::table::{Key, Table, encoded};
use crate::fleet::{Core, Fleet, Generation, GenerationNumber, Moment, Timer, WorkerId};

/// Kinds of keys, from 1 to 31; timers begin at 16.
const CORE: u16 = 1;
const GENERATION: u16 = 2;
const SLOT: u16 = 3;

/// Why values are no fleet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misread {
    /// This value is not what its key says.
    #[error("the value of {0:?} cannot be read")]
    Value(Key),
    /// A word that only a later version knows.
    #[error("{0:?} holds the {1} {2}, which this version does not know")]
    Unknown(Key, &'static str, u8),
    /// A slot is missing.
    #[error("generation {0} lacks its slot {1}")]
    NoSlot(GenerationNumber, u32),
}

/// A fleet as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// What there is once.
    pub core: Core,
    /// The generations, oldest first.
    pub generations: Vec<Generation>,
    /// The timers, and when they are due; not those of watchdogs.
    pub deadlines: Vec<(Timer, Moment)>,
}

/// What of a fleet is in the table, to tell what changed: an event changes little of a large one.
#[derive(Debug, Default)]
pub struct Mirror {
    core: Option<Core>,
    generations: BTreeMap<GenerationNumber, Generation>,
    deadlines: BTreeMap<Timer, Moment>,
}

impl Mirror {
    /// Puts into the table what is different now.
    pub fn follow(&mut self, fleet: &Fleet, table: &mut Table) {
        let core = fleet.core();
        if self.core.as_ref() != Some(&core) {
            table.put(key(CORE, 0, 0), encoded(&core_record(&core)));
            self.core = Some(core);
        }
        let gone = |number: &GenerationNumber| fleet.generation(*number).is_none();
        let gone: Vec<_> = self.generations.keys().copied().filter(gone).collect();
        for number in gone {
            self.forget(number, table);
        }
        for generation in fleet.generations() {
            self.follow_generation(generation, table);
        }
        self.follow_timers(fleet, table);
    }

    fn forget(&mut self, number: GenerationNumber, table: &mut Table) {
        let held = self.generations.remove(&number);
        table.remove(key(GENERATION, number, 0));
        for slot in 0..held.map_or(0, |held| count(&held.slots)) {
            table.remove(key(SLOT, number, slot));
        }
    }

    fn follow_generation(&mut self, generation: &Generation, table: &mut Table) {
        let number = generation.number;
        let held = self.generations.get(&number);
        if held == Some(generation) {
            return;
        }
        let before = held.map_or(&[][..], |held| &held.slots);
        for (at, slot) in (0u32..).zip(&generation.slots) {
            if before.get(at as usize) != Some(slot) {
                table.put(key(SLOT, number, at), encoded(&slot_record(slot)));
            }
        }
        let record = encoded(&generation_record(generation));
        table.put(key(GENERATION, number, 0), record);
        self.generations.insert(number, generation.clone());
    }

    fn follow_timers(&mut self, fleet: &Fleet, table: &mut Table) {
        let kept = || fleet.deadlines().filter(|(timer, _)| is_kept(*timer));
        let before = self.deadlines.iter();
        if kept().eq(before.map(|(timer, due)| (*timer, *due))) {
            return;
        }
        let mut now = BTreeMap::new();
        now.extend(kept());
        for timer in self.deadlines.keys() {
            if !now.contains_key(timer) {
                table.remove(timer_key(*timer).0);
            }
        }
        for (timer, due) in &now {
            if self.deadlines.get(timer) != Some(due) {
                let (key, life) = timer_key(*timer);
                let due = nanos(*due);
                table.put(key, encoded(&TimerRecord { due, life }));
            }
        }
        self.deadlines = now;
    }
}

/// The fleet that the table holds; none when it holds none.
///
/// # Errors
/// When a value cannot be read, or says what this version does not know.
pub fn saved(table: &Table) -> Result<Option<Saved>, Misread> {
    let at = key(CORE, 0, 0);
    let Some(bytes) = table.get(at) else {
        return Ok(None);
    };
    let core = core_of(at, decoded(at, bytes)?)?;
    let mut generations = Vec::new();
    for (at, bytes) in table.all(GENERATION) {
        let record: GenerationRecord = decoded(at, bytes)?;
        let number = u32::try_from(at.of).map_err(|_| Misread::Value(at))?;
        let mut slots = Vec::new();
        for slot in 0..record.slots {
            let at = key(SLOT, number, slot);
            let bytes = table.get(at).ok_or(Misread::NoSlot(number, slot))?;
            slots.push(slot_of(at, &decoded(at, bytes)?)?);
        }
        generations.push(generation_of(at, number, slots, &record)?);
    }
    let mut deadlines = Vec::new();
    for (kind, _) in TIMERS {
        for (at, bytes) in table.all(kind) {
            let record: TimerRecord = decoded(at, bytes)?;
            let timer = timer_of(at, record.life).ok_or(Misread::Value(at))?;
            deadlines.push((timer, Duration::from_nanos(record.due)));
        }
    }
    Ok(Some(Saved {
        core,
        generations,
        deadlines,
    }))
}

fn key(kind: u16, generation: GenerationNumber, slot: u32) -> Key {
    let of = generation.into();
    let part = slot;
    Key { kind, of, part }
}

fn decoded<'a, T: Decode<'a, ()>>(at: Key, bytes: &'a [u8]) -> Result<T, Misread> {
    minicbor::decode(bytes).map_err(|_| Misread::Value(at))
}

/// A watchdog's moves with every sign of life, of which nobody hears while no master runs: it begins anew.
fn is_kept(timer: Timer) -> bool {
    !matches!(timer, Timer::Watchdog(_))
}

/// Makes a timer from a worker's id, whose generation is all that some need.
type OfWorker = fn(WorkerId) -> Timer;

/// The kinds of keys of timers.
const TIMERS: [(u16, OfWorker); 9] = [
    (16, Timer::Ready),
    (17, Timer::Respawn),
    (18, Timer::Kill),
    (19, Timer::Settled),
    (20, |id| Timer::Bake(id.generation)),
    (21, |id| Timer::Canary(id.generation)),
    (22, |id| Timer::Undo(id.generation)),
    (23, |_| Timer::StopDelay),
    (24, |_| Timer::Abandon),
];

fn timer_key(timer: Timer) -> (Key, u32) {
    let of_worker = |kind, id: WorkerId| (key(kind, id.generation, id.slot), id.life);
    match timer {
        Timer::Ready(id) => of_worker(16, id),
        Timer::Respawn(id) => of_worker(17, id),
        Timer::Kill(id) => of_worker(18, id),
        Timer::Settled(id) => of_worker(19, id),
        Timer::Bake(number) => (key(20, number, 0), 0),
        Timer::Canary(number) => (key(21, number, 0), 0),
        Timer::Undo(number) => (key(22, number, 0), 0),
        Timer::StopDelay => (key(23, 0, 0), 0),
        Timer::Abandon => (key(24, 0, 0), 0),
        // It is not kept.
        Timer::Watchdog(id) => of_worker(25, id),
    }
}

fn timer_of(at: Key, life: u32) -> Option<Timer> {
    let (_, timer) = TIMERS.iter().find(|(kind, _)| *kind == at.kind)?;
    Some(timer(WorkerId {
        generation: u32::try_from(at.of).ok()?,
        slot: at.part,
        life,
    }))
}
