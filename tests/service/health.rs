//! Whether workers serve: asked by `http:` and by `exec:`, for readiness, in the bake and ever after.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    Load, Service, Start, eventually, get, python_code, script, server, sh, switched,
};

/// A server whose `/healthz` follows a file, asked ten times a second.
pub struct Switch(pub PathBuf);

impl Switch {
    pub fn of(start: &Start) -> Self {
        let switch = Self(start.path("switch"));
        switch.says("200 OK");
        switch
    }

    /// Replaces the file at once: a reader sees the old text or the new one.
    pub fn says(&self, how: &str) {
        let aside = self.0.with_extension("new");
        std::fs::write(&aside, how).expect("a file");
        std::fs::rename(&aside, &self.0).expect("a rename");
    }

    pub fn server(&self) -> Vec<String> {
        switched(&self.0, "")
    }

    /// (worker, seconds, generation) of every question so far.
    pub fn asked(&self) -> Vec<(u32, f64, u32)> {
        let text = std::fs::read_to_string(asked_file(&self.0)).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ');
            Some((
                words.next()?.parse().ok()?,
                words.next()?.parse().ok()?,
                words.next()?.parse().ok()?,
            ))
        };
        text.lines().filter_map(line).collect()
    }
}

fn asked_file(switch: &Path) -> PathBuf {
    PathBuf::from(format!("{}.asked", switch.display()))
}

pub fn asked_often(start: Start, check: &str) -> Start {
    start
        .env("HANDOVER_HEALTH__CHECK", check)
        .env("HANDOVER_HEALTH__INTERVAL", "100ms")
        .env("HANDOVER_HEALTH__TIMEOUT", "1s")
        .env("HANDOVER_HEALTH__FAILURES", "3")
        .env("HANDOVER_RESTART__DELAY", "10ms")
}

/// What `status` says of the first worker of a generation.
#[track_caller]
pub fn worker(service: &Service, generation: u64) -> Value {
    let status = service.status();
    let generations = status["generations"].as_array().expect("a list");
    let found = generations.iter().find(|it| it["number"] == generation);
    found.map_or(Value::Null, |it| it["workers"][0].clone())
}

/// The same of a service that may not answer yet.
fn early_worker(service: &Service) -> Option<Value> {
    let answer = service.ask("GET", "/v1/status", "").ok()?;
    let status: Value = serde_json::from_str(&answer.body).ok()?;
    status["generations"][0]["workers"].get(0).cloned()
}

#[test]
fn a_worker_is_ready_when_its_probe_is_answered() {
    let start = Start::bare(&[]);
    let switch = Switch::of(&start);
    switch.says("503 Service Unavailable");
    let mut service = Start::serving(&switch.server())
        .flag("--ready", "http:/healthz")
        .spawn();
    let refused = eventually("it was asked in vain", || {
        let health = early_worker(&service)?["health"].clone();
        (health["ok"] == false).then_some(health)
    });
    assert_eq!(refused["check"], "http:/healthz");
    assert_eq!(refused["reason"], "503 Service Unavailable: \"quite\"");
    switch.says("200 OK");
    service.wait_ready();
    let by = worker(&service, 1)["ready_by"].to_string();
    assert!(by.contains("http:/healthz answered 200 after"), "{by}");
    // A redirect is an answer.
    switch.says("302 Found");
    service
        .handover("upgrade", &[])
        .says(0, &["http:/healthz answered 302 after"]);
    service.stop();
}

