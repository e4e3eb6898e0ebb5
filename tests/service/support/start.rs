//! How a service is started.

use std::ffi::{OsStr, OsString};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::ended::{Ended, Output, finish};
use super::master::Service;

/// `handover run` with a runtime and a state directory of its own.
pub struct Start {
    dir: TempDir,
    flags: Vec<(String, OsString)>,
    command: Vec<String>,
    env: Vec<(String, String)>,
    before: Vec<OsString>,
    runtime_dir: Option<PathBuf>,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Start {
    /// This command, behind one loopback listener whose port the kernel picks.
    pub fn serving(command: &[String]) -> Self {
        Self::bare(command).flag("--listen", "http=127.0.0.1:0")
    }

    /// This command and nothing else.
    pub fn bare(command: &[String]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("handover-")
            .tempdir()
            .expect("a directory");
        let command = command.to_vec();
        let (flags, env, before) = (Vec::new(), Vec::new(), Vec::new());
        // Short times, so that a test of an upgrade takes one second and not three.
        Self {
            dir,
            flags,
            command,
            env,
            before,
            runtime_dir: None,
        }
        .flag("--bake", "200ms")
    }

    /// A config file; the command in it stays.
    pub fn config(text: &str) -> Self {
        let start = Self::bare(&[]);
        let file = start.path("web.toml");
        std::fs::write(&file, text).expect("a config file");
        start.flag("--config", file)
    }

    /// A path in the directory of this test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Sets an option; `--listen` adds one, every other replaces what was said before.
    pub fn flag(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        if name != "--listen" {
            self.flags.retain(|(known, _)| known != name);
        }
        self.flags
            .push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another runtime directory than its own.
    pub fn runtime_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.runtime_dir = Some(path.into());
        self
    }

    fn runs_in(&self) -> PathBuf {
        self.runtime_dir.clone().unwrap_or_else(|| self.path("run"))
    }

    /// A shell line that ends in `exec "$@"` and prepares the process: limits, descriptors.
    pub fn through_sh(mut self, script: &str) -> Self {
        self.before = ["/bin/sh", "-c", script, "sh"].map(OsString::from).to_vec();
        self
    }

    /// A program that runs handover, as systemd-socket-activate does.
    pub fn through(mut self, program: &[&str]) -> Self {
        self.before = program.iter().map(OsString::from).collect();
        self
    }

    /// Starts it and waits until it tells its supervisor that it serves.
    #[track_caller]
    pub fn start(self) -> Service {
        let mut service = self.spawn();
        service.wait_ready();
        service
    }

    /// Starts it; it ends by itself.
    #[track_caller]
    pub fn refused(self) -> Ended {
        let service = self.spawn();
        service.ends()
    }

    /// Starts it without waiting for anything.
    #[track_caller]
    pub fn spawn(self) -> Service {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mark = format!(
            "{}-{number}-{}",
            std::process::id(),
            self.dir.path().display()
        );
        let socket = self.path("notify");
        let notify = UnixDatagram::bind(&socket).expect("a notify socket");
        let mut command = self.command_line(&mark, &socket);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = Output::of(&mut child);
        let runtime_dir = self.runs_in();
        Service::new(child, self.dir, runtime_dir, mark, output, notify)
    }

    fn command_line(&self, mark: &str, notify: &Path) -> Command {
        let mut words = self.before.clone();
        words.push(env!("CARGO_BIN_EXE_handover").into());
        words.push("run".into());
        words.extend(["--runtime-dir".into(), self.runs_in().into_os_string()]);
        if !self.flags.iter().any(|(name, _)| name == "--state-dir") {
            words.extend(["--state-dir".into(), self.path("state").into_os_string()]);
        }
        for (name, value) in &self.flags {
            words.extend([OsString::from(name), value.clone()]);
        }
        if !self.command.is_empty() {
            words.push("--".into());
            words.extend(self.command.iter().map(OsString::from));
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(self.dir.path());
        clean(&mut command);
        command.env("TEST_MARK", mark).env("NOTIFY_SOCKET", notify);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A call of `handover` itself, in an environment that says nothing of a supervisor.
pub fn call(verb: &str, runtime_dir: &Path, words: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
    command
        .arg(verb)
        .arg("--runtime-dir")
        .arg(runtime_dir)
        .args(words);
    clean(&mut command);
    finish(command)
}

/// `handover check FILE`
pub fn check(file: &Path) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
    command.arg("check").arg(file);
    clean(&mut command);
    finish(command)
}

/// Takes out of the environment what says that somebody supervises.
pub fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let of_a_supervisor = ["HANDOVER_", "LISTEN_", "WATCHDOG_"];
        let others = [
            "NOTIFY_SOCKET",
            "INVOCATION_ID",
            "JOURNAL_STREAM",
            "RUNTIME_DIRECTORY",
        ];
        if of_a_supervisor.iter().any(|start| text.starts_with(start))
            || others.contains(&text.as_ref())
        {
            command.env_remove(&name);
        }
    }
}
