//! The command line against masters that pretend.

mod parsing;
mod verbs;
mod waiting;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::terminal::fake::files;
use super::*;
use crate::control::paths::{RuntimeDir, prepare};
use crate::control::view::{OperationKind, OperationResult, OperationState, OperationView};
use crate::control::{
    Admitted, Answer, ApiError, Call, Caller, ControlDoor, Event, EventLog, Request, serve,
};

/// Generous: only a fault makes a test wait so long.
const BOUND: Duration = Duration::from_secs(20);

/// A master with one operation, which the test drives.
struct Pretender {
    directory: RuntimeDir,
    events: EventLog,
    /// None once it was dropped: the master does not know the operation.
    progress: Arc<Mutex<Option<watch::Sender<OperationView>>>>,
    /// The orders that came.
    orders: mpsc::UnboundedReceiver<Call>,
    server: JoinHandle<()>,
    master: JoinHandle<()>,
}

fn running() -> OperationView {
    let by = Caller { uid: 0, pid: 4711 };
    OperationView {
        state: OperationState::Running,
        from: Some(7),
        ..OperationView::new("up_8", OperationKind::Upgrade, by)
    }
}

impl Pretender {
    /// In `place`, with `answer` for what is no order.
    fn start(place: &Path, answer: impl Fn(&Call) -> Answer + Send + 'static) -> Self {
        let mut directory = prepare(place, "web").expect("prepared");
        let listener = directory.bind_control().expect("bound");
        let listener = UnixListener::from_std(listener).expect("in a runtime");
        let (calls, mut asked) = mpsc::channel::<Request>(8);
        let events = EventLog::new();
        let door = ControlDoor::new(listener, Admitted::owner_only());
        let (doors, renewed) = mpsc::channel(1);
        let server = tokio::spawn(serve(door, renewed, calls, events.clone()));
        let progress = Arc::new(Mutex::new(Some(watch::channel(running()).0)));
        let (order, orders) = mpsc::unbounded_channel();
        let known = Arc::clone(&progress);
        let master = tokio::spawn(async move {
            // As long as it is there, the server may get another door.
            let _doors = doors;
            while let Some((call, sender)) = asked.recv().await {
                let operation = known
                    .lock()
                    .expect("whole")
                    .as_ref()
                    .map(watch::Sender::subscribe);
                let reply = match (&call, operation) {
                    (Call::Start { .. } | Call::Operation(_), Some(operation)) => {
                        Answer::Operation(operation)
                    }
                    (Call::Operation(id), None) => {
                        ApiError::not_found(format_args!("no operation {id}")).into()
                    }
                    _ => answer(&call),
                };
                // The test, or the client, may have gone.
                let _ = (order.send(call), sender.send(reply));
            }
        });
        Self {
            directory,
            events,
            progress,
            orders,
            server,
            master,
        }
    }

    /// Changes the operation.
    fn change(&self, change: impl FnOnce(&mut OperationView)) {
        let progress = self.progress.lock().expect("whole");
        progress.as_ref().expect("known").send_modify(change);
    }

    /// Waits until somebody waits for the operation.
    async fn is_awaited(&mut self) {
        let next = async {
            while let Some(call) = self.orders.recv().await {
                if matches!(call, Call::Operation(_)) {
                    return;
                }
            }
        };
        timeout(BOUND, next).await.expect("somebody asks");
    }

    /// Dies as by `kill -9`: nothing is said.
    async fn die(self) -> RuntimeDir {
        self.server.abort();
        self.master.abort();
        let _ = self.server.await;
        self.directory
    }
}

fn no_answer(call: &Call) -> Answer {
    ApiError::refused(format_args!("{call:?}")).into()
}

/// What a command did.
#[derive(Debug)]
struct Done {
    code: u8,
    out: String,
    err: String,
}

/// Carries out `handover WORDS --runtime-dir PLACE`.
async fn handover(words: &str, place: &Path) -> Done {
    let (mut terminal, out, err) = files();
    let exit = carry_out(words, place, &mut terminal).await;
    Done {
        code: exit as u8,
        out: out.text(),
        err: err.text(),
    }
}

async fn carry_out(words: &str, place: &Path, terminal: &mut Terminal) -> Exit {
    let mut words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
    words.insert(0, "handover".into());
    // Before `--`, after which it would be the command's.
    let at = words
        .iter()
        .position(|word| word == "--")
        .unwrap_or(words.len());
    words.splice(at..at, ["--runtime-dir".into(), place.into()]);
    let Parsed::Verb(verb) = parse(words) else {
        panic!("not parsed");
    };
    let json = verb.json();
    match timeout(BOUND, verb.carry_out(terminal))
        .await
        .expect("bounded")
    {
        Ok(exit) => exit,
        Err(failure) => failure.report(terminal, json),
    }
}

/// Waits until `done` holds.
async fn eventually(done: impl Fn() -> bool) {
    let poll = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(BOUND, poll).await.expect("it happens");
}

fn place() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}
