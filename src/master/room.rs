//! Is there room for the descriptors of two generations?

use crate::config::Config;
use crate::control::DESCRIPTORS_RESERVED;
use crate::process::nofile_limit;

/// What the master holds of one worker: its pidfd, its notify socket, the ends of its output, and one to spare.
const OF_A_WORKER: u64 = 5;
/// What it holds besides: its loop, its log, the control socket and its callers.
const OF_THE_MASTER: u64 = 64;
/// What the launcher has of its own while it passes others: the standard ones, its socket, the request, the program, the
/// directory, and some to spare.
const OF_THE_LAUNCHER: u64 = 16;

/// What to say when an upgrade of this config would run out of descriptors.
pub(super) fn shortage(config: &Config, listeners: usize) -> Option<String> {
    shortage_below(
        nofile_limit(),
        super::request::workers(config.app.workers),
        listeners,
    )
}

fn shortage_below(limit: u64, workers: u32, listeners: usize) -> Option<String> {
    let needed = needed(workers, listeners);
    (limit < needed).then(|| {
        format!(
            "an upgrade will run out of descriptors: two generations of app.workers = {workers} need about \
             {needed} in the master, and its limit is {limit}; set LimitNOFILE={needed} in the unit, or \
             `ulimit -Hn {needed}` as root before the start"
        )
    })
}

/// During an upgrade both generations run.
fn needed(workers: u32, listeners: usize) -> u64 {
    let listeners = u64::from(u32::try_from(listeners).unwrap_or(u32::MAX));
    (2 * OF_A_WORKER * u64::from(workers)).saturating_add(OF_THE_MASTER + listeners)
}

/// How many descriptors workers may store for their successors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// In one store: all of it goes through the launcher to one worker.
    pub(super) of_one: usize,
    /// In all stores, with the copies that an upgrade makes.
    pub(super) in_all: usize,
    /// What bounds it and how there is more, for people.
    pub(super) why: String,
}

/// `limit` is the master's RLIMIT_NOFILE, `own` the soft one that the worker will have.
pub(super) fn store_room(limit: u64, own: u64, workers: u32, listeners: usize) -> Room {
    let kept = needed(workers, listeners).saturating_add(DESCRIPTORS_RESERVED.min(limit / 8));
    let listeners = u64::from(u32::try_from(listeners).unwrap_or(u32::MAX));
    // Each is moved out of the way before it gets its number.
    let passed = (limit.saturating_sub(OF_THE_LAUNCHER) / 2).saturating_sub(listeners);
    let in_all = limit.saturating_sub(kept);
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let why = match own / 2 < passed.min(in_all / 2) {
        true => format!(
            "a worker may have {own} descriptors, and half of them are its own; raise limits.nofile or \
             LimitNOFILE= of the unit (ulimit -n)"
        ),
        false => format!(
            "handover may have {limit} descriptors and keeps {kept} for two generations and its callers; set a \
             higher LimitNOFILE= in the unit, or `ulimit -Hn` as root before the start"
        ),
    };
    Room {
        of_one: whole(passed.min(own / 2)),
        in_all: whole(in_all),
        why,
    }
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

    #[test]
    fn what_is_stored_leaves_room_for_two_generations_callers_and_the_launcher() {
        for (limit, own, expected) in [
            (256, 256, (118, 148)),
            (1024, 1024, (502, 884)),
            (524_288, 1024, (512, 524_148)),
            (1024, 100, (50, 884)),
            (64, 64, (22, 0)),
            (8, 8, (0, 0)),
        ] {
            let room = store_room(limit, own, 1, 2);
            assert_eq!((room.of_one, room.in_all), expected, "{limit} {own}");
        }
        let why = store_room(256, 256, 1, 2).why;
        for part in ["may have 256", "keeps 108", "LimitNOFILE="] {
            assert!(why.contains(part), "{part:?} is not in {why}");
        }
        let why = store_room(524_288, 64, 1, 2).why;
        assert!(why.contains("limits.nofile"), "{why}");
        store_room(u64::MAX, u64::MAX, u32::MAX, usize::MAX);
    }
}
