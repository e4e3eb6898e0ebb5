//! What workers say on their notify sockets.

use std::io;

use super::Master;
use crate::control::Event;
use crate::fleet::{self, Fault, WorkerId};
use crate::process::is_descendant;
use crate::readiness::notify::{Datagram, Message, StoreChange};

impl Master {
    pub(super) fn on_datagram(&mut self, id: WorkerId, mut datagram: Datagram) {
        if let Some(fault) = &datagram.fault {
            return self.warn(format!(
                "worker {id} sent a notification that is ignored: {fault}"
            ));
        }
        if !self.is_from(id, &datagram) {
            return self.warn(format!(
                "process {} (uid {}) spoke on the notify socket of worker {id} and does not \
                 belong to it: ignored",
                datagram.pid, datagram.uid
            ));
        }
        self.store(id, &mut datagram);
        for message in std::mem::take(&mut datagram.messages) {
            self.on_message(id, message);
        }
        // Dropping it closes a barrier's descriptor: everything before is done.
    }

    /// Each worker has a socket of its own in a directory of its user, so a
    /// sender that is gone already is believed; one that lives must be the
    /// worker or a descendant.
    fn is_from(&self, id: WorkerId, datagram: &Datagram) -> bool {
        let Some(leader) = self.workers.get(id).and_then(|worker| worker.pid()) else {
            return false;
        };
        if datagram.pid == leader {
            return true;
        }
        is_descendant(datagram.pid, leader).unwrap_or(true)
    }

    fn on_message(&mut self, id: WorkerId, message: Message) {
        match message {
            Message::Ready => {
                if self.believes_notify() {
                    self.declare_ready(id, "READY=1".to_owned());
                }
            }
            Message::Status(status) => {
                if let Some(worker) = self.workers.get_mut(id) {
                    worker.status = Some(status.clone());
                }
                let generation = id.generation;
                self.tell(&Event::WorkerStatus {
                    worker: id.to_string(),
                    generation,
                    status,
                });
            }
            Message::Watchdog => self.pending.push_back(fleet::Event::Ping(id)),
            Message::WatchdogTrigger => {
                self.pending
                    .push_back(fleet::Event::Fault(id, Fault::Unfit));
            }
            Message::ExtendTimeout(by) => {
                self.pending.push_back(fleet::Event::Extend(id, by));
            }
            Message::MainPid(pid) => self.adopt_main(id, pid),
            Message::Errno(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                self.warn(format!("worker {id} is about to fail: {error}"));
            }
            Message::Malformed(what) => {
                self.warn(format!(
                    "worker {id} sent {what}, which means nothing: ignored"
                ));
            }
            Message::WatchdogUsec(_) => self.warn(format!(
                "worker {id} asks for another watchdog interval; handover keeps app.watchdog"
            )),
            // Belong to the datagram as a whole.
            Message::FdStore
            | Message::FdName(_)
            | Message::FdStoreRemove
            | Message::FdPollOff
            | Message::Barrier => {}
            // Of interest to people only through STATUS=.
            Message::Reloading | Message::MonotonicUsec(_) | Message::Stopping => {}
            Message::Unknown(_) => {}
        }
    }

    /// Whether `READY=1` counts under `ready.on`.
    fn believes_notify(&self) -> bool {
        use crate::config::ReadyOn;
        matches!(self.config().ready.on, ReadyOn::Auto | ReadyOn::Notify)
    }

    fn store(&mut self, id: WorkerId, datagram: &mut Datagram) {
        let Some(generation) = self.generations.get_mut(&id.generation) else {
            return;
        };
        let store = generation.stores.entry(id.slot).or_default();
        for change in store.apply(datagram) {
            if let StoreChange::Refused(refused) = change {
                self.warn(format!(
                    "worker {id} asked to store a descriptor: {refused}"
                ));
            }
        }
    }

    /// `MAINPID=`: another process of the worker's tree is the worker now, once
    /// its leader ended (an application that forks and lets its parent go).
    fn adopt_main(&mut self, id: WorkerId, pid: i32) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let leader = worker.pid().unwrap_or_default();
        if pid == leader {
            worker.main = None;
        } else if is_descendant(pid, leader) == Some(true) {
            worker.main = Some(pid);
        } else {
            self.warn(format!(
                "worker {id} names process {pid} as its main one, which does not descend from it: \
                 ignored"
            ));
        }
    }
}
