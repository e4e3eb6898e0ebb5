//! A runtime directory that somebody removes comes back, and the command line finds the master.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::support::{Load, Service, Start, eventually, server};

#[track_caller]
fn found_again(service: &Service) {
    eventually("the command line finds it again", || {
        (service.handover("status", &[]).code == Some(0)).then_some(())
    });
}

#[test]
fn a_removed_runtime_directory_is_made_again_with_its_control_socket() {
    let service = Start::serving(&server()).start();
    let load = Load::on(&service.address());
    let folder = service.runtime_dir();
    for _ in 0..2 {
        std::fs::remove_dir_all(&folder).expect("it is there");
        found_again(&service);
    }
    let events = service.events();
    assert!(
        events.contains("is made again with its control"),
        "{events}"
    );
    let mode = |path: &std::path::Path| {
        let meta = std::fs::metadata(path).expect("it is there");
        meta.permissions().mode() & 0o777
    };
    assert_eq!(mode(&folder), 0o711);
    assert_eq!(mode(&folder.join("control.sock")), 0o600);
    // It is held as before: no other master takes it.
    let other = Start::serving(&server()).runtime_dir(&folder).refused();
    other.says(1, &["belongs to a running master"]);
    service.handover("upgrade", &[]).says(0, &[]);
    load.lost_nothing(1..=2);
    service.stop();
    assert!(!folder.join("control.sock").exists(), "removed at the end");
}

#[test]
fn a_removed_control_socket_is_bound_again() {
    let service = Start::serving(&server()).start();
    let socket = service.runtime_dir().join("control.sock");
    for step in ["unlinked", "moved"] {
        match step {
            "unlinked" => std::fs::remove_file(&socket),
            _ => std::fs::rename(&socket, socket.with_extension("old")),
        }
        .expect(step);
        found_again(&service);
    }
    let events = service.events();
    assert!(events.contains("bound again"), "{events}");
    service.stop();
}

#[test]
fn a_removed_runtime_directory_that_another_master_took_is_left_to_it() {
    let service = Start::serving(&server()).flag("--name", "first").start();
    let folder = service.runtime_dir();
    // Stopped, so that it cannot look before the other one has the lock.
    service.signal(Signal::SIGSTOP);
    std::fs::remove_dir_all(&folder).expect("it is there");
    let other = Start::serving(&server()).flag("--name", "other");
    let other = other.runtime_dir(&folder).start();
    service.signal(Signal::SIGCONT);
    service.wait_said("cannot be made again");
    service.wait_said("belongs to a running master (other");
    let status = service.handover("status", &["--json"]);
    assert!(status.stdout.contains("\"other\""), "{status:#?}");
    other.stop();
    // Nobody has it any more.
    eventually("the command line finds the first again", || {
        let status = service.handover("status", &["--json"]);
        status.stdout.contains("\"first\"").then_some(())
    });
    service.stop();
}
