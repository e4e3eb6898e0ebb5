//! The vocabulary: identities, what happens (events), what is to be done
//! (effects), and how an operation ended (outcomes).

use std::fmt;
use std::time::Duration;

use super::timers::Timer;

/// A point in time: how long after an arbitrary, fixed origin. The fleet has
/// no clock; whoever drives it says what time it is.
pub type Moment = Duration;

/// The number of a generation; the first is 1 and numbers are never reused.
pub type GenerationNumber = u32;

/// One process in one slot of a generation.
///
/// Shown as `GENERATION.SLOT`. `life` tells a respawned worker from the one
/// before it in the same slot, so that late news of a dead one changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId {
    /// The generation that it belongs to.
    pub generation: GenerationNumber,
    /// Its place in the generation, from 0.
    pub slot: u32,
    /// How often this slot was started before.
    pub life: u32,
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.slot)
    }
}

/// A release as the driver numbered it: two equal numbers are the same release
/// in the sense of "One at a time" (same argv, environment, directory, files).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseId(pub u32);

/// Somebody waits for an answer to this; every one gets exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub u64);

/// Why a new generation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A new generation, whatever runs now.
    Upgrade,
    /// A new generation only when the release differs from the active one's.
    Reload,
    /// A new generation of the release that this earlier generation ran.
    Rollback {
        /// The earlier generation.
        to: GenerationNumber,
    },
    /// A new generation of the release that is active when its turn comes: the old one's
    /// workers cannot see what was changed below them. Any other call that waits serves as well.
    Renew,
}

/// A call for a new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// Who waits for the answer.
    pub operation: OperationId,
    /// What is to run.
    pub release: ReleaseId,
    /// What the release names cannot change under its name any more: everything
    /// is pinned by descriptor. Only such a call may join a running upgrade.
    pub fixed: bool,
    /// Upgrade, reload or rollback.
    pub kind: Kind,
    /// In which steps the old generation is replaced.
    pub plan: Plan,
}

/// In which steps a new generation takes the old one's place. The first
/// generation replaces none, so it is always [`Plan::Whole`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Plan {
    /// All of its workers at once.
    #[default]
    Whole,
    /// So many workers (at least 1, at most all) stand beside the whole old
    /// generation until somebody promotes or aborts.
    Canary(u32),
    /// So many workers (at least 1) at a time: the old ones of a batch drain
    /// when the new ones baked.
    Rolling(u32),
}

/// How many workers the active generation shall have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scale {
    /// So many, at least 1.
    To(u32),
    /// One more than now.
    Up,
    /// One fewer than now, never below 1.
    Down,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A new generation is asked for (also the first).
    Request(Request),
    /// End a bake early, or let a canary grow.
    Promote(OperationId),
    /// End a start, a bake or a canary, back.
    Abort(OperationId),
    /// Change the number of the active generation's workers.
    Scale {
        /// Who waits for the answer.
        operation: OperationId,
        /// How many.
        to: Scale,
    },
    /// What [`Effect::Prepare`] asked for is done: the generation may start.
    Prepared(GenerationNumber),
    /// What [`Effect::Approve`] asked for speaks for the generation.
    Approved(GenerationNumber),
    /// Drain and end everything.
    Stop {
        /// Who waits, if anyone. A signal has nobody, and a second signal ends
        /// everything at once.
        operation: Option<OperationId>,
        /// Do not drain.
        now: bool,
    },
    /// The worker serves.
    Ready(WorkerId),
    /// The worker asks for more time to start.
    Extend(WorkerId, Duration),
    /// The worker says that it is alive (`WATCHDOG=1`).
    Ping(WorkerId),
    /// The worker lives but is not fit.
    Fault(WorkerId, Fault),
    /// The worker's process is gone, or could not be started.
    Exited(WorkerId, Ending),
    /// Something other than one worker speaks against this generation.
    Against(GenerationNumber, Fault),
    /// A timer that was set is due.
    Due(Timer),
}

/// How a process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The program could not be started at all.
    NotStarted,
    /// It ran and is gone.
    Ended,
}

/// What can be wrong with a worker that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It said `WATCHDOG=trigger`.
    Unfit,
    /// Connections wait on a listener and nobody takes them.
    QueueNotTaken,
    /// A signal stopped it.
    Stopped,
    /// It did not answer its health check.
    Unanswered,
    /// It answered its health check, and said no.
    Unhealthy,
    /// What was asked before or after the start said no.
    HookFailed,
}

/// What made a generation fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The program could not be started.
    NotStarted,
    /// A worker ended before it was ready.
    ExitedBeforeReady,
    /// A worker was not ready in time.
    ReadyTimeout,
    /// A worker that had been ready ended during the bake, or while it waited
    /// for the other workers of its generation.
    ExitedInBake,
    /// A worker stopped sending `WATCHDOG=1`.
    WatchdogMissed,
    /// Something else that was seen.
    Fault(Fault),
    /// Somebody said `abort`.
    Aborted,
    /// Nobody promoted the canary in time.
    NotPromoted,
}

