//! What old generations still have: connections, as the kernel counts them.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{
    Kept, Service, Start, debian, eventually, example_server, free_port, get, python_code, server,
};

/// What the workers of a generation hold together; `None` while it is not counted.
fn held(status: &Value, generation: u64) -> Option<u64> {
    let generations = status["generations"].as_array().expect("a list").iter();
    let mut found = generations.filter(|it| it["number"] == generation);
    let workers = found.next()?["workers"].as_array().expect("a list");
    let living = workers.iter().filter(|worker| !worker["pid"].is_null());
    living.map(|worker| worker["connections"].as_u64()).sum()
}

#[track_caller]
fn wait_held(service: &Service, generation: u64, wanted: u64) {
    eventually(&format!("generation {generation} holds {wanted}"), || {
        (held(&service.status(), generation) == Some(wanted)).then_some(())
    });
}

fn keep(address: &str, count: usize) -> Vec<Kept> {
    let open = |_| {
        let mut kept = Kept::open(address).expect("a connection");
        assert_eq!(kept.get("/").expect("an answer").status, 200);
        kept
    };
    (0..count).map(open).collect()
}

/// One that this generation took: the one before accepts, too, until it has learnt that it drains, which an upgrade
/// does not wait for.
fn keep_with(generation: u64, open: impl Fn() -> std::io::Result<Kept>) -> Kept {
    let greeting = format!("hello from generation {generation} ");
    eventually(&format!("generation {generation} answers"), || {
        let mut kept = open().expect("a connection");
        let answer = kept.get("/").expect("an answer");
        assert_eq!(answer.status, 200);
        answer.body.starts_with(&greeting).then_some(kept)
    })
}

#[test]
fn kept_connections_are_seen_to_leave_the_old_generation() {
    let mut service = Start::serving(&server()).flag("--workers", "2").start();
    let address = service.address();
    let mut old = keep(&address, 7);
    wait_held(&service, 1, 7);
    service.handover("upgrade", &[]).says(0, &[]);
    wait_held(&service, 1, 7);
    wait_held(&service, 2, 0);
    let new = [(); 2].map(|()| keep_with(2, || Kept::open(&address)));
    wait_held(&service, 2, 2);
    old.truncate(4);
    wait_held(&service, 1, 4);
    let page = service.handover("status", &[]).stdout;
    assert!(page.contains("4 connections left"), "{page}");
    service.wait_told("generation 1 draining, 4 connections left, ");
    let metrics = service.ask("GET", "/metrics", "").expect("metrics").body;
    for line in [
        "handover_draining_connections 4",
        "handover_listener_queue{listener=\"http\"} 0",
    ] {
        assert!(
            metrics.lines().any(|it| it == line),
            "no {line}:\n{metrics}"
        );
    }
    drop(old);
    let ended = service.wait_event("generation_ended");
    assert_eq!(ended["connections_cut"], 0, "{ended}");
    assert!(
        ended["drain_ms"].as_u64().is_some_and(|ms| ms > 0),
        "{ended}"
    );
    assert_eq!(held(&service.status(), 2), Some(2), "and they stay");
    drop(new);
    service.stop();
}

