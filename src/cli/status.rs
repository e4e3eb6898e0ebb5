//! `handover status`.

mod page;

use std::time::Duration;

use clap::Args;
use tokio::time::{sleep, timeout};

use super::target::Target;
use super::terminal::{Terminal, reader_gone};
use super::{Exit, Failure};
use crate::control::client::{Master, Reply};
use crate::control::view::Status;

/// For an answer that is only printed.
const PATIENCE: Duration = Duration::from_secs(15);
/// Ages grow although nothing happens.
const EVERY: Duration = Duration::from_secs(1);
/// Bursts of events are one change.
const SETTLE: Duration = Duration::from_millis(50);

/// Generations, workers and listeners, drains with their deadline
#[derive(Debug, PartialEq, Args)]
pub(super) struct ShowStatus {
    #[command(flatten)]
    pub(super) target: Target,
    /// Show it again whenever something happens
    #[arg(long)]
    watch: bool,
}

impl ShowStatus {
    pub(super) async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let master = self.target.find("status", None).await?;
        if self.watch {
            return self.watch(terminal, master).await;
        }
        self.show(terminal, &fetch(&master).await?)?;
        Ok(Exit::Done)
    }

    fn show(&self, terminal: &mut Terminal, reply: &Reply) -> Result<(), Failure> {
        if self.target.json {
            // As it came: a newer master may say more than we know.
            terminal.say(String::from_utf8_lossy(&reply.body).trim_end())?;
        } else {
            let status: Status = reply.parse()?;
            let page = page::render(&status, terminal.out_paint(), terminal.out_columns());
            terminal.say(&page)?;
        }
        Ok(())
    }

    /// Until somebody has seen enough.
    async fn watch(&self, terminal: &mut Terminal, master: Master) -> Result<Exit, Failure> {
        let live = terminal.out_is_live && !self.target.json;
        let mut events = master.client.events(None).await?;
        if live {
            terminal.say_raw("\u{1b}[2J")?;
        }
        let mut gone = std::pin::pin!(reader_gone());
        loop {
            let reply = fetch(&master).await?;
            if live {
                let status: Status = reply.parse()?;
                let page = page::render(&status, terminal.out_paint(), terminal.columns);
                // Over what stands there, so that nothing flickers.
                let page = page.replace('\n', "\u{1b}[K\n");
                terminal.say_raw(&format!("\u{1b}[H{page}\u{1b}[K\n\u{1b}[J"))?;
            } else {
                self.show(terminal, &reply)?;
                terminal.flush()?;
            }
            let next = async {
                let event = events.next().await;
                sleep(SETTLE).await;
                event
            };
            let event = if live {
                match timeout(EVERY, next).await {
                    Ok(event) => event,
                    Err(_) => continue,
                }
            } else {
                tokio::select! {
                    event = next => event,
                    () = &mut gone => return Ok(Exit::Done),
                }
            };
            if event?.is_none() {
                terminal.tell(&format!("{}: the master ended", master.name))?;
                return Ok(Exit::Done);
            }
        }
    }
}

async fn fetch(master: &Master) -> Result<Reply, Failure> {
    Ok(master.client.get_raw("/v1/status", Some(PATIENCE)).await?)
}
