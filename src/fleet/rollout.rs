//! One rollout (upgrade, reload or rollback), or the scaling of the active
//! generation, as a table: what a happening means in a given phase.

use super::types::{Failure, GenerationNumber, Kind, OperationId, Plan, ReleaseId, Request};

/// Where a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// There is none.
    Idle,
    /// It is asked whether the new generation may start; nothing of it runs.
    Preparing,
    /// The new generation's workers are becoming ready.
    Starting,
    /// All of them are ready and are watched beside the old generation.
    Baking,
    /// A few of them baked and stand beside the whole old generation.
    Canary,
    /// A batch of them baked, and the old workers that it replaces are ending.
    Replacing,
    /// The active generation gets more workers; nothing is rolled out.
    Scaling,
    /// It failed, and its workers are being ended.
    Undoing,
}

/// What may happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Turn {
    /// A call for a release that equals the rollout's and cannot change, in the
    /// same steps.
    SameRequest,
    /// A call for any other release.
    OtherRequest,
    /// The new generation may start.
    Prepared,
    /// The last worker that was waited for became ready.
    AllReady,
    /// A worker of the new generation was lost, or something else speaks
    /// against it.
    Against,
    /// The time of the bake is over.
    BakeDue,
    /// What was asked about the ready workers speaks for them.
    Approved,
    /// The old workers that a batch replaced are gone.
    Replaced,
    /// Somebody wants it forward now.
    Promote,
    /// Somebody wants it back now.
    Abort,
    /// The canary stood for as long as it may.
    CanaryDue,
    /// Somebody wants another number of workers.
    Scale,
    /// The failed generation is gone, or the old one is whole again.
    Undone,
    /// The undo takes too long.
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
    /// Start the workers that come next.
    Launch,
    /// Watch them for the bake.
    Bake,
    /// When time and approval are there: activate it, let the canary stand, or
    /// let the old workers of the batch drain.
    Advance,
    /// End the bake or the canary, forward.
    Promote,
    /// Undo it.
    Undo,
    /// It is being undone: do not try again, and answer when it is gone.
    Desist,
    /// When all is as it was: answer, or try again.
    Conclude,
    /// It is not undone: say so.
    GiveUp,
    /// Change the number of workers.
    Scale,
    /// The number of workers is reached.
    Settle,
    /// The number of workers is not reached: back to what was.
    TakeBack,
    /// Not possible: nothing is under way.
    RefuseIdle,
    /// Not possible: it is not ready.
    RefuseUnready,
    /// Not possible: it is being undone.
    RefuseUndoing,
    /// Not possible: a canary stands.
    RefuseCanary,
    /// Not possible: an upgrade is under way.
    RefuseBusy,
}

/// Every phase, for tests and for the table in the docs.
pub const PHASES: [Phase; 8] = [
    Phase::Idle,
    Phase::Preparing,
    Phase::Starting,
    Phase::Baking,
    Phase::Canary,
    Phase::Replacing,
    Phase::Scaling,
    Phase::Undoing,
];

/// Every turn, for tests and for the table in the docs.
pub const TURNS: [Turn; 14] = [
    Turn::SameRequest,
    Turn::OtherRequest,
    Turn::Prepared,
    Turn::AllReady,
    Turn::Against,
    Turn::BakeDue,
    Turn::Approved,
    Turn::Replaced,
    Turn::Promote,
    Turn::Abort,
    Turn::CanaryDue,
    Turn::Scale,
    Turn::Undone,
    Turn::UndoDue,
];