#[test]
fn a_command_decides_over_readiness_in_the_surroundings_of_the_worker() {
    let start = Start::bare(&[]);
    let (flag, seen) = (start.path("ready"), start.path("seen"));
    let check = start.path("check");
    let text = format!(
        "#!/bin/sh\n\
         {{ env; echo \"args $*\"; pwd; ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> /fd \\1 /p'; }} >{seen}.new\n\
         mv {seen}.new {seen}\n\
         echo still loading >&2\n\
         test -e {flag}\n",
        seen = seen.display(),
        flag = flag.display()
    );
    script(&check, &text);
    let mut service = Start::serving(&server())
        .flag(
            "--ready",
            format!("exec:{} 'slot {{worker}}'", check.display()),
        )
        .env("HANDOVER_APP__ENV", "SLOT={worker}")
        .spawn();
    let environment = eventually("it was asked", || std::fs::read_to_string(&seen).ok());
    let has = |line: &str| environment.lines().any(|it| it == line);
    assert!(has("HANDOVER_WORKER=0") && has("HANDOVER_GENERATION=1") && has("SLOT=0"));
    assert!(has("args slot 0"), "{environment}");
    for leaked in ["LISTEN_", "NOTIFY_SOCKET", "HANDOVER_NONCE", "WATCHDOG_"] {
        assert!(!environment.contains(leaked), "{leaked}: {environment}");
    }
    assert!(!environment.contains("socket:["), "{environment}");
    let why = eventually("it is told why not yet", || {
        let health = early_worker(&service)?["health"].clone();
        health["reason"].as_str().map(str::to_owned)
    });
    assert_eq!(why, "exit status 1: \"still loading\"");
    std::fs::write(&flag, "").expect("a file");
    service.wait_ready();
    let pid = service.workers(1)[0];
    assert!(has(&format!("HANDOVER_WORKER_PID={pid}")), "{environment}");
    let by = worker(&service, 1)["ready_by"].to_string();
    assert!(by.contains("exited with status 0 after"), "{by}");
    service.stop();
}

#[test]
fn a_worker_that_fails_its_health_check_is_replaced() {
    let start = Start::bare(&[]);
    let switch = Switch::of(&start);
    let service = asked_often(Start::serving(&switch.server()), "http:/healthz").start();
    let before = service.workers(1)[0];
    eventually("it is asked, and well", || {
        (worker(&service, 1)["health"]["ok"] == true).then_some(())
    });
    for (how, reason) in [
        ("503 Service Unavailable", "503 Service Unavailable"),
        ("garbage", "the answer is no HTTP"),
        ("drip", "no whole answer, only 200 OK"),
        ("hang", "no answer within 1 s"),
    ] {
        let before = service.workers(1);
        switch.says(how);
        eventually(&format!("{how}: another one is started"), || {
            (service.workers(1) != before).then_some(())
        });
        switch.says("200 OK");
        eventually("the other one is ready, alone", || {
            let alone = service.workers(1).len() == 1 && service.workers(1) != before;
            (alone && worker(&service, 1)["state"] == "ready").then_some(())
        });
        let said = service.said();
        let told = format!("is not healthy: health check http:/healthz failed 3 times: {reason}");
        assert!(said.contains(&told), "{how}: {said}");
    }
    assert_ne!(service.workers(1), [before]);
    let event = service.wait_event("health_failed");
    assert_eq!(
        (&event["worker"], &event["failures"]),
        (&"1.0".into(), &1.into())
    );
    // An endless answer is not read to its end; that it is a good one is known from its head.
    switch.says("endless");
    let asked = switch.asked().len();
    eventually("it is asked a few times more", || {
        (switch.asked().len() > asked + 5).then_some(())
    });
    assert_eq!(worker(&service, 1)["health"]["ok"], true);
    service.stop();
}

#[test]
fn a_worker_that_says_that_it_is_not_well_finishes_what_it_has() {
    let start = Start::bare(&[]);
    let switch = Switch::of(&start);
    let service = asked_often(Start::serving(&switch.server()), "http:/healthz").start();
    let load = Load::on(&service.address());
    for _ in 0..3 {
        let before = service.workers(1);
        switch.says("503 Service Unavailable");
        eventually("another one is started, and it stays", || {
            (service.workers(1).len() > 1).then_some(())
        });
        assert!(service.workers(1).contains(&before[0]), "it is still there");
        assert!(service.said().contains("serves until another one is ready"));
        switch.says("200 OK");
        eventually("the other one is ready, alone", || {
            let alone = service.workers(1).len() == 1 && service.workers(1) != before;
            (alone && worker(&service, 1)["state"] == "ready").then_some(())
        });
    }
    load.lost_nothing([1]);
    service.stop();
}

