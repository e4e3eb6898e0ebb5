//! `handover check`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::terminal::{Terminal, Tone};
use super::{Exit, Failure};
use crate::config::{self, Fault, Faults};
use crate::logging::visible;
use crate::master;

/// Validate a config file: every fault at once
///
/// Also looks up what a start would need: users and groups, the program and the interpreter of a script, the
/// directory, the env_file, the directories of unix sockets.
#[derive(Debug, Default, PartialEq, Args)]
#[command(
    after_help = "Exit codes: 0 a start would find all it needs, 2 there are faults, in the file or in what \
    it names. What only a start can show (a port in use, a right that is missing) is not looked for."
)]
pub(super) struct Check {
    /// The config (TOML); the environment and flags of this shell do not count
    file: PathBuf,
    /// Look nothing up: for a file that is meant for another machine
    #[arg(long)]
    file_only: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Check {
    pub(super) fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let (loaded, mut found) = config::examine(&self.file);
        if let Some(loaded) = loaded.as_ref().filter(|_| !self.file_only) {
            found.extend(match found.is_empty() {
                true => master::look_up(loaded)
                    .err()
                    .map_or_else(Vec::new, |it| it.0),
                false => master::look_up_sound(loaded),
            });
        }
        let faults = (!found.is_empty()).then(|| Faults::in_order(found));
        let script = loaded.as_ref().filter(|_| !self.file_only);
        let script = script.and_then(master::missing_script);
        let mut warnings = loaded.map_or_else(Vec::new, |loaded| loaded.warnings);
        warnings.extend(script);
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
                Some(faults) => {
                    for fault in &faults.0 {
                        let word = terminal.err_paint().tone(Tone::Bad, "error:");
                        let told = visible(&fault.to_string());
                        terminal.tell(&format!("{word} {told}\n"))?;
                    }
                    terminal.tell(&visible(&faults.count()))?;
                }
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
        let check = Check {
            file,
            json,
            ..Check::default()
        };
        let exit = check.carry_out(&mut terminal).expect("written");
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
        assert_eq!(
            err.lines()
                .filter(|line| line.starts_with("error: "))
                .count(),
            3,
            "{err}"
        );
        let (exit, out, err) = check(BAD, true);
        assert_eq!((exit, err.as_str()), (Exit::Usage, ""));
        let report: serde_json::Value = serde_json::from_str(&out).expect("json");
        let lines: Vec<_> = (0..2).map(|n| &report["faults"][n]["line"]).collect();
        assert_eq!(lines, [3, 4], "{out}");
    }

    const LACKING: &str = "[app]\ncommand = [\"no-such-program\"]\nuser = \"no-such-user\"\n\
        group = \"no-such-group\"\ndirectory = \"/no/such/place\"\nenv_file = \"/no/such/file\"\n\
        [[listen]]\naddress = \"unix:/no/such/folder/s\"\nuser = \"no-such-owner\"\n";

    #[test]
    fn all_that_a_start_would_miss_is_told_at_its_place() {
        let (exit, _, err) = check(LACKING, false);
        assert_eq!(exit, Exit::Usage, "{err}");
        for said in [
            "web.toml:2:11: app.command: there is no program \"no-such-program\"",
            "web.toml:3:8: app.user: there is no user \"no-such-user\"",
            "web.toml:4:9: app.group: there is no group \"no-such-group\"",
            "web.toml:5:13: app.directory: the working directory /no/such/place",
            "web.toml:6:12: app.env_file: /no/such/file does not exist",
            "web.toml:8:11: listen[0].address: there is no directory /no/such/folder",
            "web.toml:9:8: listen[0].user: there is no user \"no-such-owner\"",
            "hint: create it (useradd --system no-such-user)",
            "7 faults in",
        ] {
            assert!(err.contains(said), "{said:?} is not in {err}");
        }
    }

    #[test]
    fn what_is_missing_is_told_beside_what_is_wrong_where_its_own_key_is_sound() {
        let both = LACKING.replacen("[app]", "[app]\nworkerss = 2\nworkers = 0", 1);
        let (exit, _, err) = check(&both, false);
        assert_eq!(exit, Exit::Usage, "{err}");
        for said in [
            "workerss",
            "app.workers must be",
            "no-such-program",
            "no-such-user",
            "9 faults in",
        ] {
            assert!(err.contains(said), "{said:?} is not in {err}");
        }
        // Where it would be looked for is not known.
        let elsewhere = LACKING.replacen("\"/no/such/place\"", "7", 1);
        let (_, _, err) = check(&elsewhere, false);
        assert!(err.contains("no-such-user"), "{err}");
        assert!(!err.contains("no-such-program"), "{err}");
    }

