//! Events as sentences.

use std::fmt;

use super::Event;
use crate::control::{Count, Span};

/// The event as a sentence, for logs and terminals.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MasterStarted { .. } | Self::MasterStopping { .. } => self.fmt_master(f),
            Self::ConfigRefused { reason: why } => {
                write!(f, "the config has a fault, nothing changed: {why}")
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
            Self::ProgramChanged { path, what } => write!(f, "{path} changed on disk: {what}"),
            Self::AdminListening { address } => match address {
                Some(address) => write!(f, "metrics and health are served at {address}"),
                None => f.write_str("metrics and health are no longer served over TCP"),
            },
            Self::Warning { message: text } => f.write_str(text),
            Self::Gap { from, to } => write!(f, "events {from} to {to} are no longer kept"),
            Self::ListenerRepaired { .. }
            | Self::ListenerFailed { .. }
            | Self::ListenerChanged { .. }
            | Self::ListenerOpened { .. }
            | Self::ListenerClosed { .. } => self.fmt_listener(f),
            Self::OperationQueued { .. }
            | Self::OperationStarted { .. }
            | Self::OperationEnded { .. }
            | Self::UpgradeFailed { .. } => self.fmt_operation(f),
            Self::GenerationStarted { .. }
            | Self::BakeStarted { .. }
            | Self::GenerationActive { .. }
            | Self::GenerationDraining { .. }
            | Self::GenerationEnded { .. }
            | Self::GenerationFailed { .. } => self.fmt_generation(f),
            Self::CanaryStands { .. }
            | Self::GenerationGrowing { .. }
            | Self::WorkersReplaced { .. }
            | Self::GenerationRestoring { .. }
            | Self::ScaleStarted { .. }
            | Self::GenerationScaled { .. }
            | Self::ScaleFailed { .. }
            | Self::StopDelayed { .. }
            | Self::HookStarted { .. }
            | Self::HookEnded { .. }
            | Self::HookFailed { .. } => self.fmt_step(f),
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
            Self::HealthFailed { .. } | Self::HealthRecovered { .. } => self.fmt_health(f),
        }
    }
}

impl Event {
    fn fmt_master(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MasterStarted { pid, version } => write!(f, "handover {version} runs, pid {pid}"),
            Self::MasterStopping {
                by,
                drain_timeout_ms,
            } => {
                let by = by.map_or_else(String::new, |by| format!(", asked by {by}"));
                let most = Span(*drain_timeout_ms);
                match drain_timeout_ms {
                    0 => write!(f, "stopping{by}; ends at once, without a drain"),
                    _ => write!(f, "stopping{by}; drains {most} at most"),
                }
            }
            _ => Ok(()),
        }
    }

    fn fmt_operation(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
            Self::UpgradeFailed {
                generation,
                worker,
                serving,
                reason,
                changed_workers,
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
                    Some(_) if !changed_workers.is_empty() => Ok(()),
                    Some(serving) => write!(f, "; generation {serving} serves as before"),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn fmt_listener(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ListenerRepaired { listener, what } => {
                write!(f, "listener {listener} was broken and is repaired: {what}")
            }
            Self::ListenerFailed { listener, reason } => {
                write!(f, "listener {listener} is broken: {reason}")
            }
            Self::ListenerChanged { listener, what, .. } => {
                write!(f, "listener {listener}: {what}")
            }
            Self::ListenerOpened { listener, address } => {
                write!(f, "listener {listener} is bound to {address}")
            }
            Self::ListenerClosed { listener, address } => {
                write!(
                    f,
                    "listener {listener} ({address}) is closed: no generation has it any more"
                )
            }
            _ => Ok(()),
        }
    }

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
            Self::GenerationEnded {
                generation,
                drain_ms,
                connections_cut,
            } => {
                write!(f, "generation {generation} ended")?;
                if let Some(drain_ms) = drain_ms {
                    write!(f, " after {}", Span(*drain_ms))?;
                }
                match connections_cut {
                    Some(cut) => write!(f, "; {} cut", Count(*cut, "connection")),
                    None => Ok(()),
                }
            }
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
            Self::WorkerDrained { .. } | Self::WorkerKilled { .. } => self.fmt_end(f),
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
                "worker {worker} ends again and again ({restarts} restarts, last: {exit}); the pause before \
                 the next start grows to {} at most (restart.max_delay)",
                Span(*delay_ms)
            ),
            Self::OutputDropped { worker, lines, .. } => {
                write!(f, "{} of worker {worker} not kept", Count(*lines, "line"))
            }
            _ => Ok(()),
        }
    }

    fn fmt_end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkerDrained {
                worker,
                drain_ms,
                exit,
                ..
            } => match exit {
                None => write!(f, "worker {worker} drained in {}", Span(*drain_ms)),
                Some(exit) => write!(
                    f,
                    "worker {worker} ended {} after it was told to drain, and not in order: {exit}",
                    Span(*drain_ms)
                ),
            },
            Self::WorkerKilled {
                worker,
                pid,
                reason,
                ..
            } => {
                write!(f, "worker {worker} was killed (pid {pid}): {reason}")
            }
            _ => Ok(()),
        }
    }

    fn fmt_health(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HealthFailed {
                worker,
                check,
                failures,
                failures_max,
                reason,
                ..
            } => write!(
                f,
                "worker {worker} failed its health check {check}, {failures} of {failures_max}: {reason}"
            ),
            Self::HealthRecovered {
                worker,
                check,
                failures,
                ..
            } => write!(
                f,
                "worker {worker} passes its health check {check} again after {}",
                Count(*failures, "failure")
            ),
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
