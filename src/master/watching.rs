//! Observing readiness: which workers are looked at, when, and what a look
//! means under `ready.on`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::ops::Bound;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::Master;
use super::worker::{Readiness, Worker};
use crate::config::ReadyOn;
use crate::control::{Event, Span};
use crate::fleet::{self, GenerationNumber, WorkerId};
use crate::process::Release;
use crate::readiness::notify::Store;
use crate::readiness::{
    Advice, Astray, Instead, Observer, Schedule, Sight, Untaken, Wanted, advise, shell_named,
};
use crate::sockets::{Listener, Member};

/// When a worker that is not ready is asked for the first time where else it
/// listens; later ever more seldom.
const ELSEWHERE_FIRST: Duration = Duration::from_millis(300);

/// A round of looks ends after this, and the next one goes on there: the loop has more to do.
const ROUND_MAX: Duration = Duration::from_millis(2);

/// How much of a shell's script is read for advice, in bytes.
const SCRIPT_MAX: u64 = 64 * 1024;

/// Why `ready.settle` decides where there is no listener to observe.
const NOTHING_TO_OBSERVE: &str = "no listener to observe";

/// One worker that is not ready yet.
struct Watched {
    since: Instant,
    observer: Option<Observer>,
    /// Alive until then counts as ready; and why that decides.
    settles: Option<(Instant, String)>,
    blind: bool,
    elsewhere_at: Instant,
}

/// All workers that are not ready yet. With a thousand of them every turn of the loop asks
/// when to look next, so that is kept and not searched for.
pub(super) struct Watching {
    watched: BTreeMap<WorkerId, Watched>,
    schedule: Schedule,
    /// None while there is nobody to look at.
    next_round: Option<Instant>,
    /// Not later than the first of `settles`; None while there is none.
    next_settled: Option<Instant>,
    /// How many the next round looks at, and after whom it goes on.
    share: usize,
    cursor: Option<WorkerId>,
}

impl Watching {
    pub(super) fn new() -> Self {
        Self {
            watched: BTreeMap::new(),
            schedule: Schedule::new(),
            next_round: None,
            next_settled: None,
            share: 1,
            cursor: None,
        }
    }

    /// The listeners that this worker was never seen to take.
    pub(super) fn untaken(&self, id: WorkerId) -> Untaken {
        let observer = self
            .watched
            .get(&id)
            .and_then(|watched| watched.observer.as_ref());
        observer.map_or_else(Untaken::default, Observer::untaken)
    }

    pub(super) fn forget(&mut self, id: WorkerId) {
        self.watched.remove(&id);
        if self.watched.is_empty() {
            self.next_round = None;
            self.next_settled = None;
        }
    }

    /// When there is something to look at.
    pub(super) fn next_look(&self) -> Option<Instant> {
        [self.next_round, self.next_settled]
            .into_iter()
            .flatten()
            .min()
    }

    fn add(&mut self, id: WorkerId, watched: Watched) {
        if watched.observer.is_some() {
            self.next_round.get_or_insert(watched.since);
        }
        self.settle_at(watched.settles.as_ref().map(|(at, _)| *at));
        self.watched.insert(id, watched);
    }

    fn settle_at(&mut self, at: Option<Instant>) {
        self.next_settled = [self.next_settled, at].into_iter().flatten().min();
    }

    /// The workers of this round, going on after the last one looked at.
    fn round(&self) -> Vec<WorkerId> {
        let observed =
            |(id, watched): (&WorkerId, &Watched)| watched.observer.is_some().then_some(*id);
        let after = self.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.watched.range((after, Bound::Unbounded));
        let until = self.cursor.map_or(Bound::Unbounded, Bound::Included);
        let start = self.watched.range((Bound::Unbounded, until));
        // Without a cursor the first range is everybody, and the second must not say it again.
        let start = start.filter(|_| self.cursor.is_some());
        rest.chain(start)
            .filter_map(observed)
            .take(self.share)
            .collect()
    }
}

