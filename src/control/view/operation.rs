//! `GET /v1/operations/ID`, and what every `POST` answers.

use serde::{Deserialize, Serialize};

use super::words;
use crate::control::{Caller, Timestamp};

/// Something that was asked of the master and takes its time.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationView {
    /// Unique over the life of the service.
    pub id: String,
    /// What was asked.
    pub kind: OperationKind,
    /// Where it stands.
    pub state: OperationState,
    /// How it ended; null before.
    pub result: Option<OperationResult>,
    /// Why it ended so, for people; null when it is `done`.
    pub reason: Option<String>,
    /// What can be done about it, where that is known.
    #[serde(default)]
    pub hint: Option<String>,
    /// The operation that brings the same release already: this one shares its answer.
    #[serde(default)]
    pub joined: Option<String>,
    /// Who asked.
    pub by: Caller,
    /// What made the master ask by itself: `on_change`, or `listener_replaced` (a broken socket that had to be bound anew,
    /// which running workers do not see).
    #[serde(default)]
    pub cause: Option<String>,
    /// The label that the caller gave, or the one of the release that a rollback goes back to.
    pub label: Option<String>,
    /// The generation that was active when it began: the one that serves as
    /// before when it failed.
    pub from: Option<u32>,
    /// The generation that it makes, or ends with.
    pub to: Option<u32>,
    /// When it was asked for, queued or not.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Whether nothing that it replaced runs any more. Until then `--drained`
    /// waits; true at once when the operation failed or replaced nothing.
    pub drained: bool,
    /// Whether there was nothing to do (a reload whose release did not change).
    pub unchanged: bool,
    /// It failed, and no worker of the generation before it is ready either: nobody serves.
    #[serde(default)]
    pub unserved: bool,
    /// It failed, and these workers of the generation before it were started again from files that changed since that one
    /// began: they run what is there now, and not what ran before. `warnings` says which files and what to do.
    #[serde(default)]
    pub changed_workers: Vec<String>,
    /// Workers of the new generation; of a `scale`, how many there are now.
    pub workers: Option<u32>,
    /// Of a `scale`: how many there were to be when it was asked for.
    #[serde(default)]
    pub workers_from: Option<u32>,
    /// Of a `scale`: how many it asks for.
    #[serde(default)]
    pub workers_to: Option<u32>,
    /// Whether it ended with a canary that stands beside `from`, until promoted or aborted. One that comes to nothing
    /// then ends as `aborted` or `failed` after all, with the reason.
    #[serde(default)]
    pub canary: bool,
    /// After which time nobody's promoting it aborts it, in milliseconds; null: never.
    #[serde(default)]
    pub canary_timeout_ms: Option<u64>,
    /// From the first launch to the last readiness, in milliseconds.
    pub ready_ms: Option<u64>,
    /// The evidence that made the last of them ready.
    pub ready_by: Option<String>,
    /// How long it baked, in milliseconds.
    pub bake_ms: Option<u64>,
    /// How much of the bake a promotion saved, in milliseconds; null where it came to its end.
    #[serde(default)]
    pub bake_left_ms: Option<u64>,
    /// The generation whose release a rollback goes back to.
    #[serde(default)]
    pub back_to: Option<u32>,
    /// What changed in the config and is in force now: keys, and what a living socket took ("listener http: backlog
    /// 4096 to 1024").
    #[serde(default)]
    pub applied: Vec<String>,
    /// What changed in the config and what only the next generation will know of: where nothing of the release
    /// changed, so that none was made.
    #[serde(default)]
    pub pending: Vec<String>,
    /// How long the replaced generation may drain, in milliseconds; null when
    /// none drains.
    pub drain_timeout_ms: Option<u64>,
    /// The worker that made it fail.
    pub failed_worker: Option<String>,
    /// That worker's last lines, 20 at most.
    pub log_tail: Vec<String>,
    /// What the caller should know although it did not fail.
    pub warnings: Vec<String>,
}

impl OperationView {
    /// An operation that was just asked for, by `by`, and waits for its turn.
    #[must_use]
    pub fn new(id: impl Into<String>, kind: OperationKind, by: Caller) -> Self {
        Self {
            id: id.into(),
            kind,
            state: OperationState::Queued,
            result: None,
            reason: None,
            hint: None,
            joined: None,
            by,
            cause: None,
            label: None,
            from: None,
            to: None,
            started_at: Timestamp::now(),
            ended_at: None,
            duration_ms: None,
            drained: false,
            unchanged: false,
            unserved: false,
            changed_workers: Vec::new(),
            workers: None,
            workers_from: None,
            workers_to: None,
            canary: false,
            canary_timeout_ms: None,
            ready_ms: None,
            ready_by: None,
            bake_ms: None,
            bake_left_ms: None,
            back_to: None,
            applied: Vec::new(),
            pending: Vec::new(),
            drain_timeout_ms: None,
            failed_worker: None,
            log_tail: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Ends it now with `result`. Unless it is [`OperationResult::Done`],
    /// nothing is left to drain on its account.
    pub fn end(&mut self, result: OperationResult, reason: Option<String>) {
        let now = Timestamp::now();
        self.state = OperationState::Ended;
        self.result = Some(result);
        self.reason = reason;
        self.ended_at = Some(now);
        let took = now.since(self.started_at).as_millis();
        self.duration_ms = Some(u64::try_from(took).unwrap_or(u64::MAX));
        self.drained |= result != OperationResult::Done;
    }

    /// Whether it ended, well or not.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state == OperationState::Ended
    }
}

/// What was asked of the master.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// A new generation.
    Upgrade,
    /// A new generation of an earlier release.
    Rollback,
    /// The end of a bake or a canary, forward.
    Promote,
    /// The end of the running operation, back.
    Abort,
    /// A new generation where the release changed.
    Reload,
    /// Another number of workers.
    Scale,
    /// The end of the service.
    Stop,
    /// A kind of a newer version.
    #[cfg_attr(test, schemars(skip))]
    #[serde(other)]
    Unknown,
}

words!(OperationKind {
    Upgrade => "upgrade",
    Rollback => "rollback",
    Promote => "promote",
    Abort => "abort",
    Reload => "reload",
    Scale => "scale",
    Stop => "stop",
    Unknown => "unknown",
});

/// Where an operation stands.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Another one runs.
    Queued,
    /// It is under way.
    Running,
    /// It has its result.
    Ended,
    /// A state of a newer version.
    #[cfg_attr(test, schemars(skip))]
    #[serde(other)]
    Unknown,
}

words!(OperationState {
    Queued => "queued",
    Running => "running",
    Ended => "ended",
    Unknown => "unknown",
});

/// How an operation ended. The command's exit code follows from it.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationResult {
    /// As it was asked (exit code 0).
    Done,
    /// It failed, and everything is as before (1).
    Failed,
    /// Somebody aborted it, and everything is as before (1).
    Aborted,
    /// It was not begun (1).
    Refused,
    /// A newer one took its place in the queue (3).
    Superseded,
    /// It failed and could not be wholly undone: `status` says what runs (6).
    Incomplete,
    /// A result of a newer version.
    #[cfg_attr(test, schemars(skip))]
    #[serde(other)]
    Unknown,
}

words!(OperationResult {
    Done => "done",
    Failed => "failed",
    Aborted => "aborted",
    Refused => "refused",
    Superseded => "superseded",
    Incomplete => "incomplete",
    Unknown => "unknown",
});
