//! What an errand prints: heard as it comes, the last of it kept, and no more taken than is of use.

use std::io;
use std::pin::pin;

use crate::process::child::Child;
use crate::process::output::Reader;

/// More than anybody reads of it: then nobody reads on, and its next write fails (EPIPE).
const OUTPUT_MAX: usize = 64 << 20;
/// Of which the last so many bytes are kept.
const KEPT: usize = 64 * 1024;
/// The most that is taken after its end, in bytes: what a pipe holds that it made as large as it may.
const REST_MAX: usize = 1 << 20;

/// Both streams in one.
pub(super) struct Output {
    pipe: Option<Reader>,
    kept: Vec<u8>,
    taken: usize,
}

impl Output {
    pub(super) fn new(pipe: Reader) -> Self {
        Self {
            pipe: Some(pipe),
            kept: Vec::new(),
            taken: 0,
        }
    }

    pub(super) async fn read_until_ended(
        &mut self,
        child: &Child,
        heard: &mut impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut ended = pin!(child.ended());
        loop {
            let bytes = async {
                match &self.pipe {
                    Some(pipe) => pipe.next().await,
                    // Its end is all that is left to wait for.
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                ended = &mut ended => return ended,
                bytes = bytes => {
                    match bytes {
                        Ok(bytes) => self.take(&bytes, heard),
                        // Broken: nothing more is to be had from it.
                        Err(_) => self.pipe = None,
                    }
                    // Who prints without end must not keep the loop from anything.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// What it left unread when it ended.
    pub(super) async fn read_rest(&mut self, heard: &mut impl FnMut(&[u8])) {
        let enough = self.taken.saturating_add(REST_MAX);
        let mut buffer = [0; 4 * 1024];
        while self.taken < enough
            && let Some(Ok(length @ 1..)) =
                self.pipe.as_ref().map(|pipe| pipe.try_read(&mut buffer))
        {
            self.take(buffer.get(..length).unwrap_or_default(), heard);
            tokio::task::yield_now().await;
        }
    }

    fn take(&mut self, bytes: &[u8], heard: &mut impl FnMut(&[u8])) {
        self.taken = self.taken.saturating_add(bytes.len());
        if bytes.is_empty() || self.taken >= OUTPUT_MAX {
            // Closed by all who had it, or too much of it.
            self.pipe = None;
        }
        if bytes.is_empty() {
            return;
        }
        heard(bytes);
        self.kept.extend_from_slice(bytes);
        if self.kept.len() >= 2 * KEPT {
            self.trim();
        }
    }

    /// Whole lines only, where there is an end of one.
    fn trim(&mut self) {
        let over = self.kept.len().saturating_sub(KEPT);
        if over == 0 {
            return;
        }
        let kept = self.kept.get(over..).unwrap_or_default();
        let cut = kept.iter().position(|byte| *byte == b'\n');
        self.kept.drain(..over + cut.map_or(0, |cut| cut + 1));
    }

    /// The last that it printed.
    pub(super) fn kept(mut self) -> Vec<u8> {
        self.trim();
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_its_last_whole_lines() {
        let mut output = Output {
            pipe: None,
            kept: Vec::new(),
            taken: 0,
        };
        let mut heard = 0;
        for number in 0..100_000 {
            let line = format!("line {number}\n");
            output.take(line.as_bytes(), &mut |bytes| heard += bytes.len());
            assert!(output.kept.len() < 2 * KEPT);
        }
        assert_eq!(heard, output.taken);
        let kept = String::from_utf8(output.kept()).unwrap();
        assert!(kept.len() <= KEPT && kept.ends_with("line 99999\n"));
        assert!(kept.starts_with("line "), "{}", &kept[..20]);
    }

    #[test]
    fn a_line_without_an_end_is_cut_in_front() {
        let mut output = Output {
            pipe: None,
            kept: Vec::new(),
            taken: 0,
        };
        output.take(&vec![b'x'; 3 * KEPT], &mut |_| ());
        assert_eq!(output.kept().len(), KEPT);
    }
}