/// A listener as the observer knows it.
pub(super) fn wanted_of((member, listener): (&Member, &Listener)) -> Wanted {
    Wanted {
        inode: listener.inode(),
        datagram: listener.is_datagram(),
        name: member.entry.name.clone(),
        address: listener.address(),
        port: listener.port(),
    }
}

/// The file that this process executes, as long as it can be seen.
pub(super) fn executed(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Whether the shell that was started became the program: by what it executed as it was seen last, else by its name while
/// it is there, else by its script.
fn became_program(pid: i32, last: Option<PathBuf>, shell: &str, release: &Release) -> bool {
    let argv = release.argv();
    let own = argv
        .first()
        .map_or("", |program| program.rsplit('/').next().unwrap_or(program));
    // A script may bear the name of what it executes.
    if let Some(exe) = last.or_else(|| executed(pid)) {
        return shell_named(&exe.to_string_lossy()).is_none();
    }
    if let Ok(comm) = std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        let comm = comm.trim_end();
        // The kernel cuts names; a script has its own.
        return comm.is_empty() || ![shell, own].iter().any(|name| name.starts_with(comm));
    }
    const SEPARATORS: [char; 6] = ['\n', ';', '&', '|', '(', '{'];
    let mut script = argv.get(2).cloned().unwrap_or_default();
    // Of `sh -c` the last command, when it is the only one, is run without a process of its own.
    if argv.get(1).is_some_and(|flag| flag == "-c") && !script.contains(SEPARATORS) {
        return true;
    }
    if let Ok(file) = File::open(release.executable())
        && release.interpreter().is_some()
    {
        // What is not text has no `exec` either.
        drop(file.take(SCRIPT_MAX).read_to_string(&mut script));
    }
    let mut commands = script.split(SEPARATORS);
    commands.any(|command| command.trim_start().starts_with("exec "))
}

/// The processor time that this thread used.
pub(super) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

impl Master {
    /// The program runs now: what makes it ready?
    pub(super) fn watch(&mut self, id: WorkerId) {
        let Some(pid) = self.workers.get(id).and_then(|worker| worker.pid()) else {
            return;
        };
        // Its end may have come before the launcher's word.
        let over = |worker: &Worker| worker.ready.is_some() || worker.exit.is_some();
        if self.workers.get(id).is_some_and(over) {
            return;
        }
        let now = Instant::now();
        let wanted = self.wanted(id.generation);
        let manner = self.manner(id.generation);
        let ready = &manner.ready;
        let (observer, settles) = match ready.on {
            ReadyOn::Auto if wanted.is_empty() => (
                None,
                Some((now + ready.settle, NOTHING_TO_OBSERVE.to_owned())),
            ),
            ReadyOn::Auto | ReadyOn::Accepting => {
                let generation = self.generations.get(&id.generation);
                let store = generation.and_then(|generation| generation.stores.get(&id.slot));
                let inherited = store.map_or_else(Vec::new, Store::sockets);
                (Some(Observer::new(pid, wanted, inherited)), None)
            }
            ReadyOn::Uptime(uptime) => (None, Some((now + uptime, String::new()))),
            ReadyOn::Notify | ReadyOn::Output { .. } => return,
            ReadyOn::Probe(_) => {
                self.ask_whether_ready(id);
                (None, None)
            }
        };
        let watched = Watched {
            since: now,
            observer,
            settles,
            blind: false,
            elsewhere_at: now + ELSEWHERE_FIRST,
        };
        self.watching.add(id, watched);
    }

    /// The listeners on which a ready worker waits.
    pub(super) fn wanted(&self, generation: GenerationNumber) -> Vec<Wanted> {
        let counting = self
            .listeners_of(generation)
            .filter(|(member, _)| member.entry.ready);
        counting.map(wanted_of).collect()
    }

    pub(super) fn look_at_workers(&mut self) {
        let now = Instant::now();
        if self.watching.next_look().is_none_or(|due| due > now) {
            return;
        }
        self.look_round(now);
        self.look_at_settled(now);
    }

