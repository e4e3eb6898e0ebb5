use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use socket2::SockRef;

use super::*;
use crate::config::{Address, Host, HostPort, Listen};
use crate::sockets::testing::{
    A_WHILE, SOON, open_all, open_one, readable, shut_down, tcp, udp, unix, worker_copy,
};
use crate::sockets::{Inherited, diag, open};

fn kinds(repairs: Vec<Repair>) -> Vec<RepairKind> {
    repairs.into_iter().map(|repair| repair.what).collect()
}

/// Waits for the watch and lets it mend.
fn mended(watch: &mut Watch, listeners: &mut [Listener]) -> Vec<Repair> {
    assert!(readable(&*watch, SOON), "the watch must become readable");
    watch.examine(listeners)
}

fn unix_listener(keep: bool) -> (tempfile::TempDir, PathBuf, Vec<Listener>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let keep_dir = dir.path().join("keep");
    fs::create_dir(&keep_dir).unwrap();
    let entries = [unix("web", &path)];
    let keep = keep.then_some(keep_dir.as_path());
    let (opened, _) = open(&entries, Inherited::none(), keep).unwrap();
    (dir, path, opened)
}

#[test]
fn f03_connections_and_datagrams_wake_nobody() {
    let (_dir, path, mut listeners) = unix_listener(false);
    listeners.extend(open_all(&[tcp("http", 0), udp("dns")]));
    let mut watch = Watch::new(&listeners).unwrap();
    let (http, dns) = (listeners[1].port().unwrap(), listeners[2].port().unwrap());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut connections = Vec::new();
    for _ in 0..20 {
        connections.push(TcpStream::connect(("127.0.0.1", http)).unwrap());
        client.send_to(b"x", ("127.0.0.1", dns)).unwrap();
        UnixStream::connect(&path).unwrap();
    }
    let worker = TcpListener::from(worker_copy(&listeners[1]));
    drop(worker.accept().unwrap());
    drop(connections);
    assert!(!readable(&watch, A_WHILE));
    assert_eq!(watch.examine(&mut listeners), []);
}

#[test]
fn f03_shutdown_by_a_worker_is_noticed_and_tcp_listens_again() {
    let mut listeners = open_all(&[tcp("http", 0), tcp("other", 0)]);
    let mut watch = Watch::new(&listeners).unwrap();
    let (port, inode) = (listeners[0].port().unwrap(), listeners[0].inode());
    let worker = worker_copy(&listeners[0]);
    for _ in 0..3 {
        shut_down(&worker);
        let repairs = mended(&mut watch, &mut listeners);
        let expected = Repair {
            listener: "http".to_owned(),
            what: RepairKind::Relistened,
        };
        assert_eq!(repairs, [expected]);
        assert_eq!(
            (listeners[0].port(), listeners[0].inode()),
            (Some(port), inode)
        );
        // The generation that holds it needs to do nothing.
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        TcpListener::from(worker.try_clone().unwrap())
            .accept()
            .unwrap();
        assert!(!readable(&watch, A_WHILE));
    }
}

#[test]
fn f03_shutdown_for_reading_only_is_noticed_too() {
    let (_dir, path, mut listeners) = unix_listener(false);
    listeners.extend(open_all(&[tcp("http", 0)]));
    let mut watch = Watch::new(&listeners).unwrap();
    for listener in &listeners {
        let worker = worker_copy(listener);
        SockRef::from(&worker)
            .shutdown(std::net::Shutdown::Read)
            .unwrap();
    }
    let repairs = kinds(mended(&mut watch, &mut listeners));
    assert!(
        matches!(
            repairs[..],
            [RepairKind::Replaced { .. }, RepairKind::Relistened]
        ),
        "{repairs:?}"
    );
    UnixStream::connect(path).unwrap();
}

