//! `examples/counter.rs`, an application on `handover::app`: its sessions, its listeners, its drains.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::eventually;
use crate::support::{Answer, Kept, Load, Service, Start, example_counter, get, get_unix, sh};

const UPGRADES: u64 = 100;
const CLIENTS: usize = 4;
const SESSIONS_EACH: usize = 25;

/// Between two requests of a client, so that the test leaves some of the machine to the service.
const PAUSE: Duration = Duration::from_millis(1);

fn counter() -> Vec<String> {
    vec![example_counter().display().to_string()]
}

/// A client with sessions of its own, each of which must count 1, 2, 3, …
struct Visitor<'a> {
    address: &'a str,
    connection: Option<Kept>,
    sessions: Vec<(String, u64)>,
    counted: &'a AtomicUsize,
}

impl<'a> Visitor<'a> {
    fn new(address: &'a str, counted: &'a AtomicUsize) -> io::Result<Self> {
        let mut visitor = Self {
            address,
            counted,
            connection: None,
            sessions: Vec::new(),
        };
        for _ in 0..SESSIONS_EACH {
            let number = visitor.post("/session")?.body;
            visitor.sessions.push((number, 0));
        }
        Ok(visitor)
    }

    fn post(&mut self, path: &str) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Kept::open(self.address)?,
        };
        let answer = connection.post(path)?;
        if answer.keeps {
            self.connection = Some(connection);
        }
        match answer.status {
            200 => Ok(answer),
            status => Err(io::Error::other(format!(
                "{path}: {status} {}",
                answer.body
            ))),
        }
    }

    /// One more for each of its sessions.
    fn count(&mut self) -> io::Result<()> {
        for index in 0..self.sessions.len() {
            let (number, count) = self.sessions[index].clone();
            let answer = self.post(&format!("/session/{number}"))?;
            let wanted = count + 1;
            if answer.body != wanted.to_string() {
                let what = format!("session {number}: {} instead of {wanted}", answer.body);
                return Err(io::Error::other(what));
            }
            self.sessions[index].1 = wanted;
            self.counted.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// Clients stop however the test ends.
struct StopAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_session_table_in_memory_survives_a_hundred_upgrades() {
    let service = Start::serving(&counter()).flag("--bake", "20ms").start();
    let address = service.address();
    let (stop, counted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let visit = || -> io::Result<()> {
        let mut visitor = Visitor::new(&address, &counted)?;
        while !stop.load(Ordering::Relaxed) {
            visitor.count()?;
        }
        // Every session is there to the last.
        visitor.count()
    };
    std::thread::scope(|scope| {
        let _stop = StopAtTheEnd(&stop);
        let visits: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(visit)).collect();
        for upgrade in 1..=UPGRADES {
            // Answered once the new generation is active.
            let answer = service.ask("POST", "/v1/upgrade", "{}").expect("an answer");
            let done = answer.status == 200 && answer.body.contains("\"result\":\"done\"");
            assert!(done, "upgrade {upgrade}: {answer:?}");
            let before = counted.load(Ordering::Relaxed);
            let lost = || visits.iter().any(|visit| visit.is_finished());
            eventually("each session was counted once more, about", || {
                let now = counted.load(Ordering::Relaxed);
                (now > before + CLIENTS * SESSIONS_EACH || lost()).then_some(())
            });
            if lost() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        for visit in visits {
            let visited = visit.join().expect("no panic");
            visited.expect("no request failed and no count was lost");
        }
    });
    assert_eq!(service.generation(), UPGRADES + 1);
    // Sessions are numbered without a gap, so none was made twice.
    let mut last = Kept::open(&address).expect("a connection");
    let next = last.post("/session").expect("an answer").body;
    assert_eq!(next, (CLIENTS * SESSIONS_EACH).to_string());
    drop(last);
    service.stop();
}

#[test]
fn upgrades_under_load_fail_no_request() {
    for nonblocking in ["false", "true"] {
        let start = Start::config(&format!(
            "[app]\ncommand = [{:?}]\nworkers = 2\n[[listen]]\nname = \"http\"\n\
             address = \"127.0.0.1:0\"\nnonblocking = {nonblocking}\n",
            counter()[0]
        ));
        let service = start.start();
        let before = listener_flags(&service);
        let load = Load::on(&service.address());
        for _ in 0..3 {
            service.handover("upgrade", &["--drained"]).says(0, &[]);
            assert_eq!(listener_flags(&service), before);
        }
        load.lost_nothing(1..=4);
        assert!(
            !service.said().contains("cut at the deadline"),
            "{}",
            service.said()
        );
        service.stop();
    }
}

/// The flags of the shared open file description, seen at the master: of each socket that it holds.
fn listener_flags(service: &Service) -> Vec<String> {
    let folder = format!("/proc/{}", service.pid());
    let inode = listener_inode(&service.address());
    let entries = std::fs::read_dir(format!("{folder}/fd")).expect("the master lives");
    let held = entries.flatten().filter(|entry| {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        target == Path::new(&format!("socket:[{inode}]"))
    });
    let flags = held.map(|entry| {
        let number = entry.file_name().to_string_lossy().into_owned();
        let info = std::fs::read_to_string(format!("{folder}/fdinfo/{number}")).expect("open");
        let line = info.lines().find_map(|line| line.strip_prefix("flags:"));
        line.expect("flags").trim().to_owned()
    });
    let flags: Vec<String> = flags.collect();
    assert!(!flags.is_empty(), "the master holds socket {inode}");
    flags
}

/// The inode of the socket that listens on this port; proc_net_tcp(5).
fn listener_inode(address: &str) -> String {
    let port: u16 = address
        .rsplit(':')
        .next()
        .and_then(|it| it.parse().ok())
        .expect("a port");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let wanted = format!(":{port:04X}");
    let mut rows = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.len() > 9 && row[1].ends_with(&wanted) && row[3] == "0A");
    row.expect("it listens")[9].to_owned()
}

#[test]
fn a_unix_socket_is_handed_over_and_drained_at_once() {
    let start = Start::bare(&counter());
    let socket = start.path("web.sock");
    let service = start
        .flag("--listen", format!("http=unix:{}", socket.display()))
        .start();
    let stop = AtomicBool::new(false);
    let ask = || {
        // Whoever fails stops the other.
        let _stop = StopAtTheEnd(&stop);
        while !stop.load(Ordering::Relaxed) {
            let answer = get_unix(&socket, "/").expect("an answer");
            assert_eq!(answer.status, 200);
            std::thread::sleep(PAUSE);
        }
    };
    std::thread::scope(|scope| {
        let _stop = StopAtTheEnd(&stop);
        let clients = [scope.spawn(ask), scope.spawn(ask)];
        for _ in 0..5 {
            service.handover("upgrade", &["--drained"]).says(0, &[]);
        }
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no request failed");
        }
    });
    // Nobody sat in accept, and nothing was cut.
    let said = service.said();
    assert!(
        !said.contains("still waits") && !said.contains("cut at the"),
        "{said}"
    );
    assert_eq!(said.matches("drained in").count(), 5 * 2, "{said}");
    service.stop();
}

#[test]
fn a_listener_by_another_name_is_told_with_the_names_that_there_are() {
    let ended = Start::bare(&counter())
        .flag("--listen", "web=127.0.0.1:0")
        .flag("--ready-timeout", "5s")
        .refused();
    ended.says(
        1,
        &[
            "no listening socket named \"http\"",
            "left are: web",
            "--listen http=",
        ],
    );
}

#[test]
fn a_full_descriptor_table_is_waited_out_and_does_not_spin() {
    let limited = format!("ulimit -n 40; exec {}", example_counter().display());
    let service = Start::serving(&sh(&limited)).start();
    let address = service.address();
    let worker = service.workers(1)[0];
    let crowd: Vec<Kept> = (0..60)
        .map(|_| Kept::open(&address).expect("queued"))
        .collect();
    service.wait_said("the limit of open files is reached");
    let (before, began) = (cpu_ticks(worker), Instant::now());
    while began.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let ticks = cpu_ticks(worker) - before;
    assert!(ticks <= 20, "{ticks} ticks of 10 ms in a second: it spins");
    drop(crowd);
    // Who comes now is served as soon as there is room.
    let answer = get(&address, "/").expect("an answer");
    assert_eq!(answer.generation(), Some(1));
    service.stop();
}

/// User and system time in clock ticks; proc_pid_stat(5).
fn cpu_ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields: Vec<&str> = stat
        .rsplit(") ")
        .next()
        .expect("fields")
        .split(' ')
        .collect();
    let number = |index: usize| fields[index].parse::<u64>().expect("a number");
    number(11) + number(12)
}

#[test]
fn what_is_stored_is_kept_over_the_death_of_a_worker() {
    let service = Start::serving(&counter()).start();
    let address = service.address();
    let mut client = Kept::open(&address).expect("a connection");
    assert_eq!(client.post("/session").expect("an answer").body, "0");
    assert_eq!(client.post("/session/0").expect("an answer").body, "1");
    let worker = service.workers(1)[0];
    let pid = nix::unistd::Pid::from_raw(worker);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it lives");
    eventually("another worker serves", || {
        let workers = service.workers(1);
        (!workers.is_empty() && workers[0] != worker).then_some(())
    });
    let mut client = Kept::open(&address).expect("a connection");
    assert_eq!(client.post("/session/0").expect("an answer").body, "2");
    drop(client);
    service.stop();
}
