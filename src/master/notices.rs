//! What workers say on their notify sockets.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{Input, Master};
use crate::control::{Count, Event};
use crate::fleet::{self, Fault, WorkerId};
use crate::process::is_descendant;
use crate::readiness::notify::{Datagram, Message};

/// How long a notify socket rests that could not be read: memory that is short comes back.
const REST: Duration = Duration::from_millis(100);

/// Passes on what `receive` brings from a worker's notify socket, until the loop is gone. A failure is
/// told once, and no reason to be deaf from then on.
pub(super) async fn listen<F>(id: WorkerId, receive: impl Fn() -> F, inputs: mpsc::Sender<Input>)
where
    F: Future<Output = io::Result<Datagram>>,
{
    let mut told = false;
    loop {
        let input = match receive().await {
            Ok(datagram) => Input::Notify(id, datagram),
            Err(_) if told => {
                sleep(REST).await;
                continue;
            }
            Err(error) => {
                told = true;
                Input::Deaf(id, error)
            }
        };
        if inputs.send(input).await.is_err() {
            return;
        }
    }
}

impl Master {
    /// The notify socket of this worker cannot be read at the moment.
    pub(super) fn on_deaf(&self, id: WorkerId, error: &io::Error) {
        self.warn(format!(
            "reading the notify socket of worker {id} failed: {error}; it is tried again and again"
        ));
    }

    pub(super) fn on_datagram(&mut self, id: WorkerId, mut datagram: Datagram) {
        if let Some(fault) = &datagram.fault {
            let message = format!("worker {id} sent a notification that is ignored: {fault}");
            return self.mention(id, Event::Warning { message });
        }
        if !self.is_from(id, &datagram) {
            let message = format!(
                "process {} (uid {}) spoke on the notify socket of worker {id} and does not \
                 belong to it: ignored",
                datagram.pid, datagram.uid
            );
            return self.mention(id, Event::Warning { message });
        }
        self.store(id, &mut datagram);
        for message in std::mem::take(&mut datagram.messages) {
            self.on_message(id, message);
        }
        // Dropping it closes a barrier's descriptor: everything before is done.
    }

    /// Tells what a worker sent, unless it has said too much of late: then it is counted, and the count is told.
    pub(super) fn mention(&mut self, id: WorkerId, event: Event) {
        if let Some(worker) = self.workers.get_mut(id)
            && !worker.chatter.may_speak(Instant::now())
        {
            let over = worker.chatter.over_at();
            let next = [self.workers.chatter_at, over].into_iter().flatten().min();
            self.workers.chatter_at = next;
            return;
        }
        self.tell(&event);
    }

    /// Tells how many lines were dropped, where it is time to.
    pub(super) fn end_chatter(&mut self) {
        let now = Instant::now();
        if self.workers.chatter_at.is_none_or(|due| due > now) {
            return;
        }
        let mut dropped = Vec::new();
        let mut next = None;
        for (id, worker) in &mut self.workers.all {
            dropped.extend(worker.chatter.end(now, false).map(|count| (*id, count)));
            if worker.chatter.has_dropped() {
                next = [next, worker.chatter.over_at()].into_iter().flatten().min();
            }
        }
        self.workers.chatter_at = next;
        for (id, count) in dropped {
            self.tell_dropped(id, count);
        }
    }

    /// A worker that ended says nothing more.
    pub(super) fn end_chatter_of(&mut self, id: WorkerId) {
        let worker = self.workers.get_mut(id);
        let dropped = worker.and_then(|worker| worker.chatter.end(Instant::now(), true));
        if let Some(count) = dropped {
            self.tell_dropped(id, count);
        }
    }

    fn tell_dropped(&self, id: WorkerId, count: u64) {
        self.warn(format!(
            "worker {id} sends more notifications than the log takes: {} not told one by one",
            Count(count, "line")
        ));
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
                if self.believes_notify(id) {
                    self.declare_ready(id, "READY=1".to_owned());
                }
            }
            Message::Status(status) => {
                let Some(worker) = self.workers.get_mut(id) else {
                    return;
                };
                if worker.status.replace(status.clone()).as_ref() == Some(&status) {
                    return;
                }
                let event = Event::WorkerStatus {
                    worker: id.to_string(),
                    generation: id.generation,
                    status,
                };
                self.mention(id, event);
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
                let message = format!("worker {id} is about to fail: {error}");
                self.mention(id, Event::Warning { message });
            }
            Message::Malformed(what) => {
                let message = format!("worker {id} sent {what}, which means nothing: ignored");
                self.mention(id, Event::Warning { message });
            }
            Message::WatchdogUsec(_) => {
                let message = format!(
                    "worker {id} asks for another watchdog interval; handover keeps app.watchdog"
                );
                self.mention(id, Event::Warning { message });
            }
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
    fn believes_notify(&self, id: WorkerId) -> bool {
        use crate::config::ReadyOn;
        let manner = self.manner(id.generation);
        matches!(manner.ready.on, ReadyOn::Auto | ReadyOn::Notify)
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
            let message = format!(
                "worker {id} names process {pid} as its main one, which does not descend from it: \
                 ignored"
            );
            self.mention(id, Event::Warning { message });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_notify_socket_that_failed_is_read_again_and_told_once() {
        let id = WorkerId {
            generation: 1,
            slot: 0,
            life: 0,
        };
        let (inputs, mut told) = mpsc::channel(8);
        let asked = AtomicU32::new(0);
        let receive = move || {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                match number % 3 {
                    2 => Ok(Datagram::default()),
                    _ => Err(io::Error::from(io::ErrorKind::OutOfMemory)),
                }
            }
        };
        let listening = tokio::spawn(listen(id, receive, inputs));
        assert!(matches!(told.recv().await, Some(Input::Deaf(_, _))));
        for _ in 0..2 {
            assert!(matches!(told.recv().await, Some(Input::Notify(_, _))));
        }
        // It ends with the loop, and only then.
        drop(told);
        listening.await.expect("it ends by itself");
    }
}
