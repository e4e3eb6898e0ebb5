//! A hostile world: closed descriptors, low limits, strange clients.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, prlimit};

use crate::support::{Load, Service, Start, eventually, example_server, get, python_code, server};

#[test]
fn closed_standard_descriptors_are_no_reason_to_fail() {
    let mut service = Start::serving(&server())
        .through_sh("exec \"$@\" <&- >&- 2>&-")
        .spawn();
    service.wait_ready();
    let load = Load::on(&service.address());
    service.handover("upgrade", &[]).says(0, &[]);
    load.lost_nothing(1..=2);
    service.stop();
}

#[test]
fn a_low_limit_of_descriptors_is_enough_and_workers_get_it_back() {
    let program = python_code(
        "import resource\n\
         print('limit', resource.getrlimit(resource.RLIMIT_NOFILE)[0], flush=True)\nserve()",
    );
    let start = Start::serving(&program).through_sh("ulimit -n 64; exec \"$@\"");
    let service = start.start();
    for _ in 0..3 {
        service.handover("upgrade", &["--drained"]).says(0, &[]);
    }
    let logs = service.handover("logs", &[]).stdout;
    assert!(logs.contains("limit 64"), "{logs}");
    service.stop();
}

#[test]
fn workers_get_both_original_limits_of_descriptors() {
    let start = Start::serving(&server()).through_sh("ulimit -Sn 512; exec \"$@\"");
    let service = start.start();
    let limit = |pid: i32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it lives");
        let line = limits.lines().find(|l| l.starts_with("Max open files"));
        let words: Vec<_> = line.expect("a line").split_whitespace().collect();
        (words[3].to_owned(), words[4].to_owned())
    };
    // The master raised its own.
    let (soft, hard) = limit(service.pid());
    assert_eq!(soft, hard);
    assert_eq!(limit(service.workers(1)[0]), ("512".to_owned(), hard));
    service.stop();
}

#[test]
fn a_start_that_failed_leaves_no_files() {
    let service = Start::serving(&server()).start();
    let worker = service.workers(1)[0];
    // Two are left, and what the worker had: enough for a caller, and not for another start.
    let fds = std::path::PathBuf::from(format!("/proc/{}/fd", service.pid()));
    let mut free = (0..).filter(|number| fds.join(number.to_string()).symlink_metadata().is_err());
    limit_descriptors(&service, free.nth(1).expect("a number") + 1);
    kill(Pid::from_raw(worker), Signal::SIGKILL).expect("a worker");
    eventually("another start fails, and another", || {
        (service.events().matches("worker_restarting").count() > 2).then_some(())
    });
    eventually("nothing is left of them", || {
        let mut left = std::fs::read_dir(service.runtime_dir().join("workers")).expect("a room");
        left.next().is_none().then_some(())
    });
    let events = service.events();
    assert_eq!(events.matches("worker_launched").count(), 1, "{events}");
    service.stop();
}

