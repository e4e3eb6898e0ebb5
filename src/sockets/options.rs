//! Socket options, set exactly once: on a socket that nobody else holds yet.
//!
//! They belong to the open file description, which every generation shares (FAILURES 4): after
//! creation nothing in this room changes one.

use std::io;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{SetSockOpt, setsockopt};
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::error::Fault;
use crate::config::Listen;

// tcp(7); neither socket2 nor rustix has these two.
sockopt_impl!(
    DeferAccept,
    Both,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    usize
);
sockopt_impl!(FastOpen, Both, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, usize);

/// A new stream or datagram socket for IPv4 or IPv6 with every option of `entry` that has to be
/// set before bind(2). Warnings are added to `warnings`.
pub(super) fn inet_socket(
    entry: &Listen,
    domain: Domain,
    datagram: bool,
    warnings: &mut Vec<String>,
) -> Result<Socket, Fault> {
    let (kind, protocol) = match datagram {
        true => (Type::DGRAM, Protocol::UDP),
        false => (Type::STREAM, Protocol::TCP),
    };
    let v6 = domain == Domain::IPV6;
    let socket = match Socket::new(domain, kind, Some(protocol)) {
        Err(error) if v6 && error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            return Err(Fault::NoIpv6);
        }
        made => made.map_err(Fault::os("socket"))?,
    };
    set("nonblocking", socket.set_nonblocking(entry.nonblocking))?;
    if v6 && let Some(only) = entry.only_v6 {
        set("only_v6", socket.set_only_v6(only))?;
    }
    if entry.reuse_port {
        set("reuse_port", socket.set_reuse_port(true))?;
    }
    if entry.freebind {
        set(
            "freebind",
            if v6 {
                socket.set_freebind_v6(true)
            } else {
                socket.set_freebind_v4(true)
            },
        )?;
    }
    if entry.transparent {
        let done = if v6 {
            socket.set_ip_transparent_v6(true)
        } else {
            socket.set_ip_transparent_v4(true)
        };
        set("transparent", done)?;
    }
    if let Some(mark) = entry.mark {
        set("mark", socket.set_mark(mark))?;
    }
    buffers(entry, &socket, warnings)?;
    if !datagram {
        stream_options(entry, &socket)?;
    }
    Ok(socket)
}

fn stream_options(entry: &Listen, socket: &Socket) -> Result<(), Fault> {
    // A predecessor's connections in TIME_WAIT must not keep the port from us.
    set("reuse_address", socket.set_reuse_address(true))?;
    if entry.nodelay {
        set("nodelay", socket.set_tcp_nodelay(true))?;
    }
    if let Some(silence) = entry.keepalive {
        set(
            "keepalive",
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(silence)),
        )?;
    }
    if let Some(wait) = entry.defer_accept {
        set(
            "defer_accept",
            set_number(socket, DeferAccept, whole_seconds(wait)),
        )?;
    }
    if let Some(queue) = entry.fastopen {
        set("fastopen", set_number(socket, FastOpen, queue as usize))?;
    }
    Ok(())
}

/// The options that a unix socket has too.
pub(super) fn buffers(
    entry: &Listen,
    socket: &Socket,
    warnings: &mut Vec<String>,
) -> Result<(), Fault> {
    let mut capped = |key: &str, asked: u32, got: io::Result<usize>, sysctl: &str| {
        // The kernel doubles what is asked, for its own book-keeping (socket(7)).
        if let Ok(bytes) = got.map(|doubled| doubled / 2)
            && bytes < asked as usize
        {
            warnings.push(format!(
                "listener {}: {key} = {asked} is capped at {bytes} bytes by {sysctl}; raise that",
                entry.name
            ));
        }
    };
    if let Some(bytes) = entry.receive_buffer {
        set(
            "receive_buffer",
            socket.set_recv_buffer_size(bytes as usize),
        )?;
        capped(
            "receive_buffer",
            bytes,
            socket.recv_buffer_size(),
            "net.core.rmem_max",
        );
    }
    if let Some(bytes) = entry.send_buffer {
        set("send_buffer", socket.set_send_buffer_size(bytes as usize))?;
        capped(
            "send_buffer",
            bytes,
            socket.send_buffer_size(),
            "net.core.wmem_max",
        );
    }
    Ok(())
}

