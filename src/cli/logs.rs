//! `handover logs`.

use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::number::{generation, lines};
use super::target::Target;
use super::terminal::{Paint, Terminal, Tone, reader_is_gone};
use super::text::{clean, width};
use super::{Exit, Failure};
use crate::control::view::{LogLine, LogsView, Stream};

/// How often new lines are asked for while following.
const EVERY: Duration = Duration::from_millis(250);

/// What workers printed
#[derive(Debug, Default, PartialEq, Args)]
pub(super) struct Logs {
    #[command(flatten)]
    pub(super) target: Target,
    /// Go on with what they print
    #[arg(short, long)]
    follow: bool,
    /// Only workers of this generation
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = generation)]
    generation: Option<u32>,
    /// Only this worker (GENERATION.SLOT)
    #[arg(short, long, value_name = "ID", value_parser = worker, conflicts_with = "generation")]
    worker: Option<String>,
    /// Only so many lines, the last ones
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, value_parser = lines)]
    lines: Option<u32>,
}

impl Logs {
    pub(super) async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let master = self.target.find("logs", Some("--generation")).await?;
        let mut after = None;
        loop {
            let logs: LogsView = match master.client.get(&self.path(after)).await {
                Ok(logs) => logs,
                Err(error) if after.is_some() && error.is_gone() => {
                    terminal.tell(&format!("{}: the master ended", master.name))?;
                    return Ok(Exit::Done);
                }
                Err(error) => return Err(error.into()),
            };
            self.show(terminal, &logs)?;
            if after.is_none() && logs.lines.is_empty() && !self.target.json {
                terminal.tell(&format!("{}: no output yet", master.name))?;
            }
            if !self.follow {
                return Ok(Exit::Done);
            }
            terminal.flush()?;
            if reader_is_gone() {
                return Ok(Exit::Done);
            }
            after = Some(logs.next);
            sleep(EVERY).await;
        }
    }

    fn path(&self, after: Option<u64>) -> String {
        let mut query = Vec::new();
        query.extend(self.generation.map(|number| format!("generation={number}")));
        query.extend(self.worker.as_ref().map(|id| format!("worker={id}")));
        query.extend(after.map(|seq| format!("after={seq}")));
        // What is new is not cut.
        query.extend(
            self.lines
                .filter(|_| after.is_none())
                .map(|n| format!("lines={n}")),
        );
        match query.as_slice() {
            [] => "/v1/logs".to_owned(),
            _ => format!("/v1/logs?{}", query.join("&")),
        }
    }

    fn show(&self, terminal: &mut Terminal, logs: &LogsView) -> Result<(), Failure> {
        if logs.dropped > 0 {
            let plural = if logs.dropped == 1 { " is" } else { "s are" };
            terminal.tell(&format!(
                "{} older line{plural} no longer kept",
                logs.dropped
            ))?;
        }
        let widest = logs
            .lines
            .iter()
            .map(|line| width(&line.worker))
            .max()
            .unwrap_or(0);
        let paint = terminal.out_paint();
        for log in &logs.lines {
            if self.target.json {
                // Strings and numbers: this JSON cannot fail.
                terminal.say(&serde_json::to_string(log).unwrap_or_default())?;
            } else {
                terminal.say(&line(log, widest, paint))?;
            }
        }
        Ok(())
    }
}

/// Who, and what.
fn line(log: &LogLine, widest: usize, paint: Paint) -> String {
    let worker = format!("{:widest$}", clean(&log.worker));
    let tone = if log.stream == Stream::Stderr {
        Tone::Warn
    } else {
        Tone::Dim
    };
    format!("{}  {}", paint.tone(tone, &worker), clean(&log.text))
        .trim_end()
        .to_owned()
}

fn worker(text: &str) -> Result<String, String> {
    let number = |text: &str| text.parse::<u32>().is_ok();
    match text.split_once('.') {
        Some((generation, slot)) if number(generation) && number(slot) => Ok(text.to_owned()),
        _ => Err("a worker's id is GENERATION.SLOT, like 8.0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::fake::files;
    use crate::control::Timestamp;

    #[test]
    fn lines_stand_beside_their_worker() {
        let log = |worker: &str, stream, text: &str| LogLine {
            seq: 1,
            at: Timestamp::from_millis(0),
            worker: worker.to_owned(),
            stream,
            text: text.to_owned(),
        };
        let logs = LogsView {
            lines: vec![
                log("8.0", Stream::Stdout, "\u{1b}[32mlistening\u{1b}[0m"),
                log("8.10", Stream::Stderr, ""),
            ],
            next: 2,
            dropped: 1,
        };
        let (mut terminal, out, err) = files();
        Logs::default().show(&mut terminal, &logs).expect("written");
        assert_eq!(out.text(), "8.0   listening\n8.10\n");
        assert_eq!(err.text(), "1 older line is no longer kept\n");
    }

    #[test]
    fn the_query_says_what_is_wanted() {
        assert_eq!(Logs::default().path(None), "/v1/logs");
        let some = Logs {
            generation: Some(8),
            lines: Some(20),
            ..Logs::default()
        };
        assert_eq!(some.path(None), "/v1/logs?generation=8&lines=20");
        assert_eq!(some.path(Some(7)), "/v1/logs?generation=8&after=7");
    }

    #[test]
    fn a_worker_has_a_generation_and_a_slot() {
        assert!(worker("8.0").is_ok() && worker("12.345").is_ok());
        for text in ["8", "8.", ".0", "8.0.1", "a.b", "8&x.0", "-1.0", ""] {
            assert!(worker(text).is_err(), "{text}");
        }
    }
}
