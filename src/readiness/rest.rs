//! The second sign of an edge-triggered registration: is the program at rest?
//!
//! A runtime like Go's or tokio's registers a listener as soon as the program has
//! it, long before it accepts. It accepts when its loading is done, and
//! then no thread has anything to do. The kernel counts how often a thread is put
//! on a processor: two equal counts with the thread blocked both times prove
//! that it did not run between.

use std::time::{Duration, Instant};

use super::evidence::SecondSign;
use super::procfs::Reader;
use super::proctext::{self, Line};
use super::tree::Tree;

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

#[derive(Debug, Default)]
pub(super) struct Rest {
    last: Option<(Instant, Counts)>,
    still_since: Option<Instant>,
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    ran_ns: u64,
    looks: u64,
    waiting: u64,
}

impl Rest {
    /// A look at which not every listener was found waiting: something ran.
    pub(super) fn disturbed(&mut self) {
        self.still_since = None;
        self.last = None;
        if let Some(window) = &mut self.window {
            window.looks += 1;
        }
    }

    /// A look at which every listener was found waiting.
    pub(super) fn waiting(
        &mut self,
        now: Instant,
        tree: &mut Tree,
        reader: &mut Reader,
    ) -> Option<SecondSign> {
        if let Some(window) = &mut self.window {
            window.looks += 1;
            window.waiting += 1;
        }
        let due = self
            .last
            .as_ref()
            .is_none_or(|(taken, _)| now.saturating_duration_since(*taken) >= INTERVAL);
        if !due {
            return None;
        }
        match counts(tree, reader) {
            Some(counts) => {
                let sign = self.judge(now, counts)?;
                // Asked last, as it is asked once: a thread that waited for a disk all the
                // time did not run either.
                if all_sleep(tree, reader) {
                    return Some(sign);
                }
            }
            None => self.last = None,
        }
        self.still_since = None;
        None
    }

    fn judge(&mut self, now: Instant, counts: Counts) -> Option<SecondSign> {
        let still = self
            .last
            .as_ref()
            .is_some_and(|(_, last)| last.runs == counts.runs);
        let since = match self.still_since {
            Some(since) if still => since,
            _ => now,
        };
        self.still_since = Some(since);
        let ran_ns = counts.ran_ns;
        self.last = Some((now, counts));
        let quiet = now.saturating_duration_since(since);
        if quiet >= REST {
            return Some(SecondSign::Rest(quiet));
        }
        self.light(now, ran_ns?)
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

/// `None` when a thread runs, vanished or cannot be asked: that is no rest.
///
/// The count comes first and the state after it. A thread that is blocked now and has the
/// same count later was not put on a processor between; the other way round a run could
/// begin between the two and end unseen.
fn counts(tree: &mut Tree, reader: &mut Reader) -> Option<Counts> {
    let mut counts = Counts {
        runs: Vec::new(),
        ran_ns: Some(0),
    };
    for process in &mut tree.processes {
        for index in 0..process.threads.len() {
            let tid = process.threads.get(index)?.tid;
            let text = reader
                .once(process.task(), tid, "schedstat")
                .unwrap_or_default();
            let runs = if let Some((ran_ns, runs)) = proctext::schedule_stat(text) {
                counts.ran_ns = counts.ran_ns.and_then(|sum| sum.checked_add(ran_ns));
                runs
            } else {
                counts.ran_ns = None;
                proctext::run_count(reader.once(process.task(), tid, "status").ok()?)?
            };
            counts.runs.push((tid, runs));
            if process.line(index, reader).ok()? == Line::Running {
                return None;
            }
        }
    }
    Some(counts)
}

/// No thread waits for a disk or is stopped; those that ended do not count.
fn all_sleep(tree: &Tree, reader: &mut Reader) -> bool {
    tree.processes.iter().all(|process| {
        process.threads.iter().all(|thread| {
            let stat = process.stat(reader, thread.tid);
            stat.is_some_and(|stat| matches!(stat.state, b'S' | b'Z' | b'X'))
        })
    })
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
        assert_eq!(rest.judge(at(0), counts_of(1, 0)), None);
        assert_eq!(rest.judge(at(40), counts_of(1, 0)), None);
        assert_eq!(
            rest.judge(at(49), counts_of(2, 0)),
            None,
            "it ran: from the start"
        );
        assert_eq!(rest.judge(at(98), counts_of(2, 0)), None);
        let quiet = Duration::from_millis(51);
        assert_eq!(
            rest.judge(at(100), counts_of(2, 0)),
            Some(SecondSign::Rest(quiet))
        );
    }

    #[test]
    fn a_thread_more_is_no_rest() {
        let (start, mut rest) = (Instant::now(), Rest::default());
        rest.judge(start, counts_of(1, 0));
        let mut more = counts_of(1, 0);
        more.runs.push((9, 1));
        assert_eq!(rest.judge(start + Duration::from_millis(60), more), None);
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
            sign = rest.judge(now, counts_of(tick, tick / 5));
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
            assert_eq!(rest.judge(now, counts_of(tick, tick / 2)), None);
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
            assert_eq!(rest.judge(now, counts_of(tick, 0)), None);
        }
    }
}
