//! One rollout (upgrade, reload or rollback) as a table: what a happening
//! means in a given phase. Canary and rolling are further phases of it.

use super::types::{Failure, GenerationNumber, Kind, OperationId, ReleaseId, Request};

/// Where a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// There is none.
    Idle,
    /// The new generation's workers are becoming ready.
    Starting,
    /// All of them are ready and are watched beside the old generation.
    Baking,
    /// It failed, and its workers are being ended.
    Undoing,
}

/// What may happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Turn {
    /// A call for a release that equals the rollout's and cannot change.
    SameRequest,
    /// A call for any other release.
    OtherRequest,
    /// The last worker of the new generation became ready.
    AllReady,
    /// A worker of the new generation was lost, or something else speaks
    /// against it.
    Against,
    /// The bake is over.
    BakeDue,
    /// Somebody wants it forward now.
    Promote,
    /// Somebody wants it back now.
    Abort,
    /// The last process of the failed generation is gone.
    Undone,
    /// The failed generation has been there for too long.
    UndoDue,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    /// Nothing: late news.
    Nothing,
    /// Begin it.
    Begin,
    /// Wait for the running one's answer.
    Join,
    /// Take the queued place.
    Queue,
    /// Watch it for the bake.
    Bake,
    /// Make it the active one and let the old one drain.
    Activate,
    /// Undo it.
    Undo,
    /// It is being undone: do not try again, and answer when it is gone.
    Desist,
    /// It is undone: answer, or try again.
    Conclude,
    /// It is not undone: say so.
    GiveUp,
    /// Not possible: nothing is under way.
    RefuseIdle,
    /// Not possible: it is not ready.
    RefuseUnready,
    /// Not possible: it is being undone.
    RefuseUndoing,
}

/// Every phase, for tests and for the table in the docs.
pub const PHASES: [Phase; 4] = [Phase::Idle, Phase::Starting, Phase::Baking, Phase::Undoing];

/// Every turn, for tests and for the table in the docs.
pub const TURNS: [Turn; 9] = [
    Turn::SameRequest,
    Turn::OtherRequest,
    Turn::AllReady,
    Turn::Against,
    Turn::BakeDue,
    Turn::Promote,
    Turn::Abort,
    Turn::Undone,
    Turn::UndoDue,
];

/// The table.
pub fn turn(phase: Phase, turn: Turn) -> Move {
    use Phase as P;
    use Turn as T;
    match (phase, turn) {
        (P::Idle, T::SameRequest | T::OtherRequest) => Move::Begin,
        (P::Starting | P::Baking, T::SameRequest) => Move::Join,
        (P::Starting | P::Baking, T::OtherRequest) => Move::Queue,
        // What is being undone has failed; a call that comes now wants a new try.
        (P::Undoing, T::SameRequest | T::OtherRequest) => Move::Queue,

        (P::Starting, T::AllReady) => Move::Bake,
        (P::Idle | P::Baking | P::Undoing, T::AllReady) => Move::Nothing,

        (P::Starting | P::Baking, T::Against) => Move::Undo,
        (P::Idle | P::Undoing, T::Against) => Move::Nothing,

        (P::Baking, T::BakeDue) => Move::Activate,
        (P::Idle | P::Starting | P::Undoing, T::BakeDue) => Move::Nothing,

        (P::Idle, T::Promote) => Move::RefuseIdle,
        (P::Starting, T::Promote) => Move::RefuseUnready,
        (P::Baking, T::Promote) => Move::Activate,
        (P::Undoing, T::Promote) => Move::RefuseUndoing,

        (P::Idle, T::Abort) => Move::RefuseIdle,
        (P::Starting | P::Baking, T::Abort) => Move::Undo,
        (P::Undoing, T::Abort) => Move::Desist,

        (P::Undoing, T::Undone) => Move::Conclude,
        (P::Idle | P::Starting | P::Baking, T::Undone) => Move::Nothing,

        (P::Undoing, T::UndoDue) => Move::GiveUp,
        (P::Idle | P::Starting | P::Baking, T::UndoDue) => Move::Nothing,
    }
}

/// The one that runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Rollout {
    pub(super) phase: Phase,
    pub(super) target: GenerationNumber,
    pub(super) request: Request,
    pub(super) waiters: Vec<OperationId>,
    /// Those who said `abort`.
    pub(super) aborters: Vec<OperationId>,
    pub(super) failure: Option<Failure>,
    pub(super) retries: u32,
}

/// The one that waits for the running one to end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Queued {
    pub(super) request: Request,
    pub(super) waiters: Vec<OperationId>,
}

impl Queued {
    pub(super) fn new(request: Request) -> Self {
        Self {
            request,
            waiters: vec![request.operation],
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.request.kind
    }

    pub(super) fn release(&self) -> ReleaseId {
        self.request.release
    }
}
