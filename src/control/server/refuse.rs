//! Turning a connection away with a reason, without serving it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::control::{ApiError, ErrorBody};

/// For the request to arrive and the answer to leave.
const PATIENCE: Duration = Duration::from_millis(500);

/// Sends `error` and closes.
pub(super) async fn refuse(mut stream: UnixStream, error: ApiError) {
    let _ = timeout(PATIENCE, answer(&mut stream, error)).await;
}

async fn answer(stream: &mut UnixStream, error: ApiError) -> io::Result<()> {
    // Closing with unread bytes would reset the connection, and a client that
    // still writes would never read why: let the request arrive first.
    let mut request = vec![0; 4096];
    let _ = stream.read(&mut request).await?;
    let status = error.kind.status();
    let phrase = hyper::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error");
    let body = serde_json::to_string(&ErrorBody { error }).map_err(io::Error::other)?;
    let answer = format!(
        "HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{body}\n",
        body.len() + 1
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
