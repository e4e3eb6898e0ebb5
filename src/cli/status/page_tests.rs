use serde_json::json;

use super::*;

/// A master in the middle of an upgrade, with an old generation still draining.
fn busy() -> Status {
    let worker = |id: &str, pid, state: &str, ms: Option<u64>, connections: Option<u64>| {
        json!({
            "id": id, "pid": pid, "state": state, "ready_ms": ms, "ready_by": "epoll_wait on http",
            "status": null, "restarts": 0, "connections": connections,
        })
    };
    let release = |label: &str| {
        json!({
            "command": ["python3", format!("/srv/{label}/server.py"), "--name", "a b"],
            "executable": "/usr/bin/python3.11", "build_id": null, "pinned": "path",
        })
    };
    let mut starting = worker("8.0", 5012, "starting", None, None);
    starting["ready_by"] = json!(null);
    starting["restarts"] = json!(2);
    let mut changed = release("v6");
    changed["changed_files"] = json!(["/srv/v6/server.py: removed"]);
    let by = json!({"uid": 0, "pid": 4800});
    serde_json::from_value(json!({
        "name": "web", "pid": 4711, "version": "0.1.0", "state": "upgrading", "generation": 7,
        "route": "direct", "at": "2026-03-21T17:04:05.120Z",
        "started_at": "2026-03-21T13:52:00.000Z",
        "sticky": "the release is `./server v7`, asked for by uid 0 on 2026-03-20",
        "listeners": [
            {"name": "http", "address": "0.0.0.0:8080", "origin": "bound", "backlog": 4096,
             "ready": true},
            {"name": "dns", "address": "udp:0.0.0.0:53", "origin": "systemd", "backlog": 0,
             "ready": true, "note": "both generations read from it while they overlap"},
        ],
        "generations": [
            {"number": 8, "label": "v8", "state": "starting", "release": release("v8"),
             "started_at": "2026-03-21T17:04:04.900Z", "drain_deadline": null,
             "workers": [starting]},
            {"number": 7, "label": "v7", "state": "active", "release": release("v7"),
             "started_at": "2026-03-21T16:58:00.000Z", "drain_deadline": null,
             "workers": [worker("7.0", 812, "ready", Some(112), None), worker("7.1", 813, "ready", Some(98), None)]},
            {"number": 6, "label": null, "state": "draining", "release": changed,
             "started_at": "2026-03-20T11:00:00.000Z", "drain_deadline": "2026-03-21T17:04:23.500Z",
             "workers": [worker("6.0", 77, "draining", Some(1500), Some(12))]},
        ],
        "upgrades": {"succeeded": 6, "failed": 1, "rolled_back": 0},
        "last_upgrade": {
            "id": "up_7", "result": "failed", "reason": "exit code 3", "from": 6, "to": 7,
            "started_at": "2026-03-21T16:57:59.000Z", "duration_ms": 1234, "log_tail": [],
        },
        "operation": {
            "id": "up_8", "kind": "upgrade", "state": "running", "result": null, "reason": null,
            "by": by, "label": "v8", "from": 7, "to": 8, "started_at": "2026-03-21T17:04:04.000Z",
            "ended_at": null, "duration_ms": null, "drained": false, "unchanged": false,
            "workers": null, "ready_ms": null, "ready_by": null, "bake_ms": null,
            "drain_timeout_ms": null, "failed_worker": null, "log_tail": [], "warnings": [],
        },
        "warnings": ["web.toml changed since it was read"],
    }))
    .expect("a status")
}

#[test]
fn a_busy_master() {
    let expected = "\
web  upgrading  generation 7  direct  pid 4711  up 3 h 12 min  handover 0.1.0
the release is `./server v7`, asked for by uid 0 on 2026-03-20
warning: web.toml changed since it was read

GENERATION  STATE            AGE  LABEL  RELEASE                                 PINNED
8           starting         0 s  v8     python3 /srv/v8/server.py --name 'a b'  path
7           active     6 min 5 s  v7     python3 /srv/v7/server.py --name 'a b'  path
6           draining  30 h 4 min         python3 /srv/v6/server.py --name 'a b'  path    \
12 connections left, 18 s left, /srv/v6/server.py: removed

WORKER  STATE      PID  READY AFTER  BY                  RESTARTS  CONNECTIONS
8.0     starting  5012                                          2
7.0     ready      812       112 ms  epoll_wait on http
7.1     ready      813        98 ms  epoll_wait on http
6.0     draining    77        1.5 s  epoll_wait on http                     12

LISTENER  ADDRESS         BACKLOG  FROM
http      0.0.0.0:8080       4096
dns       udp:0.0.0.0:53           systemd  both generations read from it while they overlap

under way: upgrade up_8 for 1 s, asked by root (pid 4800)
last upgrade: up_7 failed, generation 6 to 7, 6 min 4 s ago, took 1.2 s: exit code 3
upgrades: 6 succeeded, 1 failed, 0 rolled back";
    assert_eq!(render(&busy(), Paint(false), usize::MAX), expected);
}

