//! Level-triggered ways to wait on stream listeners.

use std::os::unix::net::UnixListener;

use super::*;
use crate::readiness::How;

/// A way of `waits.py` is seen, as one of these calls.
#[track_caller]
fn is_seen(way: &str, calls: &[How]) -> (Evidence, Program) {
    let listener = tcp();
    let program = Program::python(&[way], &listener, None);
    let evidence = accepting(&program, vec![wanted_tcp("http", &listener)]);
    assert_eq!(evidence.waits.len(), 1);
    assert!(calls.contains(&evidence.waits[0].how), "{evidence}");
    assert_eq!(evidence.second_sign, None);
    (evidence, program)
}

const ACCEPT: &[How] = &[How::Accept, How::Accept4];
const POLL: &[How] = &[How::Poll, How::Ppoll];
const SELECT: &[How] = &[How::Select, How::Pselect6];
const EPOLL: &[How] = &[How::EpollWait, How::EpollPwait, How::EpollPwait2];

#[test]
fn accept_is_seen() {
    let (evidence, program) = is_seen("accept", ACCEPT);
    let call = evidence.waits[0].how;
    assert_eq!(
        evidence.to_string(),
        format!("{call} on http (pid {})", program.pid())
    );
}

#[test]
fn poll_is_seen() {
    is_seen("poll", POLL);
}

#[test]
fn select_is_seen() {
    is_seen("select", SELECT);
}

#[test]
fn epoll_is_seen() {
    is_seen("epoll", EPOLL);
}

#[test]
fn asyncio_is_seen() {
    is_seen("asyncio", EPOLL);
}

#[test]
fn a_set_within_a_set_is_seen() {
    is_seen("nested", EPOLL);
    is_seen("nested_poll", POLL);
}

#[test]
fn exclusive_and_armed_one_shot_registrations_are_seen() {
    is_seen("exclusive", EPOLL);
    is_seen("one_shot", EPOLL);
}

#[test]
fn a_child_that_accepts_is_seen() {
    for way in ["fork", "fork_from_thread"] {
        let (evidence, program) = is_seen(way, ACCEPT);
        assert_ne!(
            evidence.waits[0].pid,
            program.pid(),
            "the child accepts, not the leader"
        );
    }
}

#[test]
fn a_thread_is_seen_after_the_first_thread_ended() {
    let (evidence, program) = is_seen("leader_thread_ends", ACCEPT);
    assert_eq!(evidence.waits[0].pid, program.pid());
    assert_ne!(evidence.waits[0].tid, program.pid());
}

#[test]
fn unix_listeners_are_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    let program = Program::python(&["accept"], &listener, None);
    let wanted = Wanted {
        inode: inode(&listener),
        datagram: false,
        name: "local".into(),
        address: format!("unix:{}", path.display()),
        port: None,
    };
    assert_eq!(accepting(&program, vec![wanted]).waits[0].listener, "local");
}

#[test]
fn every_stream_listener_must_be_waited_on() {
    let (first, second) = (tcp(), tcp());
    let both = vec![wanted_tcp("http", &first), wanted_tcp("admin", &second)];

    let mut half = Program::python(&["poll_first"], &first, Some(&second));
    assert_eq!(half.line(), "there");
    never_accepts(&mut Observer::new(half.pid(), both.clone(), vec![]));

    for way in ["poll_both", "thread_each"] {
        let whole = Program::python(&[way], &first, Some(&second));
        let evidence = accepting(&whole, both.clone());
        let names: Vec<_> = evidence
            .waits
            .iter()
            .map(|wait| wait.listener.as_str())
            .collect();
        assert_eq!(names, ["http", "admin"]);
    }
}

#[test]
fn a_datagram_listener_beside_a_stream_is_not_waited_for() {
    let (stream, datagram) = (tcp(), udp());
    let program = Program::python(&["accept"], &stream, Some(&datagram));
    let wanted = vec![wanted_udp("quic", &datagram), wanted_tcp("http", &stream)];
    assert_eq!(accepting(&program, wanted).waits.len(), 1);
}