    #[test]
    fn a_file_for_another_machine_is_read_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("web.toml");
        std::fs::write(&file, LACKING).expect("written");
        let (mut terminal, out, err) = files();
        let check = Check {
            file,
            file_only: true,
            json: false,
        };
        let exit = check.carry_out(&mut terminal).expect("written");
        assert_eq!((exit, err.text().as_str()), (Exit::Done, ""));
        assert!(out.text().ends_with(": good\n"));
    }

    #[test]
    fn a_script_without_its_interpreter_and_a_faulty_env_file_are_told() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("written");
        };
        write("serve", "#!/no/such/interpreter\n");
        write("env", "GOOD=1\n1BAD=2\nopen=\"a\n");
        let runs = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path().join("serve"), runs).expect("chmod");
        let here = directory.path().display();
        // A relative command is relative to the directory, not to where we are.
        let text = format!(
            "[app]\ncommand = [\"./serve\"]\ndirectory = \"{here}\"\n\
             env_file = \"{here}/env\"\n[[listen]]\naddress = \":8080\"\n"
        );
        let (exit, _, err) = check(&text, false);
        assert_eq!(exit, Exit::Usage, "{err}");
        let script =
            format!("app.command: {here}/serve: its #! line wants \"/no/such/interpreter\"");
        let env = format!("{here}/env:2:1: ");
        for said in [
            "web.toml:2:11: ",
            &script,
            &env,
            &format!("{here}/env:3:6: "),
        ] {
            assert!(err.contains(said), "{said:?} is not in {err}");
        }
        let (exit, out, _) = check(&text, true);
        assert_eq!(exit, Exit::Usage);
        let report: serde_json::Value = serde_json::from_str(&out).expect("json");
        assert_eq!(report["faults"].as_array().map(Vec::len), Some(3), "{out}");
    }

    #[test]
    fn one_fault_hides_no_other() {
        let text = "[app]\ncommand = [\"/no/such/server\"]\n\
            [health]\ncheck = \"exec:/no/such/check\"\n\
            [[listen]]\naddress = \":8080\"\n";
        let (exit, _, err) = check(text, false);
        assert_eq!(exit, Exit::Usage, "{err}");
        for said in [
            "web.toml:2:11: app.command: /no/such/server: there is no such file",
            "web.toml:4:9: health.check: /no/such/check: there is no such file",
            "2 faults in",
        ] {
            assert!(err.contains(said), "{said:?} is not in {err}");
        }
        // What is wrong with all that is run is told once.
        let nowhere = text.replacen("[health]", "directory = \"/no/such/place\"\n[health]", 1);
        let (_, _, err) = check(&nowhere, false);
        assert_eq!(err.matches("/no/such/place").count(), 2, "{err}");
        assert!(err.contains("3 faults in"), "{err}");
        let names = "[app]\ncommand = [\"/bin/true\"]\nenv = { A-B = \"1\", \"2C\" = \"1\", D = \"1\" }\n\
            [[listen]]\naddress = \":8080\"\n";
        let (_, _, err) = check(names, false);
        for said in [
            ":3:9: app.env has \"A-B\"",
            ":3:20: app.env has \"2C\"",
            "2 faults",
        ] {
            assert!(err.contains(said), "{said:?} is not in {err}");
        }
    }

    #[test]
    fn a_script_that_is_not_there_is_a_warning() {
        let text = "[app]\ncommand = [\"sh\", \"nope.sh\"]\ndirectory = \"/usr\"\n\
            [[listen]]\naddress = \":8080\"\n";
        let (exit, out, err) = check(text, false);
        assert_eq!(exit, Exit::Done, "{err}");
        assert!(out.ends_with(": good\n"), "{out}");
        let told = "web.toml:2:11: app.command: /usr/nope.sh: there is no such file\n   hint: correct the path: it is \
                    relative to the working directory /usr\n";
        assert!(err.starts_with("warning: ") && err.ends_with(told), "{err}");
    }

    #[test]
    fn a_file_that_is_not_there_is_a_fault() {
        let (mut terminal, _, err) = files();
        let file = PathBuf::from("/nowhere/web.toml");
        let check = Check {
            file,
            ..Check::default()
        };
        let exit = check.carry_out(&mut terminal).expect("written");
        assert_eq!(exit, Exit::Usage);
        assert!(err.text().contains("/nowhere/web.toml"), "{}", err.text());
    }
}