#[test]
fn a_quiet_master_has_no_empty_columns() {
    let mut status = busy();
    status.state = MasterState::Serving;
    status
        .generations
        .retain(|generation| generation.number == 7);
    status.listeners.truncate(1);
    (status.sticky, status.last_upgrade, status.operation) = (None, None, None);
    status.warnings.clear();
    status.upgrades = crate::control::view::UpgradesView::default();
    let expected = "\
web  serving  generation 7  direct  pid 4711  up 3 h 12 min  handover 0.1.0

GENERATION  STATE         AGE  LABEL  RELEASE                                 PINNED
7           active  6 min 5 s  v7     python3 /srv/v7/server.py --name 'a b'  path

WORKER  STATE  PID  READY AFTER  BY
7.0     ready  812       112 ms  epoll_wait on http
7.1     ready  813        98 ms  epoll_wait on http

LISTENER  ADDRESS       BACKLOG
http      0.0.0.0:8080     4096";
    assert_eq!(render(&status, Paint(false), usize::MAX), expected);
}

#[test]
fn a_worker_that_waits_for_its_restart_says_so_and_how_it_ended() {
    let mut status = busy();
    status.generations.remove(0);
    status.generations.truncate(1);
    let workers = &mut status.generations[0].workers;
    workers.truncate(1);
    let worker = &mut workers[0];
    (worker.pid, worker.ready_ms, worker.ready_by) = (None, None, None);
    worker.state = WorkerState::Starting;
    (worker.restarts, worker.restart_in_ms) = (4, Some(2_300));
    worker.ended = Some("exit status 3".to_owned());
    let page = render(&status, Paint(false), usize::MAX);
    let expected = "\
WORKER  STATE             PID  RESTARTS  STATUS
7.0     restarts in 3 s  none         4  ended: exit status 3
";
    assert!(page.contains(expected), "{page}");
    status.generations[0].workers[0].restart_in_ms = Some(80);
    let page = render(&status, Paint(false), usize::MAX);
    assert!(page.contains("restarts in 80 ms  none"), "{page}");
}

#[test]
fn a_service_without_a_ready_worker_is_not_said_to_serve() {
    let mut status = busy();
    let word = |status: &Status| {
        let page = render(status, Paint(false), usize::MAX);
        page.split("  ").nth(1).map(str::to_owned)
    };
    assert_eq!(word(&status).as_deref(), Some("upgrading"));
    for generation in &mut status.generations {
        for worker in &mut generation.workers {
            worker.state = WorkerState::Starting;
        }
    }
    assert_eq!(word(&status).as_deref(), Some("upgrading, not serving"));
    status.state = MasterState::Serving;
    assert_eq!(word(&status).as_deref(), Some("not serving"));
    status.generations[1].workers[1].state = WorkerState::Ready;
    assert_eq!(word(&status).as_deref(), Some("serving"));
    status.listeners[0].broken = true;
    assert_eq!(word(&status).as_deref(), Some("serving"), "one is enough");
    status.listeners[1].broken = true;
    assert_eq!(word(&status).as_deref(), Some("not serving"));
}

#[test]
fn connections_that_cannot_be_counted_are_said_once_and_who_waits_is_shown() {
    let mut status = busy();
    status.uncounted = Some("no descriptors are left".to_owned());
    status.listeners[0].queue = Some(17);
    status.listeners[1].queue = Some(0);
    let page = render(&status, Paint(false), usize::MAX);
    let said = "connections of some workers are not counted: no descriptors are left";
    assert_eq!(page.matches(said).count(), 1, "{page}");
    assert!(page.contains("BACKLOG  WAITING  FROM"), "{page}");
    assert!(page.contains("   4096       17\n"), "{page}");

    for generation in &mut status.generations {
        for worker in &mut generation.workers {
            worker.connections = None;
        }
    }
    let page = render(&status, Paint(false), usize::MAX);
    assert!(page.contains("\nconnections are not counted: no"), "{page}");
    assert!(!page.contains("connections left"), "{page}");
    assert!(!page.contains("CONNECTIONS"), "{page}");
}

#[test]
fn a_part_of_a_generations_connections_is_not_told_as_all() {
    let mut status = busy();
    let mut other = status.generations[2].workers[0].clone();
    (other.id, other.connections) = ("6.1".to_owned(), None);
    status.generations[2].workers.push(other);
    let page = render(&status, Paint(false), usize::MAX);
    assert!(page.contains("    18 s left, /srv"), "{page}");
}

