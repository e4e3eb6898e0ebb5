//! Control groups of workers: asked for before a worker is started, told of when it was killed for want of memory,
//! removed when it is gone. What waits inside the kernel is done by a thread of its own ([`clerk`]).

mod clerk;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::Master;
use super::worker::Workers;
use crate::config::{Config, Fault, Faults, Loaded, write_size};
use crate::control::Event;
use crate::fleet::{ReleaseId, WorkerId};
use crate::process::{
    Bounds, Controller, Exit, Group, Lack, Made, Refusal, Release, Resource, lacks,
};
use clerk::{Clerk, Job};

/// How long the end of the master waits for the groups to be removed.
const LEAVE: Duration = Duration::from_secs(2);

/// What the clerk answers.
pub(super) enum Notice {
    /// The group of this worker, or why there is none.
    Made(WorkerId, Result<Made, Lack>),
    /// Something for people.
    Trouble(String),
}

/// Groups as the master holds them.
#[derive(Default)]
pub(super) struct Groups {
    /// None until a release asks for a bound.
    clerk: Option<Clerk>,
    /// Workers that wait for their group.
    waiting: BTreeMap<WorkerId, ReleaseId>,
    /// Groups that wait for their worker.
    ready: BTreeMap<WorkerId, Result<Made, Lack>>,
    /// Bounds that are not in force, as `best_effort` allows: what `status` says of them.
    lacking: Lacking,
    told: HashSet<String>,
}

/// Bounds that are not in force, each with a sentence for people.
pub(super) type Lacking = BTreeMap<Controller, String>;

/// What of a worker's bounds is in force.
#[derive(Default)]
pub(super) struct Bounded {
    pub(super) group: Option<Arc<Group>>,
    pub(super) limits: Vec<(Resource, u64)>,
}

/// What the config bounds.
pub(super) fn bounds(config: &Config) -> Bounds {
    let limits = &config.limits;
    Bounds {
        memory: limits.memory,
        cpu: limits.cpu.map(Bounds::cpu_time),
        pids: limits.pids,
        best_effort: limits.best_effort,
    }
}

/// Bounds that cannot be set here, each at its key's place.
pub(super) fn faults(loaded: &Loaded, lacks: &[Lack]) -> Vec<Fault> {
    let fault = |lack: &Lack| {
        let (what, hint) = (lack.why.what(), lack.why.hint());
        loaded.fault(lack.controller.key(), what, Some(hint))
    };
    lacks.iter().map(fault).collect()
}

/// What of the config's bounds a worker that is started now would not have: sentences where that is allowed.
///
/// # Errors
/// Where it is not: a fault for each.
pub(super) fn survey(loaded: &Loaded) -> Result<Lacking, Faults> {
    let bounds = bounds(&loaded.config);
    let lacks = lacks(&bounds);
    if lacks.is_empty() || bounds.best_effort {
        let sentence = |lack: &Lack| (lack.controller, instead(lack, &bounds));
        let mut lacking = Lacking::new();
        lacking.extend(lacks.iter().map(sentence));
        return Ok(lacking);
    }
    Err(Faults::in_order(faults(loaded, &lacks)))
}

/// What holds a worker instead.
fn instead(lack: &Lack, bounds: &Bounds) -> String {
    let (key, what) = (lack.controller.key(), lack.why.what());
    match (lack.controller, bounds.memory) {
        (Controller::Memory, Some(bytes)) => format!(
            "{key} {what}; best effort: the data of each process of a worker is bounded to {} by itself \
             (RLIMIT_DATA), not the worker",
            write_size(bytes)
        ),
        _ => format!("{key} {what}; best effort: nothing is bounded by it"),
    }
}

impl Master {
    /// Whether the worker can be started now. Where it needs a group first, that is asked for, and it waits.
    pub(super) fn is_bounded(&mut self, id: WorkerId, release: ReleaseId) -> bool {
        let bounds = self.releases.get(release).map(|it| &it.plan().bounds);
        let Some(bounds) = bounds.filter(|bounds| !bounds.is_empty()) else {
            return true;
        };
        if self.groups.ready.contains_key(&id) {
            return true;
        }
        let bounds = bounds.clone();
        match self.clerk() {
            Ok(clerk) => clerk.ask(Job::Make(id, bounds)),
            Err(error) => {
                let why = Refusal::thread(&error);
                self.groups.ready.insert(id, Made::none(&bounds, &why));
                return true;
            }
        }
        self.groups.waiting.insert(id, release);
        false
    }

    fn clerk(&mut self) -> std::io::Result<&Clerk> {
        match &mut self.groups.clerk {
            Some(clerk) => Ok(clerk),
            empty => Ok(empty.insert(Clerk::start(self.inputs.clone())?)),
        }
    }

    /// The clerk answered.
    pub(super) fn on_group(&mut self, notice: Notice) {
        match notice {
            Notice::Trouble(message) => self.warn(message),
            Notice::Made(id, made) => match self.groups.waiting.remove(&id) {
                Some(release) => {
                    self.groups.ready.insert(id, made);
                    self.launches.push_front((id, release));
                }
                // Nobody wants it any more.
                None => self.discard_made(made),
            },
        }
    }

