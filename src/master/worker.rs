//! Workers and generations as the master holds them: what the fleet must not
//! know of them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::chatter::Chatter;
use super::failures::FailureReport;
use super::groups::is_populated;
use super::lineup::Lineup;
use super::output::Output;
use super::releases::Manner;
use super::taken::Search;
use crate::config::Config;
use crate::control::Timestamp;
use crate::fleet::{ReleaseId, WorkerId};
use crate::process::{Child, Exit, Group, Reader};
use crate::readiness::notify::{Socket, Store};
use crate::readiness::{Advice, Untaken};
use crate::sockets::Listener;

/// Outputs of workers that are gone, for `logs`.
const ARCHIVED: usize = 16;

/// One process, or one that could not be started.
pub(super) struct Worker {
    /// None when it could not be started.
    pub(super) child: Option<Child>,
    /// Its number, also after its end; 0 when it could not be started.
    pub(super) last_pid: i32,
    /// Another process that it named as its main one (`MAINPID=`).
    pub(super) main: Option<i32>,
    /// The launcher has said whether the program was executed.
    pub(super) reported: bool,
    /// The fleet knows of its end.
    pub(super) delivered: bool,
    pub(super) nonce: String,
    pub(super) directory: PathBuf,
    pub(super) launched_at: Instant,
    pub(super) output: Option<Arc<Output>>,
    pub(super) readers: Vec<Arc<Reader>>,
    pub(super) notify: Option<Arc<Socket>>,
    pub(super) tasks: Vec<AbortHandle>,
    pub(super) ready: Option<Readiness>,
    /// What it said last with `STATUS=`.
    pub(super) status: Option<String>,
    /// When it was told to end.
    pub(super) told: Option<Instant>,
    pub(super) killed: bool,
    /// Why handover ended it, where that was its own fault: "was not ready within 30 s (ready.timeout)".
    pub(super) unfit: Option<String>,
    pub(super) exit: Option<Exit>,
    /// Why it could not be started.
    pub(super) not_started: Option<String>,
    /// Its control group, where it has one.
    pub(super) group: Option<Arc<Group>>,
    /// The bound that it was killed for: "over limits.memory = 512M".
    pub(super) over: Option<String>,
    /// Where it listens instead, and what to type.
    pub(super) elsewhere: Option<Advice>,
    /// What it has for `http:` probes.
    pub(super) probe: Option<ProbeListener>,
    /// What its last probe said.
    pub(super) verdict: Option<Verdict>,
    /// It was told that it is not well and is not replaced yet.
    pub(super) waits: bool,
    /// The listeners that it was never seen to wait on, as it was given up before it was ready.
    pub(super) untaken: Untaken,
    /// What it executed as it was given up before it was ready: afterwards nobody can see that.
    pub(super) executed: Option<PathBuf>,
    /// What of its release had changed on disk when it was started, in words.
    pub(super) changed: Vec<String>,
    /// Who has the address that it could not bind.
    pub(super) search: Search,
    /// What of its notifications the log is spared.
    pub(super) chatter: Chatter,
}

/// The listener that this worker alone has. The master keeps it open as long as there is the worker.
pub(super) struct ProbeListener {
    pub(super) listener: Listener,
    /// Its number in the worker.
    pub(super) descriptor: u32,
    /// The worker took a connection on it.
    pub(super) taken: bool,
}

/// What a probe said.
pub(super) struct Verdict {
    /// The probe as it is written in the config.
    pub(super) check: String,
    pub(super) ok: bool,
    /// How many failed in a row.
    pub(super) failures: u32,
    pub(super) reason: String,
    pub(super) at: Timestamp,
}

/// How and when it became ready.
#[derive(Clone)]
pub(super) struct Readiness {
    pub(super) after_ms: u64,
    pub(super) by: String,
}

impl Worker {
    pub(super) fn pid(&self) -> Option<i32> {
        self.child.as_ref().map(Child::pid)
    }

    /// How it ended, in words.
    pub(super) fn ending(&self) -> String {
        match (&self.not_started, &self.exit) {
            (Some(reason), _) => reason.clone(),
            (None, Some(exit)) => match &self.over {
                Some(over) => format!("{exit}, {over}"),
                None => exit.to_string(),
            },
            (None, None) => "still there".to_owned(),
        }
    }

    /// Ends the tasks that read for it, and closes what they read from and what it was asked on.
    pub(super) fn hush(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        self.readers.clear();
        self.notify = None;
        self.probe = None;
    }
}

/// How long a generation was watched beside the one before it.
pub(super) struct Bake {
    since: Instant,
    planned: Duration,
    took: Option<Duration>,
}

impl Bake {
    pub(super) fn begin(planned: Duration) -> Self {
        Self {
            since: Instant::now(),
            planned,
            took: None,
        }
    }

    pub(super) fn end(&mut self) {
        self.took = Some(self.since.elapsed());
    }

    /// How long it was, at most as long as planned, and as how long it was planned.
    pub(super) fn was(&self) -> (Duration, Duration) {
        let took = self.took.unwrap_or(self.planned);
        (took.min(self.planned), self.planned)
    }
}

/// What is left of a worker whose leader ended: its process group, and who is in its control group.
pub(super) struct Leftover {
    pub(super) id: WorkerId,
    pub(super) child: Child,
    pub(super) group: Option<Arc<Group>>,
    /// The worker counts as gone only when both groups are.
    pub(super) deliver: bool,
    /// When it is killed.
    pub(super) kill_at: Option<Instant>,
}

