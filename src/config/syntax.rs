//! From text to entries, with every syntax fault and as much of the rest as can be had.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::key::Key;
use super::keys::keys;
use super::kind::Kind;
use super::raw::{Item, Name, Wrong, entries, quote};
use super::source::Source;

/// The parser stops at some faults; so often their lines are blanked and the rest is read again.
const RETRIES_MAX: usize = 20;

/// What could be read.
pub(crate) struct Parsed {
    pub(crate) entries: Vec<(Name, Item)>,
    pub(crate) faults: Vec<(Range<usize>, Wrong)>,
    /// Lines (from 0) with a syntax fault: what was recovered there is not to be trusted.
    pub(crate) lines: BTreeSet<usize>,
}

pub(crate) fn parse(source: &Source<'_>) -> Parsed {
    let mut text = source.text.to_owned();
    let mut faults = Vec::new();
    // In a file that parses, such lines stand inside a string.
    if !parses(&text) {
        faults.extend(conflict_markers(source));
        faults.extend(single_listen(source));
    }
    for (at, _) in &faults {
        blank(&mut text, at.clone());
    }
    let mut tree = Vec::new();
    for _ in 0..=RETRIES_MAX {
        let (table, errors) = DeTable::parse_recoverable(&text);
        tree = entries(table.get_ref());
        let mut errors: Vec<_> = errors
            .into_iter()
            .map(|error| (error.span().unwrap_or_default(), error.message().to_owned()))
            .collect();
        errors.sort_by_key(|(at, _)| at.start);
        let Some(stop) = stop(source, table.get_ref(), &errors) else {
            faults.extend(errors.into_iter().map(|(at, message)| {
                let wrong = explain(source, &at, &message);
                (at, wrong)
            }));
            break;
        };
        // What the parser says from here on is an echo; what it said before comes again.
        faults.push((stop.at, stop.wrong));
        blank(&mut text, stop.blank);
    }
    faults.sort_by_key(|(at, _)| at.start);
    // The first fault of a line is the cause, the others are its echo.
    let mut lines = BTreeSet::new();
    faults.retain(|(at, _)| lines.insert(source.line_of(at.start)));
    Parsed {
        entries: tree,
        faults,
        lines,
    }
}

/// True when there is no syntax fault, and no `[listen]` where `[[listen]]` was meant.
fn parses(text: &str) -> bool {
    DeTable::parse(text).is_ok_and(|table| {
        !table
            .get_ref()
            .iter()
            .any(|(key, value)| key.get_ref() == "listen" && value.get_ref().is_table())
    })
}

/// A fault behind which the parser reads nothing, or nonsense.
struct Stop {
    at: Range<usize>,
    wrong: Wrong,
    /// What must go so that the parser reads on.
    blank: Range<usize>,
}

fn stop(
    source: &Source<'_>,
    table: &DeTable<'_>,
    errors: &[(Range<usize>, String)],
) -> Option<Stop> {
    errors.iter().find_map(|(at, message)| {
        let line = source.line_of(at.start);
        if message.starts_with("key with no value") {
            let whole = source.line_range(line);
            let text = &source.text[whole.clone()];
            let start = whole.start + text.len() - text.trim_start().len();
            let wrong = explain(source, &(start..whole.end), message);
            return Some(Stop {
                at: start..whole.end,
                wrong,
                blank: whole,
            });
        }
        if message.starts_with("unclosed table") || message.starts_with("unclosed array table") {
            let wrong = explain(source, at, message);
            return Some(Stop {
                at: at.clone(),
                wrong,
                blank: section_range(source, line),
            });
        }
        if message.starts_with("unclosed array,") || message.starts_with("unclosed inline table") {
            return opening(table, at.start).map(|open| never_closed(source, open));
        }
        None
    })
}

/// `command = ["a",` and then the rest of the file: the value ends where the next key begins.
fn never_closed(source: &Source<'_>, open: Range<usize>) -> Stop {
    let bracket = source.text.get(open.start..open.start + 1).unwrap_or("[");
    let close = if bracket == "{" { "}" } else { "]" };
    let line = source.line_of(open.start);
    let (at, wrong) = open_quote(source, line).unwrap_or_else(|| {
        let wrong = Wrong::new(format!("this {bracket} is never closed"))
            .hint(format!("add {close} after the last element"));
        (open.start..open.start + 1, wrong)
    });
    let next = (line + 1..source.lines()).find(|line| {
        let text = source.text[source.line_range(*line)].trim_start();
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let after = text.trim_start_matches(word);
        let is_key = after.len() < text.len() && after.trim_start().starts_with('=');
        is_key
            || text
                .trim_start_matches('[')
                .starts_with(|c: char| c.is_ascii_alphabetic())
                && text.starts_with('[')
    });
    let last = next.unwrap_or(source.lines()) - 1;
    Stop {
        at,
        wrong,
        blank: source.line_range(line).start..source.line_range(last).end,
    }
}

