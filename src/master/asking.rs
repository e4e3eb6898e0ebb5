//! Asks workers whether they serve (`http:`, `exec:`), and what follows from the answers.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use super::environment::Templates;
use super::probing::{self, Purpose};
use super::unanswered::named;
use super::worker::Verdict;
use super::{Input, Master};
use crate::config::{Health, Probe, ReadyOn};
use crate::control::{Event, Span, Timestamp};
use crate::fleet::{self, Cause, Fault, GenerationNumber, State, WorkerId};
use crate::process::{Done, Errand};
use crate::readiness::{Advice, Answered, Unanswered, ask};

/// How long a turn of the loop may start probes.
const ASKING_MAX: Duration = Duration::from_millis(3);

/// How often one of the workers that are asked for their readiness is looked at: does it listen somewhere else?
const ASTRAY_EVERY: Duration = Duration::from_millis(100);

/// One probe, from its start to its result.
pub(super) struct Question {
    pub(super) id: WorkerId,
    pub(super) probe: Probe,
    began: Instant,
    serial: u64,
    /// What the process of its check left behind.
    pub(super) left: Option<String>,
}

/// What came of it.
pub(super) enum Reply {
    /// "answered 200"
    Good(String),
    /// It says that it is not well.
    No(String),
    /// What speaks against the worker, and is no answer of it.
    Bad(String),
    /// Nothing came, by `http:`.
    Silent,
    /// It could not be asked, which is not its fault.
    NotAsked(String),
}

impl Master {
    /// Its readiness is what a probe says, from now on.
    pub(super) fn ask_whether_ready(&mut self, id: WorkerId) {
        let now = Instant::now();
        self.probing.begin(id, Purpose::Ready, now);
        self.probing
            .astray
            .get_or_insert((now + ASTRAY_EVERY, None));
    }

    /// Another sign says that the worker is ready: says whether its health check has to agree first.
    pub(super) fn must_prove(&mut self, id: WorkerId, by: &str) -> bool {
        let manner = self.manner(id.generation);
        let Some(check) = &manner.health.check else {
            return false;
        };
        if matches!(&manner.ready.on, ReadyOn::Probe(probe) if probe == check) {
            return false;
        }
        self.probing
            .begin(id, Purpose::Proof(by.to_owned()), Instant::now());
        true
    }

    /// It is ready: its health is asked for ever after.
    pub(super) fn ask_for_health(&mut self, id: WorkerId) {
        let manner = self.manner(id.generation);
        if manner.health.check.is_none() {
            return self.probing.forget(id);
        }
        let now = Instant::now();
        self.probing.begin(id, Purpose::Health, now);
        // It has just answered.
        self.probing
            .spread(id, self.interval(id, &manner.health), now);
    }

    /// From one probe of a ready worker to its next.
    fn interval(&self, id: WorkerId, health: &Health) -> Duration {
        match self.fleet.generation(id.generation) {
            Some(held) if held.state == State::Baking => {
                probing::bake_interval(health, self.fleet.policy().bake, held.slots.len())
            }
            _ => health.interval,
        }
    }

    /// A generation bakes: its workers are asked more often, so that a bake means something.
    pub(super) fn hasten_probes(&mut self, number: GenerationNumber) {
        let Some(held) = self.fleet.generation(number) else {
            return;
        };
        let ids: Vec<WorkerId> = held.workers().map(|(id, _)| id).collect();
        let manner = self.manner(number);
        if let Some(id) = ids.first() {
            let interval = self.interval(*id, &manner.health);
            self.probing.hasten(&ids, interval, Instant::now());
        }
    }

    /// Asks those who are due, as many as fit into one turn of the loop.
    pub(super) fn ask_some(&mut self) {
        if self.probing.next_due().is_none() {
            return;
        }
        let began = Instant::now();
        while let Some(id) = self.probing.pop_due(began) {
            self.ask(id);
            if began.elapsed() >= ASKING_MAX {
                break;
            }
        }
        self.look_for_astray(began);
    }

