//! Commands at certain moments (`[hooks]`).
//!
//! A hook runs as the master's own user, in a process group of its own, for
//! [`PATIENCE`] at most; what it leaves in its group ends with it. The first two
//! decide whether an upgrade goes on.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::effects::millis;
use super::output::REPORTED;
use super::{Input, Master, environment};
use crate::control::{Event, Span, Timestamp};
use crate::fleet::{self, Fault, GenerationNumber};
use crate::logging::{Level, Record, Sink};
use crate::process::{
    Child, Exit, LaunchFailure, LaunchRequest, Launched, Line, Plan, Reader, Release, Tail,
    short_pipe,
};

/// How long a hook may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most that is taken of what a hook left unread, in bytes: what its pipe holds.
const LAST_WORDS: usize = 1 << 20;

const SIGKILL: i32 = nix::libc::SIGKILL;

/// Which moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    PreUpgrade,
    PostReady,
    PostDrain,
    OnFailure,
}

impl Hook {
    fn name(self) -> &'static str {
        match self {
            Self::PreUpgrade => "pre_upgrade",
            Self::PostReady => "post_ready",
            Self::PostDrain => "post_drain",
            Self::OnFailure => "on_failure",
        }
    }

    /// It decides whether the upgrade goes on.
    fn decides(self) -> bool {
        matches!(self, Self::PreUpgrade | Self::PostReady)
    }
}

/// Tells one run of a hook from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunId(u64);

/// One command that runs.
struct Run {
    id: RunId,
    hook: Hook,
    generation: GenerationNumber,
    child: Child,
    began: Instant,
    /// Killed because its time was over.
    timed_out: bool,
    /// Killed because nobody waits for its answer any more.
    needless: bool,
    /// Whether it was executed, once that is known.
    launched: Option<Result<(), LaunchFailure>>,
    exit: Option<Exit>,
    said: Arc<Said>,
    reader: Arc<Reader>,
    reading: AbortHandle,
}

/// All that run, and what those said that refused.
#[derive(Default)]
pub(super) struct Hooks {
    next: u64,
    running: Vec<Run>,
    /// Why a hook spoke against this generation, and what it printed last.
    pub(super) refusals: BTreeMap<GenerationNumber, (String, Vec<String>)>,
}

impl Hooks {
    /// Whether this child is one of theirs.
    pub(super) fn owns(&self, pid: i32) -> bool {
        self.running.iter().any(|run| run.child.pid() == pid)
    }

    /// When the next one has had its time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let waited_for = self.running.iter().filter(|run| !run.is_killed());
        waited_for.map(|run| run.began + PATIENCE).min()
    }
}

impl Run {
    fn is_killed(&self) -> bool {
        self.timed_out || self.needless
    }

    fn kill(&self) {
        // Whoever is gone already needs no signal.
        drop(self.child.signal_group(SIGKILL));
        // It may have left its group.
        drop(self.child.signal(SIGKILL));
    }
}

/// What a hook prints: to the log, and the last of it kept.
struct Said {
    hook: Hook,
    generation: GenerationNumber,
    tail: Mutex<Tail>,
    sink: Sink,
}

impl Said {
    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, reader: &Reader, bytes: &[u8]) {
        let now = Timestamp::now().millis();
        let done = self.tail().push(reader.stream(), bytes, now);
        for line in done {
            self.log(&line);
        }
    }

    fn log(&self, line: &Line) {
        let text = format!("hook {}: {line}", self.hook.name());
        let mut record = Record::new(Level::Info, text);
        record.generation = Some(self.generation);
        self.sink.log(record);
    }

    /// What is left to read when the command has ended.
    fn finish(&self, reader: &Reader) {
        let mut buffer = [0; 4096];
        for _ in 0..LAST_WORDS / buffer.len() {
            let Ok(count @ 1..) = reader.try_read(&mut buffer) else {
                break;
            };
            self.take(reader, &buffer[..count]);
        }
        let open = self.tail().finish(Timestamp::now().millis());
        for line in open {
            self.log(&line);
        }
    }

    fn last(&self) -> Vec<String> {
        self.tail().last(REPORTED).map(Line::to_string).collect()
    }
}

