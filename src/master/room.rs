//! Is there room for the descriptors of two generations?

use crate::config::Config;
use crate::process::nofile_limit;

/// What the master holds of one worker: its pidfd, its notify socket, the ends of its output, and one to spare.
const OF_A_WORKER: u64 = 5;
/// What it holds besides: its loop, its log, the control socket and its callers.
const OF_THE_MASTER: u64 = 64;

/// What to say when an upgrade of this config would run out of descriptors.
pub(super) fn shortage(config: &Config, listeners: usize) -> Option<String> {
    shortage_below(
        nofile_limit(),
        super::request::workers(config.app.workers),
        listeners,
    )
}

fn shortage_below(limit: u64, workers: u32, listeners: usize) -> Option<String> {
    let listeners = u64::from(u32::try_from(listeners).unwrap_or(u32::MAX));
    // During an upgrade both generations run.
    let needed = (2 * OF_A_WORKER * u64::from(workers)).saturating_add(OF_THE_MASTER + listeners);
    (limit < needed).then(|| {
        format!(
            "an upgrade will run out of descriptors: two generations of app.workers = {workers} need about \
             {needed} in the master, and its limit is {limit}; set LimitNOFILE={needed} in the unit, or \
             `ulimit -Hn {needed}` as root before the start"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_generations_must_fit() {
        assert_eq!(shortage_below(1024, 50, 2), None);
        let said = shortage_below(256, 50, 2).unwrap_or_default();
        for part in [
            "app.workers = 50 need about 566",
            "its limit is 256",
            "LimitNOFILE=566",
            "ulimit -Hn 566",
        ] {
            assert!(said.contains(part), "{part:?} is not in {said}");
        }
        assert_eq!(shortage_below(u64::MAX, u32::MAX, usize::MAX), None);
    }
}
