//! What a failure may have to do with a flag of a shared listener that a worker changed (FAILURES 4).

use std::time::Instant;

use super::Master;
use crate::fleet::{Cause, Fault, GenerationNumber};
use crate::readiness::{Advice, says_would_block};
use crate::sockets::FlagChange;

/// A listener that some worker made block: when it was seen last, and its name.
#[derive(Default)]
pub(super) struct Cleared(Option<(Instant, String)>);

impl Cleared {
    pub(super) fn see(&mut self, change: &FlagChange) {
        if change.makes_block() {
            self.0 = Some((Instant::now(), change.listener.clone()));
        }
    }
}

impl Master {
    /// Only where the failure looks like it: nearly every event loop sets the flag, and most releases fail otherwise.
    pub(super) fn advice_on_flags(
        &self,
        generation: GenerationNumber,
        cause: Cause,
        log_tail: &[String],
    ) -> Option<Advice> {
        match cause {
            Cause::ExitedBeforeReady | Cause::ExitedInBake if says_would_block(log_tail) => {
                let mut listeners = self.listeners_of(generation);
                let (member, _) = listeners.find(|(_, it)| it.was_made_nonblocking())?;
                Some(Advice {
                    fact: format!(
                        "O_NONBLOCK of listener {} was set by a worker, for every generation",
                        member.entry.name
                    ),
                    hint: "accept(2) does not wait then: a program that accepts beside an event loop waits with \
                           poll(2) and goes on after EAGAIN"
                        .to_owned(),
                })
            }
            Cause::ReadyTimeout
            | Cause::WatchdogMissed
            | Cause::Fault(Fault::Unhealthy | Fault::Unanswered | Fault::QueueNotTaken) => {
                let (at, listener) = self.cleared.0.as_ref()?;
                let all = self.workers.all.iter();
                let its = all.filter(|(id, _)| id.generation == generation);
                let began = its.map(|(_, worker)| worker.launched_at).min()?;
                (*at >= began).then(|| Advice {
                    fact: format!(
                        "O_NONBLOCK of listener {listener} was cleared by a worker meanwhile, for every generation"
                    ),
                    hint: "an event loop hangs in accept(2) then: keep every program from clearing the flag of a \
                           socket that it was given"
                        .to_owned(),
                })
            }
            _ => None,
        }
    }
}
