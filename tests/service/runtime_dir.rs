//! A runtime directory that somebody removes comes back, and the command line finds the master.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Kept, Load, Service, Start, call, eventually, get, server};

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
    let upgrade = format!(
        "NOTIFY_SOCKET any more: handover upgrade server --runtime-dir {}",
        folder.display()
    );
    for part in ["is made again with its control", &upgrade] {
        assert!(events.contains(part), "no {part:?}: {events}");
    }
    let mode = |path: &std::path::Path| {
        let meta = std::fs::metadata(path).expect("it is there");
        meta.permissions().mode() & 0o777
    };
    assert_eq!(mode(&folder), 0o711);
    assert_eq!(mode(&folder.join("control.sock")), 0o600);
    // It is held as before: no other master takes it.
    let other = Start::serving(&server()).runtime_dir(&folder).refused();
    other.says(1, &["runs already (pid ", "another --runtime-dir"]);
    service.handover("upgrade", &[]).says(0, &[]);
    load.lost_nothing(1..=2);
    service.stop();
    assert!(!folder.join("control.sock").exists(), "removed at the end");
}

#[test]
fn a_start_beside_a_master_that_drains_says_so_and_what_to_wait_for() {
    let place = tempfile::tempdir().expect("a directory that outlives both");
    let folder = place.path().join("run");
    let start = || Start::serving(&server()).runtime_dir(&folder);
    let service = start().start();
    let mut kept = Kept::open(&service.address()).expect("a connection");
    kept.get("/").expect("an answer");
    service.signal(Signal::SIGTERM);
    eventually("it drains", || {
        (service.status()["state"] == "stopping").then_some(())
    });
    let stop = format!("handover stop server --runtime-dir {}", folder.display());
    start().refused().says(
        1,
        &[
            &format!("service server runs already (pid {}, neither", service.pid()),
            "it is stopping and its workers may drain for another ",
            &format!(" s: wait until it is gone, and start again: {stop}; to end it at once: {stop} --now; or"),
        ],
    );
    // That order waits, and hastens nothing.
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| call("stop", &folder, &["server"]));
        eventually("the order is taken", || {
            let events = service.events();
            (events.matches("\"master_stopping\"").count() == 2).then_some(())
        });
        drop(kept);
        stopped.join().expect("no panic").says(0, &[]);
    });
    service.ends().says(0, &[]);
    start().start().stop();
}

#[test]
fn what_else_has_a_name_of_handovers_is_named_with_the_command_that_removes_it() {
    for (made, what, command) in [
        (
            "mkdir -p control.sock/x",
            "a directory",
            "rm -r @/control.sock",
        ),
        ("mkdir control.sock.new", "a directory", "control.sock.new"),
        ("mkfifo lock", "a FIFO", "rm @/lock"),
        ("mkdir lock", "a directory", "rm -r @/lock"),
        ("echo > workers", "a file", "rm @/workers"),
        ("mkfifo workers", "a FIFO", "rm @/workers"),
    ] {
        let start = Start::serving(&server());
        let folder = start.path("run");
        let line = format!("mkdir run && cd run && {made} && cd .. && exec \"$@\"");
        let refused = start.through_sh(&line).refused();
        let name = command.rsplit('/').next().unwrap_or_default();
        let path = folder.join(name).display().to_string();
        refused.says(
            1,
            &[
                &format!("{path} is {what}, and handover needs this name for its"),
                &command.replace('@', &folder.display().to_string()),
            ],
        );
    }
}

#[test]
fn a_folder_of_somebody_else_is_not_emptied() {
    for room in ["workers", "listeners"] {
        let start = Start::serving(&server());
        let folder = start.path("run").join(room).display().to_string();
        let line = format!(
            "mkdir -p run/{room} && echo my thesis >run/{room}/text && \"$@\"; code=$?; \
             cat run/{room}/text >&2; ls run >&2; exit $code"
        );
        let refused = start.through_sh(&line).refused();
        let why = format!("{folder} is not empty, and no master of handover made it");
        refused.says(1, &[&why, &format!("my thesis\n{room}\n")]);
    }
}

#[test]
fn whatever_stands_in_the_place_of_the_listeners_is_a_leftover() {
    for made in ["echo > listeners", "mkfifo listeners", "ln -s / listeners"] {
        let place = tempfile::tempdir().expect("a directory that outlives it");
        let folder = place.path().join("run");
        let line = format!(
            "mkdir {0} && (cd {0} && {made}) && exec \"$@\"",
            folder.display()
        );
        let start = Start::serving(&server()).runtime_dir(&folder);
        let service = start.through_sh(&line).start();
        let listeners = folder.join("listeners");
        let meta = std::fs::symlink_metadata(&listeners).expect("there");
        assert!(meta.is_dir());
        std::fs::remove_dir_all(&listeners).expect("it is there");
        std::fs::write(&listeners, "").expect("a file");
        let ended = service.ends_after_term();
        assert!(!listeners.exists(), "{ended:?}");
    }
}

/// The longest one that works: the sockets of all workers fit into an address, however high their numbers get.
const LENGTH_MAX: usize = 64;

