//! `handover run`: the master, in the foreground.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Setting, Sources, Value};

/// What `run` was asked, for whoever starts a master.
#[derive(Clone, Debug)]
pub struct RunArgs {
    /// The config file, the environment and the flags, not read yet.
    pub sources: Sources,
    /// `--runtime-dir`, as it was written; else
    /// [`default_runtime_dir`](crate::control::paths::default_runtime_dir).
    pub runtime_dir: Option<PathBuf>,
    /// `--state-dir`, as it was written.
    pub state_dir: Option<PathBuf>,
}

/// Run a service in the foreground and keep it reachable
#[derive(Debug, Default, PartialEq, Args)]
#[command(override_usage = "handover run [OPTIONS] [-- COMMAND [ARG]...]")]
#[command(after_help = "\
A complete use: handover run --listen 127.0.0.1:8080 -- ./server

Signals:
  USR2             as `handover upgrade`, without the answer
  HUP              as `handover reload`, without the answer
  TERM, INT, QUIT  drain and stop; a second one stops at once
  TTIN, TTOU       one worker more, one fewer

Exit codes:
  0  stopped as it was asked
  1  the first generation could not start, or something it needs is missing
  2  bad usage or config")]
pub(super) struct Run {
    /// Config file (TOML)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Service name [default: the config's file stem, else the command's]
    #[arg(short, long)]
    name: Option<String>,
    /// Listen on HOST:PORT, :PORT, [V6]:PORT, unix:PATH, unix:@NAME, udp:HOST:PORT, fd:NAME;
    /// repeatable
    #[arg(short, long, value_name = "[NAME=]ADDR")]
    listen: Vec<String>,
    /// Workers per generation, or `auto` for one a CPU [default: 1]
    #[arg(short, long, value_name = "N")]
    workers: Option<String>,
    /// `auto` or `direct`; `balance` and `session` come in a later version
    #[arg(short, long, value_name = "MODE")]
    route: Option<String>,
    /// Session key; comes in a later version
    #[arg(short = 'k', long, value_name = "KEY", hide = true)]
    session_key: Vec<String>,
    /// What makes a worker ready: auto, notify, accepting, http:PATH, exec:COMMAND,
    /// output:REGEX, uptime:DURATION
    /// [default: auto]
    #[arg(long, value_name = "HOW")]
    ready: Option<String>,
    /// For a worker to become ready [default: 30s]
    #[arg(long, value_name = "DURATION")]
    ready_timeout: Option<String>,
    /// For a new generation to prove itself beside the old one [default: 1s]
    #[arg(long, value_name = "DURATION")]
    bake: Option<String>,
    /// For an old generation to finish what it has [default: 20s]
    #[arg(long, value_name = "DURATION")]
    drain_timeout: Option<String>,
    /// Where the control socket is [default: /run/handover/NAME as root]
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// What survives a reboot [default: /var/lib/handover/NAME as root]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// auto, text, json or journald [default: auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// The program to run, and its arguments
    #[arg(last = true)]
    command: Vec<String>,
}

impl Run {
    /// What the flags say in the config's words; whether it is right, the
    /// config says, with every other fault.
    pub(super) fn into_run_args(self) -> RunArgs {
        let mut flags = Vec::new();
        let mut add = |key: &str, flag: &str, value: Option<Value>| {
            let (key, flag) = (key.to_owned(), flag.to_owned());
            flags.extend(value.map(|value| Setting { key, value, flag }));
        };
        let text = |text: Option<String>| text.map(Value::Text);
        let list = |list: Vec<String>| (!list.is_empty()).then_some(Value::List(list));
        add("name", "--name", text(self.name));
        add("listen", "--listen", list(self.listen));
        add("app.workers", "--workers", text(self.workers));
        add("route", "--route", text(self.route));
        add("sessions.key", "--session-key", list(self.session_key));
        add("ready.on", "--ready", text(self.ready));
        add("ready.timeout", "--ready-timeout", text(self.ready_timeout));
        add("upgrade.bake", "--bake", text(self.bake));
        add("drain.timeout", "--drain-timeout", text(self.drain_timeout));
        add("log.format", "--log-format", text(self.log_format));
        add("log.level", "--log-level", text(self.log_level));
        add("app.command", "-- COMMAND", list(self.command));
        let sources = Sources {
            file: self.config,
            env: std::env::vars_os().collect(),
            flags,
        };
        RunArgs {
            sources,
            runtime_dir: self.runtime_dir,
            state_dir: self.state_dir,
        }
    }
}
