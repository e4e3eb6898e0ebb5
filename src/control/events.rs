//! Every kind of event: the one place that documents each.
//!
//! Kinds and fields are an interface: names are stable, fields may be added.
//! Durations are in milliseconds; `worker` is `GENERATION.SLOT`.

mod sentence;
mod steps;

use serde::{Deserialize, Serialize};

use super::Caller;
use super::view::{OperationKind, OperationResult};

/// Something that happened. In JSON: `{"seq", "at", "kind", …fields}`, `kind`
/// being the variant's name in snake_case: [`EventView`](super::view::EventView)
/// lays the fields beside it. Tagging inside by serde would buffer each of
/// the variants by code of its own, a sixth of all that handover has of its own.
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(tag = "kind"))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant documents its fields")]
pub enum Event {
    /// The master runs: process `pid`, handover `version`.
    MasterStarted { pid: i32, version: String },
    /// The master drains and ends, within `drain_timeout_ms`; `by` is null
    /// when it decided so itself.
    MasterStopping {
        by: Option<Caller>,
        drain_timeout_ms: u64,
    },

    /// An operation waits for the one that runs.
    OperationQueued {
        operation: String,
        operation_kind: OperationKind,
        by: Caller,
    },
    /// An operation began.
    OperationStarted {
        operation: String,
        operation_kind: OperationKind,
        by: Caller,
    },
    /// An operation has its result; `reason` when it is not `done`. The last
    /// event of every operation.
    OperationEnded {
        operation: String,
        operation_kind: OperationKind,
        result: OperationResult,
        reason: Option<String>,
        duration_ms: u64,
    },
    /// A config, read again by a signal, has a fault; nothing changed.
    ConfigRefused { reason: String },

    /// The first of its `workers` workers is launched next. One that a hook refused before never starts.
    GenerationStarted {
        generation: u32,
        label: Option<String>,
        workers: u32,
        operation: Option<String>,
    },
    /// All its workers are ready; it is watched for `bake_ms` beside the old one.
    BakeStarted { generation: u32, bake_ms: u64 },
    /// It serves; `previous` drains next.
    GenerationActive {
        generation: u32,
        previous: Option<u32>,
    },
    /// Its workers were told to finish; it is ended after `drain_timeout_ms`.
    GenerationDraining {
        generation: u32,
        workers: u32,
        drain_timeout_ms: u64,
    },
    /// No process of it runs any more, `drain_ms` after it began to drain (null when it never did).
    /// `connections_cut`: what its workers held, as counted last, when they were killed at their
    /// deadline; null when that is not known. What a program closes itself is not cut.
    GenerationEnded {
        generation: u32,
        #[serde(default)]
        drain_ms: Option<u64>,
        #[serde(default)]
        connections_cut: Option<u64>,
    },
    /// It never became active; `worker` is the one that failed.
    GenerationFailed {
        generation: u32,
        worker: Option<String>,
        reason: String,
    },
    /// An upgrade (or rollback, or reload) failed and is undone; `serving` is
    /// the generation that serves as before.
    UpgradeFailed {
        operation: Option<String>,
        generation: Option<u32>,
        worker: Option<String>,
        serving: Option<u32>,
        reason: String,
        /// Workers of `serving` that were started again from files that changed, and so do not run what ran before.
        #[serde(default)]
        changed_workers: Vec<String>,
    },
    /// Generation `from` was ready and is let go; `to` serves as before.
    Rollback {
        operation: Option<String>,
        from: u32,
        to: u32,
        reason: String,
    },

    /// So many of its workers are ready and stay beside generation `active` until somebody promotes or aborts;
    /// aborted by itself after `timeout_ms`, null: never.
    CanaryStands {
        generation: u32,
        workers: u32,
        active: Option<u32>,
        timeout_ms: Option<u64>,
    },
    /// It gets `more` workers and has `workers` then: a canary was promoted, or the next batch starts.
    GenerationGrowing {
        generation: u32,
        workers: u32,
        more: u32,
    },
    /// Rolling: all but `left` of its workers were replaced and finish.
    WorkersReplaced { generation: u32, left: u32 },
    /// A rolling upgrade failed: so many of its workers that were replaced are started again.
    GenerationRestoring { generation: u32, workers: u32 },
    /// It is to have `workers`, `more` of which are started.
    ScaleStarted {
        generation: u32,
        workers: u32,
        more: u32,
    },
    /// It has so many workers now, and those that were added are ready.
    GenerationScaled { generation: u32, workers: u32 },
    /// Workers that were to be added failed; it keeps `workers`, as before.
    ScaleFailed {
        generation: u32,
        workers: u32,
        worker: Option<String>,
        reason: String,
    },
    /// A stop was asked for; everything serves on for `delay_ms` first (`drain.delay`).
    StopDelayed { delay_ms: u64 },
    /// The command of this hook (`pre_upgrade`, `post_ready`, `post_drain`, `on_failure`) runs.
    HookStarted { hook: String, generation: u32 },
    /// It ended with exit code 0.
    HookEnded {
        hook: String,
        generation: u32,
        duration_ms: u64,
    },
    /// It failed; `reason` follows on "the hook"; `vetoes` when the upgrade is undone for it.
    HookFailed {
        hook: String,
        generation: u32,
        reason: String,
        vetoes: bool,
    },

