//! Who waits in an accept queue.

use std::collections::BTreeSet;
use std::io;

use super::Listener;
use super::diag::{
    AF_INET, AF_INET6, AF_UNIX, IPPROTO_TCP, STATE_LISTEN, attributes, dump, queue_of, u32_at,
};

// linux/tcp_states.h, linux/unix_diag.h
const STATE_ESTABLISHED: u32 = 1;
const STATE_CLOSE_WAIT: u32 = 8;
const UNIX_SHOW_ICONS: u32 = 0x8;
const UNIX_DIAG_ICONS: u16 = 3;

/// The connections that wait to be accepted, each under a number that it keeps while it waits and that no
/// other has. Cheap while nobody waits. Of a datagram socket there are none.
///
/// # Errors
/// As [`listening`](super::diag::listening).
pub fn waiting(listener: &Listener) -> io::Result<BTreeSet<u64>> {
    if listener.is_datagram() || queue_of(listener)?.is_none_or(|queue| queue.length == 0) {
        return Ok(BTreeSet::new());
    }
    match listener.port() {
        Some(port) => unaccepted(port),
        None => waiting_at(listener.inode()),
    }
}

/// The TCP connections to this local port that nobody accepted, by their socket cookies: they have no
/// inode yet.
fn unaccepted(port: u16) -> io::Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for family in [AF_INET, AF_INET6] {
        // struct inet_diag_req_v2 as in `listening`, with the local port in its id
        let mut request = vec![family, IPPROTO_TCP, 0, 0];
        let states: u32 = 1 << STATE_ESTABLISHED | 1 << STATE_CLOSE_WAIT;
        request.extend_from_slice(&states.to_ne_bytes());
        request.extend_from_slice(&port.to_be_bytes());
        request.resize(56, 0);
        dump(&request, |body| {
            if let (Some(0), Some(cookie)) = (u32_at(body, 68), cookie(body)) {
                found.insert(cookie);
            }
        })?;
    }
    Ok(found)
}

/// The connecting sockets' inodes in the queue of a unix listener.
fn waiting_at(inode: u64) -> io::Result<BTreeSet<u64>> {
    let mut request = vec![AF_UNIX, 0, 0, 0];
    request.extend_from_slice(&(1_u32 << STATE_LISTEN).to_ne_bytes());
    request.extend_from_slice(&0_u32.to_ne_bytes());
    request.extend_from_slice(&UNIX_SHOW_ICONS.to_ne_bytes());
    request.resize(24, 0);
    let mut found = BTreeSet::new();
    dump(&request, |body| {
        if u32_at(body, 4).map(u64::from) == Some(inode) {
            found.extend(parse_icons(body));
        }
    })?;
    Ok(found)
}

/// The array in UNIX_DIAG_ICONS.
fn parse_icons(body: &[u8]) -> Vec<u64> {
    let all = attributes(body.get(16..).unwrap_or_default());
    let icons = all.into_iter().find(|(kind, _)| *kind == UNIX_DIAG_ICONS);
    let icons = icons.map_or(&[][..], |(_, value)| value);
    let inodes = icons.chunks_exact(4).filter_map(|four| u32_at(four, 0));
    inodes.map(u64::from).collect()
}

/// struct inet_diag_sockid.idiag_cookie.
fn cookie(body: &[u8]) -> Option<u64> {
    let (low, high) = (u32_at(body, 44)?, u32_at(body, 48)?);
    Some(u64::from(high) << 32 | u64::from(low))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_connection_keeps_its_number_until_it_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(unaccepted(address.port()).unwrap().len(), 0);
        let _first = TcpStream::connect(address).unwrap();
        let one = unaccepted(address.port()).unwrap();
        let _second = TcpStream::connect(address).unwrap();
        let two = unaccepted(address.port()).unwrap();
        assert_eq!((one.len(), two.len()), (1, 2));
        assert!(two.is_superset(&one));
        let _accepted = listener.accept().unwrap();
        let left = unaccepted(address.port()).unwrap();
        assert!(left.is_disjoint(&one) && left.is_subset(&two), "{left:?}");
    }

    #[test]
    fn the_queue_of_a_unix_socket_is_seen_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let inode = rustix::fs::fstat(&listener).unwrap().st_ino;
        assert_eq!(waiting_at(inode).unwrap().len(), 0);
        let _first = UnixStream::connect(&path).unwrap();
        let one = waiting_at(inode).unwrap();
        let _second = UnixStream::connect(&path).unwrap();
        let _accepted = listener.accept().unwrap();
        let left = waiting_at(inode).unwrap();
        assert_eq!((one.len(), left.len()), (1, 1));
        assert!(left.is_disjoint(&one));
    }
}
