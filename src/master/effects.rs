//! Performs what the fleet decided.

use super::Master;
use super::operations::FIRST;
use crate::control::Event;
use crate::control::view::OperationResult;
use crate::fleet::{Effect, Failure, OperationId, Outcome, Refusal};

/// The exit code of a first generation that never became ready.
const FAILED: u8 = 1;

impl Master {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch(id, release) => self.launches.push_back((id, release)),
            Effect::Drain(id) => self.drain_worker(id),
            Effect::Kill(id) => self.kill_worker(id),
            Effect::Answer(operation, outcome) => self.answer(operation, outcome),
            Effect::Tell(note) => self.note(note),
            Effect::Finish(failure) => self.finish(failure),
        }
    }

    fn finish(&mut self, failure: Option<Failure>) {
        self.finished = Some(if failure.is_some() { FAILED } else { 0 });
    }

    /// Whoever is told that an upgrade worked may rely on what it leaves, over a crash too.
    fn answer(&mut self, operation: OperationId, outcome: Outcome) {
        let (result, _) = self.verdict(outcome);
        if !self.conclude_overrides(operation, outcome, result) {
            self.answer_now(operation, outcome);
        }
    }

    pub(super) fn answer_now(&mut self, operation: OperationId, outcome: Outcome) {
        // systemd hears of the end of a reload before its caller does.
        self.tell_reload_ended();
        if operation == FIRST {
            return;
        }
        let (result, reason) = self.verdict(outcome);
        self.describe_outcome(operation, outcome);
        self.operations
            .update(operation, |view| view.end(result, reason.clone()));
        let Some(view) = self.operations.view(operation) else {
            return;
        };
        if matches!(
            result,
            OperationResult::Failed | OperationResult::Incomplete
        ) {
            self.tell(&Event::UpgradeFailed {
                operation: Some(view.id.clone()),
                generation: view.to,
                worker: view.failed_worker.clone(),
                serving: self.fleet.active().map(|active| active.number),
                reason: reason.clone().unwrap_or_default(),
            });
        }
        self.tell(&Event::OperationEnded {
            operation: view.id,
            operation_kind: view.kind,
            result,
            reason,
            duration_ms: view.duration_ms.unwrap_or_default(),
        });
    }

    /// What the caller sees beside the result: how the generation became
    /// ready, what still drains, what the failing worker said last.
    fn describe_outcome(&mut self, operation: OperationId, outcome: Outcome) {
        let info = |number| self.generations.get(&number);
        let drains = matches!(outcome, Outcome::Active(_)) && self.fleet.generations().count() > 1;
        let drain_timeout = drains.then(|| millis(self.config().drain.timeout));
        let bake = millis(self.fleet.policy().bake);
        let (ready, report) = match outcome {
            Outcome::Active(number) => (info(number).and_then(|info| info.ready.clone()), None),
            Outcome::Failed(number, _) | Outcome::NotUndone(number, _) => {
                (None, info(number).and_then(|info| info.failure.clone()))
            }
            _ => (None, None),
        };
        self.operations.update(operation, |view| {
            if let Outcome::Active(number) | Outcome::Unchanged(number) = outcome {
                view.to = Some(number);
            }
            // Then nothing "serves as before".
            if outcome == Outcome::Stopping {
                view.from = None;
            }
            view.unchanged = matches!(outcome, Outcome::Unchanged(_));
            if let Some(ready) = ready {
                view.ready_ms = Some(ready.after_ms);
                view.ready_by = Some(ready.by);
                view.bake_ms = view.from.map(|_| bake);
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
    fn verdict(&self, outcome: Outcome) -> (OperationResult, Option<String>) {
        use OperationResult as R;
        let why = |number: &u32| {
            let info = self.generations.get(number);
            let report = info.and_then(|info| info.failure.as_ref());
            report.map(|report| report.reason.clone())
        };
        match &outcome {
            Outcome::Active(_) | Outcome::Unchanged(_) | Outcome::Stopped => (R::Done, None),
            Outcome::Aborted(_) => (R::Done, None),
            Outcome::Failed(number, failure) => match failure.cause {
                crate::fleet::Cause::Aborted => (R::Aborted, why(number)),
                _ => (R::Failed, why(number)),
            },
            Outcome::NotUndone(number, _) => (R::Incomplete, why(number)),
            Outcome::Superseded => {
                let reason = "a newer call for another release took its place in the queue";
                (R::Superseded, Some(reason.to_owned()))
            }
            Outcome::Stopping => (R::Failed, Some("the service is being stopped".to_owned())),
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
    }
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