#[test]
fn a_crashed_worker_comes_back_in_the_longest_runtime_directory() {
    let place = tempfile::tempdir().expect("a directory that outlives it");
    let folder = |length: usize| {
        let above = place.path().as_os_str().len() + 1;
        place.path().join("x".repeat(length - above))
    };
    // At 87 it started, and the first worker that crashed never came back; at 88 generation 10 did not start.
    for length in [LENGTH_MAX + 1, 87, 88, 90, 120] {
        let folder = folder(length);
        let refused = Start::serving(&server()).runtime_dir(&folder).refused();
        refused.says(
            1,
            &[
                &format!("{} is {length} bytes long", folder.display()),
                &format!("at most {LENGTH_MAX} work"),
                "unix(7)",
                "choose a shorter --runtime-dir",
            ],
        );
        assert!(!folder.exists());
    }
    let service = Start::serving(&server());
    let service = service.runtime_dir(folder(LENGTH_MAX)).start();
    let load = Load::on(&service.address());
    for _ in 2..=10 {
        service.handover("upgrade", &[]).says(0, &[]);
    }
    load.lost_nothing(1..=10);
    kill(Pid::from_raw(service.workers(10)[0]), Signal::SIGKILL).expect("its worker");
    let life = service.runtime_dir().join("workers/10.0-1/notify");
    eventually("its successor has its socket", || {
        life.exists().then_some(())
    });
    eventually("its successor serves", || {
        let answer = get(&service.address(), "/").ok()?;
        (answer.status == 200).then_some(())
    });
    service.stop();
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
    service.wait_said("stop it: handover stop other --runtime-dir ");
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

#[test]
fn what_another_master_made_in_a_lost_runtime_directory_is_not_touched() {
    let place = tempfile::tempdir().expect("a directory that outlives both");
    let folder = place.path().join("run");
    let service = Start::serving(&server()).flag("--name", "first");
    let service = service.runtime_dir(&folder).start();
    let worker = service.workers(1)[0];
    // Stopped, so that it cannot look before the other one has the lock.
    service.signal(Signal::SIGSTOP);
    std::fs::remove_dir_all(&folder).expect("it is there");
    let socket = folder.with_file_name("web.sock");
    let other = Start::serving(&server()).flag("--name", "other");
    let other = other
        .flag("--listen", format!("unix:{}", socket.display()))
        .runtime_dir(&folder)
        .start();
    let theirs = [
        "control.sock",
        "listeners",
        "workers/1.0/notify",
        "workers/1.0/out",
    ];
    let stands = || theirs.iter().all(|name| folder.join(name).exists());
    assert!(stands());
    service.signal(Signal::SIGCONT);
    // Its own worker had the same name. Another one finds no place, and that is said.
    kill(Pid::from_raw(worker), Signal::SIGKILL).expect("its worker");
    service.wait_said("the runtime directory was removed and cannot be made again");
    service.signal(Signal::SIGUSR2);
    service.wait_said(
        "could not be started: the runtime directory was removed and cannot be made again",
    );
    assert!(stands());
    assert!(!folder.join("workers/1.0-1").exists());
    service.stop();
    assert!(stands(), "the end of the first clears nothing of the other");
    let status = other.handover("status", &["--json"]);
    assert!(status.stdout.contains("\"other\""), "{status:#?}");
    other.handover("upgrade", &[]).says(0, &[]);
    other.stop();
}

#[test]
fn a_narrow_umask_takes_nothing_from_the_directories() {
    let start = Start::serving(&server());
    let above = start.path("above");
    let start = start
        .runtime_dir(above.join("run"))
        .through_sh("umask 077; exec \"$@\"");
    let service = start.start();
    let mode = |path: &std::path::Path| {
        let meta = std::fs::metadata(path).expect("it is there");
        meta.permissions().mode() & 0o777
    };
    let for_all = |mode| match nix::unistd::geteuid().is_root() {
        true => mode,
        false => 0o700,
    };
    // A worker of another user passes through to its own.
    let folder = service.runtime_dir();
    assert_eq!(mode(&above), for_all(0o755));
    assert_eq!(mode(&folder), 0o711);
    assert_eq!(mode(&folder.join("workers")), 0o711);
    assert_eq!(mode(&folder.join("listeners")), 0o700);
    service.stop();
}

#[test]
fn a_start_into_a_removed_runtime_directory_makes_it_again_and_the_socket_follows() {
    let service = Start::serving(&server()).start();
    let worker = service.workers(1)[0];
    // All at once for the master: its worker is gone before it looks at the directory.
    service.signal(Signal::SIGSTOP);
    std::fs::remove_dir_all(service.runtime_dir()).expect("it is there");
    kill(Pid::from_raw(worker), Signal::SIGKILL).expect("its worker");
    service.signal(Signal::SIGCONT);
    service.wait_said("is made again with its control");
    found_again(&service);
    eventually("another worker serves", || {
        let now = service.workers(1);
        (now.len() == 1 && now[0] != worker).then_some(())
    });
    service.stop();
}