    fn ask(&mut self, id: WorkerId) {
        let manner = self.manner(id.generation);
        let readying = |asked: &probing::Asked| asked.purpose == Purpose::Ready;
        let readying = self.probing.get(id).is_some_and(readying);
        let probe = match (&manner.ready.on, &manner.health.check) {
            (ReadyOn::Probe(probe), _) if readying => probe.clone(),
            (_, Some(check)) => check.clone(),
            _ => return self.probing.forget(id),
        };
        let patience = manner.health.timeout;
        let mut question = Question {
            id,
            probe,
            began: Instant::now(),
            serial: 0,
            left: None,
        };
        let inputs = self.inputs.clone();
        match question.probe.clone() {
            Probe::Http(path) => {
                let own = self
                    .workers
                    .get(id)
                    .and_then(|worker| worker.probe.as_ref());
                let to = own.and_then(|own| own.listener.socket_address());
                question.serial = self.probing.started(id, &question.probe, None);
                tokio::spawn(async move {
                    let reply = match to {
                        Some(to) => http_reply(ask(to, &path, patience).await),
                        None => Reply::NotAsked("it has no listener for probes".to_owned()),
                    };
                    inputs.send(Input::Asked(question, reply)).await.is_ok()
                });
            }
            Probe::Exec(words) => {
                let errand = self.errand(id, readying, &words);
                let child = errand.as_ref().ok().map(Errand::child);
                question.serial = self.probing.started(id, &question.probe, child);
                tokio::spawn(async move {
                    let reply = match errand {
                        Ok(errand) => {
                            let done = errand.done(patience, |_| ()).await;
                            question.left = done.left_behind();
                            exec_reply(&done, patience)
                        }
                        Err(why) => Reply::NotAsked(why),
                    };
                    inputs.send(Input::Asked(question, reply)).await.is_ok()
                });
            }
        }
    }

    /// Starts the program of an `exec:` probe, in the surroundings of the worker and without its nonce: whoever looks
    /// for what is left of the worker must not find its check.
    fn errand(&self, id: WorkerId, readying: bool, words: &[String]) -> Result<Errand, String> {
        let manner = self.manner(id.generation);
        let release = match readying {
            true => manner.errands.ready.as_ref(),
            false => manner.errands.health.as_ref(),
        };
        let release = release.ok_or("its program is not known any more")?;
        let pid = self.workers.get(id).and_then(|worker| worker.pid());
        let templates = Templates {
            worker: id,
            listeners: &[],
        };
        let argv = words.iter().map(|word| templates.fill(word)).collect();
        let mut env = templates.fill_values(release.env());
        let mut set = |name: &str, value: String| env.push((name.into(), OsString::from(value)));
        let generation = self.generations.get(&id.generation);
        let label = generation.and_then(|generation| generation.label.clone());
        set("HANDOVER_NAME", self.name.clone());
        set("HANDOVER_GENERATION", id.generation.to_string());
        set("HANDOVER_WORKER", id.slot.to_string());
        set("HANDOVER_RELEASE", label.unwrap_or_default());
        set("HANDOVER_WORKER_PID", pid.unwrap_or_default().to_string());
        let started = self.errands.start(&self.launcher, release, argv, env);
        started.map_err(|error| format!("starting it failed: {error}"))
    }

    /// A probe came to its end.
    pub(super) fn on_asked(&mut self, question: &Question, reply: Reply) {
        self.probing.ended(&question.probe);
        let id = question.id;
        self.tell_of_left_by_check(question);
        let Some(asked) = self.probing.of(id, question.serial) else {
            return;
        };
        let purpose = asked.purpose.clone();
        let taken = match &reply {
            Reply::Silent => self.has_taken(id),
            Reply::Good(_) | Reply::No(_) | Reply::Bad(_) => true,
            Reply::NotAsked(_) => false,
        };
        if let Some(own) = self
            .workers
            .get_mut(id)
            .and_then(|worker| worker.probe.as_mut())
        {
            own.taken |= taken;
        }
        match reply {
            Reply::Good(how) => self.on_good(question, &purpose, &how),
            Reply::No(why) => self.on_bad(question, &purpose, why, Fault::Unhealthy),
            Reply::Bad(why) => self.on_bad(question, &purpose, why, Fault::Unanswered),
            Reply::Silent => {
                let timeout = self.manner(id.generation).health.timeout;
                let timeout = Span(super::effects::millis(timeout));
                let why = match self.untaken(id) {
                    Some(Advice { fact, .. }) => fact,
                    None => format!("no answer within {timeout} (health.timeout)"),
                };
                self.on_bad(question, &purpose, why, Fault::Unanswered);
            }
            Reply::NotAsked(why) => self.on_not_asked(question, &purpose, why),
        }
    }

