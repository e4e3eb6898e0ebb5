//! Connections by local port, asked of the kernel (sock_diag(7)).
//!
//! The kernel filters by port and state while it walks its table, so this costs far less than
//! `/proc/net/tcp`, which also lists every connection in TIME_WAIT. Nothing is ever
//! asked of a connection itself: taking a second descriptor of it (pidfd_getfd(2)) would
//! keep its epoll registrations alive past the worker's own close.

use std::io;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::proctext::{DiagPart, diag_inodes};

/// Datagrams of one answer that are read: 64 × 32 KiB is about 29,000 connections.
const DATAGRAMS_MAX: usize = 64;

/// The inodes of TCP sockets that are connected and have this local port, sorted.
pub(super) fn connections(port: u16) -> io::Result<Vec<u64>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    let mut inodes = Vec::new();
    let mut buffer = vec![0_u8; 32 * 1024];
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        send(&socket, &request(family, port), SendFlags::empty())?;
        for _ in 0..DATAGRAMS_MAX {
            // An answer is made when it is asked for: there is never one to wait for.
            let (_, length) = recv(&socket, &mut buffer[..], RecvFlags::DONTWAIT)?;
            let datagram = buffer.get(..length).unwrap_or(&buffer);
            if diag_inodes(datagram, |inode| inodes.push(inode)) != DiagPart::More {
                break;
            }
        }
    }
    inodes.sort_unstable();
    Ok(inodes)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2` for every socket of a local port.
fn request(family: AddressFamily, port: u16) -> [u8; 72] {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST_DUMP: u16 = 0x301;
    const IPPROTO_TCP: u8 = 6;
    // ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT of include/net/tcp_states.h.
    const STATES: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8;
    let mut bytes = [0_u8; 72];
    bytes[0..4].copy_from_slice(&72_u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    // Families are small numbers; the field has one byte.
    bytes[16] = family.as_raw() as u8;
    bytes[17] = IPPROTO_TCP;
    bytes[20..24].copy_from_slice(&STATES.to_ne_bytes());
    bytes[24..26].copy_from_slice(&port.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    fn inode(socket: impl AsFd) -> u64 {
        rustix::fs::fstat(socket).expect("fstat").st_ino
    }

    #[test]
    fn finds_accepted_connections_of_both_families_and_no_listener() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                panic!("{address} cannot be bound: this test needs both families");
            };
            let local = listener.local_addr().expect("an address");
            let client = TcpStream::connect(local).expect("connects");
            let (served, _) = listener.accept().expect("accepts");
            let found = connections(local.port()).expect("sock_diag");
            assert!(found.contains(&inode(&served)), "{found:?}");
            assert!(!found.contains(&inode(&listener)));
            assert!(
                !found.contains(&inode(&client)),
                "the client's port is another"
            );
        }
    }
}
