//! Listeners that no client gets through: told as long as that lasts, in `status`, to systemd, by `/readyz`, in the metrics
//! and to whoever brings a release.

use super::Master;
use super::operations::is_rollout;
use crate::control::Event;
use crate::control::metrics::Family;
use crate::fleet::OperationId;
use crate::sockets::Listener;

impl Master {
    /// The listeners of what serves: those that are on their way in or out keep nobody from it.
    fn service_listeners(&self) -> Vec<&Listener> {
        match self.fleet.active() {
            Some(active) => self
                .listeners_of(active.number)
                .map(|(_, listener)| listener)
                .collect(),
            None => self.listeners.iter().collect(),
        }
    }

    /// Each listener that no client gets through, and why, as in the log.
    pub(super) fn broken_sentences(&self) -> Vec<String> {
        let sentence = |listener: &Listener| {
            let event = Event::ListenerFailed {
                listener: listener.name().to_owned(),
                reason: listener.trouble()?.to_owned(),
            };
            Some(event.to_string())
        };
        let listeners = self.service_listeners();
        listeners.into_iter().filter_map(sentence).collect()
    }

    /// Not every listener is broken. With one that works a load balancer that asks has somebody to send clients to.
    pub(super) fn is_reachable(&self) -> bool {
        let listeners = self.service_listeners();
        let broken = |it: &&Listener| it.trouble().is_some();
        listeners.is_empty() || !listeners.iter().all(broken)
    }

    pub(super) fn broken_listeners(&self) -> Family {
        let family = Family::gauge(
            "handover_listener_broken",
            "1 where no client gets through to the listener, else 0.",
        );
        let listeners = self.service_listeners();
        listeners.into_iter().fold(family, |family, listener| {
            let broken = u32::from(listener.trouble().is_some());
            family.sample(&[("listener", listener.name())], broken)
        })
    }

    /// Who brings a release learns that not every client will see it.
    pub(super) fn warn_of_broken(&mut self, operation: OperationId) {
        let view = self.operations.view(operation);
        if view.is_some_and(|view| is_rollout(view.kind)) {
            let broken = self.broken_sentences();
            self.operations
                .update(operation, |view| view.warnings.extend(broken));
        }
    }
}
