//! Keys of the router and of sessions, which a later version brings; see [`super::later`].

use super::super::key::{Key, later_key};
use super::super::kind::Kind;
use super::later::{ANY, COUNT, DIRECT, SOME};

const NETWORKS: Kind = Kind::Words("[\"10.0.0.0/8\"]");
const SESSION_KEYS: Kind = Kind::Words("[\"cookie:id\"]");
const TLS: &str = "remove it; the application, or a proxy in front, speaks TLS";

pub(super) const KEYS: &[Key] = &[
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