#[test]
fn f03_a_tcp_listener_whose_port_was_taken_is_reported_once_with_the_thief() {
    let mut listeners = vec![open_one(tcp("http", 0))];
    let mut watch = Watch::new(&listeners).unwrap();
    let at = listeners[0].address();
    shut_down(&worker_copy(&listeners[0]));
    // std sets SO_REUSEADDR, so that the bound socket that does not listen is no obstacle.
    let thief = TcpListener::bind(&at).unwrap();
    let repairs = mended(&mut watch, &mut listeners);
    let text = repairs[0].to_string();
    assert!(
        text.contains(&format!("(pid {})", std::process::id())),
        "{text}"
    );
    assert_eq!(watch.examine(&mut listeners), [], "said once");
    assert!(!readable(&watch, A_WHILE), "and nothing spins");
    drop(thief);
    assert_eq!(
        kinds(watch.examine(&mut listeners)),
        [RepairKind::Relistened]
    );
    TcpStream::connect(at).unwrap();
}

#[test]
fn f03_a_unix_listener_gets_a_new_socket_at_its_path() {
    for keep in [false, true] {
        let (_dir, path, mut listeners) = unix_listener(keep);
        let mut watch = Watch::new(&listeners).unwrap();
        let old_inode = listeners[0].inode();
        let worker = worker_copy(&listeners[0]);
        shut_down(&worker);
        assert!(UnixStream::connect(&path).is_err());
        let repairs = kinds(mended(&mut watch, &mut listeners));
        let inode = listeners[0].inode();
        assert_ne!(inode, old_inode);
        assert_eq!(
            repairs,
            [RepairKind::Replaced {
                why: SHUT_DOWN,
                old_inode,
                inode
            }]
        );
        let _client = UnixStream::connect(&path).unwrap();
        UnixListener::from(worker_copy(&listeners[0]))
            .accept()
            .unwrap();
        // What the worker does to the old one no longer matters (FAILURES 6).
        drop(worker);
        watch.examine(&mut listeners);
        assert!(!readable(&watch, A_WHILE));
        // The new one is watched as the old one was.
        shut_down(&worker_copy(&listeners[0]));
        assert!(matches!(
            mended(&mut watch, &mut listeners)[0].what,
            RepairKind::Replaced { .. }
        ));
        listeners.remove(0).close().unwrap();
        assert!(!path.exists());
    }
}

#[test]
fn f03_a_udp_socket_gets_a_new_one_on_its_port() {
    let mut listeners = vec![open_one(udp("dns"))];
    let mut watch = Watch::new(&listeners).unwrap();
    let port = listeners[0].port().unwrap();
    let worker = worker_copy(&listeners[0]);
    shut_down(&worker);
    let repairs = kinds(mended(&mut watch, &mut listeners));
    assert!(
        matches!(repairs[..], [RepairKind::Replaced { .. }]),
        "{repairs:?}"
    );
    assert_eq!(listeners[0].port(), Some(port));
    let new = UdpSocket::from(worker_copy(&listeners[0]));
    new.set_read_timeout(Some(SOON)).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0..10_u8 {
        client.send_to(&[n], ("127.0.0.1", port)).unwrap();
        let mut got = [0];
        new.recv(&mut got).unwrap();
        assert_eq!(got, [n]);
    }
    assert!(
        UdpSocket::bind(("127.0.0.1", port)).is_err(),
        "the port is not open to thieves"
    );
}

#[test]
fn f03_an_abstract_name_says_what_has_to_be_done() {
    let name = format!("handover-watch-{}", std::process::id());
    let mut listeners = vec![open_one(Listen::new(
        "a",
        Address::Abstract(name.into_bytes()),
    ))];
    let mut watch = Watch::new(&listeners).unwrap();
    shut_down(&worker_copy(&listeners[0]));
    let repairs = mended(&mut watch, &mut listeners);
    assert!(
        repairs[0]
            .to_string()
            .contains("stop the service and start it"),
        "{}",
        repairs[0]
    );
    assert_eq!(watch.examine(&mut listeners), []);
}

