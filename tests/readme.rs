//! What README.md and the pages in docs/ tell people to type is typed here, and what they show must be what comes.
//!
//! Commands stand in indented blocks, behind `$ ` where their output follows. Of that output the words count, not the
//! numbers. A block after `<!-- not run: … -->` is left out; a command whose program is not installed is, too.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Far above what anything here takes, also on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A command, and the lines that README shows below it.
#[derive(Debug)]
struct Step {
    command: String,
    output: Vec<String>,
}

/// The indented blocks of a section of README.md; the part before the first heading is the section "".
fn blocks(section: &str) -> Vec<Vec<String>> {
    blocks_of("README.md", Some(section))
}

/// The indented blocks of a document, or of one section of it.
fn blocks_of(document: &str, section: Option<&str>) -> Vec<Vec<String>> {
    let text = fs::read_to_string(Path::new(ROOT).join(document)).expect(document);
    let is_wanted = |heading: &str| section.is_none_or(|section| section == heading);
    let (mut here, mut run) = (is_wanted(""), true);
    let (mut blocks, mut inside): (Vec<Vec<String>>, bool) = (Vec::new(), false);
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            here = is_wanted(heading);
        }
        run = match line.trim() {
            "" => run,
            comment if comment.starts_with("<!-- not run") => false,
            _ if line.starts_with("    ") => run,
            _ => true,
        };
        let code = line.strip_prefix("    ").filter(|_| here && run);
        match (code, line.is_empty()) {
            (Some(code), _) if inside => blocks.last_mut().expect("begun").push(code.to_owned()),
            (Some(code), _) => blocks.push(vec![code.to_owned()]),
            // An empty line inside a table of `status` belongs to its output.
            (None, true) if inside => continue,
            (None, _) => {}
        }
        inside = code.is_some();
    }
    blocks
}

/// The commands behind `$ `, each with its output.
fn steps(blocks: Vec<Vec<String>>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in blocks.into_iter().flatten() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step {
                command: command.to_owned(),
                output: Vec::new(),
            }),
            (None, Some(step)) => step.output.push(line),
            (None, None) => panic!("output without a command: {line}"),
        }
    }
    steps
}

/// Words that are the same in every run: no numbers, no user's name.
fn words(text: &str) -> BTreeSet<&str> {
    let separators = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    text.split(separators)
        .filter(|word| word.len() > 2 && word.starts_with(|c: char| c.is_ascii_alphabetic()))
        .filter(|word| *word != "root")
        .collect()
}

/// A shell in which README's words mean what they mean to its reader.
///
/// It is alone on its machine: another master in `/run/handover`, where root looks for them, or in `/tmp/handover-0` is
/// hidden from it by mounts of its own (mount_namespaces(7)). Whoever is not root looks into his own runtime directory and is
/// not let in by root's masters.
struct Reader {
    runtime: tempfile::TempDir,
    port: u16,
    alone: bool,
}

/// A shell line that hides other masters and becomes a shell with the line that follows.
const ALONE: &str = "mount -t tmpfs none /run && { [ ! -d /tmp/handover-0 ] || mount -t tmpfs none /tmp/handover-0; } && \
                     exec /bin/sh -c \"$0\"";

/// Whether a process may have mounts of its own; root is told where not.
fn may_be_alone() -> bool {
    if !nix::unistd::geteuid().is_root() {
        return false;
    }
    let mut words = Command::new("unshare");
    words.args(["--mount", "/bin/sh", "-c", ALONE, "true"]);
    let made = words.output().is_ok_and(|ended| ended.status.success());
    if !made {
        eprintln!(
            "no mounts of its own can be made here (unshare --mount): another master on this machine disturbs this test"
        );
    }
    made
}

impl Reader {
    fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self {
            runtime: tempfile::tempdir().expect("a directory"),
            port: free.local_addr().expect("an address").port(),
            alone: may_be_alone(),
        }
    }

    fn command(&self, line: &str) -> Command {
        let built = PathBuf::from(env!("CARGO_BIN_EXE_handover"));
        let own = built.parent().expect("a directory").display();
        let path = std::env::var("PATH").unwrap_or_default();
        // 8080 may be taken on this machine.
        let line = line.replace(":8080", &format!(":{}", self.port));
        let mut command = match self.alone {
            true => Command::new("unshare"),
            false => Command::new("/bin/sh"),
        };
        if self.alone {
            command.args(["--mount", "/bin/sh", "-c", ALONE]);
        } else {
            command.arg("-c");
        }
        command.arg(line).current_dir(ROOT);
        // The system's programs first: another python3 may be a script, of which less can be pinned.
        command.env("PATH", format!("{own}:/usr/bin:/bin:{path}"));
        command.env("RUNTIME_DIRECTORY", self.runtime.path());
        command.env("XDG_RUNTIME_DIR", self.runtime.path());
        command.env("STATE_DIRECTORY", self.runtime.path().join("state"));
        for name in [
            "NOTIFY_SOCKET",
            "JOURNAL_STREAM",
            "INVOCATION_ID",
            "LISTEN_FDS",
        ] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command
    }

    /// `handover run …`, until it is ready.
    fn start(&self, line: &str) -> Running {
        let mut command = self.command(&format!("exec {line}"));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Nobody may listen any more.
                drop(sender.send(line));
            }
        });
        let mut running = Running {
            child,
            lines,
            said: String::new(),
        };
        running.wait_said("generation 1 is active");
        running
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("a shell")
    }
}

