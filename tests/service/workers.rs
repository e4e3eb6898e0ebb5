//! Workers that die, hang, fork, and pass things on.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Service, Start, eventually, get, python_code, server};

#[test]
fn a_killed_worker_is_replaced_in_its_generation() {
    let service = Start::serving(&server()).flag("--workers", "2").start();
    let before = service.workers(1);
    let nonce = |pid: i32| {
        let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).ok()?;
        let mut pairs = environment.split('\0');
        pairs.find_map(|pair| pair.strip_prefix("HANDOVER_NONCE=").map(str::to_owned))
    };
    let nonces = [nonce(before[0]), nonce(before[1])];
    assert_ne!(nonces[0], nonces[1]);
    kill(Pid::from_raw(before[0]), Signal::SIGKILL).expect("a worker");
    let new = eventually("there are two again, one of them new", || {
        let now = service.workers(1);
        let new = now.iter().find(|pid| !before.contains(pid)).copied();
        new.filter(|_| now.len() == 2 && now.contains(&before[1]))
    });
    // What an earlier life left behind is found by it, and a crash loop makes no list of them.
    eventually("it has the nonce of its slot", || {
        (nonce(new) == nonces[0]).then_some(())
    });
    assert_eq!(service.generation(), 1);
    service.wait_event("worker_restarting");
    service.stop();
}

/// Many threads that sleep, and then this.
fn among_threads(count: usize, code: &str) -> Vec<String> {
    let threads = format!(
        "threading.stack_size(65536)\n\
         for _ in range({count}): threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
    );
    python_code(&(threads + code))
}

#[test]
fn a_program_of_three_thousand_threads_is_seen_to_serve() {
    let service = Start::serving(&among_threads(3000, "serve()")).start();
    let by = worker(&service, "1.0")["ready_by"].clone();
    let by = by.as_str().expect("it is ready");
    assert!(by.starts_with("accept"), "{by}");
    service.stop();
}

#[test]
fn a_timeout_that_comes_before_all_threads_were_looked_at_says_so() {
    // In 2 s the master has 31 ms for looks, and a look at so many threads takes longer.
    let many = among_threads(6000, "time.sleep(3600)");
    let ended = Start::serving(&many)
        .flag("--ready-timeout", "2s")
        .refused();
    let seen = "no thread of it was seen to wait on http (127.";
    ended.says(1, &[seen, ", but only ", " threads were looked at"]);
}

/// What `status` says of one worker.
#[track_caller]
fn worker(service: &Service, id: &str) -> Value {
    let status = service.status();
    let generations = status["generations"].as_array().expect("a list").iter();
    let mut workers = generations.flat_map(|held| held["workers"].as_array().expect("a list"));
    let found = workers.find(|worker| worker["id"] == id);
    found.cloned().unwrap_or_default()
}

#[test]
fn restarts_count_the_lives_that_were_lost_and_a_place_taken_anew_has_none() {
    let service = Start::serving(&server())
        .flag("--workers", "2")
        .env("HANDOVER_RESTART__DELAY", "10ms")
        .start();
    let restarts = |id: &str| worker(&service, id)["restarts"].clone();
    for lost in 1..=2 {
        let pid = worker(&service, "1.1")["pid"].as_i64().expect("it runs");
        kill(
            Pid::from_raw(i32::try_from(pid).expect("a PID")),
            Signal::SIGKILL,
        )
        .expect("a worker");
        eventually(
            &format!("{lost} lives are lost and another one serves"),
            || {
                let now = worker(&service, "1.1");
                (now["restarts"] == lost && now["state"] == "ready").then_some(())
            },
        );
    }
    assert_eq!(restarts("1.0"), 0, "its neighbour");
    let page = service.handover("status", &[]).stdout;
    let column = page.lines().find_map(|line| line.find("RESTARTS"));
    let column = column.unwrap_or_else(|| panic!("no column in {page}"));
    let row = page
        .lines()
        .find(|line| line.starts_with("1.1 "))
        .expect("its row");
    assert_eq!(row[column..].split_whitespace().next(), Some("2"), "{page}");

    // Who is let go was not lost: the next one in its place is the first of its kind, as one in a new place is.
    service.handover("scale", &["1"]).says(0, &[]);
    service.wait_event("worker_drained");
    service.handover("scale", &["3"]).says(0, &[]);
    for id in ["1.0", "1.1", "1.2"] {
        assert_eq!(worker(&service, id)["state"], "ready", "{id}");
        assert_eq!(restarts(id), 0, "{id}");
    }
    let page = service.handover("status", &[]).stdout;
    assert!(!page.contains("RESTARTS"), "{page}");
    service.stop();
}