#[test]
fn a_master_that_just_began_has_a_header() {
    let mut status = busy();
    (status.state, status.generation) = (MasterState::Starting, 0);
    (status.generations, status.listeners, status.warnings) = (vec![], vec![], vec![]);
    (status.sticky, status.last_upgrade, status.operation) = (None, None, None);
    status.upgrades = crate::control::view::UpgradesView::default();
    status.started_at = status.at;
    assert_eq!(
        render(&status, Paint(false), usize::MAX),
        "web  starting  direct  pid 4711  up 0 s  handover 0.1.0"
    );
}

#[test]
fn nothing_on_the_page_steers_the_terminal() {
    let mut status = busy();
    let evil = "x\u{1b}[2J\u{7}y".to_owned();
    status.name.clone_from(&evil);
    status.generations[0].workers[0].status = Some(evil.clone());
    status.generations[0].label = Some(evil.clone());
    status.generations[0].release.command = vec![evil.clone()];
    status.listeners[0].note = Some(evil);
    assert!(!render(&status, Paint(false), usize::MAX).contains(['\u{1b}', '\u{7}']));
    assert!(
        render(&status, Paint(true), usize::MAX).contains("\u{1b}[2m"),
        "headings are dim"
    );
}

#[test]
fn on_a_narrow_terminal_what_is_long_is_cut_or_broken() {
    let mut status = busy();
    status.generations[0].label = Some("a-label-that-is-rather-long".to_owned());
    status.generations[2].release.changed_files.clear();
    let last = status.last_upgrade.as_mut().expect("there was one");
    last.reason = Some("worker 7.0 ended by exit code 3 ".repeat(10));
    let page = render(&status, Paint(false), 80);
    let after = page.split("last upgrade: ").nth(1).expect("it is told");
    let lines = after
        .lines()
        .take_while(|line| !line.starts_with("upgrades:"));
    assert_eq!(lines.count(), 2, "{page}");
    let wide: Vec<&str> = page
        .lines()
        .filter(|line| {
            line.chars().count() > 80 && !line.contains(" left") && !line.starts_with("dns")
        })
        .collect();
    assert_eq!(wide, [""; 0], "{page}");
    assert!(
        page.contains("python3 /srv/v8/") && page.contains("\n    "),
        "{page}"
    );
}

#[test]
fn what_made_a_worker_ready_is_short_and_the_table_fits_into_80_columns() {
    let mut status = busy();
    status.generations.truncate(2);
    status.generations.remove(0);
    for (worker, connections) in status.generations[0].workers.iter_mut().zip([3, 1204]) {
        let pid = worker.pid.expect("it runs");
        worker.ready_by = Some(format!(
            "epoll_wait on http, admin (pid {pid}); http:/healthz answered 200 after 3 ms"
        ));
        worker.connections = Some(connections);
        worker.health = Some(crate::control::view::HealthView {
            check: "http:/healthz".to_owned(),
            ok: true,
            failures: 0,
            reason: "answered 200".to_owned(),
            at: status.at,
        });
    }
    let page = render(&status, Paint(false), usize::MAX);
    let expected = "\
WORKER  STATE  PID  READY AFTER  BY                         CONNECTIONS  HEALTH
7.0     ready  812       112 ms  epoll_wait on http, admin            3  ok
7.1     ready  813        98 ms  epoll_wait on http, admin         1204  ok
";
    assert!(page.contains(expected), "{page}");
    // A child of the worker may be who waits.
    let workers = &mut status.generations[0].workers;
    workers[0].ready_by = Some("accept4 on a-listener-with-a-long-name (pid 99)".to_owned());
    workers[1].ready_by = Some("its output \"up; and running\"".to_owned());
    workers[1].health = None;
    let page = render(&status, Paint(false), usize::MAX);
    assert!(
        page.contains("  accept4 on a-listener-with-a-long-name …  "),
        "{page}"
    );
    assert!(
        page.contains("  its output \"up; and running\"  "),
        "{page}"
    );
    let page = render(&status, Paint(false), 80);
    let table = page.split("\n\n").nth(2).expect("the workers");
    assert!(table.starts_with("WORKER"), "{page}");
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{page}"
    );
}

#[test]
fn a_canary_and_another_number_of_workers_are_told() {
    let mut status = busy();
    let held = &mut status.generations[0];
    held.state = crate::control::view::GenerationState::Canary;
    held.canary_deadline = Some(status.at.after(std::time::Duration::from_secs(90)));
    status.scaled = Some("scaled to 4, asked by uid 0".to_owned());
    let page = render(&status, Paint(false), usize::MAX);
    assert!(
        page.contains("promote or abort it, aborted in 90 s"),
        "{page}"
    );
    assert!(page.contains("\nscaled to 4, asked by uid 0\n"), "{page}");
    let last = status.last_upgrade.as_mut().expect("there was one");
    (last.from, last.to) = (Some(7), Some(8));
    let page = render(&status, Paint(false), usize::MAX);
    assert!(
        page.contains(", generation 8 as a canary beside 7, "),
        "{page}"
    );
}
