//! What a supervisor above sees, and what it gives.

use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::support::{Load, Start, debian, eventually, free_port, get, server};

#[test]
fn socket_activation_serves_the_connection_that_started_it() {
    let Some(activate) = debian("systemd-socket-activate") else {
        return;
    };
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let activate = activate.display().to_string();
    let words = [
        activate.as_str(),
        "--fdname=web",
        "-l",
        &address,
        "-E",
        "TEST_MARK",
    ];
    let mut words = words.to_vec();
    words.extend(["-E", "NOTIFY_SOCKET"]);
    let mut service = Start::bare(&server())
        .through(&words)
        .flag("--listen", "fd:web")
        .spawn();
    // The first connection is what starts the service; it waits in the queue meanwhile.
    let answer = eventually("systemd-socket-activate listens", || {
        get(&address, "/").ok()
    });
    assert_eq!(answer.generation(), Some(1));
    service.wait_ready();
    let load = Load::on(&address);
    service.handover("upgrade", &[]).says(0, &[]);
    load.lost_nothing(1..=2);
    service.stop();
}

#[test]
fn an_address_that_systemd_already_holds_is_adopted() {
    let Some(activate) = debian("systemd-socket-activate") else {
        return;
    };
    let address = format!("127.0.0.1:{}", free_port());
    let activate = activate.display().to_string();
    let words = [
        activate.as_str(),
        "-l",
        &address,
        "-E",
        "TEST_MARK",
        "-E",
        "NOTIFY_SOCKET",
    ];
    let start = Start::bare(&server()).through(&words);
    let mut service = start.flag("--listen", &address).spawn();
    eventually("it serves", || get(&address, "/").ok());
    service.wait_ready();
    service.stop();
}

#[test]
fn a_supervisor_is_told_of_every_change() {
    let mut service = Start::serving(&server()).start();
    service.signal(Signal::SIGUSR2);
    service.wait_notified("RELOADING=1");
    service.wait_notified("READY=1");
    service.signal(Signal::SIGTERM);
    service.wait_notified("STOPPING=1");
    assert_eq!(service.ends().code, Some(0));
}

#[test]
fn f31_the_watchdog_is_fed_also_while_an_upgrade_bakes() {
    let start = Start::serving(&server()).flag("--bake", "2s");
    let mut service = start.env("WATCHDOG_USEC", "400000").start();
    service.wait_notified("WATCHDOG=1");
    service.signal(Signal::SIGUSR2);
    service.wait_notified("RELOADING=1");
    service.wait_notified("WATCHDOG=1");
    service.wait_notified("WATCHDOG=1");
    assert_eq!(
        service.status()["state"],
        "upgrading",
        "the bake is twice as long"
    );
    service.stop();
}

#[test]
fn the_units_are_correct() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let Some(analyze) = debian("systemd-analyze") else {
        return;
    };
    let scratch = tempfile::tempdir().expect("a directory");
    for name in ["handover@.service", "handover@.socket"] {
        let text = std::fs::read_to_string(folder.join(name)).expect("the shipped unit");
        // An instance, and a program that exists here: both are checked by the verifier.
        let text = text.replace("/usr/local/bin/handover", env!("CARGO_BIN_EXE_handover"));
        std::fs::write(scratch.path().join(name.replace('@', "@web")), text).expect("a copy");
    }
    let checked = std::process::Command::new(analyze)
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(scratch.path().join("handover@web.service"))
        .output()
        .expect("systemd-analyze runs");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(
        checked.status.success() && !said.contains("Unknown"),
        "{said}"
    );
}
