//! One boot: the tree, what is put into it, and the story that runs there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The unit that runs the story; the container ends with it, and with its status.
const UNIT: &str = "\
[Unit]
Description=The story
After=multi-user.target
Requires=multi-user.target
SuccessAction=exit
FailureAction=exit

[Service]
Type=oneshot
WorkingDirectory=/share
ExecStart=/bin/bash -eu /share/story.sh
ExecStopPost=/bin/sh -c 'journalctl --no-pager --unit=handover@web --unit=handover@web.socket >/share/journal'
StandardOutput=file:/share/out
StandardError=file:/share/err
TimeoutStartSec=240
";

/// What every story begins with.
const LIBRARY: &str = r#"
# Until the command succeeds, for half a minute.
until_true() {
    for _ in $(seq 600); do if "$@"; then return; fi; sleep 0.05; done
    echo "in vain: $*" >&2
    return 1
}
property() { systemctl show --property="$1" --value handover@web; }
is() { test "$(property "$1")" = "$2"; }
get() { /usr/bin/python3 /share/get.py "$@"; }
serves() { get >/dev/null 2>&1; }
load_begins() { /usr/bin/python3 /share/load.py & loading=$!; until_true test -s /share/loading; }
# Prints "load: … requests, … failed".
load_ends() { kill -TERM "$loading"; wait "$loading"; }
"#;

const GET: &str = r#"
import socket, sys
with socket.create_connection(("127.0.0.1", 8080), 5) as s:
    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    data = b""
    while piece := s.recv(4096):
        data += piece
print(data.decode().splitlines()[-1])
"#;

/// Two clients that ask again and again, each time on a connection of its own.
const LOAD: &str = r#"
import signal, socket, threading, time
running, counts, lock = True, [0, 0], threading.Lock()

def stop(*_):
    global running
    running = False

def ask():
    with socket.create_connection(("127.0.0.1", 8080), 20) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := s.recv(4096):
            data += piece
    return data.startswith(b"HTTP/1.1 200")

def client():
    while running:
        try:
            ok = ask()
            why = "no answer"
        except OSError as error:
            ok, why = False, str(error)
        with lock:
            counts[0] += 1
            counts[1] += not ok
        if not ok and counts[1] <= 10:
            print(f"lost at {time.monotonic():.3f}: {why}", flush=True)
        elif counts[0] == 10:
            open("/share/loading", "w").write("it runs")
        time.sleep(0.002)

signal.signal(signal.SIGTERM, stop)
threads = [threading.Thread(target=client) for _ in range(2)]
for thread in threads: thread.start()
while running: time.sleep(0.05)
for thread in threads: thread.join()
print(f"load: {counts[0]} requests, {counts[1]} failed", flush=True)
"#;

/// What came of a story.
#[derive(Debug)]
pub struct Told {
    /// What it printed.
    pub out: String,
}

/// What is different from story to story.
pub struct Stage<'a> {
    /// `/etc/handover/web.toml`.
    pub config: &'a str,
    /// Further files, by their paths in the tree.
    pub files: &'a [(&'a str, &'a str)],
}

impl Stage<'_> {
    /// Boots the tree and runs `story` in it; it has to end well.
    #[track_caller]
    pub fn tell(&self, tree: &Path, story: &str) -> Told {
        let share = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| {
            let path = share.path().join(name);
            fs::write(&path, text).expect("written");
            path
        };
        put("story.sh", &format!("{LIBRARY}\n{story}"));
        put("get.py", GET);
        put("load.py", LOAD);
        let unit = shipped("systemd/handover@.service");
        let socket = shipped("systemd/handover@.socket");
        let mut binds = vec![
            bind(
                &put("story.service", UNIT),
                "/etc/systemd/system/story.service",
            ),
            bind(&unit, "/etc/systemd/system/handover@.service"),
            bind(&socket, "/etc/systemd/system/handover@.socket"),
            bind(&put("web.toml", self.config), "/etc/handover/web.toml"),
            bind(
                Path::new(env!("CARGO_BIN_EXE_handover")),
                "/usr/local/bin/handover",
            ),
        ];
        for (number, (path, text)) in self.files.iter().enumerate() {
            binds.push(bind(&put(&format!("file-{number}"), text), path));
        }
        fs::copy(
            shipped("examples/server.py"),
            share.path().join("server.py"),
        )
        .expect("a copy");
        let output = Command::new("systemd-nspawn")
            .args([
                "--quiet",
                "--boot",
                "--private-network",
                "--volatile=overlay",
            ])
            .args(["--register=no", "--keep-unit", "--console=pipe"])
            .arg(format!("--directory={}", tree.display()))
            .arg(format!("--bind={}:/share", share.path().display()))
            .args(binds)
            .arg("systemd.unit=story.service")
            .stdin(Stdio::null())
            .output()
            .expect("systemd-nspawn runs");
        self.told(&output, share.path())
    }

    #[track_caller]
    fn told(&self, output: &Output, share: &Path) -> Told {
        let read = |name: &str| fs::read_to_string(share.join(name)).unwrap_or_default();
        let (out, err) = (read("out"), read("err"));
        let console = String::from_utf8_lossy(&output.stdout);
        let console: Vec<&str> = console.lines().rev().take(40).collect();
        let console: Vec<&str> = console.into_iter().rev().collect();
        assert!(
            output.status.success(),
            "{}\nout:\n{out}\nerr:\n{err}\njournal:\n{}\nconsole:\n{}\n{}",
            output.status,
            read("journal"),
            console.join("\n"),
            String::from_utf8_lossy(&output.stderr)
        );
        Told { out }
    }
}

impl Told {
    /// The line that begins with this word, without it.
    #[track_caller]
    pub fn line(&self, word: &str) -> &str {
        let mut lines = self.out.lines();
        let found = lines.find_map(|line| line.strip_prefix(word)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("no line {word} in:\n{}", self.out))
    }
}

fn bind(from: &Path, to: &str) -> String {
    format!("--bind-ro={}:{to}", from.display())
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
