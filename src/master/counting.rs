//! How many connections workers hold: when it is counted, for whom, and what is made of it.
//!
//! Somebody asks, or a generation drains; otherwise nothing is counted. Whoever asks while a count runs shares it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Master;
use super::count::{Count, Counter, Job, Scope, begin};
use crate::control::{Answer, Call};
use crate::fleet::{Generation, GenerationNumber, Process, WorkerId};
use crate::sockets::ListenerId;

/// A count is as good as new for this long,
const FRESH: Duration = Duration::from_millis(200);
/// or for so many times what it cost, which the next waits in any case: whoever asks again and again, while workers
/// come and go, takes a sixth of a core at most.
const FRESH_COSTS: u32 = 5;
/// Who asks waits no longer than this.
const PATIENCE: Duration = Duration::from_secs(1);
/// Why an answer came without.
const TOO_LONG: &str = "counting them takes longer than 1 s; ask again";

/// When a drain is looked at first: many are over before.
const DRAIN_FIRST: Duration = Duration::from_millis(100);
/// A drain is looked at this often,
const DRAIN_EVERY: Duration = Duration::from_secs(1);
/// but for at most one part in so many of a core.
const DRAIN_SHARE: u32 = 100;
/// The last look comes so long before the deadline.
const DRAIN_LAST: Duration = Duration::from_millis(250);
/// An older count says nothing of what is cut now.
const CUT_KNOWN_FOR: Duration = Duration::from_secs(3);

/// The state of counting.
#[derive(Default)]
pub(super) struct Counting {
    /// None while the thread that counts has it.
    counter: Option<Box<Counter>>,
    running: Option<Scope>,
    last: Option<Box<Count>>,
    waiting: Vec<Waiting>,
    /// When the next look at what drains is due.
    due: Option<Instant>,
    left: BTreeMap<GenerationNumber, Left>,
}

/// Somebody who waits for a count.
struct Waiting {
    call: Call,
    reply: oneshot::Sender<Answer>,
    scope: Scope,
    until: Instant,
}

/// What a generation that drains had left at the last look.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) connections: u64,
    /// Until its deadline; in whole seconds, since it is said again with each look.
    pub(super) time: Duration,
}

impl Counting {
    pub(super) fn new() -> Self {
        Self {
            counter: Some(Box::default()),
            ..Self::default()
        }
    }

    /// When there is something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        let idle = self.running.is_none();
        let due = self.due.filter(|_| idle);
        let asked = idle && !self.waiting.is_empty();
        let rested = asked.then(|| self.rested()).flatten();
        let until = self.waiting.iter().map(|waiting| waiting.until);
        until.chain(due).chain(rested).min()
    }

    /// When the next count may begin, also where other workers than in the last are asked for.
    fn rested(&self) -> Option<Instant> {
        let last = self.last.as_ref()?;
        Some(last.ended + last.cost * FRESH_COSTS)
    }

    /// What drains had left.
    pub(super) fn left(&self, number: GenerationNumber) -> Option<Left> {
        self.left.get(&number).copied()
    }

    /// What this worker held lately; none where that is not known.
    pub(super) fn held_by(&self, id: WorkerId) -> Option<u64> {
        let last = self.last.as_ref()?;
        let known = last.ended.elapsed() <= CUT_KNOWN_FOR;
        last.connections.get(&id).copied().filter(|_| known)
    }

    fn is_fresh(&self) -> bool {
        self.is_younger_than(1)
    }

    fn is_younger_than(&self, times: u32) -> bool {
        let last = self.last.as_ref();
        let good = |last: &Count| times * FRESH.max(last.cost * FRESH_COSTS);
        last.is_some_and(|last| last.ended.elapsed() <= good(last))
    }

    /// For a view: what was counted, if it is still good, and why the rest is not known.
    pub(super) fn shown(&self) -> (Option<&Count>, Option<String>) {
        match &self.last {
            // What was good when somebody asked is so still when the answer is made.
            Some(last) if self.is_younger_than(2) => {
                let part = (last.scope != Scope::All).then(|| TOO_LONG.to_owned());
                (Some(last), last.reason.clone().or(part))
            }
            _ => (None, Some(TOO_LONG.to_owned())),
        }
    }
}

