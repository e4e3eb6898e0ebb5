//! The real address of a socket (getsockname(2)), and whether it is what an entry asks for.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use socket2::SockRef;

use super::error::Fault;
use crate::config::{Address, Host, HostPort};

/// Where a socket is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Local {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(PathBuf),
    Abstract(Vec<u8>),
    /// bound to nothing (a unix socket without a name)
    Nowhere,
}

impl Local {
    pub(super) fn of(fd: impl AsFd, datagram: bool) -> io::Result<Local> {
        let address = SockRef::from(&fd.as_fd()).local_addr()?;
        if let Some(at) = address.as_socket() {
            return Ok(if datagram {
                Local::Udp(at)
            } else {
                Local::Tcp(at)
            });
        }
        if let Some(path) = address.as_pathname() {
            return Ok(Local::Unix(path.to_owned()));
        }
        Ok(match address.as_abstract_namespace() {
            Some(name) => Local::Abstract(name.to_owned()),
            None => Local::Nowhere,
        })
    }

    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Local::Tcp(at) | Local::Udp(at) => Some(at.port()),
            Local::Unix(_) | Local::Abstract(_) | Local::Nowhere => None,
        }
    }

    /// Whether a socket bound here is exactly what `wanted` asks for. A host name is none: looking it up may take
    /// long.
    pub(super) fn is(&self, wanted: &Address, dual_stack: bool) -> bool {
        match (self, wanted) {
            (Local::Tcp(held), Address::Tcp(at)) | (Local::Udp(held), Address::Udp(at)) => {
                let same_host = match &at.host {
                    Host::Any => held.ip().is_unspecified() && (held.is_ipv4() || dual_stack),
                    Host::Ip(ip) => held.ip() == *ip,
                    Host::Name(_) => false,
                };
                held.port() == at.port && same_host
            }
            (Local::Unix(held), Address::Unix(path)) => same_path(held, path),
            (Local::Abstract(held), Address::Abstract(name)) => held == name,
            _ => false,
        }
    }

    /// Whether a socket bound here is what `wanted` asks for: the same address, or a wildcard that
    /// covers the wildcard asked for (systemd's `ListenStream=8080` is `[::]:8080`, dual-stack).
    /// `dual_stack`: the socket is IPv6 and takes IPv4 too.
    pub(super) fn serves(&self, wanted: &Address, dual_stack: bool) -> bool {
        match (self, wanted) {
            (Local::Tcp(held), Address::Tcp(at)) | (Local::Udp(held), Address::Udp(at)) => {
                covers(*held, at, dual_stack)
            }
            (Local::Unix(held), Address::Unix(path)) => same_path(held, path),
            (Local::Abstract(held), Address::Abstract(name)) => held == name,
            _ => false,
        }
    }
}

impl fmt::Display for Local {
    /// As it would be written in the config.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Local::Tcp(at) => at.fmt(f),
            Local::Udp(at) => write!(f, "udp:{at}"),
            Local::Unix(path) => write!(f, "unix:{}", path.display()),
            Local::Abstract(name) => write!(f, "unix:@{}", String::from_utf8_lossy(name)),
            Local::Nowhere => f.write_str("unix: (no name)"),
        }
    }
}

fn covers(held: SocketAddr, wanted: &HostPort, dual_stack: bool) -> bool {
    if held.port() != wanted.port {
        return false;
    }
    match &wanted.host {
        Host::Any => held.ip().is_unspecified(),
        Host::Ip(ip) => covers_ip(held.ip(), *ip, dual_stack),
        Host::Name(_) => resolve(wanted).is_ok_and(|all| {
            all.iter()
                .any(|at| covers_ip(held.ip(), at.ip(), dual_stack))
        }),
    }
}

fn covers_ip(held: IpAddr, wanted: IpAddr, dual_stack: bool) -> bool {
    let wildcard_over_v4 = held.is_ipv6() && dual_stack && wanted.is_ipv4();
    held.to_canonical() == wanted.to_canonical()
        || (held.is_unspecified() && wanted.is_unspecified() && wildcard_over_v4)
}

/// Equal, or equal once the links in their directories are followed (`/var/run` is `/run`).
fn same_path(held: &Path, wanted: &Path) -> bool {
    let whole = |path: &Path| {
        let path = std::path::absolute(path).ok()?;
        let directory = path.parent()?.canonicalize().ok()?;
        Some(directory.join(path.file_name()?))
    };
    held == wanted || whole(held).is_some_and(|held| Some(held) == whole(wanted))
}

/// The addresses of a host that is not `Any`, in the resolver's order, without repetition.
pub(super) fn resolve(at: &HostPort) -> Result<Vec<SocketAddr>, Fault> {
    let name = match &at.host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, at.port)]),
        Host::Any => return Ok(Vec::new()),
        Host::Name(name) => name,
    };
    let unresolved = |why: String| Fault::Unresolved {
        host: name.clone(),
        why,
    };
    let mut all: Vec<SocketAddr> = Vec::new();
    for found in (name.as_str(), at.port)
        .to_socket_addrs()
        .map_err(|e| unresolved(e.to_string()))?
    {
        if !all.contains(&found) {
            all.push(found);
        }
    }
    if all.is_empty() {
        return Err(unresolved("it has no address".to_owned()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(at: &str) -> Local {
        Local::Tcp(at.parse().unwrap())
    }

    fn wanted(host: Host, port: u16) -> Address {
        Address::Tcp(HostPort { host, port })
    }

    fn ip(text: &str) -> Host {
        Host::Ip(text.parse().unwrap())
    }

    #[test]
    fn f33_an_address_is_served_by_itself_and_by_the_wildcard_that_covers_it() {
        let cases = [
            ("127.0.0.1:80", ip("127.0.0.1"), false, true),
            ("127.0.0.1:80", ip("127.0.0.2"), false, false),
            ("127.0.0.1:80", Host::Any, false, false),
            ("0.0.0.0:80", Host::Any, false, true),
            ("[::]:80", Host::Any, true, true),
            ("[::]:80", ip("0.0.0.0"), true, true),
            ("[::]:80", ip("0.0.0.0"), false, false),
            ("[::]:80", ip("127.0.0.1"), true, false),
            ("0.0.0.0:80", ip("::"), false, false),
            ("[::ffff:127.0.0.1]:80", ip("127.0.0.1"), true, true),
            ("127.0.0.1:80", Host::Name("localhost".into()), false, true),
        ];
        for (held, host, dual, expected) in cases {
            let address = wanted(host, 80);
            assert_eq!(
                tcp(held).serves(&address, dual),
                expected,
                "{held} for {address}"
            );
        }
        assert!(!tcp("0.0.0.0:81").serves(&wanted(Host::Any, 80), false));
        let udp = Address::Udp(HostPort {
            host: Host::Any,
            port: 80,
        });
        assert!(!tcp("0.0.0.0:80").serves(&udp, false));
    }

    #[test]
    fn paths_are_equal_through_links_of_directories() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        std::os::unix::fs::symlink("run", dir.path().join("var")).unwrap();
        let held = Local::Unix(dir.path().join("run/s"));
        assert!(held.serves(&Address::Unix(dir.path().join("var/s")), false));
        assert!(!held.serves(&Address::Unix(dir.path().join("var/t")), false));
    }

    #[test]
    fn a_name_that_leads_nowhere_is_an_error_with_the_name() {
        let at = HostPort {
            host: Host::Name("no..such..host".into()),
            port: 1,
        };
        let fault = resolve(&at).unwrap_err().to_string();
        assert!(fault.contains("no..such..host"), "{fault}");
    }
}
