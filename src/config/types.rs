//! What a config says once it is read: plain data with defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::address::Address;
use super::choice::choice;
use super::field::join_words;
use super::signal::Signal;

/// The value of a limit that says "no limit" (`RLIM_INFINITY`, getrlimit(2)).
pub const UNLIMITED: u64 = u64::MAX;

/// Everything that a master needs to know, checked and with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The service's name, when the config gives one; see [`super::service_name`].
    pub name: Option<String>,
    /// Who takes the connections.
    pub route: Route,
    /// What to run.
    pub app: App,
    /// The sockets, in the order in which a worker gets them (descriptors 3…).
    pub listen: Vec<Listen>,
    /// When a worker counts as ready.
    pub ready: Ready,
    /// Whether a ready worker still serves.
    pub health: Health,
    /// How a new generation replaces the old one.
    pub upgrade: Upgrade,
    /// How an old generation ends.
    pub drain: Drain,
    /// How fast a worker that died is started again.
    pub restart: Restart,
    /// Commands at certain moments.
    pub hooks: Hooks,
    /// Bounds of each worker.
    pub limits: Limits,
    /// Where log lines and worker output go.
    pub log: Log,
    /// Who may speak to the master.
    pub control: Control,
    /// Metrics and health over TCP.
    pub admin: Admin,
}

/// `[app]`: what to run; the part of a config that makes a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Program and arguments. Never empty once loaded.
    pub command: Vec<String>,
    /// Workers of a generation.
    pub workers: Workers,
    /// Working directory; unset: the master's own.
    pub directory: Option<PathBuf>,
    /// User name or number; unset: the master's own.
    pub user: Option<String>,
    /// Group name or number; unset: the user's own.
    pub group: Option<String>,
    /// Variables set last, over `env_file` and the inherited ones.
    pub env: BTreeMap<String, String>,
    /// A file in systemd's `EnvironmentFile=` syntax, read anew for each generation.
    pub env_file: Option<PathBuf>,
    /// Which of the master's variables a worker sees.
    pub inherit_env: InheritEnv,
    /// A worker silent on its notify socket for this long is replaced; unset: never.
    pub watchdog: Option<Duration>,
    /// File mode creation mask; unset: the master's own.
    pub umask: Option<u32>,
    /// Sets PR_SET_NO_NEW_PRIVS: setuid programs gain nothing.
    pub no_new_privs: bool,
}

/// Workers of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// As many as the cgroup has CPUs.
    Auto,
    /// That many.
    Count(NonZeroU32),
}

/// Which of the master's variables a worker sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InheritEnv {
    /// All but those that are the master's own affair.
    All,
    /// Only what a login shell would have (`PATH HOME USER LOGNAME SHELL LANG LC_* TZ TMPDIR`).
    Nothing,
    /// Those named.
    Only(Vec<String>),
}

/// `[[listen]]`: one socket and the options that it is created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Unique; `listen-N` (N from 0, by position) when the config gives none.
    pub name: String,
    /// What to bind, or which inherited descriptor to take.
    pub address: Address,
    /// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
    pub backlog: u32,
    /// O_NONBLOCK on the open file description, which all generations share.
    pub nonblocking: bool,
    /// Must a worker wait on it to count as ready?
    pub ready: bool,
    /// SO_REUSEPORT: another process may bind the same address.
    pub reuse_port: bool,
    /// IPV6_V6ONLY; unset: both families where the address is a wildcard.
    pub only_v6: Option<bool>,
    /// TCP_NODELAY, inherited by accepted connections.
    pub nodelay: bool,
    /// TCP keep-alive after this much silence, in whole seconds; unset: the application's affair.
    pub keepalive: Option<Duration>,
    /// SO_RCVBUF in bytes.
    pub receive_buffer: Option<u32>,
    /// SO_SNDBUF in bytes.
    pub send_buffer: Option<u32>,
    /// TCP_DEFER_ACCEPT: a connection is taken when its first bytes came, or after this.
    pub defer_accept: Option<Duration>,
    /// TCP_FASTOPEN: how many connections may wait with data in their SYN.
    pub fastopen: Option<u32>,
    /// IP_FREEBIND: the address need not exist yet.
    pub freebind: bool,
    /// IP_TRANSPARENT: the address need not be ours.
    pub transparent: bool,
    /// SO_MARK, a firewall mark.
    pub mark: Option<u32>,
    /// Permissions of a unix path; unset: 0666 less the umask.
    pub mode: Option<u32>,
    /// Owner of a unix path.
    pub user: Option<String>,
    /// Group of a unix path.
    pub group: Option<String>,
}

