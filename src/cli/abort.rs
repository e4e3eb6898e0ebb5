//! `handover abort`.

use clap::Args;
use serde_json::json;

use super::operation::{Order, perform};
use super::target::Target;
use super::terminal::Terminal;
use super::waiting::Waiting;
use super::{Exit, Failure};

/// End the running operation early; everything is as before
#[derive(Debug, PartialEq, Args)]
pub(super) struct Abort {
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    waiting: Waiting,
}

impl Abort {
    pub(super) async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let master = self.target.find("abort", None).await?;
        let order = Order::new("abort", json!({}), self.waiting);
        perform(terminal, &self.target, master, order).await
    }
}
