//! The loop: what is waited for, and in which order it is taken.

use std::time::Instant;

use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::signals::Signals;
use super::{Input, Master};
use crate::control;
use crate::fleet::{Event, Timer};
use crate::process::pollable;
use crate::sockets::Watch;

/// What the loop waits for, beside time.
pub(super) struct Sources {
    pub(super) signals: Signals,
    pub(super) calls: mpsc::Receiver<control::Request>,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) watch: AsyncFd<Watch>,
}

impl Sources {
    pub(super) fn new(
        signals: Signals,
        calls: mpsc::Receiver<control::Request>,
        inputs: mpsc::Receiver<Input>,
        watch: Watch,
    ) -> std::io::Result<Self> {
        let watch = pollable(watch)?;
        Ok(Self {
            signals,
            calls,
            inputs,
            watch,
        })
    }
}

impl Master {
    /// Runs until the fleet is finished; returns the exit code.
    pub(super) async fn run(&mut self, mut sources: Sources) -> u8 {
        loop {
            if !self.launches.is_empty() {
                // Servers and readers have their turn between two launches, also while there is always something to be
                // taken below.
                tokio::task::yield_now().await;
            }
            self.settle();
            if let Some(code) = self.finished {
                self.finish_sweeps(&mut sources.inputs).await;
                self.answer_all();
                return code;
            }
            self.follow_listeners(sources.watch.get_mut());
            let wake = self.next_wake();
            let launching = !self.launches.is_empty();
            let sleep = async {
                match wake {
                    _ if launching => {}
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                signal = sources.signals.next() => match signal {
                    Ok(signal) => self.on_signal(&signal),
                    Err(error) => self.warn(format!("reading signals failed: {error}")),
                },
                Some((call, reply)) = sources.calls.recv() => self.on_request(call, reply),
                Some(input) = sources.inputs.recv() => self.on_input(input),
                Ok(mut guard) = sources.watch.readable_mut() => {
                    let repairs = guard.get_inner_mut().examine(&mut self.listeners);
                    guard.clear_ready();
                    self.on_repairs(repairs);
                }
                // Last: whatever is due is done in every turn.
                () = sleep => {}
            }
        }
    }

    fn on_input(&mut self, input: Input) {
        match input {
            Input::Launched(id, outcome) => self.on_launched(id, outcome),
            Input::Notify(id, datagram) => self.on_datagram(id, datagram),
            Input::Deaf(id, error) => self.on_deaf(id, &error),
            Input::Matched(id, line) => self.on_matched(id, &line),
            Input::Group(notice) => self.on_group(notice),
            Input::Asked(question, reply) => self.on_asked(&question, reply),
            Input::Swept(generation, swept) => self.on_swept(generation, swept),
            Input::Taken(id, found) => self.on_taken(id, found),
            Input::Hook(id, done) => self.on_hook_done(id, &done),
            Input::RuntimeDir => self.mend_runtime(),
            Input::Counted(counter, count) => self.on_counted(counter, count),
            Input::Bound(outcome) => self.on_bound(outcome),
            Input::BindNext => self.bind_next(),
            Input::ProgramChanged => self.look_at_program(),
            Input::ProgramSeen(paths, look) => self.on_program_seen(&paths, look),
            Input::ProgramClosed(directory) => self.warn(format!(
                "upgrade.on_change: {} may not be read: changes in it are not noticed as long as that is so",
                directory.display()
            )),
            Input::ProgramLost(error) => self.warn(format!(
                "upgrade.on_change: the program cannot be watched any more ({error}): changes are not noticed"
            )),
            Input::Kept(operation, outcome, done) => self.on_kept(operation, outcome, done),
            Input::Admin(address, bound) => self.on_admin(address, bound),
        }
    }

    /// Brings everything that is due to its end: events for the fleet, its
    /// timers, looks at workers, signs of life for systemd.
    fn settle(&mut self) {
        self.look_at_workers();
        self.ask_some();
        self.look_at_queues();
        self.check_leftovers();
        self.count_when_due();
        self.launch_some();
        loop {
            let now = self.now();
            let event = match self.pending.pop_front() {
                Some(event) => event,
                None => match self.fleet.next_due(now) {
                    Some(Timer::Bake(number)) => self.ends_its_bake(number),
                    Some(timer) => Event::Due(timer),
                    None => break,
                },
            };
            for effect in self.fleet.handle(now, event) {
                self.perform(effect);
            }
        }
        self.look_at_hooks();
        self.look_who_serves();
        self.operations.settle();
        self.releases.keep(self.fleet.releases_in_use());
        self.tell_systemd();
    }

    /// When something is due at the latest.
    fn next_wake(&self) -> Option<Instant> {
        let fleet = self.fleet.next_deadline().map(|due| self.origin + due);
        [
            fleet,
            self.watching.next_look(),
            self.probing.next_due(),
            self.queues.next_look(),
            self.counting.next(),
            self.workers.next_check(),
            self.next_telling(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
