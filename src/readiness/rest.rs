//! The second sign of an edge-triggered registration: is the program at rest?
//!
//! A runtime like Go's or tokio's registers a listener as soon as the program has
//! it, long before it accepts. It accepts when its loading is done, and
//! then no thread has anything to do. The kernel counts how often a thread is put
//! on a processor: two equal counts with the thread blocked both times prove
//! that it did not run between.

use std::time::{Duration, Instant};

use super::evidence::SecondSign;
use super::procfs::{Fault, Reader};
use super::proctext::{self, Line};
use super::tree::Process;

/// No thread may run for this long.
const REST: Duration = Duration::from_millis(50);
/// Counts are taken this often; also the most by which a rest is seen late.
const INTERVAL: Duration = Duration::from_millis(10);
/// A program with a fast ticker is watched for this long instead.
const LIGHT_WINDOW: Duration = Duration::from_secs(3);
/// In the window it may use this much of one core, in thousandths (a ticker of 10 ms takes
/// 2 to 10, loading over a network rather 50),
const LIGHT_PERMILLE_MAX: u32 = 25;
/// and must have been found waiting in this share of the looks, in percent.
const LIGHT_WAITING_PERCENT: u64 = 80;

/// How often each thread ran, and for how long all of them together.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Counts {
    runs: Vec<(i32, u64)>,
    /// `None` on a kernel that does not account.
    ran_ns: Option<u64>,
}

/// A count of all threads that a lap takes as it goes by.
///
/// The count comes first and what the thread does after it. A thread that is blocked now and has the same count later
/// was not put on a processor between; the other way round a run could begin between the two and end unseen.
#[derive(Debug)]
pub(super) struct Tally {
    counts: Counts,
    /// A thread ran, vanished or could not be asked: that is no rest.
    void: bool,
    /// Every thread's state is asked for, too;
    states: bool,
    /// no thread waits for a disk or is stopped; those that ended do not count.
    asleep: bool,
}

impl Tally {
    fn new(states: bool) -> Self {
        Self {
            counts: Counts {
                runs: Vec::new(),
                ran_ns: Some(0),
            },
            void: false,
            states,
            asleep: true,
        }
    }

    /// Before it is looked at what the thread does.
    pub(super) fn count(&mut self, process: &Process, tid: i32, reader: &mut Reader) {
        match self.runs(process, tid, reader) {
            Some(runs) => self.counts.runs.push((tid, runs)),
            None => self.void = true,
        }
    }

    fn runs(&mut self, process: &Process, tid: i32, reader: &mut Reader) -> Option<u64> {
        let text = reader
            .once(process.task(), tid, "schedstat")
            .unwrap_or_default();
        if let Some((ran_ns, runs)) = proctext::schedule_stat(text) {
            let sum = self.counts.ran_ns;
            self.counts.ran_ns = sum.and_then(|sum| sum.checked_add(ran_ns));
            return Some(runs);
        }
        self.counts.ran_ns = None;
        proctext::run_count(reader.once(process.task(), tid, "status").ok()?)
    }

