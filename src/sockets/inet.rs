//! Binding TCP and UDP sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket};

use super::address::resolve;
use super::error::Fault;
use super::{holder, options};
use crate::config::{Host, HostPort, Listen};

/// How often another port is tried when a free one was taken while it was being pinned.
const PIN_ATTEMPTS_MAX: usize = 8;

/// Binds `at`, and listens when it is TCP. `Host::Any` is dual-stack `[::]`, else 0.0.0.0; of a
/// name's addresses the first that can be bound.
pub(super) fn open(
    entry: &Listen,
    at: &HostPort,
    datagram: bool,
    warnings: &mut Vec<String>,
) -> Result<Socket, Fault> {
    match &at.host {
        Host::Any => open_any(entry, at.port, datagram, warnings),
        Host::Ip(ip) => {
            let at = SocketAddr::new(*ip, at.port);
            open_at(&dual_stack(entry, at), at, datagram, warnings)
        }
        Host::Name(name) => open_name(entry, name, &resolve(at)?, datagram, warnings),
    }
}

/// Binds exactly `at`, and listens when it is TCP. Port 0 becomes a number that stays.
pub(super) fn open_at(
    entry: &Listen,
    at: SocketAddr,
    datagram: bool,
    warnings: &mut Vec<String>,
) -> Result<Socket, Fault> {
    let socket = match (at.port(), datagram) {
        (0, false) => pinned(entry, at, warnings)?,
        _ => bound(entry, at, datagram, warnings)?,
    };
    if !datagram {
        socket
            .listen(options::backlog(entry))
            .map_err(|e| fault("listen", e, at, datagram))?;
    }
    Ok(socket)
}

/// A UDP socket at `at` beside `broken`, which workers still hold there.
///
/// Two sockets on one port need SO_REUSEADDR on both; the newer one gets the datagrams. The broken
/// one may be changed, it serves nobody; the new one keeps thieves out as soon as it is bound.
pub(super) fn open_beside(
    entry: &Listen,
    at: SocketAddr,
    broken: &SockRef<'_>,
    warnings: &mut Vec<String>,
) -> Result<Socket, Fault> {
    let socket = options::inet_socket(entry, Domain::for_address(at), true, warnings)?;
    let reuse = Fault::os("SO_REUSEADDR");
    broken
        .set_reuse_address(true)
        .and_then(|()| socket.set_reuse_address(true))
        .map_err(reuse)?;
    socket
        .bind(&at.into())
        .map_err(|e| fault("bind", e, at, true))?;
    socket
        .set_reuse_address(false)
        .map_err(Fault::os("SO_REUSEADDR"))?;
    Ok(socket)
}

/// The wildcard of IPv6 takes IPv4 too unless the entry says otherwise, whatever
/// `net.ipv6.bindv6only` is.
fn dual_stack(entry: &Listen, at: SocketAddr) -> Listen {
    let mut entry = entry.clone();
    if at.is_ipv6() && at.ip().is_unspecified() {
        entry.only_v6 = Some(entry.only_v6.unwrap_or(false));
    }
    entry
}

fn open_any(
    entry: &Listen,
    port: u16,
    datagram: bool,
    warnings: &mut Vec<String>,
) -> Result<Socket, Fault> {
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let opened = open_at(&dual_stack(entry, v6), v6, datagram, warnings);
    match opened {
        Err(Fault::NoIpv6 | Fault::NoSuchAddress) if entry.only_v6 != Some(true) => {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            open_at(entry, v4, datagram, warnings)
        }
        opened => opened,
    }
}

fn open_name(
    entry: &Listen,
    name: &str,
    all: &[SocketAddr],
    datagram: bool,
    warnings: &mut Vec<String>,
) -> Result<Socket, Fault> {
    let mut first_fault = None;
    for at in all {
        match open_at(entry, *at, datagram, warnings) {
            Ok(socket) => {
                if all.len() > 1 {
                    let ips: Vec<String> = all.iter().map(|at| at.ip().to_string()).collect();
                    warnings.push(format!(
                        "listener {}: {name} is {}; only {} is bound; give each address an entry \
                         of its own to serve all",
                        entry.name,
                        ips.join(" and "),
                        at.ip()
                    ));
                }
                return Ok(socket);
            }
            Err(fault) => first_fault = first_fault.or(Some(fault)),
        }
    }
    Err(first_fault.unwrap_or_else(|| Fault::Unresolved {
        host: name.to_owned(),
        why: "it has no address".to_owned(),
    }))
}

fn bound(
    entry: &Listen,
    at: SocketAddr,
    datagram: bool,
    warnings: &mut Vec<String>,
) -> Result<Socket, Fault> {
    let socket = options::inet_socket(entry, Domain::for_address(at), datagram, warnings)?;
    socket
        .bind(&at.into())
        .map_err(|e| fault("bind", e, at, datagram))?;
    Ok(socket)
}

/// A TCP socket bound to a port that the kernel chose, but by its number.
///
/// A socket that was bound to port 0 does not hold its number through shutdown(2): a later
/// listen(2) silently moves it to another (FAILURES 3). So the number is found with one socket and
/// bound by a second while the first still holds it: both have SO_REUSEADDR and neither listens.
fn pinned(entry: &Listen, at: SocketAddr, warnings: &mut Vec<String>) -> Result<Socket, Fault> {
    let mut attempt = 1;
    loop {
        let scout = bound(entry, at, false, &mut Vec::new())?;
        let chosen = scout.local_addr().map_err(Fault::os("getsockname"))?;
        let numbered = SocketAddr::new(at.ip(), chosen.as_socket().map_or(0, |at| at.port()));
        match bound(entry, numbered, false, warnings) {
            Err(Fault::InUse(_)) if attempt < PIN_ATTEMPTS_MAX => attempt += 1,
            done => return done,
        }
    }
}

