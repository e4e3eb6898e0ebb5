//! How a worker ends: it is told to, its end is taken, the fleet learns of it.

use std::io;
use std::time::{Duration, Instant};

use super::Master;
use super::leftovers::is_ours;
use super::watching::executed;
use crate::control::{Count, Event};
use crate::fleet::{self, Ending, Fault, WorkerId};
use crate::process::{Child, Exit, reap_ready};
use crate::readiness::notify::Datagram;

/// Looking at every child takes at most this part of the time.
const REAP_SHARE: u32 = 20;

/// And no distance between two looks is longer: on a busy machine a look takes as long as the
/// scheduler likes, which says nothing of what it costs.
const REAP_DISTANCE_MAX: Duration = Duration::from_millis(200);

/// When the children are looked at again after that failed.
const REAP_AGAIN: Duration = Duration::from_secs(1);

/// As many datagrams as a socket holds at once under systemd (net.unix.max_dgram_qlen, else 10): all that
/// a worker said before its end. Whoever goes on sending, its children for one, is not waited for.
const LAST_WORDS_MAX: usize = 512;

impl Master {
    /// SIGCHLD came: somebody ended. With thousands of children a look at all
    /// of them costs milliseconds, so looks keep a distance.
    pub(super) fn reap(&mut self) {
        let now = Instant::now();
        if let Some(until) = self.workers.reaped_until.filter(|until| *until > now) {
            self.workers.reap_at = Some(until);
            return;
        }
        self.workers.reap_at = None;
        // An errand reaps its own.
        let reaped = reap_ready(|pid| is_ours(&self.workers, pid) || self.errands.reaps(pid));
        match reaped {
            Ok(reaped) => {
                for pid in reaped.known {
                    if let Some(id) = self.workers.by_pid.get(&pid).copied() {
                        self.on_exit(id);
                    }
                }
            }
            Err(error) => {
                self.warn(format!("looking for ended processes failed: {error}"));
                // Each worker is asked by its own descriptor; strangers wait until there is another.
                let all: Vec<WorkerId> = self.workers.by_pid.values().copied().collect();
                for id in all {
                    self.on_exit(id);
                }
                self.workers.reap_at = Some(now + REAP_AGAIN);
            }
        }
        self.workers.reaped_until = Some(Instant::now() + distance_after(now.elapsed()));
    }

    /// A worker was stopped (SIGSTOP, SIGTSTP) and serves nobody until it goes on. In a new generation that is
    /// a fault; who stops a worker of the active one wants to look at it.
    pub(super) fn on_stopped(&mut self, pid: i32) {
        let Some(id) = self.workers.by_pid.get(&pid).copied() else {
            return;
        };
        self.warn(format!(
            "worker {id} (pid {pid}) was stopped by a signal and serves nobody until it gets SIGCONT"
        ));
        let (_, target) = self.fleet.rollout();
        if target == Some(id.generation) {
            self.pending
                .push_back(fleet::Event::Fault(id, Fault::Stopped));
        }
    }

    /// A worker's leader ended.
    fn on_exit(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let Some(child) = &worker.child else {
            return;
        };
        let exit = match child.reap() {
            Ok(Some(exit)) => exit,
            Ok(None) | Err(_) => return,
        };
        worker.exit = Some(exit);
        let pid = child.pid();
        if let Some(output) = &worker.output {
            output.finish(&worker.readers);
        }
        // What it said last counts, above all what it stored.
        if let Some(notify) = worker.notify.clone() {
            for datagram in last_words(|| notify.try_recv()) {
                self.on_datagram(id, datagram);
            }
        }
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let expected = worker.told.is_some() || worker.killed;
        self.workers.by_pid.remove(&pid);
        self.watching.forget(id);
        self.look_at_bounds(id, exit);
        if self.adopt_main_process(id) {
            return;
        }
        self.probing.forget(id);
        self.after_leader(id, expected);
    }

