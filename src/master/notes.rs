//! What the fleet decided, as events for people.

use std::sync::Arc;
use std::time::Instant;

use super::Master;
use super::effects::millis;
use super::hooks::Hook;
use super::releases::Manner;
use super::tally::End;
use super::worker::{Bake, GenerationInfo, ToBeTold};
use crate::control::view::{OperationResult, OperationState};
use crate::control::{Event, Timestamp};
use crate::fleet::{
    Cause, Failure, Fault, GenerationNumber, Note, OperationId, Process, ReleaseId, Slot, Stage,
};

impl Master {
    pub(super) fn note(&mut self, note: Note) {
        match note {
            Note::Starting(number, release) => self.generation_starts(number, release),
            Note::Baking(generation, bake) => {
                self.mend_backlogs();
                self.watch_queues();
                self.hasten_probes(generation);
                if let Some(info) = self.generations.get_mut(&generation) {
                    info.bake = Some(Bake::begin(bake));
                }
                self.tell(&Event::BakeStarted {
                    generation,
                    bake_ms: millis(bake),
                });
            }
            Note::Active(number) => self.generation_active(number),
            Note::Draining(generation, left) => {
                if let Some(info) = self.generations.get_mut(&generation) {
                    info.drains_since.get_or_insert_with(Instant::now);
                }
                let living = |slot: &&Slot| slot.process != Process::Absent;
                let held = self.fleet.generation(generation);
                let workers = held.map_or(0, |held| held.slots.iter().filter(living).count());
                let workers = u32::try_from(workers).unwrap_or(u32::MAX);
                let drain_timeout_ms = millis(left);
                self.tell(&Event::GenerationDraining {
                    generation,
                    workers,
                    drain_timeout_ms,
                });
            }
            Note::Failed(number, failure) => self.generation_failed(number, failure),
            Note::Ended(number) => self.generation_ended(number),
            Note::Respawn(id, delay, restarts) => {
                self.restarts += 1;
                if let Some(info) = self.generations.get_mut(&id.generation) {
                    info.count_restart(id);
                }
                self.tell(&Event::WorkerRestarting {
                    worker: id.to_string(),
                    generation: id.generation,
                    restarts,
                    delay_ms: millis(delay),
                });
            }
            Note::Joined(operation, number) => self.operation_joined(operation, number),
            Note::Queued(operation) => self.operation_queued(operation),
            Note::Growing(..)
            | Note::Canary(..)
            | Note::Replacing(..)
            | Note::Restoring(_)
            | Note::Scaling(..)
            | Note::Scaled(..)
            | Note::NotScaled(..)
            | Note::StopDelayed(_) => self.step(note),
            Note::Held(_)
            | Note::CutShort(_)
            | Note::CrashLoop(..)
            | Note::Unfit(..)
            | Note::Stays(_)
            | Note::Waits(_)
            | Note::Retry(_)
            | Note::Abandoned => self.alarm(note),
        }
    }

    /// What somebody should look at.
    fn alarm(&mut self, note: Note) {
        match note {
            Note::Held(number) => self.warn(format!(
                "generation {number} failed, but the workers before it are not ready: its own stay \
                 until they are"
            )),
            Note::CutShort(number) => self.warn(format!(
                "generation {number} is ended before its deadline: more than drain.max_generations \
                 = {} are draining",
                self.fleet.policy().max_generations
            )),
            Note::CrashLoop(id, restarts) => {
                // How it ended is handover's own doing where it was not fit.
                let exit = self.workers.get(id).map_or_else(String::new, |worker| {
                    worker.unfit.clone().unwrap_or_else(|| worker.ending())
                });
                let delay_ms = millis(self.fleet.policy().restart_max_delay);
                let (worker, generation) = (id.to_string(), id.generation);
                self.tell(&Event::CrashLoop {
                    worker,
                    generation,
                    restarts,
                    delay_ms,
                    exit,
                });
            }
            Note::Unfit(id, cause) => {
                self.keep_what_was_seen(id);
                let why = self.cause_in_words(Some(id), cause);
                self.warn(format!("worker {id} {why}"));
                if let Some(worker) = self.workers.get_mut(id) {
                    worker.unfit = Some(why);
                }
            }
            Note::Stays(id) => self.warn(format!(
                "worker {id} serves until another one is ready: nobody else is"
            )),
            Note::Waits(id) => self.waits_to_be_replaced(id),
            Note::Retry(left) => {
                self.warn(format!(
                    "the failed generation is tried again, {left} more after this"
                ));
            }
            Note::Abandoned => {
                self.warn("killed processes do not end (in uninterruptible sleep?): left behind");
            }
            _ => {}
        }
    }

