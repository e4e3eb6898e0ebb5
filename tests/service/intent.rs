//! What was asked for stays what serves, and a failure changes nothing of what it was to replace.

use std::io::Write;
use std::net::TcpStream;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Broken, Service, Start, eventually, get, python_code, server, sh};

/// A TOML list of words.
fn list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", quoted.join(", "))
}

fn config(command: &[String], more: &str) -> String {
    let command = list(command);
    format!("[app]\ncommand = {command}\n{more}\n[[listen]]\naddress = \"127.0.0.1:0\"\n")
}

/// Changes the file that the service was started with.
fn write_config(service: &Service, text: &str) {
    std::fs::write(service.path("web.toml"), text).expect("a config file");
}

/// The program with a mark in its command line.
fn marked(mark: &str) -> Vec<String> {
    sh(&format!("exec {} {mark}", server().join(" ")))
}

/// The mark of the program that serves.
fn runs(service: &Service) -> String {
    let status = service.status();
    let active = &status["generation"];
    let generations = status["generations"].as_array().expect("a list");
    let generation = generations.iter().find(|one| &one["number"] == active);
    let command = &generation.expect("the active one")["release"]["command"];
    let script = command[2].as_str().expect("a script");
    script.rsplit(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn a_failed_upgrade_changes_nothing_of_how_the_old_generation_is_watched() {
    let ready_says = |words: &str| {
        let again = "def beat():\n\
                     \x20   while True: notify('WATCHDOG=1'); time.sleep(0.2)\n\
                     threading.Thread(target=beat, daemon=True).start()\n";
        python_code(&format!("print({words:?}, flush=True)\n{again}serve()"))
    };
    let old = "watchdog = \"1s\"\n[ready]\non = \"output:ready now\"\ntimeout = \"5s\"";
    let start = Start::config(&config(&ready_says("ready now"), old));
    let service = start.start();
    let first = service.workers(1);
    // Another watchdog, another sign of readiness, and a program that cannot work.
    let new = "watchdog = \"60s\"\n[ready]\non = \"output:something else\"\ntimeout = \"5s\"";
    write_config(&service, &config(&Broken::at_once(), new));
    service
        .handover("upgrade", &[])
        .says(1, &["cannot find the database"]);
    kill(Pid::from_raw(first[0]), Signal::SIGKILL).expect("the old worker");
    let again = eventually("it is started again and ready as before", || {
        let worker = service.status()["generations"][0]["workers"][0].clone();
        let ready = worker["state"] == "ready" && worker["pid"] != first[0];
        ready.then_some(worker)
    });
    let pid = again["pid"].as_i64().expect("a number");
    let env = std::fs::read(format!("/proc/{pid}/environ")).expect("the worker lives");
    let env = String::from_utf8_lossy(&env).into_owned();
    assert!(env.contains("WATCHDOG_USEC=1000000\0"), "{env:?}");
    service.stop();
}

#[test]
fn an_upgrade_behind_another_goes_on_from_what_that_one_brings() {
    let service = Start::config(&config(&marked("v1"), ""))
        .flag("--bake", "1s")
        .start();
    std::thread::scope(|scope| {
        let v2 = scope.spawn(|| service.upgrade_to(&marked("v2")));
        service.wait_event("bake_started");
        // Without the answer, as a deployer's script may do it twice.
        service.signal(Signal::SIGUSR2);
        v2.join().expect("no panic").says(0, &[]);
    });
    eventually("all is done", || {
        service.status()["operation"].is_null().then_some(())
    });
    assert_eq!(runs(&service), "v2");
    service.stop();
}

#[test]
fn a_failed_upgrade_to_a_changed_config_is_tried_with_that_config_again() {
    let service = Start::config(&config(&marked("v1"), "")).start();
    service.upgrade_to(&marked("v2")).says(0, &[]);
    write_config(&service, &config(&Broken::at_once(), ""));
    service
        .handover("upgrade", &[])
        .says(1, &["cannot find the database"]);
    assert_eq!(runs(&service), "v2");
    service
        .handover("upgrade", &[])
        .says(1, &["cannot find the database"]);
    assert_eq!(runs(&service), "v2", "what serves stays");
    service.stop();
}

#[test]
fn what_was_rolled_back_does_not_come_back_with_the_next_upgrade() {
    let service = Start::config(&config(&marked("v1"), "")).start();
    service.upgrade_to(&marked("v2")).says(0, &[]);
    service.handover("rollback", &[]).says(0, &[]);
    assert_eq!(runs(&service), "v1");
    assert!(service.status()["sticky"].is_null(), "{}", service.status());
    service.handover("upgrade", &[]).says(0, &[]);
    assert_eq!(runs(&service), "v1");
    service.stop();
}

#[test]
fn the_last_of_several_tries_says_why_it_failed() {
    let service = Start::config(&config(&marked("v1"), "[upgrade]\nretries = 1")).start();
    service
        .upgrade_to(&Broken::at_once())
        .says(1, &["exit status 3", "cannot find the database"]);
    let status = service.status();
    assert_eq!(status["last_upgrade"]["to"], 3, "{status:#}");
    service.stop();
}

#[test]
fn a_main_process_that_was_named_is_observed_as_its_parent_was() {
    // The parent goes before anybody is ready, as daemons do.
    let program = python_code(
        "child = os.fork()\n\
         if child:\n\
         \x20   notify(f'MAINPID={child}'); time.sleep(0.3); os._exit(0)\n\
         os.environ['LISTEN_PID'] = str(os.getpid())\n\
         time.sleep(1)\nserve()",
    );
    let service = Start::serving(&program)
        .flag("--ready-timeout", "10s")
        .start();
    let worker = service.status()["generations"][0]["workers"][0].clone();
    let by = worker["ready_by"].as_str().expect("a sentence");
    assert!(by.contains("accept"), "{worker}");
    get(&service.address(), "/").expect("an answer");
    service.stop();
}

#[test]
fn f07_a_generation_that_takes_nobody_from_the_queue_fails_its_bake() {
    // One connection at a time, held for as long as its client likes.
    let old = python_code(
        "s = socket.socket(fileno=3)\n\
         while True:\n\
         \x20   c, _ = s.accept()\n\
         \x20   while c.recv(4096): pass",
    );
    let new = python_code("notify('READY=1')\ntime.sleep(600)");
    let service = Start::serving(&old).flag("--bake", "20s").start();
    let connect = || {
        let mut client = TcpStream::connect(service.address()).expect("the queue takes it");
        client.write_all(b"hello").expect("it is written");
        client
    };
    let _served = connect();
    let _waits = connect();
    service
        .upgrade_to(&new)
        .says(1, &["connections wait on a listener and nobody takes them"]);
    assert_eq!(service.generation(), 1);
    service.stop();
}