    fn on_good(&mut self, question: &Question, purpose: &Purpose, how: &str) {
        let (id, now) = (question.id, Instant::now());
        let took = Span(super::effects::millis(now - question.began));
        let words = format!("{} {how} after {took}", named(&question.probe));
        let failures = self.keep_verdict(question, true, 0, how.to_owned());
        match purpose {
            Purpose::Ready => self.declare_ready(id, words),
            Purpose::Proof(by) => self.declare_proven(id, format!("{by}; {words}")),
            Purpose::Health => {
                if failures > 0 {
                    self.tell(&Event::HealthRecovered {
                        worker: id.to_string(),
                        generation: id.generation,
                        check: named(&question.probe),
                        failures,
                    });
                }
                self.ask_later(question, now);
            }
        }
    }

    fn on_bad(&mut self, question: &Question, purpose: &Purpose, why: String, fault: Fault) {
        let (id, now) = (question.id, Instant::now());
        let Some(asked) = self.probing.of(id, question.serial) else {
            return;
        };
        let failures = asked.fail();
        let asked_for = asked.asked_for(now);
        self.keep_verdict(question, false, failures, why.clone());
        let health = self.manner(id.generation).health.clone();
        let lost = match purpose {
            Purpose::Ready => false,
            // As patient as with a ready worker: it may be warming up.
            Purpose::Proof(_) => {
                failures >= health.failures && asked_for >= probing::patience(&health)
            }
            // Who is not replaced yet may recover; else it is told again, by each full count.
            Purpose::Health => failures.is_multiple_of(health.failures.max(1)),
        };
        // Each time twice as many, the first full count, and the last.
        let last = lost && (failures == health.failures || fault != Fault::Unhealthy);
        if *purpose == Purpose::Health && (failures.is_power_of_two() || last) {
            self.tell(&Event::HealthFailed {
                worker: id.to_string(),
                generation: id.generation,
                check: named(&question.probe),
                failures,
                failures_max: health.failures,
                reason: why,
            });
        }
        if lost {
            self.give_up_on(id, fault);
        }
        match purpose {
            Purpose::Health => self.ask_later(question, now),
            Purpose::Ready | Purpose::Proof(_) => self.probing.again(id, now),
        }
    }

    /// In the active generation it is replaced: whoever answers at all finishes its requests before. In a new one it
    /// speaks against all of it: that is undone as a whole, and whoever of its workers took requests may finish them, this
    /// one too. Whoever has to serve on all the same (F1) is asked on: until it drains or is killed.
    fn give_up_on(&mut self, id: WorkerId, fault: Fault) {
        let held = self.fleet.generation(id.generation);
        let new = held.is_some_and(|held| {
            matches!(held.state, State::Starting | State::Baking | State::Canary)
        });
        let info = self.generations.get_mut(&id.generation);
        self.pending.push_back(match info {
            Some(info) if new => {
                info.unhealthy.get_or_insert(id);
                fleet::Event::Against(id.generation, fault)
            }
            _ => fleet::Event::Fault(id, fault),
        });
    }

    /// The bake of this generation is over, and the last that one of its workers answered speaks against it: there is no
    /// time left in which it could prove itself, and the old one still serves.
    pub(super) fn ends_its_bake(&mut self, number: GenerationNumber) -> fleet::Event {
        let doubtful = |id: &WorkerId| {
            let asked = self.probing.get(*id);
            asked.is_some_and(|asked| asked.purpose == Purpose::Health && asked.failures > 0)
        };
        let held = self.fleet.generation(number);
        let mut ids = held.into_iter().flat_map(|held| held.workers());
        let doubtful = ids.find_map(|(id, _)| doubtful(&id).then_some(id));
        match (doubtful, self.generations.get_mut(&number)) {
            (Some(id), Some(info)) => {
                info.unhealthy.get_or_insert(id);
                fleet::Event::Against(number, Fault::Unhealthy)
            }
            _ => fleet::Event::Due(fleet::Timer::Bake(number)),
        }
    }

