//! A connection over memory, for whoever wants to break the server: the
//! committed corpus, property tests, fuzzers.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::activity::Activity;
use super::door::Guest;
use super::{Context, Limits, connection};
use crate::control::view::{OperationResult, OperationView};
use crate::control::{Answer, Call, Caller, EventLog, Request};

/// Sends `bytes` over one connection to a server whose master says yes to
/// everything, ends the event log, and returns all that came back.
///
/// # Errors
/// When the server did not end the connection within ten seconds: a client
/// can make it hang.
pub async fn feed(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (calls, asked) = mpsc::channel(8);
    let brief = Duration::from_millis(5);
    let limits = Limits {
        head_timeout: brief,
        body_timeout: brief,
        idle_timeout: brief,
        ..Limits::default()
    };
    let events = EventLog::new();
    let context = Arc::new(Context {
        calls,
        events: events.clone(),
        limits,
    });
    let (client, server) = tokio::io::duplex(64 * 1024);
    let guest = Guest::Caller(Caller { uid: 0, pid: 1 });
    let exchange = async {
        let (mut reader, mut writer) = tokio::io::split(client);
        let mut answer = Vec::new();
        let send = async {
            // The server may close before it read all.
            let _ = writer.write_all(bytes).await;
            // Half a request is cut off by its timeout, a stream by this.
            sleep(2 * brief).await;
            events.close();
        };
        let _ = tokio::join!(
            send,
            reader.read_to_end(&mut answer),
            connection::drive(server, guest, context, Activity::new()),
            say_yes(asked),
        );
        answer
    };
    timeout(Duration::from_secs(10), exchange)
        .await
        .map_err(|_| "the connection did not end")
}

/// Answers every call until the server is gone.
async fn say_yes(mut asked: mpsc::Receiver<Request>) {
    while let Some((call, answer)) = asked.recv().await {
        let yes = match call {
            Call::Start { kind, by } => {
                let mut operation = OperationView::new("up_1", kind.kind(), by);
                operation.end(OperationResult::Done, None);
                operation.drained = true;
                Answer::Operation(watch::channel(operation).1)
            }
            Call::Ready => Answer::Ready {
                ready: true,
                detail: "ready".to_owned(),
            },
            other => Answer::Text(format!("{other:?}")),
        };
        // A client that went away wants no answer.
        let _ = answer.send(yes);
    }
}
