//! What came through the listeners: connections, and who still waits in the queues.
//!
//! One question per TCP port and one for all unix sockets (sock_diag(7)). A connection belongs to a listener when
//! its own address is the listener's: an accepted socket keeps it, and a socket that a program connected itself
//! has another. Datagram sockets have no connections and are not asked for.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use super::Listener;
use super::address::Local;
use super::diag::{
    AF_INET, AF_INET6, AF_UNIX, IPPROTO_TCP, Queue, STATE_LISTEN, dump, parse_inet, parse_unix,
};

// linux/tcp_states.h. TIME_WAIT and SYN_RECV are no descriptors of anybody.
const STATE_ESTABLISHED: u32 = 1;
const STATE_FIN_WAIT1: u32 = 4;
const STATE_FIN_WAIT2: u32 = 5;
const STATE_CLOSE_WAIT: u32 = 8;
const STATE_LAST_ACK: u32 = 9;
const STATE_CLOSING: u32 = 11;
const CONNECTED: u32 = 1 << STATE_ESTABLISHED
    | 1 << STATE_FIN_WAIT1
    | 1 << STATE_FIN_WAIT2
    | 1 << STATE_CLOSE_WAIT
    | 1 << STATE_LAST_ACK
    | 1 << STATE_CLOSING;
const UNIX_SHOW_NAME_QUEUE: u32 = 0x1 | 0x10;

/// A stream listener as the kernel's tables know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerId {
    name: String,
    inode: u64,
    /// None for a unix socket, which is found by its inode.
    at: Option<SocketAddr>,
}

impl ListenerId {
    /// None where there are no connections: of a datagram socket.
    pub fn of(listener: &Listener) -> Option<Self> {
        let at = match listener.local() {
            _ if listener.is_datagram() => return None,
            Local::Udp(_) | Local::Nowhere => return None,
            Local::Tcp(at) => Some(*at),
            Local::Unix(_) | Local::Abstract(_) => None,
        };
        Some(Self {
            name: listener.name().to_owned(),
            inode: listener.inode(),
            at,
        })
    }
}

/// What one look found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Through {
    /// The inodes of accepted connections, as in `/proc/PID/fd`: sorted, each once.
    pub connections: Vec<u64>,
    /// The accept queue of each listener, by its name.
    pub queues: BTreeMap<String, Queue>,
}

/// Why it could not be found out, in words that help.
#[derive(Debug, thiserror::Error)]
pub enum Unseen {
    /// This process may open no more.
    #[error(
        "handover has no file descriptors left to ask the kernel with ({0}): raise LimitNOFILE="
    )]
    Exhausted(io::Error),
    /// A sandbox.
    #[error(
        "AF_NETLINK is forbidden here ({0}): allow it in RestrictAddressFamilies= or the seccomp profile"
    )]
    Forbidden(io::Error),
    /// A kernel without the modules.
    #[error("this kernel has no sock_diag ({0}): load the modules tcp_diag and unix_diag")]
    Missing(io::Error),
    /// Whatever else.
    #[error("the kernel's socket tables (sock_diag) cannot be read: {0}")]
    Failed(io::Error),
    /// It is not where we look, so neither are its connections.
    #[error(
        "the kernel does not list listener {0} in handover's network namespace: it was shut down, or belongs to \
         another namespace"
    )]
    Unlisted(String),
}

impl From<io::Error> for Unseen {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                Self::Exhausted(error)
            }
            Some(Errno::PERM | Errno::ACCESS | Errno::AFNOSUPPORT) => Self::Forbidden(error),
            Some(Errno::NOENT | Errno::PROTONOSUPPORT) => Self::Missing(error),
            _ => Self::Failed(error),
        }
    }
}