    /// It is not well, and too many of those that were replaced before it still finish: told once, until it recovers.
    pub(super) fn waits_to_be_replaced(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        if std::mem::replace(&mut worker.waits, true) {
            return;
        }
        let why = self.cause_in_words(Some(id), Cause::Fault(Fault::Unhealthy));
        self.warn(format!(
            "worker {id} {why}; it is not replaced yet: as many workers that were replaced before it still finish what they \
             have as generation {} has workers (drain.timeout)",
            id.generation
        ));
    }

    /// Says nothing about the worker. Who was not asked before either was told of already.
    fn on_not_asked(&mut self, question: &Question, purpose: &Purpose, why: String) {
        let (id, now) = (question.id, Instant::now());
        let why = format!("it cannot be asked: {why}");
        let worker = self.workers.get_mut(id);
        let before = worker.and_then(|worker| worker.verdict.as_ref());
        let known = before.is_some_and(|before| before.reason == why);
        let failures = self.probing.get(id).map_or(0, |asked| asked.failures);
        self.keep_verdict(question, false, failures, why.clone());
        if !known {
            self.warn(format!("worker {id}, {}: {why}", named(&question.probe)));
        }
        match purpose {
            Purpose::Health => self.ask_later(question, now),
            Purpose::Ready | Purpose::Proof(_) => self.probing.again(id, now),
        }
    }

    fn ask_later(&mut self, question: &Question, now: Instant) {
        let manner = self.manner(question.id.generation);
        let interval = self.interval(question.id, &manner.health);
        self.probing
            .later(question.id, question.began, interval, now);
    }

    /// Keeps the result for `status` and for reports; gives how many had failed before a good one.
    fn keep_verdict(
        &mut self,
        question: &Question,
        ok: bool,
        failures: u32,
        reason: String,
    ) -> u32 {
        let id = question.id;
        let mut before = 0;
        if let Some(asked) = self.probing.of(id, question.serial).filter(|_| ok) {
            before = std::mem::take(&mut asked.failures);
        }
        if let Some(worker) = self.workers.get_mut(id) {
            worker.waits &= !ok;
            worker.verdict = Some(Verdict {
                check: named(&question.probe),
                ok,
                failures,
                reason,
                at: Timestamp::now(),
            });
        }
        before
    }

    /// Of the workers that are asked for their readiness, one after the other: does it listen somewhere else?
    fn look_for_astray(&mut self, now: Instant) {
        let Some((_, after)) = self.probing.astray.filter(|(at, _)| *at <= now) else {
            return;
        };
        let next = self.probing.next_unready(after);
        self.probing.astray = next.map(|id| (now + ASTRAY_EVERY, Some(id)));
        if let Some(id) = next {
            self.look_elsewhere(id, now);
        }
    }
}

fn http_reply(outcome: Result<Answered, Unanswered>) -> Reply {
    match outcome {
        Ok(answered) => Reply::Good(format!("answered {}", answered.0)),
        Err(Unanswered::Silent) => Reply::Silent,
        Err(said @ Unanswered::Status(_)) => Reply::No(said.to_string()),
        Err(Unanswered::NotAsked(why)) => Reply::NotAsked(why),
        Err(unanswered) => Reply::Bad(unanswered.to_string()),
    }
}

fn exec_reply(done: &Done, patience: Duration) -> Reply {
    match () {
        () if done.is_success() => Reply::Good("exited with status 0".to_owned()),
        () if done.says_nothing() => Reply::NotAsked(done.to_string()),
        () if done.timed_out() => {
            let patience = Span(super::effects::millis(patience));
            // Nobody knows which of the two hangs, the worker or its check.
            Reply::No(format!(
                "not done within {patience} (health.timeout){}",
                done.said()
            ))
        }
        () => Reply::No(done.to_string()),
    }
}
