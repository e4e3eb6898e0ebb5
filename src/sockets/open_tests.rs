use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};

use super::*;
use crate::config::{Host, HostPort};
use crate::sockets::testing::{open_all, open_one, tcp, udp, unix, worker_copy};

fn fault_of(entry: Listen) -> String {
    open(&[entry], Inherited::none(), None)
        .unwrap_err()
        .to_string()
}

fn named(name: &str, fd: impl Into<OwnedFd>) -> (String, OwnedFd) {
    (name.to_owned(), fd.into())
}

#[test]
fn f01_the_queue_outlives_the_generation_that_did_not_take_it() {
    let listener = open_one(tcp("http", 0));
    let port = listener.port().unwrap();
    let mut old = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::from(worker_copy(&listener)))
        .spawn()
        .unwrap();
    let mut clients: Vec<TcpStream> = (0..20_u8)
        .map(|n| {
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            client.write_all(&[n]).unwrap();
            client
        })
        .collect();
    old.kill().unwrap();
    old.wait().unwrap();
    let new = TcpListener::from(worker_copy(&listener));
    for n in 0..20_u8 {
        let (mut connection, _) = new.accept().unwrap();
        let mut got = [0];
        connection.read_exact(&mut got).unwrap();
        assert_eq!(got, [n]);
        connection.write_all(b"!").unwrap();
    }
    for client in &mut clients {
        let mut answer = [0];
        client.read_exact(&mut answer).unwrap();
    }
}

#[test]
fn f04_flags_are_those_of_the_entry_and_blocking_by_default() {
    let mut nonblocking = tcp("b", 0);
    nonblocking.nonblocking = true;
    let opened = open_all(&[tcp("a", 0), nonblocking, udp("c")]);
    let set: Vec<bool> = opened
        .iter()
        .map(|l| fcntl_getfl(l.fd()).unwrap().contains(OFlags::NONBLOCK))
        .collect();
    assert_eq!(set, [false, true, false]);
}

#[test]
fn f05_no_listener_reaches_a_child_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let name = Listen::new(
        "d",
        Address::Abstract(format!("handover-{}", std::process::id()).into()),
    );
    let opened = open_all(&[
        tcp("a", 0),
        udp("b"),
        unix("c", &dir.path().join("s")),
        name,
    ]);
    for listener in &opened {
        assert!(
            fcntl_getfd(listener.fd())
                .unwrap()
                .contains(FdFlags::CLOEXEC)
        );
    }
    let output = Command::new("sh")
        .args(["-c", "ls -l /proc/self/fd"])
        .output()
        .unwrap();
    let listing = String::from_utf8_lossy(&output.stdout);
    for listener in &opened {
        assert!(
            !listing.contains(&format!("socket:[{}]", listener.inode())),
            "{listing}"
        );
    }
}

#[test]
fn f05_the_error_names_the_listener_and_the_process_that_holds_the_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let mut child = Command::new("sleep")
        .arg("60")
        .stdin(Stdio::from(OwnedFd::from(taken)))
        .spawn()
        .unwrap();
    let error = fault_of(tcp("http", at.port()));
    child.kill().unwrap();
    child.wait().unwrap();
    let holder = format!("in use by sleep (pid {})", child.id());
    assert!(
        error.contains(&format!("listener http ({at})")) && error.contains(&holder),
        "{error}"
    );
}

#[test]
fn f08_a_path_appears_complete_and_goes_with_its_listener() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut entry = unix("web", &path);
    entry.mode = Some(0o660);
    entry.group = Some("0".to_owned());
    let listener = open_one(entry);
    assert_eq!(listener.address(), format!("unix:{}", path.display()));
    let meta = fs::symlink_metadata(&path).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o7777, 0o660);
    UnixStream::connect(&path).unwrap();
    listener.close().unwrap();
    assert_eq!(
        fs::read_dir(&dir).unwrap().count(),
        0,
        "nothing may be left"
    );
}

