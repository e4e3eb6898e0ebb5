//! An open-loop HTTP load generator that looks for lost requests.
//!
//! ```text
//! load --to 127.0.0.1:8080 --new 300 --kept 300 --connections 32 --slow 10 \
//!      --every 1s --count 100 --run 'handover upgrade web' --json result.json
//! ```
//!
//! Each request has an intended time, fixed before the run; latency counts from
//! there, so a server that stalls cannot hide it by slowing the client down.
//! `--run` is started at fixed intervals while the load goes on; the time from
//! its start to its end and a little longer is the "upgrade" window, everything
//! else is "steady".

mod commands;
mod connection;
mod engine;
mod options;
mod report;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;

use crate::engine::Engine;
use crate::options::Options;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs the load and says how many requests or commands failed.
fn run(options: &Options) -> Result<usize, Box<dyn Error>> {
    let over = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let commands = options.run.clone().map(|command| {
        let schedule = commands::Schedule {
            command,
            every: options.every,
            count_max: options.count.unwrap_or(u32::MAX),
            each_max: options.run_timeout,
            start,
        };
        let (mine, options_count) = (Arc::clone(&over), options.count);
        let after = options.after;
        std::thread::spawn(move || {
            let runs = commands::run_all(&schedule, &mine);
            if options_count.is_some() {
                std::thread::sleep(after + Duration::from_millis(500));
                mine.store(true, Ordering::Relaxed);
            }
            runs
        })
    });
    let outcome = Engine::new(options, start)?.run(&over)?;
    over.store(true, Ordering::Relaxed);
    let runs = match commands {
        Some(thread) => thread.join().map_err(|_| "the command thread panicked")?,
        None => Vec::new(),
    };
    let report = report::summarise(options, &outcome, &runs, start.elapsed());
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    print!("{}", report.table());
    Ok(report.failed + report.commands_failed)
}