/// Looks at these listeners; at their connections only when `connected`, which costs about a microsecond each.
///
/// # Errors
/// When a table cannot be read, or does not list one of the listeners: a part would be a wrong number.
pub fn through(listeners: &[ListenerId], connected: bool) -> Result<Through, Unseen> {
    let mut found = Through::default();
    let states = 1 << STATE_LISTEN | if connected { CONNECTED } else { 0 };
    let mut ports: Vec<(u8, u16)> = listeners
        .iter()
        .filter_map(|listener| listener.at)
        .map(|at| (family(at), at.port()))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    for (family, port) in ports {
        let here = listeners.iter().filter(|listener| {
            let at = listener.at;
            at.is_some_and(|at| self::family(at) == family && at.port() == port)
        });
        found.ask_port(family, port, states, &here.collect::<Vec<_>>())?;
    }
    let unix: Vec<&ListenerId> = listeners.iter().filter(|it| it.at.is_none()).collect();
    if !unix.is_empty() {
        found.ask_unix(states, &unix)?;
    }
    if let Some(unlisted) = listeners
        .iter()
        .find(|it| !found.queues.contains_key(&it.name))
    {
        return Err(Unseen::Unlisted(unlisted.name.clone()));
    }
    found.connections.sort_unstable();
    found.connections.dedup();
    Ok(found)
}

/// What a dual-stack listener accepts is an AF_INET6 socket too, whatever the client's family.
fn family(at: SocketAddr) -> u8 {
    match at {
        SocketAddr::V4(_) => AF_INET,
        SocketAddr::V6(_) => AF_INET6,
    }
}

fn is_at(listener: SocketAddr, local: IpAddr) -> bool {
    let bound = listener.ip();
    bound.is_unspecified() || bound.to_canonical() == local.to_canonical()
}

impl Through {
    fn note(&mut self, listener: &ListenerId, length: u32, backlog: u32) {
        let queue = Queue { length, backlog };
        self.queues.insert(listener.name.clone(), queue);
    }

    fn ask_port(
        &mut self,
        family: u8,
        port: u16,
        states: u32,
        listeners: &[&ListenerId],
    ) -> io::Result<()> {
        // struct inet_diag_req_v2: family, protocol, ext, pad, states, and an id with the local port alone
        let mut request = vec![family, IPPROTO_TCP, 0, 0];
        request.extend_from_slice(&states.to_ne_bytes());
        request.extend_from_slice(&port.to_be_bytes());
        request.resize(56, 0);
        dump(&request, |body| {
            let (Some(&state), Some((_, socket))) = (body.get(1), parse_inet(body)) else {
                return;
            };
            if u32::from(state) == STATE_LISTEN {
                let known = listeners.iter().find(|it| it.inode == socket.inode);
                if let Some(listener) = known {
                    self.note(listener, socket.queue, socket.backlog);
                }
                return;
            }
            let mut bound = listeners.iter().filter_map(|listener| listener.at);
            // Without an inode it is nobody's: not accepted yet, or closed.
            if socket.inode != 0 && bound.any(|at| is_at(at, socket.addr)) {
                self.connections.push(socket.inode);
            }
        })
    }

    fn ask_unix(&mut self, states: u32, listeners: &[&ListenerId]) -> io::Result<()> {
        // struct unix_diag_req: family, protocol, pad, states, ino, show, cookie
        let mut request = vec![AF_UNIX, 0, 0, 0];
        request.extend_from_slice(&states.to_ne_bytes());
        request.extend_from_slice(&0_u32.to_ne_bytes());
        request.extend_from_slice(&UNIX_SHOW_NAME_QUEUE.to_ne_bytes());
        request.resize(24, 0);
        // A path that was bound and then renamed keeps the name of its bind: the listener's own entry says it.
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut named: Vec<(Vec<u8>, u64)> = Vec::new();
        dump(&request, |body| {
            let Some(socket) = parse_unix(body) else {
                return;
            };
            let Some(name) = socket.name else { return };
            if !socket.listening {
                named.push((name, socket.inode));
            } else if let Some(listener) = listeners.iter().find(|it| it.inode == socket.inode) {
                self.note(listener, socket.queue, socket.backlog);
                names.push(name);
            }
        })?;
        let ours = named.into_iter().filter(|(name, _)| names.contains(name));
        self.connections.extend(ours.map(|(_, inode)| inode));
        Ok(())
    }
}

#[cfg(test)]
#[path = "through_tests.rs"]
mod tests;
