//! `handover events`.

use clap::Args;

use super::number::event;
use super::target::Target;
use super::terminal::{Paint, Terminal, Tone, reader_gone};
use super::text::clean;
use super::{Exit, Failure};
use crate::control::view::{EventView, EventsView};
use crate::control::{Event, Severity};

/// What happened
#[derive(Debug, PartialEq, Args)]
pub(super) struct Events {
    #[command(flatten)]
    pub(super) target: Target,
    /// Go on with what happens
    #[arg(short, long)]
    follow: bool,
    /// Only events after this number, which stands at the front of each
    #[arg(long, value_name = "SEQ", allow_negative_numbers = true, value_parser = event)]
    since: Option<u64>,
}

impl Events {
    pub(super) async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let master = self.target.find("events", None).await?;
        let since = self.since.unwrap_or(0);
        if !self.follow {
            let path = format!("/v1/events?follow=false&since={since}");
            let kept: EventsView = master.client.get(&path).await?;
            for event in &kept.events {
                self.show(terminal, event)?;
            }
            return Ok(Exit::Done);
        }
        let mut events = master.client.events(Some(since)).await?;
        let mut gone = std::pin::pin!(reader_gone());
        loop {
            let event = tokio::select! {
                event = events.next() => event?,
                // Nothing may happen for days, and nobody would read it.
                () = &mut gone => return Ok(Exit::Done),
            };
            let Some(event) = event else { break };
            self.show(terminal, &event)?;
            terminal.flush()?;
        }
        terminal.tell(&format!("{}: the master ended", master.name))?;
        Ok(Exit::Done)
    }

    fn show(&self, terminal: &mut Terminal, event: &EventView) -> Result<(), Failure> {
        if self.target.json {
            // Strings, numbers and lists: this JSON cannot fail.
            terminal.say(&serde_json::to_string(event).unwrap_or_default())?;
        } else {
            terminal.say(&line(event, terminal.out_paint()))?;
        }
        Ok(())
    }
}

/// Its number (for `--since`), when, and what as a sentence; the fields of a kind that is not known.
fn line(view: &EventView, paint: Paint) -> String {
    let event = view.event();
    let sentence = match &event {
        Some(event) => clean(&event.to_string()),
        None => {
            let fields = view
                .fields
                .iter()
                .map(|(name, value)| format!(" {name}={value}"));
            clean(&format!("{}{}", view.kind, fields.collect::<String>()))
        }
    };
    let tone = match event.as_ref().map(Event::severity) {
        Some(Severity::Error) => Tone::Bad,
        Some(Severity::Warning) => Tone::Warn,
        Some(Severity::Info) | None => Tone::Plain,
    };
    let time = paint.tone(Tone::Dim, &format!("{:>5}  {}", view.seq, view.at));
    // One event, one line, whatever a reason holds.
    format!(
        "{time}  {}",
        paint.tone(tone, &sentence.replace('\n', "; "))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Timestamp;

    #[test]
    fn an_event_is_a_line() {
        let at = Timestamp::from_millis(1_774_112_645_120);
        let event = Event::ConfigRefused {
            reason: "one\n\u{1b}[31mtwo".to_owned(),
        };
        assert_eq!(
            line(&EventView::new(1, at, &event), Paint(false)),
            "    1  2026-03-21T17:04:05.120Z  the config has a fault, nothing changed: one; two"
        );
    }

    #[test]
    fn an_event_of_a_newer_master_shows_its_fields() {
        let json = r#"{"seq":1,"at":"2026-03-21T17:04:05.120Z","kind":"lost","by":3,"s":"a"}"#;
        let view: EventView = serde_json::from_str(json).expect("an event");
        assert_eq!(
            line(&view, Paint(false)),
            "    1  2026-03-21T17:04:05.120Z  lost by=3 s=\"a\""
        );
    }
}
