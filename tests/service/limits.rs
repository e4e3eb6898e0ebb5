//! `[limits]`: control groups for workers, and what is said where there are none.
//!
//! What a kernel makes of memory.max, cpu.max and pids.max is shown where version 2 of control groups offers these
//! controllers (tried in a virtual machine with Debian's 6.1); elsewhere those tests say that they show nothing.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use handover::process::{Bounds, lacks_of_machine};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::leftovers::{Left, warned, with_child};
use crate::support::{Cgroup, Service, Start, eventually, python_code, server, sh};

/// Another session, not a child of the worker any more, and nothing in its environment.
const DAEMON: (&str, &str) = ("os.setsid(); (os.fork() and os._exit(0))", "{}");

fn config(program: &[String], rest: &str) -> String {
    let quoted: Vec<String> = program.iter().map(|word| format!("{word:?}")).collect();
    format!(
        "[app]\ncommand = [{}]\n[[listen]]\naddress = \"127.0.0.1:0\"\n{rest}\n",
        quoted.join(", ")
    )
}

#[track_caller]
fn killed(service: &Service) -> Value {
    service.wait_event("worker_killed")
}

#[test]
fn f22_a_daemon_that_left_group_and_environment_dies_with_its_control_group() {
    let Some(cgroup) = Cgroup::delegated() else {
        return;
    };
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("child");
    let rest =
        "[limits]\npids = 100\nbest_effort = true\n[drain]\ntimeout = \"1s\"\nkill_after = \"0s\"";
    let program = with_child(DAEMON.0, DAEMON.1, &file);
    let service = cgroup.hold(Start::config(&config(&program, rest))).start();
    let daemon = Left::of(&file);
    assert_eq!(cgroup.groups(), ["master", "w-1.0.0"]);
    assert_eq!(
        cgroup.read("master/cgroup.procs").trim(),
        service.pid().to_string()
    );
    let members = cgroup.read("w-1.0.0/cgroup.procs");
    assert!(
        members.lines().any(|pid| pid == daemon.pid().to_string()),
        "{members}"
    );
    let began = Instant::now();
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    assert!(!daemon.lives(), "{}", service.said());
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "not before the drain's deadline"
    );
    assert!(
        !service.events().contains("left behind"),
        "{}",
        service.events()
    );
    eventually("the group of the old worker is removed", || {
        (cgroup.groups() == ["master", "w-2.0.0"]).then_some(())
    });
    service.stop();
    assert_eq!(cgroup.groups(), [""; 0], "an orderly end undoes it all");
}

#[test]
fn f22_the_daemon_of_a_crashed_worker_has_kill_after_to_end() {
    let Some(cgroup) = Cgroup::delegated() else {
        return;
    };
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("child");
    let rest = "[limits]\npids = 100\nbest_effort = true\n[drain]\nkill_after = \"1s\"";
    let program = with_child(DAEMON.0, DAEMON.1, &file);
    let service = cgroup.hold(Start::config(&config(&program, rest))).start();
    let daemon = Left::of(&file);
    let crashed = Instant::now();
    kill(Pid::from_raw(service.workers(1)[0]), Signal::SIGKILL).expect("the worker");
    eventually("it is replaced at once, in a group of its own", || {
        cgroup
            .groups()
            .contains(&"w-1.0.1".to_owned())
            .then_some(())
    });
    eventually("the daemon is killed", || (!daemon.lives()).then_some(()));
    assert!(crashed.elapsed() >= Duration::from_secs(1));
    eventually("its group is removed", || {
        (cgroup.groups() == ["master", "w-1.0.1"]).then_some(())
    });
    service.stop();
}

/// Ended with the test.
struct Sleeper(Child);

