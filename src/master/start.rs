//! From a config to a running master, and its end.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::access::Access;
use super::admin::{self, Admin, Bound};
use super::groups::{self, Groups, Lacking};
use super::lookup::look_up_with;
use super::operations::Operations;
use super::releases::{Manner, Releases};
use super::runtime_dir::RuntimeDir;
use super::sentence::Told;
use super::signals::{self, Signals};
use super::sticky::Overrides;
use super::turn;
use super::watching::Watching;
use super::worker::Workers;
use super::{Master, holders, output, request, room};
use crate::config::{self, Fault, Faults, Level, Loaded, LogFormat, Sources};
use crate::control::paths::{self, Places, is_found};
use crate::control::{self, Event, EventLog, Timestamp};
use crate::fleet::Fleet;
use crate::logging::{self, Sink, visible};
use crate::process::{Launcher, Release, become_subreaper, raise_nofile, require_pidfds};
use crate::sockets::{self, Inherited, Listener, Watch};
use crate::systemd::Notifier;

const FAILED: u8 = 1;
const BAD_CONFIG: u8 = 2;

/// Calls and inputs that may wait for the loop.
const CALLS_WAITING: usize = 64;
const INPUTS_WAITING: usize = 1024;

/// How often listeners are looked at for what no event tells: the only thing that wakes an idle
/// master. A cut backlog is to be mended within a second; the timer keeps its phase, so that this is not
/// more than one wake-up in each on average either.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the end waits for callers to take their answers.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long the end waits for the log to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// What must be taken from the environment before any thread exists.
pub struct Early {
    inherited: Inherited,
    notifier: Notifier,
}

impl Early {
    /// Takes the inherited sockets, reads what systemd wants to be told, and
    /// blocks the signals that the master reads. To be called first in `main`.
    ///
    /// # Errors
    /// When the inherited descriptors are not what the environment says.
    pub fn take() -> Result<Self, Box<dyn std::error::Error>> {
        signals::block()?;
        let notifier = Notifier::from_env();
        let inherited = Inherited::from_env()?;
        Ok(Self {
            inherited,
            notifier,
        })
    }
}

/// What the command line asks of a master.
pub struct Start {
    /// Where the config comes from.
    pub sources: Sources,
    /// `--runtime-dir`.
    pub runtime_dir: Option<PathBuf>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
}

/// Why a master did not start: the exit code and what to say, "error:" included.
struct Refusal(u8, String);

impl Refusal {
    fn failed(what: impl Display) -> Self {
        Self(FAILED, format!("error: {what}"))
    }

    /// A broken file of variables is a broken config; what is not there may come yet.
    fn lacking(faults: Faults) -> Self {
        let of_file = |fault: &Fault| fault.key.as_deref() != Some("app.env_file");
        let code = match faults.0.iter().all(of_file) {
            true => FAILED,
            false => BAD_CONFIG,
        };
        Self(code, faults.errors())
    }
}

/// Runs a master until its end.
pub fn run(early: Early, start: Start) -> ExitCode {
    match prepare_and_run(early, start) {
        Ok(code) => ExitCode::from(code),
        Err(Refusal(code, message)) => {
            // Nobody may be there to read it.
            drop(writeln!(io::stderr(), "{}", visible(message.trim_end())));
            ExitCode::from(code)
        }
    }
}

