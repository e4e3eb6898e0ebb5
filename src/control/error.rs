//! Errors of the API: `{"error": {"kind", "message", "hint"}}`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{Fault, Faults, Place};

/// Why a call was not answered with what it asked for.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The class; the HTTP status follows from it.
    pub kind: ErrorKind,
    /// What failed, on what, and why.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where it is the config, or what it names: each fault by itself. `message` has all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultView>,
}

/// One fault of a config. What does not apply is absent.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultView {
    /// The file, where it stands in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Character in the line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The environment variable that says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// The flag that says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// What the variable or the flag says, unless that may be a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The key, as `app.workers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line's text; values of `app.env` are masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl From<&Fault> for FaultView {
    fn from(fault: &Fault) -> Self {
        let mut view = Self {
            file: fault.file().map(|file| file.to_string_lossy().into_owned()),
            line: fault.position().map(|(line, _)| line),
            column: fault.position().map(|(_, column)| column),
            key: fault.key.clone(),
            message: fault.message.clone(),
            hint: fault.hint.clone(),
            source: fault.snippet.as_ref().map(|it| it.text.clone()),
            ..Self::default()
        };
        match fault.place.clone() {
            Place::Variable { name, value } => {
                (view.variable, view.value) = (Some(name), value);
            }
            Place::Flag { name, value } => (view.flag, view.value) = (Some(name), value),
            Place::At { .. } | Place::File(_) | Place::Nowhere => {}
        }
        view
    }
}

/// The body of every error.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ApiError,
}

/// Classes of errors, each with its HTTP status.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// 400: the request makes no sense: its JSON, its query, its fields.
    BadRequest,
    /// 403: this user may not speak to this master.
    Forbidden,
    /// 404: no such route, operation, worker or generation.
    NotFound,
    /// 405: the route has other methods.
    MethodNotAllowed,
    /// 408: the request did not arrive in time.
    TooSlow,
    /// 409: it cannot be done now, and nothing changed.
    Refused,
    /// 413: the body is too large.
    TooLarge,
    /// 422: the config (or the release) has a fault, and nothing changed.
    Config,
    /// 500: a fault of handover itself.
    Internal,
    /// 503: too many connections or calls at once; try again.
    Busy,
    /// 503: the master is ending.
    Stopping,
    /// 504: the master did not answer in time.
    NoAnswer,
    /// A class of a newer version.
    #[cfg_attr(test, schemars(skip))]
    #[serde(other)]
    Unknown,
}

impl ErrorKind {
    /// The HTTP status code (RFC 9110).
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::TooSlow => 408,
            Self::Refused => 409,
            Self::TooLarge => 413,
            Self::Config => 422,
            Self::Internal | Self::Unknown => 500,
            Self::Busy | Self::Stopping => 503,
            Self::NoAnswer => 504,
        }
    }
}

impl ApiError {
    /// An error of class `kind`.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
            hint: None,
            faults: Vec::new(),
        }
    }

    /// Without pictures and without a second fault: for a table.
    #[must_use]
    pub fn in_a_line(&self) -> String {
        let Some(first) = self.faults.first() else {
            return self.message.clone();
        };
        let file = first.file.iter().cloned();
        let numbers = first.line.iter().chain(&first.column);
        let place: Vec<String> = file.chain(numbers.map(ToString::to_string)).collect();
        let more = match self.faults.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        match place.is_empty() {
            true => format!("{}{more}", first.message),
            false => format!("{}: {}{more}", place.join(":"), first.message),
        }
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// 409: it cannot be done now; nothing changed.
    #[must_use]
    pub fn refused(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    /// 422: the config has a fault; nothing changed.
    #[must_use]
    pub fn config(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// 422 with every fault, in words and one by one; nothing changed.
    #[must_use]
    pub fn faults(faults: &Faults) -> Self {
        Self {
            faults: faults.0.iter().map(FaultView::from).collect(),
            ..Self::config(faults)
        }
    }

    /// 404: there is no such thing.
    #[must_use]
    pub fn not_found(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// 500: a fault of handover itself.
    #[must_use]
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    pub(crate) fn bad_request(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::BadRequest, message)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Setting, Value};

    #[test]
    fn each_fault_is_told_as_check_tells_it() {
        let text = "[app]\ncommand = [\"./a\"]\nworkerss = 2\n[drain]\ntimeout = 5\n";
        let flag = Setting {
            key: "app.workers".to_owned(),
            value: Value::Text("none".to_owned()),
            flag: "--workers".to_owned(),
        };
        let faults = config::load_text(Path::new("web.toml"), text, &[], &[flag]);
        let faults = faults.expect_err("it is full of faults");
        let error = ApiError::faults(&faults);
        assert_eq!(error.faults.len(), 4, "{error:#?}");
        let views = serde_json::to_value(&error.faults).expect("JSON");
        assert_eq!(views, faults.to_json()["faults"]);
        let line = error.in_a_line();
        assert!(
            line.starts_with("web.toml:3:1: workerss is no key of [app]")
                && line.ends_with(", and 3 more"),
            "{line}"
        );
        let plain = ApiError::refused("no").in_a_line();
        assert_eq!(plain, "no");
    }
}