#[test]
fn f08_the_mode_is_exact_whatever_the_umask_is() {
    // The umask belongs to the process: in a child of its own.
    let dir = tempfile::tempdir().unwrap();
    let script =
        "umask 077; exec \"$0\" --exact sockets::open::tests::inside_a_process_with_a_umask";
    let status = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("HANDOVER_TEST_UMASK", dir.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let mode = |name: &str| {
        fs::symlink_metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!((mode("explicit"), mode("default")), (0o666, 0o600));
}

/// Runs in a process of its own, started by the test above; elsewhere it does nothing.
#[test]
fn inside_a_process_with_a_umask() {
    if let Some(dir) = std::env::var_os("HANDOVER_TEST_UMASK") {
        let dir = Path::new(&dir);
        let mut explicit = unix("explicit", &dir.join("explicit"));
        explicit.mode = Some(0o666);
        open_all(&[explicit, unix("default", &dir.join("default"))]);
    }
}

#[test]
fn f08_a_stale_socket_is_replaced_and_a_live_one_is_an_error_with_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let owner = UnixListener::bind(&path).unwrap();
    let error = fault_of(unix("web", &path));
    assert!(
        error.contains(&format!("(pid {})", std::process::id())),
        "{error}"
    );
    assert!(
        UnixStream::connect(&path).is_ok(),
        "the owner is left alone"
    );
    drop(owner);
    let listener = open_one(unix("web", &path));
    UnixStream::connect(&path).unwrap();
    listener.close().unwrap();
}

#[test]
fn f08_a_live_owner_with_a_full_queue_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let owner = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    owner.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    owner.listen(0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let error = fault_of(unix("web", &path));
    assert!(error.contains("is served by"), "{error}");
}

#[test]
fn f08_only_a_socket_is_ever_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    fs::write(&path, "precious").unwrap();
    let error = fault_of(unix("web", &path));
    assert!(error.contains("not a socket"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn f08_a_path_that_a_successor_took_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = open_one(unix("web", &path));
    fs::remove_file(&path).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    listener.close().unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn f08_what_a_killed_predecessor_left_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let keep = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    for keep_dir in [None, Some(keep.path()), None] {
        let entries = [unix("web", &path)];
        let (opened, _) = open(&entries, Inherited::none(), keep_dir).unwrap();
        UnixStream::connect(&path).unwrap();
        // Dropped and not closed, as after kill -9: path and second link stay.
        drop(opened);
        assert!(path.exists());
    }
}

#[test]
fn f08_107_bytes_fit_and_108_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let of_length = |bytes: usize| {
        let room = bytes - dir.path().as_os_str().len() - 1;
        dir.path().join("p".repeat(room))
    };
    let listener = open_one(unix("web", &of_length(107)));
    UnixStream::connect(of_length(107)).unwrap();
    listener.close().unwrap();
    let error = fault_of(unix("web", &of_length(108)));
    assert!(
        error.contains("108 bytes") && error.contains("107"),
        "{error}"
    );
}

#[test]
fn a_missing_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = fault_of(unix("web", &dir.path().join("no/s")));
    assert!(error.contains("/no does not exist"), "{error}");
}

#[test]
fn an_unknown_group_is_named_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut entry = unix("web", &dir.path().join("s"));
    entry.group = Some("no-such-group".to_owned());
    let error = fault_of(entry);
    assert!(error.contains("no group \"no-such-group\""), "{error}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn f08_an_abstract_name_in_use_says_by_whom() {
    let name = format!("handover-test-{}", std::process::id());
    let name = format!("{name}{}", "x".repeat(107 - name.len()));
    let entry = Listen::new("a", Address::Abstract(name.clone().into_bytes()));
    let listener = open_one(entry.clone());
    assert_eq!(listener.address(), format!("unix:@{name}"));
    let at = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    UnixStream::connect_addr(&at).unwrap();
    let error = fault_of(entry);
    assert!(
        error.contains(&format!("(pid {})", std::process::id())),
        "{error}"
    );
}

#[test]
fn f10_a_capped_backlog_is_a_warning_at_open() {
    let mut entry = tcp("http", 0);
    entry.backlog = u32::MAX;
    let (_, warnings) = open(&[entry], Inherited::none(), None).unwrap();
    assert!(
        warnings.iter().any(|w| w.contains("net.core.somaxconn")),
        "{warnings:?}"
    );
}

#[test]
fn f11_port_0_is_resolved_once() {
    let opened = open_all(&[tcp("a", 0), udp("b")]);
    for listener in &opened {
        let port = listener.port().unwrap();
        assert_ne!(port, 0);
        assert!(
            listener.address().ends_with(&format!("127.0.0.1:{port}")),
            "{}",
            listener.address()
        );
    }
}

#[test]
fn f12_datagrams_say_that_generations_share_them() {
    let opened = open_all(&[tcp("a", 0), udp("b")]);
    assert_eq!(opened[0].overlap_note(), None);
    assert!(opened[1].is_datagram());
    assert!(opened[1].overlap_note().unwrap().contains("QUIC"));
}

#[test]
fn what_was_opened_is_closed_when_a_later_one_fails() {
    let dir = tempfile::tempdir().unwrap();
    let entries = [
        unix("a", &dir.path().join("s")),
        unix("b", &dir.path().join("no/s")),
    ];
    assert!(open(&entries, Inherited::none(), None).is_err());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
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
    let (_, warnings) = open(&[entry], inherited, None).unwrap();
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("a backlog of 7, not 4096")),
        "{warnings:?}"
    );
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

#[test]
fn a_second_link_goes_to_the_directory_of_the_master() {
    let dir = tempfile::tempdir().unwrap();
    let keep = tempfile::tempdir_in(dir.path()).unwrap();
    let path = dir.path().join("s");
    let entries = [unix("web", &path)];
    let (mut opened, _) = open(&entries, Inherited::none(), Some(keep.path())).unwrap();
    let inode = |path: &Path| fs::symlink_metadata(path).unwrap().ino();
    assert_eq!(inode(&keep.path().join("web.socket")), inode(&path));
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        2,
        "nothing hidden beside it"
    );
    opened.remove(0).close().unwrap();
    assert_eq!(fs::read_dir(keep.path()).unwrap().count(), 0);
    assert!(!path.exists());
}