#[test]
fn a_crash_loop_is_an_event_and_not_a_storm() {
    let start = Start::bare(&[]);
    let fuse = start.path("burn");
    // Serves well at first; once the file is there it dies right after its start.
    let program = python_code(&format!(
        "if os.path.exists({fuse:?}): sys.exit(7)\nserve()",
        fuse = fuse.display().to_string()
    ));
    let start = Start::serving(&program).env("HANDOVER_RESTART__MAX_DELAY", "2s");
    let service = start.start();
    std::fs::write(&fuse, "").expect("a file");
    kill(Pid::from_raw(service.workers(1)[0]), Signal::SIGKILL).expect("a worker");
    service.wait_event("crash_loop");
    let launches = service.events().matches("worker_launched").count();
    assert!(launches < 30, "{launches} launches");
    eventually("the page says that it waits, and for what it ended", || {
        let page = service.handover("status", &[]).stdout;
        let row = page.lines().find(|line| line.starts_with("1.0 "))?;
        (row.contains("restarts in ") && row.ends_with("ended: exit status 7")).then_some(())
    });
    eventually("scripts are told so, too", || {
        let worker = service.status()["generations"][0]["workers"][0].clone();
        let waits = worker["restart_in_ms"].is_u64() && worker["pid"].is_null();
        let told = worker["restarts"].as_u64() > Some(4) && worker["ended"] == "exit status 7";
        (worker["state"] == "starting" && waits && told).then_some(())
    });
    let page = service.handover("status", &[]).stdout;
    assert!(page.contains("  not serving  generation 1  "), "{page}");
    let said = "nobody serves: 0 of 1 worker of generation 1 are ready";
    assert!(page.contains(said), "{page}");
    let status = service.status();
    assert_eq!(status["state"], "serving", "the word that scripts know");
    assert!(status["warnings"].to_string().contains(said), "{status}");
    let ready = service.ask("GET", "/readyz", "").expect("an answer");
    assert_eq!(ready.status, 503);
    std::fs::remove_file(&fuse).expect("the file");
    eventually("it recovers by itself", || {
        get(&service.address(), "/").ok()
    });
    service.stop();
}

#[test]
fn a_worker_that_misses_its_watchdog_is_replaced() {
    let program = python_code(
        "def beat():\n\
         \x20   for _ in range(5):\n\
         \x20       notify('WATCHDOG=1'); time.sleep(0.2)\n\
         threading.Thread(target=beat, daemon=True).start()\nserve()",
    );
    let quoted: Vec<String> = program.iter().map(|word| format!("{word:?}")).collect();
    let service = Start::config(&format!(
        "[app]\ncommand = [{}]\nwatchdog = \"1s\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n",
        quoted.join(", ")
    ))
    .start();
    let before = service.workers(1);
    service.wait_event("worker_killed");
    eventually("another one serves", || {
        let now = service.workers(1);
        (now.len() == 1 && now != before).then_some(())
    });
    service.stop();
}

#[test]
fn with_notify_only_the_worker_itself_decides() {
    let start = Start::bare(&[]);
    let loaded = start.path("loaded");
    let program = python_code(&format!(
        "def later():\n\
         \x20   while not os.path.exists({loaded:?}): time.sleep(0.02)\n\
         \x20   notify('STATUS=loaded\\nREADY=1')\n\
         threading.Thread(target=later, daemon=True).start()\nserve()",
        loaded = loaded.display().to_string()
    ));
    let mut service = Start::serving(&program).flag("--ready", "notify").spawn();
    let look = || {
        service
            .ask("GET", "/v1/status", "")
            .ok()
            .map(|answer| answer.body)
    };
    // It waits on its listener already, and answers; still it is not ready.
    let body = eventually("the worker runs", || {
        look().filter(|body| body.contains("\"1.0\""))
    });
    assert!(body.contains("\"starting\""), "{body}");
    std::fs::write(&loaded, "").expect("a file");
    service.wait_ready();
    let worker = &service.status()["generations"][0]["workers"][0];
    assert_eq!(worker["status"], "loaded");
    assert!(
        worker["ready_by"]
            .as_str()
            .is_some_and(|by| by.contains("READY=1")),
        "{worker}"
    );
    service.stop();
}

#[test]
fn f17_ready_from_a_stranger_does_not_count() {
    let program =
        python_code("print('socket', os.environ['NOTIFY_SOCKET'], flush=True)\ntime.sleep(600)");
    let service = Start::serving(&program).flag("--ready", "notify").spawn();
    let socket = eventually("the worker tells its socket", || {
        let logs = service.handover("logs", &[]).stdout;
        Some(
            logs.split("socket ")
                .nth(1)?
                .split_whitespace()
                .next()?
                .to_owned(),
        )
    });
    let stranger = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    let _ = stranger.send_to(b"READY=1", &socket); // may be refused at once
    let worker = &service.status()["generations"][0]["workers"][0];
    assert_eq!(worker["state"], "starting", "{worker}");
    service.stop();
}