impl Sleeper {
    fn in_group(group: &Path) -> Self {
        let child = Command::new("sleep").arg("600").spawn().expect("sleep");
        std::fs::write(group.join("cgroup.procs"), child.id().to_string()).expect("moved");
        Self(child)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn f26_what_a_killed_master_left_is_found_and_nobody_is_mistaken_for_a_worker() {
    let Some(cgroup) = Cgroup::delegated() else {
        return;
    };
    let rest = "[limits]\npids = 100\nbest_effort = true";
    let text = config(&server(), rest);
    let start = || {
        cgroup
            .hold(Start::config(&text).flag("--workers", "2"))
            .start()
    };
    let mut service = start();
    assert_eq!(cgroup.groups(), ["master", "w-1.0.0", "w-1.1.0"]);
    service.kill_all();
    drop(service);
    assert_eq!(cgroup.groups().len(), 3, "nobody was there to remove them");
    let mut sleeper = Sleeper::in_group(&cgroup.path().join("w-1.0.0"));
    let service = start();
    let told = warned(&service, "of an earlier master are in the control group");
    assert!(told.contains(&format!("[{}]", sleeper.0.id())), "{told}");
    assert_eq!(
        cgroup.groups(),
        ["master", "w-1.0.0", "w-1.0.0+1", "w-1.1.0"]
    );
    let worker = service.workers(1)[0].to_string();
    assert!(
        cgroup
            .read("w-1.0.0+1/cgroup.procs")
            .lines()
            .any(|pid| pid == worker)
    );
    service.stop();
    assert!(
        sleeper.0.try_wait().expect("our child").is_none(),
        "it was not ours to end"
    );
    assert_eq!(cgroup.groups(), ["w-1.0.0"]);
}

#[test]
fn without_a_control_group_best_effort_bounds_each_process_and_says_so_once() {
    let Some(cgroup) = Cgroup::of_a_unit() else {
        return;
    };
    let rest = "[limits]\nmemory = \"512M\"\ncpu = 1.5\npids = 100\nbest_effort = true";
    let start = Start::config(&config(&server(), rest)).flag("--workers", "2");
    let service = cgroup.hold(start).start();
    for pid in service.workers(1) {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("a worker");
        let data = limits
            .lines()
            .find(|line| line.starts_with("Max data size"));
        let words: Vec<_> = data.into_iter().flat_map(str::split_whitespace).collect();
        assert_eq!(words[3..5], ["536870912", "536870912"], "{limits}");
    }
    let status = service.status();
    let warnings = status["warnings"].as_array().expect("a list");
    let about = |key: &str, part: &str| {
        let texts = warnings.iter().filter_map(Value::as_str);
        let count = texts
            .filter(|text| text.starts_with(key) && text.contains(part))
            .count();
        assert_eq!(count, 1, "{key} {part}: {warnings:?}");
    };
    about(
        "limits.memory ",
        "each process of a worker is bounded to 512M",
    );
    about("limits.cpu ", "nothing is bounded by it");
    about("limits.pids ", "nothing is bounded by it");
    assert_eq!(service.events().matches("best effort").count(), 3, "once");
    // With the next release it is gone.
    let file = service.path("web.toml");
    std::fs::write(&file, config(&server(), "")).expect("written");
    service.handover("upgrade", &[]).says(0, &[]);
    let status = service.status();
    let still = status["warnings"].as_array().expect("a list").iter();
    let still: Vec<_> = still.filter_map(Value::as_str).collect();
    assert!(
        still.iter().all(|text| !text.starts_with("limits.")),
        "{still:?}"
    );
    service.stop();
    assert_eq!(cgroup.groups(), [""; 0], "no group was made");
}

#[test]
fn f32_a_bound_that_cannot_be_set_is_an_error_that_says_why_and_what_to_do() {
    let Some(cgroup) = Cgroup::of_a_unit() else {
        return;
    };
    let rest = "[limits]\nmemory = \"512M\"\ncpu = 1.5\npids = 100";
    let all = Bounds {
        memory: Some(1 << 29),
        cpu: Some(Bounds::cpu_time(1.5)),
        pids: Some(100),
        best_effort: false,
    };
    // What is lacking depends on the machine: the controllers themselves, or their delegation.
    let machine = lacks_of_machine(&all);
    let (why, help) = match machine.first() {
        Some(lack) => (lack.why.what(), lack.why.hint()),
        None => (
            "to be delegated, and it is not".to_owned(),
            "Delegate=yes".to_owned(),
        ),
    };
    let text = config(&server(), rest);
    let refused = cgroup.hold(Start::config(&text)).refused();
    let parts = ["limits.memory: needs", &why, &help, "best_effort = true"];
    refused.says(1, &parts);
    refused.says(
        1,
        &["web.toml:6:10", "limits.cpu: needs", "limits.pids: needs"],
    );

    let service = cgroup.hold(Start::config(&config(&server(), ""))).start();
    let file = service.path("web.toml");
    std::fs::write(&file, &text).expect("written");
    service.handover("upgrade", &[]).says(2, &parts);
    assert_eq!(service.generation(), 1, "nothing changed");
    // A unit is delegated, not the shell of whoever looks: check tells what no start could have.
    let checked = crate::support::check(&file);
    match machine.is_empty() {
        true => checked.says(0, &[]),
        false => checked.says(2, &parts),
    };
    service.stop();
}

#[test]
fn a_worker_over_its_memory_is_told_of_by_the_name_of_its_limit() {
    let Some(cgroup) = Cgroup::delegated().filter(|it| it.offers(&["memory"])) else {
        return;
    };
    let rest = "[limits]\nmemory = \"64M\"";
    let start = Start::config(&config(&server(), rest)).flag("--bake", "20s");
    let service = cgroup.hold(start).start();
    assert_eq!(cgroup.read("w-1.0.0/memory.max").trim(), "67108864");
    assert_eq!(cgroup.read("w-1.0.0/memory.oom.group").trim(), "1");
    let greedy = python_code(
        "threading.Timer(0.3, lambda: bytearray(200 << 20)).start()\n\
         serve()",
    );
    service
        .upgrade_to(&greedy)
        .says(1, &["worker 2.0", "over limits.memory = 64M"]);
    let event = killed(&service);
    assert_eq!(
        (&event["worker"], &event["reason"]),
        (&"2.0".into(), &"over limits.memory = 64M".into())
    );
    assert_eq!(service.generation(), 1);
    service.stop();
    assert_eq!(cgroup.groups(), [""; 0]);
    assert_eq!(cgroup.read("cgroup.subtree_control").trim(), "");
}

#[test]
fn cpu_and_processes_are_bounded_where_the_kernel_can() {
    let Some(cgroup) = Cgroup::delegated().filter(|it| it.offers(&["cpu", "pids"])) else {
        return;
    };
    let place = tempfile::tempdir().expect("a directory");
    let go = place.path().join("go");
    let program = python_code(&format!(
        "def wait():\n\
         \x20   while not os.path.exists({go:?}): time.sleep(0.05)\n\
         def many():\n\
         \x20   wait()\n\
         \x20   for _ in range(20):\n\
         \x20       try: threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n\
         \x20       except RuntimeError: pass\n\
         if os.fork() == 0:\n\
         \x20   wait()\n\
         \x20   while True: pass\n\
         threading.Thread(target=many, daemon=True).start()\n\
         serve()",
        go = go.display().to_string()
    ));
    let rest = "[limits]\ncpu = 0.5\npids = 12";
    let service = cgroup.hold(Start::config(&config(&program, rest))).start();
    assert_eq!(cgroup.read("w-1.0.0/cpu.max").trim(), "50000 100000");
    assert_eq!(cgroup.read("w-1.0.0/pids.max").trim(), "12");
    std::fs::write(&go, "").expect("written");
    let number = |file: &str, name: &str| -> Option<u64> {
        let text = cgroup.read(file);
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().parse().ok()
    };
    eventually("it is throttled", || {
        number("w-1.0.0/cpu.stat", "nr_throttled ").filter(|n| *n > 3)
    });
    eventually("threads are refused", || {
        number("w-1.0.0/pids.events", "max ").filter(|n| *n > 0)
    });
    kill(Pid::from_raw(service.workers(1)[0]), Signal::SIGKILL).expect("the worker");
    let told = warned(&service, "was refused a process or thread");
    assert!(told.contains("limits.pids"), "{told}");
    service.stop();
}

#[test]
fn what_workers_use_is_in_the_metrics() {
    // A child that burns and ends: its time stays in the counter.
    let program = python_code(
        "pid = os.fork()\n\
         if pid == 0:\n\
         \x20   while time.process_time() < 0.3: pass\n\
         \x20   os._exit(0)\n\
         os.waitpid(pid, 0)\n\
         serve()",
    );
    let rest = "[limits]\npids = 100\nbest_effort = true";
    let bounded = Cgroup::delegated();
    let mut services = vec![Start::serving(&program).flag("--workers", "2").start()];
    if let Some(cgroup) = &bounded {
        let start = Start::config(&config(&program, rest)).flag("--workers", "2");
        services.push(cgroup.hold(start).start());
    }
    for service in services {
        let text = service.ask("GET", "/metrics", "").expect("metrics").body;
        for worker in ["1.0", "1.1"] {
            let value = |name: &str| -> f64 {
                let wanted = format!("{name}{{worker=\"{worker}\",generation=\"1\"}} ");
                let line = text.lines().find_map(|line| line.strip_prefix(&wanted));
                line.and_then(|value| value.parse().ok())
                    .unwrap_or_else(|| panic!("no {wanted} in {text}"))
            };
            assert!(value("handover_worker_memory_bytes") > 1e6, "{text}");
            let cpu = value("handover_worker_cpu_seconds_total");
            assert!((0.3..30.0).contains(&cpu), "{text}");
        }
        service.stop();
    }
}

#[test]
fn a_program_that_is_missing_leaves_no_group() {
    let Some(cgroup) = Cgroup::delegated() else {
        return;
    };
    let rest = "[limits]\npids = 100\nbest_effort = true";
    let service = cgroup.hold(Start::config(&config(&server(), rest))).start();
    service
        .upgrade_to(&sh("exit 3"))
        .says(1, &["exit status 3"]);
    eventually("the group of what failed is removed", || {
        (cgroup.groups() == ["master", "w-1.0.0"]).then_some(())
    });
    service.stop();
}

#[test]
fn no_group_is_left_when_workers_are_given_up_while_theirs_are_made() {
    let Some(cgroup) = Cgroup::delegated() else {
        return;
    };
    let rest = "[limits]\npids = 100\nbest_effort = true";
    let service = cgroup.hold(Start::config(&config(&server(), rest))).start();
    let many = config(&sh("exec sleep 600"), rest).replace("[app]", "[app]\nworkers = 60");
    std::fs::write(service.path("web.toml"), many).expect("written");
    service.handover("upgrade", &["--no-wait"]).says(0, &[]);
    eventually("some are being started", || {
        (cgroup.groups().len() > 4).then_some(())
    });
    service.handover("abort", &[]).says(0, &[]);
    service.wait_ended(2);
    eventually("their groups are removed", || {
        (cgroup.groups() == ["master", "w-1.0.0"]).then_some(())
    });
    service.handover("stop", &["--now"]).says(0, &[]);
    service.ends();
    assert_eq!(cgroup.groups(), [""; 0]);
}