/// The table.
pub fn turn(phase: Phase, turn: Turn) -> Move {
    use Phase as P;
    use Turn as T;
    match turn {
        T::SameRequest => match phase {
            P::Idle => Move::Begin,
            P::Preparing | P::Starting | P::Baking | P::Replacing => Move::Join,
            P::Canary => Move::RefuseCanary,
            // What is being undone has failed; a call that comes now wants a new try.
            P::Scaling | P::Undoing => Move::Queue,
        },
        T::OtherRequest => match phase {
            P::Idle => Move::Begin,
            P::Canary => Move::RefuseCanary,
            P::Preparing | P::Starting | P::Baking | P::Replacing => Move::Queue,
            P::Scaling | P::Undoing => Move::Queue,
        },
        T::Prepared => only(phase == P::Preparing, Move::Launch),
        T::AllReady => match phase {
            P::Starting => Move::Bake,
            P::Scaling => Move::Settle,
            P::Idle | P::Preparing | P::Baking => Move::Nothing,
            P::Canary | P::Replacing | P::Undoing => Move::Nothing,
        },
        T::Against => match phase {
            P::Preparing | P::Starting | P::Baking | P::Canary | P::Replacing => Move::Undo,
            P::Scaling => Move::TakeBack,
            P::Idle | P::Undoing => Move::Nothing,
        },
        T::BakeDue | T::Approved => only(phase == P::Baking, Move::Advance),
        T::Replaced => only(phase == P::Replacing, Move::Launch),
        T::Promote => match phase {
            P::Idle | P::Scaling => Move::RefuseIdle,
            P::Preparing | P::Starting | P::Replacing => Move::RefuseUnready,
            P::Baking | P::Canary => Move::Promote,
            P::Undoing => Move::RefuseUndoing,
        },
        T::Abort => match phase {
            P::Idle | P::Scaling => Move::RefuseIdle,
            P::Preparing | P::Starting | P::Baking | P::Canary | P::Replacing => Move::Undo,
            P::Undoing => Move::Desist,
        },
        T::CanaryDue => only(phase == P::Canary, Move::Undo),
        T::Scale => match phase {
            P::Idle | P::Scaling => Move::Scale,
            P::Canary => Move::RefuseCanary,
            P::Preparing | P::Starting | P::Baking => Move::RefuseBusy,
            P::Replacing | P::Undoing => Move::RefuseBusy,
        },
        T::Undone => only(phase == P::Undoing, Move::Conclude),
        T::UndoDue => only(phase == P::Undoing, Move::GiveUp),
    }
}

/// What counts in one phase and is late news in every other.
fn only(there: bool, then: Move) -> Move {
    if there { then } else { Move::Nothing }
}

/// Whether the new generation has to be approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    /// It has to be, and nobody was asked yet.
    Shut,
    /// The answer is waited for.
    Asked,
    /// It is, or need not be.
    Open,
}

/// The one that runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rollout {
    /// Where it is.
    pub phase: Phase,
    /// The new generation.
    pub target: GenerationNumber,
    /// With the plan as it is now: a promoted canary's is [`Plan::Whole`].
    pub request: Request,
    /// Whether it has to be approved.
    pub gate: Gate,
    /// Who waits for the answer.
    pub waiters: Vec<OperationId>,
    /// Those who said `abort`.
    pub aborters: Vec<OperationId>,
    /// Why it failed, once it did.
    pub failure: Option<Failure>,
    /// It failed, and what it replaced is started again.
    pub restores: bool,
    /// How often it is tried again when it fails.
    pub retries: u32,
}

impl Rollout {
    /// Whoever makes this call wants what is under way.
    pub(super) fn is_what(&self, request: &Request) -> bool {
        let this = (self.request.release, self.request.plan);
        request.fixed && this == (request.release, request.plan)
    }
}

/// The number of the active generation's workers is growing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scaling {
    /// The generation that grows.
    pub target: GenerationNumber,
    /// How many there are again when it fails.
    pub from: u32,
    /// Who waits for the answer.
    pub waiter: OperationId,
}

/// The one that waits for the running one to end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Queued {
    /// What was asked for.
    pub request: Request,
    /// Who waits for the answer.
    pub waiters: Vec<OperationId>,
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

    pub(super) fn plan(&self) -> Plan {
        self.request.plan
    }
}
