//! Reads along with a client's bytes: how many requests were begun, and how many heads are whole.
//!
//! hyper does not tell what waits in its buffer, but the last answer before a connection closes is
//! only the last when no further request has begun. So this follows the framing of HTTP/1 (RFC 9112,
//! sections 2 to 7) and nothing else: it judges nothing, which hyper does, and where a client talks
//! nonsense hyper ends the connection.

/// No line that matters here is longer.
const LINE_BYTES_MAX: usize = 64;

/// Where a stream of requests stands.
#[derive(Debug, Default)]
pub(super) struct Scan {
    heads: u64,
    at: At,
    /// The beginning of the present line.
    line: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between two requests.
    #[default]
    Between,
    /// In a head: what it said of its body so far.
    Head { length: u64, chunked: bool },
    /// In a body: so many bytes are left.
    Body(u64),
    /// In the line with a chunk's size.
    ChunkSize,
    /// In a chunk and the line end behind it.
    Chunk(u64),
    /// Behind the last chunk.
    Trailers,
}

impl Scan {
    /// How many heads were whole so far.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Is the stream exactly between two requests?
    pub(super) fn is_between(&self) -> bool {
        self.at == At::Between
    }

    /// Has a request begun whose head is not whole?
    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.at, At::Head { .. })
    }

    /// The next bytes of the client.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            match self.at {
                // Empty lines before a request are skipped (RFC 9112, 2.2).
                At::Between if matches!(first, b'\r' | b'\n') => bytes = &bytes[1..],
                At::Between => {
                    self.at = At::Head {
                        length: 0,
                        chunked: false,
                    };
                }
                At::Body(left) => {
                    let (rest, left) = skip(bytes, left);
                    bytes = rest;
                    self.at = if left == 0 {
                        At::Between
                    } else {
                        At::Body(left)
                    };
                }
                At::Chunk(left) => {
                    let (rest, left) = skip(bytes, left);
                    bytes = rest;
                    self.at = if left == 0 {
                        At::ChunkSize
                    } else {
                        At::Chunk(left)
                    };
                }
                At::Head { .. } | At::ChunkSize | At::Trailers => bytes = self.read_line(bytes),
            }
        }
    }

    /// Takes bytes up to the end of the line; returns what is behind it.
    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (part, rest) = match end {
            Some(end) => (&bytes[..end], &bytes[end + 1..]),
            None => (bytes, &bytes[bytes.len()..]),
        };
        let room = LINE_BYTES_MAX - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        if end.is_some() {
            // Put back, so that it is not allocated for each line.
            let mut line = std::mem::take(&mut self.line);
            self.line_ends(line.strip_suffix(b"\r").unwrap_or(&line));
            line.clear();
            self.line = line;
        }
        rest
    }

    fn line_ends(&mut self, line: &[u8]) {
        self.at = match self.at {
            At::Head { length, chunked } if line.is_empty() => {
                self.heads += 1;
                match (chunked, length) {
                    (true, _) => At::ChunkSize,
                    (false, 0) => At::Between,
                    (false, length) => At::Body(length),
                }
            }
            At::Head { length, chunked } => At::Head {
                length: field(line, b"content-length")
                    .and_then(|value| value.trim().parse().ok())
                    .unwrap_or(length),
                chunked: chunked || field(line, b"transfer-encoding").is_some(),
            },
            At::ChunkSize => match chunk_size(line) {
                0 => At::Trailers,
                // With the line end behind it, which is CR LF.
                size => At::Chunk(size.saturating_add(2)),
            },
            At::Trailers if line.is_empty() => At::Between,
            other => other,
        };
    }
}

fn skip(bytes: &[u8], left: u64) -> (&[u8], u64) {
    let length = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (&bytes[length..], left - length as u64)
}

/// The value of a header field, if this line is it.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (found, value) = (&line[..colon], &line[colon + 1..]);
    found
        .eq_ignore_ascii_case(name)
        .then(|| std::str::from_utf8(value).unwrap_or_default())
}

/// The hexadecimal number before an extension.
fn chunk_size(line: &[u8]) -> u64 {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let text: String = digits.map(|byte| char::from(*byte)).collect();
    u64::from_str_radix(&text, 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (heads, between, in a head) after these bytes, in whatever pieces they come.
    fn after(text: &str) -> (u64, bool, bool) {
        let stand = |scan: &Scan| (scan.heads(), scan.is_between(), scan.is_in_head());
        let mut whole = Scan::default();
        whole.feed(text.as_bytes());
        let mut pieces = Scan::default();
        for byte in text.as_bytes() {
            pieces.feed(std::slice::from_ref(byte));
        }
        assert_eq!(stand(&whole), stand(&pieces), "{text:?}");
        stand(&whole)
    }

    #[test]
    fn requests_without_a_body_follow_each_other() {
        assert_eq!(after(""), (0, true, false));
        assert_eq!(after("GET / HT"), (0, false, true));
        assert_eq!(after("GET / HTTP/1.1\r\nHost: a\r\n"), (0, false, true));
        assert_eq!(after("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), (1, true, false));
        let two = "GET /1 HTTP/1.1\r\n\r\n\r\nGET /2 HTTP/1.1\n\nG";
        assert_eq!(after(two), (2, false, true));
    }

    #[test]
    fn a_body_is_not_taken_for_a_request() {
        let head = "POST / HTTP/1.1\r\nCONTENT-length:  18 \r\n\r\n";
        let body = "GET / HTTP/1.1\r\n\r\n";
        assert_eq!(after(head), (1, false, false));
        assert_eq!(after(&format!("{head}{}", &body[1..])), (1, false, false));
        assert_eq!(after(&format!("{head}{body}")), (1, true, false));
        assert_eq!(after(&format!("{head}{body}{body}")), (2, true, false));
    }

    #[test]
    fn chunks_are_followed_to_their_end() {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunks = "4;x=y\r\nG\n\r\n\r\n12\r\nGET / HTTP/1.1\r\n\r\n\r\n";
        assert_eq!(after(&format!("{head}{chunks}")), (1, false, false));
        assert_eq!(after(&format!("{head}{chunks}0\r\n")), (1, false, false));
        assert_eq!(after(&format!("{head}{chunks}0\r\n\r\n")), (1, true, false));
        let trailers = format!("{head}{chunks}0\r\nSum: 1\r\n\r\nG");
        assert_eq!(after(&trailers), (1, false, true));
    }

    proptest::proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_stand_is_the_same(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "GET / HTTP/1.1", "\r\n", "\n", "\r", "Content-Length: 7", "content-length:x",
                    "Transfer-Encoding: chunked", ":", "a", "0", "5;x", "ffffffffffffffffff", "\0",
                ]),
                0..60,
            )
        ) {
            after(&words.concat());
        }
    }

    #[test]
    fn nonsense_and_endless_lines_cost_nothing() {
        let long = format!(
            "GET /{} HTTP/1.1\r\nX: {}\r\n\r\n",
            "a".repeat(9000),
            "b".repeat(9000)
        );
        assert_eq!(after(&long), (1, true, false));
        after("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n");
        after("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx");
        after("\0\u{1}:::\r\n\r\nzz\r\n");
    }
}
