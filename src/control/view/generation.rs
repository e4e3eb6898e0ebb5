//! Generations, their release and their workers, in `status`.

use serde::{Deserialize, Serialize};

use super::words;
use crate::control::Timestamp;

/// A numbered set of workers that run one release.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationView {
    /// Its number; numbers only grow.
    pub number: u32,
    /// What the caller of the upgrade named it.
    pub label: Option<String>,
    /// Where it stands.
    pub state: GenerationState,
    /// What it runs.
    pub release: ReleaseView,
    /// When its first worker was launched; while a hook runs before that, when it was made.
    pub started_at: Timestamp,
    /// When its last process is ended, finished or not; null while it is not
    /// draining.
    pub drain_deadline: Option<Timestamp>,
    /// When the canary is aborted unless somebody promotes it; null where nothing ends it by itself.
    #[serde(default)]
    pub canary_deadline: Option<Timestamp>,
    /// Its workers, by slot.
    pub workers: Vec<WorkerView>,
}

/// Where a generation stands.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// Not all of its workers are ready yet.
    Starting,
    /// Ready, and watched beside the old one.
    Baking,
    /// A few workers of it serve until promoted or aborted.
    Canary,
    /// It serves.
    Active,
    /// It finishes what it has.
    Draining,
    /// It served, and has no process any more.
    Ended,
    /// It never became active.
    Failed,
    /// A state of a newer version.
    #[cfg_attr(test, schemars(skip))]
    #[serde(other)]
    Unknown,
}

words!(GenerationState {
    Starting => "starting",
    Baking => "baking",
    Canary => "canary",
    Active => "active",
    Draining => "draining",
    Ended => "ended",
    Failed => "failed",
    Unknown => "unknown",
});

/// What a generation runs, as it was when the upgrade began. Its environment
/// is not here: it may hold secrets.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseView {
    /// The argv, before templates are filled in.
    pub command: Vec<String>,
    /// The file that is executed, resolved.
    pub executable: String,
    /// The executable's GNU build ID in hex, when it has one.
    pub build_id: Option<String>,
    /// What of it stays the same when files change on disk.
    pub pinned: Pinned,
    /// Files named in the command that changed since: a new worker of this
    /// generation would run them. Empty where nothing did.
    #[serde(default)]
    pub changed_files: Vec<String>,
}

/// How much of a release is held by descriptor rather than by name.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pinned {
    /// The program itself: a respawn runs the same bytes, whatever is on disk.
    Program,
    /// The directory: a moved `current` link changes nothing, an edited file does.
    Directory,
    /// Nothing: what the path holds when a worker starts is what runs.
    Path,
    /// A way of a newer version.
    #[cfg_attr(test, schemars(skip))]
    #[serde(other)]
    Unknown,
}

words!(Pinned {
    Program => "program",
    Directory => "directory",
    Path => "path",
    Unknown => "unknown",
});

/// One application process of a generation.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// `GENERATION.SLOT`.
    pub id: String,
    /// Its process ID; null while none runs in this slot.
    pub pid: Option<i32>,
    /// Where it stands.
    pub state: WorkerState,
    /// From its launch to its readiness, in milliseconds; null before.
    pub ready_ms: Option<u64>,
    /// Which evidence made it ready: "epoll_wait on listener http", "READY=1".
    pub ready_by: Option<String>,
    /// What it said last with `STATUS=`.
    pub status: Option<String>,
    /// What its last probe said; null while none has ended.
    #[serde(default)]
    pub health: Option<HealthView>,
    /// How often this slot was started again in this generation.
    pub restarts: u32,
    /// When it is started again, in milliseconds from now; null unless it waits for that.
    #[serde(default)]
    pub restart_in_ms: Option<u64>,
    /// How the process ended that it was; null while there is one, and before the first.
    #[serde(default)]
    pub ended: Option<String>,
    /// Connections that it holds, all its processes together, and that came through the listeners: those that it
    /// made itself do not count, nor do datagrams. Null where they are not counted; `uncounted` of the
    /// status says why.
    pub connections: Option<u64>,
}

/// What a worker's last probe said, of its readiness or of its health.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthView {
    /// Which probe: `http:/healthz`, `exec:./check`.
    pub check: String,
    /// Whether it was answered well.
    pub ok: bool,
    /// How many failed in a row.
    pub failures: u32,
    /// What was answered, or why that is no answer.
    pub reason: String,
    /// When it ended.
    pub at: Timestamp,
}

/// Where a worker stands.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// Launched, or waiting to be launched again.
    Starting,
    /// It serves.
    Ready,
    /// It was told to finish.
    Draining,
    /// It ended and is not started again.
    Exited,
    /// A state of a newer version.
    #[cfg_attr(test, schemars(skip))]
    #[serde(other)]
    Unknown,
}

words!(WorkerState {
    Starting => "starting",
    Ready => "ready",
    Draining => "draining",
    Exited => "exited",
    Unknown => "unknown",
});
