//! `handover reload`.

use clap::Args;
use serde_json::json;

use super::operation::{Order, perform};
use super::target::Target;
use super::terminal::Terminal;
use super::waiting::Waiting;
use super::{Exit, Failure};

/// Read the config again; a new generation where the release changed
#[derive(Debug, PartialEq, Args)]
pub(super) struct Reload {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    waiting: Waiting,
}

impl Reload {
    pub(super) async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let master = self.target.find("reload", None).await?;
        let order = Order::new("reload", json!({}), self.waiting);
        perform(terminal, &self.target, master, order).await
    }
}
