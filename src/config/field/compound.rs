//! Lists and tables.
//!
//! In a variable or a flag a list is a TOML array when it begins with `[`, else words separated by
//! spaces; `'…'` keeps everything, `"…"` all but `\"` and `\\`, a backslash keeps the next
//! character. A table begins with `{`, else it is words of the form `NAME=VALUE`.

use std::collections::BTreeMap;

use super::super::kind::Kind;
use super::super::raw::{Item, Raw, Wrong, inline, quote, quote_key, quote_list, shown};
use super::super::types::InheritEnv;
use super::{Field, mismatch, text};

impl Field for Vec<String> {
    fn read(item: &Item, kind: &Kind) -> Result<Vec<String>, Wrong> {
        match &item.raw {
            Raw::List(items) => strings(items),
            Raw::Word(word) if word.trim_start().starts_with('[') => {
                Vec::read(&inline(word.trim())?, kind).map_err(without_place)
            }
            Raw::Word(word) => {
                if word.contains('\0') {
                    return Err(Wrong::new("holds a NUL byte, which no system call takes"));
                }
                split_words(word)
            }
            Raw::Text(given) => {
                let words = split_words(given).unwrap_or_else(|_| vec![given.clone()]);
                Err(Wrong::new("must be a list of strings, not one string")
                    .bare(quote_list(&words)))
            }
            _ => Err(mismatch(item, kind)),
        }
    }

    fn write(&self, _: &Kind) -> Option<String> {
        Some(quote_list(self))
    }
}

fn strings(items: &[Item]) -> Result<Vec<String>, Wrong> {
    let one = |item: &Item| match &item.raw {
        Raw::Word(_) | Raw::Text(_) => text(item, &Kind::Text)
            .map(str::to_owned)
            .map_err(|wrong| wrong.at(&item.at)),
        Raw::Integer { value: Some(n), .. } => Err(Wrong::new(format!(
            "must be a list of strings; {n} needs quotes: \"{n}\""
        ))
        .at(&item.at)),
        _ => Err(Wrong::new(format!(
            "must be a list of strings; {} is none",
            item.what()
        ))
        .hint("put every element in quotes")
        .at(&item.at)),
    };
    items.iter().map(one).collect()
}

/// Positions inside a variable's value are not positions in a file.
fn without_place(wrong: Wrong) -> Wrong {
    Wrong { at: None, ..wrong }
}

/// Splits like a shell would, without expanding anything.
pub(crate) fn split_words(text: &str) -> Result<Vec<String>, Wrong> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => {
                    return Err(
                        Wrong::new("ends in a lone backslash").hint("write \\\\ for a backslash")
                    );
                }
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// The words as one text that [`split_words`] takes apart again.
pub(crate) fn join_words(words: &[String]) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"_-./:@%+=,{}".contains(&b);
    let word = |word: &String| match !word.is_empty() && word.bytes().all(safe) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Wrong> {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next() {
                Some(next @ ('"' | '\\')) => word.push(next),
                Some(next) => word.extend(['\\', next]),
                None => break,
            },
            c => word.push(c),
        }
    }
    Err(Wrong::new(format!("has a {quote} that is never closed"))
        .hint(format!("add the closing {quote}")))
}

impl Field for BTreeMap<String, String> {
    fn read(item: &Item, kind: &Kind) -> Result<BTreeMap<String, String>, Wrong> {
        match &item.raw {
            Raw::Table(entries) => {
                let pairs = entries.iter().map(|(name, value)| {
                    variable_name(&name.text).map_err(|wrong| wrong.at(&name.at))?;
                    Ok((name.text.clone(), variable_value(&name.text, value)?))
                });
                table(pairs)
            }
            Raw::Word(word) if word.trim_start().starts_with('{') => {
                BTreeMap::read(&inline(word.trim())?, kind).map_err(without_place)
            }
            Raw::Word(word) => table(split_words(word)?.iter().map(|pair| assignment(pair))),
            Raw::List(items) => table(strings(items)?.iter().map(|pair| assignment(pair))),
            _ => Err(Wrong::new("must be a table of strings").bare(kind.example())),
        }
    }

    fn write(&self, _: &Kind) -> Option<String> {
        if self.is_empty() {
            return Some("{}".into());
        }
        let pairs: Vec<_> = self
            .iter()
            .map(|(k, v)| format!("{} = {}", quote_key(k), quote(v)))
            .collect();
        Some(format!("{{ {} }}", pairs.join(", ")))
    }
}

