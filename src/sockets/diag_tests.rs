use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};

use proptest::prelude::*;

use super::*;

fn inode(fd: impl std::os::fd::AsFd) -> u64 {
    rustix::fs::fstat(fd).unwrap().st_ino
}

#[test]
fn a_tcp_listener_is_listed_with_its_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _waiting = [
        TcpStream::connect(address).unwrap(),
        TcpStream::connect(address).unwrap(),
    ];
    let all = listening_inodes().unwrap();
    let found = all.iter().find(|s| s.inode == inode(&listener)).unwrap();
    assert_eq!(found.socket_addr(), address);
    assert_eq!((found.queue, found.backlog > 0), (2, true));
}

#[test]
fn a_v6_listener_and_a_udp_socket_are_listed() {
    if let Ok(listener) = TcpListener::bind("[::1]:0") {
        let all = listening(Family::V6, Protocol::Tcp).unwrap();
        let found = all.iter().find(|s| s.inode == inode(&listener)).unwrap();
        assert_eq!(found.socket_addr(), listener.local_addr().unwrap());
    }
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let all = listening(Family::V4, Protocol::Udp).unwrap();
    let found = all.iter().find(|s| s.inode == inode(&udp)).unwrap();
    assert_eq!(found.socket_addr(), udp.local_addr().unwrap());
}

#[test]
fn a_unix_listener_is_listed_with_the_inode_of_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    let all = unix_sockets().unwrap();
    let found = all.iter().find(|s| s.inode == inode(&listener)).unwrap();
    let path_inode = rustix::fs::stat(&path).unwrap().st_ino;
    assert_eq!((found.listening, found.queue), (true, 1));
    assert_eq!(found.path_inode, Some(path_inode & u64::from(u32::MAX)));
}

#[test]
fn an_error_message_is_an_error() {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&20_u32.to_ne_bytes());
    bytes.extend_from_slice(&NLMSG_ERROR.to_ne_bytes());
    bytes.extend_from_slice(&[0; 10]);
    bytes.extend_from_slice(&(-2_i32).to_ne_bytes());
    assert_eq!(messages(&bytes, &mut |_| ()), Next::Failed(2));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz(&bytes);
    }

    /// Well-framed messages with hostile bodies reach the inner parsers.
    #[test]
    fn any_body_in_a_frame_is_parsed_without_panic(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        family in prop_oneof![Just(AF_UNIX), Just(AF_INET), Just(AF_INET6)],
        length in any::<u16>(),
    ) {
        let mut bytes = u32::from(length % 256).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.push(family);
        bytes.extend_from_slice(&body);
        fuzz(&bytes);
    }
}