    fn look_round(&mut self, now: Instant) {
        if self.watching.next_round.is_none_or(|due| due > now) {
            return;
        }
        let mut round = self.watching.round();
        let before = thread_time();
        let mut looked = 0;
        for id in &round {
            // How many fit was reckoned by what looks cost until now.
            if looked > 0 && now.elapsed() >= ROUND_MAX {
                break;
            }
            looked += 1;
            let watched = self.watching.watched.get_mut(id);
            let observer = watched.and_then(|watched| watched.observer.as_mut());
            if let Some(sight) = observer.map(|observer| observer.look(now)) {
                self.on_sight(*id, sight, now);
            }
        }
        round.truncate(looked);
        let cost = thread_time().saturating_sub(before);
        let watching = &mut self.watching;
        let after = Instant::now();
        let turn = watching
            .schedule
            .next(after, cost, round.len(), watching.watched.len());
        watching.cursor = round.last().copied();
        watching.share = turn.workers;
        watching.next_round =
            Some(after + turn.after).filter(|_| !round.is_empty() && !watching.watched.is_empty());
    }

    fn on_sight(&mut self, id: WorkerId, sight: Sight, now: Instant) {
        match sight {
            Sight::Accepting(evidence) => self.declare_ready(id, evidence.to_string()),
            Sight::Blind(reason) => self.settle_blindly(id, reason),
            Sight::NotYet => self.look_elsewhere(id, now),
        }
    }

    /// Nothing can be observed: under `auto`, being alive for long enough counts.
    fn settle_blindly(&mut self, id: WorkerId, reason: String) {
        let manner = self.manner(id.generation);
        let strict = manner.ready.on == ReadyOn::Accepting;
        let Some(watched) = self.watching.watched.get_mut(&id).filter(|w| !w.blind) else {
            return;
        };
        watched.blind = true;
        if strict {
            self.warn(format!(
                "worker {id}: ready.on = \"accepting\", but nothing can be observed: {reason}; \
                 use \"auto\" or \"notify\""
            ));
        } else {
            let at = watched.since + manner.ready.settle;
            watched.settles = Some((at, reason));
            self.watching.settle_at(Some(at));
        }
    }

    fn look_at_settled(&mut self, now: Instant) {
        if self.watching.next_settled.is_none_or(|due| due > now) {
            return;
        }
        let mut settled = Vec::new();
        self.watching.next_settled = None;
        for (id, watched) in &self.watching.watched {
            match &watched.settles {
                Some((at, reason)) if *at <= now => {
                    let alive = now.saturating_duration_since(watched.since);
                    let alive = Span(u64::try_from(alive.as_millis()).unwrap_or(u64::MAX));
                    let by = match reason.as_str() {
                        "" => format!("alive for {alive}"),
                        reason => format!("alive for {alive} ({reason})"),
                    };
                    settled.push((*id, by));
                }
                Some((at, _)) => {
                    let next = self.watching.next_settled.map_or(*at, |next| next.min(*at));
                    self.watching.next_settled = Some(next);
                }
                None => {}
            }
        }
        for (id, by) in settled {
            self.declare_ready(id, by);
        }
    }

    /// It serves: by whichever sign came first.
    pub(super) fn declare_ready(&mut self, id: WorkerId, by: String) {
        self.watching.forget(id);
        let over = |worker: &Worker| {
            worker.ready.is_some() || worker.exit.is_some() || worker.told.is_some()
        };
        if self.workers.get(id).is_none_or(over) || self.must_prove(id, &by) {
            return;
        }
        self.declare_proven(id, by);
    }