/// `"./server]`: the last quote of this line that opens a string and has no partner.
fn open_quote(source: &Source<'_>, line: usize) -> Option<(Range<usize>, Wrong)> {
    let range = source.line_range(line);
    let text = source.text.get(range.clone())?;
    // These go over several lines.
    if ["\"\"\"", "'''"].iter().any(|long| text.contains(long)) {
        return None;
    }
    let mut open: Option<(usize, char)> = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match open {
            Some((_, '"')) if escaped => escaped = false,
            Some((_, '"')) if c == '\\' => escaped = true,
            Some((_, quote)) if c == quote => open = None,
            Some(_) => {}
            None if c == '#' => break,
            None if matches!(c, '"' | '\'') => open = Some((at, c)),
            None => {}
        }
    }
    let (at, quote) = open?;
    let hint = match source.is_secret(range.start + at) {
        true => format!("add the closing {quote}"),
        false => {
            let word = text[at..].trim_end_matches([' ', ',', ']', '}']);
            format!("add the closing {quote}: {word}{quote}")
        }
    };
    let at = range.start + at;
    Some((
        at..at + 1,
        Wrong::new(format!("this {quote} is never closed")).hint(hint),
    ))
}

/// Replaces bytes by spaces, so that every other byte keeps its place.
fn blank(text: &mut String, at: Range<usize>) {
    let spaces: String = text[at.clone()]
        .bytes()
        .map(|b| if b == b'\n' { '\n' } else { ' ' })
        .collect();
    text.replace_range(at, &spaces);
}

/// The outermost array or inline table that reaches to where the parser gave up.
fn opening(table: &DeTable<'_>, end: usize) -> Option<Range<usize>> {
    table.iter().find_map(|(_, value)| {
        let at = value.span();
        match value.get_ref() {
            DeValue::Table(inner) if at.end < end => opening(inner, end),
            DeValue::Array(items) if at.end < end => items
                .iter()
                .find_map(|item| item.get_ref().as_table().and_then(|t| opening(t, end))),
            DeValue::Array(_) | DeValue::Table(_) if at.end >= end => Some(at),
            _ => None,
        }
    })
}

/// `[listen]` where `[[listen]]` was meant: the parser would call all others duplicates.
fn single_listen(source: &Source<'_>) -> Vec<(Range<usize>, Wrong)> {
    (0..source.lines())
        .filter(|line| {
            let text = &source.text[source.line_range(*line)];
            let header = text.split('#').next().unwrap_or_default();
            header.replace([' ', '\t'], "") == "[listen]"
        })
        .map(|line| {
            let wrong = Wrong::new("listen is a list of sections: one pair of brackets is missing");
            (section_range(source, line), wrong.hint("write [[listen]]"))
        })
        .collect()
}

/// A header's line and all up to the next header.
fn section_range(source: &Source<'_>, line: usize) -> Range<usize> {
    let is_header = |line: &usize| {
        source.text[source.line_range(*line)]
            .trim_start()
            .starts_with('[')
    };
    let next = (line + 1..source.lines())
        .find(is_header)
        .unwrap_or(source.lines());
    source.line_range(line).start..source.line_range(next - 1).end
}

fn conflict_markers(source: &Source<'_>) -> Vec<(Range<usize>, Wrong)> {
    (0..source.lines())
        .map(|line| source.line_range(line))
        .filter(|at| {
            let text = &source.text[at.clone()];
            ["<<<<<<< ", ">>>>>>> "].iter().any(|m| text.starts_with(m)) || text == "======="
        })
        .map(|at| {
            (
                at,
                Wrong::new("a merge conflict was left here")
                    .hint("keep one of the two sides, remove the markers"),
            )
        })
        .collect()
}

