//! Why a generation failed, in words, with the failing worker's last lines.

use super::Master;
use super::probing::patience;
use super::worker::Verdict;
use crate::config::ReadyOn;
use crate::control::{Count, Span};
use crate::fleet::{Cause, Failure, Fault, GenerationNumber, WorkerId};
use crate::readiness::{Advice, Instead, says_address_in_use};

/// What is told of a failure.
#[derive(Clone)]
pub(super) struct FailureReport {
    pub(super) reason: String,
    /// What its author can do.
    pub(super) hint: Option<String>,
    /// Whether an event said that already.
    pub(super) hint_told: bool,
    pub(super) worker: Option<String>,
    pub(super) log_tail: Vec<String>,
}

impl Master {
    pub(super) fn report(&self, failure: Failure) -> FailureReport {
        let words = self.cause_in_words(failure.worker, failure.cause);
        let output = failure
            .worker
            .and_then(|id| self.workers.get(id)?.output.clone());
        let log_tail = output.map_or_else(Vec::new, |output| output.last());
        let held = failure.worker.and_then(|id| self.workers.get(id));
        let hint_told = held.is_some_and(|worker| worker.elsewhere.is_some());
        let advice = failure
            .worker
            .and_then(|id| self.advice(id, failure.cause, &log_tail));
        let (fact, hint) = match advice {
            Some(Advice { fact, hint }) => (format!("; {fact}"), Some(hint)),
            None => (String::new(), None),
        };
        let reason = match failure.worker {
            Some(id) => format!("worker {id} {words}{fact}"),
            None => words,
        };
        FailureReport {
            reason,
            hint,
            hint_told,
            worker: failure.worker.map(|id| id.to_string()),
            log_tail,
        }
    }

    /// The same for a generation; what its hook said counts where a hook failed.
    pub(super) fn report_of(
        &mut self,
        number: GenerationNumber,
        failure: Failure,
    ) -> FailureReport {
        self.look_at_flags();
        let mut report = self.report(failure);
        if report.hint.is_none()
            && let Some(Advice { fact, hint }) =
                self.advice_on_flags(number, failure.cause, &report.log_tail)
        {
            report.reason += &format!("; {fact}");
            report.hint = Some(hint);
        }
        let refusal = self.hooks.refusals.remove(&number);
        if let (Cause::Fault(Fault::HookFailed), Some((reason, said))) = (failure.cause, refusal) {
            report.reason = reason;
            report.log_tail = said;
        }
        report
    }

    pub(super) fn cause_in_words(&self, worker: Option<WorkerId>, cause: Cause) -> String {
        let held = worker.and_then(|id| self.workers.get(id));
        let ending = || held.map_or_else(String::new, |worker| worker.ending());
        let after = held.map(|worker| worker.launched_at.elapsed().as_millis());
        let after = Span(u64::try_from(after.unwrap_or_default()).unwrap_or(u64::MAX));
        match cause {
            Cause::NotStarted => format!("could not be started: {}", ending()),
            Cause::ExitedBeforeReady => {
                format!(
                    "ended before it was ready, {after} after its start: {}",
                    ending()
                )
            }
            Cause::ReadyTimeout => {
                let timeout = super::effects::millis(self.fleet.policy().ready_timeout);
                format!("was not ready within {} (ready.timeout)", Span(timeout))
            }
            Cause::ExitedInBake => {
                format!(
                    "ended after it was ready, {after} after its start: {}",
                    ending()
                )
            }
            Cause::WatchdogMissed => {
                let watchdog = self
                    .fleet
                    .policy()
                    .watchdog
                    .map_or(0, super::effects::millis);
                format!("sent no WATCHDOG=1 for {} (app.watchdog)", Span(watchdog))
            }
            Cause::Fault(Fault::Unfit) => "said WATCHDOG=trigger: it is not fit".to_owned(),
            Cause::Fault(Fault::Stopped) => {
                "was stopped by a signal (SIGSTOP or the like)".to_owned()
            }
            Cause::Fault(Fault::QueueNotTaken) => {
                "connections wait on a listener and nobody takes them".to_owned()
            }
            Cause::Fault(Fault::Unhealthy | Fault::Unanswered) => {
                let verdict = held.and_then(|worker| worker.verdict.as_ref());
                let proven = held.is_some_and(|worker| worker.ready.is_some());
                verdict.map_or_else(
                    || "is not healthy".to_owned(),
                    |verdict| self.unhealthy_in_words(worker, verdict, proven),
                )
            }
            Cause::Fault(Fault::HookFailed) => "a hook spoke against it".to_owned(),
            Cause::Aborted => {
                let by = self.operations.aborter();
                let by = by.map_or_else(String::new, |by| format!(", asked by {by}"));
                format!("it was aborted before it was active{by}")
            }
            Cause::NotPromoted => {
                let limit = super::effects::millis(self.fleet.policy().canary_timeout);
                format!(
                    "nobody promoted the canary within {} (upgrade.canary_timeout)",
                    Span(limit)
                )
            }
        }
    }