fn prepare_and_run(early: Early, start: Start) -> Result<u8, Refusal> {
    let loaded =
        config::load(&start.sources).map_err(|faults| Refusal(BAD_CONFIG, faults.errors()))?;
    require_pidfds().map_err(Refusal::failed)?;
    let name = config::service_name(&loaded.config, start.sources.file.as_deref());
    let of_env = Places::from_env();
    let elsewhere = start.runtime_dir.is_some() || of_env.given().is_some();
    let places = match start.runtime_dir {
        Some(directory) => vec![directory],
        None => of_env.all_for(&name),
    };
    let file = start.sources.file.clone();
    let (mut runtime, told) =
        RuntimeDir::take_first(&places, &name, file.as_deref()).map_err(|error| {
            Refusal::failed(holders::of_directory(&error, file.as_deref(), elsewhere))
        })?;
    let unusable = |error| format!("{} cannot be used: {error}", runtime.path().display());
    runtime
        .make_rooms()
        .map_err(|error| Refusal::failed(unusable(error)))?;
    let upgrade = paths::command("upgrade", &name, runtime.path());
    let from_file = start.sources.file.is_some();
    let (request, kept_warnings) = Overrides::open(start.state_dir, &name, from_file, upgrade);
    let (release, manner) = first_release(&loaded, &request)?;
    let lacking = groups::survey(&loaded).map_err(Refusal::lacking)?;
    runtime.let_in(Access::of(&loaded.config.control).map_err(Refusal::failed)?);
    raise_nofile().map_err(Refusal::failed)?;
    become_subreaper().map_err(Refusal::failed)?;
    let launcher = Launcher::open().map_err(|error| {
        Refusal::failed(format!("opening handover's own binary failed: {error}"))
    })?;
    let kept = runtime.listeners();
    let (listeners, warnings) = sockets::open(&loaded.config.listen, early.inherited, Some(&kept))
        .map_err(|error| Refusal::failed(holders::of_address(error, file.as_deref())))?;
    let mut warnings = [told, kept_warnings, warnings].concat();
    warnings.extend(room::shortage(&loaded.config, listeners.len()));
    warnings.extend(runtime.obstacle());
    let admin = loaded.config.admin.listen.as_ref().map(admin::bind);
    let admin = admin.transpose().map_err(Refusal::failed)?;
    let sink = open_log(&loaded, &name)?;
    let runtime_of_tasks = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(Refusal::failed)?;
    let code = runtime_of_tasks.block_on(async {
        let (master, sources, server) = assemble(Parts {
            name,
            loaded,
            sources: start.sources,
            runtime,
            launcher,
            listeners,
            request,
            admin,
            warnings,
            sink: sink.clone(),
            notifier: early.notifier,
        })
        .map_err(Refusal::failed)?;
        let code = live(master, sources, (release, manner), lacking).await;
        // Answers that are on their way leave first.
        drop(tokio::time::timeout(FAREWELL, server).await);
        Ok(code)
    });
    sink.flush(FLUSH);
    code
}

/// Of the config, or of what an upgrade brought instead.
fn first_release(loaded: &Loaded, request: &Overrides) -> Result<(Release, Manner), Refusal> {
    let sticky = request.sticky_of(&loaded.config);
    look_up_with(loaded, &sticky).map_err(|faults| match request.sentence(&sticky) {
        None => Refusal::lacking(faults),
        Some(sentence) => {
            let sentence = format!(
                "{}\n{sentence}; to run the config's own again, remove {}",
                faults.errors(),
                request.file().unwrap_or_default().display()
            );
            Refusal(FAILED, sentence)
        }
    })
}

fn open_log(loaded: &Loaded, name: &str) -> Result<Sink, Refusal> {
    let log = &loaded.config.log;
    let format = match log.format {
        LogFormat::Auto => logging::Format::Auto,
        LogFormat::Text => logging::Format::Text,
        LogFormat::Json => logging::Format::Json,
        LogFormat::Journald => logging::Format::Journald,
    };
    Sink::start(format, log_level(log.level), name)
        .map_err(|error| Refusal::failed(format!("the log cannot be opened: {error}")))
}

pub(super) fn log_level(level: Level) -> logging::Level {
    match level {
        Level::Error => logging::Level::Error,
        Level::Warn => logging::Level::Warn,
        Level::Info => logging::Level::Info,
        Level::Debug | Level::Trace => logging::Level::Debug,
    }
}

/// What a master is made of.
struct Parts {
    name: String,
    loaded: Loaded,
    sources: Sources,
    runtime: RuntimeDir,
    launcher: Launcher,
    listeners: Vec<Listener>,
    request: Overrides,
    admin: Option<Bound>,
    warnings: Vec<String>,
    sink: Sink,
    notifier: Notifier,
}

