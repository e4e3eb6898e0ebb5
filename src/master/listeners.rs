//! Repairs of listeners, as events; and what follows from a new socket.

use super::Master;
use crate::control::view::OperationKind;
use crate::control::{Caller, Event};
use crate::fleet::{self, Kind, Request};
use crate::sockets::{self, Repair, RepairKind};

impl Master {
    pub(super) fn on_repairs(&mut self, repairs: Vec<Repair>) {
        let mut replaced = false;
        for repair in repairs {
            let what = repair.to_string();
            let listener = repair.listener;
            match repair.what {
                RepairKind::Failed(reason) => {
                    self.tell(&Event::ListenerFailed { listener, reason })
                }
                RepairKind::Replaced { .. } => {
                    replaced = true;
                    self.tell(&Event::ListenerRepaired { listener, what });
                }
                // Whatever a runtime does when it takes a socket (node does) is mended and no trouble.
                RepairKind::Requeued { from, to } => self.tell(&Event::ListenerChanged {
                    listener,
                    what: format!(
                        "a worker called listen(2) on it, which cut its queue to {from}; it holds {to} again"
                    ),
                    usual: true,
                }),
                RepairKind::Relistened | RepairKind::PathRestored => {
                    self.tell(&Event::ListenerRepaired { listener, what });
                }
            }
        }
        if replaced {
            self.replace_active();
        }
    }

    /// The active generation cannot see a socket that was made after it: a new
    /// generation of the same release can.
    fn replace_active(&mut self) {
        let Some(active) = self.fleet.active() else {
            return;
        };
        let release = active.release;
        let by = Caller {
            uid: nix::unistd::geteuid().as_raw(),
            pid: own_pid(),
        };
        let info = self.generations.get(&active.number);
        let label = info.and_then(|info| info.label.clone());
        let (operation, _) = self.operations.begin(OperationKind::Upgrade, by, label);
        self.operations.update(operation, |view| {
            view.cause = Some("listener_replaced".to_owned());
        });
        let fixed = false;
        let kind = Kind::Renew;
        let request = Request {
            operation,
            release,
            fixed,
            kind,
            plan: self.steps(Some(0)),
        };
        self.pending.push_back(fleet::Event::Request(request));
    }

    /// Puts back the backlogs that workers of this generation changed, at once: the steady look
    /// would come within a second.
    pub(super) fn mend_backlogs(&mut self) {
        let repairs = sockets::mend_backlogs(&self.listeners);
        self.on_repairs(repairs);
    }

    /// A worker that changes a flag of a listener changes it for everybody.
    pub(super) fn look_at_flags(&mut self) {
        let mut events = Vec::new();
        for listener in &mut self.listeners {
            while let Some(change) = listener.flags_changed() {
                self.cleared.see(&change);
                events.push(Event::ListenerChanged {
                    listener: listener.name().to_owned(),
                    what: change.to_string(),
                    usual: change.is_usual(),
                });
            }
        }
        for event in &events {
            self.tell(event);
        }
    }
}

pub(super) fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}
