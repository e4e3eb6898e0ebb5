//! Commands at certain moments (`[hooks]`).
//!
//! A hook runs as the master's own user, in a process group of its own, for
//! [`PATIENCE`] at most; whatever it leaves behind ends with it. The first two
//! decide whether an upgrade goes on.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::effects::millis;
use super::output::REPORTED;
use super::{Input, Master, environment};
use crate::control::{Event, Span, Timestamp};
use crate::fleet::{self, Fault, GenerationNumber};
use crate::logging::{Level, Record, Sink};
use crate::process::{Child, Done, Line, Outcome, Plan, Release, Stream, Tail};

/// How long a hook may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hooks that decide nothing run one after the other, each kind by itself; so many of a kind wait at most.
const WAITING_MAX: usize = 16;

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
    child: Arc<Child>,
    began: Instant,
    /// Killed because nobody waits for its answer any more.
    needless: bool,
}

/// One that waits for another of its kind to end.
struct Waiting {
    hook: Hook,
    generation: GenerationNumber,
    /// As it was at its moment.
    plan: Plan,
}

/// All that run or wait, and what those said that refused.
#[derive(Default)]
pub(super) struct Hooks {
    next: u64,
    running: Vec<Run>,
    waiting: VecDeque<Waiting>,
    /// Why a hook spoke against this generation, and what it printed last.
    pub(super) refusals: BTreeMap<GenerationNumber, (String, Vec<String>)>,
}

impl Hooks {
    /// One more waits; gives back the one that waited longest where there are too many of its kind.
    fn wait(&mut self, one: Waiting) -> Option<Waiting> {
        let of_kind = |it: &Waiting| it.hook == one.hook;
        let oldest = self.waiting.iter().position(of_kind);
        let full = self.waiting.iter().filter(|it| of_kind(it)).count() >= WAITING_MAX;
        let dropped = oldest.filter(|_| full);
        let dropped = dropped.and_then(|oldest| self.waiting.remove(oldest));
        self.waiting.push_back(one);
        dropped
    }

    /// The next of a kind, where none of it runs.
    fn next_of(&mut self, hook: Hook) -> Option<Waiting> {
        let next = self.waiting.iter().position(|it| it.hook == hook)?;
        match self.running.iter().any(|run| run.hook == hook) {
            true => None,
            false => self.waiting.remove(next),
        }
    }
}

/// Passes what a hook prints on to the log, line by line.
struct Said {
    hook: Hook,
    generation: GenerationNumber,
    lines: Tail,
    sink: Sink,
}

impl Said {
    fn take(&mut self, bytes: &[u8]) {
        let now = Timestamp::now().millis();
        // One pipe is both.
        for line in self.lines.push(Stream::Stdout, bytes, now) {
            self.log(&line);
        }
    }

    /// A last line without an end is one, too.
    fn finish(&mut self) {
        for line in self.lines.finish(Timestamp::now().millis()) {
            self.log(&line);
        }
    }

    fn log(&self, line: &Line) {
        let text = format!("hook {}: {line}", self.hook.name());
        let mut record = Record::new(Level::Info, text);
        record.generation = Some(self.generation);
        self.sink.log(record);
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
        if hook.decides() {
            return self.begin_hook(hook, generation, plan);
        }
        let waiting = Waiting {
            hook,
            generation,
            plan,
        };
        if let Some(dropped) = self.hooks.wait(waiting) {
            let why = format!("was not run: {WAITING_MAX} later ones wait for one that still runs");
            self.hook_failed(hook, dropped.generation, why, Vec::new());
        }
        self.begin_waiting(hook);
    }

    /// Begins with those that wait, until one of the kind runs.
    fn begin_waiting(&mut self, hook: Hook) {
        while let Some(next) = self.hooks.next_of(hook) {
            self.begin_hook(hook, next.generation, next.plan);
        }
    }

    fn begin_hook(&mut self, hook: Hook, generation: GenerationNumber, plan: Plan) {
        self.tell(&Event::HookStarted {
            hook: hook.name().to_owned(),
            generation,
        });
        if let Err(why) = self.start_hook(hook, generation, plan) {
            let why = format!("could not be started: {why}");
            self.hook_failed(hook, generation, why, Vec::new());
        }
    }

