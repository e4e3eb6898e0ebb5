use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};

use super::*;
use crate::sockets::testing::{open_all, open_one, tcp, udp, unix, worker_copy};

fn fault_of(entry: Listen) -> String {
    open(&[entry], Inherited::none(), None)
        .unwrap_err()
        .to_string()
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
    entry.group = Some(rustix::process::getgid().as_raw().to_string());
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
    assert!(error.contains("there is no directory"), "{error}");
}

#[test]
fn a_directory_where_nothing_can_be_made_is_named() {
    // procfs refuses root too.
    let error = fault_of(unix("web", Path::new("/proc/handover.sock")));
    assert!(
        error.contains("no permission to make a socket in /proc"),
        "{error}"
    );
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
