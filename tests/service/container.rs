//! As process 1 of a pid namespace: what a container needs of its init.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{
    Load, PATIENCE, Service, Start, eventually, finish, free_port, get, python_code, server,
};

/// How a namespace is made: as root, and as a user that is root only in a user namespace.
const KINDS: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];

const UNSHARE: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// The words before the command, for each kind of namespace that this machine allows.
fn namespaces() -> Vec<Vec<&'static str>> {
    let all = KINDS.map(|kind| [&UNSHARE[..], kind].concat());
    let allowed: Vec<_> = all.into_iter().filter(|words| is_allowed(words)).collect();
    if allowed.is_empty() {
        assert!(
            std::env::var_os("CI").is_none(),
            "unshare(1) must be installed and allowed to make pid namespaces for this test"
        );
        eprintln!("skipped: no pid namespace can be made here (unshare(1))");
    }
    allowed
}

fn is_allowed(words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg("true");
    command.stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A service whose master is process 1 of its namespace.
struct Contained {
    service: Service,
    /// The master's number out here.
    init: i32,
    /// Its user namespace is its own, too.
    as_user: bool,
}

impl Contained {
    fn start(start: Start, namespace: &[&str]) -> Self {
        let service = start.through(namespace).start();
        let outside = service.pid();
        let children = format!("/proc/{outside}/task/{outside}/children");
        let children = std::fs::read_to_string(children).expect("unshare waits for its child");
        let init = children.trim().parse().expect("one child");
        assert_eq!(service.status()["pid"], 1);
        let as_user = namespace.contains(&"--user");
        Self {
            service,
            init,
            as_user,
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.init), signal).expect("the master is there");
    }

    /// Runs a shell script inside, as `docker exec` does; its parent stays outside.
    fn exec(&self, script: &str) -> crate::support::Ended {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.init));
        if self.as_user {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--pid", "--mount"]);
        command.args(["sh", "-c", script]);
        finish(command)
    }

    /// State and parent of every process inside (proc(5)), by the number out here.
    fn inside(&self) -> BTreeMap<i32, (String, i32)> {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let ours = namespace(&self.init.to_string()).expect("the master is there");
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let inside =
            pids.filter(|pid| pid.parse::<i32>().is_ok() && namespace(pid).as_ref() == Some(&ours));
        let look = |pid: String| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let mut words = stat.rsplit_once(") ")?.1.split(' ');
            let state = words.next()?.to_owned();
            Some((pid.parse().ok()?, (state, words.next()?.parse().ok()?)))
        };
        inside.filter_map(look).collect()
    }

    /// Processor time of the master so far.
    fn used(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.init)).expect("stat");
        let words: Vec<&str> = stat
            .rsplit_once(") ")
            .expect("a line")
            .1
            .split(' ')
            .collect();
        let ticks: u64 = [words[11], words[12]]
            .iter()
            .map(|it| it.parse::<u64>().expect("ticks"))
            .sum();
        // USER_HZ is 100 on every architecture that Rust's std knows.
        Duration::from_millis(ticks * 10)
    }

    /// TERM: drains, and unshare passes the exit status on.
    #[track_caller]
    fn stop(self) {
        self.signal(Signal::SIGTERM);
        self.service.ends().says(0, &[]);
    }
}

#[test]
fn f21_a_thousand_orphans_are_reaped_and_cost_little() {
    for namespace in namespaces() {
        let inside = Contained::start(Start::serving(&server()), &namespace);
        let load = Load::on(&inside.service.address());
        let before = inside.used();
        // Each `(true &)` loses its parent at once; the last ones outlive the shell.
        let made =
            inside.exec("i=0; while [ $i -lt 1000 ]; do (true & sleep 0.01 &) ; i=$((i+1)); done");
        made.says(0, &[]);
        eventually("nothing of them is left", || {
            let all = inside.inside();
            let zombies = all.values().filter(|(state, _)| state == "Z").count();
            let strangers = all.iter().filter(|(pid, (_, parent))| {
                *parent == inside.init && !inside.worker_pids().contains(pid)
            });
            (zombies == 0 && strangers.count() == 0).then_some(())
        });
        let used = inside.used().saturating_sub(before);
        assert!(
            used < Duration::from_secs(2),
            "{used:?} of processor time for 2,000 ends"
        );
        assert_eq!(inside.service.generation(), 1);
        load.lost_nothing([1]);
        let events = inside.service.events();
        assert!(
            !events.contains("orphan") && !events.contains("worker_exited"),
            "{events}"
        );
        inside.stop();
    }
}

impl Contained {
    /// Out here.
    fn worker_pids(&self) -> Vec<i32> {
        let all = self.inside();
        let own = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut pairs = environment.split(|byte| *byte == 0);
            pairs.any(|pair| pair.starts_with(b"HANDOVER_NONCE="))
        };
        all.into_keys().filter(own).collect()
    }
}

#[test]
fn f21_a_daemon_of_a_worker_becomes_an_orphan_and_is_reaped_when_it_ends() {
    let Some(namespace) = namespaces().into_iter().next() else {
        return;
    };
    let program = python_code(
        "if os.fork() == 0:\n\
         \x20   os.setsid()\n\
         \x20   os._exit(0) if os.fork() else None\n\
         \x20   time.sleep(0.5)\n\
         \x20   os._exit(7)\n\
         os.wait()\n\
         serve()",
    );
    let inside = Contained::start(Start::serving(&program), &namespace);
    eventually("only master and worker are left", || {
        (inside.inside().len() == 2).then_some(())
    });
    assert_eq!(
        get(&inside.service.address(), "/")
            .expect("it serves")
            .generation(),
        Some(1)
    );
    inside.stop();
}