#[test]
fn f04_what_a_worker_changes_is_reported_once_and_left_alone() {
    let mut listener = open_one(tcp("http", 0));
    assert_eq!(listener.flags_changed(), None);
    let worker = worker_copy(&listener);
    let flags = fcntl_getfl(&worker).unwrap();
    fcntl_setfl(&worker, flags | OFlags::NONBLOCK).unwrap();
    let change = listener.flags_changed().unwrap();
    assert_eq!(
        (change.option, change.from.as_str(), change.to.as_str()),
        ("O_NONBLOCK", "off", "on")
    );
    let text = change.to_string();
    assert!(text.contains("listener http") && text.contains("nonblocking = true"));
    assert!(change.is_usual());
    assert_eq!(listener.flags_changed(), None);
    assert!(
        fcntl_getfl(&worker).unwrap().contains(OFlags::NONBLOCK),
        "left alone"
    );
    fcntl_setfl(&worker, flags).unwrap();
    SockRef::from(&worker).set_read_timeout(Some(SOON)).unwrap();
    let change = listener.flags_changed().unwrap();
    assert_eq!((change.option, change.to.as_str()), ("O_NONBLOCK", "off"));
    assert!(!change.is_usual() && change.to_string().contains("may now hang"));
    assert_eq!(listener.flags_changed().unwrap().option, "SO_RCVTIMEO");
    assert_eq!(listener.flags_changed(), None);
}

#[test]
fn f06_a_forgotten_listener_wakes_nobody() {
    let mut listeners = open_all(&[tcp("a", 0), tcp("b", 0)]);
    let mut watch = Watch::new(&listeners).unwrap();
    let worker = worker_copy(&listeners[0]);
    watch.forget(&listeners[0]);
    listeners.remove(0).close().unwrap();
    shut_down(&worker);
    assert!(!readable(&watch, A_WHILE));
}

#[test]
fn f07_a_queue_that_nobody_takes_is_seen() {
    let (_dir, path, mut listeners) = unix_listener(false);
    listeners.extend(open_all(&[tcp("http", 0)]));
    let at = listeners[1].address();
    let _tcp = [
        TcpStream::connect(&at).unwrap(),
        TcpStream::connect(&at).unwrap(),
    ];
    let _unix = UnixStream::connect(path).unwrap();
    let queues: Vec<_> = listeners
        .iter()
        .map(|l| diag::queue_of(l).unwrap().unwrap().length)
        .collect();
    assert_eq!(queues, [1, 2]);
    shut_down(&worker_copy(&listeners[1]));
    assert_eq!(diag::queue_of(&listeners[1]).unwrap(), None);
}

#[test]
fn f08_a_removed_path_leads_to_the_same_socket_again_queue_and_all() {
    for keep in [false, true] {
        let (dir, path, mut listeners) = unix_listener(keep);
        let mut watch = Watch::new(&listeners).unwrap();
        let inode = listeners[0].inode();
        let mut waiting = UnixStream::connect(&path).unwrap();
        waiting.write_all(b"x").unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(
            kinds(mended(&mut watch, &mut listeners)),
            [RepairKind::PathRestored]
        );
        assert_eq!(listeners[0].inode(), inode);
        UnixStream::connect(&path).unwrap();
        let worker = UnixListener::from(worker_copy(&listeners[0]));
        let mut got = [0];
        worker.accept().unwrap().0.read_exact(&mut got).unwrap();
        // Moved away is removed too.
        watch.examine(&mut listeners);
        fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        assert_eq!(
            kinds(mended(&mut watch, &mut listeners)),
            [RepairKind::PathRestored]
        );
        UnixStream::connect(&path).unwrap();
        watch.examine(&mut listeners);
        assert!(!readable(&watch, A_WHILE));
    }
}

#[test]
fn f08_a_lost_second_link_comes_back() {
    let (dir, path, mut listeners) = unix_listener(false);
    let mut watch = Watch::new(&listeners).unwrap();
    let keep = dir.path().join(".s.handover");
    fs::remove_file(&keep).unwrap();
    assert_eq!(mended(&mut watch, &mut listeners), []);
    assert!(keep.exists());
    fs::remove_file(&path).unwrap();
    assert_eq!(
        kinds(mended(&mut watch, &mut listeners)),
        [RepairKind::PathRestored]
    );
}

