//! The syntax of systemd's `EnvironmentFile=` (systemd.exec(5); src/basic/env-file.c).
//!
//! * Empty lines, lines that begin with `#` or `;`, and lines without `=` say nothing.
//! * Space around name and value is dropped, inside an unquoted value it is kept.
//! * `'…'` keeps everything; in `"…"` a backslash escapes `"`, `\`, `` ` ``, `$` and a line's end;
//!   elsewhere it escapes any character, and joins lines. Nothing is expanded.
//! * Of a name that stands twice, the last value counts, at the place of the first.
//!
//! Where systemd ignores an invalid name or a quote that is never closed, we say so, and refuse the
//! names that handover sets for each worker.

use std::path::Path;

use super::fault::{Fault, Faults, Place};
use super::field::{is_reserved_variable, is_variable_name};
use super::raw::shown;
use super::read;

/// Reads and parses such a file.
///
/// # Errors
/// Every fault of the file: unreadable, larger than 1 MiB, not UTF-8, or as in [`parse_env_file`].
pub fn read_env_file(path: &Path) -> Result<Vec<(String, String)>, Faults> {
    let bytes = read::bytes(path)?;
    parse_env_file(path, read::text(path, &bytes)?)
}

/// Parses such a text; `path` is for messages only.
///
/// # Errors
/// Every invalid or reserved name, NUL byte and unclosed quote, with its line. Values are never shown.
pub fn parse_env_file(path: &Path, text: &str) -> Result<Vec<(String, String)>, Faults> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser {
        chars: text.chars().peekable(),
        line: 1,
        column: 1,
        path,
        pairs: Vec::new(),
        faults: Vec::new(),
    };
    while parser.assignment() {}
    if parser.faults.is_empty() {
        Ok(parser.pairs)
    } else {
        Err(Faults(parser.faults))
    }
}

struct Parser<'t> {
    chars: std::iter::Peekable<std::str::Chars<'t>>,
    line: usize,
    column: usize,
    path: &'t Path,
    pairs: Vec<(String, String)>,
    faults: Vec<Fault>,
}

/// A line ends at either; an empty line in between says nothing.
fn is_newline(c: char) -> bool {
    c == '\n' || c == '\r'
}

fn is_space(c: char) -> bool {
    c == ' ' || c == '\t' || is_newline(c)
}

impl Parser<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    /// Reads up to the end of an assignment, a comment or a line that is neither; false at the end.
    fn assignment(&mut self) -> bool {
        while self.chars.peek().copied().is_some_and(is_space) {
            self.next();
        }
        match self.chars.peek() {
            None => return false,
            Some('#' | ';') => {
                while self.next().is_some_and(|c| !is_newline(c)) {}
                return true;
            }
            Some(_) => {}
        }
        let (line, column) = (self.line, self.column);
        let mut name = String::new();
        loop {
            match self.next() {
                Some('=') => break,
                Some(c) if !is_newline(c) => name.push(c),
                _ => return true,
            }
        }
        let name = name.trim_end_matches(is_space).to_owned();
        let value = self.value();
        self.push(name, value, line, column);
        true
    }

    /// `None`: a quote is never closed, which is already a fault.
    fn value(&mut self) -> Option<String> {
        let mut value = String::new();
        loop {
            // In front of a value and after a closing quote.
            match self.next() {
                None => return Some(value),
                Some(c) if is_newline(c) => return Some(value),
                Some(c) if is_space(c) => {}
                Some(quote @ ('\'' | '"')) => {
                    let opened = (self.line, self.column - 1);
                    if !self.quoted(quote, &mut value) {
                        self.fault(
                            opened,
                            format!("a {quote} is never closed"),
                            format!("add the closing {quote}"),
                        );
                        return None;
                    }
                }
                Some(c) => {
                    self.unquoted(c, &mut value);
                    return Some(value);
                }
            }
        }
    }

    /// The rest of the line, joined with the next one by a backslash.
    fn unquoted(&mut self, first: char, value: &mut String) {
        // Trailing space goes, unless it was escaped.
        let mut keep = value.len();
        let mut next = Some(first);
        while let Some(c) = next {
            if is_newline(c) {
                break;
            }
            if c == '\\' {
                match self.next() {
                    Some(escaped) if !is_newline(escaped) => value.push(escaped),
                    _ => {}
                }
                keep = value.len();
            } else {
                value.push(c);
                if !is_space(c) {
                    keep = value.len();
                }
            }
            next = self.next();
        }
        value.truncate(keep);
    }

    fn quoted(&mut self, quote: char, value: &mut String) -> bool {
        while let Some(c) = self.next() {
            match c {
                c if c == quote => return true,
                '\\' if quote == '"' => match self.next() {
                    Some(c @ ('"' | '\\' | '`' | '$')) => value.push(c),
                    Some('\n') => {}
                    Some(c) => value.extend(['\\', c]),
                    None => return false,
                },
                c => value.push(c),
            }
        }
        false
    }

    fn push(&mut self, name: String, value: Option<String>, line: usize, column: usize) {
        if !is_variable_name(&name) {
            let hint = match name.strip_prefix("export ") {
                Some(bare) => format!("write {}=…: this is not a shell script", bare.trim()),
                None => {
                    "a variable's name has letters, digits and '_', and does not begin with a digit"
                        .into()
                }
            };
            return self.fault(
                (line, column),
                format!("{} is no variable's name", shown(&name)),
                hint,
            );
        }
        if is_reserved_variable(&name) {
            return self.fault(
                (line, column),
                format!("{name} is set by handover itself for each worker"),
                format!("remove {name}"),
            );
        }
        let Some(value) = value else { return };
        if value.contains('\0') {
            return self.fault(
                (line, column),
                format!("the value of {name} holds a NUL byte"),
                "remove it".into(),
            );
        }
        match self.pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.pairs.push((name, value)),
        }
    }

    fn fault(&mut self, (line, column): (usize, usize), message: String, hint: String) {
        let place = Place::At {
            file: self.path.to_owned(),
            line,
            column,
        };
        // The line is not shown: it may hold a secret.
        self.faults.push(Fault {
            place,
            key: None,
            message,
            hint: Some(hint),
            snippet: None,
        });
    }
}

#[cfg(test)]
mod tests;
