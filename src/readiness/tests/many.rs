//! Programs of more threads than one look covers.

use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::readiness::{How, SecondSign, Unseen};

fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time is positive")
}

/// A way of `waits.py` among so many sleeping threads, all of which are there.
fn among(threads: usize, way: &str, listener: &TcpListener) -> Program {
    let mut program = Program::python(&[way, &threads.to_string()], listener, None);
    assert_eq!(program.line(), "there");
    program
}

#[test]
fn one_of_three_thousand_threads_that_accepts_is_seen() {
    let listener = tcp();
    let program = among(3000, "threads_accept", &listener);
    let evidence = accepting(&program, vec![wanted_tcp("http", &listener)]);
    let wait = &evidence.waits[0];
    assert!(matches!(wait.how, How::Accept | How::Accept4), "{evidence}");
    assert_eq!(wait.pid, program.pid());
    assert_ne!(wait.tid, program.pid());
}

#[test]
fn a_look_at_three_thousand_threads_is_short_and_says_how_far_it_came() {
    let listener = tcp();
    let program = among(3000, "threads", &listener);
    let mut observer = Observer::new(program.pid(), vec![wanted_tcp("http", &listener)], vec![]);
    let (mut looks, mut longest, mut before) = (0, Duration::ZERO, 0);
    loop {
        let began = thread_time();
        assert_eq!(observer.look(Instant::now()), Sight::NotYet);
        longest = longest.max(thread_time() - began);
        looks += 1;
        let untaken = observer.untaken();
        assert_eq!(untaken.listeners.len(), 1);
        match untaken.unseen {
            Some(Unseen::Threads { looked, all }) => {
                assert_eq!(all, 3001);
                assert!((before..all).contains(&looked), "{looked} after {before}");
                before = looked;
            }
            Some(other) => panic!("{other}"),
            None => break,
        }
    }
    println!("3001 threads in {looks} looks, the longest {longest:?}");
    assert!(looks > 2, "each look is a part");
    // What is compiled for tests is slower: twice of what the loop may be held.
    assert!(longest < Duration::from_millis(10), "{longest:?}");
}

#[test]
fn a_child_of_one_of_many_threads_is_seen() {
    let listener = tcp();
    let program = among(700, "threads_fork", &listener);
    let evidence = accepting(&program, vec![wanted_tcp("http", &listener)]);
    assert_ne!(evidence.waits[0].pid, program.pid(), "the child accepts");
}

#[test]
fn a_rest_of_many_threads_is_seen() {
    let listener = tcp();
    let program = among(1000, "threads_edge", &listener);
    let evidence = accepting(&program, vec![wanted_tcp("http", &listener)]);
    assert!(evidence.waits[0].edge);
    assert!(
        matches!(evidence.second_sign, Some(SecondSign::Rest(rest)) if rest.as_millis() >= 50),
        "{evidence}"
    );
}
