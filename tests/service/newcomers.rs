//! What people stumble over first, and what they are told.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Broken, Start, eventually, python, python_code, server};

/// Takes its socket only when LISTEN_PID is its own, as systemd's protocol says.
const APP: &str = "import os, socket\n\
    mine = os.environ.get('LISTEN_PID') == str(os.getpid())\n\
    listener = socket.socket(fileno=3) if mine else socket.create_server(('127.0.0.1', 0))\n\
    while True: listener.accept()\n";

fn write_script(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a script");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("chmod");
}

#[test]
fn a_script_that_forgot_exec_is_told_so() {
    let folder = tempfile::tempdir().expect("a directory");
    let (app, script) = (folder.path().join("app.py"), folder.path().join("serve"));
    std::fs::write(&app, APP).expect("a program");
    let command = format!("{} {}", python(), app.display());
    let start = |script: &Path| Start::serving(&[script.display().to_string()]);
    write_script(&script, &format!("#!/bin/sh\n{command}\necho ended\n"));
    let ended = start(&script).flag("--ready-timeout", "3s").refused();
    let words = [
        "LISTEN_PID names the shell (sh, pid ",
        "write `exec` before the command",
    ];
    ended.says(1, &words);
    // As it says, so it works.
    write_script(&script, &format!("#!/bin/sh\nexec {command}\n"));
    start(&script).start().stop();
}

#[test]
fn a_shell_is_blamed_only_while_it_is_one() {
    let folder = tempfile::tempdir().expect("a directory");
    // The script bears the name of what it executes, so that its own tells nothing.
    let script = folder.path().join("sleep");
    let refused = |text: &str| {
        write_script(&script, text);
        Start::serving(&[script.display().to_string()])
            .flag("--ready-timeout", "2s")
            .refused()
    };
    let shell = "LISTEN_PID names the shell (sh, pid ";
    refused("#!/bin/sh\nsleep 600\necho ended\n").says(1, &[shell]);
    let became = refused("#!/bin/sh\nexec sleep 600\n");
    became.says(1, &["the socket is descriptor 3"]);
    assert!(!became.stderr.contains(shell), "{became:#?}");
}

#[test]
fn a_worker_that_never_touches_its_socket_is_told_what_was_expected_and_what_to_do() {
    let service = Start::serving(&server())
        .flag("--ready-timeout", "3s")
        .start();
    let ended = service.upgrade_to(&Broken::never_ready());
    let fact =
        "was not ready within 3 s (ready.timeout); no thread of it ever waited on http (127.";
    ended.says(
        1,
        &[fact, "\nhint: the socket is descriptor 3", "uptime:5s"],
    );
    assert_eq!(ended.stderr.matches("hint:").count(), 1, "{ended:#?}");
    service.stop();
}

#[test]
fn advice_is_given_as_soon_as_it_is_known_and_as_the_last_word() {
    let service = Start::serving(&server())
        .flag("--ready-timeout", "3s")
        .start();
    let elsewhere = python_code(
        "listener = socket.create_server(('127.0.0.1', 0))\nwhile True: listener.accept()",
    );
    let ended = service.upgrade_to(&elsewhere);
    ended.says(
        1,
        &["not on the socket it was given", "socket.socket(fileno=3)"],
    );
    let said = ended.stderr.split_once("upgrade failed");
    let (while_it_waited, last) = said.expect("it failed");
    for words in [while_it_waited, last] {
        assert_eq!(words.matches("descriptor 3").count(), 1, "{ended:#?}");
    }
    service.stop();
}

#[test]
fn following_events_ends_with_its_reader() {
    let service = Start::serving(&server()).start();
    let mut following = Command::new(env!("CARGO_BIN_EXE_handover"))
        .args(["events", "--follow", "--runtime-dir"])
        .arg(service.runtime_dir())
        .stdout(Stdio::piped())
        .spawn()
        .expect("handover runs");
    let mut line = String::new();
    let mut reader = BufReader::new(following.stdout.take().expect("a pipe"));
    reader.read_line(&mut line).expect("an event");
    assert!(line.contains("handover"), "{line}");
    drop(reader);
    // Nothing more happens, so nothing more is written.
    let status = eventually("it ends", || following.try_wait().expect("our own child"));
    assert_eq!(status.code(), Some(0));
    service.stop();
}