    /// After it.
    pub(super) fn note(
        &mut self,
        line: Result<Line, Fault>,
        process: &Process,
        tid: i32,
        reader: &mut Reader,
    ) {
        self.void |= matches!(line, Ok(Line::Running) | Err(_));
        if self.states && !self.void {
            let stat = process.stat(reader, tid);
            self.asleep &= stat.is_some_and(|stat| matches!(stat.state, b'S' | b'Z' | b'X'));
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Every listener was found waiting in the last lap.
    waits: bool,
    /// When the last count began, and what it was.
    last: Option<(Instant, Counts)>,
    /// The end of the first count that was the same as the last.
    still_since: Option<Instant>,
    window: Option<Window>,
    /// What the last count showed, if in another one all threads sleep.
    sign: Option<SecondSign>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    ran_ns: u64,
    looks: u64,
    waiting: u64,
}

impl Rest {
    /// The count that the lap that begins is to take, if any.
    pub(super) fn tally(&self, now: Instant) -> Option<Tally> {
        // Asked last, as it is asked once: a thread that waited for a disk all the
        // time did not run either.
        if self.sign.is_some() {
            return Some(Tally::new(true));
        }
        let age = |(taken, _): &(Instant, Counts)| now.saturating_duration_since(*taken);
        let due = self.last.as_ref().is_none_or(|last| age(last) >= INTERVAL);
        (self.waits && due).then(|| Tally::new(false))
    }

    /// A lap in which not every listener was found waiting: something ran.
    pub(super) fn disturbed(&mut self) {
        self.waits = false;
        self.forget();
        if let Some(window) = &mut self.window {
            window.looks += 1;
        }
    }

    fn forget(&mut self) {
        self.still_since = None;
        self.last = None;
        self.sign = None;
    }

    /// A lap in which every listener was found waiting, and its count.
    pub(super) fn waiting(
        &mut self,
        began: Instant,
        ended: Instant,
        tally: Option<Tally>,
    ) -> Option<SecondSign> {
        self.waits = true;
        if let Some(window) = &mut self.window {
            window.looks += 1;
            window.waiting += 1;
        }
        let tally = tally?;
        if tally.void {
            // Light work is no rest: that one thread runs just now says nothing against it.
            let light = self
                .sign
                .filter(|sign| matches!(sign, SecondSign::LightWork { .. }));
            self.forget();
            self.sign = light;
            return None;
        }
        if let Some(sign) = self.sign.take() {
            let same = self.is_last(&tally.counts) || !matches!(sign, SecondSign::Rest(_));
            if same && tally.asleep {
                return Some(sign);
            }
            self.forget();
            return None;
        }
        self.sign = self.judge(began, ended, tally.counts);
        None
    }

    fn is_last(&self, counts: &Counts) -> bool {
        let last = self.last.as_ref();
        last.is_some_and(|(_, last)| last.runs == counts.runs)
    }

    /// What a count shows that was taken from `began` to `ended`. What is the same in two was so from the end of the
    /// first to the beginning of the second.
    fn judge(&mut self, began: Instant, ended: Instant, counts: Counts) -> Option<SecondSign> {
        let since = match self.still_since {
            Some(since) if self.is_last(&counts) => since,
            _ => ended,
        };
        self.still_since = Some(since);
        let ran_ns = counts.ran_ns;
        self.last = Some((began, counts));
        let quiet = began.saturating_duration_since(since);
        if quiet >= REST {
            return Some(SecondSign::Rest(quiet));
        }
        self.light(ended, ran_ns?)
    }

    fn light(&mut self, now: Instant, ran_ns: u64) -> Option<SecondSign> {
        let fresh = Window {
            began: now,
            ran_ns,
            looks: 0,
            waiting: 0,
        };
        let window = self.window.get_or_insert(fresh);
        let over = now.saturating_duration_since(window.began);
        if over < LIGHT_WINDOW {
            return None;
        }
        let ran = u128::from(ran_ns.saturating_sub(window.ran_ns));
        let permille = u32::try_from(ran * 1000 / over.as_nanos().max(1)).unwrap_or(u32::MAX);
        let patient = window.waiting * 100 >= window.looks * LIGHT_WAITING_PERCENT;
        // Threads that ended took their time with them: less than before is not "light".
        let told = ran_ns >= window.ran_ns;
        self.window = Some(Window {
            began: now,
            ran_ns,
            looks: 0,
            waiting: 0,
        });
        (told && patient && permille <= LIGHT_PERMILLE_MAX)
            .then_some(SecondSign::LightWork { over, permille })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts_of(runs: u64, ran_ms: u64) -> Counts {
        Counts {
            runs: vec![(7, runs), (8, 3)],
            ran_ns: Some(ran_ms * 1_000_000),
        }
    }

    #[test]
    fn fifty_milliseconds_without_a_run_are_a_rest() {
        let (start, mut rest) = (Instant::now(), Rest::default());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(rest.judge(at(0), at(0), counts_of(1, 0)), None);
        assert_eq!(rest.judge(at(40), at(40), counts_of(1, 0)), None);
        assert_eq!(
            rest.judge(at(49), at(49), counts_of(2, 0)),
            None,
            "it ran: from the start"
        );
        assert_eq!(rest.judge(at(98), at(98), counts_of(2, 0)), None);
        let quiet = Duration::from_millis(51);
        assert_eq!(
            rest.judge(at(100), at(100), counts_of(2, 0)),
            Some(SecondSign::Rest(quiet))
        );
    }

    #[test]
    fn a_count_that_takes_long_proves_only_what_lies_between_two() {
        let (start, mut rest) = (Instant::now(), Rest::default());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(rest.judge(at(0), at(800), counts_of(1, 0)), None);
        assert_eq!(rest.judge(at(820), at(1600), counts_of(1, 0)), None);
        let quiet = Duration::from_millis(820);
        assert_eq!(
            rest.judge(at(1620), at(2400), counts_of(1, 0)),
            Some(SecondSign::Rest(quiet))
        );
    }

    #[test]
    fn a_rest_counts_when_all_threads_sleep_and_none_ran_meanwhile() {
        for (runs, asleep, expected) in [(1, true, true), (2, true, false), (1, false, false)] {
            let (start, mut rest) = (Instant::now(), Rest::default());
            let at = |ms| start + Duration::from_millis(ms);
            assert!(rest.tally(at(0)).is_none(), "nothing was seen waiting yet");
            rest.waiting(at(0), at(0), None);
            for ms in [2, 60] {
                let mut tally = rest.tally(at(ms)).expect("a count is due");
                assert!(!tally.states);
                tally.counts = counts_of(1, 0);
                assert_eq!(rest.waiting(at(ms), at(ms), Some(tally)), None);
            }
            let mut tally = rest.tally(at(62)).expect("the last one is due at once");
            assert!(tally.states);
            (tally.counts, tally.asleep) = (counts_of(runs, 0), asleep);
            let sign = rest.waiting(at(62), at(62), Some(tally));
            assert_eq!(sign.is_some(), expected, "{runs} {asleep}");
        }
    }

    #[test]
    fn a_thread_more_is_no_rest() {
        const LATER: Duration = Duration::from_millis(60);
        let (start, mut rest) = (Instant::now(), Rest::default());
        rest.judge(start, start, counts_of(1, 0));
        let mut more = counts_of(1, 0);
        more.runs.push((9, 1));
        assert_eq!(rest.judge(start + LATER, start + LATER, more), None);
    }

    #[test]
    fn a_ticking_program_is_ready_after_three_seconds_of_light_work() {
        let (start, mut rest) = (Instant::now(), Rest::default());
        let mut sign = None;
        for tick in 0..=300 {
            if let Some(window) = &mut rest.window {
                (window.looks, window.waiting) = (tick, tick);
            }
            let now = start + Duration::from_millis(tick * 10);
            sign = rest.judge(now, now, counts_of(tick, tick / 5));
            assert_eq!(sign.is_some(), tick == 300, "{tick}: {sign:?}");
        }
        let over = Duration::from_secs(3);
        assert_eq!(sign, Some(SecondSign::LightWork { over, permille: 20 }));
    }

    #[test]
    fn a_program_that_computes_is_never_ready_by_waiting() {
        let (start, mut rest) = (Instant::now(), Rest::default());
        for tick in 0..=1000 {
            let now = start + Duration::from_millis(tick * 10);
            assert_eq!(rest.judge(now, now, counts_of(tick, tick / 2)), None);
        }
    }

    #[test]
    fn a_program_seldom_seen_waiting_is_not_ready() {
        let (start, mut rest) = (Instant::now(), Rest::default());
        for tick in 0..=300 {
            if let Some(window) = &mut rest.window {
                (window.looks, window.waiting) = (tick + 1, tick / 2);
            }
            let now = start + Duration::from_millis(tick * 10);
            assert_eq!(rest.judge(now, now, counts_of(tick, 0)), None);
        }
    }
}
