//! The verbs of the command line against a running master, and against none.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Broken, PATIENCE, Service, Start, eventually, server};

#[test]
fn without_a_master_a_verb_says_where_it_looked() {
    let service = Start::serving(&server()).start();
    let folder = service.runtime_dir();
    let elsewhere = folder.with_file_name("nobody");
    crate::support::call("status", &elsewhere, &[]).says(4, &["nobody"]);
    service.stop();
}

#[test]
fn status_says_what_runs_and_which_evidence_decided() {
    let service = Start::serving(&server()).flag("--name", "web").start();
    let json = service.handover("status", &["--json"]);
    json.says(0, &[]);
    let status: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(status["name"], "web");
    assert_eq!(status["pid"], service.pid());
    assert_eq!(status["route"], "direct");
    let worker = &status["generations"][0]["workers"][0];
    assert_eq!(worker["id"], "1.0");
    assert_eq!(worker["state"], "ready");
    let evidence = worker["ready_by"].as_str().expect("evidence");
    assert!(evidence.contains("accept"), "{evidence}");
    let text = service.handover("status", &[]).stdout;
    assert!(
        text.contains("web") && text.contains(&service.address()),
        "{text}"
    );
    service.stop();
}

#[test]
fn after_a_stop_the_process_is_gone_and_the_next_master_can_start() {
    let service = Start::serving(&server()).start();
    let place = service.runtime_dir();
    // Whoever is in the middle of a request holds up the end for a moment, and not the answer.
    let mut half = UnixStream::connect(place.join("control.sock")).expect("connected");
    half.write_all(b"GET /v1/status HTTP/1.1\r\nHost: x")
        .expect("half a request");
    // The answer to this one shows that the other has arrived.
    assert_eq!(service.status()["state"], "serving");
    service.handover("stop", &[]).says(0, &[]);
    // Nobody but this test reaps it, and it has not yet.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", service.pid())).expect("a zombie");
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    assert_eq!(state, Some('Z'), "{stat}");
    let next = Start::serving(&server()).runtime_dir(&place).start();
    next.stop();
    service.ends();
    drop(half);
}

#[test]
fn a_wait_that_is_too_short_is_5_and_the_upgrade_goes_on() {
    let service = Start::serving(&server()).flag("--bake", "2s").start();
    service
        .handover("upgrade", &["--timeout", "300ms"])
        .says(5, &[]);
    service.wait_generation(2);
    service.stop();
}

#[test]
fn interrupting_a_waiting_command_does_not_end_the_upgrade() {
    let service = Start::serving(&server()).flag("--bake", "3s").start();
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_handover"))
        .args(["upgrade", "--runtime-dir"])
        .arg(service.runtime_dir())
        .spawn()
        .expect("handover runs");
    eventually("it runs", || {
        (service.status()["state"] == "upgrading").then_some(())
    });
    let pid = Pid::from_raw(i32::try_from(waiting.id()).expect("a PID"));
    kill(pid, Signal::SIGINT).expect("our own child");
    assert_eq!(waiting.wait().expect("our own child").code(), Some(130));
    service.wait_generation(2);
    service.stop();
}

#[test]
fn the_history_of_events_tells_the_story() {
    let service = Start::serving(&server()).start();
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    service.upgrade_to(&Broken::at_once()).says(1, &[]);
    let events = service.events();
    let kinds: Vec<String> = events
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).expect("JSON");
            event["kind"].as_str().expect("a kind").to_owned()
        })
        .collect();
    let mut from = 0;
    for wanted in [
        "master_started",
        "generation_started",
        "worker_launched",
        "worker_ready",
        "generation_active",
        "operation_started",
        "bake_started",
        "generation_active",
        "generation_draining",
        "generation_ended",
        "operation_started",
        "worker_exited",
        "generation_failed",
    ] {
        let found = kinds[from..].iter().position(|kind| kind == wanted);
        from += found.unwrap_or_else(|| panic!("no {wanted} after {from} in {kinds:#?}")) + 1;
    }
    service.stop();
}

#[test]
fn stop_drains_and_ends_and_now_does_not_wait() {
    let service = Start::serving(&server()).start();
    service.handover("stop", &[]).says(0, &[]);
    assert_eq!(service.ends().code, Some(0));
    let service = Start::serving(&server()).start();
    // An idle connection would hold the example server for 15 s.
    let idle = std::net::TcpStream::connect(service.address()).expect("a connection");
    let started = std::time::Instant::now();
    service.handover("stop", &["--now"]).says(0, &[]);
    service.ends().says(0, &["ends at once, without a drain"]);
    assert!(
        started.elapsed() < Duration::from_secs(12),
        "--now does not drain"
    );
    drop(idle);
}

