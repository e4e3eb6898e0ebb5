//! `handover scale`.

use clap::Args;
use serde_json::json;

use super::number::workers;
use super::operation::{Order, perform};
use super::target::Target;
use super::terminal::Terminal;
use super::waiting::Waiting;
use super::{Exit, Failure};

/// Change the number of workers of the running generation; later generations have as many
#[derive(Debug, PartialEq, Args)]
#[command(allow_missing_positional = true)]
#[command(override_usage = "handover scale [OPTIONS] [NAME] N")]
pub(super) struct Scale {
    #[command(flatten)]
    pub(super) target: Target,
    /// How many, 1 at least
    #[arg(value_name = "N", allow_negative_numbers = true, value_parser = workers)]
    workers: u32,
    #[command(flatten)]
    waiting: Waiting,
}

impl Scale {
    pub(super) async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        if self.workers == 0 {
            let failure = Failure::usage("a generation without a worker serves nobody");
            let name = self.target.name.as_deref().unwrap_or_default();
            let stop = format!("stop {name}");
            let stop = self.target.command(stop.trim_end());
            let hint = format!("to end the service: {stop}");
            return Err(failure.hint(hint));
        }
        let master = self.target.find("scale", None).await?;
        let order = Order::new("scale", json!({"workers": self.workers}), self.waiting);
        perform(terminal, &self.target, master, order).await
    }
}
