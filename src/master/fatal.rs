//! The last line of a master whose first generation never got ready.

use super::Master;
use super::failures::FailureReport;
use crate::logging::{Level, Record};

/// Characters of the worker's last line that are told.
const SAID_MAX: usize = 160;
/// Characters of a command to try.
const COMMAND_MAX: usize = 120;

impl Master {
    /// What whoever asks for something is told of a service that ends.
    pub(super) fn why_it_ends(&self) -> String {
        match &self.fatal {
            None => "the service is being stopped".to_owned(),
            Some(report) => format!(
                "the service ends, since the first generation did not get ready: {}",
                report.reason
            ),
        }
    }

    /// How it ends, why, and what to do next: whoever looks at the end of a log finds it there.
    pub(super) fn last_words(&self, code: u8) {
        let Some(report) = self.fatal.as_ref().filter(|_| code != 0) else {
            return;
        };
        let line = sentence(code, report, &self.config().app.command);
        self.sink.log(Record::new(Level::Error, line));
    }
}

fn sentence(code: u8, report: &FailureReport, command: &[String]) -> String {
    let said = report
        .log_tail
        .iter()
        .rev()
        .find(|line| !line.trim().is_empty());
    let shown = said.map_or_else(String::new, |line| {
        format!("; it said last: {}", cut(line.trim(), SAID_MAX))
    });
    let next = match (&report.hint, said) {
        (Some(hint), _) => hint.clone(),
        (None, Some(_)) => "mend that, and start again".to_owned(),
        (None, None) => format!(
            "it printed nothing; try the command alone: {}",
            cut(&command.join(" "), COMMAND_MAX)
        ),
    };
    format!(
        "ends with exit code {code}, since the first generation did not get ready: {}{shown}; what to do: {next}",
        report.reason
    )
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(hint: Option<&str>, said: &[&str]) -> FailureReport {
        FailureReport {
            reason: "worker 1.0 ended".to_owned(),
            hint: hint.map(str::to_owned),
            hint_told: false,
            worker: Some("1.0".to_owned()),
            log_tail: said.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    #[test]
    fn there_is_always_something_to_do() {
        let command = ["./server".to_owned(), "-x".to_owned()];
        for (report, end) in [
            (
                report(None, &[]),
                "it printed nothing; try the command alone: ./server -x",
            ),
            (
                report(None, &["a", "no database", " "]),
                "it said last: no database; what to do: mend that, and start again",
            ),
            (
                report(Some("write `exec`"), &["a"]),
                "it said last: a; what to do: write `exec`",
            ),
        ] {
            let line = sentence(1, &report, &command);
            assert!(line.starts_with("ends with exit code 1, since the first generation did not get ready: worker 1.0 ended"), "{line}");
            assert!(line.ends_with(end), "{line}");
        }
    }
}
