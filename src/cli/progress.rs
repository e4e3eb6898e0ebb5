//! What happens while a command waits: one line that changes where a terminal
//! shows it, a line for each step elsewhere.

use std::io;

use tokio::time::Instant;

use super::terminal::{Terminal, Tone};
use super::text::{clean, fit};
use crate::control::view::EventView;
use crate::control::{Count, Event, Severity, Span};

/// More workers than this are counted, not listed.
const LISTED_MAX: u32 = 8;

/// One operation's progress.
pub(super) struct Progress {
    name: String,
    live: bool,
    begun: Instant,
    /// Whether the live line stands on the terminal.
    drawn: bool,
    generation: Option<u32>,
    workers: u32,
    ready: u32,
    phase: String,
    /// The warnings that were shown.
    warned: Vec<String>,
}

impl Progress {
    pub(super) fn new(name: &str, live: bool) -> Self {
        Self {
            name: clean(name),
            live,
            begun: Instant::now(),
            drawn: false,
            generation: None,
            workers: 0,
            ready: 0,
            phase: "waiting".to_owned(),
            warned: Vec::new(),
        }
    }

    /// The warnings that were shown, which need not be said again.
    pub(super) fn into_warned(self) -> Vec<String> {
        self.warned
    }

    /// Whether it is one line that changes.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// Takes what happened into account, and shows it.
    pub(super) fn show(&mut self, view: &EventView, terminal: &mut Terminal) -> io::Result<()> {
        let Some(event) = view.event() else {
            return Ok(());
        };
        self.note(&event);
        // What went wrong stays to be read, also where the line changes.
        let loud = event.severity() > Severity::Info && !is_told_at_the_end(&event);
        if loud || (!self.live && self.is_a_step(&event)) {
            self.clear(terminal)?;
            let tone = match event.severity() {
                Severity::Info => Tone::Plain,
                Severity::Warning => Tone::Warn,
                Severity::Error => Tone::Bad,
            };
            let sentence = clean(&event.to_string());
            let line = terminal.fold(&format!("{}: {sentence}", self.name));
            let line = terminal.err_paint().tone(tone, &line);
            terminal.tell(&line)?;
            if let Event::Warning { message } = event {
                self.warned.push(message);
            }
        }
        if self.live {
            self.draw(terminal)
        } else {
            Ok(())
        }
    }

    /// Draws the live line.
    pub(super) fn draw(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let line = fit(&self.line(elapsed), terminal.columns.saturating_sub(1));
        self.drawn = true;
        terminal.tell_raw(&format!("\r{line}\u{1b}[K"))
    }

    /// Takes the live line away: the result follows.
    pub(super) fn end(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        self.clear(terminal)
    }

    fn clear(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        if std::mem::take(&mut self.drawn) {
            terminal.tell_raw("\r\u{1b}[K")?;
        }
        Ok(())
    }

    fn line(&self, elapsed_ms: u64) -> String {
        let subject = match self.generation {
            Some(generation) => format!("generation {generation} {}", self.phase),
            None => self.phase.clone(),
        };
        // Tenths, so that the line does not jump.
        let (seconds, tenth) = (elapsed_ms / 1000, elapsed_ms % 1000 / 100);
        format!("{}: {subject}  {seconds}.{tenth} s", self.name)
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::GenerationStarted {
                generation,
                workers,
                ..
            } => {
                self.generation = Some(*generation);
                (self.workers, self.ready) = (*workers, 0);
                self.phase = self.count();
            }
            Event::WorkerReady { generation, .. } if Some(*generation) == self.generation => {
                self.ready = (self.ready + 1).min(self.workers);
                self.phase = self.count();
            }
            Event::WorkerExited {
                generation,
                expected: false,
                ..
            } if Some(*generation) == self.generation => {
                self.ready = self.ready.saturating_sub(1);
                self.phase = self.count();
            }
            Event::BakeStarted {
                generation,
                bake_ms,
            } => {
                self.generation = Some(*generation);
                self.phase = format!("is ready and bakes for {}", Span(*bake_ms));
            }
            Event::GenerationGrowing {
                generation,
                workers,
                more,
            }
            | Event::ScaleStarted {
                generation,
                workers,
                more,
            } => {
                self.generation = Some(*generation);
                (self.workers, self.ready) = (*workers, workers.saturating_sub(*more));
                self.phase = self.count();
            }
            Event::HookStarted { hook, .. } => self.phase = format!("waits for hook {hook}"),
            Event::GenerationActive { generation, .. } => {
                self.generation = Some(*generation);
                self.phase = "is active".to_owned();
            }
            Event::GenerationDraining {
                generation,
                drain_timeout_ms,
                ..
            } => {
                self.generation = Some(*generation);
                self.phase = format!("drains, {} at most", Span(*drain_timeout_ms));
            }
            Event::GenerationFailed { generation, .. } => {
                self.generation = Some(*generation);
                self.phase = "failed".to_owned();
            }
            Event::OperationQueued { .. } => "queued".clone_into(&mut self.phase),
            Event::MasterStopping { .. } => "stopping".clone_into(&mut self.phase),
            _ => {}
        }
    }

    fn count(&self) -> String {
        format!(
            "starts, {} of {} ready",
            self.ready,
            Count(self.workers, "worker")
        )
    }

    fn is_a_step(&self, event: &Event) -> bool {
        match event {
            Event::WorkerReady { .. } => self.workers <= LISTED_MAX,
            Event::OperationQueued { .. }
            | Event::GenerationStarted { .. }
            | Event::BakeStarted { .. }
            | Event::GenerationGrowing { .. }
            | Event::WorkersReplaced { .. }
            | Event::ScaleStarted { .. }
            | Event::StopDelayed { .. }
            | Event::HookStarted { .. }
            | Event::MasterStopping { .. } => true,
            _ => false,
        }
    }
}

