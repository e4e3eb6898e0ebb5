use std::fs;
use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use super::super::{Inherited, open};
use super::*;

fn opened(listen: Listen, keep_dir: Option<&Path>) -> Listener {
    let opened = open(&[listen], Inherited::none(), keep_dir);
    let (mut listeners, _) = opened.expect("it opens");
    listeners.remove(0)
}

fn recalled(listener: &Listener) -> Listener {
    let fd = listener.fd().try_clone_to_owned().expect("a copy");
    Listener::recall(&listener.keep(), fd).expect("recalls")
}

fn listen_at(address: &str) -> Listen {
    let address = address.parse().expect("an address");
    Listen::new("http", address)
}

#[test]
fn a_listener_is_the_same_after_it_was_kept() {
    for address in [
        "127.0.0.1:0",
        "[::]:0",
        "udp:127.0.0.1:0",
        "unix:@handover-kept",
    ] {
        let before = opened(
            Listen {
                backlog: 77,
                nonblocking: true,
                ready: false,
                keepalive: Some(Duration::from_secs(30)),
                ..listen_at(address)
            },
            None,
        );
        let after = recalled(&before);
        assert_eq!(before.address(), after.address());
        assert_eq!(before.number(), after.number());
        assert_eq!(before.inode(), after.inode());
        assert_eq!(before.member(), after.member());
        assert_eq!(before.origin(), after.origin());
        assert_eq!(before.keep(), after.keep());
        assert_eq!(before.is_datagram(), after.is_datagram());
        assert!(!after.counts_for_ready());
        let next = opened(listen_at("127.0.0.1:0"), None);
        assert!(next.number() > after.number(), "no number comes twice");
    }
}

#[test]
fn a_unix_path_stays_ours() {
    let directory = tempfile::tempdir().expect("a directory");
    let (keep, path) = (
        directory.path().join("keep"),
        directory.path().join("web.sock"),
    );
    fs::create_dir(&keep).expect("a directory");
    let address = format!("unix:{}", path.display());
    let before = opened(listen_at(&address), Some(&keep));
    let after = recalled(&before);
    drop(before);
    UnixStream::connect(&path).expect("it listens");
    after.close().expect("closes");
    assert!(!path.exists(), "and is removed at the end");
    assert_eq!(fs::read_dir(&keep).expect("there").count(), 0);
}

#[test]
fn another_socket_is_not_taken_for_it() {
    let (one, other) = (
        opened(listen_at("127.0.0.1:0"), None),
        opened(listen_at("127.0.0.1:0"), None),
    );
    let fd = other.fd().try_clone_to_owned().expect("a copy");
    let refused = Listener::recall(&one.keep(), fd).expect_err("another one");
    let said = refused.to_string();
    assert!(said.contains("as listener http is not the one"), "{said}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let file = tempfile::tempfile().expect("a file");
        drop(Listener::recall(&bytes, file.into()));
    }
}
