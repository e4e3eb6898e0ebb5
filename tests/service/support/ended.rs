//! A command that came to its end, and what it printed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::PATIENCE;
use super::wait::within;

/// A command that came to its end.
#[derive(Debug)]
pub struct Ended {
    /// `None`: ended by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// It ended like this, and its errors have all these parts.
    #[track_caller]
    pub fn says(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "exit code; {self:#?}");
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "no {part:?} on standard error; {self:#?}"
            );
        }
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }
}

/// What a child prints, collected so that it never waits for us.
pub struct Output {
    both: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<String>>,
}

impl Output {
    pub fn of(child: &mut Child) -> Self {
        let both = Arc::default();
        let mut readers = vec![collect(child.stdout.take(), Arc::clone(&both))];
        readers.push(collect(child.stderr.take(), Arc::clone(&both)));
        Self { both, readers }
    }

    pub(super) fn text(&self) -> String {
        self.both.lock().expect("no reader panicked").clone()
    }

    /// Standard output and standard error, after their end.
    pub(super) fn ended(&mut self) -> (String, String) {
        let mut streams = self
            .readers
            .drain(..)
            .map(|r| r.join().expect("no reader panicked"));
        (
            streams.next().unwrap_or_default(),
            streams.next().unwrap_or_default(),
        )
    }
}

fn collect(
    stream: Option<impl Read + Send + 'static>,
    both: Arc<Mutex<String>>,
) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut own, mut line) = (String::new(), Vec::new());
        let mut stream = BufReader::new(stream.expect("a pipe"));
        while stream
            .read_until(b'\n', &mut line)
            .is_ok_and(|length| length > 0)
        {
            let text = String::from_utf8_lossy(&line);
            both.lock().expect("no reader panicked").push_str(&text);
            own.push_str(&text);
            line.clear();
        }
        own
    })
}

/// Runs a command to its end, with a bound.
pub fn finish(mut command: Command) -> Ended {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut output = Output::of(&mut child);
    let ended = within(PATIENCE * 2, || child.try_wait().expect("our own child"));
    let Some(status) = ended else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("{command:?} did not end; it said:\n{}", output.text());
    };
    let (stdout, stderr) = output.ended();
    Ended {
        code: status.code(),
        stdout,
        stderr,
    }
}
