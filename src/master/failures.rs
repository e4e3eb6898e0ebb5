//! Why a generation failed, in words, with the failing worker's last lines.

use super::Master;
use crate::control::Span;
use crate::fleet::{Cause, Failure, Fault, WorkerId};
use crate::readiness::{advise, says_address_in_use};

/// What is told of a failure.
#[derive(Clone)]
pub(super) struct FailureReport {
    pub(super) reason: String,
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
        let reason = match failure.worker {
            Some(id) => {
                let advice = self.advice(id, failure.cause, &log_tail);
                format!("worker {id} {words}{advice}")
            }
            None => words,
        };
        FailureReport {
            reason,
            worker: failure.worker.map(|id| id.to_string()),
            log_tail,
        }
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
            Cause::Fault(Fault::QueueNotTaken) => {
                "connections wait on a listener and nobody takes them".to_owned()
            }
            Cause::Aborted => "it was aborted before it was active".to_owned(),
        }
    }

    /// What the author of a program that takes no socket should type.
    fn advice(&self, id: WorkerId, cause: Cause, log_tail: &[String]) -> String {
        let Some(worker) = self.workers.get(id) else {
            return String::new();
        };
        if let Some(elsewhere) = &worker.elsewhere {
            return format!("; {elsewhere}");
        }
        let ended = matches!(cause, Cause::ExitedBeforeReady | Cause::ExitedInBake);
        let taken = ended && says_address_in_use(log_tail.iter().map(String::as_str));
        let Some(wanted) = self.wanted().into_iter().next().filter(|_| taken) else {
            return String::new();
        };
        let argv = self.argv_of(id);
        let program = argv.first().map_or("the program", |first| {
            first.rsplit('/').next().unwrap_or(first)
        });
        let pid = worker.last_pid;
        format!("; {}", advise(program, pid, None, &wanted, &argv, false))
    }
}
