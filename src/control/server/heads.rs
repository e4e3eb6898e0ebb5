//! Finds requests that say twice how long they are.
//!
//! A request with a length that is chunked, too, means one thing to one reader
//! and another to the next (request smuggling). hyper decides for the chunks
//! and takes the length away without a word, so the bytes are looked at before.

/// Looks at everything that a client sends, in whatever pieces it comes.
///
/// It does not know where a body ends. That is no matter: a body of ours is
/// JSON, in which no line can begin with the name of a header.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// How the present line begins, in lower case.
    begin: Vec<u8>,
    /// The last bytes that came.
    last: [u8; PROTOCOL.len()],
    length: bool,
    chunked: bool,
    /// Both, in one head: for good, for nothing that follows can be trusted.
    both: bool,
}

/// What every request line has, and begins a new head.
const PROTOCOL: &[u8; 8] = b" HTTP/1.";
const LENGTH: &[u8] = b"content-length:";
const CHUNKED: &[u8] = b"transfer-encoding:";

impl Heads {
    pub(super) fn came(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    /// As [`Heads::came`], up to the empty line that ends a head; how many bytes that are, and whether it is there.
    pub(super) fn came_to_end(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (at, byte) in bytes.iter().enumerate() {
            let is_empty = self.begin.is_empty() || self.begin == [b'\r'];
            self.byte(*byte);
            if *byte == b'\n' && is_empty {
                return (at + 1, true);
            }
        }
        (bytes.len(), false)
    }

    /// Whether the head that just ended has a body behind it.
    pub(super) fn has_body(&self) -> bool {
        self.length || self.chunked
    }

    /// Whether a request had a length and was chunked, too.
    pub(super) fn conflict(&self) -> bool {
        self.both
    }

    fn byte(&mut self, byte: u8) {
        self.last.rotate_left(1);
        if let Some(last) = self.last.last_mut() {
            *last = byte;
        }
        if &self.last == PROTOCOL {
            (self.length, self.chunked) = (false, false);
        }
        match byte {
            b'\n' => self.begin.clear(),
            // Longer than any name that matters.
            _ if self.begin.len() > CHUNKED.len() => {}
            _ => {
                self.begin.push(byte.to_ascii_lowercase());
                self.length |= self.begin == LENGTH;
                self.chunked |= self.begin == CHUNKED;
                self.both |= self.length && self.chunked;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflict(pieces: &[&[u8]]) -> bool {
        let mut heads = Heads::default();
        for piece in pieces {
            heads.came(piece);
        }
        heads.conflict()
    }

    #[test]
    fn both_in_one_head_are_found_in_any_order_case_and_pieces() {
        let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX: y\nCONTENT-LENGTH:2\r\n";
        assert!(conflict(&[head]));
        let single: Vec<&[u8]> = head.chunks(1).collect();
        assert!(conflict(&single));
        let other = b"POST / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n";
        assert!(conflict(&[b"GET / HTTP/1.1\r\n\r\n", other]));
    }

    #[test]
    fn one_in_each_head_is_as_it_should_be() {
        let first = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        let second = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert!(!conflict(&[first, second, first]));
        let named = b"X-Content-Length: 2\r\nTransfer-Encoding: chunked\r\nA: Content-Length: 2";
        assert!(!conflict(&[b"POST / HTTP/1.1\r\n", named]));
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        let mut heads = Heads::default();
        let two = b"GET / HTTP/1.1\r\nhost: x\r\n\r\nPOST / HTTP/1.1\nContent-Length: 2\n\n{}";
        let (first, ended) = heads.came_to_end(two);
        assert!(ended && !heads.has_body() && two[first..].starts_with(b"POST"));
        let (second, ended) = heads.came_to_end(&two[first..]);
        assert!(ended && heads.has_body() && &two[first + second..] == b"{}");
        assert_eq!(heads.came_to_end(b"GET / HT"), (8, false));
    }

    #[test]
    fn a_body_cannot_hide_what_its_head_said() {
        let head = b"POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(conflict(&[head, b"{\"label\": \" HTTP/1.1\"}\n"]));
    }
}
