//! Performs what the fleet decided.

use super::Master;
use super::hooks::Hook;
use super::operations::FIRST;
use crate::control::Event;
use crate::control::view::{OperationKind, OperationResult};
use crate::fleet::{Effect, Failure, OperationId, Outcome, Refusal};

/// The exit code of a first generation that never became ready.
const FAILED: u8 = 1;

impl Master {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch(id, release) => {
                self.generation_launches(id.generation);
                self.launches.push_back((id, release));
            }
            Effect::Drain(id) => self.drain_worker(id),
            Effect::Kill(id) => self.kill_worker(id),
            Effect::Prepare(number) => self.run_hook(Hook::PreUpgrade, number, None),
            Effect::Approve(number) => self.run_hook(Hook::PostReady, number, None),
            Effect::Answer(operation, outcome) => self.answer(operation, outcome),
            Effect::Tell(note) => self.note(note),
            Effect::Finish(failure) => self.finish(failure),
        }
    }

    fn finish(&mut self, failure: Option<Failure>) {
        self.forget_waiting_hooks();
        // Nothing that the master started outlives it.
        if self.errands.end().unfinished {
            self.warn(
                "what a hook or a check had left behind started others until it was given up to look for them: some \
                 may live on"
                    .to_owned(),
            );
        }
        self.finished = Some(if failure.is_some() { FAILED } else { 0 });
    }

    /// Whoever is told that an upgrade worked may rely on what it leaves, over a crash too.
    fn answer(&mut self, operation: OperationId, outcome: Outcome) {
        if !self.conclude_overrides(operation, outcome) {
            self.answer_now(operation, outcome);
        }
    }

    pub(super) fn answer_now(&mut self, operation: OperationId, outcome: Outcome) {
        // systemd hears of the end of a reload before its caller does.
        self.tell_reload_ended();
        if operation == FIRST {
            return;
        }
        let kind = self.operations.view(operation).map(|view| view.kind);
        let (result, mut reason) = self.verdict(outcome, kind);
        self.describe_outcome(operation, outcome);
        self.say_what_is_not_as_before(operation, outcome, &mut reason);
        self.warn_of_broken(operation);
        self.operations.update(operation, |view| {
            view.end(result, reason.clone());
            // Whoever asked for a stop is not told that nobody serves.
            view.unserved &= result != OperationResult::Done;
        });
        let Some(view) = self.operations.view(operation) else {
            return;
        };
        let failed = matches!(
            result,
            OperationResult::Failed | OperationResult::Incomplete
        );
        if failed && view.kind != OperationKind::Scale {
            self.tell(&Event::UpgradeFailed {
                operation: Some(view.id.clone()),
                generation: view.to,
                worker: view.failed_worker.clone(),
                serving: self.fleet.active().map(|active| active.number),
                reason: reason.clone().unwrap_or_default(),
                changed_workers: view.changed_workers.clone(),
            });
        }
        self.tell(&Event::OperationEnded {
            operation: view.id,
            operation_kind: view.kind,
            result,
            reason,
            duration_ms: view.duration_ms.unwrap_or_default(),
        });
        if let Outcome::Scaled(workers) = outcome {
            self.scaled_to(workers, view.by);
        }
    }

    /// What the caller sees beside the result: how the generation became
    /// ready, what still drains, what the failing worker said last.
    fn describe_outcome(&mut self, operation: OperationId, outcome: Outcome) {
        let info = |number| self.generations.get(&number);
        let drains = matches!(outcome, Outcome::Active(_)) && self.fleet.generations().count() > 1;
        let drain_timeout = drains.then(|| millis(self.config().drain.timeout));
        let canary_timeout = self.fleet.policy().canary_timeout;
        let serves = self.fleet.generations().any(|held| held.ready() > 0);
        let way_on = format!(
            "{}, or {}",
            self.command(format_args!("promote {}", self.name)),
            self.command(format_args!("abort {}", self.name))
        );
        let (mut ready, mut bake, mut report) = (None, None, None);
        match outcome {
            Outcome::Active(number) | Outcome::Canary(number) => {
                ready = info(number).and_then(|info| info.ready.clone());
                bake = info(number).and_then(|info| Some(info.bake.as_ref()?.was()));
            }
            Outcome::NotScaled(_, failure) => report = Some(self.report(failure)),
            Outcome::Failed(number, _) | Outcome::NotUndone(number, _) => {
                report = info(number).and_then(|info| info.failure.clone());
            }
            _ => {}
        }
        self.operations.update(operation, |view| {
            match outcome {
                Outcome::Active(number) | Outcome::Unchanged(number) => view.to = Some(number),
                Outcome::Canary(number) => {
                    view.to = Some(number);
                    view.canary = true;
                    view.canary_timeout_ms =
                        (!canary_timeout.is_zero()).then(|| millis(canary_timeout));
                }
                Outcome::Scaled(workers) | Outcome::NotScaled(workers, _) => {
                    view.workers = Some(workers);
                }
                Outcome::Refused(Refusal::CanaryStands) => view.hint = Some(way_on.clone()),
                _ => {}
            }
            // Then nothing "serves as before".
            if outcome == Outcome::Stopping {
                view.from = None;
            }
            view.unchanged = matches!(outcome, Outcome::Unchanged(_));
            view.unserved = !serves;
            if !view.unchanged {
                view.pending.clear();
            }
            if let Some(ready) = ready {
                view.ready_ms = Some(ready.after_ms);
                view.ready_by = Some(ready.by);
            }
            if let Some((was, planned)) = bake {
                let (was, planned) = (millis(was), millis(planned));
                view.bake_ms = view.from.map(|_| was);
                view.bake_left_ms = planned.checked_sub(was).filter(|left| *left > 0);
            }
            if let Some(report) = report {
                view.failed_worker = report.worker;
                view.log_tail = report.log_tail;
                view.hint = report.hint;
            }
            view.drain_timeout_ms = drain_timeout;
            view.drained = !drains;
        });
    }

    /// What the caller is told.
    fn verdict(
        &self,
        outcome: Outcome,
        kind: Option<OperationKind>,
    ) -> (OperationResult, Option<String>) {
        use OperationResult as R;
        let why = |number: &u32| {
            let info = self.generations.get(number);
            let report = info.and_then(|info| info.failure.as_ref());
            report.map(|report| report.reason.clone())
        };
        match &outcome {
            Outcome::Active(_) | Outcome::Unchanged(_) | Outcome::Stopped => (R::Done, None),
            Outcome::Aborted(_) | Outcome::Canary(_) | Outcome::Scaled(_) => (R::Done, None),
            Outcome::NotScaled(_, failure) => {
                let why = self.report(*failure).reason;
                let reason = format!("{why}; the workers that were added are taken back");
                (R::Failed, Some(reason))
            }
            Outcome::Failed(number, failure) => match failure.cause {
                crate::fleet::Cause::Aborted => (R::Aborted, why(number)),
                _ => (R::Failed, why(number)),
            },
            Outcome::NotUndone(number, _) => (R::Incomplete, why(number)),
            Outcome::Superseded if kind == Some(OperationKind::Scale) => {
                let reason = "a newer call wants another number of workers";
                (R::Superseded, Some(reason.to_owned()))
            }
            Outcome::Superseded => {
                let reason = "a newer call for another release took its place in the queue";
                (R::Superseded, Some(reason.to_owned()))
            }
            Outcome::Stopping => (R::Failed, Some(self.why_it_ends())),
            Outcome::Refused(refusal) => (R::Refused, Some(refusal_in_words(*refusal).to_owned())),
        }
    }
}

fn refusal_in_words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NothingUnderWay => "no upgrade is under way",
        Refusal::NotReadyYet => {
            "the new generation is not ready yet; wait until it bakes, or abort it"
        }
        Refusal::BeingUndone => "the new generation failed and is being undone already",
        Refusal::NothingBefore => {
            "the first generation has nothing to go back to; stop the service instead"
        }
        Refusal::CanaryStands => "a canary stands: promote or abort first",
        Refusal::UpgradeUnderWay => {
            "an upgrade or the first start is under way; scale when it is over"
        }
    }
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
