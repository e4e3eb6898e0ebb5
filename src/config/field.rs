//! How each Rust type is read from a raw value and written back as TOML.

mod compound;
mod probe;
mod ready_on;
mod scalar;
mod strings;

use super::kind::Kind;
use super::raw::{Item, Raw, Wrong, shown};
use super::suggest;

pub use compound::is_reserved_variable;
pub(crate) use compound::{is_variable_name, join_words};
pub use scalar::WORKERS_MAX;
pub(crate) use strings::{check_name, clean_name};

/// A type that a key can hold.
pub(crate) trait Field: Sized {
    /// Reads a value within the kind's bounds.
    fn read(item: &Item, kind: &Kind) -> Result<Self, Wrong>;

    /// As TOML text; `None`: unset, nothing to write.
    fn write(&self, kind: &Kind) -> Option<String>;
}

/// An empty string unsets a key: so a higher layer can take back what a lower one said.
impl<T: Field> Field for Option<T> {
    fn read(item: &Item, kind: &Kind) -> Result<Option<T>, Wrong> {
        match &item.raw {
            Raw::Word(text) | Raw::Text(text) if text.is_empty() => Ok(None),
            _ => T::read(item, kind).map(Some),
        }
    }

    fn write(&self, kind: &Kind) -> Option<String> {
        self.as_ref().and_then(|value| value.write(kind))
    }
}

/// "must be a duration, not true", with an example.
pub(crate) fn mismatch(item: &Item, kind: &Kind) -> Wrong {
    Wrong::new(format!("must be {}, not {}", kind.expects(), item.what())).bare(kind.example())
}

/// The text of a value that must be a string.
pub(crate) fn text<'a>(item: &'a Item, kind: &Kind) -> Result<&'a str, Wrong> {
    let text = match &item.raw {
        Raw::Word(text) | Raw::Text(text) => text,
        _ => return Err(mismatch(item, kind)),
    };
    if text.contains('\0') {
        return Err(Wrong::new("holds a NUL byte, which no system call takes").hint("remove it"));
    }
    Ok(text)
}

/// One of the words, or the nearest one as the fix.
pub(crate) fn choose(item: &Item, words: &'static [&'static str]) -> Result<&'static str, Wrong> {
    let kind = Kind::Choice(words);
    let given = text(item, &kind)?;
    if let Some(word) = words.iter().find(|word| **word == given) {
        return Ok(word);
    }
    let wrong = Wrong::new(format!("must be {}, not {}", kind.expects(), shown(given)));
    if given.eq_ignore_ascii_case("canary") && words.contains(&"rolling") {
        return Err(wrong.hint("remove it, and write canary = 1 under [upgrade]"));
    }
    Err(match suggest::nearest(given, words.iter().copied()) {
        Some(word) => wrong.text(word),
        None => wrong.text(*words.first().unwrap_or(&"")),
    })
}