impl Master {
    /// Runs the command of a hook, where there is one.
    pub(super) fn run_hook(
        &mut self,
        hook: Hook,
        generation: GenerationNumber,
        reason: Option<String>,
    ) {
        let hooks = &self.config().hooks;
        let command = match hook {
            Hook::PreUpgrade => &hooks.pre_upgrade,
            Hook::PostReady => &hooks.post_ready,
            Hook::PostDrain => &hooks.post_drain,
            Hook::OnFailure => &hooks.on_failure,
        };
        if command.is_empty() {
            // It may have been taken out of the config since the upgrade began.
            return self.hook_agrees(hook, generation);
        }
        let plan = Plan {
            argv: command.clone(),
            env: self.hook_environment(hook, generation, reason),
            ..Plan::default()
        };
        self.tell(&Event::HookStarted {
            hook: hook.name().to_owned(),
            generation,
        });
        if let Err(why) = self.start_hook(hook, generation, plan) {
            let why = format!("could not be started: {why}");
            self.hook_failed(hook, generation, why, Vec::new());
        }
    }

    fn hook_environment(
        &self,
        hook: Hook,
        generation: GenerationNumber,
        reason: Option<String>,
    ) -> Vec<(OsString, OsString)> {
        let own: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let mut env = environment::of_hook(own);
        let info = self.generations.get(&generation);
        let label = info.and_then(|info| info.label.clone());
        let set = [
            ("HANDOVER_NAME", Some(self.name.clone())),
            ("HANDOVER_GENERATION", Some(generation.to_string())),
            ("HANDOVER_HOOK", Some(hook.name().to_owned())),
            ("HANDOVER_RELEASE", Some(label.unwrap_or_default())),
            ("HANDOVER_REASON", reason.map(|text| text.replace('\0', ""))),
        ];
        let set = set.into_iter().filter_map(|(name, value)| {
            let value = OsString::from(value?);
            Some((OsString::from(name), value))
        });
        env.extend(set);
        env
    }

