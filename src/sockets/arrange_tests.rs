use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use super::*;
use crate::sockets::testing::{open_all, tcp, unix};
use crate::sockets::{Inherited, diag};

/// Both steps at once.
fn arranged(
    listen: &[Listen],
    open: &[Listener],
    keep_dir: Option<&Path>,
) -> Result<Arranged, SocketError> {
    arrange(listen, open)?.bind(keep_dir)
}

fn numbers(arrangement: &Arranged) -> Vec<u64> {
    arrangement.members.iter().map(|it| it.number).collect()
}

#[test]
fn the_same_entries_are_the_same_sockets_in_the_order_of_the_config() {
    let entries = [tcp("http", 0), tcp("admin", 0)];
    let open = open_all(&entries);
    let again = arranged(&entries, &open, None).unwrap();
    assert!(again.added.is_empty() && again.warnings.is_empty());
    assert_eq!(numbers(&again), [open[0].number(), open[1].number()]);
    let [http, admin] = entries;
    let turned = arranged(&[admin, http], &open, None).unwrap();
    assert_eq!(numbers(&turned), [open[1].number(), open[0].number()]);
}

#[test]
fn a_new_name_keeps_the_socket_and_a_new_address_does_not() {
    let open = open_all(&[tcp("http", 0)]);
    let renamed = arranged(&[tcp("web", 0)], &open, None).unwrap();
    assert_eq!(numbers(&renamed), [open[0].number()]);
    assert_eq!(renamed.members[0].entry.name, "web");
    // The number that port 0 became is the same place.
    let port = open[0].port().unwrap();
    let said = arranged(&[tcp("http", port)], &open, None).unwrap();
    assert_eq!(numbers(&said), [open[0].number()]);

    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let moved = arranged(&[tcp("http", free.port())], &open, None).unwrap();
    assert_eq!(moved.added.len(), 1);
    TcpStream::connect(free).expect("it listens already");
    moved.take_back();
    TcpStream::connect(free).expect_err("it is closed again");
    TcpStream::connect(open[0].address()).expect("the old one stands");
}

#[test]
fn f05_one_that_cannot_be_bound_leaves_nothing_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new.sock");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let open = open_all(&[tcp("http", 0)]);
    let entries = [tcp("http", 0), unix("new", &path), tcp("taken", port)];
    let error = arranged(&entries, &open, None).unwrap_err().to_string();
    assert!(
        error.contains("listener taken") && error.contains("in use by"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_cannot_come_while_the_service_runs_says_why() {
    let open = open_all(&[tcp("http", 0)]);
    let says = |address: &str, part: &str| {
        let entries = [tcp("http", 0), Listen::new("new", address.parse().unwrap())];
        let error = arranged(&entries, &open, None).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    says("fd:web", "only when the master starts");
    let port = open[0].port().unwrap();
    says(&format!("0.0.0.0:{port}"), "own listener http (127.0.0.1:");
    says("no-such-host.invalid:80", "cannot be resolved");
}

#[test]
fn what_systemd_passed_is_kept_under_its_name_and_without_any_entry() {
    let fds = (0..2).map(|_| {
        (
            "web".to_owned(),
            TcpListener::bind("127.0.0.1:0").unwrap().into(),
        )
    });
    let entry = Listen::new("http", Address::Inherited("web".to_owned()));
    let entries = [entry.clone()];
    let (open, _) = super::super::open(&entries, Inherited::of(fds), None).unwrap();
    let names = |it: &Arranged| -> Vec<String> {
        it.members
            .iter()
            .map(|member| member.entry.name.clone())
            .collect()
    };
    let again = arranged(&entries, &open, None).unwrap();
    assert_eq!(numbers(&again), [open[0].number(), open[1].number()]);
    assert_eq!(names(&again), ["http", "http-1"]);
    let without = arranged(&[], &open, None).unwrap();
    assert_eq!(numbers(&without), [open[0].number(), open[1].number()]);
    let renamed = Listen {
        name: "front".to_owned(),
        ..entry
    };
    let both = arranged(&[renamed, tcp("front-1", 0)], &open, None).unwrap();
    assert_eq!(names(&both), ["front", "front-2", "front-1"]);
}

#[test]
fn f04_what_is_set_once_stays_and_is_said() {
    let open = open_all(&[tcp("http", 0)]);
    let mut entry = tcp("http", 0);
    (entry.nodelay, entry.nonblocking, entry.backlog) = (true, true, 77);
    let kept = arranged(&[entry], &open, None).unwrap();
    let force = &kept.members[0].entry;
    assert_eq!(
        (force.nodelay, force.nonblocking, force.backlog),
        (false, false, 77)
    );
    let [warning] = &kept.warnings[..] else {
        panic!("{:?}", kept.warnings)
    };
    assert!(
        warning.contains("http: nonblocking, nodelay changed"),
        "{warning}"
    );
}

#[test]
fn a_living_socket_takes_backlog_and_permissions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.sock");
    let mut entry = unix("web", &path);
    entry.mode = Some(0o600);
    let mut open = open_all(&[entry.clone()]);
    let inode = std::fs::metadata(&path).unwrap().ino();
    (entry.mode, entry.backlog) = (Some(0o666), 5);
    let adoption = open[0].adopt(&entry);
    assert_eq!(
        adoption.applied,
        ["backlog 4096 to 5", "mode 0600 to 0666"],
        "{adoption:?}"
    );
    assert_eq!(adoption.refused, [""; 0]);
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (meta.permissions().mode() & 0o777, meta.ino()),
        (0o666, inode)
    );
    let queue = diag::queue_of_inode(open[0].inode(), false, false)
        .unwrap()
        .unwrap();
    assert_eq!(queue.backlog, 5);
    UnixStream::connect(&path).expect("the same socket");
    entry.user = Some("no-such-user-here".to_owned());
    let adoption = open[0].adopt(&entry);
    assert!(
        adoption.refused[0].contains("no-such-user-here"),
        "{adoption:?}"
    );
    assert_eq!(
        adoption.applied, [""; 0],
        "what was refused is not in force"
    );
}

#[test]
fn f08_a_second_link_of_the_same_name_is_left_to_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let keep = dir.path().join("keep");
    std::fs::create_dir(&keep).unwrap();
    let at = |name: &str| unix("web", &dir.path().join(name));
    let (open, _) = super::super::open(&[at("old.sock")], Inherited::none(), Some(&keep)).unwrap();
    let moved = arranged(&[at("new.sock")], &open, Some(&keep)).unwrap();
    let links = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().nlink();
    assert_eq!((links("old.sock"), links("new.sock")), (2, 2));
    moved.take_back();
    assert_eq!(std::fs::read_dir(&keep).unwrap().count(), 1);
}