#[test]
fn f20_a_signal_without_a_meaning_has_none_and_reaches_no_worker() {
    for namespace in namespaces() {
        let program = python_code(
            "heard = lambda number, frame: print('heard', number, flush=True)\n\
             for number in range(1, 32):\n\
             \x20   if number not in (9, 15, 17, 19): signal.signal(number, heard)\n\
             serve()",
        );
        let inside = Contained::start(Start::serving(&program), &namespace);
        let workers = inside.worker_pids();
        // All but those that README documents; from inside, where even KILL cannot reach process 1.
        let made = inside.exec(
            "for s in 4 5 6 7 8 9 10 11 13 14 16 18 19 20 23 24 25 26 27 28 29 30 31 34 40 64; do kill -$s 1; done",
        );
        made.says(0, &[]);
        // From outside, from where KILL and the faults would.
        for signal in [
            Signal::SIGALRM,
            Signal::SIGPIPE,
            Signal::SIGWINCH,
            Signal::SIGURG,
            Signal::SIGIO,
        ] {
            inside.signal(signal);
        }
        assert_eq!(inside.service.generation(), 1);
        assert_eq!(
            get(&inside.service.address(), "/")
                .expect("it serves")
                .status,
            200
        );
        assert_eq!(inside.worker_pids(), workers);
        let logs = inside.service.handover("logs", &[]).stdout;
        assert!(!logs.contains("heard"), "{logs}");
        inside.stop();
    }
}

#[test]
fn f23_process_1_drains_within_the_bound_and_a_second_term_ends_it_at_once() {
    let deaf = || {
        python_code(
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
             while True: socket.socket(fileno=3).accept()",
        )
    };
    for namespace in namespaces() {
        // What it has is finished first.
        let inside = Contained::start(Start::serving(&server()), &namespace);
        let address = inside.service.address();
        let slow = std::thread::spawn(move || get(&address, "/slow?ms=1500"));
        eventually("the request is at work", || {
            let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
            let port: u16 = inside.service.address().rsplit(':').next()?.parse().ok()?;
            let established = format!(":{port:04X} ");
            table
                .lines()
                .any(|l| l.contains(&established) && l.contains(" 01 "))
                .then_some(())
        });
        inside.stop();
        assert_eq!(
            slow.join().expect("no panic").expect("an answer").status,
            200
        );

        // A worker that hears nothing is ended at the deadline, and the exit code says that all went as asked.
        let start = Start::serving(&deaf()).flag("--drain-timeout", "700ms");
        let inside = Contained::start(start, &namespace);
        let began = Instant::now();
        inside.stop();
        let took = began.elapsed();
        assert!(
            took > Duration::from_millis(600) && took < PATIENCE,
            "{took:?}"
        );

        let start = Start::serving(&deaf()).flag("--drain-timeout", "10m");
        let inside = Contained::start(start, &namespace);
        inside.signal(Signal::SIGTERM);
        inside.service.wait_event("master_stopping");
        inside.stop();
    }
}

#[test]
fn an_upgrade_and_a_rollback_work_from_inside_and_outside() {
    for namespace in namespaces() {
        let inside = Contained::start(Start::serving(&server()), &namespace);
        let load = Load::on(&inside.service.address());
        let run = inside.service.runtime_dir();
        let verb = |verb: &str| {
            let handover = env!("CARGO_BIN_EXE_handover");
            inside.exec(&format!(
                "{handover} {verb} --runtime-dir {}",
                run.display()
            ))
        };
        verb("upgrade").says(0, &[]);
        inside
            .service
            .handover("upgrade", &["--env", "COLOUR=green"])
            .says(0, &[]);
        verb("rollback").says(0, &[]);
        inside.signal(Signal::SIGUSR2);
        inside.service.wait_generation(5);
        load.lost_nothing(1..=5);
        inside.stop();
    }
}

#[test]
fn without_a_writable_run_and_without_standard_input_it_serves() {
    let Some(mut namespace) = namespaces().into_iter().next() else {
        return;
    };
    namespace.push("--mount");
    let name = format!("contained-{}", std::process::id());
    let state = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let program: Vec<String> = server().iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "mount -t tmpfs -o ro none /run && exec '{}' run --name {name} --listen 127.0.0.1:{port} --state-dir '{}' \
         -- {} <&-",
        env!("CARGO_BIN_EXE_handover"),
        state.path().display(),
        program.join(" ")
    );
    let mut command = Command::new(namespace[0]);
    command.args(&namespace[1..]).args(["sh", "-c", &script]);
    for variable in [
        "RUNTIME_DIRECTORY",
        "XDG_RUNTIME_DIR",
        "NOTIFY_SOCKET",
        "LISTEN_PID",
        "LISTEN_FDS",
    ] {
        command.env_remove(variable);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().expect("unshare");
    let call = |verb: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
        command.args([verb, &name]).env_remove("XDG_RUNTIME_DIR");
        finish(command)
    };
    eventually("it serves", || get(&format!("127.0.0.1:{port}"), "/").ok());
    // Found by its name alone.
    let user = nix::unistd::geteuid();
    let place = format!("/tmp/handover-{user}/{name}");
    let status = call("status");
    let stopped = call("stop");
    let said = child.wait_with_output().expect("it ends");
    let _ = std::fs::remove_dir_all(&place);
    let _ = std::fs::remove_dir(Path::new(&place).with_file_name(""));
    status.says(0, &[]);
    stopped.says(0, &[]);
    let stderr = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains(&format!("the runtime directory is {place}")),
        "{stderr}"
    );
}
