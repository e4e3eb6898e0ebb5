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
pub(super) const COUNT: Kind = Kind::Number {
    min: 0,
    max: u32::MAX as u64,
};
pub(super) const SOME: Kind = Kind::Number {
    min: 1,
    max: u32::MAX as u64,
};

pub(super) const DIRECT: &str = "remove it; only route = \"direct\" exists yet, where the workers take the connections themselves";
const HOOK: &str =
    "remove it; run the command around `handover upgrade`, whose exit status tells how it went";

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
    // [upgrade]
    later_key!(
        "upgrade.bake_max_errors",
        Kind::Percent,
        "1%",
        "remove it; errors are counted by the router, which does not exist yet",
        "Routed modes: a bake with a larger share of failed requests is rolled back."
    ),
    later_key!(
        "upgrade.fallback",
        Kind::Choice(&["none", "last-good"]),
        "none",
        "remove it; until then a release that cannot start at boot is an error",
        "At boot, start the last good release when the configured one cannot."
    ),
    // [hooks]
    later_key!(
        "hooks.session_end",
        COMMAND,
        "[]",
        HOOK,
        "When a session has ended."
    ),
];
