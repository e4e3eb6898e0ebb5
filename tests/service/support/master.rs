//! A running service, and what can be asked of it.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::ended::{Ended, Output};
use super::marked::{describe, kill_marked, marked};
use super::wait::within;
use super::{PATIENCE, eventually, http, start};

/// A master with its workers. Dropping it stops both, and fails the test when a process is left.
pub struct Service {
    child: Child,
    status: Option<ExitStatus>,
    dir: TempDir,
    runtime_dir: PathBuf,
    mark: String,
    output: Output,
    notify: UnixDatagram,
}

impl Service {
    pub(super) fn new(
        child: Child,
        dir: TempDir,
        runtime_dir: PathBuf,
        mark: String,
        output: Output,
        notify: UnixDatagram,
    ) -> Self {
        Self {
            child,
            status: None,
            dir,
            runtime_dir,
            mark,
            output,
            notify,
        }
    }

    /// Waits for `READY=1`, as systemd does.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        self.wait_notified("READY=1");
    }

    /// Waits until the master sends this line to its supervisor; earlier messages are dropped.
    #[track_caller]
    pub fn wait_notified(&mut self, line: &str) {
        self.wait_line(line, |got| got == line);
    }

    /// Waits until the `STATUS=` of the master has these words.
    #[track_caller]
    pub fn wait_told(&mut self, words: &str) {
        self.wait_line(words, |got| {
            got.starts_with("STATUS=") && got.contains(words)
        });
    }

    #[track_caller]
    fn wait_line(&mut self, line: &str, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 8 * 1024];
        self.notify
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout");
        loop {
            match self.notify.recv(&mut buffer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    if text.lines().any(&wanted) {
                        return;
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("the notify socket: {error}"),
            }
            assert!(
                self.exit().is_none(),
                "ended without {line}:\n{}",
                self.said()
            );
            assert!(
                Instant::now() < deadline,
                "no {line} within {PATIENCE:?}:\n{}",
                self.said()
            );
        }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a PID")
    }

    /// How often it slept and was woken so far.
    #[track_caller]
    pub fn wake_ups(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the master lives");
        let line = status.lines().find(|l| l.starts_with("voluntary_ctxt"));
        let number = line.and_then(|l| l.split_whitespace().last()?.parse().ok());
        number.expect("a number")
    }

    /// A path in the directory of this test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn runtime_dir(&self) -> PathBuf {
        self.runtime_dir.clone()
    }

    /// What it printed so far, both streams.
    pub fn said(&self) -> String {
        self.output.text()
    }

    /// Waits until it printed this.
    #[track_caller]
    pub fn wait_said(&self, part: &str) {
        eventually(&format!("{part:?} is printed"), || {
            self.said().contains(part).then_some(())
        });
    }

    /// A verb of the command line, on this service.
    pub fn handover(&self, verb: &str, words: &[&str]) -> Ended {
        start::call(verb, &self.runtime_dir(), words)
    }

    /// `handover upgrade -- COMMAND`
    pub fn upgrade_to(&self, command: &[String]) -> Ended {
        let mut words = vec!["--"];
        words.extend(command.iter().map(String::as_str));
        self.handover("upgrade", &words)
    }

    /// A request to the control socket.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> std::io::Result<super::Answer> {
        http::unix(&self.runtime_dir().join("control.sock"), method, path, body)
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        let answer = self.ask("GET", "/v1/status", "");
        let answer = answer.unwrap_or_else(|e| panic!("no status: {e}\n{}", self.said()));
        serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{e}: {}", answer.body))
    }

    /// The active generation.
    #[track_caller]
    pub fn generation(&self) -> u64 {
        self.status()["generation"].as_u64().expect("a number")
    }

    /// Waits until this generation is active and no operation runs.
    #[track_caller]
    pub fn wait_generation(&self, number: u64) {
        eventually(&format!("generation {number} is active"), || {
            let status = self.status();
            (status["generation"] == number && status["state"] == "serving").then_some(())
        });
    }

    /// The PIDs of a generation's workers, as far as they run.
    #[track_caller]
    pub fn workers(&self, generation: u64) -> Vec<i32> {
        let status = self.status();
        let generations = status["generations"].as_array().expect("a list").iter();
        let workers = generations
            .filter(|it| it["number"] == generation)
            .flat_map(|it| it["workers"].as_array().expect("a list").clone());
        workers
            .filter_map(|it| i32::try_from(it["pid"].as_i64()?).ok())
            .collect()
    }

    /// Waits until no process of this generation is left.
    #[track_caller]
    pub fn wait_ended(&self, generation: u64) {
        eventually(&format!("generation {generation} has ended"), || {
            self.workers(generation).is_empty().then_some(())
        });
    }

    /// The address of the listener with this place, as bound.
    #[track_caller]
    pub fn address(&self) -> String {
        self.address_of(0)
    }

    #[track_caller]
    pub fn address_of(&self, listener: usize) -> String {
        let status = self.status();
        status["listeners"][listener]["address"]
            .as_str()
            .expect("an address")
            .to_owned()
    }

    /// Whether an event of this kind happened.
    #[track_caller]
    pub fn wait_event(&self, kind: &str) -> Value {
        eventually(&format!("there is an event {kind}"), || {
            let events = self.events();
            let mut events = events
                .lines()
                .filter_map(|l| serde_json::from_str::<Value>(l).ok());
            events.find(|event| event["kind"] == kind)
        })
    }

    /// All events so far, one JSON object a line.
    pub fn events(&self) -> String {
        self.handover("events", &["--json"]).stdout
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("the master is ours and not reaped");
    }

    /// Sends TERM: it drains, exits 0, and leaves no process.
    #[track_caller]
    pub fn stop(self) {
        drop(self.ends_after_term());
    }

    /// As [`stop`](Self::stop); what it printed.
    #[track_caller]
    pub fn ends_after_term(self) -> Ended {
        self.signal(Signal::SIGTERM);
        let ended = self.ends();
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        ended
    }

    /// Waits for its end; no process of it may be left.
    #[track_caller]
    pub fn ends(mut self) -> Ended {
        let code = eventually("the master ends", || self.exit()).code();
        self.nothing_left();
        let (stdout, stderr) = self.output.ended();
        Ended {
            code,
            stdout,
            stderr,
        }
    }

    /// `kill -9` for the master; its workers live on.
    pub fn kill_master(&mut self) {
        let _ = self.child.kill();
        eventually("the killed master is gone", || self.exit());
    }

    /// `kill -9` for the master and, since nobody takes them over yet, its workers.
    pub fn kill_all(&mut self) {
        let _ = self.child.kill();
        eventually("the killed master is gone", || self.exit());
        kill_marked(&self.mark);
    }

    fn exit(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("our own child");
        }
        self.status
    }

    #[track_caller]
    fn nothing_left(&self) {
        let left = within(Duration::from_secs(5), || {
            marked(&self.mark).is_empty().then_some(())
        });
        if left.is_none() {
            let left: Vec<String> = marked(&self.mark).into_iter().map(describe).collect();
            kill_marked(&self.mark);
            panic!("left after the end: {left:?}\n{}", self.said());
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Why the test failed is best seen in what the service knows at this moment.
            let status = self.ask("GET", "/v1/status", "").map(|answer| answer.body);
            eprintln!(
                "status: {status:?}\nevents:\n{}\nprinted:\n{}",
                self.events(),
                self.said()
            );
        }
        // Asked, then told (a second signal stops at once), then forced.
        for (signal, patience) in [
            (Signal::SIGTERM, 5),
            (Signal::SIGTERM, 5),
            (Signal::SIGKILL, 5),
        ] {
            if self.exit().is_some() {
                break;
            }
            self.signal(signal);
            within(Duration::from_secs(patience), || self.exit());
        }
        if std::thread::panicking() {
            kill_marked(&self.mark);
        } else {
            self.nothing_left();
        }
    }
}