/// Puts the parts together and opens the control socket.
fn assemble(mut parts: Parts) -> io::Result<(Master, turn::Sources, JoinHandle<()>)> {
    let events = EventLog::new();
    let (calls, waiting_calls) = mpsc::channel(CALLS_WAITING);
    let (inputs, waiting_inputs) = mpsc::channel(INPUTS_WAITING);
    let door = parts.runtime.bind_control()?;
    let (renewed, doors) = mpsc::channel(1);
    let mut admin = Admin::new(calls.clone(), events.clone());
    let server = tokio::spawn(control::serve(door, doors, calls, events.clone()));
    parts.admin.map_or(Ok(()), |bound| admin.serve(bound))?;
    let watch = Watch::new(&parts.listeners)?.looking_every(LOOK_EVERY)?;
    let sources = turn::Sources::new(Signals::open()?, waiting_calls, waiting_inputs, watch)?;
    let origin = Instant::now();
    let elsewhere = !is_found(parts.runtime.path());
    let policy = request::policy(&parts.loaded.config);
    let seed = Timestamp::now().millis() ^ u64::from(std::process::id());
    let master = Master {
        name: parts.name,
        started_at: Timestamp::now(),
        origin,
        sources: parts.sources,
        said: parts.loaded.config.clone(),
        loaded: parts.loaded,
        runtime: parts.runtime,
        fleet: Fleet::new(policy, seed),
        pending: VecDeque::new(),
        launches: VecDeque::new(),
        releases: Releases::default(),
        request: parts.request,
        scaled: None,
        hooks: super::hooks::Hooks::default(),
        errands: crate::process::Errands::default(),
        binding: super::binding::Binding::default(),
        on_change: super::on_change::OnChange::default(),
        workers: Workers::default(),
        groups: Groups::default(),
        spent: super::usage::Spent::default(),
        generations: BTreeMap::new(),
        labels: BTreeMap::new(),
        cleared: super::shared_flags::Cleared::default(),
        watching: Watching::new(),
        probing: super::probing::Probing::default(),
        queues: super::baking::Queues::default(),
        counting: super::counting::Counting::new(),
        listeners: parts.listeners,
        launcher: parts.launcher,
        notifier: parts.notifier,
        told: Told::default(),
        lines: output::Lines::new(parts.sink.clone()),
        sink: parts.sink,
        events,
        operations: Operations::new(seed),
        inputs,
        renewed,
        admin,
        warnings: parts.warnings,
        elsewhere,
        upgrades: super::tally::Tally::default(),
        restarts: 0,
        unserved_since: None,
        finished: None,
        fatal: None,
    };
    Ok((master, sources, server))
}

/// Lives until the fleet is finished.
async fn live(
    mut master: Master,
    sources: turn::Sources,
    (release, manner): (Release, Manner),
    lacking: Lacking,
) -> u8 {
    greet(&master);
    let pid = super::listeners::own_pid();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    master.tell(&Event::MasterStarted { pid, version });
    if let Some(problem) = master.notifier.problem() {
        master.warn(problem.to_owned());
    }
    for warning in master.warnings.clone() {
        master.warn(warning);
    }
    for warning in master.loaded.warnings.clone() {
        master.warn(warning.to_string());
    }
    master.tell_lacks(lacking);
    master.guard_runtime();
    if let Some(over) = master.request.is_over(master.config()) {
        master.warn(over);
    }
    master.submit_first(release, manner);
    if let Some(sentence) = master.sticky_sentence() {
        master.warn(sentence);
    }
    let code = master.run(sources).await;
    master.answer_held_back();
    master.leave_groups().await;
    master.events.close();
    master.admin.end().await;
    master.runtime.clear();
    for listener in std::mem::take(&mut master.listeners) {
        if let Err(error) = listener.close() {
            master.warn(format!("closing a listener failed: {error}"));
        }
    }
    master.last_words(code);
    code
}

/// Name, PID, addresses and the two ways to upgrade, ready to copy; for people
/// at a terminal.
fn greet(master: &Master) {
    use std::io::IsTerminal;
    if !io::stderr().is_terminal() {
        return;
    }
    let addresses: Vec<String> = master.listeners.iter().map(Listener::address).collect();
    let pid = std::process::id();
    let name = &master.name;
    let upgrade = paths::command("upgrade", name, master.runtime.path());
    let metrics = master.admin.address();
    let metrics = metrics.map_or_else(String::new, |at| {
        format!("\n  metrics: curl http://{at}/metrics")
    });
    // A closed terminal is no reason not to serve.
    drop(writeln!(
        io::stderr(),
        "{name}: pid {pid}, {}\n  upgrade: {upgrade}   or   kill -USR2 {pid}{metrics}",
        match addresses.is_empty() {
            true => "no listeners".to_owned(),
            false => format!("listens on {}", addresses.join(", ")),
        }
    ));
}
