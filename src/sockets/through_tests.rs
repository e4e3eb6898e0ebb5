use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use crate::sockets::testing;

fn inode(socket: impl AsFd) -> u64 {
    rustix::fs::fstat(socket).unwrap().st_ino
}

fn tcp(listener: &TcpListener) -> ListenerId {
    ListenerId {
        name: "http".to_owned(),
        inode: inode(listener),
        at: Some(listener.local_addr().unwrap()),
    }
}

fn unix(listener: &UnixListener) -> ListenerId {
    ListenerId {
        name: "web".to_owned(),
        inode: inode(listener),
        at: None,
    }
}

#[test]
fn accepted_connections_are_found_and_those_who_wait_are_the_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let clients: Vec<TcpStream> = (0..3)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let (served, _) = listener.accept().unwrap();
    let found = through(&[tcp(&listener)], true).unwrap();
    assert_eq!(found.connections, [inode(&served)]);
    assert_eq!(found.queues["http"].length, 2);
    let found = through(&[tcp(&listener)], false).unwrap();
    assert_eq!(
        (found.connections.len(), found.queues["http"].length),
        (0, 2)
    );
    drop(clients);
    let found = through(&[tcp(&listener)], true).unwrap();
    assert_eq!(
        found.connections,
        [inode(&served)],
        "its client is gone, but it is still held"
    );
}

#[test]
fn a_connection_to_another_address_of_the_same_port_is_another_listeners() {
    let ours = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = ours.local_addr().unwrap().port();
    let theirs = TcpListener::bind(("127.0.0.2", port)).unwrap();
    let _client = TcpStream::connect(("127.0.0.2", port)).unwrap();
    let (served, _) = theirs.accept().unwrap();
    assert_eq!(through(&[tcp(&ours)], true).unwrap().connections, [0; 0]);
    let both = [tcp(&ours), tcp(&theirs)];
    assert_eq!(through(&both, true).unwrap().connections, [inode(&served)]);
}

#[test]
fn what_a_dual_stack_listener_accepts_is_found_whatever_its_family() {
    let Ok(listener) = TcpListener::bind("[::]:0") else {
        panic!("[::] cannot be bound: this test needs both families");
    };
    let port = listener.local_addr().unwrap().port();
    let mut served = Vec::new();
    let mut clients = Vec::new();
    for host in ["127.0.0.1", "::1"] {
        clients.push(TcpStream::connect((host, port)).unwrap());
        served.push(listener.accept().unwrap().0);
    }
    let mut inodes: Vec<u64> = served.iter().map(inode).collect();
    inodes.sort_unstable();
    let found = through(&[tcp(&listener)], true).unwrap();
    assert_eq!(found.connections, inodes);
}

#[test]
fn unix_connections_are_found_after_the_path_was_renamed_and_by_abstract_names() {
    let directory = tempfile::tempdir().unwrap();
    let (staged, path) = (directory.path().join(".s"), directory.path().join("s"));
    let listener = UnixListener::bind(&staged).unwrap();
    std::fs::rename(&staged, &path).unwrap();
    let clients = [(); 2].map(|()| UnixStream::connect(&path).unwrap());
    let (served, _) = listener.accept().unwrap();
    let found = through(&[unix(&listener)], true).unwrap();
    assert_eq!(found.connections, [inode(&served)]);
    assert_eq!(found.queues["web"].length, 1);
    drop(clients);

    let name = format!("handover-through-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let _client = UnixStream::connect_addr(&address).unwrap();
    let (served, _) = listener.accept().unwrap();
    let found = through(&[unix(&listener)], true).unwrap();
    assert_eq!(found.connections, [inode(&served)]);
}

#[test]
fn a_listener_that_is_not_listed_makes_the_number_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let known = tcp(&listener);
    drop(listener);
    let error = through(&[known], true).unwrap_err().to_string();
    assert!(error.contains("listener http"), "{error}");
}

#[test]
fn every_refusal_says_what_to_do() {
    for (errno, part) in [
        (Errno::MFILE, "LimitNOFILE"),
        (Errno::AFNOSUPPORT, "RestrictAddressFamilies"),
        (Errno::NOENT, "tcp_diag"),
    ] {
        let said = Unseen::from(io::Error::from(errno)).to_string();
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_datagram_listener_has_no_connections() {
    let listener = testing::open_one(testing::udp("dns"));
    assert_eq!(ListenerId::of(&listener), None);
}

#[test]
fn a_unix_listener_of_ours_is_found_though_it_was_renamed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.sock");
    let listener = testing::open_one(testing::unix("web", &path));
    let _client = UnixStream::connect(&path).unwrap();
    let id = ListenerId::of(&listener).unwrap();
    let found = through(&[id], true).unwrap();
    assert_eq!(
        (found.connections.len(), found.queues["web"].length),
        (0, 1)
    );
}

/// Set where the test runs in a process of its own, which may lose its descriptors.
const ALONE: &str = "HANDOVER_TEST_ALONE";

#[test]
fn without_descriptors_the_reason_is_said() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let known = [tcp(&listener)];
    assert_eq!(through(&known, true).unwrap().connections, [0; 0]);
    if std::env::var_os(ALONE).is_none() {
        let own = std::env::current_exe().unwrap();
        let mut alone = std::process::Command::new(own);
        alone.args([
            "--exact",
            "sockets::through::tests::without_descriptors_the_reason_is_said",
        ]);
        let output = alone.env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{output:?}"
        );
        return;
    }
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(0);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let said = through(&known, true).unwrap_err().to_string();
    assert!(said.contains("LimitNOFILE"), "{said}");
}