impl Leftover {
    pub(super) fn is_gone(&self) -> bool {
        self.child.group_is_empty() && !is_populated(self.group.as_ref())
    }
}

/// All workers of generations that have not ended.
#[derive(Default)]
pub(super) struct Workers {
    pub(super) all: BTreeMap<WorkerId, Worker>,
    pub(super) by_pid: BTreeMap<i32, WorkerId>,
    pub(super) leftovers: Vec<Leftover>,
    /// Orphans that people were told of.
    pub(super) orphans: HashSet<i32>,
    /// Generations that ended and of which a thread looks for what is left.
    pub(super) sweeps: usize,
    pub(super) archive: VecDeque<(WorkerId, Arc<Output>)>,
    /// A SIGCHLD that waits: looking at every child has its price.
    pub(super) reap_at: Option<Instant>,
    pub(super) reaped_until: Option<Instant>,
    pub(super) check_at: Option<Instant>,
    /// When it is told what of their notifications was dropped.
    pub(super) chatter_at: Option<Instant>,
}

impl Workers {
    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.all.get_mut(&id)
    }

    /// Takes a new one; the one before it in its slot goes to the archive.
    pub(super) fn insert(&mut self, id: WorkerId, worker: Worker) {
        if let Some(life) = id.life.checked_sub(1) {
            self.archive(WorkerId { life, ..id });
        }
        if let Some(pid) = worker.pid() {
            self.by_pid.insert(pid, id);
        }
        self.all.insert(id, worker);
    }

    /// Lets go of one that is gone; what it printed is kept for a while.
    pub(super) fn archive(&mut self, id: WorkerId) {
        let Some(mut worker) = self.all.remove(&id) else {
            return;
        };
        worker.hush();
        if let Some(pid) = worker.pid()
            // The number may be another worker's by now.
            && self.by_pid.get(&pid) == Some(&id)
        {
            self.by_pid.remove(&pid);
        }
        if let Some(output) = worker.output {
            self.archive.push_back((id, output));
            if self.archive.len() > ARCHIVED {
                self.archive.pop_front();
            }
        }
    }

    /// When something of theirs must be looked at again.
    pub(super) fn next_check(&self) -> Option<Instant> {
        let all = [self.reap_at, self.check_at, self.chatter_at];
        all.into_iter().flatten().min()
    }
}

/// That a generation starts, which is told when its first worker is launched.
pub(super) struct ToBeTold {
    /// Whose it is.
    pub(super) operation: Option<String>,
}

/// A generation as the master holds it.
pub(super) struct GenerationInfo {
    pub(super) release: ReleaseId,
    pub(super) manner: Arc<Manner>,
    /// The listeners of its workers, also of those that are started again.
    pub(super) lineup: Arc<Lineup>,
    pub(super) label: Option<String>,
    pub(super) started_at: Timestamp,
    pub(super) to_be_told: Option<ToBeTold>,
    /// Descriptors that its workers stored, by slot.
    pub(super) stores: BTreeMap<u32, Store>,
    /// The nonces of all workers that it ever had: one a slot.
    pub(super) nonces: HashSet<String>,
    pub(super) failure: Option<FailureReport>,
    /// The last of its workers to become ready.
    pub(super) ready: Option<Readiness>,
    pub(super) bake: Option<Bake>,
    /// By slot: the life that a restart began, and the how many-th in a row it was.
    restarts: BTreeMap<u32, (u32, u32)>,
    /// The config that was in force then.
    pub(super) began_with: Box<Config>,
    pub(super) was_active: bool,
    pub(super) changed_told: bool,
    /// The worker whose health check speaks against it.
    pub(super) unhealthy: Option<WorkerId>,
    /// Since when it drains.
    pub(super) drains_since: Option<Instant>,
    /// Connections that its workers still held when they were killed; none where that is not known.
    pub(super) cut: Option<u64>,
    /// People were told that its program does not handle the drain signal.
    pub(super) unhandled_told: bool,
    /// People were told that its check leaves processes behind.
    pub(super) left_by_check_told: bool,
}

impl GenerationInfo {
    /// This worker was lost, and its slot gets another one.
    pub(super) fn count_restart(&mut self, lost: WorkerId) {
        let before = self.restarts_of(lost);
        let entry = (lost.life.saturating_add(1), before.saturating_add(1));
        self.restarts.insert(lost.slot, entry);
    }

    /// How often the worker was started again because the one before it was lost; a place that was taken anew, as by
    /// scaling, begins at 0.
    pub(super) fn restarts_of(&self, id: WorkerId) -> u32 {
        let counted = self.restarts.get(&id.slot);
        // Until the next one is launched the slot bears the life of the lost one.
        let current = |(life, _): &&(u32, u32)| *life == id.life || *life == id.life + 1;
        counted.filter(current).map_or(0, |(_, count)| *count)
    }

    pub(super) fn new(
        release: ReleaseId,
        manner: Arc<Manner>,
        label: Option<String>,
        began_with: Box<Config>,
    ) -> Self {
        Self {
            release,
            manner,
            lineup: Arc::default(),
            label,
            started_at: Timestamp::now(),
            to_be_told: None,
            stores: BTreeMap::new(),
            nonces: HashSet::new(),
            failure: None,
            ready: None,
            bake: None,
            restarts: BTreeMap::new(),
            began_with,
            was_active: false,
            changed_told: false,
            unhealthy: None,
            drains_since: None,
            cut: Some(0),
            unhandled_told: false,
            left_by_check_told: false,
        }
    }
}