#[test]
fn a_worker_that_recovers_in_time_is_kept() {
    let start = Start::bare(&[]);
    let switch = Switch::of(&start);
    let service = asked_often(Start::serving(&switch.server()), "http:/healthz")
        .env("HANDOVER_HEALTH__FAILURES", "100")
        .start();
    let before = service.workers(1);
    switch.says("500 Oops");
    service.wait_event("health_failed");
    switch.says("200 OK");
    let event = service.wait_event("health_recovered");
    assert!(event["failures"].as_u64() >= Some(1), "{event}");
    assert_eq!(service.workers(1), before);
    let page = service.handover("status", &[]).stdout;
    assert!(page.contains("HEALTH") && page.contains(" ok"), "{page}");
    service.stop();
}

#[test]
fn a_bake_is_rolled_back_when_a_worker_turns_unhealthy() {
    let start = Start::bare(&[]);
    let (old, new) = (Switch(start.path("old")), Switch(start.path("new")));
    old.says("200 OK");
    new.says("200 OK");
    // Asked seldom: in the bake all three failures have to fit all the same.
    let service = Start::serving(&old.server())
        .env("HANDOVER_HEALTH__CHECK", "http:/healthz")
        .env("HANDOVER_HEALTH__INTERVAL", "1h")
        .flag("--bake", "4s")
        .start();
    let load = Load::on(&service.address());
    let ended = std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| service.upgrade_to(&new.server()));
        service.wait_event("bake_started");
        new.says("503 Service Unavailable");
        upgrade.join().expect("no panic")
    });
    ended.says(
        1,
        &["health check http:/healthz failed 3 times: 503 Service Unavailable"],
    );
    assert_eq!(service.generation(), 1);
    let event = service.wait_event("rollback");
    assert_eq!((&event["from"], &event["to"]), (&2.into(), &1.into()));
    load.lost_nothing([1]);
    service.stop();
}

#[test]
fn a_bake_that_ends_between_two_failures_is_rolled_back() {
    let start = Start::bare(&[]);
    let (old, new) = (Switch(start.path("old")), Switch(start.path("new")));
    old.says("200 OK");
    new.says("200 OK");
    // The second failure would come an hour after the first.
    let service = Start::serving(&old.server())
        .env("HANDOVER_HEALTH__CHECK", "http:/healthz")
        .env("HANDOVER_HEALTH__INTERVAL", "1h")
        .env("HANDOVER_HEALTH__FAILURES", "1000")
        .flag("--bake", "2s")
        .start();
    let load = Load::on(&service.address());
    let ended = std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| service.upgrade_to(&new.server()));
        service.wait_event("bake_started");
        new.says("503 Service Unavailable");
        upgrade.join().expect("no panic")
    });
    ended.says(
        1,
        &[
            "health check http:/healthz failed",
            "503 Service Unavailable",
        ],
    );
    assert_eq!(service.generation(), 1);
    load.lost_nothing([1]);
    service.stop();
}

#[test]
fn a_release_that_is_never_healthy_never_bakes() {
    let start = Start::bare(&[]);
    let (old, new) = (Switch(start.path("old")), Switch(start.path("new")));
    old.says("200 OK");
    new.says("503 Service Unavailable");
    let service = asked_often(Start::serving(&old.server()), "http:/healthz")
        .flag("--bake", "0s")
        .start();
    let load = Load::on(&service.address());
    service.upgrade_to(&new.server()).says(
        1,
        &[
            "is not healthy: health check http:/healthz never passed in 300 ms (health.failures × health.interval), it failed ",
            "503 Service Unavailable",
        ],
    );
    assert_eq!(service.generation(), 1);
    let failed = service.wait_event("generation_failed");
    assert_eq!(failed["worker"], "2.0");
    assert!(!service.events().contains("bake_started"));
    load.lost_nothing([1]);
    service.stop();
}

