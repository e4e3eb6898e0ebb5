use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::fs::{OFlags, fcntl_getfl};

use super::*;
use crate::config::{Host, HostPort};
use crate::sockets::testing::tcp;
use crate::sockets::{RepairKind, mend_backlogs};

fn fault_of(entry: Listen) -> String {
    open(&[entry], Inherited::none(), None)
        .unwrap_err()
        .to_string()
}

fn named(name: &str, fd: impl Into<OwnedFd>) -> (String, OwnedFd) {
    (name.to_owned(), fd.into())
}

#[test]
fn f33_a_configured_address_that_systemd_holds_is_adopted() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let inode = rustix::fs::fstat(held.as_fd()).unwrap().st_ino;
    let inherited = Inherited::of([named("web.socket", held)]);
    let mut entry = tcp("http", port);
    entry.nonblocking = true;
    let (opened, warnings) = open(&[entry, tcp("other", 0)], inherited, None).unwrap();
    assert_eq!(
        (opened[0].name(), opened[0].origin(), opened[0].inode()),
        ("http", Origin::Systemd, inode)
    );
    assert_eq!(opened[1].origin(), Origin::Bound);
    // Its options are stale, and stay as they are.
    assert!(
        warnings.iter().any(|w| w.contains("NonBlocking=yes")),
        "{warnings:?}"
    );
    assert!(
        !fcntl_getfl(opened[0].fd())
            .unwrap()
            .contains(OFlags::NONBLOCK)
    );
}

#[test]
fn f33_a_dual_stack_socket_of_systemd_serves_the_wildcard() {
    let Ok(held) = TcpListener::bind("[::]:0") else {
        return;
    };
    let port = held.local_addr().unwrap().port();
    let any_v4 = HostPort {
        host: Host::Ip("0.0.0.0".parse().unwrap()),
        port,
    };
    let inherited = Inherited::of([named("web.socket", held)]);
    let entry = Listen::new("http", Address::Tcp(any_v4));
    let (opened, _) = open(&[entry], inherited, None).unwrap();
    assert_eq!(opened[0].origin(), Origin::Systemd);
    assert_eq!(opened[0].address(), format!("[::]:{port}"));
}

#[test]
fn f33_a_small_backlog_of_systemd_is_said() {
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    held.bind(
        &"127.0.0.1:0"
            .parse::<std::net::SocketAddr>()
            .unwrap()
            .into(),
    )
    .unwrap();
    held.listen(7).unwrap();
    let inherited = Inherited::of([named("http", held)]);
    let entry = Listen::new("web", Address::Inherited("http".to_owned()));
    let (opened, warnings) = open(&[entry], inherited, None).unwrap();
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("a backlog of 7, not 4096")),
        "{warnings:?}"
    );
    // When a worker cuts it, it becomes what systemd made it.
    assert_eq!(mend_backlogs(&opened), []);
    socket2::SockRef::from(&opened[0].fd()).listen(1).unwrap();
    let mended = mend_backlogs(&opened).remove(0).what;
    assert_eq!(mended, RepairKind::Requeued { from: 1, to: 7 });
    assert_eq!(mend_backlogs(&opened), []);
}

#[test]
fn f33_several_descriptors_of_one_name_are_all_taken() {
    let held = || TcpListener::bind("127.0.0.1:0").unwrap();
    let inherited = Inherited::of([
        named("web", held()),
        named("x", held()),
        named("web", held()),
    ]);
    let by_name = |entry: &str, fd: &str| Listen::new(entry, Address::Inherited(fd.to_owned()));
    let entries = [
        by_name("http", "web"),
        tcp("http-1", 0),
        by_name("last", "x"),
    ];
    let (opened, _) = open(&entries, inherited, None).unwrap();
    let names: Vec<_> = opened.iter().map(Listener::name).collect();
    assert_eq!(names, ["http", "http-2", "http-1", "last"]);
}

#[test]
fn f33_without_entries_everything_is_taken_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let unix = UnixListener::bind(dir.path().join("s")).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let all = [
        named("web.socket", tcp),
        named("web.socket", unix),
        named("dns", udp),
    ];
    let (opened, warnings) = open(&[], Inherited::of(all), None).unwrap();
    let names: Vec<_> = opened.iter().map(|l| (l.name(), l.is_datagram())).collect();
    assert_eq!(
        names,
        [
            ("web.socket", false),
            ("web.socket-1", false),
            ("dns", true)
        ]
    );
    assert_eq!(warnings, Vec::<String>::new());
    // The path is systemd's: it stays.
    for listener in opened {
        listener.close().unwrap();
    }
    assert!(dir.path().join("s").exists());
}

#[test]
fn f33_what_nobody_takes_is_closed_with_a_warning() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = held.local_addr().unwrap();
    let file = tempfile::tempfile().unwrap();
    let inherited = Inherited::of([named("old", held), named("file", file)]);
    let (_, warnings) = open(&[tcp("http", 0)], inherited, None).unwrap();
    assert!(
        warnings[0].contains("\"old\"") && warnings[0].contains(&at.to_string()),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("\"file\""), "{warnings:?}");
    assert!(TcpStream::connect(at).is_err(), "closed");
}

#[test]
fn f33_a_missing_or_unfit_descriptor_is_an_error_that_says_what_is_there() {
    let entry = || Listen::new("http", Address::Inherited("web".to_owned()));
    let error = fault_of(entry());
    assert!(
        error.contains("no descriptor at all") && error.contains("fd:web"),
        "{error}"
    );
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let inherited = Inherited::of([named("http.socket", held)]);
    let error = open(&[entry()], inherited, None).unwrap_err().to_string();
    assert!(
        error.contains("\"http.socket\"") && error.contains("FileDescriptorName=web"),
        "{error}"
    );
    let inherited = Inherited::of([named("web", tempfile::tempfile().unwrap())]);
    let error = open(&[entry()], inherited, None).unwrap_err().to_string();
    assert!(error.contains("not a socket"), "{error}");
}

#[test]
fn f33_an_address_that_systemd_holds_otherwise_says_how_to_take_it() {
    let held = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let inherited = Inherited::of([named("web.socket", held)]);
    let error = open(&[tcp("http", port)], inherited, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("address = \"fd:web.socket\""), "{error}");
}
