//! `handover stop`.

use clap::Args;
use serde_json::json;

use super::operation::{Order, perform};
use super::target::Target;
use super::terminal::Terminal;
use super::waiting::Waiting;
use super::{Exit, Failure};

/// Drain and end the service
#[derive(Debug, PartialEq, Args)]
pub(super) struct Stop {
    #[command(flatten)]
    pub(super) target: Target,
    /// Without the drain
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Stop {
    pub(super) async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let master = self.target.find("stop", None).await?;
        let order = Order::new("stop", json!({"now": self.now}), self.waiting);
        perform(terminal, &self.target, master, order).await
    }
}