    /// The leader is gone, but it named another process as the main one
    /// (`MAINPID=`), which is our child now: that one is the worker.
    fn adopt_main_process(&mut self, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get_mut(id) else {
            return false;
        };
        let Some(child) = worker.main.take().and_then(|pid| Child::adopt(pid).ok()) else {
            return false;
        };
        let pid = child.pid();
        worker.exit = None;
        worker.last_pid = pid;
        worker.child = Some(child);
        self.workers.by_pid.insert(pid, id);
        // It is the one that serves, or will.
        self.watch(id);
        true
    }

    /// The fleet learns of the end, once. A program that was never executed is
    /// reported by its launcher, whose word may come after its exit.
    pub(super) fn deliver_exit(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let group_lives = self
            .workers
            .leftovers
            .iter()
            .any(|left| left.id == id && left.deliver);
        let Some(exit) = worker.exit.filter(|_| worker.reported && !worker.delivered) else {
            return;
        };
        if group_lives || self.waits_for_holder(id) {
            return;
        }
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let ending = match worker.not_started {
            Some(_) => Ending::NotStarted,
            None => Ending::Ended,
        };
        let drained = worker.told.map(|told| told.elapsed());
        let killed = worker.killed;
        let signal = self.manner(id.generation).drain_signal;
        let unheard = matches!(exit, Exit::Signal { number, .. } if number == signal.number());
        let expected = worker.told.is_some() || killed;
        let (pid, generation) = (worker.last_pid, id.generation);
        let ran = worker.not_started.is_none();
        let served = worker.ready.is_some();
        self.end_chatter_of(id);
        if ran {
            let (worker, exit) = (id.to_string(), exit.to_string());
            self.tell(&Event::WorkerExited {
                worker,
                generation,
                pid,
                exit,
                expected,
            });
        }
        if drained.is_some() && !killed && matches!(exit, Exit::Signal { .. }) {
            // It was in the middle of something, and nobody knows of how much.
            self.add_cut(id, None);
        }
        if unheard && served && drained.is_some() && !killed {
            self.tell_of_unhandled(id, &signal.to_string());
        }
        let told_to = drained.filter(|_| !killed);
        if let Some(drained) = told_to.filter(|_| !self.was_ended_from_outside(id, exit)) {
            let drain_ms = u64::try_from(drained.as_millis()).unwrap_or(u64::MAX);
            let worker = id.to_string();
            self.tell(&Event::WorkerDrained {
                worker,
                generation,
                drain_ms,
                exit: (!is_orderly(exit)).then(|| exit.to_string()),
            });
        }
        self.clean_up(id);
        self.pending.push_back(fleet::Event::Exited(id, ending));
    }

    /// A program that leaves the drain signal to the kernel finishes nothing: once a generation.
    fn tell_of_unhandled(&mut self, id: WorkerId, signal: &str) {
        let Some(info) = self.generations.get_mut(&id.generation) else {
            return;
        };
        if !std::mem::replace(&mut info.unhandled_told, true) {
            self.warn(format!(
                "worker {id} was ended by {signal} itself and finished nothing: requests that it had \
                 were cut; a program that drains handles {signal} (drain.signal)"
            ));
        }
    }