fn fault(call: &'static str, error: io::Error, at: SocketAddr, datagram: bool) -> Fault {
    match Errno::from_io_error(&error) {
        Some(Errno::ADDRINUSE) => Fault::InUse(holder::of_port(at, datagram)),
        Some(Errno::ACCESS) if at.port() != 0 => Fault::Privileged(at.port()),
        Some(Errno::ADDRNOTAVAIL) => Fault::NoSuchAddress,
        Some(Errno::AFNOSUPPORT) if at.is_ipv6() => Fault::NoIpv6,
        _ => Fault::os(call)(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::config::Address;

    fn entry(host: Host, port: u16) -> (Listen, HostPort) {
        let at = HostPort { host, port };
        (Listen::new("http", Address::Tcp(at.clone())), at)
    }

    fn try_open(host: Host, port: u16) -> Result<(SocketAddr, Socket, Vec<String>), Fault> {
        let (entry, at) = entry(host, port);
        let mut warnings = Vec::new();
        let socket = open(&entry, &at, false, &mut warnings)?;
        let local = socket.local_addr().unwrap().as_socket().unwrap();
        Ok((local, socket, warnings))
    }

    fn has_ipv6() -> bool {
        TcpListener::bind("[::1]:0").is_ok()
    }

    #[test]
    fn f11_any_is_dual_stack_and_both_families_connect() {
        let (local, _socket, _) = try_open(Host::Any, 0).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, local.port())).unwrap();
        if has_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, local.port())).unwrap();
        }
    }

    #[test]
    fn f11_the_wildcard_of_ipv6_takes_ipv4_too() {
        if has_ipv6() {
            let (local, _socket, _) = try_open(Host::Ip("::".parse().unwrap()), 0).unwrap();
            TcpStream::connect((Ipv4Addr::LOCALHOST, local.port())).unwrap();
        }
    }

    #[test]
    fn f11_only_v6_leaves_the_port_free_for_v4() {
        if !has_ipv6() {
            return;
        }
        let (mut entry, at) = entry(Host::Any, 0);
        entry.only_v6 = Some(true);
        let v6 = open(&entry, &at, false, &mut Vec::new()).unwrap();
        let port = v6.local_addr().unwrap().as_socket().unwrap().port();
        try_open(Host::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port).unwrap();
    }

    #[test]
    fn f11_port_0_keeps_its_number_through_shutdown_and_listen() {
        let (local, socket, _) = try_open(Host::Ip(Ipv4Addr::LOCALHOST.into()), 0).unwrap();
        socket.shutdown(std::net::Shutdown::Both).unwrap();
        socket.listen(16).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket(), Some(local));
        TcpStream::connect(local).unwrap();
    }

    #[test]
    fn a_name_is_resolved_and_several_addresses_are_said() {
        let (local, _socket, warnings) = try_open(Host::Name("localhost".into()), 0).unwrap();
        assert!(local.ip().is_loopback());
        let (entry, _) = entry(Host::Name("two".into()), 0);
        let all = [
            "127.0.0.1:0".parse().unwrap(),
            "127.0.0.2:0".parse().unwrap(),
        ];
        let mut more = warnings;
        open_name(&entry, "two", &all, false, &mut more).unwrap();
        assert!(
            more.iter()
                .any(|w| w.contains("127.0.0.1 and 127.0.0.2; only 127.0.0.1")),
            "{more:?}"
        );
    }

    #[test]
    fn f05_the_holder_of_the_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let fault = try_open(Host::Ip(Ipv4Addr::LOCALHOST.into()), port).unwrap_err();
        let me = format!("(pid {})", std::process::id());
        assert!(fault.to_string().contains(&me), "{fault}");
        let fault = try_open(Host::Any, port).unwrap_err().to_string();
        assert!(
            fault.contains(&format!("{me} on 127.0.0.1:{port}")),
            "{fault}"
        );
    }

    #[test]
    fn udp_in_use_is_named_too() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (entry, at) = entry(
            Host::Ip(Ipv4Addr::LOCALHOST.into()),
            taken.local_addr().unwrap().port(),
        );
        let fault = open(&entry, &at, true, &mut Vec::new())
            .unwrap_err()
            .to_string();
        assert!(
            fault.contains(&format!("(pid {})", std::process::id())),
            "{fault}"
        );
    }

    #[test]
    fn an_address_of_another_machine_is_explained_and_freebind_binds_it() {
        let foreign = Host::Ip("192.0.2.1".parse().unwrap());
        let fault = try_open(foreign.clone(), 0).unwrap_err();
        assert!(matches!(fault, Fault::NoSuchAddress), "{fault}");
        let (mut entry, at) = entry(foreign, 0);
        entry.freebind = true;
        open(&entry, &at, false, &mut Vec::new()).unwrap();
    }

    #[test]
    fn a_privileged_port_says_who_may_bind_it() {
        let at: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let text = fault("bind", Errno::ACCESS.into(), at, false).to_string();
        assert!(
            text.contains("CAP_NET_BIND_SERVICE") && text.contains("ListenStream=80"),
            "{text}"
        );
        let text = fault("bind", Errno::MFILE.into(), at, false).to_string();
        assert!(text.contains("LimitNOFILE"), "{text}");
    }
}
