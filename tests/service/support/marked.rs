//! Processes that carry the mark of a test.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait::within;

/// Processes that carry the mark of a test, zombies apart.
pub(super) fn marked(mark: &str) -> Vec<i32> {
    let wanted = format!("TEST_MARK={mark}");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| carries(*pid, wanted.as_bytes()))
        .collect()
}

fn carries(pid: i32, wanted: &[u8]) -> bool {
    let environment = std::fs::read(Path::new("/proc").join(pid.to_string()).join("environ"));
    environment.is_ok_and(|text| text.split(|byte| *byte == 0).any(|pair| pair == wanted))
}

pub(super) fn describe(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!(
        "{pid}: {}",
        String::from_utf8_lossy(&line).replace('\0', " ")
    )
}

/// Ends what a failed test left; only what carries its mark.
pub(super) fn kill_marked(mark: &str) {
    within(Duration::from_secs(5), || {
        let left = marked(mark);
        for pid in &left {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        left.is_empty().then_some(())
    });
}