#[test]
fn a_flood_of_notifications_is_counted_and_not_logged_line_by_line() {
    let program = python_code(
        "def flood():\n\
         \x20   for n in range(500): notify(f'STATUS=flood {n}')\n\
         \x20   for n in range(500): notify('nonsense')\n\
         threading.Thread(target=flood, daemon=True).start()\nserve()",
    );
    let service = Start::serving(&program).start();
    service.wait_said("not told one by one");
    assert!(
        service.said().matches("flood ").count() <= 20,
        "{}",
        service.said()
    );
    let status = eventually("the last one is known", || {
        let worker = service.status()["generations"][0]["workers"][0].clone();
        (worker["status"] == "flood 499").then_some(worker)
    });
    assert_eq!(status["state"], "ready");
    service.stop();
}

#[test]
fn all_that_a_start_misses_is_told_at_once_and_with_its_place() {
    let folder = tempfile::tempdir().expect("a directory");
    let env = folder.path().join("env");
    std::fs::write(&env, "GOOD=1\n1BAD=2\n").expect("a file");
    let text = format!(
        "[app]\ncommand = [\"no-such-program\"]\nuser = \"no-such-user\"\nenv_file = {:?}\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n",
        env.display().to_string()
    );
    let broken = Start::config(&text).refused();
    let place = format!("{}:2:1: \"1BAD\" is no variable's name", env.display());
    broken.says(
        2,
        &[
            "error: ",
            "web.toml:2:11: app.command",
            "web.toml:3:8: app.user",
            &place,
        ],
    );
    std::fs::write(&env, "GOOD=1\n").expect("a file");
    let missing = Start::config(&text).refused();
    missing.says(
        1,
        &[
            "web.toml:2:11: app.command",
            "web.toml:3:8: app.user",
            "hint:",
        ],
    );
}

/// Runs a command on a kernel that lacks some system calls: `python3 -c WITHOUT NUMBER,… COMMAND…`.
const WITHOUT: &str = "import ctypes, os, struct, sys\n\
    code = [(0x20, 0, 0, 0)]\n\
    for number in sys.argv[1].split(','):\n\
    \x20   code += [(0x15, 0, 1, int(number)), (0x06, 0, 0, 0x00050000 | 38)]\n\
    code += [(0x06, 0, 0, 0x7fff0000)]\n\
    text = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in code))\n\
    program = struct.pack('HxxxxxxQ', len(code), ctypes.addressof(text))\n\
    libc = ctypes.CDLL(None, use_errno=True)\n\
    assert libc.prctl(38, 1, 0, 0, 0) == 0\n\
    assert libc.prctl(22, 2, ctypes.c_char_p(program)) == 0, os.strerror(ctypes.get_errno())\n\
    os.execv(sys.argv[2], sys.argv[2:])\n";

/// The same numbers on every architecture (Linux 5.1 and later).
const PIDFD_OPEN: &str = "434";
const CLOSE_RANGE_AND_OPENAT2: &str = "436,437";

#[test]
fn a_kernel_without_pidfds_is_named_at_the_start() {
    Start::serving(&server())
        .through(&[python(), "-c", WITHOUT, PIDFD_OPEN])
        .refused()
        .says(
            1,
            &[
                "error: pidfd_open(2) does not work here",
                "Linux 5.4 or later",
            ],
        );
}

#[test]
fn a_kernel_without_the_newer_calls_is_enough() {
    let service = Start::serving(&server())
        .through(&[python(), "-c", WITHOUT, CLOSE_RANGE_AND_OPENAT2])
        .start();
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    service.stop();
}
