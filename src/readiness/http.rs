//! Does a worker answer a request? (RFC 9112)

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// The longest head of an answer: the least that hyper can be told.
const HEAD_MAX: usize = 8 * 1024;

/// So much of a body is read. A server that is cut off in its answer complains; one that never ends its answer is
/// not waited for.
const BODY_MAX: usize = 64 * 1024;

/// So much of an answer is quoted, in characters.
const QUOTED_MAX: usize = 80;

/// It answered, and the status says that it is well: 200 to 399.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered(pub u16);

/// Why it counts as not answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// No connection came about.
    Unreachable(String),
    /// It could not be asked, for want of something on this side.
    NotAsked(String),
    /// Connected, and not a byte came in time.
    Silent,
    /// Something came, but not all of it in time: how far it got.
    Slow(String),
    /// The connection ended before the answer did: how far it got.
    Broken(String),
    /// What came is no HTTP: how it begins.
    NoHttp(String),
    /// The status says that it is not well: `503 Service Unavailable: "no database"`.
    Status(String),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unanswered::Unreachable(why) => write!(f, "no connection: {why}"),
            Unanswered::NotAsked(why) => f.write_str(why),
            Unanswered::Silent => f.write_str("no answer"),
            Unanswered::Slow(got) => write!(f, "no whole answer, only {got}"),
            Unanswered::Broken(got) if got.is_empty() => {
                f.write_str("the connection was closed without an answer")
            }
            Unanswered::Broken(got) => write!(f, "the connection was closed after {got}"),
            Unanswered::NoHttp(got) => write!(f, "the answer is no HTTP: {got}"),
            Unanswered::Status(status) => f.write_str(status),
        }
    }
}

/// Asks for `path` at `to`, once, and waits for the whole answer for `patience`. Of a long body only the beginning is
/// waited for. A redirect is an answer; nobody follows it. Needs a tokio runtime with I/O and time.
///
/// # Errors
/// Why it counts as not answering, for people.
pub async fn ask(to: SocketAddr, path: &str, patience: Duration) -> Result<Answered, Unanswered> {
    let deadline = Instant::now() + patience;
    let connecting = timeout_at(deadline, TcpStream::connect(to)).await;
    let stream = connecting
        .map_err(|_| Unanswered::Silent)?
        .map_err(unconnected)?;
    let heard = Heard::default();
    let listening = Listening {
        stream,
        heard: heard.clone(),
    };
    let mut status = None;
    let exchange = exchange(listening, path, &heard, &mut status);
    match timeout_at(deadline, exchange).await {
        Ok(outcome) => outcome,
        Err(_) => Err(match (status, heard.quoted()) {
            (Some(status), _) => Unanswered::Slow(format!("{status} and a part of its body")),
            (None, Some(quoted)) => Unanswered::Slow(quoted),
            (None, None) => Unanswered::Silent,
        }),
    }
}

/// Only a refusal is the other side's doing (connect(2)); descriptors, ports and memory are ours.
fn unconnected(error: io::Error) -> Unanswered {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
            Unanswered::Unreachable(error.to_string())
        }
        _ => Unanswered::NotAsked(format!("no connection can be made: {error}")),
    }
}

/// One request and its answer. `status` is what came so far, for whoever does not wait to the end.
async fn exchange(
    stream: Listening,
    path: &str,
    heard: &Heard,
    status: &mut Option<StatusCode>,
) -> Result<Answered, Unanswered> {
    let failed = |error: hyper::Error| heard.judge(&error);
    let request = Request::get(path)
        .header(header::HOST, "localhost")
        .header(header::USER_AGENT, "handover-probe")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Unanswered::NotAsked(error.to_string()))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        *status = Some(response.status());
        judge(response).await
    };
    let (mut asking, mut connection) = (pin!(asking), pin!(connection));
    // The connection does the reading and writing; it may end before its answer is looked at.
    tokio::select! {
        biased;
        outcome = &mut asking => outcome,
        _ = &mut connection => asking.await,
    }
}

/// Reads the body, and says what the answer means.
async fn judge(response: Response<Incoming>) -> Result<Answered, Unanswered> {
    let status = response.status();
    let mut body = response.into_body();
    let (mut length, mut first) = (0, Vec::new());
    while length < BODY_MAX {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame =
            frame.map_err(|_| Unanswered::Broken(format!("{status} and a part of its body")))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        length += data.len();
        let left = (QUOTED_MAX * 4).saturating_sub(first.len());
        first.extend_from_slice(data.get(..left).unwrap_or(data));
    }
    if status.is_success() || status.is_redirection() {
        return Ok(Answered(status.as_u16()));
    }
    Err(Unanswered::Status(match quoted(&first) {
        Some(quoted) => format!("{status}: {quoted}"),
        None => status.to_string(),
    }))
}

/// The first line of these bytes, in quotes, cut and without control characters; none where nothing is left.
fn quoted(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut cut: String = line.chars().map(shown).take(QUOTED_MAX).collect();
    if cut.len() < line.len() && line.chars().count() > QUOTED_MAX {
        cut.push('…');
    }
    Some(format!("\"{cut}\""))
}

/// The first bytes that came, for a report.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    fn push(&self, bytes: &[u8]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = (QUOTED_MAX * 4).saturating_sub(heard.len());
        heard.extend_from_slice(bytes.get(..left).unwrap_or(bytes));
    }

    fn quoted(&self) -> Option<String> {
        quoted(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn judge(&self, error: &hyper::Error) -> Unanswered {
        let quoted = self.quoted().unwrap_or_default();
        if error.is_parse_too_large() {
            return Unanswered::NoHttp(format!(
                "{quoted}, with a head of more than {HEAD_MAX} bytes"
            ));
        }
        match error.is_parse() {
            true => Unanswered::NoHttp(quoted),
            false => Unanswered::Broken(quoted),
        }
    }
}

/// A stream of which the first bytes are kept.
struct Listening {
    stream: TcpStream,
    heard: Heard,
}

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        self.heard
            .push(into.filled().get(before..).unwrap_or_default());
        read
    }
}

impl AsyncWrite for Listening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "tests/http.rs"]
mod tests;
