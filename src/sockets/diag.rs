//! The kernel's socket tables, asked through NETLINK_SOCK_DIAG (sock_diag(7)).
//!
//! Knows how to ask who listens where and how long the accept queues are. One question is one
//! short-lived netlink socket; answers are parsed by total functions over bytes.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};

use super::Listener;

/// The address families that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// AF_INET
    V4,
    /// AF_INET6; dual-stack sockets are here
    V6,
}

/// The protocols that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// IPPROTO_TCP
    Tcp,
    /// IPPROTO_UDP
    Udp,
}

/// A TCP socket that listens, or a UDP socket that is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListeningSocket {
    /// the local address
    pub addr: IpAddr,
    /// the local port
    pub port: u16,
    /// the inode of the socket, as in `/proc/PID/fd` (`socket:[INODE]`)
    pub inode: u64,
    /// TCP: connections that wait to be accepted; UDP: bytes that wait to be received
    pub queue: u32,
    /// TCP: the most connections that may wait
    pub backlog: u32,
    /// the user that made the socket
    pub uid: u32,
}

impl ListeningSocket {
    /// Address and port together.
    pub fn socket_addr(&self) -> SocketAddr {
        SocketAddr::new(self.addr, self.port)
    }
}

/// A unix socket of any type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSocket {
    /// the inode of the socket itself, as in `/proc/PID/fd`
    pub inode: u64,
    /// whether it listens
    pub listening: bool,
    /// the name that it is bound to; an abstract one begins with NUL
    pub name: Option<Vec<u8>>,
    /// the low 32 bits of the inode of the path that it is bound to
    pub path_inode: Option<u64>,
    /// connections that wait to be accepted
    pub queue: u32,
    /// the most connections that may wait
    pub backlog: u32,
}

/// How long a listener's accept queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// connections that wait to be accepted (UDP: bytes that wait to be received)
    pub length: u32,
    /// the most that may wait (UDP: 0)
    pub backlog: u32,
}

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h, linux/unix_diag.h
const NLMSG_HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const STATE_CLOSE: u32 = 7;
pub(super) const STATE_LISTEN: u32 = 10;
const UNIX_SHOW_NAME_VFS_QUEUE: u32 = 0x1 | 0x2 | 0x10;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_VFS: u16 = 1;
const UNIX_DIAG_RQLEN: u16 = 4;
pub(super) const AF_UNIX: u8 = 1;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;
pub(super) const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// The TCP sockets of `family` that listen (UDP: that are bound) in this network namespace.
///
/// # Errors
/// What netlink says: EPROTONOSUPPORT or ENOENT where the kernel has no `inet_diag`, EAFNOSUPPORT
/// or EPERM where a sandbox forbids AF_NETLINK.
pub fn listening(family: Family, protocol: Protocol) -> io::Result<Vec<ListeningSocket>> {
    let (family, family_number) = match family {
        Family::V4 => (family, AF_INET),
        Family::V6 => (family, AF_INET6),
    };
    // A UDP socket that is not connected is in the state that TCP calls CLOSE.
    let (protocol_number, state) = match protocol {
        Protocol::Tcp => (IPPROTO_TCP, STATE_LISTEN),
        Protocol::Udp => (IPPROTO_UDP, STATE_CLOSE),
    };
    // struct inet_diag_req_v2: family, protocol, ext, pad, states, then an all-zero id
    let mut request = vec![family_number, protocol_number, 0, 0];
    request.extend_from_slice(&(1_u32 << state).to_ne_bytes());
    request.resize(56, 0);
    let mut found = Vec::new();
    dump(&request, |body| {
        if let Some((of, socket)) = parse_inet(body)
            && of == family
        {
            found.push(socket);
        }
    })?;
    Ok(found)
}

/// Every TCP socket that listens, IPv4 and IPv6.
///
/// # Errors
/// As [`listening`]; a machine without IPv6 is no error.
pub fn listening_inodes() -> io::Result<Vec<ListeningSocket>> {
    let mut all = listening(Family::V4, Protocol::Tcp)?;
    all.extend(listening(Family::V6, Protocol::Tcp).unwrap_or_default());
    Ok(all)
}

/// The unix sockets of this network namespace.
///
/// # Errors
/// As [`listening`].
pub fn unix_sockets() -> io::Result<Vec<UnixSocket>> {
    unix_sockets_in(u32::MAX)
}

/// Those in one of these states, a bit each.
fn unix_sockets_in(states: u32) -> io::Result<Vec<UnixSocket>> {
    // struct unix_diag_req: family, protocol, pad, states, ino, show, cookie
    let mut request = vec![AF_UNIX, 0, 0, 0];
    request.extend_from_slice(&states.to_ne_bytes());
    request.extend_from_slice(&0_u32.to_ne_bytes());
    request.extend_from_slice(&UNIX_SHOW_NAME_VFS_QUEUE.to_ne_bytes());
    request.resize(24, 0);
    let mut found = Vec::new();
    dump(&request, |body| found.extend(parse_unix(body)))?;
    Ok(found)
}

/// How long the listener's queue is now; `None` when the kernel lists no such socket (it was shut
/// down, or lives in another network namespace).
///
/// # Errors
/// As [`listening`].
pub fn queue_of(listener: &Listener) -> io::Result<Option<Queue>> {
    queue_of_inode(
        listener.inode(),
        listener.is_datagram(),
        listener.port().is_some(),
    )
}

