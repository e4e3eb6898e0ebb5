//! A value as it came from a layer, before anybody knows what it should be.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// A value and where it stands (bytes of the file; empty for variables and flags).
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) raw: Raw,
    pub(crate) at: Range<usize>,
}

/// What a layer can say.
#[derive(Clone, Debug)]
pub(crate) enum Raw {
    /// From a variable or a flag: may be meant as anything.
    Word(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer, as far as it fits.
    Integer { value: Option<i128>, radix: u32 },
    /// A TOML float.
    Float(f64),
    /// A TOML boolean.
    Switch(bool),
    /// A TOML date or time; no key takes one.
    Date,
    /// A TOML array, or a flag given several times.
    List(Vec<Item>),
    /// A TOML table, in the order of the file.
    Table(Vec<(Name, Item)>),
}

/// A key of a table and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) at: Range<usize>,
}

/// What is wrong with a value: a predicate that follows the key's name, and a way out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) fix: Option<Fix>,
    pub(crate) hint: Option<String>,
    /// A narrower place than the whole value.
    pub(crate) at: Option<Range<usize>>,
    /// What else is wrong with the same value.
    pub(crate) next: Option<Box<Wrong>>,
}

/// The value to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fix {
    /// In quotes where the layer has quotes.
    Text(String),
    /// As it is, in every layer.
    Bare(String),
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>) -> Wrong {
        Wrong {
            message: message.into(),
            ..Wrong::default()
        }
    }

    pub(crate) fn text(self, fix: impl Into<String>) -> Wrong {
        Wrong {
            fix: Some(Fix::Text(fix.into())),
            ..self
        }
    }

    pub(crate) fn bare(self, fix: impl Into<String>) -> Wrong {
        Wrong {
            fix: Some(Fix::Bare(fix.into())),
            ..self
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Wrong {
        Wrong {
            hint: Some(hint.into()),
            ..self
        }
    }

    pub(crate) fn at(self, at: &Range<usize>) -> Wrong {
        Wrong {
            at: Some(at.clone()),
            ..self
        }
    }
}

impl Item {
    /// A value of a variable or a flag.
    pub(crate) fn word(text: impl Into<String>) -> Item {
        Item {
            raw: Raw::Word(text.into()),
            at: 0..0,
        }
    }

    pub(crate) fn from_toml(value: &DeValue<'_>, at: Range<usize>) -> Item {
        let raw = match value {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Integer(n) => Raw::Integer {
                value: i128::from_str_radix(n.as_str(), n.radix()).ok(),
                radix: n.radix(),
            },
            DeValue::Float(n) => Raw::Float(n.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(on) => Raw::Switch(*on),
            DeValue::Datetime(_) => Raw::Date,
            DeValue::Array(items) => Raw::List(
                items
                    .iter()
                    .map(|i| Item::from_toml(i.get_ref(), i.span()))
                    .collect(),
            ),
            DeValue::Table(table) => Raw::Table(entries(table)),
        };
        Item { raw, at }
    }

    /// What it is, with its article: "a string".
    pub(crate) fn what(&self) -> String {
        match &self.raw {
            Raw::Word(text) | Raw::Text(text) => shown(text),
            Raw::Integer { value: Some(n), .. } => format!("the number {n}"),
            Raw::Integer { value: None, .. } => "a number that is too large".into(),
            Raw::Float(n) => format!("the number {n}"),
            Raw::Switch(on) => format!("{on}"),
            Raw::Date => "a date".into(),
            Raw::List(_) => "a list".into(),
            Raw::Table(_) => "a table".into(),
        }
    }
}

/// The entries of a table in the order of the file.
pub(crate) fn entries(table: &DeTable<'_>) -> Vec<(Name, Item)> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| {
            let name = Name {
                text: key.get_ref().to_string(),
                at: key.span(),
            };
            (name, Item::from_toml(value.get_ref(), value.span()))
        })
        .collect();
    entries.sort_unstable_by_key(|(name, _)| name.at.start);
    entries
}

/// Parses a TOML value that stands in a variable or a flag (`["a", "b"]`, `{ A = "b" }`).
pub(crate) fn inline(text: &str) -> Result<Item, Wrong> {
    let (value, errors) = DeValue::parse_recoverable(text);
    match errors.first() {
        None => Ok(Item::from_toml(value.get_ref(), value.span())),
        Some(error) => Err(Wrong::new(format!(
            "is not valid TOML: {}",
            error.message()
        ))),
    }
}

/// A TOML basic string.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\u{:04X}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A TOML array of strings.
pub(crate) fn quote_list<'a>(items: impl IntoIterator<Item = &'a String>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| quote(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A TOML key, in quotes where it needs them.
pub(crate) fn quote_key(text: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !text.is_empty() && text.bytes().all(bare) {
        text.into()
    } else {
        quote(text)
    }
}

const SHOWN_CHARS_MAX: usize = 60;

/// A foreign text in a message: in quotes, escaped, bounded.
pub(crate) fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(SHOWN_CHARS_MAX).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!(
        "\"{}{more}\"",
        start.escape_debug().to_string().replace("\\'", "'")
    )
}
