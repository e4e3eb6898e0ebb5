//! Edge-triggered registrations need a second sign.

use super::*;
use crate::readiness::SecondSign;

#[test]
fn an_idle_program_is_ready_after_a_rest() {
    let listener = tcp();
    let program = Program::python(&["edge"], &listener, None);
    let evidence = accepting(&program, vec![wanted_tcp("http", &listener)]);
    assert!(evidence.waits[0].edge);
    assert!(
        matches!(evidence.second_sign, Some(SecondSign::Rest(rest)) if rest.as_millis() >= 50),
        "{evidence}"
    );
    assert!(
        evidence.to_string().contains("edge-triggered, at rest for"),
        "{evidence}"
    );
}

#[test]
fn a_registration_proves_nothing_while_the_program_loads() {
    let listener = tcp();
    let mut program = Program::python(&["edge_loading", "0.5"], &listener, None);
    assert_eq!(program.line(), "there");
    let evidence = accepting(&program, vec![wanted_tcp("http", &listener)]);
    let seen = monotonic_ns();
    let loaded: u64 = program.line().parse().expect("a time");
    assert!(
        seen >= loaded,
        "ready {} ms before it had loaded",
        (loaded - seen) / 1_000_000
    );
    assert!(
        matches!(evidence.second_sign, Some(SecondSign::Rest(_))),
        "{evidence}"
    );
}

#[test]
fn a_thread_that_computes_beside_the_waiting_one_is_no_rest() {
    let listener = tcp();
    let mut program = Program::python(&["edge_in_a_busy_process"], &listener, None);
    assert_eq!(program.line(), "there");
    never_accepts(&mut Observer::new(
        program.pid(),
        vec![wanted_tcp("http", &listener)],
        vec![],
    ));
}

#[test]
fn a_fast_ticker_does_not_keep_a_program_from_being_ready() {
    let listener = tcp();
    let program = Program::python(&["edge_ticking"], &listener, None);
    let evidence = accepting(&program, vec![wanted_tcp("http", &listener)]);
    println!("{evidence}");
    assert!(
        matches!(evidence.second_sign, Some(SecondSign::LightWork { .. })),
        "{evidence}"
    );
}

#[test]
fn a_connection_taken_is_the_second_sign_too() {
    let listener = tcp();
    let mut program = Program::python(&["edge_serving"], &listener, None);
    assert_eq!(program.line(), "there");
    let mut observer = Observer::new(program.pid(), vec![wanted_tcp("http", &listener)], vec![]);
    never_accepts(&mut observer);
    let _client = connect(&listener);
    let Sight::Accepting(evidence) = watch(&mut observer) else {
        panic!("blind")
    };
    let told = evidence.second_sign == Some(SecondSign::Connection)
        || evidence.waits[0].how == crate::readiness::How::Connection;
    assert!(told, "{evidence}");
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
