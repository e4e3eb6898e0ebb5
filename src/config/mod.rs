//! Stand-in so that `sockets` compiles alone: NOT to be merged, the config room brings the real one.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum Address {
    Tcp(HostPort),
    Udp(HostPort),
    Unix(PathBuf),
    Abstract(Vec<u8>),
    Inherited(String),
}

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs)]
pub struct HostPort {
    pub host: Host,
    pub port: u16,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum Host {
    Any,
    Ip(IpAddr),
    Name(String),
}

/// One `[[listen]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs)]
pub struct Listen {
    pub name: String,
    pub address: Address,
    pub backlog: u32,
    pub nonblocking: bool,
    pub ready: bool,
    pub reuse_port: bool,
    pub only_v6: Option<bool>,
    pub nodelay: bool,
    pub keepalive: Option<Duration>,
    pub receive_buffer: Option<u32>,
    pub send_buffer: Option<u32>,
    pub defer_accept: Option<Duration>,
    pub fastopen: Option<u32>,
    pub freebind: bool,
    pub transparent: bool,
    pub mark: Option<u32>,
    pub mode: Option<u32>,
    pub user: Option<String>,
    pub group: Option<String>,
}

impl Listen {
    /// An entry with every option at its default.
    pub fn new(name: impl Into<String>, address: Address) -> Self {
        Self {
            name: name.into(),
            address,
            backlog: 4096,
            nonblocking: false,
            ready: true,
            reuse_port: false,
            only_v6: None,
            nodelay: false,
            keepalive: None,
            receive_buffer: None,
            send_buffer: None,
            defer_accept: None,
            fastopen: None,
            freebind: false,
            transparent: false,
            mark: None,
            mode: None,
            user: None,
            group: None,
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