    /// A worker that waited for its group is no longer wanted; says whether it was such a one.
    pub(super) fn cancel_group(&mut self, id: WorkerId) -> bool {
        if let Some(made) = self.groups.ready.remove(&id) {
            self.discard_made(made);
        }
        self.groups.waiting.remove(&id).is_some()
    }

    fn discard_made(&self, made: Result<Made, Lack>) {
        if let Ok(Made { group, .. }) = made {
            self.remove_group(group);
        }
    }

    /// What holds this worker, as far as anything does.
    ///
    /// # Errors
    /// Why it must not be started.
    pub(super) fn bounded(&mut self, id: WorkerId, release: &Release) -> Result<Bounded, String> {
        let bounds = &release.plan().bounds;
        let made = match self.groups.ready.remove(&id) {
            Some(Ok(made)) => made,
            Some(Err(lack)) => return Err(lack.to_string()),
            None => return Ok(Bounded::default()),
        };
        let mut limits = Vec::new();
        for lack in &made.lacks {
            if let (Controller::Memory, Some(bytes)) = (lack.controller, bounds.memory) {
                limits.push((Resource::Data, bytes));
            }
            self.tell_lack(lack.controller, instead(lack, bounds));
        }
        let group = made.group;
        Ok(Bounded { group, limits })
    }

    /// From now on these are not in force.
    pub(super) fn tell_lacks(&mut self, lacking: Lacking) {
        self.groups.lacking.clear();
        for (controller, sentence) in lacking {
            self.tell_lack(controller, sentence);
        }
    }

    /// In the log once, in `status` as long as it holds; what was found first is told.
    fn tell_lack(&mut self, controller: Controller, sentence: String) {
        if self.groups.lacking.contains_key(&controller) {
            return;
        }
        if self.groups.told.insert(sentence.clone()) {
            self.warn(sentence.clone());
        }
        self.groups.lacking.insert(controller, sentence);
    }

    /// What people should know at any time.
    pub(super) fn standing_warnings(&self) -> Vec<String> {
        let lacking = self.groups.lacking.values();
        let standing = self.warnings.iter().chain(lacking).map(String::as_str);
        standing
            .chain(self.admin.trouble())
            .map(str::to_owned)
            .chain(self.broken_sentences())
            .chain(self.nobody_serves())
            .collect()
    }

    /// SIGKILL for everybody in it.
    pub(super) fn kill_group(&self, group: Option<Arc<Group>>) {
        self.ask_clerk(group, Job::Kill);
    }

    /// Asks those to end who left the process group `leader`.
    pub(super) fn end_group(&self, group: Option<Arc<Group>>, leader: i32) {
        self.ask_clerk(group, |group| Job::End(group, leader));
    }

    /// Its worker is gone.
    pub(super) fn remove_group(&self, group: Option<Arc<Group>>) {
        self.ask_clerk(group, Job::Remove);
    }

    fn ask_clerk(&self, group: Option<Arc<Group>>, job: impl FnOnce(Arc<Group>) -> Job) {
        if let (Some(group), Some(clerk)) = (group, &self.groups.clerk) {
            clerk.ask(job(group));
        }
    }

    /// How the worker came to its bounds, for people: what killed it, when that was its memory.
    pub(super) fn look_at_bounds(&mut self, id: WorkerId, exit: Exit) {
        let memory = self.fleet_release(id).and_then(|release| {
            let bytes = release.plan().bounds.memory?;
            Some(format!("limits.memory = {}", write_size(bytes)))
        });
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let Some(group) = worker.group.clone() else {
            return;
        };
        let killed = matches!(exit, Exit::Signal { number, .. } if number == nix::libc::SIGKILL);
        if killed && !worker.killed && group.oom_kills() > 0 {
            let reason = format!("over {}", memory.unwrap_or_default());
            worker.over = Some(reason.clone());
            let pid = worker.last_pid;
            self.tell(&Event::WorkerKilled {
                worker: id.to_string(),
                generation: id.generation,
                pid,
                reason,
            });
        }
        let refused = group.forks_refused();
        if refused > 0 {
            self.warn(format!(
                "worker {id} was refused a process or thread {refused} times: it had as many as limits.pids \
                 allows"
            ));
        }
    }

    fn fleet_release(&self, id: WorkerId) -> Option<&Release> {
        let info = self.generations.get(&id.generation)?;
        self.releases.get(info.release)
    }

    /// The end: every group is removed and what was changed above them is undone.
    pub(super) async fn leave_groups(&mut self) {
        let Some(clerk) = self.groups.clerk.take() else {
            return;
        };
        let left = tokio::task::spawn_blocking(move || clerk.leave(LEAVE)).await;
        if let Ok(Err(message)) = left {
            self.warn(message);
        }
    }
}

/// Whether anybody of the worker is left: in its process group, or in its control group.
pub(super) fn is_populated(group: Option<&Arc<Group>>) -> bool {
    group.is_some_and(|group| group.is_populated())
}

impl Workers {
    /// The groups of a worker whose leftovers still run stay.
    pub(super) fn group_to_remove(&self, id: WorkerId) -> Option<Arc<Group>> {
        let left = self.leftovers.iter().any(|left| left.id == id);
        let worker = self.get(id).filter(|_| !left)?;
        worker.group.clone()
    }
}
