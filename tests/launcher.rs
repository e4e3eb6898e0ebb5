//! The launcher with real processes: what a worker finds.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use handover::process::{Exit, Owner, Pipes, Release, Resource, Step, Stream};
use nix::errno::Errno;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use support::*;

fn server(directory: &Path) -> Release {
    fs::copy("/bin/sleep", directory.join("server")).unwrap();
    release(directory, &["./server", "60"])
}

fn named(listeners: &[TcpListener]) -> Vec<(String, BorrowedFd<'_>)> {
    listeners
        .iter()
        .enumerate()
        .map(|(n, l)| (format!("listen-{n}"), l.as_fd()))
        .collect()
}

fn tcp(count: usize) -> Vec<TcpListener> {
    (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect()
}

fn socket(fd: &impl AsRawFd) -> String {
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

#[test]
fn f05_a_worker_has_its_three_descriptors_and_the_listeners_and_nothing_else() {
    // Something that leaked into the master, in the middle of where listeners go.
    let leaked = File::open("/etc/passwd").unwrap();
    let leaked = fcntl_dupfd_cloexec(&leaked, 4).unwrap();
    fcntl_setfd(&leaked, FdFlags::empty()).unwrap();
    for count in [0, 1, 3, 300] {
        let listeners = tcp(count);
        let worker = launch(
            &launcher(),
            &release(Path::new("/"), &["sleep", "60"]),
            named(&listeners),
        )
        .unwrap();
        let expected: Vec<i32> = (0..3 + i32::try_from(count).unwrap()).collect();
        assert_eq!(worker.descriptors(), expected);
        assert_eq!(worker.link("fd/0"), "/dev/null");
        assert_eq!(worker.link("fd/1"), worker.link("fd/2"));
        for (n, listener) in listeners.iter().enumerate() {
            assert_eq!(worker.link(&format!("fd/{}", n + 3)), socket(listener));
        }
    }
}

#[test]
fn f27_the_environment_is_exactly_what_was_asked_and_the_listeners() {
    let mut plan = plan(Path::new("/"), &["sleep", "60"]);
    plan.env.extend(
        [
            ("EMPTY", ""),
            ("LISTEN_PID", "1"),
            ("LISTEN_PIDFDID", "2"),
            ("LISTENER", "kept"),
        ]
        .map(|(n, v)| (n.into(), v.into())),
    );
    let release = Release::resolve(plan).unwrap();
    let (http, dns) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    let listeners = vec![
        ("http".to_owned(), http.as_fd()),
        ("dns".to_owned(), dns.as_fd()),
    ];
    let worker = launch(&launcher(), &release, listeners).unwrap();
    let found: BTreeMap<_, _> = worker
        .environment()
        .into_iter()
        .map(|(n, v)| (n.into_string().unwrap(), v.into_string().unwrap()))
        .collect();
    let pid = worker.child.pid().to_string();
    let expected = [
        ("EMPTY", ""),
        ("LISTENER", "kept"),
        ("LISTEN_FDNAMES", "http:dns"),
        ("LISTEN_FDS", "2"),
        ("LISTEN_PID", pid.as_str()),
        ("PATH", "/usr/bin:/bin"),
    ];
    assert_eq!(
        found,
        expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into()
    );
}

#[test]
fn a_large_environment_arrives_and_a_larger_one_is_refused_with_the_reason() {
    let with = |count: usize, size: usize| {
        let mut plan = plan(Path::new("/"), &["sleep", "60"]);
        plan.env
            .extend((0..count).map(|n| (format!("VAR_{n:03}").into(), "x".repeat(size).into())));
        Release::resolve(plan).unwrap()
    };
    let worker = start(&with(16, 65_536));
    let total: usize = worker
        .environment()
        .iter()
        .map(|(_, value)| value.len())
        .sum();
    assert!(total > 1 << 20);
    let said = failure(&with(1, 200_000));
    assert_eq!((said.step, said.errno), (Step::Exec, Errno::E2BIG as i32));
    assert!(said.to_string().contains("128 KiB in one string"), "{said}");
}

#[test]
fn f04_no_flag_of_a_listener_is_touched() {
    let listeners = tcp(2);
    listeners[1].set_nonblocking(true).unwrap();
    let flags = |path: String| {
        let info = fs::read_to_string(path).unwrap();
        info.lines()
            .find(|l| l.starts_with("flags:"))
            .unwrap()
            .to_owned()
    };
    let ours = || {
        listeners
            .iter()
            .map(|l| flags(format!("/proc/self/fdinfo/{}", l.as_raw_fd())))
            .collect::<Vec<_>>()
    };
    let before = ours();
    let worker = launch(
        &launcher(),
        &release(Path::new("/"), &["sleep", "60"]),
        named(&listeners),
    )
    .unwrap();
    assert_eq!(ours(), before);
    let without_cloexec = |line: &String| {
        let number = u32::from_str_radix(line.split_ascii_whitespace().nth(1).unwrap(), 8).unwrap();
        number & !0o2_000_000
    };
    for (n, line) in before.iter().enumerate() {
        let theirs = flags(format!("/proc/{}/fdinfo/{}", worker.child.pid(), n + 3));
        assert_eq!(
            u32::from_str_radix(theirs.split_ascii_whitespace().nth(1).unwrap(), 8),
            Ok(without_cloexec(line))
        );
    }
    worker.child.signal(9).unwrap();
    worker.end();
    assert_eq!(ours(), before);
}

#[test]
fn f13_blocked_and_ignored_signals_do_not_reach_the_worker() {
    use nix::sys::signal::{SigSet, Signal};
    // nohup(1): SIGHUP is ignored from the start; std ignores SIGPIPE.
    if !inside(
        "f13_blocked_and_ignored_signals_do_not_reach_the_worker",
        &["nohup"],
    ) {
        return;
    }
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGUSR2);
    blocked.add(Signal::SIGCHLD);
    blocked.thread_block().unwrap();
    let mine = fs::read_to_string("/proc/thread-self/status").unwrap();
    let mask = |field: &str| {
        let line = mine.lines().find_map(|l| l.strip_prefix(field)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    // A bit for each signal, from the lowest for signal 1 (proc_pid_status(5)).
    assert_eq!(mask("SigBlk:") & 0x10800, 0x10800);
    assert_eq!(mask("SigIgn:") & 0x1001, 0x1001);
    let worker = start(&release(Path::new("/"), &["sleep", "60"]));
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        assert_eq!(worker.status(field), "0000000000000000", "{field}");
    }
}

#[test]
fn f30_a_worker_leads_a_group_and_has_a_name_for_ps() {
    let base = place();
    let worker = start(&server(base.path()));
    let stat = handover::process::parse_stat(&fs::read(worker.proc("stat")).unwrap()).unwrap();
    assert_eq!(
        (stat.pgrp, stat.comm.as_str()),
        (worker.child.pid(), "server")
    );
    assert_eq!(worker.child.start_time(), stat.start_time);
    assert_eq!(
        fs::read(worker.proc("cmdline")).unwrap(),
        b"./server\x0060\0"
    );
    worker.child.signal(15).unwrap();
    assert_eq!(worker.end().to_string(), "killed by SIGTERM");
}

#[test]
fn limits_umask_and_no_new_privs_are_set() {
    let mut plan = plan(Path::new("/"), &["sleep", "60"]);
    plan.umask = Some(0o027);
    plan.no_new_privs = true;
    plan.limits = vec![(Resource::Nofile, 123), (Resource::Core, 0)];
    let worker = start(&Release::resolve(plan).unwrap());
    assert_eq!(
        (worker.status("Umask"), worker.status("NoNewPrivs")),
        ("0027".to_owned(), "1".to_owned())
    );
    let limits = fs::read_to_string(worker.proc("limits")).unwrap();
    let limit = |name: &str| {
        limits
            .lines()
            .find_map(|l| l.strip_prefix(name))
            .unwrap()
            .split_ascii_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        (limit("Max open files"), limit("Max core file size")),
        ("123 123".to_owned(), "0 0".to_owned())
    );
}

#[test]
fn the_original_limit_of_open_files_is_restored() {
    let name = "the_original_limit_of_open_files_is_restored";
    if !inside(name, &["prlimit", "--nofile=200:900"]) {
        return;
    }
    let launcher = launcher();
    assert_eq!(handover::process::raise_nofile().unwrap().soft, 900);
    let worker = launch(
        &launcher,
        &release(Path::new("/"), &["sleep", "60"]),
        Vec::new(),
    )
    .unwrap();
    let limits = fs::read_to_string(worker.proc("limits")).unwrap();
    let line = limits
        .lines()
        .find(|l| l.starts_with("Max open files"))
        .unwrap();
    assert_eq!(
        line.split_ascii_whitespace()
            .skip(3)
            .take(2)
            .collect::<Vec<_>>(),
        ["200", "900"]
    );
}

#[test]
fn another_user_is_taken_on_wholly() {
    if !is_root() {
        return;
    }
    let base = place();
    let mut plan = plan(base.path(), &["sleep", "60"]);
    plan.user = Some("nobody".to_owned());
    let release = Release::resolve(plan.clone()).unwrap();
    let Owner { uid, gid } = release.owner();
    let worker = start(&release);
    assert_eq!(
        worker.status("Uid"),
        [uid; 4].map(|n| n.to_string()).join(" ")
    );
    assert_eq!(
        worker.status("Gid"),
        [gid; 4].map(|n| n.to_string()).join(" ")
    );
    assert_eq!(worker.status("Groups"), gid.to_string());
    assert_eq!(worker.status("CapEff"), "0000000000000000");
    assert!(
        worker
            .environment()
            .contains(&("USER".into(), "nobody".into()))
    );
    plan.group = Some("1".to_owned());
    plan.user = Some("12345".to_owned());
    let worker = start(&Release::resolve(plan).unwrap());
    assert_eq!(
        (worker.status("Uid"), worker.status("Gid")),
        ("12345 12345 12345 12345".to_owned(), "1 1 1 1".to_owned())
    );
    assert_eq!(worker.status("Groups"), "1");
}

#[test]
fn f29_a_workers_output_goes_through_its_own_pipes() {
    let base = place();
    let directory = base.path().join("w");
    handover::process::private_directory(&directory, Owner::current()).unwrap();
    let (pipes, writers) = Pipes::create(&directory, Owner::current()).unwrap();
    let release = release(
        base.path(),
        &["sh", "-c", "echo one; echo two >/dev/stderr; exit 3"],
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (out, err) = (
            pipes.reader(Stream::Stdout).unwrap(),
            pipes.reader(Stream::Stderr).unwrap(),
        );
        let output = tempfile::tempfile().unwrap();
        let launched = launcher()
            .launch(&handover::process::LaunchRequest {
                stdout: writers.stdout(),
                stderr: writers.stderr(),
                ..request(&release, &output)
            })
            .unwrap();
        drop(writers);
        launched.report.outcome().await.unwrap();
        for (reader, expected) in [(out, "one\n"), (err, "two\n")] {
            let mut found = Vec::new();
            let mut buffer = [0; 64];
            loop {
                match tokio::time::timeout(PATIENCE, reader.read(&mut buffer))
                    .await
                    .unwrap()
                    .unwrap()
                {
                    0 => break,
                    n => found.extend_from_slice(&buffer[..n]),
                }
            }
            assert_eq!(String::from_utf8(found).unwrap(), expected);
        }
        tokio::time::timeout(PATIENCE, launched.child.ended())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(launched.child.reap().unwrap(), Some(Exit::Code(3)));
    });
}