/// Whether the command's last words say it, with more about it.
fn is_told_at_the_end(event: &Event) -> bool {
    matches!(
        event,
        Event::UpgradeFailed { .. }
            | Event::Rollback { .. }
            | Event::GenerationFailed { .. }
            | Event::ScaleFailed { .. }
            | Event::HookFailed { vetoes: true, .. }
            | Event::OperationEnded { .. }
            | Event::ConfigRefused { .. }
            | Event::Gap { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::fake::files;
    use crate::control::Timestamp;

    fn upgrade() -> Vec<Event> {
        let ready = |worker: &str, ms| Event::WorkerReady {
            worker: worker.to_owned(),
            generation: 8,
            pid: 1,
            ready_ms: ms,
            ready_by: "READY=1".to_owned(),
        };
        vec![
            Event::GenerationStarted {
                generation: 8,
                label: None,
                workers: 2,
                operation: None,
            },
            Event::WorkerLaunched {
                worker: "8.0".to_owned(),
                generation: 8,
                pid: 1,
            },
            ready("8.0", 80),
            Event::WorkerElsewhere {
                worker: "8.1".to_owned(),
                generation: 8,
                reason: "it listens on :3000".to_owned(),
            },
            ready("8.1", 112),
            Event::BakeStarted {
                generation: 8,
                bake_ms: 1000,
            },
            Event::GenerationActive {
                generation: 8,
                previous: Some(7),
            },
        ]
    }

    fn shown(progress: &mut Progress) -> String {
        let (mut terminal, out, err) = files();
        for (seq, event) in upgrade().iter().enumerate() {
            let view = EventView::new(seq as u64, Timestamp::from_millis(0), event);
            progress.show(&view, &mut terminal).expect("written");
        }
        progress.end(&mut terminal).expect("written");
        assert_eq!(out.text(), "", "progress is not what was asked for");
        err.text()
    }

    #[test]
    fn elsewhere_each_step_is_a_line() {
        assert_eq!(
            shown(&mut Progress::new("web", false)),
            "web: generation 8 starts, 2 workers\n\
             web: worker 8.0 is ready after 80 ms by READY=1\n\
             web: worker 8.1: it listens on :3000\n\
             web: worker 8.1 is ready after 112 ms by READY=1\n\
             web: generation 8 is ready and bakes for 1 s\n"
        );
    }

    #[test]
    fn on_a_terminal_one_line_changes_and_is_taken_away() {
        let text = shown(&mut Progress::new("web", true));
        assert!(
            text.contains("\rweb: generation 8 starts, 1 of 2 workers ready  0."),
            "{text:?}"
        );
        assert!(
            text.contains("\r\u{1b}[Kweb: worker 8.1: it listens on :3000\n"),
            "{text:?}"
        );
        assert!(text.ends_with("\r\u{1b}[K"), "{text:?}");
        assert_eq!(text.matches('\n').count(), 1, "only the warning stays");
    }

    #[test]
    fn the_line_says_what_is_waited_for() {
        let mut progress = Progress::new("web", true);
        assert_eq!(progress.line(0), "web: waiting  0.0 s");
        for event in upgrade() {
            progress.note(&event);
        }
        assert_eq!(progress.line(1240), "web: generation 8 is active  1.2 s");
    }
}