/// The last of a name counts.
fn table(
    pairs: impl Iterator<Item = Result<(String, String), Wrong>>,
) -> Result<BTreeMap<String, String>, Wrong> {
    let mut table = BTreeMap::new();
    let mut wrong = Vec::new();
    for pair in pairs {
        match pair {
            Ok((name, value)) => drop(table.insert(name, value)),
            Err(one) => wrong.push(one),
        }
    }
    let chained = wrong.into_iter().rev().reduce(|next, one| Wrong {
        next: Some(Box::new(next)),
        ..one
    });
    chained.map_or(Ok(table), Err)
}

/// Splits `NAME=VALUE`. Faults never show the value: it may be a secret.
fn assignment(pair: &str) -> Result<(String, String), Wrong> {
    let Some((name, value)) = pair.split_once('=') else {
        return Err(Wrong::new("must be NAME=VALUE words; one has no '='")
            .hint("write NAME=VALUE, with quotes around spaces"));
    };
    variable_name(name)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// True for what every shell takes as a variable's name.
pub(crate) fn is_variable_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// True for variables that say who a worker is and what it is given: handover alone sets them.
/// Exact names beside its own prefix, for `LISTEN_ADDR` may well be the application's.
pub fn is_reserved_variable(name: &str) -> bool {
    const SYSTEMD: [&str; 7] = [
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
    ];
    name.starts_with("HANDOVER_") || SYSTEMD.contains(&name)
}

fn variable_name(name: &str) -> Result<(), Wrong> {
    if !is_variable_name(name) {
        return Err(
            Wrong::new(format!("has {}, which is no variable's name", shown(name))).hint(
                "a variable's name has letters, digits and '_', and does not begin with a digit",
            ),
        );
    }
    if is_reserved_variable(name) {
        return Err(Wrong::new(format!(
            "has {name}, which handover sets itself for each worker"
        ))
        .hint(format!("remove {name}")));
    }
    Ok(())
}

fn variable_value(name: &str, value: &Item) -> Result<String, Wrong> {
    match &value.raw {
        Raw::Text(_) | Raw::Word(_) => text(value, &Kind::Text)
            .map(str::to_owned)
            .map_err(|wrong| wrong.at(&value.at)),
        _ => Err(
            Wrong::new(format!("must be a table of strings; {name} is none"))
                .hint(format!("put the value of {name} in quotes"))
                .at(&value.at),
        ),
    }
}

impl Field for InheritEnv {
    fn read(item: &Item, kind: &Kind) -> Result<InheritEnv, Wrong> {
        match &item.raw {
            Raw::Switch(true) => return Ok(InheritEnv::All),
            Raw::Switch(false) => return Ok(InheritEnv::Nothing),
            Raw::Word(word) if word == "true" => return Ok(InheritEnv::All),
            Raw::Word(word) if word == "false" => return Ok(InheritEnv::Nothing),
            Raw::Text(word) if word == "true" || word == "false" => {
                return Err(Wrong::new(format!("must be {word} without quotes")).bare(word.clone()));
            }
            Raw::Word(_) | Raw::List(_) => {}
            Raw::Text(word) => {
                return Err(mismatch(item, kind).bare(quote_list(std::slice::from_ref(word))));
            }
            _ => return Err(mismatch(item, kind)),
        }
        let names = Vec::<String>::read(item, kind)?;
        // `LC_*` is a pattern, as in the list that `false` stands for.
        let bad = names
            .iter()
            .find(|name| !is_variable_name(name.strip_suffix('*').unwrap_or(name)));
        match bad {
            Some(name) => Err(Wrong::new(format!(
                "has {}, which is no variable's name",
                shown(name)
            ))
            .hint("write names, such as [\"PATH\", \"LC_*\"]")),
            None => Ok(InheritEnv::Only(names)),
        }
    }

    fn write(&self, _: &Kind) -> Option<String> {
        Some(match self {
            InheritEnv::All => "true".into(),
            InheritEnv::Nothing => "false".into(),
            InheritEnv::Only(names) => quote_list(names),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would() {
        let split = |text: &str| split_words(text).expect(text);
        assert_eq!(split("./a  b"), ["./a", "b"]);
        assert_eq!(split(r#"a 'b c' "d e" f\ g"#), ["a", "b c", "d e", "f g"]);
        assert_eq!(split(r#"a"b"'c'"#), ["abc"]);
        assert_eq!(split(r#""\"\\\n""#), [r#""\\n"#]);
        assert_eq!(split("''"), [""]);
        assert!(split("  ").is_empty());
        for open in ["'a", "\"a", "a\\", "\"a\\"] {
            assert!(split_words(open).is_err(), "{open}");
        }
    }
}