impl Listen {
    /// A listener with every option at its default.
    pub fn new(name: impl Into<String>, address: Address) -> Listen {
        Listen {
            name: name.into(),
            address,
            backlog: 4096,
            nonblocking: false,
            ready: true,
            reuse_port: false,
            only_v6: None,
            nodelay: false,
            keepalive: None,
            receive_buffer: None,
            send_buffer: None,
            defer_accept: None,
            fastopen: None,
            freebind: false,
            transparent: false,
            mark: None,
            mode: None,
            user: None,
            group: None,
        }
    }
}

/// `[ready]`: when a worker counts as ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The sign that decides.
    pub on: ReadyOn,
    /// Not ready by then: failed.
    pub timeout: Duration,
    /// Where nothing can be observed, alive for this long counts.
    pub settle: Duration,
}

/// The sign that a worker is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyOn {
    /// `READY=1`, or the kernel's evidence that it waits on its listeners.
    Auto,
    /// `READY=1` only.
    Notify,
    /// The kernel's evidence only.
    Accepting,
    /// A line of output matches.
    Output {
        /// Where to look.
        stream: Stream,
        /// A regular expression (regex-lite's syntax), known to compile.
        regex: String,
    },
    /// Alive for this long.
    Uptime(Duration),
    /// The worker answers this.
    Probe(Probe),
}

/// The name of the listener that a worker gets for `http:` probes.
pub const PROBE: &str = "probe";

/// A question that a worker has to answer. Displayed as it is written in a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `GET` of this path on the worker's own listener `probe`, answered with a status from 200 to 399.
    Http(String),
    /// A program and its arguments, never empty, that ends with status 0.
    Exec(Vec<String>),
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Probe::Http(path) => write!(f, "http:{path}"),
            Probe::Exec(words) => write!(f, "exec:{}", join_words(words)),
        }
    }
}

/// `[health]`: whether a ready worker still serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What a ready worker must go on answering; unset: nothing is asked.
    pub check: Option<Probe>,
    /// From one question to the next.
    pub interval: Duration,
    /// A probe without an answer by then has failed; those of `ready.on` too.
    pub timeout: Duration,
    /// So many failures in a row: the worker is replaced.
    pub failures: u32,
}

/// Which of a worker's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output and standard error.
    Both,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// `[upgrade]`: how a new generation replaces the old one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// How long a new generation must stay healthy beside the old one.
    pub bake: Duration,
    /// How often a failed generation is tried again.
    pub retries: u32,
    /// In which steps.
    pub strategy: Strategy,
    /// Rolling: workers replaced at a time, at least 1.
    pub batch: u32,
    /// Workers of a new generation that stand beside the old one until promoted; 0: none.
    pub canary: u32,
    /// A canary that nobody promoted by then is aborted; zero: never.
    pub canary_timeout: Duration,
    /// Upgrade by itself when the executable changes on disk.
    pub on_change: bool,
}

/// `[hooks]`: commands at certain moments; an empty one is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before a new generation starts; may refuse it.
    pub pre_upgrade: Vec<String>,
    /// When its first workers are ready; may undo it.
    pub post_ready: Vec<String>,
    /// When a generation that was replaced has ended.
    pub post_drain: Vec<String>,
    /// When an upgrade failed.
    pub on_failure: Vec<String>,
}

/// `[drain]`: how an old generation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// On stop: everything serves on for this long first.
    pub delay: Duration,
    /// What asks a worker to finish.
    pub signal: Signal,
    /// Killed when not gone by then.
    pub timeout: Duration,
    /// Routed modes: the signal is sent this long before the deadline at the latest.
    pub kill_after: Duration,
    /// More draining generations than this: the oldest one's deadline becomes now.
    pub max_generations: u32,
}

/// `[restart]`: full-jitter backoff between starts of a worker that dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Bound of the first delay.
    pub delay: Duration,
    /// Bound of every later one.
    pub max_delay: Duration,
}