    fn generation_starts(&mut self, number: GenerationNumber, release: ReleaseId) {
        self.upgrades.begins(number);
        let rollouts = |state: OperationState| {
            self.operations
                .find(|view| super::operations::is_rollout(view.kind) && view.state == state)
        };
        let waiting = rollouts(OperationState::Queued);
        // Whoever is under way already waits for another try.
        for id in rollouts(OperationState::Running) {
            self.operations.update(id, |view| view.to = Some(number));
        }
        let from = self.fleet.active().map(|active| active.number);
        let workers = self.workers_at_first(number);
        let mut label = self
            .releases
            .get(release)
            .and_then(|r| r.label().map(str::to_owned));
        let mut first: Option<String> = None;
        for id in waiting {
            self.operations.update(id, |view| {
                view.joined = first.clone();
                view.state = OperationState::Running;
                view.from = from;
                view.to = Some(number);
                view.workers = Some(workers);
            });
            if let Some(view) = self.operations.view(id) {
                label = view.label.clone().or(label);
                first.get_or_insert(view.id.clone());
                self.tell(&Event::OperationStarted {
                    operation: view.id,
                    operation_kind: view.kind,
                    by: view.by,
                });
            }
        }
        let held = self.releases.held(release);
        let manner = held.map(|held| held.manner.clone());
        let manner = manner.unwrap_or_else(|| Arc::new(Manner::of(self.config())));
        let lineup = held.map(|held| held.lineup.clone());
        let began_with = Box::new(self.config().clone());
        let mut info = GenerationInfo::new(release, manner, label, began_with);
        info.lineup = lineup.unwrap_or_default();
        info.to_be_told = Some(ToBeTold { operation: first });
        self.generations.insert(number, info);
        self.follow_program();
    }

    /// A worker of it is launched next: with the first one it starts, and not while a hook may still refuse it.
    pub(super) fn generation_launches(&mut self, generation: GenerationNumber) {
        let workers = self.workers_at_first(generation);
        let Some(info) = self.generations.get_mut(&generation) else {
            return;
        };
        let Some(ToBeTold { operation }) = info.to_be_told.take() else {
            return;
        };
        info.started_at = Timestamp::now();
        let label = info.label.clone();
        self.tell(&Event::GenerationStarted {
            generation,
            label,
            workers,
            operation,
        });
    }

    fn operation_joined(&mut self, operation: OperationId, number: GenerationNumber) {
        let from = self.fleet.active().map(|active| active.number);
        let first = self
            .operations
            .find(|view| view.to == Some(number) && view.joined.is_none() && !view.is_ended())
            .into_iter()
            .find(|id| *id != operation)
            .and_then(|id| self.operations.view(id));
        self.operations.update(operation, |view| {
            view.state = OperationState::Running;
            view.from = from;
            view.to = Some(number);
            view.joined = first.map(|first| first.id);
        });
        if let Some(view) = self.operations.view(operation) {
            self.tell(&Event::OperationStarted {
                operation: view.id,
                operation_kind: view.kind,
                by: view.by,
            });
        }
    }

    fn operation_queued(&mut self, operation: OperationId) {
        if let Some(view) = self.operations.view(operation) {
            self.tell(&Event::OperationQueued {
                operation: view.id,
                operation_kind: view.kind,
                by: view.by,
            });
        }
    }

