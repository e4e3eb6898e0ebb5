//! Runs the `--run` command at intervals and records when it ran.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;

/// When to run what.
pub struct Schedule {
    pub command: String,
    pub every: Duration,
    pub count_max: u32,
    pub each_max: Duration,
    pub start: Instant,
}

/// One run; times are microseconds since the load began.
#[derive(Debug, Serialize)]
pub struct Run {
    pub started_us: u64,
    pub ended_us: u64,
    pub code: Option<i32>,
    /// What it said on standard error, when it failed.
    pub said: String,
}

impl Run {
    pub fn failed(&self) -> bool {
        self.code != Some(0)
    }
}

/// Returns when all runs are done, or soon after `over` is set.
pub fn run_all(schedule: &Schedule, over: &AtomicBool) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut due = schedule.start + schedule.every;
    while u32::try_from(runs.len()).is_ok_and(|done| done < schedule.count_max) {
        while Instant::now() < due {
            if over.load(Ordering::Relaxed) {
                return runs;
            }
            sleep(
                due.saturating_duration_since(Instant::now())
                    .min(Duration::from_millis(50)),
            );
        }
        let started = Instant::now();
        let (code, said) = run_one(schedule);
        runs.push(Run {
            started_us: micros(started - schedule.start),
            ended_us: micros(schedule.start.elapsed()),
            code,
            said,
        });
        due = (started + schedule.every).max(Instant::now());
    }
    runs
}

fn run_one(schedule: &Schedule) -> (Option<i32>, String) {
    let child = Command::new("/bin/sh")
        .args(["-c", &schedule.command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return (None, format!("cannot run /bin/sh: {error}")),
    };
    let deadline = Instant::now() + schedule.each_max;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return (None, format!("still running after {:?}", schedule.each_max));
        }
        sleep(Duration::from_millis(2));
    }
    match child.wait_with_output() {
        Ok(output) if output.status.success() => (Some(0), String::new()),
        Ok(output) => (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ),
        Err(error) => (None, error.to_string()),
    }
}

pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
