//! Requests to one master.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::EventReader;
use crate::control::{ApiError, ErrorBody, ErrorKind};

/// For a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For an answer that the master gives at once; longer than the server waits
/// for the master, so that the server's words arrive.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a busy master is asked again.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// More than the status of thousands of workers.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection could be made.
    #[error("cannot reach the master at {}: {source}", socket.display())]
    Unreachable {
        /// The control socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection ended before the answer did.
    #[error("the master went away before it answered ({0})")]
    Gone(String),
    /// The master took too long.
    #[error("the master did not answer within {0:?}")]
    TimedOut(Duration),
    /// The master answered with an error.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// What came is not what this version understands.
    #[error("the master's answer is not understood: {0}")]
    Malformed(String),
}

impl ClientError {
    /// Whether no master is there any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Gone(_) => true,
            Self::Api(error) => error.kind == ErrorKind::Stopping,
            Self::TimedOut(_) | Self::Malformed(_) => false,
        }
    }
}

/// A good answer, as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    /// 200, 202, or 503 of `/readyz`.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The body as `T`.
    ///
    /// # Errors
    /// [`ClientError::Malformed`].
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|e| ClientError::Malformed(e.to_string()))
    }
}

/// Speaks to the master behind one control socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// For the control socket at `socket`; connects when it is asked.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET path`, answered at once, as `T`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.get_raw(path, Some(ANSWER_TIMEOUT)).await?.parse()
    }

    /// `GET path`, answered within `patience` (none: however long it takes).
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get_raw(
        &self,
        path: &str,
        patience: Option<Duration>,
    ) -> Result<Reply, ClientError> {
        self.request(Method::GET, path, Bytes::new(), patience)
            .await
    }

    /// `POST path` with `body` as JSON, answered at once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<Reply, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| ClientError::Malformed(e.to_string()))?;
        self.request(Method::POST, path, body.into(), Some(ANSWER_TIMEOUT))
            .await
    }

    /// Follows the events after number `since`; without it, from now on. When
    /// this returns, no later event is missed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(&self, since: Option<u64>) -> Result<EventReader, ClientError> {
        let path = match since {
            Some(since) => format!("/v1/events?since={since}"),
            None => "/v1/events".to_owned(),
        };
        let opening = self.send(Method::GET, &path, Bytes::new());
        let (response, connection) = bounded(Some(ANSWER_TIMEOUT), opening).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(&read(response).await?));
        }
        Ok(EventReader::new(response.into_body(), connection))
    }

    /// Whether somebody listens on the socket.
    ///
    /// # Errors
    /// As connect(2): `ConnectionRefused` when its master is dead.
    pub async fn probe(&self) -> io::Result<()> {
        match timeout(CONNECT_TIMEOUT, UnixStream::connect(&self.socket)).await {
            Ok(Ok(_)) => Ok(()),
            // Its queue is full: it is alive, and busy.
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Option<Duration>,
    ) -> Result<Reply, ClientError> {
        let begun = Instant::now();
        loop {
            let exchange = async {
                let (response, connection) = self.send(method.clone(), path, body.clone()).await?;
                let reply = read(response).await;
                drop(connection);
                reply
            };
            let reply = bounded(patience, exchange).await?;
            if reply.status < 300 {
                return Ok(reply);
            }
            let error = refusal(&reply);
            // Turned away at the door: nothing was begun.
            let busy = matches!(&error, ClientError::Api(e) if e.kind == ErrorKind::Busy);
            if !busy || begun.elapsed() > BUSY_PATIENCE {
                return Err(error);
            }
            sleep(BUSY_PAUSE).await;
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Incoming>, Connection), ClientError> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| gone(&error))?;
        let connection = Connection(
            // Its error is also the request's.
            tokio::spawn(async move { drop(connection.await) }).abort_handle(),
        );
        let request = Request::builder()
            .method(method)
            .uri(path)
            // RFC 9112, section 3.2: a request has one, whatever it says.
            .header("host", "handover")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Malformed(error.to_string()))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| gone(&error))?;
        Ok((response, connection))
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let begun = Instant::now();
        let unreachable = |source| ClientError::Unreachable {
            socket: self.socket.clone(),
            source,
        };
        loop {
            let error = match timeout(CONNECT_TIMEOUT, UnixStream::connect(&self.socket)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            // A full queue says EAGAIN to who does not block (connect(2)).
            let full = Errno::from_io_error(&error) == Some(Errno::AGAIN);
            if !full || begun.elapsed() > BUSY_PATIENCE {
                return Err(unreachable(error));
            }
            sleep(BUSY_PAUSE).await;
        }
    }
}

/// Keeps a connection's task; dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn gone(error: &hyper::Error) -> ClientError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    ClientError::Gone(format!("{error}{}", cause.unwrap_or_default()))
}

async fn bounded<T>(
    patience: Option<Duration>,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match patience {
        None => work.await,
        Some(patience) => timeout(patience, work)
            .await
            .unwrap_or(Err(ClientError::TimedOut(patience))),
    }
}

async fn read(response: Response<Incoming>) -> Result<Reply, ClientError> {
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_MAX)
        .collect()
        .await
        .map_err(|error| ClientError::Gone(error.to_string()))?
        .to_bytes();
    Ok(Reply { status, body })
}

fn refusal(reply: &Reply) -> ClientError {
    match serde_json::from_slice(&reply.body) {
        Ok(ErrorBody { error }) => ClientError::Api(error),
        Err(_) => ClientError::Malformed(format!("status {} without a reason", reply.status)),
    }
}