    /// It serves, and its health check agrees where it has one.
    pub(super) fn declare_proven(&mut self, id: WorkerId, by: String) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let after = worker.launched_at.elapsed().as_millis();
        let after_ms = u64::try_from(after).unwrap_or(u64::MAX);
        let readiness = Readiness {
            after_ms,
            by: by.clone(),
        };
        worker.ready = Some(readiness.clone());
        let pid = worker.pid().unwrap_or_default();
        let generation = id.generation;
        if let Some(info) = self.generations.get_mut(&generation) {
            info.ready = Some(readiness);
        }
        self.tell(&Event::WorkerReady {
            worker: id.to_string(),
            generation,
            pid,
            ready_ms: after_ms,
            ready_by: by,
        });
        self.look_at_flags();
        self.ask_for_health(id);
        self.pending.push_back(fleet::Event::Ready(id));
    }

    pub(super) fn on_matched(&mut self, id: WorkerId, line: &str) {
        let mut shown: String = line.chars().take(60).collect();
        if shown.len() < line.len() {
            shown.push('…');
        }
        self.declare_ready(id, format!("its output \"{shown}\""));
    }

    /// A worker that is not ready for a while may listen somewhere else.
    pub(super) fn look_elsewhere(&mut self, id: WorkerId, now: Instant) {
        let watched = self.watching.watched.get_mut(&id);
        let Some(watched) = watched.filter(|watched| watched.elsewhere_at <= now) else {
            return;
        };
        let waited = now.saturating_duration_since(watched.since);
        watched.elsewhere_at = now + waited.max(ELSEWHERE_FIRST);
        let Some((pid, told)) = self
            .workers
            .get(id)
            .and_then(|worker| Some((worker.pid()?, worker.elsewhere.is_some())))
        else {
            return;
        };
        if told {
            return;
        }
        let wanted = self.wanted(id.generation);
        if wanted.is_empty() {
            return;
        }
        let mut given: Vec<Wanted> = self.listeners_of(id.generation).map(wanted_of).collect();
        let worker = self.workers.get(id);
        if let Some(own) = worker.and_then(|worker| worker.probe.as_ref()) {
            given.push(wanted_of((&own.listener.member(), &own.listener)));
        }
        let watched = self.watching.watched.get_mut(&id);
        let observer = watched.and_then(|watched| watched.observer.as_mut());
        let foreign = match observer {
            Some(observer) => observer.foreign_listeners(&given),
            // Another sign is waited for.
            None => Observer::foreign_listeners_of(pid, &given),
        };
        if let Some(foreign) = foreign.first() {
            let advice = self.advise(id, pid, Instead::ListensOn(foreign), &wanted);
            self.tell_elsewhere(id, advice);
        }
    }

    /// The words for a worker that does not serve what it was given.
    pub(super) fn advise(
        &self,
        id: WorkerId,
        pid: i32,
        instead: Instead<'_>,
        wanted: &[Wanted],
    ) -> Advice {
        let info = self.generations.get(&id.generation);
        let release = info.and_then(|info| self.releases.get(info.release));
        let argv = release.map_or(&[][..], Release::argv);
        let interpreter = release
            .and_then(Release::interpreter)
            .map(|path| path.to_string_lossy());
        let program = argv.first().map(String::as_str);
        let shell = interpreter.as_deref().or(program).and_then(shell_named);
        // Who listens elsewhere is a process of its own, or the one that was started.
        let sure = matches!(instead, Instead::ListensOn(_));
        let last = self.workers.get(id).and_then(|it| it.executed.clone());
        let became = |shell: &str| release.is_some_and(|it| became_program(pid, last, shell, it));
        let shell = shell.filter(|shell| sure || !became(shell));
        advise(&Astray {
            instead,
            pid,
            argv,
            interpreter: interpreter.as_deref(),
            shell,
            wanted,
        })
    }

    fn tell_elsewhere(&mut self, id: WorkerId, advice: Advice) {
        let reason = format!("{}; {}", advice.fact, advice.hint);
        if let Some(worker) = self.workers.get_mut(id) {
            worker.elsewhere = Some(advice);
        }
        let generation = id.generation;
        self.tell(&Event::WorkerElsewhere {
            worker: id.to_string(),
            generation,
            reason,
        });
    }
}
