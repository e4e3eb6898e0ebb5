//! Every kind of event: the one place that documents each.
//!
//! Kinds and fields are an interface: names are stable, fields may be added.
//! Durations are in milliseconds; `worker` is `GENERATION.SLOT`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Caller;
use super::view::{OperationKind, OperationResult};

/// Something that happened. In JSON: `{"seq", "at", "kind", …fields}`, `kind`
/// being the variant's name in snake_case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
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

    /// A generation was made: its first of `workers` workers is launched next.
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
    /// No process of it runs any more.
    GenerationEnded { generation: u32 },
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
    },
    /// Generation `from` was ready and is let go; `to` serves as before.
    Rollback {
        operation: Option<String>,
        from: u32,
        to: u32,
        reason: String,
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
    /// It finished what it had, `drain_ms` after it was told to.
    WorkerDrained {
        worker: String,
        generation: u32,
        drain_ms: u64,
    },
    /// It was killed: its deadline passed, or it missed its watchdog.
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

    /// A listener that was shut down or unlinked serves again; `what` says how.
    ListenerRepaired { listener: String, what: String },
    /// A listener is broken and could not be repaired.
    ListenerFailed { listener: String, reason: String },
    /// A worker changed a flag that all holders of the listener share.
    ListenerChanged { listener: String, what: String },

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
            | Self::CrashLoop { .. } => Severity::Error,
            Self::WorkerExited { expected, .. } if !expected => Severity::Warning,
            Self::OperationEnded { result, .. } if *result != OperationResult::Done => {
                Severity::Warning
            }
            Self::WorkerKilled { .. }
            | Self::WorkerElsewhere { .. }
            | Self::WorkerRestarting { .. }
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

/// The event as a sentence, for logs and terminals.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MasterStarted { pid, version } => write!(f, "handover {version} runs, pid {pid}"),
            Self::MasterStopping {
                by,
                drain_timeout_ms,
            } => {
                f.write_str("stopping")?;
                if let Some(by) = by {
                    write!(f, ", asked by {by}")?;
                }
                write!(f, "; drains {} at most", Span(*drain_timeout_ms))
            }
            Self::OperationQueued {
                operation,
                operation_kind,
                by,
            } => {
                write!(f, "{operation_kind} {operation} is queued, asked by {by}")
            }
            Self::OperationStarted {
                operation,
                operation_kind,
                by,
            } => {
                write!(f, "{operation_kind} {operation} began, asked by {by}")
            }
            Self::OperationEnded {
                operation,
                operation_kind,
                result,
                reason,
                duration_ms,
            } => {
                write!(
                    f,
                    "{operation_kind} {operation}: {result} after {}",
                    Span(*duration_ms)
                )?;
                because(f, reason.as_deref())
            }
            Self::ConfigRefused { reason } => {
                write!(f, "the config has a fault, nothing changed: {reason}")
            }
            Self::UpgradeFailed {
                generation,
                worker,
                serving,
                reason,
                ..
            } => {
                f.write_str("upgrade failed")?;
                if let Some(generation) = generation {
                    write!(f, ", generation {generation}")?;
                }
                if let Some(worker) = worker {
                    write!(f, ", worker {worker}")?;
                }
                write!(f, ": {reason}")?;
                match serving {
                    Some(serving) => write!(f, "; generation {serving} serves as before"),
                    None => Ok(()),
                }
            }
            Self::Rollback {
                from, to, reason, ..
            } => write!(
                f,
                "generation {from} is let go: {reason}; generation {to} serves as before"
            ),
            Self::ReleaseChanged { generation, files } => write!(
                f,
                "a worker of generation {generation} starts from files that changed: {}",
                files.join(", ")
            ),
            Self::ListenerRepaired { listener, what } => {
                write!(f, "listener {listener} was broken and is repaired: {what}")
            }
            Self::ListenerFailed { listener, reason } => {
                write!(f, "listener {listener} is broken: {reason}")
            }
            Self::ListenerChanged { listener, what } => write!(f, "listener {listener}: {what}"),
            Self::Warning { message } => f.write_str(message),
            Self::Gap { from, to } => write!(f, "events {from} to {to} are no longer kept"),
            Self::GenerationStarted { .. }
            | Self::BakeStarted { .. }
            | Self::GenerationActive { .. }
            | Self::GenerationDraining { .. }
            | Self::GenerationEnded { .. }
            | Self::GenerationFailed { .. } => self.fmt_generation(f),
            Self::WorkerLaunched { .. }
            | Self::WorkerReady { .. }
            | Self::WorkerStatus { .. }
            | Self::WorkerExited { .. }
            | Self::WorkerRestarting { .. }
            | Self::WorkerDrained { .. }
            | Self::WorkerKilled { .. }
            | Self::WorkerElsewhere { .. }
            | Self::CrashLoop { .. }
            | Self::OutputDropped { .. } => self.fmt_worker(f),
        }
    }
}

