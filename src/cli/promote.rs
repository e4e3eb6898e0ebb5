//! `handover promote`.

use clap::Args;
use serde_json::json;

use super::operation::{Order, perform};
use super::target::Target;
use super::terminal::Terminal;
use super::waiting::Waiting;
use super::{Exit, Failure};

/// End a bake (or a canary) early, forward
#[derive(Debug, PartialEq, Args)]
pub(super) struct Promote {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    waiting: Waiting,
}

impl Promote {
    pub(super) async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let master = self.target.find("promote", None).await?;
        let order = Order::new("promote", json!({}), self.waiting);
        perform(terminal, &self.target, master, order).await
    }
}