/// The parser's words, in ours.
fn explain(source: &Source<'_>, at: &Range<usize>, message: &str) -> Wrong {
    let here = source.text.get(at.clone()).unwrap_or_default();
    let line = source.line_range(source.line_of(at.start));
    let line = source.text.get(line).unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default().trim();
    let (first, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let is_empty = line
        .split_once('=')
        .is_some_and(|(_, value)| value.trim().is_empty());
    if key == "env" && is_empty {
        return Wrong::new("this key has no value").hint("write env = { NAME = \"VALUE\" }");
    }
    if source.is_secret(at.start) || source.is_secret(at.end.saturating_sub(1)) {
        return Wrong::new(format!("this is not TOML: {first}"))
            .hint("write NAME = \"VALUE\", in quotes");
    }
    if let Some((_, wrong)) = open_quote(source, source.line_of(at.start)) {
        return wrong;
    }
    let hint = match first {
        "unexpected leading zero" => without_zeros(key, line),
        "extra `=`" => with_one_sign(key, line),
        "invalid boolean" if matches!(here.to_lowercase().as_str(), "true" | "false") => {
            format!("write {}", here.to_lowercase())
        }
        "string values must be quoted" if here.is_empty() => {
            return Wrong::new("this key has no value").hint(format!("write {key} = VALUE"));
        }
        "string values must be quoted" | "invalid boolean" => {
            let name = if line.contains('=') && !key.is_empty() {
                format!("{key} = ")
            } else {
                String::new()
            };
            return Wrong::new("this value needs quotes")
                .hint(format!("write {name}{}", quote(here)));
        }
        "duplicate key" => {
            return Wrong::new(format!("{here} stands here a second time"))
                .hint("remove one of the two");
        }
        "key with no value" if is_of_another(line) => return another(),
        "key with no value" => with_a_sign(line),
        "unclosed table" => format!("write {}]", line.trim_end()),
        "unclosed array table" => format!("write [[{}]]", line.trim().trim_matches(['[', ']'])),
        "missing escaped value" => {
            "write \\\\ for a backslash, or put the string in single quotes".into()
        }
        _ if first.starts_with("missing comma") => "separate elements with ','".into(),
        "unexpected key or value" => {
            "write one key on each line, and nothing after its value".into()
        }
        _ if first.starts_with("invalid unquoted key") => {
            "a key has letters, digits, '-' and '_'".into()
        }
        _ if matches!(expected, "" | "nothing") => format!(
            "write {} = VALUE, with strings in quotes",
            if key.is_empty() { "KEY" } else { key }
        ),
        _ => format!("here must come {}", expected.replace(", ", " or ")),
    };
    Wrong::new(format!("this is not TOML: {first}")).hint(hint)
}

/// `timeout: 30s`, `timeout 30s`, `timeout`
fn with_a_sign(line: &str) -> String {
    let line = line.trim();
    match line.split_once(':').or_else(|| line.split_once(' ')) {
        Some((key, value)) => format!("write {} = {}", key.trim(), quoted_value(value)),
        None => format!("write {line} = VALUE, or remove the line"),
    }
}

/// `workers = = 2`, `workers == 2`
fn with_one_sign(key: &str, line: &str) -> String {
    let value = line.split_once('=').map_or("", |(_, rest)| rest);
    let value = value.trim_start_matches(['=', ' ', '\t']).trim_end();
    let value = if value.is_empty() { "VALUE" } else { value };
    format!("write {key} = {value}")
}

/// `mode = 0660`: octal is written in quotes, and other numbers do without the zeros.
fn without_zeros(key: &str, line: &str) -> String {
    let value = line.split_once('=').map_or("", |(_, value)| value);
    let value = value.split('#').next().unwrap_or_default().trim();
    let is_mode = |of: &&Key| of.name() == key && matches!(of.kind, Kind::Mode { .. });
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.trim_start_matches('0') {
        _ if keys().any(|of| is_mode(&of)) || !is_number => {
            format!("write {key} = {}", quote(value))
        }
        "" => format!("write {key} = 0"),
        number => format!("write {key} = {number}"),
    }
}

/// `worker_processes auto;`, `http {`: nginx and its like.
fn is_of_another(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default().trim_end();
    !line.contains('=') && line.ends_with([';', '{'])
}

fn another() -> Wrong {
    Wrong::new("this is not TOML: it looks like the config of another program").hint(
        "write handover a config of its own: [app] with command = [\"./server\"], and [[listen]] with address = \":8080\"",
    )
}

fn quoted_value(value: &str) -> String {
    let value = value.trim();
    let literal = value.starts_with(['"', '\'', '[', '{']) || value.parse::<f64>().is_ok();
    if literal || value == "true" || value == "false" {
        value.into()
    } else {
        quote(value)
    }
}
