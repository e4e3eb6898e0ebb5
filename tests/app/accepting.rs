//! The listener that is shared with strangers: its flags, its queue, and others who accept.

use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::libc;

use crate::support::{Server, eventually};

const GET: &str = "GET /again HTTP/1.1\r\nHost: a\r\n\r\n";

/// The flags of an open file description, in octal.
fn flags(fd: RawFd) -> String {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("it is open");
    let line = info.lines().find_map(|line| line.strip_prefix("flags:"));
    line.expect("flags").trim().to_owned()
}

#[test]
fn the_flags_of_a_listener_never_change() {
    for nonblocking in [false, true] {
        let mut server = Server::start();
        server
            .listener
            .set_nonblocking(nonblocking)
            .expect("a flag");
        let fd = server.listener.as_raw_fd();
        let before = flags(fd);
        let mut client = server.kept();
        assert_eq!(flags(fd), before, "while it serves");
        server.drain();
        client.send(GET);
        client.answer().is_whole("/again", false);
        assert_eq!(flags(fd), before, "in the drain");
        drop(client);
        let listener = server.listener.try_clone().expect("a descriptor");
        server.report();
        assert_eq!(flags(listener.as_raw_fd()), before, "afterwards");
    }
}

#[test]
fn a_flag_that_somebody_else_changes_does_no_harm() {
    let mut server = Server::start();
    for round in 0..20 {
        server
            .listener
            .set_nonblocking(round % 2 == 0)
            .expect("a flag");
        drop(server.kept());
    }
    let mut client = server.kept();
    server.drain();
    client.send(GET);
    client.answer().is_whole("/again", false);
    drop(client);
    assert_eq!(server.report().cut, 0);
}

#[test]
fn who_comes_in_the_drain_is_left_to_the_successor() {
    let mut server = Server::start();
    let mut client = server.kept();
    server.drain();
    client.send(GET);
    client.answer().is_whole("/again", false);
    drop(client);
    let successor = server.listener.try_clone().expect("a descriptor");
    let mut late = server.connect();
    late.send(GET);
    server.report();
    let (mut stream, _) = successor.accept().expect("it waits in the queue");
    let mut request = vec![0; GET.len()];
    std::io::Read::read_exact(&mut stream, &mut request).expect("untouched");
    assert_eq!(request, GET.as_bytes());
    std::io::Write::write_all(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .expect("open");
    late.answer().is_whole("", true);
}

/// Does the accepting thread sit in accept4(2)?
fn sits_in_accept() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    let mut tasks = tasks.flatten().map(|task| task.path());
    tasks.any(|task| {
        let read = |name: &str| std::fs::read_to_string(task.join(name)).unwrap_or_default();
        let accepts = read("syscall").starts_with(&format!("{} ", libc::SYS_accept4));
        accepts && read("comm").trim() == "handover-accept"
    })
}

/// The test's own other worker, and connections for both until ours has lost a race.
fn lose_a_race(server: &Server) {
    let stop = AtomicBool::new(false);
    let rival = server.listener.try_clone().expect("a descriptor");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(rival.accept().expect("a connection"));
            }
        });
        // The rival waits in accept as well by now, or soon.
        eventually("the other worker was quicker", || {
            drop(TcpStream::connect(server.address).expect("a connection"));
            std::thread::sleep(Duration::from_millis(1));
            sits_in_accept()
        });
        stop.store(true, Ordering::Relaxed);
        // Until the rival has got one and left.
        while !scope_is_done(server) {}
    });
}

/// One more connection: whoever waits in accept takes it.
fn scope_is_done(server: &Server) -> bool {
    drop(TcpStream::connect(server.address).expect("a connection"));
    std::thread::sleep(Duration::from_millis(5));
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    let mut calls = tasks.flatten().filter_map(|task| {
        let call = std::fs::read_to_string(task.path().join("syscall")).ok()?;
        let comm = std::fs::read_to_string(task.path().join("comm")).ok()?;
        (comm.trim() != "handover-accept").then_some(call)
    });
    !calls.any(|call| call.starts_with(&format!("{} ", libc::SYS_accept4)))
}

#[test]
fn a_thread_that_lost_a_race_for_a_connection_does_not_hold_the_end() {
    let mut server = Server::start();
    drop(server.kept());
    lose_a_race(&server);
    let began = Instant::now();
    server.begin();
    let report = server.report();
    assert!(began.elapsed() < Duration::from_secs(5), "{report}");
    assert_eq!(report.cut, 0);
    assert!(!sits_in_accept());
}
