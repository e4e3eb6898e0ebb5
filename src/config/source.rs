//! The text of a file: positions, lines to show, and what in it is secret.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::fault::{Place, Snippet};

/// A longer line is cut around the place that matters.
const SNIPPET_CHARS_MAX: usize = 120;

/// A file's text.
#[derive(Debug)]
pub(crate) struct Source<'t> {
    pub(crate) path: PathBuf,
    pub(crate) text: &'t str,
    line_starts: Vec<usize>,
    secrets: Vec<Range<usize>>,
}

impl<'t> Source<'t> {
    pub(crate) fn new(path: &Path, text: &'t str) -> Source<'t> {
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        let mut source = Source {
            path: path.to_owned(),
            text,
            line_starts,
            secrets: Vec::new(),
        };
        source.secrets = source.secrets_by_look();
        source
    }

    /// Hides these bytes whenever their line is shown.
    pub(crate) fn hide(&mut self, secret: Range<usize>) {
        self.secrets.push(secret);
    }

    /// Line, from 0.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.line_starts
            .partition_point(|start| *start <= offset)
            .saturating_sub(1)
    }

    pub(crate) fn place(&self, at: &Range<usize>) -> Place {
        let (line, before) = self.locate(at.start);
        Place::At {
            file: self.path.clone(),
            line: line + 1,
            column: before.chars().count() + 1,
        }
    }

    /// The line of the start, with the place underlined as far as it reaches on that line.
    pub(crate) fn snippet(&self, at: &Range<usize>) -> Snippet {
        let (line, before) = self.locate(at.start);
        let range = self.line_range(line);
        let start = before.chars().count();
        let end = floor(
            self.text,
            at.end.clamp(range.start + before.len(), range.end),
        );
        let width = self.text[range.start + before.len()..end]
            .chars()
            .count()
            .max(1);
        let masked: Vec<char> = self.text[range.clone()]
            .char_indices()
            .map(|(i, c)| match c {
                _ if self.is_secret(range.start + i) && !c.is_whitespace() => '*',
                '\t' => ' ',
                c if c.is_control() => '\u{fffd}',
                c => c,
            })
            .collect();
        shorten(&masked, start, width)
    }

    /// The bytes of a line, without its end.
    pub(crate) fn line_range(&self, line: usize) -> Range<usize> {
        let start = self
            .line_starts
            .get(line)
            .copied()
            .unwrap_or(self.text.len());
        let end = self
            .line_starts
            .get(line + 1)
            .map_or(self.text.len(), |next| next - 1);
        let text = self.text.get(start..end).unwrap_or_default();
        start..start + text.strip_suffix('\r').unwrap_or(text).len()
    }

    pub(crate) fn lines(&self) -> usize {
        self.line_starts.len()
    }

    fn locate(&self, offset: usize) -> (usize, &'t str) {
        let offset = floor(self.text, offset);
        let line = self.line_of(offset);
        let range = self.line_range(line);
        (line, &self.text[range.start..offset.min(range.end)])
    }

    /// True for a byte of a value that may not be shown.
    pub(crate) fn is_secret(&self, offset: usize) -> bool {
        self.secrets.iter().any(|secret| secret.contains(&offset))
    }

    /// Values of `app.env` as far as lines show it: a file that does not parse must not leak them.
    fn secrets_by_look(&self) -> Vec<Range<usize>> {
        let mut secrets = Vec::new();
        let mut section = "";
        let mut inside_env = false;
        for line in 0..self.lines() {
            let range = self.line_range(line);
            let text = self.text.get(range.clone()).unwrap_or_default();
            let trimmed = text.trim_start();
            let header = trimmed
                .strip_prefix('[')
                .filter(|rest| !rest.starts_with(['"', '\'']));
            if let Some(header) = header {
                section = header.split([']', '#']).next().unwrap_or_default().trim();
                inside_env = section.replace(' ', "").starts_with("app.env");
                continue;
            }
            let key = trimmed
                .split(['=', ':'])
                .next()
                .unwrap_or_default()
                .replace([' ', '"', '\''], "");
            let names_env = |key: &str| key == "env" || key.starts_with("env.");
            let env_key = (section == "app" && names_env(&key))
                || key.strip_prefix("app.").is_some_and(names_env);
            if env_key || inside_env {
                // From the first '=' on; a line without one may be the middle of a value.
                let from = text.find(['=', ':']).map_or(0, |at| at + 1);
                secrets.push(range.start + from..range.end);
                let opens = text.contains('{') && !text.contains('}')
                    || text.contains("\"\"\"")
                    || text.contains("'''");
                inside_env = inside_env && !trimmed.starts_with('}') || env_key && opens;
                inside_env |= section.replace(' ', "").starts_with("app.env");
            }
        }
        secrets
    }
}

fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

fn shorten(line: &[char], start: usize, width: usize) -> Snippet {
    if line.len() <= SNIPPET_CHARS_MAX {
        return Snippet {
            text: line.iter().collect(),
            start,
            width,
        };
    }
    let from = start.saturating_sub(SNIPPET_CHARS_MAX / 3);
    let to = (from + SNIPPET_CHARS_MAX).min(line.len());
    let lead = if from > 0 { "…" } else { "" };
    let tail = if to < line.len() { "…" } else { "" };
    let middle: String = line.get(from..to).unwrap_or_default().iter().collect();
    Snippet {
        text: format!("{lead}{middle}{tail}"),
        start: start - from + lead.chars().count(),
        width: width.min(to.saturating_sub(start)).max(1),
    }
}