/// A master that README started.
struct Running {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

impl Running {
    fn wait_said(&mut self, part: &str) {
        while !self.said.contains(part) {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("no {part:?}: {error}; {}", self.said));
            self.said += &line;
            self.said.push('\n');
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a PID"));
        // The first drains, the second does not wait; one that ended already is a zombie of ours.
        for _ in 0..2 {
            let _ = kill(pid, Signal::SIGTERM);
        }
        drop(self.child.wait());
    }
}

/// What was shown must be in what came.
#[track_caller]
fn compare(command: &str, shown: &[String], came: &str) {
    let came_words = words(came);
    for line in shown {
        let missing: Vec<_> = words(line).difference(&came_words).copied().collect();
        assert!(
            missing.is_empty(),
            "`{command}`: README shows {line:?}, {missing:?} is not in\n{came}"
        );
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

#[test]
fn whoever_reads_is_alone_on_the_machine() {
    let reader = Reader::new();
    let status = reader.run("handover status");
    assert_eq!(status.status.code(), Some(4), "no master: {status:?}");
}

#[test]
fn the_first_two_commands_work() {
    let commands: Vec<String> = blocks("").concat();
    assert_eq!(
        commands[0], "cargo install --path .",
        "the built binary stands for it"
    );
    let reader = Reader::new();
    let _master = reader.start(&commands[1]);
    let upgrade = reader.run(&commands[2]);
    assert!(upgrade.status.success(), "{upgrade:?}");
}

#[test]
fn the_five_minutes_are_as_they_are_shown() {
    let reader = Reader::new();
    let mut master: Option<Running> = None;
    let all = steps(blocks("Five minutes"));
    assert!(all.len() > 6, "{all:?}");
    for Step { command, output } in all {
        let program = command.split(' ').next().unwrap_or_default();
        if program != "handover" && !is_installed(program) {
            continue;
        }
        if command.starts_with("handover run") {
            let running = reader.start(&command);
            // The rest is for a terminal.
            let logged: Vec<_> = output
                .into_iter()
                .filter(|line| line.contains("INFO"))
                .collect();
            compare(&command, &logged, &running.said);
            master = Some(running);
            continue;
        }
        let ended = reader.run(&command);
        let came = [ended.stdout, ended.stderr].concat();
        let came = String::from_utf8_lossy(&came);
        // The old generation may be gone by the time of the answer, which waits for the disk.
        let came = came.replace("is drained", "is drained (drains, at most)");
        let code = i32::from(
            output
                .iter()
                .any(|line| line.contains(": upgrade failed: ")),
        );
        assert_eq!(ended.status.code(), Some(code), "`{command}`: {came}");
        compare(&command, &output, &came);
    }
    let mut master = master.expect("a master was started");
    let status = master.child.wait().expect("our own child");
    assert_eq!(status.code(), Some(0), "the tour ends with a stop");
}

#[test]
fn the_ten_lines_are_a_config() {
    let text = blocks("Ten lines of TOML").concat().join("\n");
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("web.toml");
    fs::write(&file, text).expect("written");
    let mut check = Command::new(env!("CARGO_BIN_EXE_handover"))
        .args(["check", "--file-only"])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .expect("handover runs");
    let mut said = String::new();
    let stderr = check.stderr.as_mut().expect("a pipe");
    stderr.read_to_string(&mut said).expect("text");
    assert!(check.wait().expect("our own child").success(), "{said}");
}

/// Every page but the README: its commands work on a service `web` that serves.
#[test]
fn the_commands_of_the_pages_work() {
    let mut pages: Vec<String> = fs::read_dir(Path::new(ROOT).join("docs"))
        .expect("docs")
        .map(|entry| entry.expect("an entry").file_name())
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .collect();
    pages.sort();
    let mut ran = 0;
    for page in pages {
        let page = format!("docs/{page}");
        let commands: Vec<String> = blocks_of(&page, None)
            .concat()
            .into_iter()
            .filter_map(|line| line.strip_prefix("$ ").map(str::to_owned))
            .collect();
        if commands.is_empty() {
            continue;
        }
        let reader = Reader::new();
        let _master = reader
            .start("handover run --name web --listen 127.0.0.1:8080 -- python3 examples/server.py");
        for command in commands {
            let ended = reader.run(&command);
            assert!(ended.status.success(), "{page}: `{command}`: {ended:?}");
            ran += 1;
        }
    }
    assert!(ran > 3, "{ran} commands");
}
