//! `handover rollback`.

use clap::Args;
use serde_json::json;

use super::number::generation;
use super::operation::{Order, perform};
use super::target::Target;
use super::terminal::Terminal;
use super::waiting::Waiting;
use super::{Exit, Failure};

/// A new generation of the last good release before the active one; again goes further back
#[derive(Debug, PartialEq, Args)]
pub(super) struct Rollback {
    #[command(flatten)]
    pub(super) target: Target,
    /// To the release of this generation
    #[arg(long, value_name = "GENERATION", allow_negative_numbers = true, value_parser = generation)]
    to: Option<u32>,
    /// Although files of that release changed since
    #[arg(long)]
    anyway: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Rollback {
    pub(super) async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let master = self.target.find("rollback", Some("--to")).await?;
        let body = json!({"to": self.to, "anyway": self.anyway});
        perform(
            terminal,
            &self.target,
            master,
            Order::new("rollback", body, self.waiting),
        )
        .await
    }
}
