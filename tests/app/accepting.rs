//! The listener that is shared with strangers: its flags, its queue, and others who accept.

use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::{Child, Command};
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

/// Another worker, in a process that can be ended while it waits in accept.
struct Rival(Child);

impl Rival {
    fn beside(server: &Server) -> Self {
        let debian = "/usr/bin/python3"; // elsewhere PATH decides
        let python = if Path::new(debian).exists() {
            debian
        } else {
            "python3"
        };
        let code =
            "import socket\nwith socket.socket(fileno=0) as s:\n while True: s.accept()[0].close()";
        let shared = server.listener.try_clone().expect("a descriptor");
        let mut command = Command::new(python);
        command.args(["-c", code]).stdin(OwnedFd::from(shared));
        Self(command.spawn().expect("python3 runs"))
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connections for both until ours sits in accept, for the other was quicker; then the other goes.
fn lose_a_race(server: &Server) {
    let _rivals = [Rival::beside(server), Rival::beside(server)];
    eventually("another worker was quicker", || {
        for _ in 0..20 {
            drop(TcpStream::connect(server.address).expect("a connection"));
        }
        // Once the queue is empty nothing moves any more.
        std::thread::sleep(Duration::from_millis(3));
        sits_in_accept() && {
            std::thread::sleep(Duration::from_millis(20));
            sits_in_accept()
        }
    });
}

#[test]
fn a_thread_that_lost_a_race_for_a_connection_does_not_hold_the_end() {
    let mut server = Server::start();
    drop(server.kept());
    lose_a_race(&server);
    assert!(sits_in_accept());
    let began = Instant::now();
    server.begin();
    let report = server.report();
    assert!(began.elapsed() < Duration::from_secs(5), "{report}");
    assert_eq!(report.cut, 0);
    assert!(!sits_in_accept());
}
