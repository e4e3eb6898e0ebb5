//! A probe: `http:PATH` or `exec:COMMAND`.

use super::super::kind::Kind;
use super::super::raw::{Item, Wrong, quote, shown};
use super::super::types::Probe;
use super::compound::split_words;
use super::{Field, text};

/// Longer ones are no health page's.
const PATH_BYTES_MAX: usize = 1024;

impl Field for Probe {
    fn read(item: &Item, kind: &Kind) -> Result<Probe, Wrong> {
        let given = text(item, kind)?;
        parse(given).unwrap_or_else(|| {
            Err(meant(
                given,
                Wrong::new(format!("must be {}, not {}", kind.expects(), shown(given))),
            ))
        })
    }

    fn write(&self, _: &Kind) -> Option<String> {
        Some(quote(&self.to_string()))
    }
}

/// The probe that a text beginning with `http:` or `exec:` means, or what is wrong with it; `None` for any other text.
pub(super) fn parse(given: &str) -> Option<Result<Probe, Wrong>> {
    match given.split_once(':')? {
        ("http", path) => Some(http(path)),
        ("exec", command) => Some(exec(command)),
        _ => None,
    }
}

/// Adds the probe that a text without either beginning was probably meant to be.
pub(super) fn meant(given: &str, wrong: Wrong) -> Wrong {
    match given {
        path if path.starts_with('/') && !path.contains(' ') => wrong.text(format!("http:{path}")),
        "exec" | "command" => wrong.text("exec:./check"),
        https if https.starts_with("https") => wrong
            .hint("a probe speaks plain HTTP; for anything else: exec:COMMAND, such as exec:curl"),
        _ => wrong.text("http:/healthz"),
    }
}

fn http(path: &str) -> Result<Probe, Wrong> {
    let wrong = |what: String| Wrong::new(format!("has a path that {what}"));
    if let Some(rest) = path.strip_prefix("//") {
        let path = rest.split_once('/').map_or("", |(_, path)| path);
        let wrong = Wrong::new(
            "is a URL; a worker is asked on a listener of its own, so only the path counts",
        );
        return Err(wrong.text(format!("http:/{path}")));
    }
    if path.is_empty() {
        return Err(Wrong::new("has no path after http:").text("http:/healthz"));
    }
    if !path.starts_with('/') {
        return Err(wrong("does not begin with '/'".to_owned()).text(format!("http:/{path}")));
    }
    if path.len() > PATH_BYTES_MAX {
        let hint = "write a shorter one";
        return Err(wrong(format!("is longer than {PATH_BYTES_MAX} bytes")).hint(hint));
    }
    // RFC 9112, section 3.2: a request target has no white space and no fragment.
    let unfit = path.chars().find(|c| !c.is_ascii_graphic() || *c == '#');
    match unfit {
        Some(unfit) => Err(wrong(format!("has {unfit:?} in it"))
            .hint("write it percent-encoded: a blank is %20, # is %23")),
        None => Ok(Probe::Http(path.to_owned())),
    }
}

fn exec(command: &str) -> Result<Probe, Wrong> {
    let words = split_words(command)?;
    match words.first().map(String::as_str) {
        None => Err(Wrong::new("has no command after exec:").text("exec:./check")),
        Some("") => Err(
            Wrong::new("has an empty string for a program, which names none")
                .hint("write the program first: exec:./check --quick"),
        ),
        Some(_) => Ok(Probe::Exec(words)),
    }
}
