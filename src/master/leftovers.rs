//! What workers leave behind: a process group that outlives its leader, what left its group, and orphans.

use std::time::{Duration, Instant};

use super::Master;
use super::groups::is_populated;
use super::worker::{Leftover, Workers};
use crate::fleet::{GenerationNumber, WorkerId};
use crate::process::{Child, Mark, is_descendant, may_have_orphans, nonce_processes, orphans};

/// How often a process group that outlives its leader is looked at.
const CHECK_EVERY: Duration = Duration::from_millis(50);

const SIGTERM: i32 = nix::libc::SIGTERM;
const SIGKILL: i32 = nix::libc::SIGKILL;

impl Master {
    /// The leader is gone; is its process group?
    pub(super) fn after_leader(&mut self, id: WorkerId, expected: bool) {
        let kill_after = self.fleet.policy().kill_after;
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let group = worker.group.clone();
        let lives = |child: &Child| !child.group_is_empty() || is_populated(group.as_ref());
        let Some(child) = worker.child.take_if(|child| lives(child)) else {
            return self.deliver_exit(id);
        };
        // Who was told to end may let its children finish until its deadline.
        let kill_at = (!expected).then(|| Instant::now() + kill_after);
        drop(child.signal_group(SIGTERM));
        self.end_group(group.clone(), child.pid());
        let deliver = expected;
        self.workers.leftovers.push(Leftover {
            id,
            child,
            group,
            deliver,
            kill_at,
        });
        self.workers.check_at = Some(Instant::now() + CHECK_EVERY);
        if !deliver {
            self.deliver_exit(id);
        }
    }

    /// Looks at what is left of workers whose leader ended.
    pub(super) fn check_leftovers(&mut self) {
        let now = Instant::now();
        if self.workers.reap_at.is_some_and(|due| due <= now) {
            self.reap();
        }
        self.end_chatter();
        if self.workers.check_at.is_none_or(|due| due > now) {
            return;
        }
        let mut left = std::mem::take(&mut self.workers.leftovers);
        let gone: Vec<Leftover> = left.extract_if(.., |left| left.is_gone()).collect();
        for left in &mut left {
            if left.kill_at.take_if(|due| *due <= now).is_some() {
                left.child.kill();
                self.kill_group(left.group.clone());
            }
        }
        self.workers.leftovers = left;
        let more = !self.workers.leftovers.is_empty();
        self.workers.check_at = more.then_some(now + CHECK_EVERY);
        for left in gone {
            self.deliver_exit(left.id);
            self.remove_group(left.group);
        }
    }

    /// Processes that gave up their group and their nonce cannot be told to be
    /// a worker's: they are named, once, and left alone.
    fn tell_of_orphans(&mut self) {
        let leftovers: Vec<i32> = self
            .workers
            .leftovers
            .iter()
            .map(|left| left.child.pid())
            .collect();
        let ours = |pid: i32| {
            self.workers.by_pid.contains_key(&pid)
                || self.errands.includes(pid)
                || leftovers
                    .iter()
                    .any(|leader| is_descendant(pid, *leader) == Some(true))
        };
        let found = orphans(ours);
        let new: Vec<(i32, String)> = found
            .iter()
            .filter(|(pid, _)| !self.workers.orphans.contains(pid))
            .cloned()
            .collect();
        self.workers.orphans = found.into_iter().map(|(pid, _)| pid).collect();
        for (pid, comm) in new {
            // The first process of a container is given every orphan there is.
            let whose = match super::listeners::own_pid() {
                1 => {
                    "is an orphan of a worker, or of somebody else in this container: no worker's group or environment \
                      tells"
                }
                _ => "was left behind by a worker and left its group and its environment",
            };
            self.warn(format!(
                "process {pid} ({comm}) {whose}; it is not ended, and may still hold a listener"
            ));
        }
    }

    /// The generation ended: nothing of it may be left (F3). What left its
    /// process group still carries its nonce.
    pub(super) fn sweep(&mut self, generation: GenerationNumber) {
        let Some(info) = self.generations.get(&generation) else {
            return;
        };
        // A look at every process takes milliseconds; whoever is left of it lost its parents and was given to us.
        let strays = match may_have_orphans(|pid| is_ours(&self.workers, pid)) {
            true => nonce_processes(Mark::Worker, &info.nonces),
            false => Vec::new(),
        };
        for stray in strays {
            let outcome = match stray.signal(SIGKILL) {
                Ok(()) => "killed".to_owned(),
                Err(error) => format!("not killed: {error}"),
            };
            self.warn(format!(
                "process {} ({}) of the ended generation {generation} had left its process \
                 group: {outcome}",
                stray.pid, stray.comm
            ));
        }
        self.tell_of_orphans();
        let ended: Vec<WorkerId> = self
            .workers
            .all
            .keys()
            .filter(|id| id.generation == generation)
            .copied()
            .collect();
        for id in ended {
            self.workers.archive(id);
        }
    }
}

/// Whether somebody here reaps this child: the leader of a worker, or one that is kept
/// unreaped for the sake of its group's number (kernels before 6.9).
pub(super) fn is_ours(workers: &Workers, pid: i32) -> bool {
    let mut leaders = workers.leftovers.iter().map(|left| left.child.pid());
    workers.by_pid.contains_key(&pid) || leaders.any(|leader| leader == pid)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::process::reap_ready;

    #[test]
    fn f22_a_leader_kept_for_its_group_is_not_reaped_as_a_stranger() {
        // Its sleep lives on in the group.
        #[expect(clippy::zombie_processes, reason = "reaped by its `Child`")]
        let spawned = Command::new("sh")
            .args(["-c", "sleep 60 & exit 0"])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let leader = spawned.id().cast_signed();
        let child = Child::on_an_older_kernel(leader).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while child.reap().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the leader did not end");
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut workers = Workers::default();
        workers.leftovers.push(Leftover {
            id: WorkerId {
                generation: 1,
                slot: 0,
                life: 0,
            },
            child,
            group: None,
            deliver: false,
            kill_at: None,
        });
        // Children of other tests are not ours to reap.
        let reaped = reap_ready(|pid| pid != leader || is_ours(&workers, pid)).unwrap();
        assert_eq!(reaped.strangers, []);
        let left = &workers.leftovers[0].child;
        assert!(!left.group_is_empty());
        left.signal_group(SIGKILL)
            .expect("its number is still its own");
        while !left.group_is_empty() {
            assert!(Instant::now() < deadline, "the group did not end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