    fn generation_active(&mut self, number: GenerationNumber) {
        self.mend_backlogs();
        let previous = self.generations.iter().rev();
        let previous = previous.filter(|(other, info)| **other < number && info.was_active);
        let previous = previous.map(|(other, _)| *other).next();
        if let Some(info) = self.generations.get_mut(&number) {
            info.was_active = true;
            if let Some(bake) = &mut info.bake {
                bake.end();
            }
            self.labels
                .extend(info.label.clone().map(|label| (number, label)));
        }
        let good: Vec<GenerationNumber> = self.fleet.good().iter().map(|it| it.number).collect();
        self.labels.retain(|number, _| good.contains(number));
        self.lineup_is_in_force(number);
        self.follow_program();
        let back = self
            .fleet
            .generation(number)
            .is_some_and(|held| held.stands_for != number);
        let end = if back {
            End::RolledBack
        } else {
            End::Succeeded
        };
        self.upgrades.ends(number, previous.map(|_| end));
        self.tell(&Event::GenerationActive {
            generation: number,
            previous,
        });
    }

    fn generation_failed(&mut self, number: GenerationNumber, mut failure: Failure) {
        if is_of_health(failure.cause) {
            let info = self.generations.get(&number);
            failure.worker = failure.worker.or(info.and_then(|info| info.unhealthy));
        }
        let report = self.report_of(number, failure);
        let untold = report.hint.as_ref().filter(|_| !report.hint_told);
        let hint = untold.map_or_else(String::new, |hint| format!("; {hint}"));
        self.tell(&Event::GenerationFailed {
            generation: number,
            worker: report.worker.clone(),
            reason: format!("{}{hint}", report.reason),
        });
        self.remember_failed_program(number);
        self.follow_program();
        let served = self.fleet.active().map(|active| active.number);
        let info = self.generations.get(&number);
        let was_ready = match failure.cause {
            Cause::ExitedInBake => true,
            cause if is_of_health(cause) => info.is_some_and(|info| info.bake.is_some()),
            _ => false,
        };
        if let (Some(to), true) = (served, was_ready) {
            let reason = report.reason.clone();
            self.tell(&Event::Rollback {
                operation: None,
                from: number,
                to,
                reason,
            });
        }
        match served {
            Some(_) => self.run_hook(Hook::OnFailure, number, Some(report.reason.clone())),
            None => self.fatal = Some(report.clone()),
        }
        self.operations.undo_canaries(number, |view| {
            let result = match failure.cause {
                Cause::Aborted => OperationResult::Aborted,
                _ => OperationResult::Failed,
            };
            view.end(result, Some(report.reason.clone()));
            view.failed_worker.clone_from(&report.worker);
            view.log_tail.clone_from(&report.log_tail);
            view.hint.clone_from(&report.hint);
        });
        if let Some(info) = self.generations.get_mut(&number) {
            info.failure = Some(report);
        }
        self.upgrades.ends(number, served.map(|_| End::Failed));
    }

    fn generation_ended(&mut self, number: GenerationNumber) {
        self.sweep(number);
        let info = self.generations.get(&number);
        let since = info.and_then(|info| info.drains_since);
        let cut = info.and_then(|info| info.cut);
        let replaced = info.is_some_and(|info| info.was_active);
        self.tell(&Event::GenerationEnded {
            generation: number,
            drain_ms: since.map(|since| millis(since.elapsed())),
            connections_cut: cut.filter(|_| since.is_some() && self.has_streams()),
        });
        if replaced && self.fleet.stage() == Stage::Serving {
            self.run_hook(Hook::PostDrain, number, None);
        }
        let oldest = self.fleet.generations().map(|held| held.number).next();
        let drained = self.operations.find(|view| {
            let alone = view
                .to
                .is_none_or(|to| oldest.is_none_or(|oldest| oldest >= to));
            view.is_ended() && !view.drained && alone
        });
        for id in drained {
            self.operations.update(id, |view| view.drained = true);
        }
        self.forget_generations();
    }

    /// Ended generations that no operation speaks of any more are let go.
    fn forget_generations(&mut self) {
        let alive: Vec<GenerationNumber> =
            self.fleet.generations().map(|held| held.number).collect();
        let (running, _) = self.operations.current();
        let spoken_of = running.and_then(|view| view.to);
        self.generations
            .retain(|number, _| alive.contains(number) || Some(*number) == spoken_of);
    }
}

/// A worker's health check says so.
fn is_of_health(cause: Cause) -> bool {
    matches!(cause, Cause::Fault(Fault::Unhealthy | Fault::Unanswered))
}
