//! `GET /v1/status`.

use serde::{Deserialize, Serialize};

use super::{GenerationView, OperationResult, OperationView, words};
use crate::control::Timestamp;

/// All that a person or a script wants to know of a running master.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The service's name.
    pub name: String,
    /// The master's process ID; it never changes while the master lives.
    pub pid: i32,
    /// The version of the `handover` that runs.
    pub version: String,
    /// What the master does.
    pub state: MasterState,
    /// The active generation; 0 before the first one is.
    pub generation: u32,
    /// `direct`, `balance` or `session`.
    pub route: String,
    /// When this was said; ages and remaining times count from here, not from
    /// the reader's clock.
    pub at: Timestamp,
    /// When the master started.
    pub started_at: Timestamp,
    /// Every listener, in config order.
    pub listeners: Vec<ListenerView>,
    /// Where metrics and health are served over TCP; null where they are not.
    #[serde(default)]
    pub admin: Option<String>,
    /// Every generation that has a process or a place, newest first.
    pub generations: Vec<GenerationView>,
    /// Zeros where the route has no sessions.
    #[serde(default)]
    pub sessions: SessionsView,
    /// How upgrades ended since the master started.
    pub upgrades: UpgradesView,
    /// The last upgrade that ended; null before there was one.
    pub last_upgrade: Option<LastUpgrade>,
    /// The operation that runs; null when none does.
    #[serde(default)]
    pub operation: Option<OperationView>,
    /// The operation that waits for it; null when none does.
    #[serde(default)]
    pub queued: Option<OperationView>,
    /// A sentence when the release is not the one of the config: what it is,
    /// who asked for it and when. Null otherwise.
    #[serde(default)]
    pub sticky: Option<String>,
    /// A sentence when the number of workers is not the one of the config: how many, and who asked for it.
    /// Null otherwise.
    #[serde(default)]
    pub scaled: Option<String>,
    /// Why connections of some workers, or of all, are not counted, in one sentence; null where all are.
    #[serde(default)]
    pub uncounted: Option<String>,
    /// What a person should know and nobody asked for.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What a master does.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MasterState {
    /// The first generation is not ready yet.
    Starting,
    /// A generation is active and nothing is under way. Whether a worker of it is ready, say `workers` and `warnings`,
    /// and `/readyz`.
    Serving,
    /// A generation is active and an operation is under way.
    Upgrading,
    /// The master drains and ends.
    Stopping,
    /// A state of a newer version.
    #[cfg_attr(test, schemars(skip))]
    #[serde(other)]
    Unknown,
}

words!(MasterState {
    Starting => "starting",
    Serving => "serving",
    Upgrading => "upgrading",
    Stopping => "stopping",
    Unknown => "unknown",
});

/// One listener.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerView {
    /// Its name in the config, and in `LISTEN_FDNAMES`.
    pub name: String,
    /// Where it really listens: the number where port 0 was asked for.
    pub address: String,
    /// `bound` by the master or given by `systemd`.
    pub origin: String,
    /// How many connections may wait in its queue; 0 for datagrams, which have none.
    pub backlog: u32,
    /// How many wait in it now; null where that is not known, and for datagrams, which have no
    /// connections.
    #[serde(default)]
    pub queue: Option<u32>,
    /// Whether a worker must wait on it to be ready.
    pub ready: bool,
    /// Whether it does not work, for the reason in `note`: somebody took its path or its port, for one.
    #[serde(default)]
    pub broken: bool,
    /// What a person should know of it: that two generations of a datagram
    /// socket read from one queue, or why it could not be repaired.
    #[serde(default)]
    pub note: Option<String>,
}

/// The session table in numbers. All zero where the route has no sessions.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsView {
    /// Sessions that have a worker.
    pub bound: u64,
    /// Workers that wait for a session.
    pub warm: u64,
    /// Workers that start.
    pub starting: u64,
    /// Workers that finish.
    pub draining: u64,
    /// First requests that wait for a worker.
    pub queued: u64,
    /// Sessions whose worker died, since the master started.
    pub lost_total: u64,
}

/// How upgrades, reloads with a changed release and rollbacks ended since the master started. Each new generation counts
/// in one of the three, so each try of `upgrade.retries` too; the first one and calls that made none count in none.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradesView {
    /// A new release became active.
    pub succeeded: u64,
    /// The new generation did not: it was not ready, failed its bake, or was aborted, also when it stood as a canary.
    pub failed: u64,
    /// A rollback (the verb) made an earlier release active again.
    pub rolled_back: u64,
}

/// The last upgrade that ended.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUpgrade {
    /// The operation's id.
    pub id: String,
    /// How it ended.
    pub result: OperationResult,
    /// Why, when it is not `done`.
    pub reason: Option<String>,
    /// The generation that was active before.
    pub from: Option<u32>,
    /// The generation that it made.
    pub to: Option<u32>,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The failing worker's last lines; empty when it is `done`.
    pub log_tail: Vec<String>,
}

impl LastUpgrade {
    /// What stays in `status` of an operation that ended; none while it runs.
    #[must_use]
    pub fn of(operation: &OperationView) -> Option<Self> {
        Some(Self {
            id: operation.id.clone(),
            result: operation.result?,
            reason: operation.reason.clone(),
            from: operation.from,
            to: operation.to,
            started_at: operation.started_at,
            duration_ms: operation.duration_ms.unwrap_or_default(),
            log_tail: operation.log_tail.clone(),
        })
    }
}