/// Lowers the soft limit of a running master alone, so that its workers get back what they had.
#[track_caller]
fn limit_descriptors(service: &Service, current: u64) {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.pid())).expect("it");
    let line = limits.lines().find(|l| l.starts_with("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(4)?.parse().ok());
    let lower = Rlimit {
        current: Some(current),
        maximum: hard,
    };
    let master = rustix::process::Pid::from_raw(service.pid());
    prlimit(master, Resource::Nofile, lower).expect("prlimit");
}

#[test]
fn a_worker_gets_its_descriptors_and_nothing_else() {
    let program = python_code(
        "fds = sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1]\n\
         print('fds', fds, 'mine', os.environ['LISTEN_PID'] == str(os.getpid()), flush=True)\n\
         blocked = open('/proc/self/status').read().split('SigBlk:')[1].split()[0]\n\
         print('blocked', int(blocked, 16), flush=True)\nserve()",
    );
    // Descriptor 9 and a blocked, ignored signal come from whoever starts handover.
    let start = Start::serving(&program).through_sh("trap '' PIPE; exec 9</dev/null; exec \"$@\"");
    let service = start.start();
    service.handover("upgrade", &[]).says(0, &[]);
    let logs = service.handover("logs", &[]).stdout;
    assert_eq!(
        logs.matches("fds [0, 1, 2, 3] mine True").count(),
        2,
        "{logs}"
    );
    assert_eq!(logs.matches("blocked 0").count(), 2, "{logs}");
    service.stop();
}

#[test]
fn a_runtime_directory_in_use_is_refused_and_a_stale_one_taken() {
    let first = Start::serving(&server()).start();
    let taken = first.runtime_dir();
    let second = Start::serving(&server()).runtime_dir(&taken).refused();
    second.says(1, &[&first.pid().to_string()]);
    assert_eq!(get(&first.address(), "/").expect("undisturbed").status, 200);
    let (mut first, stale) = (first, taken);
    first.kill_all();
    assert!(
        stale.join("control.sock").exists(),
        "a killed master leaves its socket"
    );
    let next = Start::serving(&server()).runtime_dir(&stale).start();
    assert_eq!(
        get(&next.address(), "/")
            .expect("the stale one is taken over")
            .status,
        200
    );
    next.stop();
}

#[test]
fn a_runtime_directory_that_cannot_be_made_is_a_clear_error() {
    let ended = Start::serving(&server())
        .runtime_dir("/dev/null/handover")
        .refused();
    ended.says(1, &["/dev/null"]);
}

#[test]
fn garbage_on_the_control_socket_disturbs_nobody() {
    let service = Start::serving(&server()).start();
    let load = Load::on(&service.address());
    let socket = service.runtime_dir().join("control.sock");
    let huge = [b"GET /".to_vec(), vec![b'a'; 1 << 20]].concat();
    let garbage: [&[u8]; 6] = [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v1/upgrade HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /v1/upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{\"command",
        b"POST /v1/scale HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{\"n\": -1}",
        &huge,
    ];
    let mut half_open = Vec::new();
    for bytes in garbage {
        for _ in 0..20 {
            let mut stream = UnixStream::connect(&socket).expect("the socket is there");
            let _ = stream.write_all(bytes); // it may hang up while we talk
            half_open.push(stream);
        }
    }
    assert_eq!(service.status()["state"], "serving");
    for mut stream in half_open {
        stream.shutdown(std::net::Shutdown::Write).ok();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(
            !text.starts_with("HTTP/1.1 2"),
            "garbage was accepted: {text}"
        );
    }
    service.handover("upgrade", &[]).says(0, &[]);
    load.lost_nothing(1..=2);
    service.stop();
}

#[test]
fn a_thousand_idle_control_connections_disturb_no_client() {
    let service = Start::serving(&server()).start();
    let load = Load::on(&service.address());
    let socket = service.runtime_dir().join("control.sock");
    let idle: Vec<_> = (0..1000)
        .map_while(|_| UnixStream::connect(&socket).ok())
        .collect();
    assert!(idle.len() > 10, "{} connections", idle.len());
    // Either there is room for one more, or the command says that there is none: the master is
    // alive, so it must not say that it went away.
    let during = service.handover("upgrade", &[]);
    let honest = during.stderr.contains("busy") || during.stderr.contains("connections");
    assert!(during.code == Some(0) || honest, "{during:#?}");
    drop(idle);
    service.handover("upgrade", &[]).says(0, &[]);
    load.lost_nothing([1]);
    service.stop();
}

#[test]
fn a_program_that_cannot_start_says_which_step_failed() {
    let start = Start::bare(&[]);
    let (plain, folder) = (start.path("plain"), start.path("folder"));
    std::fs::write(&plain, "no program").expect("a file");
    let script = start.path("script");
    std::fs::write(&script, "#!/does/not/exist\n").expect("a file");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("chmod");
    std::fs::create_dir(&folder).expect("a directory");
    let text = |path: &std::path::Path| path.display().to_string();
    for (command, part) in [
        ("/does/not/exist".to_owned(), "/does/not/exist"),
        (
            "no-such-program-in-path".to_owned(),
            "no-such-program-in-path",
        ),
        (text(&plain), "plain"),
        (text(&folder), "folder"),
        (text(&script), "/does/not/exist"),
    ] {
        let ended = Start::serving(&[command]).refused();
        ended.says(1, &[part]);
    }
}

#[test]
fn a_missing_user_or_directory_is_named() {
    let program = example_server().display().to_string();
    for (key, value) in [("user", "no-such-user"), ("directory", "/does/not/exist")] {
        let text = format!(
            "[app]\ncommand = [{program:?}]\n{key} = {value:?}\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\n"
        );
        let ended = Start::config(&text).refused();
        ended.says(1, &[key, value]);
    }
}

#[test]
fn f29_a_flood_of_output_neither_blocks_nor_kills_a_worker() {
    let program = python_code(
        "def flood():\n\
         \x20   for n in range(200_000): print('line', n, 'x' * 80)\n\
         threading.Thread(target=flood, daemon=True).start()\nserve()",
    );
    let service = Start::serving(&program).start();
    let load = Load::on(&service.address());
    eventually("the last line arrives", || {
        service
            .handover("logs", &[])
            .stdout
            .contains("line 199999")
            .then_some(())
    });
    load.lost_nothing([1]);
    service.stop();
}

#[test]
fn f20_signals_without_a_meaning_end_nobody() {
    let service = Start::serving(&server()).start();
    let stray = [
        Signal::SIGXFSZ,
        Signal::SIGXCPU,
        Signal::SIGALRM,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
        Signal::SIGIO,
        Signal::SIGPWR,
        Signal::SIGPIPE,
    ];
    for signal in stray {
        service.signal(signal);
    }
    // SIGSTKFLT and real-time signals have no names there.
    let others = ["16", "34", "50", "64"].map(|number| format!("kill -{number} {}", service.pid()));
    let sent = std::process::Command::new("/bin/sh")
        .args(["-c", &others.join(" && ")])
        .status();
    assert!(sent.expect("a shell").success());
    service.handover("upgrade", &[]).says(0, &[]);
    assert_eq!(service.generation(), 2);
    service.stop();
}

#[test]
fn f17_a_worker_that_is_stopped_in_its_bake_fails_it() {
    let stops = python_code(
        "threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGSTOP)).start()\nserve()",
    );
    let service = Start::serving(&server()).flag("--bake", "20s").start();
    service
        .upgrade_to(&stops)
        .says(1, &["was stopped by a signal"]);
    assert_eq!(service.generation(), 1);
    service.stop();
}

/// Says how many it was given, stores 600 more, and serves on the first.
fn stores() -> Vec<String> {
    python_code(
        "given = int(os.environ['LISTEN_FDS']); print('given', given, flush=True)\n\
         for i in range(600):\n\
         \x20   fd = os.memfd_create(str(i)); notify(f'FDSTORE=1\\nFDNAME=m{i}', fd); os.close(fd)\n\
         os.environ['LISTEN_FDS'] = '1'\n\
         print('stored', flush=True)\nserve()",
    )
}

/// How many descriptors the last worker that stored was given, of `count`.
#[track_caller]
fn given(service: &Service, count: usize) -> usize {
    let logs = eventually("it stored", || {
        let logs = service.handover("logs", &[]);
        logs.says(0, &[]);
        (logs.stdout.matches("stored\n").count() == count).then_some(logs.stdout)
    });
    let last = logs.rsplit("given ").next().unwrap_or_default();
    let last = last.lines().next().and_then(|number| number.parse().ok());
    last.unwrap_or_else(|| panic!("no number in {logs}"))
}

#[test]
fn f30_workers_that_store_without_end_leave_descriptors_to_the_master() {
    for (limit, at_least) in [(200, 30), (256, 50), (1024, 300)] {
        let service = Start::serving(&stores())
            .through_sh(&format!("ulimit -n {limit}; exec \"$@\""))
            .start();
        assert_eq!(given(&service, 1), 1);
        let told = service.events();
        let why = format!("handover may have {limit} descriptors and keeps ");
        assert!(told.contains(&why), "{told}");
        let mut before = service.workers(1);
        for life in 2..=3 {
            kill(Pid::from_raw(before[0]), Signal::SIGKILL).expect("the worker is there");
            assert!(given(&service, life) > at_least, "{}", service.said());
            eventually("its successor serves", || {
                let answer = get(&service.address(), "/").ok()?;
                (answer.status == 200).then_some(())
            });
            before = service.workers(1);
        }
        // Both generations have all of it for a while.
        let stored = given(&service, 3);
        service.handover("upgrade", &[]).says(0, &[]);
        assert_eq!(given(&service, 4), stored);
        let told = service.events();
        assert!(!told.contains("does not inherit"), "{told}");
        service.handover("status", &[]).says(0, &[]);
        service.handover("stop", &[]).says(0, &[]);
        service.ends().says(0, &[]);
    }
}

#[test]
fn a_worker_is_started_again_with_less_than_was_stored_where_the_limit_was_lowered_since() {
    let service = Start::serving(&stores())
        .through_sh("ulimit -n 256; exec \"$@\"")
        .start();
    assert_eq!(given(&service, 1), 1);
    limit_descriptors(&service, 120);
    kill(Pid::from_raw(service.workers(1)[0]), Signal::SIGKILL).expect("the worker is there");
    service.wait_said("of the 74 descriptors that were stored: handover may have 120 descriptors");
    assert_eq!(given(&service, 2), 50 + 1);
    eventually("its successor serves", || {
        let answer = get(&service.address(), "/").ok()?;
        (answer.status == 200).then_some(())
    });
    service.stop();
}

#[test]
fn a_burst_of_silent_callers_keeps_nobody_out() {
    let service = Start::serving(&server()).start();
    let socket = service.runtime_dir().join("control.sock");
    let silent: Vec<_> = (0..400)
        .filter_map(|_| std::os::unix::net::UnixStream::connect(&socket).ok())
        .collect();
    let asked = std::time::Instant::now();
    service.handover("status", &[]).says(0, &[]);
    let took = asked.elapsed();
    // What a silent connection is given for its head is 10 s.
    assert!(took.as_secs() < 5, "status took {took:?}");
    drop(silent);
    service.stop();
}