/// What the control socket answers to these bytes.
fn raw(service: &Service, bytes: &str) -> String {
    let socket = service.runtime_dir().join("control.sock");
    let mut stream = UnixStream::connect(socket).expect("the socket is there");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(bytes.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn a_request_with_two_lengths_is_refused_and_does_nothing() {
    let service = Start::serving(&server()).start();
    let stop = "POST /v1/stop HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    for headers in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        "Content-Length: 2, 3\r\n\r\n{} ",
    ] {
        let answer = raw(&service, &format!("{stop}{headers}"));
        assert!(answer.starts_with("HTTP/1.1 400"), "{headers:?}: {answer}");
    }
    assert_eq!(service.status()["state"], "serving");
    service.stop();
}

#[test]
fn a_command_that_is_too_long_is_refused_for_that_each_time() {
    let service = Start::serving(&server()).start();
    let word = "x".repeat(1000);
    let words: Vec<&str> = ["--", "true"]
        .into_iter()
        .chain(std::iter::repeat_n(word.as_str(), 1500))
        .collect();
    // Who writes on while the answer is given met a broken pipe now and then, and took the master for dead.
    for _ in 0..5 {
        let refused = service.handover("upgrade", &words);
        refused.says(2, &["the body has more than 1048576 bytes"]);
    }
    service.stop();
}

#[test]
fn a_label_is_short_and_steers_no_terminal() {
    let service = Start::serving(&server()).start();
    let long = "x".repeat(257);
    let upgrade = |label: &str| service.handover("upgrade", &["--label", label]);
    upgrade(&long).says(2, &["label", "256 bytes"]);
    assert_eq!(service.generation(), 1, "nothing began");
    let body = "{\"label\": \"a\\u0000b\"}";
    let answer = service.ask("POST", "/v1/upgrade", body).expect("an answer");
    assert!(
        answer.status == 400 && answer.body.contains("NUL"),
        "{answer:?}"
    );
    upgrade(&long[1..]).says(0, &[]);
    upgrade("v3\u{1b}[31m\u{7}red").says(0, &[]);
    let status = service.handover("status", &[]).stdout;
    assert!(status.contains("red"), "{status}");
    assert!(!status.contains(['\u{1b}', '\u{7}']), "{status:?}");
    assert!(!service.said().contains(['\u{1b}', '\u{7}']), "nor its log");
    // Programs get it as it is.
    assert_eq!(
        service.status()["generations"][0]["label"],
        "v3\u{1b}[31m\u{7}red"
    );
    service.stop();
}

#[test]
fn a_socket_option_that_changed_in_the_config_is_told_once() {
    let quoted: Vec<String> = server().iter().map(|word| format!("{word:?}")).collect();
    let text = format!(
        "[app]\ncommand = [{}]\n[[listen]]\naddress = \"127.0.0.1:0\"\n",
        quoted.join(", ")
    );
    let service = Start::config(&text).start();
    let changed = format!("{text}nodelay = true\n");
    std::fs::write(service.path("web.toml"), changed).expect("the config");
    for verb in ["upgrade", "reload"] {
        let ended = service.handover(verb, &[]);
        ended.says(0, &["nodelay", "takes effect when the master starts anew"]);
        let times = ended.stderr.matches("takes effect when").count();
        assert_eq!(times, 1, "{verb}: {}", ended.stderr);
    }
    service.stop();
}

/// Open descriptors of a process.
fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

#[test]
fn who_follows_events_and_hangs_up_costs_no_descriptor_even_when_it_asked_for_more() {
    let service = Start::serving(&server()).start();
    let before = descriptors(service.pid());
    let mut callers = Vec::new();
    for _ in 0..60 {
        let socket = service.runtime_dir().join("control.sock");
        let mut caller = UnixStream::connect(socket).expect("connected");
        // What comes behind a stream without end is never read.
        let asked = "GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n".repeat(3);
        caller.write_all(asked.as_bytes()).expect("sent");
        let mut head = [0; 15];
        caller.read_exact(&mut head).expect("an answer");
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        callers.push(caller);
    }
    assert!(descriptors(service.pid()) >= before + 60);
    drop(callers);
    // Without anything that happens: a heartbeat comes after half a minute only.
    let begun = Instant::now();
    eventually("their descriptors are gone", || {
        (descriptors(service.pid()) <= before).then_some(())
    });
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    service.stop();
}