#[test]
fn a_release_that_warms_up_is_waited_for() {
    let start = Start::bare(&[]);
    let (old, new) = (Switch(start.path("old")), Switch(start.path("new")));
    old.says("200 OK");
    new.says("503 Service Unavailable");
    let service = asked_often(Start::serving(&old.server()), "http:/healthz")
        .env("HANDOVER_HEALTH__INTERVAL", "20s")
        .start();
    let ended = std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| service.upgrade_to(&new.server()));
        eventually("it failed more often than a ready one may", || {
            (new.asked().len() > 3).then_some(())
        });
        new.says("200 OK");
        upgrade.join().expect("no panic")
    });
    ended.says(0, &[]);
    let by = worker(&service, 2)["ready_by"].to_string();
    assert!(
        by.contains("on http") && by.contains("; http:/healthz answered 200 after"),
        "{by}"
    );
    service.stop();
}

#[test]
fn a_program_that_serves_one_descriptor_is_told_what_to_do() {
    let one = python_code("os.environ['LISTEN_FDS'] = '1'\nserve()");
    let ended = Start::serving(&one)
        .flag("--ready", "http:/")
        .flag("--ready-timeout", "3s")
        .refused();
    ended.says(
        1,
        &[
            "worker 1.0 was not ready within 3 s (ready.timeout)",
            "it has not taken a connection on its listener 'probe' (descriptor 4, 127.0.0.1:",
            "a program that serves one descriptor only cannot be probed by http: in direct mode",
            "exec:COMMAND",
        ],
    );
    // The same with a health check, which is asked once the worker waits on its own listener.
    let ended = asked_often(Start::serving(&one), "http:/")
        .env("HANDOVER_HEALTH__TIMEOUT", "200ms")
        .refused();
    ended.says(
        1,
        &["it has not taken a connection on its listener 'probe' (descriptor 4, 127.0.0.1:"],
    );
}

#[test]
fn a_program_that_listens_elsewhere_is_told_so_under_a_probe_too() {
    let elsewhere = python_code(
        "s = socket.create_server(('127.0.0.1', 0)); print('up', flush=True)\nwhile True: s.accept()",
    );
    let ended = Start::serving(&elsewhere)
        .flag("--ready", "http:/")
        .flag("--ready-timeout", "3s")
        .refused();
    ended.says(1, &["and not on the socket it was given, http (127.0.0.1:"]);
}

#[test]
fn a_worker_that_drains_is_not_asked() {
    let start = Start::bare(&[]);
    let switch = Switch::of(&start);
    // It goes on accepting for a second after SIGTERM.
    let stays = switched(&switch.0, "m.drain = lambda *_: time.sleep(1)");
    let service = asked_often(Start::serving(&stays), "http:/healthz").start();
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    let draining = service.wait_event("generation_draining");
    let since = seconds(draining["at"].as_str().expect("a time"));
    let late: Vec<_> = switch
        .asked()
        .into_iter()
        .filter(|(_, at, generation)| *generation == 1 && *at > since + 0.3)
        .collect();
    assert!(late.is_empty(), "{late:?} after {since}");
    assert!(
        switch
            .asked()
            .iter()
            .any(|(_, _, generation)| *generation == 2)
    );
    service.stop();

    /// Of the day: no test lasts over two midnights.
    fn seconds(at: &str) -> f64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let day = (now.expect("after 1970").as_secs() / 86_400) as f64 * 86_400.0;
        let (_, time) = at.trim_end_matches('Z').split_once('T').expect("a time");
        let parts: Vec<f64> = time.split(':').filter_map(|it| it.parse().ok()).collect();
        day + parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]
    }
}

#[test]
fn twenty_workers_are_not_asked_at_once() {
    let start = Start::bare(&[]);
    let switch = Switch::of(&start);
    let service = Start::serving(&switch.server())
        .env("HANDOVER_HEALTH__CHECK", "http:/healthz")
        .env("HANDOVER_HEALTH__INTERVAL", "2s")
        .flag("--workers", "20")
        .start();
    let ready = switch.asked().len();
    eventually("each was asked three times more", || {
        (switch.asked().len() >= ready + 60).then_some(())
    });
    let asked = switch.asked();
    let last = &asked[ready + 20..];
    let workers: std::collections::BTreeSet<u32> = last.iter().map(|(slot, ..)| *slot).collect();
    assert_eq!(workers.len(), 20, "everybody has its turn");
    let most = last.iter().map(|(_, at, _)| {
        let together = last
            .iter()
            .filter(|(_, other, _)| (0.0..0.1).contains(&(other - at)));
        together.count()
    });
    assert!(most.max() <= Some(10), "{last:?}");
    service.stop();
}

