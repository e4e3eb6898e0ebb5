//! The last lines that a worker printed: a bounded ring over both streams.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest line; a longer one continues as the next, each piece but the last marked [`Line::cut`].
pub(super) const LINE_MAX: usize = 8 * 1024;
/// How much of a worker's output is kept unless told otherwise.
const KEPT_MAX: usize = 64 * 1024;
/// What a line costs beside its text.
const LINE_COST: usize = size_of::<Line>();

/// Which of a worker's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl Stream {
    /// `stdout` or `stderr`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line, cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number within the worker, from 1; never given twice.
    pub seq: u64,
    /// When its last byte was read, milliseconds since 1970.
    pub at_ms: u64,
    /// Where it was printed.
    pub stream: Stream,
    /// Without its line end; what is not UTF-8 is replaced by U+FFFD.
    pub text: Arc<str>,
    /// It was longer than 8 KiB and goes on in the next line of this stream.
    pub cut: bool,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.cut {
            f.write_str(" […]")
        } else {
            Ok(())
        }
    }
}

/// Splits what a worker prints into lines and keeps the last of them. Memory is taken as it is used.
#[derive(Debug)]
pub struct Tail {
    lines: VecDeque<Line>,
    open: [Vec<u8>; 2],
    cost: usize,
    cost_max: usize,
    numbers: Arc<AtomicU64>,
    bytes: u64,
    dropped: u64,
}

impl Default for Tail {
    fn default() -> Self {
        Self::with_capacity(KEPT_MAX)
    }
}

impl Tail {
    /// Keeps at most `cost_max` bytes of lines, a few words for each among them (the newest line stays in any case).
    pub fn with_capacity(cost_max: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            open: [Vec::new(), Vec::new()],
            cost: 0,
            cost_max,
            numbers: Arc::default(),
            bytes: 0,
            dropped: 0,
        }
    }

    /// Numbers its lines by this counter, which other tails may share: then the numbers order the
    /// lines of all of them.
    pub fn numbered(numbers: Arc<AtomicU64>) -> Self {
        Self {
            numbers,
            ..Self::default()
        }
    }

    /// Takes what was read from `stream` at `at_ms` (milliseconds since 1970); gives the lines that it completed.
    pub fn push(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        at_ms: u64,
    ) -> impl Iterator<Item = Line> + use<> {
        self.bytes += bytes.len() as u64;
        let mut done = Vec::new();
        let mut open = std::mem::take(&mut self.open[stream as usize]);
        let mut pieces = bytes.split(|b| *b == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.extend(&mut open, piece, stream, at_ms, &mut done);
            if pieces.peek().is_some() {
                done.push(self.complete(stream, &open, false, at_ms));
                open.clear();
            }
        }
        if open.is_empty() {
            // An idle worker holds no buffer.
            open = Vec::new();
        }
        self.open[stream as usize] = open;
        done.into_iter()
    }

    /// Completes what both streams left without a line end: the worker is gone.
    pub fn finish(&mut self, at_ms: u64) -> impl Iterator<Item = Line> + use<> {
        let mut done = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let open = std::mem::take(&mut self.open[stream as usize]);
            if !open.is_empty() {
                done.push(self.complete(stream, &open, false, at_ms));
            }
        }
        done.into_iter()
    }

    /// The last `n` lines, oldest first.
    pub fn last(&self, n: usize) -> impl Iterator<Item = &Line> {
        self.lines.iter().skip(self.lines.len().saturating_sub(n))
    }

    /// The lines that are kept with a number above `seq`, oldest first.
    pub fn since(&self, seq: u64) -> impl Iterator<Item = &Line> {
        let from = self.lines.partition_point(|line| line.seq <= seq);
        self.lines.iter().skip(from)
    }

    /// How many lines were dropped to make room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many bytes were taken in all.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds to an open line, and completes pieces of it while it is too long.
    fn extend(
        &mut self,
        open: &mut Vec<u8>,
        mut piece: &[u8],
        stream: Stream,
        at_ms: u64,
        done: &mut Vec<Line>,
    ) {
        while open.len() + piece.len() > LINE_MAX {
            let (now, later) = piece
                .split_at_checked(LINE_MAX - open.len())
                .unwrap_or((piece, &[]));
            open.extend_from_slice(now);
            let whole = character_boundary(open);
            let carry = open.split_off(whole);
            done.push(self.complete(stream, open, true, at_ms));
            *open = carry;
            piece = later;
        }
        open.extend_from_slice(piece);
    }

    fn complete(&mut self, stream: Stream, bytes: &[u8], cut: bool, at_ms: u64) -> Line {
        let bytes = if cut {
            bytes
        } else {
            bytes.strip_suffix(b"\r").unwrap_or(bytes)
        };
        let line = Line {
            seq: self.numbers.fetch_add(1, Ordering::Relaxed) + 1,
            at_ms,
            stream,
            text: String::from_utf8_lossy(bytes).into(),
            cut,
        };
        self.cost += LINE_COST + line.text.len();
        self.lines.push_back(line.clone());
        while self.cost > self.cost_max && self.lines.len() > 1 {
            if let Some(old) = self.lines.pop_front() {
                self.cost -= LINE_COST + old.text.len();
                self.dropped += 1;
            }
        }
        line
    }
}

