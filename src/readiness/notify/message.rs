//! The text of a datagram: `NAME=value` lines, sd_notify(3).

use std::time::Duration;

/// A status is cut after this many bytes: it is kept for each worker, and shown
/// to people.
pub const STATUS_BYTES_MAX: usize = 1024;

/// FDNAME_MAX of systemd.
const NAME_BYTES_MAX: usize = 255;

/// Of a line that is not understood, this much is kept to show it.
const EXCERPT_CHARS_MAX: usize = 64;

/// One assignment of a datagram, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `READY=1`
    Ready,
    /// `STATUS=`: printable, at most [`STATUS_BYTES_MAX`] bytes.
    Status(String),
    /// `RELOADING=1`
    Reloading,
    /// `MONOTONIC_USEC=`: when that reload began, in µs of CLOCK_MONOTONIC.
    MonotonicUsec(u64),
    /// `STOPPING=1`
    Stopping,
    /// `WATCHDOG=1`
    Watchdog,
    /// `WATCHDOG=trigger`: the worker itself asks to be treated as hung.
    WatchdogTrigger,
    /// `WATCHDOG_USEC=`: the worker changes its own watchdog; zero switches it off.
    WatchdogUsec(Duration),
    /// `EXTEND_TIMEOUT_USEC=`: counted from the arrival of the datagram.
    ExtendTimeout(Duration),
    /// `MAINPID=`: always greater than zero. Whether that process belongs to the
    /// worker is for the master to find out.
    MainPid(i32),
    /// `BARRIER=1`: answered by closing the descriptor that came with it, that is
    /// by dropping the datagram once everything before it was handled. Always alone.
    Barrier,
    /// `FDSTORE=1`
    FdStore,
    /// `FDNAME=`: a valid name, see [`is_valid_name`].
    FdName(String),
    /// `FDSTOREREMOVE=1`
    FdStoreRemove,
    /// `FDPOLL=0`: keep the stored descriptors even when they hang up.
    FdPollOff,
    /// `ERRNO=`: why the worker is about to fail.
    Errno(i32),
    /// A name that means nothing here (`X_…`, `BUSERROR`, newer ones): to be ignored.
    Unknown(String),
    /// A known name with a value that it cannot have: to be reported, and ignored.
    Malformed(String),
}

/// Why a datagram as a whole says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No line in it.
    #[error("it is empty")]
    Empty,
    /// `BARRIER=1` must be the only line; systemd ignores everything, too.
    #[error("BARRIER=1 came together with other lines; it must be sent alone")]
    BarrierNotAlone,
}

/// Understands the bytes of one datagram, never panicking on any.
///
/// As systemd does: only what precedes the first NUL counts, lines end at `\n` or
/// `\r`, empty ones are skipped, and of several lines with the same name the
/// first one wins. A line that cannot be understood costs only itself:
/// `READY=1` beside a `MAINPID=abc` is still ready.
///
/// # Errors
/// When nothing in the datagram may be acted on; see [`ParseError`].
pub fn parse(bytes: &[u8]) -> Result<Vec<Message>, ParseError> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let lines = || {
        text.split(|byte| matches!(byte, b'\n' | b'\r'))
            .filter(|line| !line.is_empty())
    };
    if lines().next().is_none() {
        return Err(ParseError::Empty);
    }
    if lines().any(|line| line == b"BARRIER=1") {
        return match lines().count() {
            1 => Ok(vec![Message::Barrier]),
            _ => Err(ParseError::BarrierNotAlone),
        };
    }
    let mut messages: Vec<Message> = Vec::new();
    for line in lines() {
        let message = assignment(line);
        // What is ignored later may repeat: looking for it would be quadratic.
        let ignored = matches!(message, Message::Unknown(_) | Message::Malformed(_));
        if ignored || !messages.iter().any(|earlier| same_name(earlier, &message)) {
            messages.push(message);
        }
    }
    Ok(messages)
}

/// May a stored descriptor be called this? As fdname_is_valid of systemd: ASCII,
/// printable, no colon (it separates the names in `LISTEN_FDNAMES`), at most 255
/// bytes; and not empty, which there would be a hole between two colons.
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b':')
}

fn assignment(line: &[u8]) -> Message {
    let malformed = || Message::Malformed(excerpt(line));
    let Some(equals) = line.iter().position(|byte| *byte == b'=') else {
        return malformed();
    };
    let (name, value) = (&line[..equals], &line[equals + 1..]);
    // Numbers and names are ASCII; only a status may hold more.
    let ascii = std::str::from_utf8(value).unwrap_or_default();
    let flag = |message: Message| match value {
        b"1" => message,
        _ => malformed(),
    };
    let micros = |message: fn(Duration) -> Message| match ascii.parse() {
        Ok(usec) => message(Duration::from_micros(usec)),
        Err(_) => malformed(),
    };
    match name {
        b"READY" => flag(Message::Ready),
        b"RELOADING" => flag(Message::Reloading),
        b"STOPPING" => flag(Message::Stopping),
        b"FDSTORE" => flag(Message::FdStore),
        b"FDSTOREREMOVE" => flag(Message::FdStoreRemove),
        b"BARRIER" => malformed(),
        b"STATUS" => Message::Status(status(value)),
        b"WATCHDOG" if value == b"trigger" => Message::WatchdogTrigger,
        b"WATCHDOG" => flag(Message::Watchdog),
        b"WATCHDOG_USEC" => micros(Message::WatchdogUsec),
        b"EXTEND_TIMEOUT_USEC" => micros(Message::ExtendTimeout),
        b"MONOTONIC_USEC" => ascii
            .parse()
            .map_or_else(|_| malformed(), Message::MonotonicUsec),
        b"MAINPID" => match ascii.parse() {
            Ok(pid) if pid > 0 => Message::MainPid(pid),
            _ => malformed(),
        },
        b"ERRNO" => match ascii.parse() {
            Ok(errno) if errno > 0 => Message::Errno(errno),
            _ => malformed(),
        },
        b"FDNAME" if is_valid_name(ascii) => Message::FdName(ascii.to_owned()),
        b"FDNAME" => malformed(),
        b"FDPOLL" if value == b"0" => Message::FdPollOff,
        _ => Message::Unknown(excerpt(name)),
    }
}

fn same_name(a: &Message, b: &Message) -> bool {
    use Message::{Watchdog, WatchdogTrigger};
    let one_name = |m: &Message| matches!(m, Watchdog | WatchdogTrigger);
    std::mem::discriminant(a) == std::mem::discriminant(b) || (one_name(a) && one_name(b))
}

/// Made fit to be shown: no escape sequence of a worker reaches a terminal.
fn status(value: &[u8]) -> String {
    let mut shown = String::new();
    for char in String::from_utf8_lossy(value).chars() {
        if shown.len() + char.len_utf8() > STATUS_BYTES_MAX {
            break;
        }
        shown.push(if char.is_control() { ' ' } else { char });
    }
    shown
}

fn excerpt(bytes: &[u8]) -> String {
    let shown = bytes.escape_ascii().map(char::from);
    let mut text: String = shown.take(EXCERPT_CHARS_MAX).collect();
    if bytes.escape_ascii().nth(EXCERPT_CHARS_MAX).is_some() {
        text.push('…');
    }
    text
}