#[test]
fn a_check_that_hangs_is_killed_with_all_it_started() {
    let start = Start::bare(&[]);
    let (hang, pids) = (start.path("hang"), start.path("pids"));
    let check = start.path("check");
    let text = format!(
        "#!/bin/sh\ntest -e {hang} || exit 0\nsleep 600 & echo $! $$ >>{pids}\necho waiting; wait\n",
        hang = hang.display(),
        pids = pids.display()
    );
    script(&check, &text);
    let service = asked_often(
        Start::serving(&server()),
        &format!("exec:{}", check.display()),
    )
    .env("HANDOVER_HEALTH__TIMEOUT", "300ms")
    .start();
    let before = service.workers(1);
    std::fs::write(&hang, "").expect("a file");
    service.wait_said(&format!(
        "health check exec:{} failed 3 times: not done within 300 ms (health.timeout): \"waiting\"",
        check.display()
    ));
    let first = before.first().expect("a worker");
    assert!(
        service.workers(1).contains(first),
        "it may be the check that hangs: the only worker that serves serves on"
    );
    std::fs::remove_file(&hang).expect("the file");
    eventually("nothing of the checks is left", || {
        let pids = std::fs::read_to_string(&pids).expect("a file");
        let mut pids = pids.split_whitespace();
        pids.all(|pid| !Path::new("/proc").join(pid).exists())
            .then_some(())
    });
    // Neither is a check taken for something that a worker left.
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    let said = service.said();
    assert!(
        !said.contains("left behind") && !said.contains("had left its process"),
        "{said}"
    );
    service.stop();
}

#[test]
fn a_check_that_prints_without_end_disturbs_nobody() {
    let start = Start::bare(&[]);
    let loud = start.path("loud");
    let check = format!("exec:sh -c 'test ! -e {} || exec yes'", loud.display());
    let service = asked_often(Start::serving(&server()), &check)
        .env("HANDOVER_HEALTH__FAILURES", "1000")
        .start();
    std::fs::write(&loud, "").expect("a file");
    let event = service.wait_event("health_failed");
    let asked = Instant::now();
    assert_eq!(get(&service.address(), "/").expect("an answer").status, 200);
    service.handover("status", &[]).says(0, &[]);
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
    let reason = event["reason"].to_string();
    assert!(
        reason.contains("SIGPIPE") && reason.contains("\\\"y"),
        "{reason}"
    );
    std::fs::remove_file(&loud).expect("the file");
    service.stop();
}

#[test]
fn a_check_that_cannot_run_is_refused_before_anything_begins() {
    let ended = asked_often(Start::serving(&server()), "exec:/does/not/exist").refused();
    ended.says(
        1,
        &[
            "HANDOVER_HEALTH__CHECK",
            "/does/not/exist: there is no such file",
        ],
    );
    let start = Start::bare(&[]);
    let check = start.path("check");
    script(&check, "#!/bin/sh\nexit 0\n");
    let service = asked_often(
        Start::serving(&server()),
        &format!("exec:{}", check.display()),
    )
    .start();
    std::fs::remove_file(&check).expect("the script");
    // A check that is gone says nothing of the worker: it is told, and nobody is killed for it.
    let before = service.workers(1);
    service.wait_said("it cannot be asked: ");
    let refused = service.handover("upgrade", &[]);
    refused.says(1, &["health.check: ", "check: there is no such file"]);
    assert_eq!((service.workers(1), service.generation()), (before, 1));
    service.stop();
}

