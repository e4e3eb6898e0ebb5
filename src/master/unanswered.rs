//! The words for a worker that its probes did not find well.

use super::Master;
use super::asking::Question;
use crate::config::{Probe, ReadyOn};
use crate::fleet::WorkerId;
use crate::readiness::Advice;

/// A longer command is cut where it is named, in characters.
const NAMED_MAX: usize = 60;

impl Master {
    /// Whether nobody waits on its listener for probes: what cannot be told speaks for it.
    pub(super) fn has_taken(&self, id: WorkerId) -> bool {
        let own = self
            .workers
            .get(id)
            .and_then(|worker| worker.probe.as_ref());
        own.is_none_or(|own| own.listener.untaken().unwrap_or(0) == 0)
    }

    /// A check that leaves processes behind does so each time: that is told once a generation.
    pub(super) fn tell_of_left_by_check(&mut self, question: &Question) {
        let id = question.id;
        let info = self.generations.get_mut(&id.generation);
        let (Some(left), Some(info)) = (&question.left, info) else {
            return;
        };
        if !std::mem::replace(&mut info.left_by_check_told, true) {
            let check = named(&question.probe);
            self.warn(format!(
                "check {check} of worker {id} {left}; what a check starts ends with it (told once a generation)"
            ));
        }
    }

    /// The words for a worker that serves its own listeners and not the one for probes, where that is so.
    pub(super) fn untaken(&self, id: WorkerId) -> Option<Advice> {
        let own = self.workers.get(id)?.probe.as_ref()?;
        if own.taken || self.has_taken(id) {
            return None;
        }
        let fact = format!(
            "it has not taken a connection on its listener '{}' (descriptor {}, {}): a program that serves one \
             descriptor only cannot be probed by http: in direct mode",
            own.listener.name(),
            own.descriptor,
            own.listener.address()
        );
        let hint = "serve every descriptor that LISTEN_FDS counts, or write exec:COMMAND instead of http:PATH; \
                    for readiness alone also: ready.on = \"auto\" or \"notify\"";
        Some(Advice {
            fact,
            hint: hint.to_owned(),
        })
    }

    /// What its probes said last, for a worker that was not ready in time.
    pub(super) fn asked_in_vain(&self, id: WorkerId) -> Option<Advice> {
        let manner = self.manner(id.generation);
        let probe = match (&manner.ready.on, &manner.health.check) {
            (ReadyOn::Probe(probe), _) => probe,
            (_, Some(check)) => check,
            _ => return None,
        };
        if let Some(advice) = self.untaken(id) {
            return Some(advice);
        }
        let verdict = self.workers.get(id)?.verdict.as_ref();
        let fact = match verdict.filter(|verdict| !verdict.ok) {
            Some(verdict) => format!("{}: {}", verdict.check, verdict.reason),
            None if matches!(manner.ready.on, ReadyOn::Probe(_)) => {
                format!("{} did not answer", named(probe))
            }
            // It never gave the sign after which it would have been asked.
            None => return None,
        };
        let hint = "if it is only slow: a longer ready.timeout, and for a slow answer a longer health.timeout";
        Some(Advice {
            fact,
            hint: hint.to_owned() + &self.where_it_printed(),
        })
    }
}

/// The probe as it is written in the config, cut.
pub(super) fn named(probe: &Probe) -> String {
    let text = probe.to_string();
    match text.char_indices().nth(NAMED_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
