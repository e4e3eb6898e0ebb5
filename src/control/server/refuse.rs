//! Turning a connection away with a reason, without serving it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::control::{ApiError, ErrorBody};

/// For the request to arrive and the answer to leave.
const PATIENCE: Duration = Duration::from_millis(500);

/// Sends `error` and closes.
pub(super) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, error: ApiError) {
    let _ = timeout(PATIENCE, answer(&mut stream, error)).await;
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    error: ApiError,
) -> io::Result<()> {
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
    // A busy server is worth another try, a closed door is not.
    let again = match status {
        503 => "retry-after: 1\r\n",
        _ => "",
    };
    let answer = format!(
        "HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         {again}connection: close\r\n\r\n{body}\n",
        body.len() + 1
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
