//! Workers and generations as the master holds them: what the fleet must not
//! know of them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;

use super::chatter::Chatter;
use super::failures::FailureReport;
use super::lineup::Lineup;
use super::output::Output;
use super::releases::Manner;
use crate::control::Timestamp;
use crate::fleet::{ReleaseId, WorkerId};
use crate::process::{Child, Exit, Reader};
use crate::readiness::Advice;
use crate::readiness::notify::{Socket, Store};

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
    pub(super) exit: Option<Exit>,
    /// Why it could not be started.
    pub(super) not_started: Option<String>,
    /// Where it listens instead, and what to type.
    pub(super) elsewhere: Option<Advice>,
    /// What of its notifications the log is spared.
    pub(super) chatter: Chatter,
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
            (None, Some(exit)) => exit.to_string(),
            (None, None) => "still there".to_owned(),
        }
    }

    /// Ends the tasks that read for it, and closes what they read from.
    pub(super) fn hush(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        self.readers.clear();
        self.notify = None;
    }
}

/// What is left of a worker whose leader ended: its process group.
pub(super) struct Leftover {
    pub(super) id: WorkerId,
    pub(super) child: Child,
    /// The worker counts as gone only when the group is.
    pub(super) deliver: bool,
    /// When it is killed.
    pub(super) kill_at: Option<Instant>,
}

/// All workers of generations that have not ended.
#[derive(Default)]
pub(super) struct Workers {
    pub(super) all: BTreeMap<WorkerId, Worker>,
    pub(super) by_pid: BTreeMap<i32, WorkerId>,
    pub(super) leftovers: Vec<Leftover>,
    /// Orphans that people were told of.
    pub(super) orphans: HashSet<i32>,
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

/// A generation as the master holds it.
pub(super) struct GenerationInfo {
    pub(super) release: ReleaseId,
    pub(super) manner: Arc<Manner>,
    /// The listeners of its workers, also of those that are started again.
    pub(super) lineup: Arc<Lineup>,
    pub(super) label: Option<String>,
    pub(super) started_at: Timestamp,
    /// Descriptors that its workers stored, by slot.
    pub(super) stores: BTreeMap<u32, Store>,
    /// The nonces of all workers that it ever had: one a slot.
    pub(super) nonces: HashSet<String>,
    pub(super) failure: Option<FailureReport>,
    /// The last of its workers to become ready.
    pub(super) ready: Option<Readiness>,
    pub(super) was_baked: bool,
    pub(super) was_active: bool,
    pub(super) changed_told: bool,
    /// People were told that its program does not handle the drain signal.
    pub(super) unhandled_told: bool,
}

impl GenerationInfo {
    pub(super) fn new(release: ReleaseId, manner: Arc<Manner>, label: Option<String>) -> Self {
        Self {
            release,
            manner,
            lineup: Arc::default(),
            label,
            started_at: Timestamp::now(),
            stores: BTreeMap::new(),
            nonces: HashSet::new(),
            failure: None,
            ready: None,
            was_baked: false,
            was_active: false,
            changed_told: false,
            unhandled_told: false,
        }
    }
}