impl Event {
    fn fmt_generation(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GenerationStarted {
                generation,
                label,
                workers,
                ..
            } => {
                write!(
                    f,
                    "generation {generation} starts, {}",
                    Count(*workers, "worker")
                )?;
                match label {
                    Some(label) => write!(f, " ({label})"),
                    None => Ok(()),
                }
            }
            Self::BakeStarted {
                generation,
                bake_ms,
            } => {
                write!(
                    f,
                    "generation {generation} is ready and bakes for {}",
                    Span(*bake_ms)
                )
            }
            Self::GenerationActive { generation, .. } => {
                write!(f, "generation {generation} is active")
            }
            Self::GenerationDraining {
                generation,
                drain_timeout_ms,
                ..
            } => {
                write!(
                    f,
                    "generation {generation} drains, {} at most",
                    Span(*drain_timeout_ms)
                )
            }
            Self::GenerationEnded { generation } => write!(f, "generation {generation} ended"),
            Self::GenerationFailed {
                generation, reason, ..
            } => {
                write!(f, "generation {generation} failed: {reason}")
            }
            _ => Ok(()),
        }
    }

    fn fmt_worker(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkerLaunched { worker, pid, .. } => {
                write!(f, "worker {worker} launched, pid {pid}")
            }
            Self::WorkerReady {
                worker,
                ready_ms,
                ready_by,
                ..
            } => {
                write!(
                    f,
                    "worker {worker} is ready after {} by {ready_by}",
                    Span(*ready_ms)
                )
            }
            Self::WorkerStatus { worker, status, .. } => write!(f, "worker {worker}: {status}"),
            Self::WorkerExited {
                worker, pid, exit, ..
            } => {
                write!(f, "worker {worker} ended (pid {pid}): {exit}")
            }
            Self::WorkerRestarting {
                worker,
                restarts,
                delay_ms,
                ..
            } => write!(
                f,
                "worker {worker} starts again in {} (restart {restarts})",
                Span(*delay_ms)
            ),
            Self::WorkerDrained {
                worker, drain_ms, ..
            } => {
                write!(f, "worker {worker} drained in {}", Span(*drain_ms))
            }
            Self::WorkerKilled {
                worker,
                pid,
                reason,
                ..
            } => {
                write!(f, "worker {worker} was killed (pid {pid}): {reason}")
            }
            Self::WorkerElsewhere { worker, reason, .. } => {
                write!(f, "worker {worker}: {reason}")
            }
            Self::CrashLoop {
                worker,
                restarts,
                delay_ms,
                exit,
                ..
            } => write!(
                f,
                "worker {worker} ends again and again ({restarts} restarts, last: {exit}); it is \
                 started every {} at most",
                Span(*delay_ms)
            ),
            Self::OutputDropped { worker, lines, .. } => {
                write!(f, "{} of worker {worker} not kept", Count64(*lines, "line"))
            }
            _ => Ok(()),
        }
    }
}

fn because(f: &mut fmt::Formatter<'_>, reason: Option<&str>) -> fmt::Result {
    match reason {
        Some(reason) => write!(f, ": {reason}"),
        None => Ok(()),
    }
}

/// A span of milliseconds as people say it: `112 ms`, `1.2 s`, `20 s`, `5 min`.
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        let seconds = ms / 1000;
        // `count` of a unit, and the rest in the next smaller one.
        let mut two = |count: u64, unit: &str, rest: u64, smaller: &str| match rest {
            0 => write!(f, "{count} {unit}"),
            _ => write!(f, "{count} {unit} {rest} {smaller}"),
        };
        match ms {
            0..1000 => write!(f, "{ms} ms"),
            1000..10_000 => match ms % 1000 / 100 {
                0 => write!(f, "{seconds} s"),
                tenth => write!(f, "{seconds}.{tenth} s"),
            },
            10_000..120_000 => write!(f, "{seconds} s"),
            120_000..7_200_000 => two(seconds / 60, "min", seconds % 60, "s"),
            7_200_000..172_800_000 => two(seconds / 3600, "h", seconds / 60 % 60, "min"),
            _ => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
        }
    }
}

/// A number and its noun: `1 worker`, `2 workers`.
pub struct Count(pub u32, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Count64(u64::from(self.0), self.1).fmt(f)
    }
}

struct Count64(u64, &'static str);

impl fmt::Display for Count64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{plural}", self.0, self.1)
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