impl Master {
    /// A call: some wait for a count before they are answered.
    pub(super) fn on_request(&mut self, call: Call, reply: oneshot::Sender<Answer>) {
        let scope = match call {
            Call::Status => Scope::All,
            Call::Metrics => Scope::Draining,
            _ => return self.reply(call, reply),
        };
        let counting = &self.counting;
        let last = counting.last.as_ref().filter(|_| counting.is_fresh());
        let known = last.is_some_and(|last| {
            last.scope >= scope && last.workers == self.to_be_counted(last.scope)
        });
        if known || self.streams().is_empty() {
            return self.reply(call, reply);
        }
        let until = Instant::now() + PATIENCE;
        self.counting.waiting.push(Waiting {
            call,
            reply,
            scope,
            until,
        });
        self.count_for_waiting();
    }

    /// Begins the count that somebody waits for, unless one runs or the last has yet to be paid for.
    fn count_for_waiting(&mut self) {
        let asked = self.counting.waiting.iter().map(|waiting| waiting.scope);
        let Some(scope) = asked.max() else {
            return;
        };
        let now = Instant::now();
        if self.counting.rested().is_none_or(|rested| rested <= now) {
            self.count(scope);
        }
    }

    fn reply(&mut self, call: Call, reply: oneshot::Sender<Answer>) {
        // What workers use is looked up by a thread, which answers.
        if matches!(call, Call::Metrics) {
            return self.answer_metrics(reply);
        }
        let answer = self.on_call(call);
        // Whoever asked may be gone.
        drop(reply.send(answer));
    }

    /// Answers those for whom `over` holds.
    fn answer_waiting(&mut self, over: impl Fn(&Waiting) -> bool) {
        let waiting = std::mem::take(&mut self.counting.waiting);
        let (ready, waiting) = waiting.into_iter().partition(|waiting| over(waiting));
        self.counting.waiting = waiting;
        let ready: Vec<Waiting> = ready;
        for Waiting { call, reply, .. } in ready {
            self.reply(call, reply);
        }
    }

    /// The master ends: nobody is left without an answer.
    pub(super) fn answer_all(&mut self) {
        self.answer_waiting(|_| true);
    }

    /// The listeners that have connections.
    fn streams(&self) -> Vec<ListenerId> {
        self.listeners.iter().filter_map(ListenerId::of).collect()
    }

    pub(super) fn has_streams(&self) -> bool {
        !self.streams().is_empty()
    }

    /// Why nothing is counted whatever is asked.
    pub(super) fn never_counted(&self) -> Option<String> {
        let datagrams = || "datagrams have no connections to count".to_owned();
        (self.streams().is_empty() && !self.listeners.is_empty()).then(datagrams)
    }

    fn draining(&self) -> impl Iterator<Item = &Generation> {
        let all = self.fleet.generations();
        all.filter(|held| held.drain_deadline.is_some())
    }

    /// The workers whose connections are counted, and the process that leads each.
    fn to_be_counted(&self, scope: Scope) -> Vec<(WorkerId, i32)> {
        let asked = |held: &&Generation| scope == Scope::All || held.drain_deadline.is_some();
        let generations = self.fleet.generations().filter(asked);
        let workers = generations.flat_map(|held| held.workers());
        let alive = workers.filter(|(_, slot)| slot.process != Process::Absent);
        alive
            .filter_map(|(id, _)| {
                let worker = self.workers.get(id).filter(|worker| !worker.delivered)?;
                Some((id, worker.last_pid)).filter(|(_, pid)| *pid > 0)
            })
            .collect()
    }

    /// Begins a count, unless one runs: then whoever it does not serve has the next one.
    fn count(&mut self, scope: Scope) {
        let Some(counter) = self.counting.counter.take() else {
            return;
        };
        let mut leaders: Vec<i32> = self.workers.by_pid.keys().copied().collect();
        leaders.extend(self.workers.leftovers.iter().map(|left| left.child.pid()));
        leaders.sort_unstable();
        let job = Job {
            scope,
            listeners: self.streams(),
            workers: self.to_be_counted(scope),
            leaders,
        };
        self.counting.running = Some(scope);
        if let Err(error) = begin(counter, job, self.inputs.clone()) {
            let job = Job {
                scope,
                listeners: Vec::new(),
                workers: self.to_be_counted(scope),
                leaders: Vec::new(),
            };
            let reason = format!("no thread can be started to count them: {error}");
            self.on_counted(Box::default(), Box::new(Count::failed(job, reason)));
        }
    }