/// Why a generation failed, and which worker showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Failure {
    /// The worker, where it was one.
    pub worker: Option<WorkerId>,
    /// What happened.
    pub cause: Cause,
}

/// What is to be done. The order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Start this worker from this release.
    Launch(WorkerId, ReleaseId),
    /// Tell the worker to finish what it has and end.
    Drain(WorkerId),
    /// End the worker and its whole process group now.
    Kill(WorkerId),
    /// Ask whether this generation may start; [`Event::Prepared`] or
    /// [`Event::Against`] answers.
    Prepare(GenerationNumber),
    /// Ask whether this generation, whose first workers are ready, may go on;
    /// [`Event::Approved`] or [`Event::Against`] answers.
    Approve(GenerationNumber),
    /// The answer to an operation.
    Answer(OperationId, Outcome),
    /// Something to be told to people.
    Tell(Note),
    /// Nothing is left; the master may end. With a failure when the first
    /// generation never became ready.
    Finish(Option<Failure>),
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// This generation is active.
    Active(GenerationNumber),
    /// This generation stands as a canary; the active one is unchanged.
    Canary(GenerationNumber),
    /// The active generation has so many workers now, all that were added are ready.
    Scaled(u32),
    /// The workers that were to be added are taken back: it has so many, as before.
    NotScaled(u32, Failure),
    /// Nothing to do: this generation runs the same release already.
    Unchanged(GenerationNumber),
    /// The generation failed and everything is as before.
    Failed(GenerationNumber, Failure),
    /// The generation failed and could not be wholly undone.
    NotUndone(GenerationNumber, Failure),
    /// A newer call for another release took the queued place, or a newer call
    /// wants another number of workers.
    Superseded,
    /// The abort is done; the failed generation is gone.
    Aborted(GenerationNumber),
    /// The service stops, or has stopped, before this could be done.
    Stopping,
    /// A stop that was asked for is complete.
    Stopped,
    /// Not possible now.
    Refused(Refusal),
}

/// Why an operation is not possible now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No upgrade is under way.
    NothingUnderWay,
    /// The new generation is not ready yet, so it cannot be promoted.
    NotReadyYet,
    /// The generation failed and is being undone, so it cannot be promoted.
    BeingUndone,
    /// The first generation has nothing to go back to.
    NothingBefore,
    /// A canary stands: promote or abort it first.
    CanaryStands,
    /// An upgrade or the first start is under way, so the number of workers
    /// stays as it is.
    UpgradeUnderWay,
}

/// What people are told of the fleet's own decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Note {
    /// A new generation is being started.
    Starting(GenerationNumber, ReleaseId),
    /// It gets more workers, so many in all.
    Growing(GenerationNumber, u32),
    /// All of its workers are ready; they are watched for this long.
    Baking(GenerationNumber, Duration),
    /// So many of its workers stand as a canary, for this long at most (0: for
    /// as long as nobody says anything).
    Canary(GenerationNumber, u32, Duration),
    /// The old generation keeps so many workers; the others finish.
    Replacing(GenerationNumber, u32),
    /// The old generation's workers that were replaced are started again.
    Restoring(GenerationNumber),
    /// The active generation is to have so many workers.
    Scaling(GenerationNumber, u32),
    /// It has so many, and those that were added are ready.
    Scaled(GenerationNumber, u32),
    /// It keeps so many: those that were added are taken back.
    NotScaled(GenerationNumber, u32, Failure),
    /// It is the active one now.
    Active(GenerationNumber),
    /// It was told to finish, within this time at most.
    Draining(GenerationNumber, Duration),
    /// It failed.
    Failed(GenerationNumber, Failure),
    /// It failed, but its ready workers stay: no other worker is ready (F1).
    Held(GenerationNumber),
    /// Its last process is gone.
    Ended(GenerationNumber),
    /// Too many generations drain: this one's deadline became now.
    CutShort(GenerationNumber),
    /// A worker is started again after this long, for the n-th time in a row.
    Respawn(WorkerId, Duration, u32),
    /// A worker failed so often in a row that somebody should look.
    CrashLoop(WorkerId, u32),
    /// A worker is ended because it is not fit.
    Unfit(WorkerId, Cause),
    /// It goes on serving until another one is ready: nobody else is (F1).
    Stays(WorkerId),
    /// It is not well and not replaced yet: as many that were replaced before it still finish as the
    /// generation has workers. Told each time that it is said to be unwell.
    Waits(WorkerId),
    /// This call gets the answer of the rollout that runs, of this generation.
    Joined(OperationId, GenerationNumber),
    /// This call waits for the rollout that runs.
    Queued(OperationId),
    /// A failed generation is tried again (so many tries are left).
    Retry(u32),
    /// A stop was asked for; everything serves on for this long first.
    StopDelayed(Duration),
    /// Processes did not end although they were killed.
    Abandoned,
}