pub(super) fn queue_of_inode(inode: u64, datagram: bool, inet: bool) -> io::Result<Option<Queue>> {
    if !inet {
        let found = unix_sockets()?.into_iter().find(|s| s.inode == inode);
        return Ok(found.map(|s| Queue {
            length: s.queue,
            backlog: s.backlog,
        }));
    }
    let protocol = if datagram {
        Protocol::Udp
    } else {
        Protocol::Tcp
    };
    for family in [Family::V4, Family::V6] {
        let found = listening(family, protocol)?
            .into_iter()
            .find(|s| s.inode == inode);
        if let Some(socket) = found {
            return Ok(Some(Queue {
                length: socket.queue,
                backlog: socket.backlog,
            }));
        }
    }
    Ok(None)
}

/// The backlog of every listening socket of this kind, by inode: one question, however many
/// listeners there are. Unix sockets where `family` is none.
pub(super) fn backlogs(family: Option<Family>) -> io::Result<BTreeMap<u64, u32>> {
    let mut backlogs = BTreeMap::new();
    match family {
        Some(family) => {
            let all = listening(family, Protocol::Tcp)?.into_iter();
            backlogs.extend(all.map(|socket| (socket.inode, socket.backlog)));
        }
        None => {
            let all = unix_sockets_in(1 << STATE_LISTEN)?.into_iter();
            backlogs.extend(all.map(|socket| (socket.inode, socket.backlog)));
        }
    }
    Ok(backlogs)
}

/// Parses whatever comes: for fuzzing, that nothing in here panics or loops.
pub fn fuzz(bytes: &[u8]) {
    let _ = messages(bytes, &mut |body| {
        let _ = parse_inet(body);
        let _ = parse_unix(body);
    });
    let _ = parse_inet(bytes);
    let _ = parse_unix(bytes);
}

/// Asks for a dump and gives the body of every message of the answer to `each`.
pub(super) fn dump(request: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let socket = connect()?;
    let mut message = Vec::with_capacity(NLMSG_HEADER + request.len());
    // Cannot truncate: a request has at most 56 bytes.
    message.extend_from_slice(&((NLMSG_HEADER + request.len()) as u32).to_ne_bytes());
    message.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(request);
    send(&socket, &message, SendFlags::empty())?;
    // The kernel makes answers of at most 32 KiB (netlink_dump).
    let mut buffer = vec![0_u8; 32 * 1024];
    loop {
        let (length, whole) = match recv(&socket, &mut buffer[..], RecvFlags::TRUNC) {
            Err(rustix::io::Errno::INTR) => continue,
            received => received?,
        };
        if whole > length {
            return Err(io::Error::other("an answer of sock_diag was cut off"));
        }
        let answer = buffer.get(..length).unwrap_or_default();
        match messages(answer, &mut each) {
            Next::More if length > 0 => {}
            Next::More | Next::Done => return Ok(()),
            Next::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

fn connect() -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    // The kernel answers at once; the bound is for a kernel that does not.
    let patience = Some(std::time::Duration::from_secs(2));
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, patience)?;
    Ok(socket)
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    More,
    Done,
    Failed(i32),
}

/// Walks the netlink messages in one answer (struct nlmsghdr, netlink(7)).
fn messages(mut bytes: &[u8], each: &mut impl FnMut(&[u8])) -> Next {
    while let (Some(length), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let length = length as usize;
        let Some(body) = bytes.get(NLMSG_HEADER..length) else {
            break;
        };
        match kind {
            NLMSG_DONE => return Next::Done,
            NLMSG_ERROR => {
                let errno = u32_at(body, 0).map_or(0, |n| (n as i32).wrapping_neg());
                return if errno == 0 {
                    Next::Done
                } else {
                    Next::Failed(errno)
                };
            }
            SOCK_DIAG_BY_FAMILY => each(body),
            _ => {}
        }
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Next::More
}

/// struct inet_diag_msg.
pub(super) fn parse_inet(body: &[u8]) -> Option<(Family, ListeningSocket)> {
    let port = u16::from_be_bytes([*body.get(4)?, *body.get(5)?]);
    let source: [u8; 16] = body.get(8..24)?.try_into().ok()?;
    let (family, addr) = match *body.first()? {
        AF_INET => {
            let [a, b, c, d, ..] = source;
            (Family::V4, IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        AF_INET6 => (Family::V6, IpAddr::V6(Ipv6Addr::from(source))),
        _ => return None,
    };
    let socket = ListeningSocket {
        addr,
        port,
        queue: u32_at(body, 56)?,
        backlog: u32_at(body, 60)?,
        uid: u32_at(body, 64)?,
        inode: u64::from(u32_at(body, 68)?),
    };
    Some((family, socket))
}

/// struct unix_diag_msg and the attributes after it (rtnetlink(7)).
pub(super) fn parse_unix(body: &[u8]) -> Option<UnixSocket> {
    if *body.first()? != AF_UNIX {
        return None;
    }
    let mut socket = UnixSocket {
        listening: u32::from(*body.get(2)?) == STATE_LISTEN,
        inode: u64::from(u32_at(body, 4)?),
        name: None,
        path_inode: None,
        queue: 0,
        backlog: 0,
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            UNIX_DIAG_NAME => socket.name = Some(value.to_owned()),
            UNIX_DIAG_VFS => socket.path_inode = u32_at(value, 0).map(u64::from),
            UNIX_DIAG_RQLEN => {
                socket.queue = u32_at(value, 0).unwrap_or(0);
                socket.backlog = u32_at(value, 4).unwrap_or(0);
            }
            _ => {}
        }
    }
    Some(socket)
}

/// struct nlattr, one after the other (netlink(7)): kind and value.
pub(super) fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        let length = usize::from(length);
        let Some(value) = bytes.get(4..length) else {
            break;
        };
        found.push((kind, value));
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    found
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(four))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_ne_bytes(two))
}

#[cfg(test)]
#[path = "diag_tests.rs"]
mod tests;