#[test]
fn a_stop_ends_a_check_that_is_under_way() {
    let start = Start::bare(&[]);
    let began = start.path("began");
    let check = format!(
        "exec:sh -c 'test -e {b} && exec sleep 600; touch {b}'",
        b = began.display()
    );
    let service = asked_often(Start::serving(&server()), &check)
        .env("HANDOVER_HEALTH__TIMEOUT", "10m")
        .env("HANDOVER_HEALTH__INTERVAL", "10ms")
        .start();
    eventually("a check hangs", || {
        // A child belongs to the thread that started it.
        let tasks = std::fs::read_dir(format!("/proc/{}/task", service.pid())).ok()?;
        let children = |task: std::fs::DirEntry| task.path().join("children");
        let children: String = tasks
            .filter_map(|task| std::fs::read_to_string(children(task.ok()?)).ok())
            .collect();
        let names = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok();
        let mut names = children.split_whitespace().filter_map(names);
        names.any(|name| name.trim() == "sleep").then_some(())
    });
    service.stop();
}

#[test]
fn a_worker_gets_its_probe_listener_after_its_own() {
    let program = python_code(
        "print('names', os.environ['LISTEN_FDNAMES'], os.environ['LISTEN_FDS'], sys.argv[1], flush=True)\nserve()",
    );
    let mut program = program;
    program.push("{fd:probe}".to_owned());
    let service = asked_often(Start::bare(&program), "http:/")
        .flag("--listen", "http=127.0.0.1:0")
        .flag("--listen", "admin=127.0.0.1:0")
        .start();
    let logs = service.handover("logs", &[]).stdout;
    assert!(logs.contains("names http:admin:probe 3 5"), "{logs}");
    // It is the worker's alone, and no listener of the service.
    assert_eq!(
        service.status()["listeners"].as_array().map(Vec::len),
        Some(2)
    );
    let sockets = |service: &Service| {
        let links = std::fs::read_dir(format!("/proc/{}/fd", service.pid())).expect("it lives");
        let links = links
            .flatten()
            .filter_map(|it| std::fs::read_link(it.path()).ok());
        links
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count()
    };
    let before = sockets(&service);
    for _ in 0..3 {
        service.handover("upgrade", &["--drained"]).says(0, &[]);
    }
    eventually("each is closed with its worker", || {
        (sockets(&service) <= before).then_some(())
    });
    service.stop();
}

#[test]
fn a_check_runs_as_the_worker_does() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        eprintln!("skipped: only root can start workers of another user");
        return;
    }
    let check = "exec:sh -c 'echo \"$(id -un) $(pwd) $(ulimit -n) $(umask)\"; exit 1'";
    let ended = Start::serving(&sh("exec sleep 600"))
        .flag("--ready", check)
        .flag("--ready-timeout", "2s")
        .env("HANDOVER_APP__USER", "nobody")
        .env("HANDOVER_APP__DIRECTORY", "/usr")
        .env("HANDOVER_LIMITS__NOFILE", "77")
        .env("HANDOVER_APP__UMASK", "0027")
        .refused();
    ended.says(1, &["exit status 1: \"nobody /usr 77 0027\""]);
}

#[test]
fn a_check_that_starts_a_daemon_leaves_nothing_and_that_is_told_once() {
    let start = Start::bare(&[]);
    let (pids, check) = (start.path("pids"), start.path("check"));
    script(
        &check,
        &format!(
            "#!/bin/sh\nsetsid -f sh -c 'echo $$ >>{0}; exec sleep 600'\n",
            pids.display()
        ),
    );
    let check = format!("exec:{}", check.display());
    let service = asked_often(Start::serving(&server()), &check).start();
    let begun = || {
        let text = std::fs::read_to_string(&pids).unwrap_or_default();
        let numbers = text.lines().filter_map(|line| line.parse().ok());
        numbers.collect::<Vec<i32>>()
    };
    eventually("several checks ran", || (begun().len() >= 5).then_some(()));
    let early = begun();
    eventually("what they started is gone", || {
        let gone = |pid: &i32| !Path::new("/proc").join(pid.to_string()).exists();
        early.iter().all(gone).then_some(())
    });
    let said = service.said();
    let told = said.matches("left 1 process behind, killed: ").count();
    assert_eq!(told, 1, "{said}");
    assert!(said.contains("of worker 1.0 left 1 process"), "{said}");
    service.stop();
}
