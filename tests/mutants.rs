//! Mutants: the fleet with one deliberate fault each. The quick worlds and the
//! stories must reject every one of them, for the reason that is named; a test
//! that no fault can fail proves nothing.
//!
//! Each is the room's sources with one text replaced, in a directory of its
//! own, compiled by `rustc` alone (`RUSTC`, else the one in `PATH`). The list is
//! `tests/mutants/list.rs`.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A fault: in this file of the room, this text (there exactly once) becomes
/// that, and this is what must be said about it.
struct Mutant {
    file: &'static str,
    find: &'static str,
    replace: &'static str,
    caught_by: &'static str,
}

/// Far more than any of them needs; one may have made the worlds endless.
const PATIENCE: Duration = Duration::from_secs(180);

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory in a fresh one");
    for entry in fs::read_dir(from).expect("the sources are there") {
        let entry = entry.expect("the sources are readable");
        if entry.path().extension().is_some_and(|kind| kind == "rs") {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

/// The room and its tests in a directory of their own.
fn copied() -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir().expect("a temporary directory");
    copy(&root.join("src/fleet"), &dir.path().join("src/fleet"));
    copy(&root.join("tests/fleet"), &dir.path().join("tests/fleet"));
    fs::copy(
        root.join("tests/fleet.rs"),
        dir.path().join("tests/fleet.rs"),
    )
    .expect("a copy");
    dir
}

fn compile(dir: &Path) {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    // Without optimisation: compiling takes longer than these worlds do.
    let output = Command::new(rustc)
        .args(["--edition", "2024", "--test", "-C", "opt-level=0"])
        .args(["-A", "warnings", "-o", "fleet", "tests/fleet.rs"])
        .env_remove("CARGO_MANIFEST_DIR")
        .current_dir(dir)
        .output()
        .expect("rustc can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "it does not compile:\n{errors}");
}

/// Runs the quick tests: whether they pass, and what they said.
fn run(dir: &Path) -> (bool, String) {
    let mut child = Command::new(dir.join("fleet"))
        .args(["quick::", "stories::", "--test-threads", "2"])
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the tests can be started");
    let mut stdout = child.stdout.take().expect("it is piped");
    let (said, hear) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let _ = stdout.read_to_string(&mut text);
        let _ = said.send(text);
    });
    let Ok(text) = hear.recv_timeout(PATIENCE) else {
        child.kill().expect("it can be killed");
        child.wait().expect("it can be reaped");
        return (false, "endless".to_owned());
    };
    let status = child.wait().expect("it can be reaped");
    (status.success(), text)
}

impl Mutant {
    fn must_fail(&self) {
        let dir = copied();
        let path = dir.path().join("src/fleet").join(self.file);
        let source = fs::read_to_string(&path).expect("the file is in the room");
        assert_eq!(
            source.matches(self.find).count(),
            1,
            "the text to replace must be in {} exactly once; the list is old",
            self.file
        );
        let mutated = source.replace(self.find, self.replace);
        fs::write(&path, mutated).expect("the copy can be changed");
        compile(dir.path());
        let (passed, said) = run(dir.path());
        assert!(!passed, "the mutant lives: no test fails");
        assert!(
            said.contains(self.caught_by),
            "it fails, but not by {:?}:\n{said}",
            self.caught_by
        );
    }
}

#[test]
fn the_unchanged_fleet_passes() {
    let dir = copied();
    compile(dir.path());
    let (passed, said) = run(dir.path());
    assert!(passed, "{said}");
}

/// One test for each, so that they run side by side.
macro_rules! mutants {
    ($($name:ident { $file:literal: $find:literal => $replace:literal, $caught_by:literal })*) => {
        $(#[test]
        fn $name() {
            let mutant = Mutant {
                file: $file,
                find: $find,
                replace: $replace,
                caught_by: $caught_by,
            };
            mutant.must_fail();
        })*
    };
}

include!("mutants/list.rs");
