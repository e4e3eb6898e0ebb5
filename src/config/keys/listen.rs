//! Keys of a `[[listen]]`.

use std::time::Duration;

use super::super::key::{Applies, Key, listen_key};
use super::super::kind::Kind;

/// Times that the kernel counts in whole seconds.
const SECONDS: Kind = Kind::Duration {
    min: Duration::from_secs(1),
};
const BUFFER: Kind = Kind::Size {
    min: 2048,
    max: 1 << 30,
};

pub(super) const KEYS: &[Key] = &[
    listen_key!(
        "listen.name",
        name,
        Kind::Name,
        "",
        "What LISTEN_FDNAMES calls it; else listen-N, N from 0 by position."
    )
    .applying(Applies::Release),
    listen_key!(
        "listen.address",
        address,
        Kind::Address,
        "",
        "HOST:PORT, :PORT (both families), [V6]:PORT, unix:PATH, unix:@ABSTRACT, udp:HOST:PORT or fd:NAME (one that systemd passes)."
    )
    .applying(Applies::Release),
    listen_key!(
        "listen.backlog",
        backlog,
        Kind::Number {
            min: 1,
            max: i32::MAX as u64
        },
        "4096",
        "Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."
    )
    .applying(Applies::Live),
    listen_key!(
        "listen.nonblocking",
        nonblocking,
        Kind::Switch,
        "false",
        "O_NONBLOCK, set once when the socket is made; all generations share it."
    ),
    listen_key!(
        "listen.ready",
        ready,
        Kind::Switch,
        "true",
        "Must a worker wait on it to count as ready?"
    )
    .applying(Applies::Release),
    listen_key!(
        "listen.reuse_port",
        reuse_port,
        Kind::Switch,
        "false",
        "Another process may bind the same address (SO_REUSEPORT)."
    ),
    listen_key!(
        "listen.only_v6",
        only_v6,
        Kind::Switch,
        "",
        "IPv6 only, or both families on one socket (IPV6_V6ONLY)."
    ),
    listen_key!(
        "listen.nodelay",
        nodelay,
        Kind::Switch,
        "false",
        "Send small segments at once (TCP_NODELAY)."
    ),
    listen_key!(
        "listen.keepalive",
        keepalive,
        SECONDS,
        "",
        "TCP keep-alive after this much silence, in whole seconds."
    ),
    listen_key!(
        "listen.receive_buffer",
        receive_buffer,
        BUFFER,
        "",
        "Receive buffer in bytes (SO_RCVBUF)."
    ),
    listen_key!(
        "listen.send_buffer",
        send_buffer,
        BUFFER,
        "",
        "Send buffer in bytes (SO_SNDBUF)."
    ),
    listen_key!(
        "listen.defer_accept",
        defer_accept,
        SECONDS,
        "",
        "Hand a connection out when its first bytes came, or after this, in whole seconds (TCP_DEFER_ACCEPT)."
    ),
    listen_key!(
        "listen.fastopen",
        fastopen,
        Kind::Number {
            min: 1,
            max: 65_535
        },
        "",
        "Connections that may wait with data in their first packet (TCP_FASTOPEN)."
    ),
    listen_key!(
        "listen.freebind",
        freebind,
        Kind::Switch,
        "false",
        "Bind an address that does not exist yet (IP_FREEBIND)."
    ),
    listen_key!(
        "listen.transparent",
        transparent,
        Kind::Switch,
        "false",
        "Bind an address that is not ours (IP_TRANSPARENT; needs CAP_NET_ADMIN)."
    ),
    listen_key!(
        "listen.mark",
        mark,
        Kind::Number {
            min: 0,
            max: u32::MAX as u64
        },
        "",
        "Firewall mark (SO_MARK; needs CAP_NET_ADMIN)."
    ),
    listen_key!(
        "listen.mode",
        mode,
        Kind::Mode { max: 0o777 },
        "",
        "Permissions of a unix path, octal; else 0666 less the umask."
    )
    .applying(Applies::Live),
    listen_key!(
        "listen.user",
        user,
        Kind::Account,
        "",
        "Owner of a unix path."
    )
    .applying(Applies::Live),
    listen_key!(
        "listen.group",
        group,
        Kind::Account,
        "",
        "Group of a unix path."
    )
    .applying(Applies::Live),
];
