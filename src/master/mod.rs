//! The master: one thread, one loop, no client byte.
//!
//! Knows: how the other rooms fit together. It turns what happens (signals,
//! calls, ends of processes, notify datagrams, evidence) into events of the
//! [`fleet`], and performs the effects that come back, in their
//! order. Must not know: rules. Whether a worker is respawned, a generation
//! fails or an answer is due is decided in `fleet`, never here.
//!
//! | file | idea |
//! |---|---|
//! | `start` | from a config to a running master, and its end |
//! | `turn` | the loop: what is waited for |
//! | `signals` | what a signal means |
//! | `calls` | what the control API asks |
//! | `access` | who may give orders |
//! | `admin` | metrics and health over TCP |
//! | `operations` | who waits for what, and what became of it |
//! | `request` | from a call to a release to an event of the fleet |
//! | `adopt` | a config that was read again: what is in force at once |
//! | `holders` | who has what a new master wants |
//! | `room` | is there room for the descriptors of two generations? |
//! | `lookup` | what a config only names: programs, users, files |
//! | `releases` | releases by number |
//! | `sticky` | what an upgrade brought and that stays |
//! | `kept` | that, as bytes that later versions read, too |
//! | `state_dir` | the file of it, over restarts and reboots |
//! | `on_change` | an upgrade when the program changes on disk |
//! | `environment` | what a worker sees |
//! | `launch` | from an effect to a process |
//! | `worker` | a worker as the master holds it |
//! | `output` | what workers print |
//! | `watching` | observing readiness |
//! | `probing` | who is asked whether it serves, and when |
//! | `asking` | asks, and what follows from the answers |
//! | `unanswered` | the words for a worker that did not answer well |
//! | `counting`, `count` | how many connections workers hold: when it is counted; one count, on its thread |
//! | `baking` | does anybody take what waits on the listeners? |
//! | `notices` | what workers say on their notify sockets |
//! | `chatter` | a worker that floods its notify socket |
//! | `groups` | control groups of workers |
//! | `ends` | ends of processes, and what they leave behind |
//! | `effects` | performs what the fleet decided |
//! | `no_files` | what to do where a worker's files cannot be made |
//! | `notes` | what the fleet decided, as events for people |
//! | `steps` | in which steps, and how many workers |
//! | `hooks` | commands at certain moments |
//! | `failures` | why a generation failed, in words |
//! | `fatal` | the last line of a master whose first generation never got ready |
//! | `binding` | listeners are bound by a thread, one call after the other |
//! | `listeners` | repairs of listeners |
//! | `reach` | listeners that no client gets through |
//! | `unserved` | that no worker is ready, for how long |
//! | `lineup` | which listeners a generation has |
//! | `status` | what `status` says |
//! | `metrics` | what the metrics say |
//! | `tally` | how upgrades ended, and how long they took |
//! | `usage` | what workers use, for the metrics |
//! | `sentence` | what systemd is told |
//! | `runtime_dir` | where the control socket and the workers' files are |

mod access;
mod admin;
mod adopt;
mod asking;
mod baking;
mod binding;
mod calls;
mod changed;
mod chatter;
mod count;
mod counting;
mod effects;
mod ends;
mod environment;
mod failures;
mod fatal;
mod groups;
mod holders;
mod hooks;
mod kept;
mod launch;
mod leftovers;
mod lineup;
mod listeners;
mod lookup;
mod metrics;
mod no_files;
mod notes;
mod notices;
mod on_change;
mod operations;
mod output;
mod outside;
mod probing;
mod program;
mod reach;
mod releases;
mod request;
mod room;
mod runtime_dir;
mod sentence;
mod shared_flags;
mod signals;
mod start;
mod state_dir;
mod status;
mod steps;
mod sticky;
mod stores;
mod taken;
mod tally;
mod turn;
mod unanswered;
mod unserved;
mod usage;
mod watching;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::config::{Address, Config, Loaded, Sources};
use crate::control::{ControlDoor, Event, EventLog, Severity, Timestamp};
use crate::fleet::{self, Fleet, GenerationNumber, OperationId, Outcome, ReleaseId, WorkerId};
use crate::logging::{Level, Record, Sink};
use crate::process::{Done, Errands, LaunchFailure, Launcher, Swept};
use crate::readiness::notify::Datagram;
use crate::sockets::{Arranged, Listener};
use crate::systemd::Notifier;

use groups::Groups;
use operations::Operations;
use releases::{Manner, Releases};
use runtime_dir::RuntimeDir;
use sentence::Told;
use watching::Watching;
use worker::{GenerationInfo, Workers};

pub use lookup::{look_up, look_up_sound, missing_script};
pub use start::{Early, Start, run};

