//! How long a verb waits for what it began.

use std::time::Duration;

use clap::Args;

use super::duration::duration;

/// What every verb takes that begins an operation.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(super) struct Waiting {
    /// Give up waiting after this long; the operation goes on [exit code 5]
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "no_wait")]
    pub(super) timeout: Option<Duration>,
    /// Print the operation's id and do not wait
    #[arg(long)]
    pub(super) no_wait: bool,
}
