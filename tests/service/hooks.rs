//! Commands at certain moments.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::leftovers::Left;
use crate::support::{Broken, Load, Service, Start, eventually, server};

/// A config whose hooks are shell lines; `$LOG` is a file for what they note.
fn hooked(hooks: &[(&str, &str)]) -> Start {
    let start = Start::config("[app]\ncommand = [\"false\"]\n");
    let log = start.path("log");
    let command: Vec<String> = server().iter().map(|word| format!("{word:?}")).collect();
    let lines: Vec<String> = hooks
        .iter()
        .map(|(hook, script)| format!("{hook} = [\"/bin/sh\", \"-c\", {script:?}]\n"))
        .collect();
    let text = format!(
        "[app]\ncommand = [{}]\n[[listen]]\naddress = \"127.0.0.1:0\"\n[hooks]\n{}",
        command.join(", "),
        lines.concat()
    );
    std::fs::write(start.path("web.toml"), text).expect("a config file");
    start.env("LOG", log.to_str().expect("a path"))
}

const NOTE: &str =
    "echo $HANDOVER_HOOK $HANDOVER_GENERATION $HANDOVER_RELEASE $HANDOVER_REASON >> $LOG";

fn noted(service: &Service) -> Vec<String> {
    let text = std::fs::read_to_string(service.path("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn hooks_run_in_their_order_and_know_what_it_is_about() {
    let all = ["pre_upgrade", "post_ready", "post_drain", "on_failure"].map(|hook| (hook, NOTE));
    let service = hooked(&all).start();
    assert_eq!(noted(&service), [""; 0], "the first start is no upgrade");
    service
        .handover("upgrade", &["--label", "v2", "--drained"])
        .says(0, &["hook pre_upgrade of generation 2 runs"]);
    eventually("the old generation's end is noted", || {
        (noted(&service).len() == 3).then_some(())
    });
    let events = service.events();
    let place = |part: &str| {
        events
            .find(part)
            .unwrap_or_else(|| panic!("no {part}: {events}"))
    };
    let done = place("\"kind\":\"hook_ended\"");
    let started = events.rfind("\"generation_started\"");
    assert!(
        started > Some(done),
        "nothing starts before its hook: {events}"
    );
    let lines = noted(&service);
    assert_eq!(lines[..2], ["pre_upgrade 2 v2", "post_ready 2 v2"]);
    assert!(lines[2].starts_with("post_drain 1"), "{lines:?}");
    service.upgrade_to(&Broken::at_once()).says(1, &[]);
    eventually("the failure is noted", || {
        (noted(&service).len() == 5).then_some(())
    });
    let lines = noted(&service);
    assert!(lines[3].starts_with("pre_upgrade 3"), "{lines:?}");
    assert!(
        lines[4].starts_with("on_failure 3") && lines[4].contains("worker 3.0"),
        "{lines:?}"
    );
    service.stop();
}

#[test]
fn pre_upgrade_refuses_and_nothing_is_started() {
    let script = "echo 'the database is being migrated' >&2; exit 7";
    let service = hooked(&[("pre_upgrade", script)]).start();
    service.handover("upgrade", &[]).says(
        1,
        &[
            "hook pre_upgrade ended with",
            "7",
            "the database is being migrated",
            "generation 1 serves as before",
        ],
    );
    let events = service.events();
    assert!(!events.contains("\"worker\":\"2.0\""), "{events}");
    let starts = events.matches("\"generation_started\"").count();
    assert_eq!(starts, 1, "that of generation 1: {events}");
    let last = &service.status()["last_upgrade"];
    assert_eq!(last["result"], "failed", "{last}");
    let reason = last["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("hook pre_upgrade "), "{last}");
    service.wait_said("hook pre_upgrade: the database is being migrated");
    service.stop();
}

#[test]
fn post_ready_speaks_against_it_and_it_is_undone_under_load() {
    let service = hooked(&[("post_ready", "echo not what it should be; exit 1")]).start();
    let load = Load::on(&service.address());
    service
        .handover("upgrade", &[])
        .says(1, &["hook post_ready ended with", "not what it should be"]);
    assert_eq!(service.generation(), 1);
    service.wait_ended(2);
    load.lost_nothing([1]);
    service.stop();
}

#[test]
fn a_hook_that_never_ends_is_killed_with_its_group() {
    let service = hooked(&[("pre_upgrade", "sleep 600 & sleep 601; wait")]).start();
    let began = Instant::now();
    service
        .handover("upgrade", &[])
        .says(1, &["hook pre_upgrade was not done within 30 s"]);
    assert!(began.elapsed() >= Duration::from_secs(30));
    service.stop(); // and asserts that no sleep is left
}

#[test]
fn abort_and_stop_do_not_wait_for_a_hook() {
    let service = hooked(&[("pre_upgrade", "sleep 600")]).start();
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| service.handover("upgrade", &[]));
        service.wait_event("hook_started");
        service.handover("abort", &[]).says(0, &[]);
        upgrade.join().expect("no panic").says(1, &["aborted"]);
    });
    service.handover("upgrade", &["--no-wait"]).says(0, &[]);
    service.stop();
}