/// How much of `bytes` does not end within a UTF-8 character: at most three bytes less than all.
fn character_boundary(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        // The text ends early and not wrongly: the rest of the character is still to come.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts<'a>(lines: impl Iterator<Item = &'a Line>) -> Vec<String> {
        lines.map(ToString::to_string).collect()
    }

    #[test]
    fn lines_of_both_streams_are_kept_in_order_with_stream_and_time() {
        let mut tail = Tail::default();
        assert_eq!(tail.push(Stream::Stdout, b"hel", 1).count(), 0);
        assert_eq!(tail.push(Stream::Stderr, b"oops\r\n", 2).count(), 1);
        assert_eq!(tail.push(Stream::Stdout, b"lo\n\nwor", 3).count(), 2);
        assert_eq!(tail.finish(4).count(), 1);
        let seen: Vec<_> = tail
            .since(0)
            .map(|l| (l.seq, l.at_ms, l.stream.name(), &*l.text))
            .collect();
        assert_eq!(
            seen,
            [
                (1, 2, "stderr", "oops"),
                (2, 3, "stdout", "hello"),
                (3, 3, "stdout", ""),
                (4, 4, "stdout", "wor")
            ]
        );
        assert_eq!(texts(tail.last(2)), ["", "wor"]);
        assert_eq!(texts(tail.since(3)), ["wor"]);
        assert_eq!(tail.finish(5).count(), 0);
    }

    #[test]
    fn a_long_line_is_cut_into_marked_pieces_and_nothing_is_lost() {
        let mut tail = Tail::default();
        let long = "é".repeat(LINE_MAX);
        let mut lines: Vec<_> = tail.push(Stream::Stdout, b"x", 0).collect();
        lines.extend(tail.push(Stream::Stdout, long.as_bytes(), 0));
        lines.extend(tail.push(Stream::Stdout, b"\n", 0));
        assert_eq!(
            lines.iter().map(|l| l.cut).collect::<Vec<_>>(),
            [true, true, false]
        );
        assert!(lines[0].to_string().ends_with("é […]"));
        let joined: String = lines.iter().map(|l| &*l.text).collect();
        assert_eq!(joined, format!("x{long}"));
    }

    #[test]
    fn the_oldest_are_dropped_and_counted() {
        let mut tail = Tail::with_capacity(10 * (LINE_COST + 4));
        for n in 0..100 {
            assert_eq!(
                tail.push(Stream::Stdout, format!("{n:04}\n").as_bytes(), n)
                    .count(),
                1
            );
        }
        assert_eq!(tail.dropped(), 90);
        assert_eq!(tail.bytes(), 500);
        assert_eq!(
            texts(tail.last(1000)).first().map(String::as_str),
            Some("0090")
        );
        assert_eq!(tail.since(95).count(), 5);
        assert_eq!(tail.since(10).count(), 10);
    }

    #[test]
    fn an_idle_worker_costs_nothing_and_other_encodings_are_shown_somehow() {
        let mut tail = Tail::default();
        assert_eq!((tail.lines.capacity(), tail.open[0].capacity()), (0, 0));
        let _ = tail.push(Stream::Stdout, b"caf\xe9\n", 0);
        assert_eq!(texts(tail.last(1)), ["caf\u{fffd}"]);
        assert_eq!(tail.open[0].capacity(), 0);
    }

    proptest! {
        /// However the bytes are cut into reads, the lines are the same, and within the bounds.
        #[test]
        fn reads_do_not_matter(
            parts in prop::collection::vec(prop_oneof!["[a-z\n\r]{0,40}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..30),
                (0_usize..20_000).prop_map(|n| vec![b'x'; n])], 0..12),
            cuts in prop::collection::vec(1_usize..9000, 0..40),
            cost_max in 0_usize..40_000,
        ) {
            let all = parts.concat();
            let mut whole = Tail::with_capacity(cost_max);
            let mut expected: Vec<Line> = whole.push(Stream::Stderr, &all, 7).collect();
            expected.extend(whole.finish(7));
            let mut pieces = Tail::with_capacity(cost_max);
            let mut lines = Vec::new();
            let mut rest = &all[..];
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                lines.extend(pieces.push(Stream::Stderr, now, 7));
                rest = later;
            }
            lines.extend(pieces.push(Stream::Stderr, rest, 7));
            lines.extend(pieces.finish(7));
            prop_assert_eq!(&lines, &expected);
            prop_assert!(lines.iter().all(|l| l.text.len() <= 3 * LINE_MAX));
            prop_assert_eq!(pieces.dropped() + pieces.lines.len() as u64, lines.len() as u64);
            prop_assert!(pieces.cost <= cost_max || pieces.lines.len() == 1);
            prop_assert_eq!(pieces.cost, pieces.lines.iter().map(|l| LINE_COST + l.text.len()).sum::<usize>());
            prop_assert_eq!(pieces.bytes(), all.len() as u64);
            // Nothing but line ends is lost.
            let kept = lines.iter().filter(|l| !l.text.contains('\u{fffd}')).map(|l| l.text.len()).sum::<usize>();
            prop_assert!(kept <= all.len());
        }
    }
}