/// What tasks tell the loop.
enum Input {
    /// The launcher of this worker executed the program, or could not.
    Launched(WorkerId, Result<(), LaunchFailure>),
    /// This worker said something on its notify socket.
    Notify(WorkerId, Datagram),
    /// This worker's notify socket cannot be read for now.
    Deaf(WorkerId, io::Error),
    /// This worker's output matched the pattern of `ready.on = "output:…"`.
    Matched(WorkerId, String),
    /// The control group of a worker was made, or not.
    Group(groups::Notice),
    /// A probe of a worker came to its end.
    Asked(asking::Question, asking::Reply),
    /// What was left of this generation, outside its workers' groups, was ended.
    Swept(GenerationNumber, io::Result<Swept>),
    /// Who has the address that this worker could not bind.
    Taken(WorkerId, taken::Search),
    /// The command of this hook came to its end.
    Hook(hooks::RunId, Done),
    /// Something may have happened to the runtime directory.
    RuntimeDir,
    /// A count of connections came to its end.
    Counted(Box<count::Counter>, Box<count::Count>),
    /// What a call lacked is bound, or not.
    Bound(Result<Arranged, String>),
    /// The next call that waited for that has its turn.
    BindNext,
    /// The program may have changed on disk.
    ProgramChanged,
    /// What a thread found at these paths.
    ProgramSeen(Vec<PathBuf>, program::Look),
    /// In this directory, on the way to the program, nothing can be watched.
    ProgramClosed(PathBuf),
    /// The program cannot be watched any more.
    ProgramLost(io::Error),
    /// What this operation leaves is in the state directory, or could not be written.
    Kept(OperationId, Outcome, Result<(), String>),
    /// `[admin] listen` was opened at this address, or could not be.
    Admin(Address, Result<admin::Bound, String>),
}

/// Everything that the one thread owns.
struct Master {
    name: String,
    started_at: Timestamp,
    /// The fleet's clock counts from here.
    origin: Instant,
    sources: Sources,
    loaded: Loaded,
    runtime: RuntimeDir,
    fleet: Fleet,
    /// Events that the master itself makes, for the fleet.
    /// The config as it was read last: what of it waits for something is not in `loaded`.
    said: Config,
    pending: VecDeque<fleet::Event>,
    /// Workers to be started, a few in each turn of the loop.
    launches: VecDeque<(WorkerId, ReleaseId)>,
    releases: Releases,
    request: sticky::Overrides,
    /// None while the number of workers is the config's.
    scaled: Option<steps::Scaled>,
    hooks: hooks::Hooks,
    /// Commands that run: those of hooks and of probes.
    errands: Errands,
    binding: binding::Binding,
    on_change: on_change::OnChange,
    workers: Workers,
    groups: Groups,
    spent: usage::Spent,
    generations: BTreeMap<GenerationNumber, GenerationInfo>,
    /// Of those that can be gone back to.
    labels: BTreeMap<GenerationNumber, String>,
    cleared: shared_flags::Cleared,
    watching: Watching,
    probing: probing::Probing,
    queues: baking::Queues,
    counting: counting::Counting,
    /// All that are open: those of any generation.
    listeners: Vec<Listener>,
    launcher: Launcher,
    notifier: Notifier,
    told: Told,
    sink: Sink,
    events: EventLog,
    operations: Operations,
    inputs: mpsc::Sender<Input>,
    /// Takes a control socket that was bound again to the server.
    renewed: mpsc::Sender<ControlDoor>,
    admin: admin::Admin,
    lines: output::Lines,
    warnings: Vec<String>,
    /// The runtime directory is not where the command line looks by itself.
    elsewhere: bool,
    upgrades: tally::Tally,
    /// Workers started again inside a generation.
    restarts: u64,
    /// Since when no worker is ready although a generation is active.
    unserved_since: Option<Instant>,
    /// Set when the fleet is done: the exit code.
    finished: Option<u8>,
    /// Why the first generation never got ready.
    fatal: Option<failures::FailureReport>,
}

impl Master {
    fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// How workers of this generation are watched, and told to end: as when it began.
    fn manner(&self, generation: GenerationNumber) -> Arc<Manner> {
        let info = self.generations.get(&generation);
        info.map_or_else(
            || Arc::new(Manner::of(self.config())),
            |info| info.manner.clone(),
        )
    }

    /// The fleet's clock.
    fn now(&self) -> fleet::Moment {
        self.origin.elapsed()
    }

    /// Tells people: the event log and the log.
    fn tell(&self, event: &Event) {
        let view = self.events.push(event);
        let level = match event.severity() {
            Severity::Info => Level::Info,
            Severity::Warning => Level::Warn,
            Severity::Error => Level::Error,
        };
        let mut record = Record::new(level, event.to_string());
        let number = view
            .fields
            .get("generation")
            .and_then(serde_json::Value::as_u64);
        record.generation = number.and_then(|number| u32::try_from(number).ok());
        let worker = view
            .fields
            .get("worker")
            .and_then(serde_json::Value::as_str);
        record.worker = worker.map(str::to_owned);
        record.event = Some(view.kind);
        self.sink.log(record);
    }

    /// `handover WORDS`, to be copied: with the flag that finds this master where the command line does not.
    fn command(&self, words: impl std::fmt::Display) -> String {
        match self.elsewhere {
            true => format!(
                "handover {words} --runtime-dir {}",
                self.runtime.path().display()
            ),
            false => format!("handover {words}"),
        }
    }

    fn warn(&self, message: impl Into<String>) {
        let message = message.into();
        self.tell(&Event::Warning { message });
    }
}
