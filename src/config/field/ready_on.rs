//! `ready.on`: `auto`, `notify`, `accepting`, or a kind of sign with its detail after a colon.

use std::time::Duration;

use super::super::kind::Kind;
use super::super::raw::{Item, Wrong, quote, shown};
use super::super::suggest;
use super::super::types::{ReadyOn, Stream};
use super::super::units;
use super::{Field, probe, text};

const PLAIN: [&str; 3] = ["auto", "notify", "accepting"];
const DETAILED: [(&str, &str); 6] = [
    ("http", "http:/healthz"),
    ("exec", "exec:./check"),
    ("output", "output:listening on"),
    ("stdout", "stdout:listening on"),
    ("stderr", "stderr:listening on"),
    ("uptime", "uptime:5s"),
];

impl Field for ReadyOn {
    fn read(item: &Item, kind: &Kind) -> Result<ReadyOn, Wrong> {
        let given = text(item, kind)?;
        match given {
            "auto" => return Ok(ReadyOn::Auto),
            "notify" => return Ok(ReadyOn::Notify),
            "accepting" => return Ok(ReadyOn::Accepting),
            _ => {}
        }
        let Some((word, detail)) = given.split_once(':') else {
            return Err(unknown(given, kind));
        };
        if let Some(probe) = probe::parse(given) {
            return probe.map(ReadyOn::Probe);
        }
        match word {
            "output" => output(word, detail, Stream::Both),
            "stdout" => output(word, detail, Stream::Stdout),
            "stderr" => output(word, detail, Stream::Stderr),
            "uptime" => uptime(detail),
            _ => Err(unknown(given, kind)),
        }
    }

    fn write(&self, _: &Kind) -> Option<String> {
        Some(quote(&match self {
            ReadyOn::Auto => "auto".to_owned(),
            ReadyOn::Notify => "notify".to_owned(),
            ReadyOn::Accepting => "accepting".to_owned(),
            ReadyOn::Output {
                stream: Stream::Both,
                regex,
            } => format!("output:{regex}"),
            ReadyOn::Output {
                stream: Stream::Stdout,
                regex,
            } => format!("stdout:{regex}"),
            ReadyOn::Output {
                stream: Stream::Stderr,
                regex,
            } => format!("stderr:{regex}"),
            ReadyOn::Uptime(duration) => format!("uptime:{}", units::write_duration(*duration)),
            ReadyOn::Probe(probe) => probe.to_string(),
        }))
    }
}

fn unknown(given: &str, kind: &Kind) -> Wrong {
    let wrong = Wrong::new(format!("must be {}, not {}", kind.expects(), shown(given)));
    if given.starts_with('/') || ["http", "https", "exec", "command"].contains(&given) {
        return probe::meant(given, wrong);
    }
    if units::duration(given).is_ok() {
        return wrong.text(format!("uptime:{given}"));
    }
    let (word, detail) = given.split_once(':').unwrap_or((given, ""));
    match word.to_lowercase().as_str() {
        "listening" | "accept" | "listen" | "tcp" | "socket" => return wrong.text("accepting"),
        "sd_notify" | "sd-notify" | "systemd" => return wrong.text("notify"),
        "log" | "regex" | "match" => return wrong.text(format!("output:{detail}")),
        _ => {}
    }
    if let Some(word) = suggest::nearest(word, PLAIN) {
        return wrong.text(word);
    }
    let near = suggest::nearest(word, DETAILED.iter().map(|(word, _)| *word));
    let example = DETAILED.iter().find(|(word, _)| Some(*word) == near);
    match example {
        Some((word, _)) if !detail.is_empty() => wrong.text(format!("{word}:{detail}")),
        Some((_, example)) => wrong.text(*example),
        None => wrong.text("auto"),
    }
}

fn output(word: &str, regex: &str, stream: Stream) -> Result<ReadyOn, Wrong> {
    if regex.is_empty() {
        return Err(
            Wrong::new(format!("has no regular expression after {word}:"))
                .text(format!("{word}:listening on")),
        );
    }
    match regex_lite::Regex::new(regex) {
        Ok(_) => Ok(ReadyOn::Output { stream, regex: regex.to_owned() }),
        Err(error) => Err(Wrong::new(format!("has a regular expression that cannot be read: {error}"))
            .text(format!("{word}:{}", regex_lite::escape(regex)))
            .hint("a backslash takes the meaning of the next character away; in a file, single quotes keep backslashes")),
    }
}

fn uptime(detail: &str) -> Result<ReadyOn, Wrong> {
    match units::duration(detail) {
        Ok(duration) if duration > Duration::ZERO => Ok(ReadyOn::Uptime(duration)),
        Ok(_) => Err(Wrong::new("must have an uptime above 0").text("uptime:5s")),
        Err(error) => {
            let fix = error.fix.unwrap_or_else(|| "5s".into());
            Err(Wrong::new(format!("has an uptime that {}", error.message))
                .text(format!("uptime:{fix}")))
        }
    }
}
