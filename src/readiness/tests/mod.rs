//! Real programs under the observer's eyes.

mod blind;
mod datagrams;
mod edge;
mod elsewhere;
mod figures;
mod held;
mod many;
mod servers;
mod streams;

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Evidence, Observer, Sight, Wanted};

/// No test waits longer for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// For so long something that must not come is waited for.
const WHILE: Duration = Duration::from_millis(400);

fn fixture(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures/readiness")
        .join(name)
        .display()
        .to_string()
}

/// A program with its listeners at descriptors 3 and 4, in a process group of its own.
struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Program {
    /// The one or two sockets travel as standard input and error; the shell places them.
    fn start(
        argv: &[&str],
        first: impl AsFd,
        second: Option<&dyn AsFd>,
        env: &[(&str, &str)],
    ) -> Self {
        let twin = |fd: &dyn AsFd| -> OwnedFd {
            fd.as_fd()
                .try_clone_to_owned()
                .expect("a descriptor can be duplicated")
        };
        let place = match second {
            Some(_) => "exec \"$@\" 3<&0 4<&2 0</dev/null 2>&1",
            None => "exec \"$@\" 3<&0 0</dev/null",
        };
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", place, "sh"])
            .args(argv)
            .envs(env.iter().copied());
        command
            .stdin(twin(&first))
            .stdout(Stdio::piped())
            .process_group(0);
        if let Some(second) = second {
            command.stderr(twin(second));
        }
        let mut child = command.spawn().expect("/bin/sh runs");
        let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, output }
    }

    fn python(arguments: &[&str], first: impl AsFd, second: Option<&dyn AsFd>) -> Self {
        let debian = "/usr/bin/python3";
        let python = if std::path::Path::new(debian).exists() {
            debian
        } else {
            "python3"
        };
        let script = fixture("waits.py");
        let argv: Vec<&str> = [python, &script]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        Self::start(&argv, first, second, &[])
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a PID is an int")
    }

    /// The next line that it prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("output is text");
        assert!(
            !line.is_empty(),
            "the program ended before it said anything"
        );
        line.trim_end().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(group) = rustix::process::Pid::from_raw(self.pid()) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn tcp() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("loopback can be bound")
}

fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound")
}

fn inode(socket: impl AsFd) -> u64 {
    rustix::fs::fstat(socket)
        .expect("a socket has an inode")
        .st_ino
}

fn wanted_tcp(name: &str, listener: &TcpListener) -> Wanted {
    let address = listener.local_addr().expect("bound");
    Wanted {
        inode: inode(listener),
        datagram: false,
        name: name.into(),
        address: address.to_string(),
        port: Some(address.port()),
    }
}

fn wanted_udp(name: &str, socket: &UdpSocket) -> Wanted {
    let address = socket.local_addr().expect("bound");
    Wanted {
        inode: inode(socket),
        datagram: true,
        name: name.into(),
        address: address.to_string(),
        port: Some(address.port()),
    }
}

/// Looks every 2 ms until the observer says something else than "not yet".
fn watch(observer: &mut Observer) -> Sight {
    let began = Instant::now();
    loop {
        match observer.look(Instant::now()) {
            Sight::NotYet => {}
            other => return other,
        }
        assert!(began.elapsed() < PATIENCE, "nothing was seen: {observer:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn accepting(program: &Program, wanted: Vec<Wanted>) -> Evidence {
    match watch(&mut Observer::new(program.pid(), wanted, vec![])) {
        Sight::Accepting(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

/// The observer must not be taken in, for as long as `WHILE`.
#[track_caller]
fn never_accepts(observer: &mut Observer) {
    let began = Instant::now();
    while began.elapsed() < WHILE {
        assert_eq!(observer.look(Instant::now()), Sight::NotYet);
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn connect(listener: &TcpListener) -> TcpStream {
    TcpStream::connect(listener.local_addr().expect("bound")).expect("the queue has room")
}