    /// `proven`: it passed its check once.
    fn unhealthy_in_words(&self, id: Option<WorkerId>, verdict: &Verdict, proven: bool) -> String {
        let Verdict {
            check,
            failures,
            reason,
            ..
        } = verdict;
        let times = Count(*failures, "time");
        let manner = self.manner(id.map_or(0, |id| id.generation));
        let patience = Span(super::effects::millis(patience(&manner.health)));
        match proven {
            true => format!("is not healthy: health check {check} failed {times}: {reason}"),
            // Then it is asked more often, for as long.
            false => format!(
                "is not healthy: health check {check} never passed in {patience} (health.failures × \
                 health.interval), it failed {times}: {reason}"
            ),
        }
    }

    /// What was seen of a program that takes no socket, and what its author should type.
    fn advice(&self, id: WorkerId, cause: Cause, log_tail: &[String]) -> Option<Advice> {
        let worker = self.workers.get(id)?;
        if worker.elsewhere.is_some() {
            return worker.elsewhere.clone();
        }
        let wanted = self.wanted(id.generation);
        let advise = |instead| Some(self.advise(id, worker.last_pid, instead, &wanted));
        match cause {
            Cause::ExitedBeforeReady | Cause::ExitedInBake
                if says_address_in_use(log_tail.iter().map(String::as_str)) =>
            {
                Some(self.advise_on_address(id, worker, log_tail))
            }
            // The fact is the reason already.
            Cause::Fault(Fault::Unhealthy | Fault::Unanswered) => None,
            Cause::ReadyTimeout => self.asked_in_vain(id).or_else(|| match &self.manner(id.generation).ready.on {
                ReadyOn::Auto | ReadyOn::Accepting if !wanted.is_empty() => {
                    advise(Instead::Nothing(&worker.untaken))
                }
                ReadyOn::Notify => Some(Advice {
                    fact: "it sent no READY=1".to_owned(),
                    hint: "the program sends READY=1 to NOTIFY_SOCKET (sd_notify(3)), or: ready.on = \"auto\""
                        .to_owned(),
                }),
                ReadyOn::Output { regex, .. } => Some(Advice {
                    fact: format!("no line that it printed matches {regex:?}"),
                    hint: "a program whose output is no terminal may keep it back for long (python3 -u)".to_owned()
                        + &self.where_it_printed(),
                }),
                _ => None,
            }),
            _ => None,
        }
    }

    /// Where its output is to be read: of a first generation that failed nobody can ask, since the master ends with it.
    pub(super) fn where_it_printed(&self) -> String {
        match self.fleet.active() {
            Some(_) => {
                let logs = self.command(format_args!("logs {}", self.name));
                format!("; what it printed: {logs}")
            }
            None => String::new(),
        }
    }
}