#[test]
fn a_generation_that_is_killed_at_its_deadline_says_what_it_cut() {
    let service = Start::serving(&server())
        .flag("--drain-timeout", "1s")
        .start();
    let kept = keep(&service.address(), 3);
    service.handover("upgrade", &[]).says(0, &[]);
    let ended = service.wait_event("generation_ended");
    assert_eq!(ended["connections_cut"], 3, "{ended}");
    let killed = service.wait_event("worker_killed");
    let reason = killed["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("it held 3 connections"), "{killed}");
    service.wait_said("; 3 connections cut");
    drop(kept);
    service.stop();
}

#[test]
fn a_draining_worker_that_somebody_kills_is_not_told_to_have_drained() {
    let service = Start::serving(&server()).start();
    let kept = keep(&service.address(), 3);
    let old = service.workers(1)[0];
    service.handover("upgrade", &[]).says(0, &[]);
    wait_held(&service, 1, 3);
    kill(Pid::from_raw(old), Signal::SIGKILL).expect("the old worker");
    let ended = service.wait_event("generation_ended");
    assert!(
        ended["connections_cut"].is_null(),
        "nobody looked at that moment: {ended}"
    );
    let killed = service.wait_event("worker_killed");
    assert_eq!(
        killed["reason"],
        "killed by SIGKILL before it had drained, and not by handover; it held 3 connections when they were counted last"
    );
    let events = service.events();
    assert!(!events.contains("\"worker_drained\""), "{events}");
    drop(kept);
    service.stop();
}

#[test]
fn a_worker_that_does_not_end_in_order_is_not_said_to_have_drained() {
    let by_signal =
        python_code("listener = socket.socket(fileno=3)\nwhile True: listener.accept()[0].close()");
    let crashes = python_code(
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(2))\n\
         listener = socket.socket(fileno=3)\nwhile True: listener.accept()[0].close()",
    );
    for (program, how) in [
        (by_signal, "killed by SIGTERM"),
        (crashes, "exit status 2"),
        (server(), ""),
    ] {
        let service = Start::serving(&program).start();
        service.handover("upgrade", &[]).says(0, &[]);
        let drained = service.wait_event("worker_drained");
        let in_order = how.is_empty();
        assert_eq!(drained["exit"].as_str().unwrap_or(""), how);
        let words = match in_order {
            true => "worker 1.0 drained in ".to_owned(),
            false => format!("after it was told to drain, and not in order: {how}"),
        };
        service.wait_said(&words);
        service.stop();
    }
}

#[test]
fn connections_of_a_worker_s_children_are_the_workers() {
    let Some(start) = crate::apps::nginx_start() else {
        return;
    };
    let service = start.start();
    // Two processes of nginx accept, and share them as it comes.
    let kept = keep(&service.address(), 5);
    wait_held(&service, 1, 5);
    assert_eq!(
        service.status()["generations"][0]["workers"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    // nginx closes what is idle when it is told to go.
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    wait_held(&service, 2, 0);
    drop(kept);
    service.stop();
}

#[test]
fn connections_of_a_unix_listener_are_counted() {
    let start = Start::bare(&server());
    let path = start.path("web.sock");
    let service = start
        .flag("--listen", format!("unix:{}", path.display()))
        .start();
    let open = || Kept::open_unix(&path);
    let old = [(); 4].map(|()| keep_with(1, open));
    wait_held(&service, 1, 4);
    service.handover("upgrade", &[]).says(0, &[]);
    let new = keep_with(2, open);
    wait_held(&service, 2, 1);
    drop((old, new));
    service.stop();
}

#[test]
fn both_families_of_a_dual_stack_listener_are_counted() {
    let port = free_port();
    let start = Start::bare(&[example_server().display().to_string()]);
    let service = start.flag("--listen", format!(":{port}")).start();
    let mut kept = keep(&format!("127.0.0.1:{port}"), 2);
    if Path::new("/proc/net/if_inet6").exists() {
        kept.extend(keep(&format!("[::1]:{port}"), 3));
    }
    wait_held(&service, 1, kept.len() as u64);
    service.stop();
}

#[test]
fn connections_that_a_worker_made_itself_are_not_counted() {
    let database = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = database.local_addr().expect("an address");
    let code = format!(
        "out = [socket.create_connection(('127.0.0.1', {})) for _ in range(3)]\n\
         pair = socket.socketpair()\nserve()",
        address.port()
    );
    let service = Start::serving(&python_code(&code)).start();
    let kept = keep(&service.address(), 2);
    wait_held(&service, 1, 2);
    drop(kept);
    service.stop();
}

#[test]
fn a_worker_with_thousands_of_descriptors_is_counted() {
    let code = "import resource\n\
                hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n\
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))\n\
                many = [os.open('/dev/null', os.O_RDONLY) for _ in range(5000)]\nserve()";
    let service = Start::serving(&python_code(code)).start();
    let kept = keep(&service.address(), 3);
    wait_held(&service, 1, 3);
    drop(kept);
    service.stop();
}

#[test]
fn workers_that_die_while_they_are_counted_disturb_nothing() {
    let service = Start::serving(&server()).flag("--workers", "4").start();
    for round in 1..=5_u64 {
        let _kept = keep(&service.address(), 8);
        let workers = service.workers(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20 {
                    // Whatever it finds: a status, and soon.
                    assert_eq!(service.status()["name"], "server");
                }
            });
            for pid in &workers[..2] {
                kill(Pid::from_raw(*pid), Signal::SIGKILL).expect("a worker");
            }
        });
        eventually("all four serve again", || {
            let status = service.status();
            let workers = status["generations"][0]["workers"].as_array()?.clone();
            let serves = workers.iter().all(|it| it["state"] == "ready");
            let restarts: u64 = workers
                .iter()
                .filter_map(|it| it["restarts"].as_u64())
                .sum();
            (serves && restarts >= 2 * round).then_some(())
        });
    }
    wait_held(&service, 1, 0);
    service.stop();
}

