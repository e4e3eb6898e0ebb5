//! One client connection: connects, asks, reads the answer. Never blocks.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};

/// How a request failed, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    Refused,
    /// Reset before or while an answer came; `true` on a connection that had served before.
    Reset(bool),
    /// Closed without one byte of an answer, on a fresh connection.
    EofNew,
    /// Closed without one byte of an answer, on a kept-alive connection.
    EofReused,
    EofMidway,
    Timeout,
    Status(u16),
    BadAnswer(&'static str),
    Os(i32),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::Reset(false) => f.write_str("reset, new connection"),
            Self::Reset(true) => f.write_str("reset, kept connection"),
            Self::EofNew => f.write_str("closed without an answer, new connection"),
            Self::EofReused => f.write_str("closed without an answer, kept connection"),
            Self::EofMidway => f.write_str("closed in the middle of an answer"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::BadAnswer(why) => write!(f, "bad answer: {why}"),
            Self::Os(errno) => write!(f, "{}", io::Error::from_raw_os_error(*errno)),
        }
    }
}

/// What a step of the connection came to.
#[derive(Debug)]
pub enum Step {
    Waiting,
    /// A whole answer, the server's generation, and whether the connection may serve again.
    Answered(u32, bool),
    /// Closed by the server while nothing was asked: no failure.
    IdleClosed,
    Failed(Failure),
}

enum State {
    Connecting,
    Waiting,
    Idle,
}

pub struct Connection {
    fd: OwnedFd,
    state: State,
    request: Vec<u8>,
    answer: Vec<u8>,
    answers: u32,
    generation: u32,
}

impl Connection {
    /// Begins to connect; `request` goes out as soon as that is done.
    pub fn open(to: &SocketAddr, request: Vec<u8>) -> Result<Self, Failure> {
        let family = match to {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd =
            rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(failure)?;
        sockopt::set_tcp_nodelay(&fd, true).map_err(failure)?;
        match rustix::net::connect(&fd, to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(failure(errno)),
        }
        let (state, answer) = (State::Connecting, Vec::with_capacity(512));
        Ok(Self {
            fd,
            state,
            request,
            answer,
            answers: 0,
            generation: 0,
        })
    }

    /// The next request on a connection that is idle.
    pub fn ask(&mut self) -> Step {
        self.answer.clear();
        self.state = State::Waiting;
        match rustix::net::send(&self.fd, &self.request, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == self.request.len() => Step::Waiting,
            Ok(_) => Step::Failed(Failure::BadAnswer(
                "the request did not fit the send buffer",
            )),
            Err(errno) => Step::Failed(self.lost(errno)),
        }
    }

    /// The descriptor has something for us.
    pub fn ready(&mut self) -> Step {
        if matches!(self.state, State::Connecting) {
            match sockopt::socket_error(&self.fd) {
                Ok(Ok(())) => {}
                Ok(Err(errno)) | Err(errno) => return Step::Failed(failure(errno)),
            }
            return self.ask();
        }
        let mut buffer = [0; 16 * 1024];
        loop {
            match rustix::io::read(&self.fd, &mut buffer) {
                Ok(0) => return self.ended(),
                Ok(_) if matches!(self.state, State::Idle) => {
                    return Step::Failed(Failure::BadAnswer("bytes that nobody asked for"));
                }
                Ok(length) => {
                    self.answer.extend_from_slice(&buffer[..length]);
                    match parse(&self.answer, false) {
                        Ok(None) => {}
                        Ok(Some(answer)) => return self.answered(&answer),
                        Err(failure) => return Step::Failed(failure),
                    }
                }
                Err(Errno::AGAIN) => return Step::Waiting,
                Err(Errno::INTR) => {}
                Err(_) if matches!(self.state, State::Idle) => return Step::IdleClosed,
                Err(errno) => return Step::Failed(self.lost(errno)),
            }
        }
    }

    pub fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting)
    }

    /// The client's port, by which a trace of the server finds this connection.
    pub fn port(&self) -> u16 {
        rustix::net::getsockname(&self.fd)
            .ok()
            .and_then(|address| SocketAddr::try_from(address).ok())
            .map_or(0, |address| address.port())
    }

    /// Answers so far, and the generation that gave the last one.
    pub fn served(&self) -> (u32, u32) {
        (self.answers, self.generation)
    }

    fn answered(&mut self, answer: &Answer) -> Step {
        self.state = State::Idle;
        self.answers += 1;
        self.generation = answer.generation;
        if answer.status == 200 {
            Step::Answered(answer.generation, answer.keep)
        } else {
            Step::Failed(Failure::Status(answer.status))
        }
    }

    fn ended(&mut self) -> Step {
        if matches!(self.state, State::Idle) {
            return Step::IdleClosed;
        }
        match parse(&self.answer, true) {
            Ok(Some(answer)) => self.answered(&answer),
            Ok(None) if !self.answer.is_empty() => Step::Failed(Failure::EofMidway),
            Ok(None) if self.answers > 0 => Step::Failed(Failure::EofReused),
            Ok(None) => Step::Failed(Failure::EofNew),
            Err(failure) => Step::Failed(failure),
        }
    }

    fn lost(&self, errno: Errno) -> Failure {
        match errno {
            Errno::CONNRESET | Errno::PIPE => Failure::Reset(self.answers > 0),
            other => failure(other),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn failure(errno: Errno) -> Failure {
    match errno {
        Errno::CONNREFUSED => Failure::Refused,
        Errno::CONNRESET => Failure::Reset(false),
        other => Failure::Os(other.raw_os_error()),
    }
}

struct Answer {
    status: u16,
    keep: bool,
    generation: u32,
}

/// A whole answer, or `None` while more must come. `at_end`: nothing more comes.
fn parse(bytes: &[u8], at_end: bool) -> Result<Option<Answer>, Failure> {
    let Some(head_length) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..head_length])
        .map_err(|_| Failure::BadAnswer("the head is not text"))?;
    let body = &bytes[head_length + 4..];
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or(Failure::BadAnswer("no HTTP/1.1 status line"))?;
    let (mut length, mut keep) = (None, true);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse().map_err(|_| Failure::BadAnswer("length"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Failure::BadAnswer("transfer-encoding is not understood"));
        } else if name.eq_ignore_ascii_case("connection") {
            keep = !value.eq_ignore_ascii_case("close");
        }
    }
    match length {
        Some(length) if body.len() < length => return Ok(None),
        Some(length) if body.len() > length => return Err(Failure::BadAnswer("more than length")),
        None if !at_end => return Ok(None),
        _ => {}
    }
    Ok(Some(Answer {
        status,
        keep,
        generation: generation(body),
    }))
}

/// The number after "generation " in the body; 0 when the server does not say.
fn generation(body: &[u8]) -> u32 {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let after = text.split_once("generation ").map_or("", |(_, rest)| rest);
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    after[..digits].parse().unwrap_or(0)
}
