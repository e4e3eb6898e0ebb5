//! Strings with rules: names, accounts, paths, signals, addresses.

use std::path::PathBuf;

use super::super::address::{Address, AddressError};
use super::super::kind::Kind;
use super::super::raw::{Item, Raw, Wrong, quote, shown};
use super::super::signal::Signal;
use super::super::suggest;
use super::{Field, text};

/// Names become parts of paths and of LISTEN_FDNAMES, which is joined with ':'.
pub(crate) const NAME_BYTES_MAX: usize = 64;

impl Field for String {
    fn read(item: &Item, kind: &Kind) -> Result<String, Wrong> {
        if let (Kind::Account, Raw::Integer { value: Some(n), .. }) = (kind, &item.raw)
            && *n >= 0
        {
            let wrong = format!("must be {}, not {}", kind.expects(), item.what());
            return Err(Wrong::new(wrong).text(n.to_string()));
        }
        let given = text(item, kind)?;
        match kind {
            Kind::Name => check_name(given)?,
            Kind::Account => account(given)?,
            _ => {}
        }
        Ok(given.to_owned())
    }

    fn write(&self, _: &Kind) -> Option<String> {
        Some(quote(self))
    }
}

impl Field for PathBuf {
    fn read(item: &Item, kind: &Kind) -> Result<PathBuf, Wrong> {
        let given = text(item, kind)?;
        if given.is_empty() {
            return Err(Wrong::new("is empty").hint("write a path, or remove the key"));
        }
        if given.starts_with("~/") || given == "~" {
            return Err(Wrong::new("begins with '~', which only a shell knows")
                .hint("write the whole path"));
        }
        if given.len() > PATH_BYTES_MAX {
            return Err(Wrong::new(format!(
                "has {} bytes; the kernel takes at most {PATH_BYTES_MAX}",
                given.len()
            ))
            .hint("write a shorter path"));
        }
        Ok(PathBuf::from(given))
    }

    fn write(&self, _: &Kind) -> Option<String> {
        Some(quote(&self.to_string_lossy()))
    }
}

/// PATH_MAX less its final NUL (path_resolution(7)).
const PATH_BYTES_MAX: usize = 4095;

impl Field for Signal {
    fn read(item: &Item, kind: &Kind) -> Result<Signal, Wrong> {
        let given = text(item, kind)?;
        if let Ok(signal) = given.parse() {
            return Ok(signal);
        }
        let upper = given.to_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        if bare == "KILL" || bare == "STOP" || bare == "9" {
            return Err(Wrong::new(format!(
                "cannot be {bare}: a worker could not finish its work"
            ))
            .text("TERM")
            .hint("a worker that does not go is killed at drain.timeout anyway"));
        }
        let names = || Signal::ALL.into_iter().map(Signal::name);
        let meant = bare
            .parse()
            .ok()
            .and_then(|n: i32| Signal::ALL.into_iter().find(|s| s.number() == n))
            .map(Signal::name)
            .or_else(|| suggest::nearest(bare, names()));
        let all: Vec<_> = names().collect();
        let wrong = Wrong::new(format!("must be a signal's name, not {}", shown(given)));
        Err(wrong
            .text(meant.unwrap_or("TERM"))
            .hint(format!("signals: {}", all.join(", "))))
    }

    fn write(&self, _: &Kind) -> Option<String> {
        Some(quote(self.name()))
    }
}

impl Field for Address {
    fn read(item: &Item, kind: &Kind) -> Result<Address, Wrong> {
        if let super::super::raw::Raw::Integer { value: Some(n), .. } = &item.raw {
            let error = n.to_string().parse::<Address>().err();
            return Err(error.map_or_else(|| super::mismatch(item, kind), Wrong::from));
        }
        Ok(text(item, kind)?.parse::<Address>()?)
    }

    fn write(&self, _: &Kind) -> Option<String> {
        Some(quote(&self.to_string()))
    }
}

impl From<AddressError> for Wrong {
    fn from(error: AddressError) -> Wrong {
        let wrong = Wrong {
            hint: error.hint,
            ..Wrong::new(error.message)
        };
        match error.fix {
            Some(fix) => wrong.text(fix),
            None => wrong,
        }
    }
}

/// A service's or a listener's name.
pub(crate) fn check_name(given: &str) -> Result<(), Wrong> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if given.is_empty() {
        return Err(Wrong::new("is empty").text("web"));
    }
    if given.len() > NAME_BYTES_MAX {
        return Err(Wrong::new(format!(
            "has {} bytes; at most {NAME_BYTES_MAX} fit",
            given.len()
        ))
        .hint("choose a shorter name"));
    }
    if !given.bytes().all(good) || given.starts_with(['.', '-']) {
        return Err(Wrong::new(format!(
            "is {}; a name has letters, digits, '-', '_' and '.', and begins with a letter or digit",
            shown(given)
        ))
        .text(clean_name(given).unwrap_or_else(|| "web".into())));
    }
    Ok(())
}

/// The nearest valid name, if anything of it is left.
pub(crate) fn clean_name(given: &str) -> Option<String> {
    let clean: String = given
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .take(NAME_BYTES_MAX)
        .collect();
    let clean = clean.trim_start_matches(['.', '-']).trim_end_matches('-');
    (!clean.is_empty()).then(|| clean.to_owned())
}

fn account(given: &str) -> Result<(), Wrong> {
    if given.is_empty() {
        return Err(Wrong::new("is empty").hint("write a name or a number, or remove the key"));
    }
    if given.len() > 256
        || given
            .chars()
            .any(|c| c == ':' || c == '/' || c.is_control() || c.is_whitespace())
    {
        return Err(
            Wrong::new(format!("is no user's or group's name: {}", shown(given)))
                .hint("write one name or number; a group has a key of its own"),
        );
    }
    Ok(())
}
