//! Keys that later versions bring: known, checked, and refused when set to anything but their
//! default, because a key that is silently ignored is a promise broken.

use std::time::Duration;

use super::super::key::{Key, later_key};
use super::super::kind::Kind;

const COMMAND: Kind = Kind::Words("[\"/usr/lib/web/hook\"]");
const DIALECTS: Kind = Kind::Words("[\"einhorn\"]");
pub(super) const ANY: Kind = Kind::Duration {
    min: Duration::ZERO,
};
const POSITIVE: Kind = Kind::Duration {
    min: Duration::from_millis(1),
};
pub(super) const COUNT: Kind = Kind::Number {
    min: 0,
    max: u32::MAX as u64,
};
pub(super) const SOME: Kind = Kind::Number {
    min: 1,
    max: u32::MAX as u64,
};

pub(super) const DIRECT: &str = "remove it; only route = \"direct\" exists yet, where the workers take the connections themselves";
const CGROUP: &str =
    "remove it; in the unit, MemoryMax=, CPUQuota= and TasksMax= bound the whole service";
const HOOK: &str =
    "remove it; run the command around `handover upgrade`, whose exit status tells how it went";
const HEALTH: &str = "remove it; app.watchdog replaces a worker that no longer answers";
const CANARY: &str = "remove it; upgrade.bake already undoes an upgrade whose workers die early";

pub(super) const KEYS: &[Key] = &[
    later_key!(
        "app.private",
        Kind::Choice(&["auto", "port", "socket", "fd"]),
        "auto",
        DIRECT,
        "Routed modes: where a worker listens for the router."
    ),
    later_key!(
        "app.dialects",
        DIALECTS,
        "[]",
        "remove it; a program that takes its sockets by LISTEN_FDS needs no dialect",
        "Environments of other managers, so that programs written for them run unmodified."
    ),
    // [health]
    later_key!(
        "health.check",
        Kind::Text,
        "",
        HEALTH,
        "A probe that a ready worker must go on answering: http:PATH or exec:COMMAND."
    ),
    later_key!(
        "health.interval",
        POSITIVE,
        "5s",
        HEALTH,
        "Time between probes."
    ),
    later_key!(
        "health.timeout",
        POSITIVE,
        "2s",
        HEALTH,
        "A probe without an answer by then has failed."
    ),
    later_key!(
        "health.failures",
        SOME,
        "3",
        HEALTH,
        "So many failures in a row: the worker is replaced."
    ),
    // [upgrade]
    later_key!(
        "upgrade.bake_max_errors",
        Kind::Percent,
        "1%",
        "remove it; errors are counted by the router, which does not exist yet",
        "Routed modes: a bake with a larger share of failed requests is rolled back."
    ),
    later_key!(
        "upgrade.strategy",
        Kind::Choice(&["all", "rolling"]),
        "all",
        "remove it; until then all workers of the new generation start at once",
        "Replace all workers at once, or a batch at a time."
    ),
    later_key!(
        "upgrade.batch",
        SOME,
        "1",
        "remove it; it belongs to strategy = \"rolling\"",
        "Rolling: workers replaced at a time."
    ),
    later_key!(
        "upgrade.canary",
        COUNT,
        "0",
        CANARY,
        "Workers of the new generation that serve beside the old one until promoted or aborted."
    ),
    later_key!(
        "upgrade.canary_timeout",
        ANY,
        "0s",
        CANARY,
        "A canary that nobody promoted by then is aborted; 0s: never."
    ),
    later_key!(
        "upgrade.on_change",
        Kind::Switch,
        "false",
        "remove it; run `handover upgrade` when the program changed",
        "Upgrade by itself when the pinned executable changes on disk."
    ),
    later_key!(
        "upgrade.fallback",
        Kind::Choice(&["none", "last-good"]),
        "none",
        "remove it; until then a release that cannot start at boot is an error",
        "At boot, start the last good release when the configured one cannot."
    ),
    // [drain]
    later_key!(
        "drain.delay",
        ANY,
        "0s",
        "remove it; take the machine out of the load balancer before `handover stop`",
        "On stop: how long listeners go on accepting while /readyz already says no."
    ),
    // [limits]
    later_key!(
        "limits.memory",
        Kind::Size {
            min: 1 << 20,
            max: u64::MAX - 1
        },
        "",
        CGROUP,
        "Memory of a worker in bytes (control group)."
    ),
    later_key!(
        "limits.cpu",
        Kind::Cpus,
        "",
        CGROUP,
        "CPU time of a worker, in CPUs (control group)."
    ),
    later_key!(
        "limits.pids",
        SOME,
        "",
        CGROUP,
        "Processes and threads of a worker (control group)."
    ),
    later_key!(
        "limits.best_effort",
        Kind::Switch,
        "false",
        "remove it; until then a limit that cannot be set is an error",
        "A limit that cannot be set is a warning instead of an error."
    ),
    // [hooks]
    later_key!(
        "hooks.pre_upgrade",
        COMMAND,
        "[]",
        HOOK,
        "Before an upgrade; a failure refuses it."
    ),
    later_key!(
        "hooks.post_ready",
        COMMAND,
        "[]",
        HOOK,
        "When the new generation is ready; a failure undoes the upgrade."
    ),
    later_key!(
        "hooks.post_drain",
        COMMAND,
        "[]",
        HOOK,
        "When the old generation has ended."
    ),
    later_key!(
        "hooks.on_failure",
        COMMAND,
        "[]",
        HOOK,
        "When an upgrade failed."
    ),
    later_key!(
        "hooks.session_end",
        COMMAND,
        "[]",
        HOOK,
        "When a session has ended."
    ),
];