    /// A process was started in the worker's slot.
    WorkerLaunched {
        worker: String,
        generation: u32,
        pid: i32,
    },
    /// It serves, `ready_ms` after its launch, by the evidence `ready_by`.
    WorkerReady {
        worker: String,
        generation: u32,
        pid: i32,
        ready_ms: u64,
        ready_by: String,
    },
    /// What it said with `STATUS=`.
    WorkerStatus {
        worker: String,
        generation: u32,
        status: String,
    },
    /// Its process ended; `exit` says how ("exit code 3", "signal 9 (KILL)"),
    /// `expected` whether it had been told to.
    WorkerExited {
        worker: String,
        generation: u32,
        pid: i32,
        exit: String,
        expected: bool,
    },
    /// It is started again in `delay_ms`, for the `restarts`th time.
    WorkerRestarting {
        worker: String,
        generation: u32,
        restarts: u32,
        delay_ms: u64,
    },
    /// It ended, `drain_ms` after it was told to. `exit` says how, where that was not in order (a signal, or a status
    /// other than 0): then nobody knows what it left undone.
    WorkerDrained {
        worker: String,
        generation: u32,
        drain_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<String>,
    },
    /// It was killed: its deadline passed, it missed its watchdog, it went over a limit, or somebody else sent the
    /// signal before it had drained.
    WorkerKilled {
        worker: String,
        generation: u32,
        pid: i32,
        reason: String,
    },
    /// It listens somewhere else than on what it was given; `reason` says
    /// where, and what to type.
    WorkerElsewhere {
        worker: String,
        generation: u32,
        reason: String,
    },
    /// It failed its health check, the `failures`th time in a row; at
    /// `failures_max` it is replaced. Told of the 1st, 2nd, 4th, … and of the last.
    HealthFailed {
        worker: String,
        generation: u32,
        check: String,
        failures: u32,
        failures_max: u32,
        reason: String,
    },
    /// It passes its health check again, after so many failures.
    HealthRecovered {
        worker: String,
        generation: u32,
        check: String,
        failures: u32,
    },
    /// It ends again and again; it is started every `delay_ms` at most.
    CrashLoop {
        worker: String,
        generation: u32,
        restarts: u32,
        delay_ms: u64,
        exit: String,
    },
    /// Lines that it printed were not kept.
    OutputDropped {
        worker: String,
        generation: u32,
        lines: u64,
    },

    /// A worker is started again from files that changed since the upgrade.
    ReleaseChanged { generation: u32, files: Vec<String> },

    /// The program changed on disk (`upgrade.on_change`); `what` says what follows.
    ProgramChanged { path: String, what: String },

    /// A listener that was shut down or unlinked serves again; `what` says how.
    ListenerRepaired { listener: String, what: String },
    /// A listener is broken and could not be repaired.
    ListenerFailed { listener: String, reason: String },
    /// A worker changed a flag that all holders of the listener share; `usual`
    /// when many runtimes do it and hardly anybody notices.
    ListenerChanged {
        listener: String,
        what: String,
        #[serde(default)]
        usual: bool,
    },

    /// A listener was bound, for a config that was read again.
    ListenerOpened { listener: String, address: String },
    /// A listener was closed: no generation has it any more.
    ListenerClosed { listener: String, address: String },
    /// Metrics and health are served over TCP at another `address` since the config was read again; null: no longer.
    AdminListening { address: Option<String> },

    /// What a person should know and has no kind of its own.
    Warning { message: String },

    /// Only in a stream: events `from` to `to` are no longer kept; the reader
    /// was too slow, or asked for what is long past.
    Gap { from: u64, to: u64 },
}

/// How loudly an event is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Info,
    /// Something to look at.
    Warning,
    /// Something failed.
    Error,
}

impl Event {
    /// How loudly it is told, in logs and on a terminal.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::UpgradeFailed { .. }
            | Self::Rollback { .. }
            | Self::GenerationFailed { .. }
            | Self::ListenerFailed { .. }
            | Self::ConfigRefused { .. }
            | Self::ScaleFailed { .. }
            | Self::CrashLoop { .. } => Severity::Error,
            Self::WorkerExited { expected, .. } if !expected => Severity::Warning,
            Self::ListenerChanged { usual: true, .. } => Severity::Info,
            Self::OperationEnded { result, .. } if *result != OperationResult::Done => {
                Severity::Warning
            }
            Self::WorkerKilled { .. }
            | Self::GenerationRestoring { .. }
            | Self::HookFailed { .. }
            | Self::WorkerElsewhere { .. }
            | Self::WorkerRestarting { .. }
            | Self::HealthFailed { .. }
            | Self::OutputDropped { .. }
            | Self::ReleaseChanged { .. }
            | Self::ListenerRepaired { .. }
            | Self::ListenerChanged { .. }
            | Self::Warning { .. }
            | Self::Gap { .. } => Severity::Warning,
            _ => Severity::Info,
        }
    }
}

#[cfg(test)]
mod tests;
