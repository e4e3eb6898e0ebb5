//! What the command line can say.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Constant mixed HTTP load; counts what fails, and how.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    /// Where to connect.
    #[arg(long)]
    pub to: SocketAddr,
    /// New connections a second, one request each.
    #[arg(long, default_value_t = 300.0)]
    pub new: f64,
    /// Requests a second over kept-alive connections.
    #[arg(long, default_value_t = 300.0)]
    pub kept: f64,
    /// Kept-alive connections.
    #[arg(long, default_value_t = 32)]
    pub connections: usize,
    /// Slow requests a second, each on a connection of its own.
    #[arg(long, default_value_t = 10.0)]
    pub slow: f64,
    /// Target of the new and kept requests.
    #[arg(long, default_value = "/")]
    pub path: String,
    /// Target of the slow requests.
    #[arg(long, default_value = "/slow?ms=300")]
    pub slow_path: String,
    /// How long, when no `--count` ends the run.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// A request without an answer by then has failed.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub timeout: Duration,
    /// A shell command to run at intervals under the load.
    #[arg(long)]
    pub run: Option<String>,
    /// The interval: the next run starts then, or when the one before has ended.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub every: Duration,
    /// How many runs; the load ends after the last.
    #[arg(long)]
    pub count: Option<u32>,
    /// A run that takes longer is killed and counts as failed.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub run_timeout: Duration,
    /// How long after the command's end the upgrade window lasts.
    #[arg(long, default_value = "500ms", value_parser = duration)]
    pub after: Duration,
    /// Latencies of the first moments are not counted (failures always are).
    #[arg(long, default_value = "500ms", value_parser = duration)]
    pub warmup: Duration,
    /// Write the whole result here.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let unit_seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("{text:?}: a duration is like 500ms, 10s or 2m")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?}: not a number"))?;
    Duration::try_from_secs_f64(number * unit_seconds).map_err(|error| format!("{text:?}: {error}"))
}
