//! In which steps a generation is replaced, how many workers it has, and what
//! people are told of both.

use tokio::sync::watch;

use super::Master;
use super::effects::millis;
use super::request;
use crate::config::{Config, Strategy, WORKERS_MAX, Workers};
use crate::control::view::{OperationKind, OperationView};
use crate::control::{ApiError, Caller, Event, Span};
use crate::fleet::rollout::Phase;
use crate::fleet::{self, Failure, GenerationNumber, Note, Plan, Policy, Scale};

/// The number of workers that somebody asked for instead of the config's.
pub(super) struct Scaled {
    workers: u32,
    by: Caller,
    /// What the config said then: with another number it is over.
    against: Workers,
}

impl Master {
    /// The steps of an upgrade: those of the config, unless the caller wants a
    /// canary of another size (0: none).
    pub(super) fn steps(&self, canary: Option<u32>) -> Plan {
        let upgrade = &self.config().upgrade;
        match (canary.unwrap_or(upgrade.canary), upgrade.strategy) {
            (0, Strategy::All) => Plan::Whole,
            (0, Strategy::Rolling) => Plan::Rolling(upgrade.batch),
            (workers, _) => Plan::Canary(workers),
        }
    }

    /// The numbers of a config, with the workers that somebody asked for since.
    pub(super) fn policy_for(&mut self, config: &Config) -> Policy {
        self.scaled
            .take_if(|scaled| scaled.against != config.app.workers);
        let mut policy = request::policy(config);
        if let Some(scaled) = &self.scaled {
            policy.workers = scaled.workers;
        }
        policy
    }

    /// Begins to change the number of workers of the active generation.
    pub(super) fn scale(
        &mut self,
        to: Scale,
        by: Caller,
    ) -> Result<watch::Receiver<OperationView>, ApiError> {
        let size = self.fleet.active().map_or(0, |active| active.size);
        let wanted = match to {
            Scale::To(workers) => workers,
            Scale::Up => size.saturating_add(1),
            Scale::Down => size,
        };
        if wanted > WORKERS_MAX {
            let error = format!("{wanted} workers are more than {WORKERS_MAX}, the most there are");
            return Err(ApiError::bad_request(error));
        }
        let asked_for = match to {
            Scale::Down => size.saturating_sub(1).max(1),
            Scale::To(_) | Scale::Up => wanted,
        };
        let (id, receiver) = self.begin_simple(OperationKind::Scale, by, |operation| {
            fleet::Event::Scale { operation, to }
        });
        if size > 0 {
            self.operations.update(id, |view| {
                (view.workers_from, view.workers_to) = (Some(size), Some(asked_for));
            });
        }
        Ok(receiver)
    }

    /// Ends the bake that goes on, or the canary.
    pub(super) fn promote(&mut self, by: Caller) -> watch::Receiver<OperationView> {
        let only = self.batches_after_this_one();
        let (id, receiver) = self.begin_simple(OperationKind::Promote, by, fleet::Event::Promote);
        if let Some(words) = only {
            self.warn(words.clone());
            self.operations.update(id, |view| view.warnings.push(words));
        }
        receiver
    }

    /// A promotion ends the one bake of a rolling upgrade that goes on: which that is, and what follows, in words.
    fn batches_after_this_one(&self) -> Option<String> {
        let (Phase::Baking, Some(number)) = self.fleet.rollout() else {
            return None;
        };
        let Some(Plan::Rolling(batch)) = self.fleet.plan() else {
            return None;
        };
        let held = self.fleet.generation(number)?;
        let batches = |workers: u32| workers.div_ceil(batch.max(1));
        let (this, all) = (batches(held.wanted()), batches(held.size));
        let bake = Span(millis(self.fleet.policy().bake));
        match all.saturating_sub(this) {
            0 => None,
            1 => Some(format!(
                "batch {this} of {all} is promoted; the last one bakes for {bake} again"
            )),
            left => Some(format!(
                "batch {this} of {all} is promoted; each of the other {left} bakes for {bake} again"
            )),
        }
    }

    /// So many workers are what later generations have, too, until the config
    /// says another number.
    pub(super) fn scaled_to(&mut self, workers: u32, by: Caller) {
        let against = self.config().app.workers;
        self.scaled = (workers != request::workers(against)).then_some(Scaled {
            workers,
            by,
            against,
        });
        let config = self.config().clone();
        let policy = self.policy_for(&config);
        self.fleet.set_policy(policy);
    }

    /// That the number of workers is not the config's, in words.
    pub(super) fn scaled_sentence(&self) -> Option<String> {
        let Scaled {
            workers,
            by,
            against,
        } = self.scaled.as_ref()?;
        let config = match against {
            Workers::Auto => "\"auto\"".to_owned(),
            Workers::Count(count) => count.to_string(),
        };
        let (said, again) = match &self.sources.file {
            Some(_) => ("the config says", "when it is changed or the master ends"),
            None => ("it was started with", "when the master ends"),
        };
        Some(format!(
            "scaled to {workers}, asked by {by}; {said} app.workers = {config}, which counts again {again}"
        ))
    }

    /// How many workers this generation begins with, for people: a batch of a
    /// rolling upgrade is followed by the others.
    pub(super) fn workers_at_first(&self, number: GenerationNumber) -> u32 {
        let size = self.fleet.generation(number).map_or(0, |held| held.size);
        match self.fleet.plan() {
            Some(Plan::Canary(workers)) => workers.clamp(1, size.max(1)),
            Some(Plan::Whole | Plan::Rolling(_)) | None => size,
        }
    }

    /// A step, told to people.
    pub(super) fn step(&mut self, note: Note) {
        match note {
            Note::Growing(generation, workers) => {
                let more = self.missing(generation);
                self.tell(&Event::GenerationGrowing {
                    generation,
                    workers,
                    more,
                });
            }
            Note::Canary(generation, workers, limit) => {
                let timeout_ms = (!limit.is_zero()).then(|| millis(limit));
                self.tell(&Event::CanaryStands {
                    generation,
                    workers,
                    active: self.fleet.active().map(|active| active.number),
                    timeout_ms,
                });
            }
            Note::Replacing(generation, left) => {
                self.tell(&Event::WorkersReplaced { generation, left });
            }
            Note::Restoring(generation) => {
                let workers = self.missing(generation);
                self.tell(&Event::GenerationRestoring {
                    generation,
                    workers,
                });
            }
            Note::Scaling(generation, workers) => {
                let more = self.missing(generation);
                self.tell(&Event::ScaleStarted {
                    generation,
                    workers,
                    more,
                });
            }
            Note::Scaled(generation, workers) => {
                self.tell(&Event::GenerationScaled {
                    generation,
                    workers,
                });
            }
            Note::NotScaled(generation, workers, failure) => {
                self.not_scaled(generation, workers, failure);
            }
            Note::StopDelayed(delay) => self.tell(&Event::StopDelayed {
                delay_ms: millis(delay),
            }),
            _ => {}
        }
    }

    fn not_scaled(&self, generation: GenerationNumber, workers: u32, failure: Failure) {
        let report = self.report(failure);
        self.tell(&Event::ScaleFailed {
            generation,
            workers,
            worker: report.worker,
            reason: report.reason,
        });
    }

    /// How many of a generation's workers are not ready.
    fn missing(&self, number: GenerationNumber) -> u32 {
        let Some(held) = self.fleet.generation(number) else {
            return 0;
        };
        let ready = u32::try_from(held.ready()).unwrap_or(u32::MAX);
        held.wanted().saturating_sub(ready)
    }
}
