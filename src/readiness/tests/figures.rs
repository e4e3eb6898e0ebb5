//! How soon, and at what cost. Numbers are printed; only gross faults fail.

use rustix::time::{ClockId, clock_gettime};

use super::*;

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// From the moment before a program calls `accept` to the observer's word.
#[test]
fn latency() {
    const RUNS: usize = 20;
    let mut late_us: Vec<u64> = (0..RUNS)
        .map(|_| {
            let listener = tcp();
            let mut program = Program::python(&["late", "0.05"], &listener, None);
            accepting(&program, vec![wanted_tcp("http", &listener)]);
            let seen = nanoseconds(ClockId::Monotonic);
            let called: u64 = program.line().parse().expect("a time");
            seen.saturating_sub(called) / 1000
        })
        .collect();
    late_us.sort_unstable();
    println!(
        "accept to ready, {RUNS} runs at 2 ms: min {} µs, median {} µs, max {} µs; all: {late_us:?}",
        late_us[0],
        late_us[RUNS / 2],
        late_us[RUNS - 1]
    );
    assert!(
        late_us[RUNS / 2] < 100_000,
        "the median is far beyond the interval"
    );
}

/// Processor time of a look at a program that is not ready, by its number of threads.
#[test]
fn cost_of_a_look() {
    const LOOKS: u64 = 500;
    for threads in [0, 3, 15, 63] {
        let listener = tcp();
        let mut program = Program::python(&["threads", &threads.to_string()], &listener, None);
        assert_eq!(program.line(), "there");
        let mut observer =
            Observer::new(program.pid(), vec![wanted_tcp("http", &listener)], vec![]);
        observer.look(Instant::now());
        let began = nanoseconds(ClockId::ThreadCPUTime);
        for _ in 0..LOOKS {
            assert_eq!(observer.look(Instant::now()), Sight::NotYet);
        }
        let each_us = (nanoseconds(ClockId::ThreadCPUTime) - began) / LOOKS / 1000;
        println!("a look at {} threads: {each_us} µs", threads + 1);
        assert!(each_us < 5_000, "a look costs milliseconds");
    }
}
