//! What workers leave behind: a process group that outlives its leader, what left its group, and orphans.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::groups::is_populated;
use super::worker::{Leftover, Workers};
use super::{Input, Master};
use crate::fleet::{GenerationNumber, WorkerId};
use crate::process::{Child, Mark, Remnant, Swept, is_descendant, may_have_orphans, orphans};

/// How often a process group that outlives its leader is looked at.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// So many of those that left their group are named.
const NAMED_MAX: usize = 16;
/// So many environments are looked into at once.
const MARKS_MAX: usize = 16;

const SIGTERM: i32 = nix::libc::SIGTERM;

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
    /// a worker's: they are named, once, and left alone. Those of `swept` were told of, and may not be dead yet.
    fn tell_of_orphans(&mut self, swept: &[Remnant]) {
        let leftovers: Vec<i32> = self
            .workers
            .leftovers
            .iter()
            .map(|left| left.child.pid())
            .collect();
        let ours = |pid: i32| {
            self.workers.by_pid.contains_key(&pid)
                || swept.iter().any(|remnant| remnant.pid == pid)
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
        for (place, (pid, comm)) in new.into_iter().enumerate() {
            let whose = match place < MARKS_MAX {
                true => whose(pid),
                false => unknown(),
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
        // A look at every process takes milliseconds: a thread looks. Whoever is left of it lost its parents and was
        // given to us.
        match may_have_orphans(|pid| is_ours(&self.workers, pid)) {
            true => {
                let (sweeper, inputs) = (self.errands.sweeper().clone(), self.inputs.clone());
                let nonces = info.nonces.clone();
                self.workers.sweeps += 1;
                tokio::spawn(async move {
                    let swept = sweeper.sweep(Mark::Worker, nonces, None).await;
                    inputs.send(Input::Swept(generation, swept)).await.is_ok()
                });
            }
            false => self.tell_of_orphans(&[]),
        }
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

    /// Nothing of this generation is left any more.
    pub(super) fn on_swept(&mut self, generation: GenerationNumber, swept: io::Result<Swept>) {
        self.workers.sweeps = self.workers.sweeps.saturating_sub(1);
        let swept = swept.unwrap_or_else(|error| {
            self.warn(format!(
                "whoever left the process groups of the ended generation {generation} could not be looked for: {error}"
            ));
            Swept::default()
        });
        for remnant in swept.remnants.iter().take(NAMED_MAX) {
            let outcome = match &remnant.killed {
                Ok(()) => "killed".to_owned(),
                Err(why) => format!("not killed: {why}"),
            };
            self.warn(format!(
                "process {} ({}) of the ended generation {generation} had left its process \
                 group: {outcome}",
                remnant.pid, remnant.comm
            ));
        }
        let more = swept.remnants.len().saturating_sub(NAMED_MAX);
        if more > 0 {
            self.warn(format!(
                "so had {more} more of generation {generation}: killed, as far as they are ours to kill"
            ));
        }
        if swept.unfinished {
            self.warn(format!(
                "processes of the ended generation {generation} started others until it was given up to look for \
                 them: some may live on, and still hold a listener"
            ));
        }
        self.tell_of_orphans(&swept.remnants);
    }

    /// The master ends: nobody outlives it who is being looked for.
    pub(super) async fn finish_sweeps(&mut self, inputs: &mut mpsc::Receiver<Input>) {
        while self.workers.sweeps > 0 {
            match inputs.recv().await {
                Some(Input::Swept(generation, swept)) => self.on_swept(generation, swept),
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// What its environment tells of an orphan.
fn whose(pid: i32) -> &'static str {
    match (Mark::Errand.glimpse(pid), Mark::Worker.glimpse(pid)) {
        (Some(_), _) => "was left behind by a hook or a check (it carries HANDOVER_ERRAND)",
        (None, Some(_)) => {
            "was left behind by a worker and left its group (it carries HANDOVER_NONCE)"
        }
        (None, None) => unknown(),
    }
}

/// The first process of a container is given every orphan there is.
fn unknown() -> &'static str {
    match super::listeners::own_pid() {
        1 => {
            "is an orphan of a worker, or of somebody else in this container: no worker's group or environment tells"
        }
        _ => {
            "was left behind by a worker, a hook or a check, and left its group and its environment"
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
        left.signal_group(nix::libc::SIGKILL)
            .expect("its number is still its own");
        while !left.group_is_empty() {
            assert!(Instant::now() < deadline, "the group did not end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
