//! Sentences of what happens step by step: canaries, batches, scaling, hooks.

use std::fmt;

use super::Event;
use crate::control::{Count, Span};

impl Event {
    pub(super) fn fmt_step(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CanaryStands {
                generation,
                workers,
                active,
                timeout_ms,
            } => {
                let workers = Count(*workers, "worker");
                write!(f, "{workers} of generation {generation} stand as a canary")?;
                if let Some(active) = active {
                    write!(f, " beside generation {active}")?;
                }
                f.write_str(" until promoted or aborted")?;
                match timeout_ms {
                    Some(ms) => write!(f, ", for {} at most", Span(*ms)),
                    None => Ok(()),
                }
            }
            Self::GenerationGrowing {
                generation,
                workers,
                ..
            } => {
                let workers = Count(*workers, "worker");
                write!(f, "generation {generation} grows to {workers}")
            }
            Self::WorkersReplaced { generation, left } => {
                let left = Count(*left, "worker");
                write!(
                    f,
                    "generation {generation} keeps {left}, those that were replaced finish"
                )
            }
            Self::GenerationRestoring {
                generation,
                workers,
            } => {
                let workers = Count(*workers, "worker");
                write!(f, "generation {generation} gets {workers} back")
            }
            Self::ScaleStarted {
                generation,
                workers,
                ..
            } => {
                let workers = Count(*workers, "worker");
                write!(f, "generation {generation} is to have {workers}")
            }
            Self::GenerationScaled {
                generation,
                workers,
            } => {
                let workers = Count(*workers, "worker");
                write!(f, "generation {generation} has {workers} now")
            }
            Self::ScaleFailed {
                generation,
                workers,
                reason,
                ..
            } => {
                let workers = Count(*workers, "worker");
                write!(
                    f,
                    "scaling failed: {reason}; generation {generation} keeps {workers}"
                )
            }
            Self::StopDelayed { delay_ms } => write!(
                f,
                "serves on for {} before it drains; /readyz says no already",
                Span(*delay_ms)
            ),
            _ => self.fmt_hook(f),
        }
    }

    fn fmt_hook(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HookStarted { hook, generation } => {
                write!(f, "hook {hook} of generation {generation} runs")
            }
            Self::HookEnded {
                hook,
                generation,
                duration_ms,
            } => write!(
                f,
                "hook {hook} of generation {generation} is done after {}",
                Span(*duration_ms)
            ),
            Self::HookFailed {
                hook,
                generation,
                reason,
                ..
            } => write!(f, "hook {hook} of generation {generation} {reason}"),
            _ => Ok(()),
        }
    }
}
