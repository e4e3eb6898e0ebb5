//! Where to listen: one grammar for `--listen`, `HANDOVER__LISTEN` and `listen.address`.
//!
//! ```text
//! HOST:PORT  :PORT  [V6]:PORT  unix:PATH  unix:@ABSTRACT  udp:HOST:PORT  udp::PORT  fd:NAME
//! ```

mod parse;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// What a unix address can hold: `sun_path` is 108 bytes with its final NUL (unix(7)).
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// What to bind, or which inherited descriptor to take.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP listener.
    Tcp(HostPort),
    /// A UDP socket.
    Udp(HostPort),
    /// A unix stream listener at a path, not yet made absolute.
    Unix(PathBuf),
    /// A unix stream listener in the abstract name space; the name without its leading NUL.
    Abstract(Vec<u8>),
    /// A descriptor that systemd passes under this name (`FileDescriptorName=`).
    Inherited(String),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Which addresses of this machine.
    pub host: Host,
    /// 0: any free one, kept once bound.
    pub port: u16,
}

/// Which addresses of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// All of them: dual-stack `[::]`, else `0.0.0.0`.
    Any,
    /// That one.
    Ip(IpAddr),
    /// What the name resolves to when the socket is bound.
    Name(String),
}

/// An address that cannot be read: what is wrong and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AddressError {
    /// What is wrong, as a predicate: "has no port".
    pub message: String,
    /// The address that was probably meant.
    pub fix: Option<String>,
    /// What to do, where no address can be guessed, or beside it.
    pub hint: Option<String>,
}

impl Address {
    /// True for UDP: no connections, no accept.
    pub fn is_datagram(&self) -> bool {
        matches!(self, Address::Udp(_))
    }

    /// True when both cannot be bound at once (equal, or one is the other's wildcard).
    /// Port 0 never clashes; names are compared as written.
    pub fn clashes_with(&self, other: &Address) -> bool {
        match (self, other) {
            (Address::Tcp(a), Address::Tcp(b)) | (Address::Udp(a), Address::Udp(b)) => {
                a.port != 0 && a.port == b.port && a.host.covers_or_is_covered(&b.host)
            }
            _ => self == other,
        }
    }
}

impl Host {
    fn covers_or_is_covered(&self, other: &Host) -> bool {
        self == other || self.covers(other) || other.covers(self)
    }

    fn covers(&self, other: &Host) -> bool {
        match self {
            Host::Any => true,
            Host::Ip(IpAddr::V6(ip)) if ip.is_unspecified() => true,
            Host::Ip(IpAddr::V4(ip)) if ip.is_unspecified() => {
                !matches!(other, Host::Ip(IpAddr::V6(ip)) if !ip.is_unspecified())
            }
            Host::Ip(_) | Host::Name(_) => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(at) => at.fmt(f),
            Address::Udp(at) => write!(f, "udp:{at}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Abstract(name) => write!(f, "unix:@{}", String::from_utf8_lossy(name)),
            Address::Inherited(name) => write!(f, "fd:{name}"),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => write!(f, ":{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Splits the `[NAME=]ADDR` of `--listen`. A left side with `:`, `/` or `@` is part of the address.
pub fn split_name(text: &str) -> (Option<&str>, &str) {
    match text.split_once('=') {
        Some((name, address)) if !name.contains([':', '/', '@', '[']) => (Some(name), address),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests;
