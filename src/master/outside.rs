//! Workers that somebody else ended while they drained: what they had is lost, and that is no drain.

use super::Master;
use crate::control::{Count, Event};
use crate::fleet::WorkerId;
use crate::process::Exit;

impl Master {
    /// Whether a worker that was told to finish was ended by a signal that is not ours instead; people are told.
    pub(super) fn was_ended_from_outside(&self, id: WorkerId, exit: Exit) -> bool {
        let drain_signal = self.manner(id.generation).drain_signal.number();
        let foreign = matches!(exit, Exit::Signal { number, .. } if number != drain_signal);
        let Some(worker) = self.workers.get(id).filter(|_| foreign) else {
            return false;
        };
        // Why the kernel did it was told as it was seen.
        if worker.over.is_none() {
            let held = match self.counting.held_by(id) {
                Some(held @ 1..) => format!(
                    "; it held {} when they were counted last",
                    Count(held, "connection")
                ),
                _ => String::new(),
            };
            self.tell(&Event::WorkerKilled {
                worker: id.to_string(),
                generation: id.generation,
                pid: worker.last_pid,
                reason: format!("{exit} before it had drained, and not by handover{held}"),
            });
        }
        true
    }
}
