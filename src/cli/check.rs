//! `handover check`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::terminal::{Terminal, Tone};
use super::{Exit, Failure};
use crate::config::{self, Fault};

/// Validate a config file: every fault at once
#[derive(Debug, PartialEq, Args)]
pub(super) struct Check {
    /// The config (TOML); the environment and flags of this shell do not count
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Check {
    pub(super) fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let (faults, warnings) = match config::check(&self.file) {
            Ok(loaded) => (None, loaded.warnings),
            Err(faults) => (Some(faults), Vec::new()),
        };
        let file = self.file.display();
        if self.json {
            let list = |faults: &[Fault]| faults.iter().map(Fault::to_json).collect::<Vec<_>>();
            let found = faults.as_ref().map_or(&[][..], |faults| &faults.0);
            let report = json!({
                "file": file.to_string(),
                "ok": faults.is_none(),
                "faults": list(found),
                "warnings": list(&warnings),
            });
            terminal.say(&report.to_string())?;
        } else {
            for warning in &warnings {
                let word = terminal.err_paint().tone(Tone::Warn, "warning:");
                let place = warning
                    .position()
                    .map_or_else(String::new, |(line, column)| format!("{line}:{column}: "));
                terminal.tell(&format!("{word} {file}:{place}{}", warning.message))?;
                if let Some(hint) = &warning.hint {
                    terminal.tell(&format!("   hint: {hint}"))?;
                }
            }
            match &faults {
                Some(faults) => terminal.tell(faults.to_string().trim_end())?,
                None => terminal.say(&format!("{file}: good"))?,
            }
        }
        Ok(if faults.is_some() {
            Exit::Usage
        } else {
            Exit::Done
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::fake::files;

    fn check(text: &str, json: bool) -> (Exit, String, String) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("web.toml");
        std::fs::write(&file, text).expect("written");
        let (mut terminal, out, err) = files();
        let exit = Check { file, json }
            .carry_out(&mut terminal)
            .expect("written");
        (exit, out.text(), err.text())
    }

    const GOOD: &str = "[app]\ncommand = [\"/bin/true\"]\n[[listen]]\naddress = \":8080\"\n";
    const BAD: &str = "[app]\ncommand = [\"/bin/true\"]\nworkerss = 2\nwatchdog = 3\n";

    #[test]
    fn a_good_config_is_good() {
        let (exit, out, _) = check(GOOD, false);
        assert_eq!(exit, Exit::Done);
        assert!(out.ends_with("/web.toml: good\n"), "{out}");
        let (_, out, _) = check(GOOD, true);
        let report: serde_json::Value = serde_json::from_str(&out).expect("json");
        assert_eq!(
            (&report["ok"], &report["faults"]),
            (&json!(true), &json!([]))
        );
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let (exit, out, err) = check(BAD, false);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
        assert!(
            err.contains("workerss") && err.contains("watchdog"),
            "{err}"
        );
        let (exit, out, err) = check(BAD, true);
        assert_eq!((exit, err.as_str()), (Exit::Usage, ""));
        let report: serde_json::Value = serde_json::from_str(&out).expect("json");
        let lines: Vec<_> = (0..2).map(|n| &report["faults"][n]["line"]).collect();
        assert_eq!(lines, [3, 4], "{out}");
    }

    #[test]
    fn a_file_that_is_not_there_is_a_fault() {
        let (mut terminal, _, err) = files();
        let file = PathBuf::from("/nowhere/web.toml");
        let exit = Check { file, json: false }
            .carry_out(&mut terminal)
            .expect("written");
        assert_eq!(exit, Exit::Usage);
        assert!(err.text().contains("/nowhere/web.toml"), "{}", err.text());
    }
}