    /// The service ends, and nothing begins any more.
    pub(super) fn forget_waiting_hooks(&mut self) {
        for Waiting {
            hook, generation, ..
        } in std::mem::take(&mut self.hooks.waiting)
        {
            let why = "was not run: the service ends".to_owned();
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
        let (argv, env) = (release.argv().to_vec(), release.env().to_vec());
        let errand = self.errands.start(&self.launcher, &release, argv, env);
        let errand = errand.map_err(|error| error.to_string())?;
        self.hooks.next += 1;
        let id = RunId(self.hooks.next);
        self.hooks.running.push(Run {
            id,
            hook,
            generation,
            child: errand.child(),
            began: Instant::now(),
            needless: false,
        });
        let mut said = Said {
            hook,
            generation,
            lines: Tail::with_capacity(0),
            sink: self.sink.clone(),
        };
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let done = errand.done(PATIENCE, |bytes| said.take(bytes)).await;
            said.finish();
            inputs.send(Input::Hook(id, done)).await.is_ok()
        });
        Ok(())
    }

    /// The command of a hook came to its end.
    pub(super) fn on_hook_done(&mut self, id: RunId, done: &Done) {
        let mut running = self.hooks.running.iter();
        let Some(place) = running.position(|run| run.id == id) else {
            return;
        };
        let run = self.hooks.running.remove(place);
        if let Some(left) = done.left_behind() {
            let name = run.hook.name();
            self.warn(format!(
                "hook {name} {left}; what is to stay is started by systemd-run(1)"
            ));
        }
        if !run.needless {
            self.hook_ended(&run, done);
        }
        self.begin_waiting(run.hook);
    }

    fn hook_ended(&mut self, run: &Run, done: &Done) {
        let (hook, generation) = (run.hook, run.generation);
        let why = match done.outcome() {
            Outcome::Exited(exit) if exit.is_success() => {
                self.tell(&Event::HookEnded {
                    hook: hook.name().to_owned(),
                    generation,
                    duration_ms: millis(run.began.elapsed()),
                });
                return self.hook_agrees(hook, generation);
            }
            Outcome::Exited(exit) => format!("ended with {exit}"),
            Outcome::TimedOut => format!("was not done within {}", Span(millis(PATIENCE))),
            Outcome::NotStarted(failure) => format!("could not be started: {failure}"),
            Outcome::Lost(why) => format!("ended in a way that nobody knows: {why}"),
        };
        self.hook_failed(hook, generation, why, done.last_lines(REPORTED));
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

    /// Ends those whose answer nobody needs: their upgrade was aborted, promoted, or the service stops.
    pub(super) fn look_at_hooks(&mut self) {
        let (_, target) = self.fleet.rollout();
        for run in &mut self.hooks.running {
            if run.hook.decides() && target != Some(run.generation) && !run.needless {
                run.needless = true;
                run.child.kill();
            }
        }
        let kept = &self.generations;
        self.hooks
            .refusals
            .retain(|number, _| kept.contains_key(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(hook: Hook, generation: GenerationNumber) -> Waiting {
        Waiting {
            hook,
            generation,
            plan: Plan::default(),
        }
    }

    #[test]
    fn the_oldest_of_a_kind_makes_room_and_other_kinds_wait_by_themselves() {
        let mut hooks = Hooks::default();
        assert!(hooks.wait(waiting(Hook::PostDrain, 1)).is_none());
        for generation in 2..18 {
            assert!(hooks.wait(waiting(Hook::OnFailure, generation)).is_none());
        }
        let dropped = hooks.wait(waiting(Hook::OnFailure, 18));
        assert_eq!(dropped.map(|it| it.generation), Some(2));
        let order = |hooks: &mut Hooks, hook| {
            let next = std::iter::from_fn(|| hooks.next_of(hook));
            next.map(|it| it.generation).collect::<Vec<_>>()
        };
        let failures = order(&mut hooks, Hook::OnFailure);
        assert_eq!(failures, (3..19).collect::<Vec<_>>());
        assert_eq!(order(&mut hooks, Hook::PostDrain), [1]);
        assert!(hooks.waiting.is_empty());
    }
}
