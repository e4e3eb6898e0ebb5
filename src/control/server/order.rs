//! The bodies of orders.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::is_reserved_variable;
use crate::control::view::OperationKind;
use crate::control::{ApiError, OperationRequest, UpgradeRequest};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rollback {
    to: Option<u32>,
    anyway: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    workers: u32,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Stop {
    now: bool,
}

/// What `body` asks for.
pub(super) fn order(kind: OperationKind, body: &[u8]) -> Result<OperationRequest, ApiError> {
    Ok(match kind {
        OperationKind::Upgrade => OperationRequest::Upgrade(upgrade(parse(body)?)?),
        OperationKind::Rollback => {
            let Rollback { to, anyway } = parse(body)?;
            OperationRequest::Rollback { to, anyway }
        }
        OperationKind::Promote => parse(body).map(|Nothing {}| OperationRequest::Promote)?,
        OperationKind::Abort => parse(body).map(|Nothing {}| OperationRequest::Abort)?,
        OperationKind::Reload => parse(body).map(|Nothing {}| OperationRequest::Reload)?,
        OperationKind::Scale => match parse(body)? {
            Scale { workers: 0 } => {
                let error = ApiError::bad_request("\"workers\" is 1 at least");
                return Err(error.hint("to end the service: POST /v1/stop"));
            }
            Scale { workers } => OperationRequest::Scale(workers),
        },
        OperationKind::Stop => {
            let Stop { now } = parse(body)?;
            OperationRequest::Stop { now }
        }
        OperationKind::Unknown => {
            return Err(ApiError::internal("a route that starts nothing"));
        }
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    // The message ends in "at line L column C".
    serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format_args!("the body is not as expected: {error}"))
    })
}

/// Refuses what no program can be started with: execve(2) takes C strings.
fn upgrade(request: UpgradeRequest) -> Result<UpgradeRequest, ApiError> {
    if let Some(command) = &request.command {
        if command.first().is_none_or(String::is_empty) {
            return Err(ApiError::bad_request("\"command\" names no program"));
        }
        if command.iter().any(|word| word.contains('\0')) {
            return Err(ApiError::bad_request("\"command\" holds a NUL"));
        }
    }
    if request
        .label
        .as_ref()
        .is_some_and(|label| label.contains('\0'))
    {
        return Err(ApiError::bad_request("\"label\" holds a NUL"));
    }
    for (name, value) in &request.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format_args!("\"env\": {name:?} is no name of a variable");
            return Err(ApiError::bad_request(message));
        }
        if is_reserved_variable(name) {
            let message = format_args!("\"env\": handover sets {name} itself for each worker");
            return Err(ApiError::bad_request(message).hint(format_args!("leave {name} out")));
        }
        if value.contains('\0') {
            return Err(ApiError::bad_request(format_args!(
                "\"env\": {name} holds a NUL"
            )));
        }
    }
    if request
        .env_file
        .as_ref()
        .is_some_and(|path| !path.is_absolute())
    {
        return Err(ApiError::bad_request("\"env_file\" is no absolute path"));
    }
    Ok(request)
}