#[test]
fn a_hook_that_cannot_run_is_told_at_the_start() {
    let start = Start::config(
        "[app]\ncommand = [\"true\"]\n[[listen]]\naddress = \"127.0.0.1:0\"\n[hooks]\n\
         post_ready = [\"/nowhere/hook\"]\n",
    );
    start
        .refused()
        .says(1, &["web.toml:6", "hooks.post_ready", "/nowhere/hook"]);
}

#[test]
fn listeners_go_on_accepting_while_readyz_says_no() {
    let service = Start::serving(&server())
        .env("HANDOVER_DRAIN__DELAY", "5s")
        .start();
    let load = Load::on(&service.address());
    let ready = || service.ask("GET", "/readyz", "").expect("an answer").status;
    assert_eq!(ready(), 200);
    std::thread::scope(|scope| {
        let began = Instant::now();
        let stop = scope.spawn(|| service.handover("stop", &[]));
        service.wait_event("stop_delayed");
        assert_eq!(ready(), 503, "whoever asks sends nobody here any more");
        load.lost_nothing([1]);
        stop.join().expect("no panic").says(0, &[]);
        assert!(began.elapsed() >= Duration::from_secs(5));
    });
    service.ends();
}

/// A line that starts a daemon: a process that leaves the hook's group, whose number is in the file once it runs.
fn daemon(file: &str) -> String {
    format!(
        "setsid -f sh -c 'printf %s $$ >$LOG.{file}.new; mv $LOG.{file}.new $LOG.{file}; exec sleep 600'; \
         until test -e $LOG.{file}; do :; done"
    )
}

#[test]
fn what_a_hook_leaves_behind_ends_with_it_and_is_named() {
    let service = hooked(&[("pre_upgrade", &daemon("daemon"))]).start();
    let file = service.path("log.daemon");
    service.handover("upgrade", &[]).says(0, &[]);
    let daemon = Left::of(&file);
    service.wait_said(&format!(
        "hook pre_upgrade left 1 process behind, killed: sleep (pid {})",
        daemon.pid()
    ));
    eventually("it is gone", || (!daemon.lives()).then_some(()));
    service.stop();
}

#[test]
fn the_daemon_of_an_aborted_hook_ends_with_it() {
    let script = format!("{}; sleep 601", daemon("daemon"));
    let service = hooked(&[("pre_upgrade", &script)]).start();
    let file = service.path("log.daemon");
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| service.handover("upgrade", &[]));
        let daemon = Left::of(&file);
        service.handover("abort", &[]).says(0, &[]);
        upgrade.join().expect("no panic").says(1, &["aborted"]);
        eventually("it is gone", || (!daemon.lives()).then_some(()));
        service.wait_said(&format!("killed: sleep (pid {})", daemon.pid()));
    });
    service.stop();
}

#[test]
fn a_hook_and_its_daemon_end_with_the_service() {
    let script = format!("{}; sleep 601", daemon("daemon"));
    let service = hooked(&[("pre_upgrade", &script)]).start();
    let file = service.path("log.daemon");
    service.handover("upgrade", &["--no-wait"]).says(0, &[]);
    let daemon = Left::of(&file);
    service.stop(); // and asserts that nothing is left
    assert!(!daemon.lives());
}

#[test]
fn failures_wait_for_each_other_and_the_oldest_of_too_many_is_dropped_and_told() {
    let page = "echo begin $HANDOVER_GENERATION >>$LOG; until test -e $LOG.go; do sleep 0.02; done; \
                echo end $HANDOVER_GENERATION >>$LOG";
    let service = hooked(&[("pre_upgrade", "exit 1"), ("on_failure", page)]).start();
    // The first runs, sixteen wait, and two are too many.
    for _ in 0..19 {
        service.handover("upgrade", &[]).says(1, &["pre_upgrade"]);
    }
    for generation in [3, 4] {
        service.wait_said(&format!(
            "hook on_failure of generation {generation} was not run: 16 later ones wait for one that still runs"
        ));
    }
    assert_eq!(noted(&service), ["begin 2"], "one at a time");
    std::fs::write(service.path("log.go"), "").expect("a file");
    let run = std::iter::once(2).chain(5..=20);
    let expected: Vec<String> = run
        .flat_map(|number| [format!("begin {number}"), format!("end {number}")])
        .collect();
    eventually("all that waited have run", || {
        (noted(&service).len() == expected.len()).then_some(())
    });
    assert_eq!(noted(&service), expected);
    service.stop();
}

#[test]
fn a_stop_tells_which_hooks_were_not_run() {
    let page = "echo $HANDOVER_GENERATION >>$LOG; sleep 600";
    let service = hooked(&[("pre_upgrade", "exit 1"), ("on_failure", page)]).start();
    for _ in 0..2 {
        service.handover("upgrade", &[]).says(1, &["pre_upgrade"]);
    }
    eventually("the first is noted", || {
        (noted(&service) == ["2"]).then_some(())
    });
    service.signal(Signal::SIGTERM);
    service.ends().says(
        0,
        &["hook on_failure of generation 3 was not run: the service ends"],
    );
}
