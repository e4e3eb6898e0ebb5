//! What is written of the fleet, field by field. A field's number means the same for ever.

use std::time::Duration;

use minicbor::{Decode, Encode};

use super::fleet::Misread;
use super::numbers::{Numbered, Paired};
use super::table::Key;
use crate::fleet::rollout::{Gate, Phase, Queued, Rollout, Scaling};
use crate::fleet::{
    Cause, Core, Failure, Generation, GenerationNumber, Good, OperationId, Process, ReleaseId,
    Request, Slot, Stage, State, WorkerId,
};

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct CoreRecord {
    #[n(0)]
    seed: u64,
    #[n(1)]
    stage: u8,
    #[n(2)]
    active: Option<u32>,
    #[n(3)]
    next_number: u32,
    #[n(4)]
    rollout: Option<RolloutRecord>,
    #[n(5)]
    scaling: Option<ScalingRecord>,
    #[n(6)]
    queued: Option<QueuedRecord>,
    #[n(7)]
    stop_waiters: Vec<u64>,
    #[n(8)]
    stop_signalled: bool,
    #[n(9)]
    fatal: Option<FailureRecord>,
    #[n(10)]
    good: Vec<GoodRecord>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct RequestRecord {
    #[n(0)]
    operation: u64,
    #[n(1)]
    release: u32,
    #[n(2)]
    fixed: bool,
    #[n(3)]
    kind: (u8, u32),
    #[n(4)]
    plan: (u8, u32),
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct RolloutRecord {
    #[n(0)]
    phase: u8,
    #[n(1)]
    target: u32,
    #[n(2)]
    request: RequestRecord,
    #[n(3)]
    gate: u8,
    #[n(4)]
    waiters: Vec<u64>,
    #[n(5)]
    aborters: Vec<u64>,
    #[n(6)]
    failure: Option<FailureRecord>,
    #[n(7)]
    restores: bool,
    #[n(8)]
    retries: u32,
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct ScalingRecord {
    #[n(0)]
    target: u32,
    #[n(1)]
    from: u32,
    #[n(2)]
    waiter: u64,
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct QueuedRecord {
    #[n(0)]
    request: RequestRecord,
    #[n(1)]
    waiters: Vec<u64>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct FailureRecord {
    /// Generation, slot and life.
    #[n(0)]
    worker: Option<(u32, u32, u32)>,
    #[n(1)]
    cause: u8,
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct GoodRecord {
    #[n(0)]
    number: u32,
    #[n(1)]
    release: u32,
    #[n(2)]
    stands_for: u32,
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct GenerationRecord {
    #[n(0)]
    release: u32,
    #[n(1)]
    state: u8,
    #[n(2)]
    size: u32,
    #[n(3)]
    restoring: bool,
    #[n(4)]
    stands_in: bool,
    #[n(5)]
    stands_for: u32,
    #[n(6)]
    watchdog: Option<u64>,
    #[n(7)]
    drain_deadline: Option<u64>,
    /// How many slots it has.
    #[n(8)]
    pub(super) slots: u32,
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct SlotRecord {
    #[n(0)]
    life: u32,
    #[n(1)]
    process: u8,
    #[n(2)]
    wanted: bool,
    #[n(3)]
    added: bool,
    #[n(4)]
    losses: u32,
    #[n(5)]
    dismissed: bool,
}

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct TimerRecord {
    #[n(0)]
    pub(super) due: u64,
    /// Of the worker, where it is one's.
    #[n(1)]
    pub(super) life: u32,
}

fn word<T: Numbered>(at: Key, what: &'static str, number: u8) -> Result<T, Misread> {
    T::of(number).ok_or(Misread::Unknown(at, what, number))
}

pub(super) fn count(slots: &[Slot]) -> u32 {
    u32::try_from(slots.len()).unwrap_or(u32::MAX)
}

/// 584 years; nothing lasts longer.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn numbers(operations: &[OperationId]) -> Vec<u64> {
    operations.iter().map(|operation| operation.0).collect()
}

fn operations(numbers: Vec<u64>) -> Vec<OperationId> {
    numbers.into_iter().map(OperationId).collect()
}

pub(super) fn core_record(core: &Core) -> CoreRecord {
    let good = core.good.iter().map(|good| GoodRecord {
        number: good.number,
        release: good.release.0,
        stands_for: good.stands_for,
    });
    CoreRecord {
        seed: core.seed,
        stage: core.stage.number(),
        active: core.active,
        next_number: core.next_number,
        rollout: core.rollout.as_ref().map(rollout_record),
        scaling: core.scaling.as_ref().map(|scaling| ScalingRecord {
            target: scaling.target,
            from: scaling.from,
            waiter: scaling.waiter.0,
        }),
        queued: core.queued.as_ref().map(|queued| QueuedRecord {
            request: request_record(&queued.request),
            waiters: numbers(&queued.waiters),
        }),
        stop_waiters: numbers(&core.stop_waiters),
        stop_signalled: core.stop_signalled,
        fatal: core.fatal.as_ref().map(failure_record),
        good: good.collect(),
    }
}

pub(super) fn core_of(at: Key, record: CoreRecord) -> Result<Core, Misread> {
    let scaling = record.scaling.map(|scaling| Scaling {
        target: scaling.target,
        from: scaling.from,
        waiter: OperationId(scaling.waiter),
    });
    let queued = record.queued.map(|queued| {
        Ok(Queued {
            request: request_of(at, &queued.request)?,
            waiters: operations(queued.waiters),
        })
    });
    let rollout = record.rollout.map(|rollout| rollout_of(at, rollout));
    let fatal = record.fatal.map(|failure| failure_of(at, &failure));
    let good = record.good.into_iter().map(|good| Good {
        number: good.number,
        release: ReleaseId(good.release),
        stands_for: good.stands_for,
    });
    Ok(Core {
        seed: record.seed,
        stage: word::<Stage>(at, "stage", record.stage)?,
        active: record.active,
        next_number: record.next_number,
        rollout: rollout.transpose()?,
        scaling,
        queued: queued.transpose()?,
        stop_waiters: operations(record.stop_waiters),
        stop_signalled: record.stop_signalled,
        fatal: fatal.transpose()?,
        good: good.collect(),
    })
}

fn request_record(request: &Request) -> RequestRecord {
    RequestRecord {
        operation: request.operation.0,
        release: request.release.0,
        fixed: request.fixed,
        kind: request.kind.pair(),
        plan: request.plan.pair(),
    }
}

fn request_of(at: Key, record: &RequestRecord) -> Result<Request, Misread> {
    let unknown = |what, (number, _): (u8, u32)| Misread::Unknown(at, what, number);
    Ok(Request {
        operation: OperationId(record.operation),
        release: ReleaseId(record.release),
        fixed: record.fixed,
        kind: Paired::of_pair(record.kind).ok_or(unknown("kind of request", record.kind))?,
        plan: Paired::of_pair(record.plan).ok_or(unknown("plan", record.plan))?,
    })
}

fn rollout_record(rollout: &Rollout) -> RolloutRecord {
    RolloutRecord {
        phase: rollout.phase.number(),
        target: rollout.target,
        request: request_record(&rollout.request),
        gate: rollout.gate.number(),
        waiters: numbers(&rollout.waiters),
        aborters: numbers(&rollout.aborters),
        failure: rollout.failure.as_ref().map(failure_record),
        restores: rollout.restores,
        retries: rollout.retries,
    }
}

fn rollout_of(at: Key, record: RolloutRecord) -> Result<Rollout, Misread> {
    let failure = record.failure.map(|failure| failure_of(at, &failure));
    Ok(Rollout {
        phase: word::<Phase>(at, "phase", record.phase)?,
        target: record.target,
        request: request_of(at, &record.request)?,
        gate: word::<Gate>(at, "gate", record.gate)?,
        waiters: operations(record.waiters),
        aborters: operations(record.aborters),
        failure: failure.transpose()?,
        restores: record.restores,
        retries: record.retries,
    })
}

fn failure_record(failure: &Failure) -> FailureRecord {
    let worker = failure.worker.map(|id| (id.generation, id.slot, id.life));
    FailureRecord {
        worker,
        cause: failure.cause.number(),
    }
}

fn failure_of(at: Key, record: &FailureRecord) -> Result<Failure, Misread> {
    let worker = record.worker.map(|(generation, slot, life)| WorkerId {
        generation,
        slot,
        life,
    });
    Ok(Failure {
        worker,
        cause: word::<Cause>(at, "cause", record.cause)?,
    })
}

pub(super) fn generation_record(generation: &Generation) -> GenerationRecord {
    GenerationRecord {
        release: generation.release.0,
        state: generation.state.number(),
        size: generation.size,
        restoring: generation.restoring,
        stands_in: generation.stands_in,
        stands_for: generation.stands_for,
        watchdog: generation.watchdog.map(nanos),
        drain_deadline: generation.drain_deadline.map(nanos),
        slots: count(&generation.slots),
    }
}

pub(super) fn generation_of(
    at: Key,
    number: GenerationNumber,
    slots: Vec<Slot>,
    record: &GenerationRecord,
) -> Result<Generation, Misread> {
    Ok(Generation {
        number,
        release: ReleaseId(record.release),
        state: word::<State>(at, "state", record.state)?,
        slots,
        size: record.size,
        restoring: record.restoring,
        stands_in: record.stands_in,
        stands_for: record.stands_for,
        watchdog: record.watchdog.map(Duration::from_nanos),
        drain_deadline: record.drain_deadline.map(Duration::from_nanos),
    })
}

pub(super) fn slot_record(slot: &Slot) -> SlotRecord {
    SlotRecord {
        life: slot.life,
        process: slot.process.number(),
        wanted: slot.wanted,
        added: slot.added,
        losses: slot.losses,
        dismissed: slot.dismissed,
    }
}

pub(super) fn slot_of(at: Key, record: &SlotRecord) -> Result<Slot, Misread> {
    Ok(Slot {
        life: record.life,
        process: word::<Process>(at, "state of a process", record.process)?,
        wanted: record.wanted,
        added: record.added,
        losses: record.losses,
        dismissed: record.dismissed,
    })
}
