//! What the tests with real processes share.
#![allow(dead_code, missing_docs)]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use handover::process::{
    Child, Exit, LaunchFailure, LaunchRequest, Launched, Launcher, Plan, Release,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Far above anything that a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn launcher() -> Launcher {
    Launcher::open_at(Path::new(env!("CARGO_BIN_EXE_handover"))).unwrap()
}

pub fn plan(directory: &Path, argv: &[&str]) -> Plan {
    Plan {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        directory: Some(directory.to_owned()),
        ..Plan::default()
    }
}

pub fn release(directory: &Path, argv: &[&str]) -> Release {
    Release::resolve(plan(directory, argv)).unwrap()
}

/// A directory that every user may enter.
pub fn place() -> tempfile::TempDir {
    let base = tempfile::tempdir().unwrap();
    mode(base.path(), 0o755);
    base
}

pub fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    mode(path, 0o755);
}

/// A worker; whatever it left is killed at the end of the test.
pub struct Worker {
    pub child: Child,
    output: File,
}

pub fn request<'a>(release: &'a Release, output: &'a File) -> LaunchRequest<'a> {
    LaunchRequest {
        release,
        argv: release.argv().to_vec(),
        env: release.env().to_vec(),
        stdout: output.as_fd(),
        stderr: output.as_fd(),
        listeners: Vec::new(),
        group: None,
        limits: &[],
        announced: true,
    }
}

pub fn launch(
    launcher: &Launcher,
    release: &Release,
    listeners: Vec<(String, BorrowedFd<'_>)>,
) -> Result<Worker, LaunchFailure> {
    let output = tempfile::tempfile().unwrap();
    let Launched { child, report } = launcher
        .launch(&LaunchRequest {
            listeners,
            ..request(release, &output)
        })
        .unwrap();
    let worker = Worker { child, output };
    report.wait().map(|()| worker)
}

pub fn start(release: &Release) -> Worker {
    launch(&launcher(), release, Vec::new()).unwrap()
}

pub fn failure(plan: &Release) -> LaunchFailure {
    launch(&launcher(), plan, Vec::new())
        .map(|_| ())
        .unwrap_err()
}

impl Worker {
    pub fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.pid()))
    }

    pub fn link(&self, file: &str) -> String {
        fs::read_link(self.proc(file))
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// A field of `/proc/PID/status`.
    pub fn status(&self, field: &str) -> String {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap()
            .split_ascii_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The open descriptors of a program that sleeps, sorted: once it does, since the dynamic loader
    /// has libraries open for a moment after the `execve`.
    pub fn descriptors(&self) -> Vec<i32> {
        let sleeps = nix::libc::SYS_clock_nanosleep.to_string();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let call = fs::read_to_string(self.proc("syscall")).unwrap_or_default();
            if call.split(' ').next() == Some(sleeps.as_str()) {
                break;
            }
            assert!(Instant::now() < deadline, "it does not sleep: {call}");
            std::thread::sleep(Duration::from_millis(1));
        }
        let entries = fs::read_dir(self.proc("fd")).unwrap();
        let mut numbers: Vec<i32> = entries
            .map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap())
            .collect();
        numbers.sort_unstable();
        numbers
    }

    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        use std::os::unix::ffi::OsStringExt;
        let bytes = fs::read(self.proc("environ")).unwrap();
        let entries = bytes.split(|b| *b == 0).filter(|e| !e.is_empty());
        let mut found: Vec<_> = entries
            .map(|entry| {
                let at = entry.iter().position(|b| *b == b'=').unwrap();
                (
                    OsString::from_vec(entry[..at].to_vec()),
                    OsString::from_vec(entry[at + 1..].to_vec()),
                )
            })
            .collect();
        found.sort();
        found
    }

    /// Waits for its end.
    pub fn end(&self) -> Exit {
        wait_for(&self.child)
    }

    /// Waits for its end; what it printed.
    pub fn printed(&self) -> String {
        use std::io::Seek;
        self.end();
        let mut output = self.output.try_clone().unwrap();
        output.rewind().unwrap();
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.signal_group(9);
        let _ = self.child.reap();
    }
}

pub fn wait_for(child: &Child) -> Exit {
    let patience = Timespec::try_from(PATIENCE).unwrap();
    assert_eq!(
        poll(&mut [PollFd::new(child, PollFlags::IN)], Some(&patience)),
        Ok(1),
        "it did not end"
    );
    child.reap().unwrap().unwrap()
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come to hold");
        std::thread::yield_now();
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs test `name` of this binary again in a process of its own behind `wrapper`, and says whether we are in it.
pub fn inside(name: &str, wrapper: &[&str]) -> bool {
    const INSIDE: &str = "HANDOVER_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let own = std::env::current_exe().unwrap();
    let mut words = wrapper.iter().map(OsString::from).chain([
        own.into(),
        name.into(),
        "--exact".into(),
        "--nocapture".into(),
    ]);
    let output = Command::new(words.next().unwrap())
        .args(words)
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    false
}
