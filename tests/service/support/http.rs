//! As much of an HTTP client as the tests need.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::PATIENCE;

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    /// The server keeps the connection.
    pub keeps: bool,
}

impl Answer {
    /// N of "hello from generation N (pid P)".
    pub fn generation(&self) -> Option<u32> {
        self.body
            .split("generation ")
            .nth(1)?
            .split(' ')
            .next()?
            .parse()
            .ok()
    }

    /// P of it.
    pub fn pid(&self) -> Option<i32> {
        self.body
            .split("pid ")
            .nth(1)?
            .split(')')
            .next()?
            .parse()
            .ok()
    }
}

/// One request on a new connection.
pub fn get(address: &str, path: &str) -> io::Result<Answer> {
    let mut stream = connect(address)?;
    ask(&mut stream, "GET", path, "", "close")
}

/// One request over a unix socket.
pub fn get_unix(socket: &Path, path: &str) -> io::Result<Answer> {
    unix(socket, "GET", path, "")
}

/// One request with a body over a unix socket.
pub fn unix(socket: &Path, method: &str, path: &str, body: &str) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    ask(&mut stream, method, path, body, "close")
}

/// A kept-alive connection.
pub struct Kept(Box<dyn Stream>);

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl Kept {
    pub fn open(address: &str) -> io::Result<Self> {
        Ok(Self(Box::new(connect(address)?)))
    }

    pub fn open_unix(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(Box::new(stream)))
    }

    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        ask(&mut self.0, "GET", path, "", "keep-alive")
    }

    pub fn post(&mut self, path: &str) -> io::Result<Answer> {
        ask(&mut self.0, "POST", path, "", "keep-alive")
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn ask<S: Read + Write>(
    stream: &mut S,
    method: &str,
    path: &str,
    body: &str,
    connection: &str,
) -> io::Result<Answer> {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: handover\r\nConnection: {connection}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let (mut received, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let length = stream.read(&mut buffer)?;
        received.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&received);
        if let Some(answer) = parse(&text, length == 0) {
            return Ok(answer);
        }
        if length == 0 {
            let kind = io::ErrorKind::UnexpectedEof;
            return Err(io::Error::new(
                kind,
                format!("closed after {:?}", text.as_ref()),
            ));
        }
    }
}

/// The whole answer, if it is whole.
fn parse(text: &str, at_end: bool) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let header = |wanted: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, v)| v)
    };
    let length: Option<usize> = header("content-length").and_then(|length| length.parse().ok());
    let whole = length.map_or(at_end, |length| body.len() >= length);
    let keeps = !header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    whole.then(|| Answer {
        status,
        body: body.to_owned(),
        keeps,
    })
}
