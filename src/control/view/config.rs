//! `GET /v1/config`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The config that is in effect, each value with where it came from.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigView {
    /// The config file, when there is one.
    pub file: Option<String>,
    /// Every key, in the order of the documentation.
    pub values: Vec<ConfigValue>,
    /// A sentence when the release is not the one of the config.
    #[serde(default)]
    pub sticky: Option<String>,
}

/// One key of the config.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigValue {
    /// `app.workers`, `listen.http.address`.
    pub key: String,
    /// Its value; null when it is masked.
    pub value: Value,
    /// `default` (of a name that comes from something else: `default, of /etc/handover/web.toml`), `/etc/handover/web.toml:12`, `HANDOVER_APP__WORKERS`, `--workers`. Of a value that is in force still
    /// although that place says another by now: a sentence with both.
    pub origin: String,
    /// Whether the value is withheld because it may be a secret.
    #[serde(default)]
    pub masked: bool,
}