/// As RestrictAddressFamilies= without AF_NETLINK: socket(2) answers EAFNOSUPPORT (seccomp(2), a filter of five
/// instructions).
const WITHOUT_NETLINK: &str = "import ctypes, os, struct, sys\n\
    call = {'x86_64': 41, 'aarch64': 198}[os.uname().machine]\n\
    code = [(0x20, 0, 0, 0), (0x15, 0, 3, call), (0x20, 0, 0, 16), (0x15, 0, 1, 16),\n\
            (0x06, 0, 0, 0x50000 | 97), (0x06, 0, 0, 0x7fff0000)]\n\
    code = b''.join(struct.pack('=HBBI', *line) for line in code)\n\
    kept = ctypes.create_string_buffer(code, len(code))\n\
    program = struct.pack('H6xP', 6, ctypes.addressof(kept))\n\
    libc = ctypes.CDLL(None, use_errno=True)\n\
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0\n\
    os.execvp(sys.argv[1], sys.argv[1:])";

#[test]
fn where_the_kernel_cannot_be_asked_the_number_is_unknown_and_said_why() {
    let program = [crate::support::python(), "-c", WITHOUT_NETLINK];
    let service = Start::serving(&server()).through(&program).start();
    let kept = keep(&service.address(), 2);
    let status = service.status();
    assert_eq!(held(&status, 1), None);
    assert!(status["listeners"][0]["queue"].is_null());
    let reason = status["uncounted"].as_str().unwrap_or_default();
    assert!(reason.contains("RestrictAddressFamilies"), "{reason}");
    let metrics = service.ask("GET", "/metrics", "").expect("metrics").body;
    assert!(!metrics.contains("\nhandover_listener_queue{"), "{metrics}");
    // And all else goes on.
    drop(kept);
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    service.wait_generation(2);
    service.stop();
}

#[test]
fn a_listener_of_another_namespace_is_unknown_and_said_so() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can make a network namespace");
        return;
    }
    let Some(activate) = debian("systemd-socket-activate") else {
        return;
    };
    let address = format!("127.0.0.1:{}", free_port());
    let activate = activate.display().to_string();
    let words = ["-l", &address, "-E", "TEST_MARK", "-E", "NOTIFY_SOCKET"];
    // The socket is made outside, the service runs inside: as with PrivateNetwork= and a socket unit.
    let mut program = vec![activate.as_str(), "--fdname=web"];
    program.extend(words);
    program.extend(["unshare", "--net"]);
    let start = Start::bare(&server()).through(&program);
    let mut service = start.flag("--listen", "fd:web").spawn();
    eventually("it serves", || get(&address, "/").ok());
    service.wait_ready();
    let kept = keep(&address, 2);
    let status = service.status();
    assert_eq!(held(&status, 1), None);
    let reason = status["uncounted"].as_str().unwrap_or_default();
    assert!(reason.contains("namespace"), "{reason}");
    drop(kept);
    service.stop();
}

/// Root, but without the right to look into other users' processes.
const UNPRIVILEGED: &str = "exec setpriv --bounding-set=-sys_ptrace \"$@\"";

#[test]
fn another_users_worker_is_unknown_and_said_why() {
    another_users_worker(&["sh", "-c", UNPRIVILEGED, "sh"], "CAP_SYS_PTRACE");
}

#[test]
fn a_worker_that_proc_hides_is_unknown_and_said_why() {
    let script = format!("mount -t proc -o hidepid=4 proc /proc && {UNPRIVILEGED}");
    let words = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    another_users_worker(&words, "hidepid");
}