    /// A count came to its end.
    pub(super) fn on_counted(&mut self, counter: Box<Counter>, count: Box<Count>) {
        self.counting.counter = Some(counter);
        self.counting.running = None;
        let now = Instant::now();
        self.counting.due = None;
        if self.draining().next().is_some() {
            let distance = DRAIN_EVERY.max(count.cost * DRAIN_SHARE);
            self.counting.due = Some(now + distance);
        }
        self.counting.left = self.what_is_left(&count);
        let scope = count.scope;
        self.counting.last = Some(count);
        self.answer_waiting(|waiting| waiting.scope <= scope);
        self.count_for_waiting();
    }

    fn what_is_left(&self, count: &Count) -> BTreeMap<GenerationNumber, Left> {
        let now = self.now();
        let mut all = BTreeMap::new();
        for held in self.draining() {
            let asked = count.workers.iter().map(|(id, _)| *id);
            let mut asked = asked.filter(|id| id.generation == held.number);
            let sum = asked.try_fold(0, |sum, id| Some(sum + count.connections.get(&id)?));
            let left = held.drain_deadline.map(|at| at.saturating_sub(now));
            if let (Some(connections), Some(left)) = (sum, left) {
                let time = whole_seconds(left);
                all.insert(held.number, Left { connections, time });
            }
        }
        all
    }

    /// Looks at what drains, and lets nobody wait for ever.
    pub(super) fn count_when_due(&mut self) {
        let now = Instant::now();
        if self.counting.waiting.iter().any(|it| it.until <= now) {
            self.answer_waiting(|waiting| waiting.until <= now);
        }
        self.count_for_waiting();
        let deadlines = self.draining().filter_map(|held| held.drain_deadline);
        let deadlines: Vec<Instant> = deadlines.map(|at| self.origin + at).collect();
        if deadlines.is_empty() || self.streams().is_empty() {
            self.counting.due = None;
            self.counting.left.clear();
            return;
        }
        if self.counting.running.is_some() {
            return;
        }
        // A last look, not to be missed by the distance between two.
        let last = self.counting.last.as_ref().map(|last| last.ended);
        let looks = deadlines
            .into_iter()
            .filter_map(|at| at.checked_sub(DRAIN_LAST));
        let looks = looks.filter(|at| last.is_none_or(|last| last < *at));
        let due = *self.counting.due.get_or_insert(now + DRAIN_FIRST);
        let due = looks.chain([due]).min().unwrap_or(due);
        self.counting.due = Some(due);
        if due <= now {
            self.counting.due = None;
            self.count(Scope::Draining);
        }
    }
}

/// Never "0 s" before it is over.
fn whole_seconds(left: Duration) -> Duration {
    Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(cost_ms: u64, age: Duration) -> Counting {
        let job = Job {
            scope: Scope::All,
            listeners: Vec::new(),
            workers: Vec::new(),
            leaders: Vec::new(),
        };
        let mut count = Count::failed(job, "because".to_owned());
        count.cost = Duration::from_millis(cost_ms);
        count.ended = Instant::now().checked_sub(age).expect("not at boot");
        Counting {
            last: Some(Box::new(count)),
            ..Counting::new()
        }
    }

    #[test]
    fn a_dear_count_is_good_for_longer() {
        let second = Duration::from_secs(1);
        assert!(counted(1, Duration::ZERO).is_fresh());
        assert!(!counted(1, second).is_fresh());
        assert!(counted(900, second).is_fresh());
        assert!(!Counting::new().is_fresh());
    }

    #[test]
    fn the_next_count_waits_until_the_last_is_paid_for() {
        let rested = |counting: &Counting| counting.rested().expect("one was made");
        assert!(rested(&counted(100, Duration::ZERO)) > Instant::now());
        assert!(rested(&counted(100, Duration::from_secs(1))) < Instant::now());
        assert!(Counting::new().rested().is_none());
        assert!(counted(100, Duration::ZERO).next().is_none(), "nobody asks");
    }

    #[test]
    fn what_is_left_is_said_in_whole_seconds() {
        for (ms, seconds) in [(0, 0), (240, 1), (1000, 1), (19_900, 20)] {
            let left = whole_seconds(Duration::from_millis(ms));
            assert_eq!(left, Duration::from_secs(seconds));
        }
    }

    #[test]
    fn what_is_too_old_is_not_shown_but_the_reason_is() {
        let new = counted(1, Duration::ZERO);
        let (shown, reason) = new.shown();
        assert!(shown.is_some() && reason.as_deref() == Some("because"));
        let old = counted(1, Duration::from_secs(1));
        let (shown, reason) = old.shown();
        assert!(shown.is_none() && reason.is_some_and(|reason| reason.contains("1 s")));
    }
}