    /// Removes the files of a worker that is gone.
    fn clean_up(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.delivered = true;
            worker.hush();
            // Its group is gone, or a leftover that holds it.
            worker.child = None;
            self.runtime.discard(&worker.directory);
        }
        self.remove_group(self.workers.group_to_remove(id));
    }

    /// Tells a worker to end by the signal of the config.
    pub(super) fn drain_worker(&mut self, id: WorkerId) {
        let signal = self.manner(id.generation).drain_signal.number();
        self.watching.forget(id);
        self.probing.forget(id);
        if self.cancel_launch(id) {
            return;
        }
        if let Some(worker) = self.workers.get_mut(id) {
            worker.told = Some(Instant::now());
            if let Some(child) = &worker.child {
                // It may have ended by itself; then its end is on its way.
                drop(child.signal(signal));
            }
        }
    }

    /// Of a worker that was never ready and that is given up: what it took and what it ran, which nobody can see
    /// afterwards.
    pub(super) fn keep_what_was_seen(&mut self, id: WorkerId) {
        let untaken = self.watching.untaken(id);
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        if worker.told.is_none() {
            worker.untaken = untaken;
        }
        if worker.ready.is_none() {
            let program = worker.pid().and_then(executed);
            worker.executed = program.or(worker.executed.take());
        }
    }

    /// Ends a worker and its whole process group.
    pub(super) fn kill_worker(&mut self, id: WorkerId) {
        self.keep_what_was_seen(id);
        self.watching.forget(id);
        self.probing.forget(id);
        if self.cancel_launch(id) {
            return;
        }
        let left = self.workers.leftovers.iter().find(|left| left.id == id);
        if let Some(left) = left {
            left.child.kill();
        }
        // Whoever left the process group is still in the control group.
        let group = self.workers.get(id).and_then(|worker| worker.group.clone());
        self.kill_group(group);
        let held = self.counting.held_by(id);
        if let Some(worker) = self.workers.get_mut(id) {
            let again = std::mem::replace(&mut worker.killed, true);
            let drained = worker.told.is_some();
            let unfit = worker.unfit.clone();
            if let Some(child) = &worker.child {
                child.kill();
            }
            let pid = worker.last_pid;
            if drained && !again {
                self.add_cut(id, held);
            }
            let reason = match (drained, held) {
                (true, Some(held @ 1..)) => format!(
                    "it was told to end and had not; it held {}",
                    Count(held, "connection")
                ),
                (true, _) => "it was told to end and had not".to_owned(),
                (false, _) => match unfit {
                    Some(why) => format!("it {why}"),
                    None => "the service ends at once".to_owned(),
                },
            };
            self.tell(&Event::WorkerKilled {
                worker: id.to_string(),
                generation: id.generation,
                pid,
                reason,
            });
        }
    }

    /// Connections that a worker still held when it was ended, as far as that is known.
    fn add_cut(&mut self, id: WorkerId, held: Option<u64>) {
        if let Some(info) = self.generations.get_mut(&id.generation) {
            info.cut = info.cut.zip(held).map(|(cut, held)| cut + held);
        }
    }
}

/// Whether a program that was told to end may be believed to have finished: also a shell's way of saying "by that signal"
/// (128 + its number), with which a JVM ends that ran all its hooks.
fn is_orderly(exit: Exit) -> bool {
    match exit {
        Exit::Code(code) => code == 0 || code > 128,
        // Nobody was told; nothing speaks against it.
        Exit::Unknown => true,
        Exit::Signal { .. } => false,
    }
}

/// How long the next look at every child waits after one that took so long.
fn distance_after(look: Duration) -> Duration {
    look.saturating_mul(REAP_SHARE).min(REAP_DISTANCE_MAX)
}

/// What waits in a notify socket, up to a bound.
fn last_words(
    mut next: impl FnMut() -> io::Result<Option<Datagram>>,
) -> impl Iterator<Item = Datagram> {
    std::iter::from_fn(move || next().ok().flatten()).take(LAST_WORDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_was_held_up_does_not_delay_the_next_for_seconds() {
        let looked = Duration::from_millis;
        assert_eq!(distance_after(looked(1)), looked(20));
        assert_eq!(distance_after(looked(300)), REAP_DISTANCE_MAX);
    }

    #[test]
    fn last_words_end_while_somebody_goes_on_sending() {
        let endless = || Ok(Some(Datagram::default()));
        assert_eq!(last_words(endless).count(), LAST_WORDS_MAX);
        let mut three = (0..3).map(|_| Datagram::default());
        assert_eq!(last_words(|| Ok(three.next())).count(), 3);
    }
}
