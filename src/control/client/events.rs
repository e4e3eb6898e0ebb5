//! Reading a stream of server-sent events.

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::ClientError;
use super::connection::{Connection, gone};
use crate::control::view::EventView;

/// More than the largest event.
const LINE_MAX: usize = 1024 * 1024;

/// One open stream of events.
#[derive(Debug)]
pub struct EventReader {
    body: Incoming,
    buffer: BytesMut,
    /// Keeps the connection open.
    _connection: Connection,
}

impl EventReader {
    pub(super) fn new(body: Incoming, connection: Connection) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            _connection: connection,
        }
    }

    /// The next event; none when the master ended the stream. Nothing is lost
    /// when the future is dropped before it is ready.
    ///
    /// # Errors
    /// [`ClientError::Gone`] when the connection broke, and
    /// [`ClientError::Malformed`] when what came is no stream of events.
    pub async fn next(&mut self) -> Result<Option<EventView>, ClientError> {
        loop {
            while let Some(line) = take_line(&mut self.buffer) {
                if let Some(event) = event_of(&line)? {
                    return Ok(Some(event));
                }
            }
            if self.buffer.len() > LINE_MAX {
                return Err(ClientError::Malformed(format!(
                    "a line over {LINE_MAX} bytes"
                )));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(gone(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

fn take_line(buffer: &mut BytesMut) -> Option<BytesMut> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let line = buffer.split_to(end);
    buffer.advance(1);
    Some(line)
}

/// The event of a `data` line: ours hold the whole event, number and kind
/// included, so that the other lines are for browsers.
fn event_of(line: &[u8]) -> Result<Option<EventView>, ClientError> {
    let Some(json) = line.strip_prefix(b"data:") else {
        return Ok(None);
    };
    serde_json::from_slice(json)
        .map(Some)
        .map_err(|e| ClientError::Malformed(e.to_string()))
}
