//! Datagram listeners: a pending receive counts.

use super::*;
use crate::readiness::How;

#[track_caller]
fn is_seen(way: &str, calls: &[How]) {
    let socket = udp();
    let program = Program::python(&[way], &socket, None);
    let evidence = accepting(&program, vec![wanted_udp("dns", &socket)]);
    assert!(calls.contains(&evidence.waits[0].how), "{evidence}");
}

#[test]
fn receives_are_seen() {
    is_seen("recvfrom", &[How::Recvfrom]);
    is_seen("recvmsg", &[How::Recvmsg]);
    is_seen("read", &[How::Read]);
}

#[test]
fn loops_are_seen() {
    is_seen("poll", &[How::Poll, How::Ppoll]);
    is_seen("select", &[How::Select, How::Pselect6]);
    is_seen(
        "epoll",
        &[How::EpollWait, How::EpollPwait, How::EpollPwait2],
    );
}

#[test]
fn a_datagram_listener_that_nobody_reads_is_not_ready() {
    let (socket, other) = (udp(), udp());
    let mut program = Program::python(&["poll_first"], &socket, Some(&other));
    assert_eq!(program.line(), "there");
    never_accepts(&mut Observer::new(
        program.pid(),
        vec![wanted_udp("dns", &other)],
        vec![],
    ));
}