/// It holds the socket, listens on it, and never takes a connection.
#[test]
fn f07_a_worker_that_never_waits_is_not_ready() {
    for way in ["sleep", "signals", "spent_one_shot", "poll_output"] {
        let listener = tcp();
        let mut program = Program::python(&[way], &listener, None);
        assert_eq!(program.line(), "there");
        never_accepts(&mut Observer::new(
            program.pid(),
            vec![wanted_tcp("http", &listener)],
            vec![],
        ));
    }
}

#[test]
fn a_registered_listener_under_a_computing_thread_is_not_ready() {
    let listener = tcp();
    let mut program = Program::python(&["epoll_computes"], &listener, None);
    assert_eq!(program.line(), "there");
    never_accepts(&mut Observer::new(
        program.pid(),
        vec![wanted_tcp("http", &listener)],
        vec![],
    ));
}

#[test]
fn a_stopped_program_is_not_ready_until_it_goes_on() {
    let listener = tcp();
    for way in ["accept", "poll"] {
        let mut program = Program::python(&[way], &listener, None);
        let wanted = vec![wanted_tcp("http", &listener)];
        accepting(&program, wanted.clone());
        let pid = rustix::process::Pid::from_raw(program.pid()).expect("a PID");
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stopped");
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::UNTRACED)
            .expect("its stop is told");
        never_accepts(&mut Observer::new(program.pid(), wanted.clone(), vec![]));
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("continued");
        // poll(2) goes on as restart_syscall(2).
        accepting(&program, wanted);
        assert_eq!(program.line(), "there");
    }
}

#[test]
fn a_worker_that_serves_without_ever_sleeping_is_ready() {
    let (first, second) = (tcp(), tcp());
    let mut program = Program::python(&["busy_serving"], &first, Some(&second));
    assert_eq!(program.line(), "there");
    let wanted = vec![wanted_tcp("http", &first), wanted_tcp("admin", &second)];
    let mut observer = Observer::new(program.pid(), wanted, vec![]);
    never_accepts(&mut observer);
    let _client = connect(&first);
    let Sight::Accepting(evidence) = watch(&mut observer) else {
        panic!("blind")
    };
    assert_eq!(evidence.waits[0].how, How::Connection);
    assert_eq!(evidence.waits[1].how, How::BusyEpoll);
}

#[test]
fn a_connection_that_a_worker_was_born_with_proves_nothing() {
    let listener = tcp();
    let client = connect(&listener);
    let (stored, _) = listener.accept().expect("queued");
    let mut program = Program::python(&["inherits_a_connection"], &listener, Some(&stored));
    assert_eq!(program.line(), "there");
    never_accepts(&mut Observer::new(
        program.pid(),
        vec![wanted_tcp("http", &listener)],
        vec![inode(&stored)],
    ));
    drop(client);
}

#[test]
fn a_worker_may_vanish_at_any_moment() {
    let listener = tcp();
    let wanted = vec![wanted_tcp("http", &listener)];
    let program = Program::python(&["accept"], &listener, None);
    let mut observer = Observer::new(program.pid(), wanted.clone(), vec![]);
    assert!(matches!(watch(&mut observer), Sight::Accepting(_)));
    let pid = program.pid();
    drop(program); // killed and reaped
    for _ in 0..3 {
        assert_eq!(observer.look(Instant::now()), Sight::NotYet);
    }
    assert_eq!(
        Observer::new(pid, wanted, vec![]).look(Instant::now()),
        Sight::NotYet
    );
}

#[test]
fn numbers_that_are_no_process_are_not_ready() {
    let listener = tcp();
    for leader in [i32::MIN, -1, 0, i32::MAX] {
        let mut observer = Observer::new(leader, vec![wanted_tcp("http", &listener)], vec![]);
        assert_eq!(observer.look(Instant::now()), Sight::NotYet);
    }
}

/// Looking must work, if more slowly, with next to no descriptors: they are the launch's.
#[test]
fn few_descriptors_are_enough() {
    let own = std::env::current_exe().expect("this test has a path");
    for test in ["every_stream_listener_must_be_waited_on", "asyncio_is_seen"] {
        let test = format!("readiness::tests::streams::{test}");
        let script = "ulimit -n 24; exec \"$@\"";
        let output = Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .arg(&own)
            .args(["--exact", &test])
            .output()
            .expect("/bin/sh runs");
        assert!(output.status.success(), "{output:?}");
    }
}
