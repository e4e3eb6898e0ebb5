//! From samples to figures: JSON for the benchmark, a table for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;

use crate::commands::{Run, micros};
use crate::engine::{Class, Loss, Outcome};
use crate::options::Options;

/// Losses that are listed one by one.
const LOSSES_LISTED_MAX: usize = 1000;

#[derive(Serialize)]
pub struct Report {
    /// When the load began on CLOCK_MONOTONIC, to be matched with traces.
    pub started_monotonic_ms: f64,
    pub seconds: f64,
    pub requests: usize,
    pub failed: usize,
    pub commands: usize,
    pub commands_failed: usize,
    /// Class, then what happened.
    pub classes: BTreeMap<&'static str, ClassCount>,
    /// "steady" and "upgrade", milliseconds, all classes but slow.
    pub latency: BTreeMap<&'static str, Latency>,
    /// Answers by each generation that named itself.
    pub generations: BTreeMap<u32, usize>,
    pub losses: Vec<LossLine>,
    pub runs: Vec<RunLine>,
    pub idle_closed: u64,
    pub connections_opened: u64,
    /// Part of one core that this program used, and how late it was at worst.
    pub own_cpu: f64,
    pub own_behind_ms: f64,
}

#[derive(Serialize, Default)]
pub struct ClassCount {
    pub ok: usize,
    pub failed: usize,
    pub kinds: BTreeMap<String, usize>,
}

#[derive(Serialize, Default)]
pub struct Latency {
    pub count: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

#[derive(Serialize)]
pub struct LossLine {
    class: &'static str,
    kind: String,
    at_ms: f64,
    failed_ms: f64,
    port: u16,
    answers_before: u32,
    generation_before: u32,
    /// Since the start of the command that was started last.
    after_command_ms: Option<f64>,
}

#[derive(Serialize)]
pub struct RunLine {
    started_ms: f64,
    took_ms: f64,
    code: Option<i32>,
    said: String,
}

pub fn summarise(options: &Options, outcome: &Outcome, runs: &[Run], took: Duration) -> Report {
    let mut classes: BTreeMap<_, ClassCount> = BTreeMap::new();
    for class in Class::ALL {
        let count = classes.entry(class.name()).or_default();
        count.ok = outcome.samples.iter().filter(|s| s.class == class).count();
        for loss in outcome.losses.iter().filter(|loss| loss.class == class) {
            count.failed += 1;
            *count.kinds.entry(loss.failure.to_string()).or_default() += 1;
        }
    }
    let mut generations = BTreeMap::new();
    for sample in &outcome.samples {
        *generations.entry(sample.generation).or_default() += 1;
    }
    let listed = outcome.losses.iter().take(LOSSES_LISTED_MAX);
    Report {
        started_monotonic_ms: monotonic_ms() - took.as_secs_f64() * 1e3,
        seconds: took.as_secs_f64(),
        requests: outcome.samples.len() + outcome.losses.len(),
        failed: outcome.losses.len(),
        commands: runs.len(),
        commands_failed: runs.iter().filter(|run| run.failed()).count(),
        classes,
        latency: windows(options, outcome, runs),
        generations,
        losses: listed.map(|loss| LossLine::new(loss, runs)).collect(),
        runs: runs.iter().map(RunLine::new).collect(),
        idle_closed: outcome.idle_closed,
        connections_opened: outcome.connections_opened,
        own_cpu: own_cpu_seconds() / took.as_secs_f64(),
        own_behind_ms: outcome.behind_max.as_secs_f64() * 1e3,
    }
}

/// A sample belongs to the upgrade window when any moment of it does.
fn windows(options: &Options, outcome: &Outcome, runs: &[Run]) -> BTreeMap<&'static str, Latency> {
    let after_us = micros(options.after);
    let (mut steady, mut upgrade) = (Vec::new(), Vec::new());
    for sample in &outcome.samples {
        if sample.class == Class::Slow || sample.intended_us < micros(options.warmup) {
            continue;
        }
        let during = runs.iter().any(|run| {
            sample.done_us >= run.started_us && sample.intended_us <= run.ended_us + after_us
        });
        let window = if during { &mut upgrade } else { &mut steady };
        window.push(sample.done_us.saturating_sub(sample.intended_us));
    }
    BTreeMap::from([
        ("steady", Latency::of(steady)),
        ("upgrade", Latency::of(upgrade)),
    ])
}

impl Latency {
    fn of(mut latencies_us: Vec<u64>) -> Self {
        latencies_us.sort_unstable();
        let count = latencies_us.len();
        // The smallest value that is not below this part of all values.
        let at = |part: f64| {
            let rank = (count as f64 * part).ceil() as usize;
            let value_us = latencies_us.get(rank.saturating_sub(1)).copied();
            value_us.unwrap_or(0) as f64 / 1e3
        };
        Self {
            count,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: at(1.0),
        }
    }
}

impl LossLine {
    fn new(loss: &Loss, runs: &[Run]) -> Self {
        let last = runs.iter().rfind(|run| run.started_us <= loss.failed_us);
        Self {
            class: loss.class.name(),
            kind: loss.failure.to_string(),
            at_ms: loss.intended_us as f64 / 1e3,
            failed_ms: loss.failed_us as f64 / 1e3,
            port: loss.port,
            answers_before: loss.answers,
            generation_before: loss.generation,
            after_command_ms: last.map(|run| (loss.failed_us - run.started_us) as f64 / 1e3),
        }
    }
}

impl RunLine {
    fn new(run: &Run) -> Self {
        Self {
            started_ms: run.started_us as f64 / 1e3,
            took_ms: (run.ended_us - run.started_us) as f64 / 1e3,
            code: run.code,
            said: run.said.clone(),
        }
    }
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |words: std::fmt::Arguments<'_>| {
            let _ = writeln!(text, "{words}"); // writing to a String does not fail
        };
        line(format_args!(
            "{} requests in {:.1} s, {} failed; {} commands, {} failed",
            self.requests, self.seconds, self.failed, self.commands, self.commands_failed
        ));
        for (name, count) in &self.classes {
            line(format_args!(
                "  {name:<8} {:>8} ok {:>6} failed",
                count.ok, count.failed
            ));
            for (kind, number) in &count.kinds {
                line(format_args!("           {number:>8} {kind}"));
            }
        }
        for (name, latency) in &self.latency {
            line(format_args!(
                "  {name:<8} p50 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2} ms ({} requests)",
                latency.p50_ms, latency.p99_ms, latency.p999_ms, latency.max_ms, latency.count
            ));
        }
        line(format_args!(
            "  {} generations answered; {} connections opened, {} closed while idle",
            self.generations.len(),
            self.connections_opened,
            self.idle_closed
        ));
        for run in self.runs.iter().filter(|run| run.code != Some(0)).take(3) {
            line(format_args!(
                "  a command failed ({:?}): {}",
                run.code, run.said
            ));
        }
        line(format_args!(
            "  (this program: {:.0} % of a core, at most {:.1} ms late)",
            self.own_cpu * 100.0,
            self.own_behind_ms
        ));
        text
    }
}

fn monotonic_ms() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

fn own_cpu_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    })
}