#[test]
fn f08_with_both_links_gone_a_new_socket_is_bound() {
    let (dir, path, mut listeners) = unix_listener(false);
    let mut watch = Watch::new(&listeners).unwrap();
    fs::remove_file(dir.path().join(".s.handover")).unwrap();
    fs::remove_file(&path).unwrap();
    let repairs = mended(&mut watch, &mut listeners);
    assert!(
        matches!(
            repairs[0].what,
            RepairKind::Replaced {
                why: UNREACHABLE,
                ..
            }
        ),
        "{repairs:?}"
    );
    UnixStream::connect(&path).unwrap();
}

#[test]
fn f08_a_removed_directory_is_said_and_its_return_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let (sub, keep) = (dir.path().join("sub"), dir.path().join("keep"));
    fs::create_dir(&sub).unwrap();
    fs::create_dir(&keep).unwrap();
    let path = sub.join("s");
    let entries = [unix("web", &path)];
    let (mut listeners, _) = open(&entries, Inherited::none(), Some(&keep)).unwrap();
    let mut watch = Watch::new(&listeners).unwrap();
    fs::remove_dir_all(&sub).unwrap();
    let repairs = mended(&mut watch, &mut listeners);
    assert!(
        repairs[0]
            .to_string()
            .contains("removed with its directory"),
        "{repairs:?}"
    );
    assert_eq!(watch.examine(&mut listeners), []);
    fs::create_dir(&sub).unwrap();
    assert_eq!(
        kinds(mended(&mut watch, &mut listeners)),
        [RepairKind::PathRestored]
    );
    UnixStream::connect(&path).unwrap();
}

#[test]
fn f08_a_path_that_a_stranger_took_is_ours_again_once_it_is_removed() {
    let (dir, path, mut listeners) = unix_listener(false);
    let mut watch = Watch::new(&listeners).unwrap();
    let stranger = dir.path().join("stranger");
    for _ in 0..2 {
        // Over ours, as a program that writes aside and renames does.
        fs::write(&stranger, "").unwrap();
        fs::rename(&stranger, &path).unwrap();
        let repairs = mended(&mut watch, &mut listeners);
        let text = repairs[0].to_string();
        assert!(text.contains("something that is not a socket"), "{text}");
        let trouble = listeners[0].trouble().expect("it stands");
        assert!(text.ends_with(trouble), "{trouble}");
        // Others in the directory are none of ours.
        fs::write(dir.path().join("other"), "").unwrap();
        assert_eq!(mended(&mut watch, &mut listeners), []);
        assert!(listeners[0].trouble().is_some(), "it still stands");
        fs::remove_file(&path).unwrap();
        assert_eq!(
            kinds(mended(&mut watch, &mut listeners)),
            [RepairKind::PathRestored]
        );
        assert_eq!(listeners[0].trouble(), None);
        UnixStream::connect(&path).unwrap();
        // What making the path again did to the directory is read, too.
        watch.examine(&mut listeners);
        fs::remove_file(dir.path().join("other")).unwrap();
        assert!(!readable(&watch, A_WHILE), "the directory is left alone");
    }
}

#[test]
fn f08_two_listeners_in_a_directory_share_its_watch() {
    let dir = tempfile::tempdir().unwrap();
    let paths = [dir.path().join("a"), dir.path().join("b")];
    let mut listeners = open_all(&[unix("a", &paths[0]), unix("b", &paths[1])]);
    let mut watch = Watch::new(&listeners).unwrap();
    for path in &paths {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }
    assert_eq!(mended(&mut watch, &mut listeners).len(), 2);
    for path in &paths {
        fs::remove_dir(path).unwrap();
        assert_eq!(
            kinds(mended(&mut watch, &mut listeners)),
            [RepairKind::PathRestored]
        );
        UnixStream::connect(path).unwrap();
    }
}