#[track_caller]
fn another_users_worker(through: &[&str], because: &str) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can start workers as another user");
        return;
    }
    let program = server();
    let code = std::fs::read_to_string(&program[1]).expect("the example");
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .expect("a directory");
    let script = folder.path().join("server.py");
    std::fs::write(&script, code).expect("a file");
    let text = format!(
        "[app]\ncommand = [{:?}, {script:?}]\ndirectory = \"/\"\nuser = \"nobody\"\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n[ready]\non = \"uptime:300ms\"\n",
        program[0]
    );
    let service = Start::config(&text).through(through).start();
    let kept = keep(&service.address(), 2);
    let status = eventually("somebody asks", || {
        let status = service.status();
        (!status["uncounted"].is_null()).then_some(status)
    });
    assert_eq!(held(&status, 1), None);
    let reason = status["uncounted"].as_str().unwrap_or_default();
    assert!(reason.contains(because), "{reason}");
    let page = service.handover("status", &[]).stdout;
    assert_eq!(page.matches("are not counted: ").count(), 1, "{page}");
    drop(kept);
    service.stop();
}

#[test]
fn who_waits_to_be_accepted_is_told() {
    let code = "notify('READY=1'); signal.pause()";
    let service = Start::serving(&python_code(code))
        .flag("--ready", "notify")
        .start();
    let address = service.address();
    let clients: Vec<TcpStream> = (0..3)
        .map(|_| TcpStream::connect(&address).expect("the queue has room"))
        .collect();
    eventually("three wait", || {
        (service.status()["listeners"][0]["queue"] == 3).then_some(())
    });
    assert_eq!(held(&service.status(), 1), Some(0), "nobody holds them yet");
    let page = service.handover("status", &[]).stdout;
    assert!(page.contains("WAITING"), "{page}");
    drop(clients);
    service.stop();
}

#[test]
fn datagrams_are_not_counted_and_that_is_said() {
    let code = "notify('READY=1'); signal.pause()";
    let service = Start::bare(&python_code(code))
        .flag("--listen", "udp:127.0.0.1:0")
        .flag("--ready", "notify")
        .start();
    let status = service.status();
    assert_eq!(held(&status, 1), None);
    let reason = status["uncounted"].as_str().unwrap_or_default();
    assert!(reason.contains("datagrams"), "{status}");
    assert!(status["listeners"][0]["queue"].is_null());
    service.stop();
}

#[test]
fn a_backlog_is_told_of_what_is_connected_to_and_of_nothing_else() {
    let code = "notify('READY=1'); signal.pause()";
    let service = Start::bare(&python_code(code))
        .flag("--listen", "http=127.0.0.1:0")
        .flag("--listen", "dns=udp:127.0.0.1:0")
        .flag("--ready", "notify")
        .start();
    let status = service.status();
    assert_eq!(status["listeners"][0]["backlog"], 4096);
    assert_eq!(status["listeners"][1]["backlog"], 0, "{status:#}");
    let page = service.handover("status", &[]).stdout;
    let row = |name: &str| {
        let line = page.lines().find(|line| line.starts_with(name));
        let words: Vec<_> = line.expect("a row").split_whitespace().collect();
        words[1..].join(" ")
    };
    assert!(page.contains("BACKLOG"), "{page}");
    assert_eq!(row("http "), format!("{} 4096", service.address_of(0)));
    let datagrams = row("dns ").replace(&service.address_of(1), "");
    let mut words = datagrams.split(' ');
    assert!(words.all(|word| word.parse::<u32>().is_err()), "{page}");
    service.stop();
}

#[test]
fn nothing_is_counted_while_nobody_asks_and_nothing_drains() {
    let service = Start::serving(&server()).start();
    let kept = keep(&service.address(), 3);
    wait_held(&service, 1, 3);
    service.handover("upgrade", &[]).says(0, &[]);
    drop(kept);
    service.wait_ended(1);
    service.wait_event("generation_ended");
    // The steady look, once a second, is all that is left.
    let before = service.wake_ups();
    std::thread::sleep(Duration::from_secs(4));
    let woken = service.wake_ups() - before;
    assert!(woken <= 6, "{woken} wake-ups in 4 s");
    service.stop();
}
