//! A command that did not do what it should, in words and as an exit code.

use std::fmt;
use std::io;

use serde_json::json;

use super::Exit;
use super::terminal::{Terminal, Tone};
use super::text::clean;
use crate::control::client::ClientError;
use crate::control::{ApiError, ErrorKind, FaultView};

/// Why a command ends, and how.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    /// None when nobody wants to hear anything: a closed pipe.
    message: Option<String>,
    hint: Option<String>,
    /// Of the config, one by one; the message has them all.
    faults: Vec<FaultView>,
    /// The class in `--json`.
    kind: &'static str,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        let kind = match exit {
            Exit::Done | Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Superseded => "superseded",
            Exit::NoMaster => "no_master",
            Exit::TimedOut => "timed_out",
            Exit::Incomplete => "incomplete",
            Exit::Interrupted => "interrupted",
        };
        Self {
            exit,
            message: Some(message.to_string()),
            hint: None,
            faults: Vec::new(),
            kind,
        }
    }

    pub(super) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(super) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Tells it on standard error; with `json` on standard output too, for the
    /// program that asked.
    pub(super) fn report(&self, terminal: &mut Terminal, json: bool) -> Exit {
        let Some(message) = &self.message else {
            return self.exit;
        };
        // There is nobody left to tell that telling failed.
        let _ = self.write(terminal, message, json);
        self.exit
    }

    fn write(&self, terminal: &mut Terminal, message: &str, json: bool) -> io::Result<()> {
        if json {
            let mut error = json!({"kind": self.kind, "message": message, "hint": self.hint});
            if !self.faults.is_empty() {
                error["faults"] = json!(self.faults);
            }
            let _ = terminal.say(&json!({ "error": error }).to_string());
            let _ = terminal.flush();
        }
        let paint = terminal.err_paint();
        let word = paint.tone(Tone::Bad, "error:");
        let message = clean(message);
        // Each fault is a paragraph, as `check` has it; how many there are ends them.
        let parts = message.splitn(self.faults.len().max(1), "\n\n");
        let parts: Vec<String> = parts.map(|part| format!("{word} {part}")).collect();
        let mut text = parts.join("\n\n");
        if let Some(hint) = &self.hint {
            text += &format!("\n{} {}", paint.tone(Tone::Strong, " hint:"), clean(hint));
        }
        terminal.tell(&text)
    }
}

impl From<io::Error> for Failure {
    /// Of standard output or error: all other I/O has words of its own.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // `handover events --follow | head`: the reader has enough.
            return Self {
                exit: Exit::Done,
                message: None,
                hint: None,
                faults: Vec::new(),
                kind: "",
            };
        }
        Self::new(Exit::Failed, format_args!("cannot write: {error}"))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Api(error) => error.into(),
            ClientError::Malformed(_) => Self::new(Exit::Failed, error)
                .hint("the master is of another version than this command; its status says which"),
            ClientError::Unreachable { .. } | ClientError::Gone(_) | ClientError::TimedOut(_) => {
                Self::new(Exit::NoMaster, error)
            }
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let failure = Self {
            kind: match error.kind {
                ErrorKind::Config => "config",
                ErrorKind::Refused => "refused",
                ErrorKind::NotFound => "not_found",
                ErrorKind::Forbidden => "forbidden",
                _ => "failed",
            },
            faults: error.faults,
            ..Self::new(error.kind.into(), &error.message)
        };
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::fake::files;
    use crate::config;
    use std::path::Path;

    #[test]
    fn each_fault_of_a_config_begins_with_error_and_is_one_of_a_list() {
        let text = "[app]\ncommand = [\"./a\"]\nworkerss = 2\n[drain]\ntimeout = 5\n";
        let faults = config::load_text(Path::new("web.toml"), text, &[], &[]);
        let faults = faults.expect_err("it is full of faults");
        let failure = Failure::from(ApiError::faults(&faults));
        let (mut terminal, out, err) = files();
        assert_eq!(failure.report(&mut terminal, true), Exit::Usage);
        assert_eq!(err.text(), faults.errors() + "\n");
        let begins = |line: &&str| line.starts_with("error: web.toml");
        assert_eq!(err.text().lines().filter(begins).count(), faults.0.len());
        let told: serde_json::Value = serde_json::from_str(&out.text()).expect("JSON");
        assert_eq!(told["error"]["faults"], faults.to_json()["faults"]);
        assert_eq!(told["error"]["message"], faults.to_string());
    }
}