/// Waits for steady looks until one of them mends something.
fn mended_in_time(watch: &mut Watch, listeners: &mut [Listener]) -> Vec<RepairKind> {
    // A look that cost much leaves out some of those after it.
    for _ in 0..1000 {
        let repairs = kinds(mended(watch, listeners));
        if !repairs.is_empty() {
            return repairs;
        }
    }
    Vec::new()
}

#[test]
fn f03_a_backlog_that_a_worker_cut_is_put_back_at_any_time() {
    let (_dir, _path, mut listeners) = unix_listener(false);
    let v6 = HostPort {
        host: Host::Ip(Ipv6Addr::LOCALHOST.into()),
        port: 0,
    };
    listeners.extend(open_all(&[tcp("http", 0), udp("dns")]));
    if fs::exists("/proc/net/if_inet6").unwrap() {
        listeners.push(open_one(Listen::new("v6", Address::Tcp(v6))));
    }
    let often = Duration::from_millis(20);
    let watch = Watch::new(&listeners).unwrap();
    let mut watch = watch.looking_every(often).unwrap();
    let of = |listener: &Listener| diag::queue_of(listener).unwrap().unwrap().backlog;
    let before: Vec<u32> = listeners.iter().map(of).collect();
    for index in 0..listeners.len() {
        if listeners[index].is_datagram() {
            continue;
        }
        let worker = worker_copy(&listeners[index]);
        SockRef::from(&worker).listen(1).unwrap();
        let to = listeners[index].backlog();
        assert_eq!(
            mended_in_time(&mut watch, &mut listeners),
            [RepairKind::Requeued { from: 1, to }]
        );
        assert_eq!(listeners.iter().map(of).collect::<Vec<u32>>(), before);
    }
}

#[test]
fn f10_a_backlog_above_the_cap_is_not_mended_for_ever() {
    let mut entry = tcp("http", 0);
    entry.backlog = u32::MAX;
    let mut listeners = vec![open_one(entry)];
    assert_eq!(mend_backlogs(&listeners), []);
    let watch = Watch::new(&listeners).unwrap();
    let mut watch = watch.looking_every(Duration::from_millis(5)).unwrap();
    for _ in 0..5 {
        assert_eq!(mended(&mut watch, &mut listeners), []);
    }
}

#[test]
fn f03_what_could_not_be_mended_is_tried_again_by_itself() {
    let mut listeners = vec![open_one(tcp("http", 0))];
    let watch = Watch::new(&listeners).unwrap();
    let mut watch = watch.looking_every(Duration::from_millis(5)).unwrap();
    let at = listeners[0].address();
    shut_down(&worker_copy(&listeners[0]));
    let thief = TcpListener::bind(&at).unwrap();
    let repairs = mended(&mut watch, &mut listeners);
    assert!(
        matches!(repairs[0].what, RepairKind::Failed(_)),
        "{repairs:?}"
    );
    for _ in 0..3 {
        assert_eq!(mended(&mut watch, &mut listeners), [], "said once");
    }
    drop(thief);
    assert_eq!(
        mended_in_time(&mut watch, &mut listeners),
        [RepairKind::Relistened]
    );
    TcpStream::connect(at).unwrap();
}

#[test]
fn f08_a_worker_that_takes_the_path_is_named_and_left_alone_until_it_is_gone() {
    let (_dir, path, mut listeners) = unix_listener(false);
    let mut watch = Watch::new(&listeners).unwrap();
    fs::remove_file(&path).unwrap();
    let thief = UnixListener::bind(&path).unwrap();
    let repairs = mended(&mut watch, &mut listeners);
    let text = repairs[0].to_string();
    assert!(
        text.contains("taken over by") && text.contains(&std::process::id().to_string()),
        "{text}"
    );
    assert_eq!(watch.examine(&mut listeners), [], "said once");
    drop(thief);
    assert_eq!(
        kinds(watch.examine(&mut listeners)),
        [RepairKind::PathRestored]
    );
    let _client = UnixStream::connect(&path).unwrap();
    UnixListener::from(worker_copy(&listeners[0]))
        .accept()
        .unwrap();
}
