//! The server before a master that only pretends, and clients that misbehave.

mod admin;
mod flood;
mod http;
mod operations;
mod streams;
mod timeouts;
mod wire;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::control::client::Client;
use crate::control::{Answer, Call, Caller};

/// Generous: only a fault makes a test wait so long.
const BOUND: Duration = Duration::from_secs(20);

/// A server on a socket of its own.
struct Harness {
    directory: tempfile::TempDir,
    events: EventLog,
    server: JoinHandle<()>,
    /// As long as it is there, the server may get another door.
    _doors: mpsc::Sender<ControlDoor>,
}

impl Harness {
    /// With a master that gives each call to `answer`.
    fn start(limits: Limits, mut answer: impl FnMut(Call) -> Answer + Send + 'static) -> Self {
        let (harness, mut asked) = Self::with_calls(limits);
        tokio::spawn(async move {
            while let Some((call, sender)) = asked.recv().await {
                // The client may have gone.
                let _ = sender.send(answer(call));
            }
        });
        harness
    }

    /// With a master that the test plays itself.
    fn with_calls(limits: Limits) -> (Self, mpsc::Receiver<Request>) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let listener = UnixListener::bind(directory.path().join("s")).expect("bound");
        let (calls, asked) = mpsc::channel(16);
        let events = EventLog::new();
        let door = ControlDoor::new(listener, Admitted::owner_only());
        let (doors, renewed) = mpsc::channel(1);
        let server = tokio::spawn(serve_within(door, renewed, calls, events.clone(), limits));
        (
            Self {
                directory,
                events,
                server,
                _doors: doors,
            },
            asked,
        )
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    fn client(&self) -> Client {
        Client::new(self.socket())
    }

    /// Sends `bytes` and returns all that comes until the server closes.
    async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        exchange(&self.socket(), bytes.as_ref()).await
    }

    /// One request without a body, with its headers.
    async fn ask(&self, line: &str) -> String {
        self.raw(format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        ))
        .await
    }

    async fn post(&self, path: &str, body: &str) -> String {
        let length = body.len();
        self.raw(format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: \
             {length}\r\n\r\n{body}"
        ))
        .await
    }
}

async fn exchange(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).await.expect("connected");
    let sent = async {
        // It may close before it read all.
        let _ = stream.write_all(bytes).await;
        read_all(&mut stream).await
    };
    timeout(BOUND, sent).await.expect("the server closes")
}

async fn read_all(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    // A reset after an answer is still an answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer; 0 when there is none.
fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}

/// The JSON of an answer's body.
fn json(answer: &str) -> serde_json::Value {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {answer}"))
}

/// A master that repeats what it was asked.
fn echo(call: Call) -> Answer {
    match call {
        Call::Ready => Answer::Ready {
            ready: false,
            detail: "starting".to_owned(),
        },
        other => Answer::view(&format!("{other:?}")),
    }
}
