//! Exit codes: scripts and systemd read them.

use std::process::ExitCode;

use crate::control::ErrorKind;
use crate::control::view::OperationResult;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// 0: done.
    Done = 0,
    /// 1: the operation failed and was undone, or was refused; the reason and
    /// the failing worker's last lines are on standard error.
    Failed = 1,
    /// 2: bad usage or config; nothing changed.
    Usage = 2,
    /// 3: superseded by a newer operation.
    Superseded = 3,
    /// 4: no such master, or not reachable; the message says where it looked.
    NoMaster = 4,
    /// 5: timed out waiting; the operation goes on.
    TimedOut = 5,
    /// 6: failed and not wholly undone: `status` says what runs.
    Incomplete = 6,
    /// 130: interrupted while waiting; the operation goes on.
    Interrupted = 130,
}

/// Every code with its meaning, as `--help` and the manual pages have it.
pub(super) const CODES: &[(Exit, &str)] = &[
    (Exit::Done, "done"),
    (
        Exit::Failed,
        "failed and undone, or refused: nothing changed",
    ),
    (Exit::Usage, "bad usage or config"),
    (Exit::Superseded, "superseded by a newer call"),
    (Exit::NoMaster, "no such master, or not reachable"),
    (Exit::TimedOut, "timed out waiting: the operation goes on"),
    (
        Exit::Incomplete,
        "failed and not wholly undone: `handover status` says what runs",
    ),
    (
        Exit::Interrupted,
        "interrupted while waiting: the operation goes on",
    ),
];

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl From<OperationResult> for Exit {
    fn from(result: OperationResult) -> Self {
        match result {
            OperationResult::Done => Self::Done,
            OperationResult::Failed | OperationResult::Aborted | OperationResult::Refused => {
                Self::Failed
            }
            OperationResult::Superseded => Self::Superseded,
            // What a newer master says and we do not know is not success.
            OperationResult::Incomplete | OperationResult::Unknown => Self::Incomplete,
        }
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::BadRequest | ErrorKind::TooLarge | ErrorKind::Config => Self::Usage,
            ErrorKind::Forbidden
            | ErrorKind::Busy
            | ErrorKind::Stopping
            | ErrorKind::NoAnswer
            | ErrorKind::TooSlow => Self::NoMaster,
            ErrorKind::NotFound
            | ErrorKind::MethodNotAllowed
            | ErrorKind::Refused
            | ErrorKind::Internal
            | ErrorKind::Unknown => Self::Failed,
        }
    }
}
