//! `GET /v1/history`.

use serde::{Deserialize, Serialize};

use super::OperationView;
use crate::control::Timestamp;

/// Operations that ended, and those under way: newest first.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryView {
    /// When the master started: it knows of nothing before.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Number, label, who asked (uid, pid), result, duration and reason of each.
    pub operations: Vec<OperationView>,
}
