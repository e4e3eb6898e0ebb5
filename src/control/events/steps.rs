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
                let stand = if *workers == 1 { "stands" } else { "stand" };
                let workers = Count(*workers, "worker");
                write!(
                    f,
                    "{workers} of generation {generation} {stand} as a canary"
                )?;
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
            Self::StopDelayed { delay_ms } => write!(
                f,
                "serves on for {} before it drains; /readyz says no already",
                Span(*delay_ms)
            ),
            Self::HookStarted { .. } | Self::HookEnded { .. } | Self::HookFailed { .. } => {
                self.fmt_hook(f)
            }
            _ => self.fmt_scale(f),
        }
    }

    fn fmt_scale(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
            _ => Ok(()),
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One of every kind, with its stable name and as a sentence.
    pub(in crate::control::events) fn of_steps() -> Vec<(&'static str, Event, &'static str)> {
        let (generation, workers, more) = (8, 3, 2);
        let hook = || "post_ready".to_owned();
        vec![
            (
                "canary_stands",
                Event::CanaryStands {
                    generation,
                    workers: 1,
                    active: Some(7),
                    timeout_ms: Some(600_000),
                },
                "1 worker of generation 8 stands as a canary beside generation 7 until promoted or \
                 aborted, for 10 min at most",
            ),
            (
                "generation_growing",
                Event::GenerationGrowing {
                    generation,
                    workers,
                    more,
                },
                "generation 8 grows to 3 workers",
            ),
            (
                "workers_replaced",
                Event::WorkersReplaced {
                    generation: 7,
                    left: 2,
                },
                "generation 7 keeps 2 workers, those that were replaced finish",
            ),
            (
                "generation_restoring",
                Event::GenerationRestoring {
                    generation: 7,
                    workers: 1,
                },
                "generation 7 gets 1 worker back",
            ),
            (
                "scale_started",
                Event::ScaleStarted {
                    generation,
                    workers,
                    more,
                },
                "generation 8 is to have 3 workers",
            ),
            (
                "generation_scaled",
                Event::GenerationScaled {
                    generation,
                    workers,
                },
                "generation 8 has 3 workers now",
            ),
            (
                "scale_failed",
                Event::ScaleFailed {
                    generation,
                    workers,
                    worker: Some("8.3".to_owned()),
                    reason: "worker 8.3 ended before it was ready".to_owned(),
                },
                "scaling failed: worker 8.3 ended before it was ready; generation 8 keeps 3 workers",
            ),
            (
                "stop_delayed",
                Event::StopDelayed { delay_ms: 5000 },
                "serves on for 5 s before it drains; /readyz says no already",
            ),
            (
                "hook_started",
                Event::HookStarted {
                    hook: hook(),
                    generation,
                },
                "hook post_ready of generation 8 runs",
            ),
            (
                "hook_ended",
                Event::HookEnded {
                    hook: hook(),
                    generation,
                    duration_ms: 250,
                },
                "hook post_ready of generation 8 is done after 250 ms",
            ),
            (
                "hook_failed",
                Event::HookFailed {
                    hook: hook(),
                    generation,
                    reason: "ended with exit status 1".to_owned(),
                    vetoes: true,
                },
                "hook post_ready of generation 8 ended with exit status 1",
            ),
        ]
    }
}