#[test]
fn what_a_worker_stores_its_successor_gets() {
    let program = python_code(
        "names = os.environ['LISTEN_FDNAMES'].split(':')\n\
         if 'state' in names:\n\
         \x20   state = os.fdopen(3 + names.index('state'), 'r+b', closefd=False)\n\
         \x20   state.seek(0); count = int(state.read()) + 1\n\
         else:\n\
         \x20   state = os.fdopen(os.memfd_create('state'), 'w+b'); count = 1\n\
         state.seek(0); state.write(str(count).encode()); state.flush()\n\
         notify('FDSTORE=1\\nFDNAME=state', state.fileno())\n\
         print('life', count, flush=True)\n\
         os.environ['LISTEN_FDS'] = '1'\nserve()",
    );
    let service = Start::serving(&program).start();
    for life in ["life 1", "life 2", "life 3"] {
        eventually(life, || {
            service
                .handover("logs", &[])
                .stdout
                .contains(life)
                .then_some(())
        });
        service.handover("upgrade", &[]).says(0, &[]);
    }
    service.stop();
}

#[test]
fn f22_children_that_a_worker_left_behind_end_with_it() {
    // One stays in the group, one leaves it with setsid: both carry the worker's nonce.
    let program = python_code(
        "for own_session in (False, True):\n\
         \x20   if os.fork() == 0:\n\
         \x20       if own_session: os.setsid()\n\
         \x20       signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         \x20       os.execv('/bin/sleep', ['sleep', '600'])\n\
         serve()",
    );
    let service = Start::serving(&program)
        .flag("--drain-timeout", "1s")
        .start();
    service.handover("upgrade", &["--drained"]).says(0, &[]);
    service.stop(); // and asserts that no process with our mark is left
}

#[test]
fn the_environment_of_a_worker_tells_who_it_is() {
    let program = python_code(
        "keys = ('HANDOVER_NAME', 'HANDOVER_GENERATION', 'HANDOVER_WORKER', 'LISTEN_FDNAMES')\n\
         print('i am', *(os.environ[key] for key in keys), flush=True)\n\
         print('leaks', [k for k in ('HANDOVER_SECRET', 'INVOCATION_ID') if k in os.environ], flush=True)\n\
         print('kept', os.environ['KEPT'], flush=True)\nserve()",
    );
    let start = Start::serving(&program)
        .flag("--name", "web")
        .env("HANDOVER_SECRET", "x");
    let service = start.env("INVOCATION_ID", "1").env("KEPT", "yes").start();
    let logs = service.handover("logs", &[]).stdout;
    for part in ["i am web 1 0 http", "leaks []", "kept yes"] {
        assert!(logs.contains(part), "no {part:?} in {logs}");
    }
    service.stop();
}

#[test]
fn a_worker_that_listens_elsewhere_is_reported_with_what_to_type() {
    let program = python_code(
        "listener = socket.create_server(('127.0.0.1', 0))\nwhile True: listener.accept()",
    );
    let start = Start::serving(&program).flag("--ready-timeout", "3s");
    let ended = start.refused();
    ended.says(
        1,
        &[
            "python3",
            "listens on 127.0.0.1:",
            "not on the socket it was given",
        ],
    );
}

#[test]
fn f29_a_worker_that_prints_without_end_starves_nobody() {
    // The child goes on printing while the worker serves.
    let program = python_code(
        "import subprocess\n\
         printer = subprocess.Popen(['yes', 'a' * 30])\n\
         signal.signal(signal.SIGTERM, lambda *_: (printer.kill(), os._exit(0)))\n\
         import socket as s\nlistener = s.socket(fileno=3)\n\
         while True:\n\x20   c, _ = listener.accept(); c.close()",
    );
    let service = Start::serving(&program).start();
    for _ in 0..3 {
        let asked = std::time::Instant::now();
        assert_eq!(service.status()["state"], "serving");
        assert!(
            asked.elapsed().as_secs() < 5,
            "the loop was kept from its callers"
        );
    }
    service.handover("upgrade", &[]).says(0, &[]);
    service.stop();
}

#[test]
fn a_worker_that_dies_at_once_is_not_looked_at_for_ever() {
    let start = Start::bare(&[]);
    let fuse = start.path("burn");
    let program = crate::support::sh(&format!(
        "[ -e {} ] && exit 3; exec {} {}",
        fuse.display(),
        crate::support::python(),
        concat!(env!("CARGO_MANIFEST_DIR"), "/examples/server.py"),
    ));
    let service = Start::serving(&program).start();
    std::fs::write(&fuse, "").expect("a file");
    kill(Pid::from_raw(service.workers(1)[0]), Signal::SIGKILL).expect("a worker");
    service.wait_event("crash_loop");
    std::fs::remove_file(&fuse).expect("the file");
    eventually("it serves again", || get(&service.address(), "/").ok());
    // Looking at the dead would wake the master some hundred times a second.
    eventually("it sleeps through a second", || {
        let before = service.wake_ups();
        std::thread::sleep(std::time::Duration::from_secs(1));
        (service.wake_ups() - before < 20).then_some(())
    });
    service.stop();
}
