//! What the server asks the master, and what the master answers.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use super::ApiError;
use super::view::{OperationKind, OperationView};

/// One call, and where its answer goes. A dropped sender is answered with an
/// error of its own: no caller ever waits for nothing.
pub type Request = (Call, oneshot::Sender<Answer>);

/// Who asks: what the kernel says of the other end of the socket
/// (`SO_PEERCRED`, unix(7)), or of the sender of a signal.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The effective user ID.
    pub uid: u32,
    /// The process ID; 0 when it lies outside our PID namespace.
    pub pid: i32,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            // Others' names are in a database that may take its time.
            0 => write!(f, "root (pid {})", self.pid),
            uid => write!(f, "uid {uid} (pid {})", self.pid),
        }
    }
}

/// What the server asks of the master.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// A [`Status`](super::view::Status).
    Status,
    /// A [`ConfigView`](super::view::ConfigView).
    Config,
    /// A [`HistoryView`](super::view::HistoryView).
    History,
    /// The operation with this id: [`Answer::Operation`], or
    /// [`ApiError::not_found`].
    Operation(String),
    /// A [`LogsView`](super::view::LogsView).
    Logs {
        /// Only of this worker; unknown: [`ApiError::not_found`].
        worker: Option<String>,
        /// Only of this generation; unknown: [`ApiError::not_found`].
        generation: Option<u32>,
        /// Only lines with a greater number.
        after: Option<u64>,
        /// Only so many, the last ones.
        lines: Option<u32>,
    },
    /// [`Answer::Ready`]: whether a worker serves and no stop is under way.
    /// `/healthz` asks it too: any answer shows that the master's loop turns.
    Ready,
    /// [`Answer::Text`]: the metrics in Prometheus' text format.
    Metrics,
    /// Begin, queue or join an operation: [`Answer::Operation`] at once, or an
    /// error when it is refused.
    Start {
        /// What is asked.
        kind: OperationRequest,
        /// Who asks.
        by: Caller,
    },
}

/// An operation that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationRequest {
    /// A new generation.
    Upgrade(UpgradeRequest),
    /// A new generation of an earlier release.
    Rollback {
        /// Of this generation; else of the last good one before the active.
        to: Option<u32>,
        /// Also when its files changed since.
        anyway: bool,
    },
    /// End the bake or the canary, forward.
    Promote,
    /// End the running operation, back.
    Abort,
    /// A new generation, if the release changed.
    Reload,
    /// So many workers; never 0.
    Scale(u32),
    /// Drain and end.
    Stop {
        /// Without the drain.
        now: bool,
    },
}

impl OperationRequest {
    /// Its kind, for the [`OperationView`].
    #[must_use]
    pub fn kind(&self) -> OperationKind {
        match self {
            Self::Upgrade(_) => OperationKind::Upgrade,
            Self::Rollback { .. } => OperationKind::Rollback,
            Self::Promote => OperationKind::Promote,
            Self::Abort => OperationKind::Abort,
            Self::Reload => OperationKind::Reload,
            Self::Scale(_) => OperationKind::Scale,
            Self::Stop { .. } => OperationKind::Stop,
        }
    }
}

/// `POST /v1/upgrade`. All of it may be left out: then the release is the
/// config's, read again.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpgradeRequest {
    /// The command to run instead; as in the config: a relative program is
    /// looked up from the worker's directory, not from the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Set on top of the config's `app.env`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Read instead of the config's `app.env_file`; an absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_file: Option<PathBuf>,
    /// What an earlier upgrade brought is over: the config's own release, with what this call brings.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub from_config: bool,
    /// A name for people: a version, a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// So many workers stand beside the old generation until promoted or aborted; 0: none, whatever the
    /// config says. Left out: as the config says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<u32>,
    /// Answer only when the replaced generation ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
    /// The caller is systemd's `ExecReload=`: tell it `READY=1` before this is
    /// answered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub systemd: bool,
}

/// What the master answers.
#[derive(Debug)]
pub enum Answer {
    /// 200 with this JSON; see [`Answer::view`].
    Json(Bytes),
    /// 200 with this text.
    Text(String),
    /// 200 when `ready`, else 503; either with a sentence.
    Ready {
        /// Whether a worker serves and no stop is under way.
        ready: bool,
        /// What a person wants to read.
        detail: String,
    },
    /// An operation, as it goes on. The server answers when it ended, or at
    /// once, as the caller wants. The master sends each change; whoever joins
    /// subscribes to the same sender. Once the operation is ended and drained
    /// the sender may be dropped.
    Operation(watch::Receiver<OperationView>),
    /// It cannot be done.
    Error(ApiError),
}

impl Answer {
    /// A view as JSON.
    #[must_use]
    pub fn view(view: &impl Serialize) -> Self {
        match serde_json::to_vec(view) {
            Ok(json) => Self::Json(json.into()),
            Err(error) => Self::Error(ApiError::internal(format!("no JSON: {error}"))),
        }
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}