/// `[limits]`: resource limits of each worker (setrlimit(2)); [`UNLIMITED`] for none, unset: inherited. Then what a
/// control group holds a worker and all its processes to; unset: nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// RLIMIT_NOFILE, descriptors.
    pub nofile: Option<u64>,
    /// RLIMIT_NPROC, processes of the user.
    pub nproc: Option<u64>,
    /// RLIMIT_CORE, bytes.
    pub core: Option<u64>,
    /// RLIMIT_MEMLOCK, bytes.
    pub memlock: Option<u64>,
    /// RLIMIT_STACK, bytes.
    pub stack: Option<u64>,
    /// RLIMIT_DATA, bytes.
    pub data: Option<u64>,
    /// RLIMIT_FSIZE, bytes.
    pub fsize: Option<u64>,
    /// RLIMIT_AS (`limits.as`), bytes of address space.
    pub address_space: Option<u64>,
    /// memory.max, bytes.
    pub memory: Option<u64>,
    /// cpu.max, CPUs.
    pub cpu: Option<f64>,
    /// pids.max, processes and threads.
    pub pids: Option<u64>,
    /// What of the last three cannot be set is no error.
    pub best_effort: bool,
}

/// `[log]`: where log lines and worker output go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Form of the master's own lines.
    pub format: LogFormat,
    /// The least important line that is written.
    pub level: Level,
    /// Where workers' output goes.
    pub worker_output: WorkerOutput,
}

/// `[control]`: who may speak to the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Group of the control socket; unset: the master's own.
    pub group: Option<String>,
    /// Permissions of the control socket.
    pub mode: u32,
}

/// `[admin]`: metrics and health over TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Where; always [`Address::Tcp`]. Unset: nowhere.
    pub listen: Option<Address>,
}

choice! {
    /// Who takes the connections.
    pub enum Route {
        /// As the other keys suggest.
        Auto = "auto",
        /// Workers, on inherited listeners.
        Direct = "direct",
        /// The router, to the least loaded worker.
        Balance = "balance",
        /// The router, to the session's own worker.
        Session = "session",
    }
}

choice! {
    /// In which steps a new generation replaces the old one.
    pub enum Strategy {
        /// All workers at once.
        All = "all",
        /// A batch of workers at a time.
        Rolling = "rolling",
    }
}

choice! {
    /// Form of the master's own log lines.
    pub enum LogFormat {
        /// journald when `JOURNAL_STREAM` is ours, else text.
        Auto = "auto",
        /// For people; coloured on a terminal.
        Text = "text",
        /// One object a line.
        Json = "json",
        /// journald's native protocol, with fields.
        Journald = "journald",
    }
}

choice! {
    /// Importance of a log line, the least important last.
    pub enum Level {
        /// Something failed.
        Error = "error",
        /// Something is not as it should be.
        Warn = "warn",
        /// Something happened.
        Info = "info",
        /// For whoever debugs a service.
        Debug = "debug",
        /// For whoever debugs handover.
        Trace = "trace",
    }
}

choice! {
    /// Where workers' output goes.
    pub enum WorkerOutput {
        /// The master's own standard output and error.
        Inherit = "inherit",
        /// With the master's own log lines, marked with the worker.
        Journal = "journal",
        /// A file each.
        File = "file",
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            name: None,
            route: Route::Auto,
            app: App::default(),
            listen: Vec::new(),
            ready: Ready {
                on: ReadyOn::Auto,
                timeout: Duration::from_secs(30),
                settle: Duration::from_secs(1),
            },
            health: Health {
                check: None,
                interval: Duration::from_secs(5),
                timeout: Duration::from_secs(2),
                failures: 3,
            },
            upgrade: Upgrade {
                bake: Duration::from_secs(1),
                retries: 0,
                strategy: Strategy::All,
                batch: 1,
                canary: 0,
                canary_timeout: Duration::ZERO,
                on_change: false,
            },
            drain: Drain {
                delay: Duration::ZERO,
                signal: Signal::TERM,
                timeout: Duration::from_secs(20),
                kill_after: Duration::from_secs(5),
                max_generations: 4,
            },
            restart: Restart {
                delay: Duration::from_millis(100),
                max_delay: Duration::from_secs(30),
            },
            hooks: Hooks::default(),
            limits: Limits::default(),
            log: Log {
                format: LogFormat::Auto,
                level: Level::Info,
                worker_output: WorkerOutput::Journal,
            },
            control: Control {
                group: None,
                mode: 0o600,
            },
            admin: Admin::default(),
        }
    }
}

impl Default for App {
    fn default() -> App {
        App {
            command: Vec::new(),
            workers: Workers::Count(NonZeroU32::MIN),
            directory: None,
            user: None,
            group: None,
            env: BTreeMap::new(),
            env_file: None,
            inherit_env: InheritEnv::All,
            watchdog: None,
            umask: None,
            no_new_privs: false,
        }
    }
}
