//! Errors of the API: `{"error": {"kind", "message", "hint"}}`.

use std::fmt;

use serde::{Deserialize, Serialize};

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