/// The backlog as listen(2) takes it.
pub(super) fn backlog(entry: &Listen) -> i32 {
    i32::try_from(entry.backlog).unwrap_or(i32::MAX)
}

/// FAILURES 10: during a slow swap the backlog is the buffer, so a silent cap is worth a word.
pub(super) fn backlog_warning(entry: &Listen) -> Option<String> {
    backlog_capped(entry, somaxconn())
}

/// What the kernel caps every backlog at; no cap where that cannot be read.
pub(super) fn somaxconn() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    text.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(u32::MAX)
}

fn backlog_capped(entry: &Listen, somaxconn: u32) -> Option<String> {
    (entry.backlog > somaxconn).then(|| {
        format!(
            "listener {}: backlog = {} is capped at {somaxconn} by net.core.somaxconn; \
             `sysctl -w net.core.somaxconn={}` raises that",
            entry.name, entry.backlog, entry.backlog
        )
    })
}

fn set(option: &'static str, done: io::Result<()>) -> Result<(), Fault> {
    done.map_err(|error| Fault::Option { option, error })
}

fn set_number(
    socket: &Socket,
    option: impl SetSockOpt<Val = usize>,
    value: usize,
) -> io::Result<()> {
    // A larger one would wrap: the kernel takes a C int.
    let value = value.min(i32::MAX as usize);
    setsockopt(socket, option, &value).map_err(io::Error::from)
}

/// At least one: 0 would switch the option off.
fn whole_seconds(time: Duration) -> usize {
    usize::try_from(time.as_secs()).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;

    use super::*;
    use crate::config::{Address, Host, HostPort};

    fn entry() -> Listen {
        Listen::new(
            "http",
            Address::Tcp(HostPort {
                host: Host::Any,
                port: 0,
            }),
        )
    }

    #[test]
    fn f10_a_backlog_above_somaxconn_is_said_with_the_number() {
        let mut entry = entry();
        entry.backlog = 4097;
        let warning = backlog_capped(&entry, 4096).unwrap();
        assert!(
            warning.contains("4097") && warning.contains("capped at 4096"),
            "{warning}"
        );
        assert_eq!(backlog_capped(&entry, 4097), None);
        entry.backlog = u32::MAX;
        assert_eq!(backlog(&entry), i32::MAX);
    }

    #[test]
    fn every_option_reaches_the_socket() {
        let mut entry = entry();
        entry.nonblocking = true;
        entry.reuse_port = true;
        entry.nodelay = true;
        entry.keepalive = Some(Duration::from_secs(77));
        entry.receive_buffer = Some(8192);
        entry.send_buffer = Some(16384);
        entry.defer_accept = Some(Duration::from_millis(1));
        entry.fastopen = Some(16);
        entry.freebind = true;
        let mut warnings = Vec::new();
        let socket = inet_socket(&entry, Domain::IPV4, false, &mut warnings).unwrap();
        assert!(socket.nonblocking().unwrap());
        assert!(socket.reuse_address().unwrap());
        assert!(socket.reuse_port().unwrap());
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(
            socket.tcp_keepalive_time().unwrap(),
            Duration::from_secs(77)
        );
        assert_eq!(socket.recv_buffer_size().unwrap(), 2 * 8192);
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * 16384);
        assert!(socket.freebind_v4().unwrap());
        assert!(getsockopt(&socket, DeferAccept).unwrap() > 0);
        assert_eq!(getsockopt(&socket, FastOpen).unwrap(), 16);
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn a_buffer_that_the_kernel_caps_is_a_warning() {
        let mut entry = entry();
        entry.receive_buffer = Some(1 << 30);
        let mut warnings = Vec::new();
        inet_socket(&entry, Domain::IPV4, true, &mut warnings).unwrap();
        assert!(
            warnings.iter().any(|w| w.contains("net.core.rmem_max")),
            "{warnings:?}"
        );
    }
}
