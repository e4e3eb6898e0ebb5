//! A listener that one worker alone has: nobody but who asks for it learns its number.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::address::Local;
use super::listener::{Listener, Origin};
use crate::config::{Address, Host, HostPort, Listen};

// tcp(7). The first eight words of struct tcp_info, which every kernel has; the seventh is tcpi_unacked: of a listening
// socket the connections that wait to be accepted (tcp_get_info in net/ipv4/tcp.c).
sockopt_impl!(
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    [u32; 8]
);

/// Who asks one worker asks it a few times a second at most.
const BACKLOG: i32 = 128;

/// A new TCP listener on a free port of the loopback interface: 127.0.0.1, or ::1 where there is no IPv4.
///
/// # Errors
/// What socket(2), bind(2) or listen(2) says.
pub fn own_listener(name: &str, nonblocking: bool) -> io::Result<Listener> {
    let v4 = open(Ipv4Addr::LOCALHOST.into(), nonblocking);
    let socket = v4.or_else(|error| match Errno::from_io_error(&error) {
        Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
            open(Ipv6Addr::LOCALHOST.into(), nonblocking)
        }
        _ => Err(error),
    })?;
    let local = Local::of(&socket, false)?;
    let port = local.port().unwrap_or_default();
    let host = socket.local_addr()?.as_socket();
    let host = Host::Ip(host.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip()));
    let entry = Listen {
        nonblocking,
        ready: false,
        ..Listen::new(name, Address::Tcp(HostPort { host, port }))
    };
    Listener::new(entry, socket.into(), local, false, Origin::Bound)
}

/// Without SO_REUSEADDR: with it the kernel may choose a port that somebody else is about to listen on.
fn open(ip: IpAddr, nonblocking: bool) -> io::Result<Socket> {
    let at = SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(nonblocking)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

impl Listener {
    /// How many connections wait to be accepted; only for a TCP listener. One system call.
    ///
    /// # Errors
    /// What getsockopt(2) says.
    pub fn untaken(&self) -> io::Result<u32> {
        let [.., unacked, _] = getsockopt(&self.fd().as_fd(), TcpInfo)?;
        Ok(unacked)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn who_waits_to_be_accepted_is_counted_until_then() {
        let listener = own_listener("probe", false).unwrap();
        let address = listener.socket_address().unwrap();
        assert!(
            address.ip().is_loopback() && address.port() != 0,
            "{address}"
        );
        assert_eq!(listener.address(), address.to_string());
        assert_eq!(listener.untaken().unwrap(), 0);
        let first = TcpStream::connect(address).unwrap();
        let second = TcpStream::connect(address).unwrap();
        assert_eq!(listener.untaken().unwrap(), 2);
        // Who gave up waits on: a worker still has to take it.
        drop((first, second));
        assert_eq!(listener.untaken().unwrap(), 2);
        let worker = std::net::TcpListener::from(listener.fd().try_clone_to_owned().unwrap());
        worker.accept().unwrap();
        assert_eq!(listener.untaken().unwrap(), 1);
    }

    #[test]
    fn each_worker_has_another_port() {
        let all: Vec<Listener> = (0..50)
            .map(|_| own_listener("probe", true).unwrap())
            .collect();
        let ports: std::collections::BTreeSet<_> = all.iter().map(Listener::port).collect();
        assert_eq!(ports.len(), 50);
        assert!(!all[0].counts_for_ready());
    }
}