    fn start_hook(
        &mut self,
        hook: Hook,
        generation: GenerationNumber,
        plan: Plan,
    ) -> Result<(), String> {
        let release = Release::resolve(plan).map_err(|error| error.to_string())?;
        let (reader, output) = short_pipe().map_err(|error| format!("no pipe: {error}"))?;
        let request = LaunchRequest {
            release: &release,
            argv: release.argv().to_vec(),
            env: release.env().to_vec(),
            stdout: output.as_fd(),
            stderr: output.as_fd(),
            listeners: Vec::new(),
            group: None,
            limits: &[],
            announced: false,
        };
        let launched = self.launcher.launch(&request);
        let Launched { child, report } = launched.map_err(|error| error.to_string())?;
        self.hooks.next += 1;
        let id = RunId(self.hooks.next);
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let outcome = report.outcome().await;
            inputs.send(Input::Hook(id, outcome)).await.is_ok()
        });
        let said = Arc::new(Said {
            hook,
            generation,
            tail: Mutex::new(Tail::default()),
            sink: self.sink.clone(),
        });
        let reader = Arc::new(reader);
        let reading = tokio::spawn(listen(said.clone(), reader.clone()));
        self.hooks.running.push(Run {
            id,
            hook,
            generation,
            child,
            began: Instant::now(),
            timed_out: false,
            needless: false,
            launched: None,
            exit: None,
            said,
            reader,
            reading: reading.abort_handle(),
        });
        Ok(())
    }

    pub(super) fn on_hook_launched(&mut self, id: RunId, outcome: Result<(), LaunchFailure>) {
        let run = self.hooks.running.iter_mut().find(|run| run.id == id);
        if let Some(run) = run {
            run.launched = Some(outcome);
        }
        self.conclude_hooks();
    }

    /// One of the hooks' processes ended.
    pub(super) fn on_hook_exit(&mut self, pid: i32) {
        let run = self.hooks.running.iter_mut();
        if let Some(run) = run.into_iter().find(|run| run.child.pid() == pid)
            && let Ok(Some(exit)) = run.child.reap()
        {
            run.exit = Some(exit);
        }
        self.conclude_hooks();
    }

    /// Takes those that ended, and whose launcher has said how they began.
    fn conclude_hooks(&mut self) {
        let over = |run: &mut Run| run.exit.is_some() && run.launched.is_some();
        let done: Vec<Run> = self.hooks.running.extract_if(.., over).collect();
        for run in done {
            run.reading.abort();
            run.said.finish(&run.reader);
            // Whatever it left behind in its group ends with it.
            run.kill();
            self.hook_ended(run);
        }
    }

    fn hook_ended(&mut self, run: Run) {
        let (hook, generation) = (run.hook, run.generation);
        let why = match (run.launched, run.exit) {
            _ if run.needless => return,
            (Some(Err(failure)), _) => format!("could not be started: {failure}"),
            _ if run.timed_out => format!("was not done within {}", Span(millis(PATIENCE))),
            (_, Some(Exit::Code(0))) => {
                self.tell(&Event::HookEnded {
                    hook: hook.name().to_owned(),
                    generation,
                    duration_ms: millis(run.began.elapsed()),
                });
                return self.hook_agrees(hook, generation);
            }
            (_, exit) => {
                let exit = exit.map_or_else(String::new, |exit| exit.to_string());
                format!("ended with {exit}")
            }
        };
        let said = run.said.last();
        self.hook_failed(hook, generation, why, said);
    }

    fn hook_agrees(&mut self, hook: Hook, generation: GenerationNumber) {
        let event = match hook {
            Hook::PreUpgrade => fleet::Event::Prepared(generation),
            Hook::PostReady => fleet::Event::Approved(generation),
            Hook::PostDrain | Hook::OnFailure => return,
        };
        self.pending.push_back(event);
    }

    fn hook_failed(
        &mut self,
        hook: Hook,
        generation: GenerationNumber,
        why: String,
        said: Vec<String>,
    ) {
        let last = said
            .last()
            .map_or_else(String::new, |line| format!("; it said last: {line}"));
        self.tell(&Event::HookFailed {
            hook: hook.name().to_owned(),
            generation,
            reason: format!("{why}{last}"),
            vetoes: hook.decides(),
        });
        if hook.decides() {
            let reason = format!("hook {} {why}", hook.name());
            self.hooks.refusals.insert(generation, (reason, said));
            let event = fleet::Event::Against(generation, Fault::HookFailed);
            self.pending.push_back(event);
        }
    }

    /// Ends those whose time is over, and those whose answer nobody needs: their
    /// upgrade was aborted, promoted, or the service stops.
    pub(super) fn look_at_hooks(&mut self) {
        let now = Instant::now();
        let (_, target) = self.fleet.rollout();
        for run in &mut self.hooks.running {
            if run.is_killed() || run.exit.is_some() {
                continue;
            }
            run.needless = run.hook.decides() && target != Some(run.generation);
            run.timed_out = !run.needless && now >= run.began + PATIENCE;
            if run.is_killed() {
                run.kill();
            }
        }
        let kept = &self.generations;
        self.hooks
            .refusals
            .retain(|number, _| kept.contains_key(number));
    }

    /// The master ends: so does everything that it started.
    pub(super) fn end_hooks(&mut self) {
        for run in &self.hooks.running {
            run.kill();
        }
    }
}

/// Reads until nobody holds the other end.
async fn listen(said: Arc<Said>, reader: Arc<Reader>) {
    while let Ok(bytes) = reader.next().await {
        if bytes.is_empty() {
            return;
        }
        said.take(&reader, &bytes);
        tokio::task::yield_now().await;
    }
}
