//! Keys that later versions bring: known, checked, and refused when set to anything but their
//! default, because a key that is silently ignored is a promise broken.

use std::time::Duration;

use super::super::key::{Key, later_key};
use super::super::kind::Kind;

const COMMAND: Kind = Kind::Words("[\"/usr/lib/web/hook\"]");
const DIALECTS: Kind = Kind::Words("[\"einhorn\"]");
const NETWORKS: Kind = Kind::Words("[\"10.0.0.0/8\"]");
const SESSION_KEYS: Kind = Kind::Words("[\"cookie:id\"]");
const ANY: Kind = Kind::Duration {
    min: Duration::ZERO,
};
const POSITIVE: Kind = Kind::Duration {
    min: Duration::from_millis(1),
};
const COUNT: Kind = Kind::Number {
    min: 0,
    max: u32::MAX as u64,
};
const SOME: Kind = Kind::Number {
    min: 1,
    max: u32::MAX as u64,
};

const DIRECT: &str = "remove it; only route = \"direct\" exists yet, where the workers take the connections themselves";
const CGROUP: &str =
    "remove it; in the unit, MemoryMax=, CPUQuota= and TasksMax= bound the whole service";
const HOOK: &str =
    "remove it; run the command around `handover upgrade`, whose exit status tells how it went";
const HEALTH: &str = "remove it; app.watchdog replaces a worker that no longer answers";
const CANARY: &str = "remove it; upgrade.bake already undoes an upgrade whose workers die early";
const TLS: &str = "remove it; the application, or a proxy in front, speaks TLS";

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
    // [admin]
    later_key!(
        "admin.listen",
        Kind::Address,
        "",
        "remove it; /metrics, /healthz and /readyz answer on the control socket",
        "Read-only /metrics, /healthz and /readyz at this TCP address."
    ),
    // [router]
    later_key!(
        "router.max_connections",
        SOME,
        "65536",
        DIRECT,
        "Client connections at once."
    ),
    later_key!(
        "router.max_header_bytes",
        Kind::Number {
            min: 1024,
            max: 1 << 20
        },
        "32768",
        DIRECT,
        "Size of a request's head in bytes."
    ),
    later_key!(
        "router.head_timeout",
        ANY,
        "10s",
        DIRECT,
        "From the client: time for a request's head."
    ),
    later_key!(
        "router.body_timeout",
        ANY,
        "60s",
        DIRECT,
        "From the client: time between two parts of a body."
    ),
    later_key!(
        "router.keepalive_timeout",
        ANY,
        "60s",
        DIRECT,
        "From the client: time between two requests."
    ),
    later_key!(
        "router.connect_timeout",
        ANY,
        "1s",
        DIRECT,
        "To the worker: time to connect."
    ),
    later_key!(
        "router.response_timeout",
        ANY,
        "60s",
        DIRECT,
        "To the worker: time to the head of an answer."
    ),
    later_key!(
        "router.stream_timeout",
        ANY,
        "0s",
        DIRECT,
        "To the worker: time between two parts of an answer; 0s: none."
    ),
    later_key!(
        "router.tunnel_timeout",
        ANY,
        "1h",
        DIRECT,
        "Silence after which a tunnel (WebSocket, CONNECT) is closed; 0s: none."
    ),
    later_key!(
        "router.retries",
        COUNT,
        "2",
        DIRECT,
        "Other workers that are tried when one cannot be reached."
    ),
    later_key!(
        "router.queue",
        COUNT,
        "128",
        DIRECT,
        "Requests that may wait for a worker."
    ),
    later_key!(
        "router.slow_start",
        ANY,
        "0s",
        DIRECT,
        "Time in which a new worker's share grows to its full size."
    ),
    later_key!(
        "router.redirect_https",
        Kind::Text,
        "",
        DIRECT,
        "Where plain HTTP is redirected to."
    ),
    later_key!(
        "router.forwarded",
        Kind::Choice(&["x-forwarded", "forwarded", "none"]),
        "x-forwarded",
        DIRECT,
        "Which headers tell the worker about the client."
    ),
    later_key!(
        "router.trusted_proxies",
        NETWORKS,
        "[\"127.0.0.0/8\"]",
        DIRECT,
        "Networks whose forwarding headers are believed."
    ),
    later_key!(
        "router.proxy_protocol",
        Kind::Switch,
        "false",
        DIRECT,
        "Clients' connections begin with a PROXY header."
    ),
    later_key!(
        "router.tls.certificate",
        Kind::Path,
        "",
        TLS,
        "Certificate chain, PEM."
    ),
    later_key!("router.tls.key", Kind::Path, "", TLS, "Private key, PEM."),
    // [sessions]
    later_key!(
        "sessions.key",
        SESSION_KEYS,
        "[]",
        DIRECT,
        "What makes a session: cookie:NAME, header:NAME, query:NAME, path:N, ip; tried in order."
    ),
    later_key!(
        "sessions.missing",
        Kind::Choice(&["auto", "mint", "refuse"]),
        "auto",
        DIRECT,
        "A request without a key."
    ),
    later_key!(
        "sessions.unknown",
        Kind::Choice(&["create", "refuse"]),
        "create",
        DIRECT,
        "A request with a key that nobody has seen."
    ),
    later_key!(
        "sessions.max_workers",
        SOME,
        "16",
        DIRECT,
        "Workers at once: starting, bound, warm and draining."
    ),
    later_key!(
        "sessions.per_worker",
        SOME,
        "1",
        DIRECT,
        "Sessions of a worker."
    ),
    later_key!(
        "sessions.reuse",
        Kind::Switch,
        "false",
        DIRECT,
        "May a worker serve another session after one ended?"
    ),
    later_key!(
        "sessions.max_per_address",
        COUNT,
        "0",
        DIRECT,
        "Sessions that one client address may hold; 0: no bound."
    ),
    later_key!(
        "sessions.warm",
        COUNT,
        "2",
        DIRECT,
        "Workers started ahead of need."
    ),
    later_key!(
        "sessions.queue",
        COUNT,
        "64",
        DIRECT,
        "First requests that may wait for a worker."
    ),
    later_key!(
        "sessions.queue_timeout",
        ANY,
        "30s",
        DIRECT,
        "How long they wait."
    ),
    later_key!(
        "sessions.idle_timeout",
        ANY,
        "10m",
        DIRECT,
        "A session without a request for this long is ended."
    ),
    later_key!(
        "sessions.max_age",
        ANY,
        "24h",
        DIRECT,
        "A session this old is ended; 0s: never."
    ),
    later_key!(
        "sessions.request_timeout",
        ANY,
        "0s",
        DIRECT,
        "A request that takes longer ends its worker; 0s: none."
    ),
    later_key!(
        "sessions.on_upgrade",
        Kind::Choice(&["finish", "replace"]),
        "finish",
        DIRECT,
        "Bound sessions stay on their worker, or move when idle."
    ),
    later_key!(
        "sessions.on_loss",
        Kind::Choice(&["tell", "recreate"]),
        "tell",
        DIRECT,
        "A session whose worker died: say so once (410), or start anew."
    ),
    later_key!(
        "sessions.client_supplied",
        Kind::Switch,
        "false",
        DIRECT,
        "Header keys count from any client, not only from trusted proxies."
    ),
];
