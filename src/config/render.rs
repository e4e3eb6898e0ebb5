//! Faults as text for people.
//!
//! ```text
//! web.toml:7:11: drain.timeout needs a unit: ms, s, m or h
//!   7 | timeout = 30
//!     |           ^^
//!   hint: write timeout = "30s"
//!
//! 1 fault in web.toml
//! ```

use std::fmt::{self, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::fault::{Fault, Faults, Place};

impl Faults {
    /// The whole message; ends in a newline.
    pub fn render(&self, color: bool) -> String {
        let mut text = String::new();
        for fault in &self.0 {
            text.push_str(&fault.render(color));
            text.push('\n');
        }
        text.push_str(&paint(&self.count(), bold(), color));
        text.push('\n');
        text
    }

    /// Each behind a word of its own, so that it is seen where one begins, and how many there are.
    pub fn errors(&self) -> String {
        let mut text = String::new();
        for fault in &self.0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "error: {fault}\n");
        }
        text + &self.count()
    }

    /// "3 faults in web.toml", or each layer with its share.
    pub fn count(&self) -> String {
        let mut layers: Vec<(String, usize)> = Vec::new();
        for fault in &self.0 {
            let layer = layer(&fault.place);
            match layers.iter_mut().find(|(name, _)| *name == layer) {
                Some((_, count)) => *count += 1,
                None => layers.push((layer, 1)),
            }
        }
        let total = self.0.len();
        let faults = if total == 1 { "fault" } else { "faults" };
        match layers.as_slice() {
            [] => "no faults".into(),
            [(layer, _)] => format!("{total} {faults} {layer}"),
            several => {
                let shares: Vec<_> = several
                    .iter()
                    .map(|(layer, count)| format!("{count} {layer}"))
                    .collect();
                format!("{total} {faults}: {}", shares.join(", "))
            }
        }
    }
}

impl Fault {
    /// The fault with its line and its hint; ends in a newline.
    pub fn render(&self, color: bool) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text, color);
        text
    }

    /// What is said of a file as a whole, where the message begins with the name that stands before it already.
    fn of_the_file(&self) -> Option<&str> {
        let Place::File(path) = &self.place else {
            return None;
        };
        let name = path.file_name().unwrap_or(path.as_os_str());
        self.message.strip_prefix(name.to_str()?)?.strip_prefix(' ')
    }

    fn write(&self, out: &mut String, color: bool) -> fmt::Result {
        let place = plain(&self.place.to_string());
        match self.of_the_file() {
            Some(what) => writeln!(out, "{} {}", paint(&place, bold(), color), plain(what))?,
            None => writeln!(
                out,
                "{} {}",
                paint(&format!("{place}:"), bold(), color),
                plain(&self.message)
            )?,
        }
        if let (Some(snippet), Some((line, _))) = (&self.snippet, self.position()) {
            let gutter = " ".repeat(line.to_string().len());
            let caret = format!(
                "{}{}",
                " ".repeat(snippet.start),
                paint(&"^".repeat(snippet.width), red(), color)
            );
            writeln!(
                out,
                "{}",
                paint(&format!("  {line} | "), dim(), color) + &snippet.text
            )?;
            writeln!(
                out,
                "{}{caret}",
                paint(&format!("  {gutter} | "), dim(), color)
            )?;
        }
        if let Some(hint) = &self.hint {
            writeln!(out, "  {} {}", paint("hint:", green(), color), plain(hint))?;
        }
        Ok(())
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

fn layer(place: &Place) -> String {
    let file = |file: &Path| format!("in {}", plain(&file.to_string_lossy()));
    match place {
        Place::At { file: path, .. } | Place::File(path) => file(path),
        Place::Variable { .. } => "in the environment".into(),
        Place::Flag { .. } => "on the command line".into(),
        Place::Nowhere => "on the command line".into(),
    }
}

/// Foreign text must not move the cursor or colour the terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn paint(text: &str, style: Style, color: bool) -> String {
    if color {
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

fn bold() -> Style {
    Style::new().bold()
}

fn dim() -> Style {
    Style::new().dimmed()
}

fn red() -> Style {
    AnsiColor::Red.on_default().bold()
}

fn green() -> Style {
    AnsiColor::Green.on_default().bold()
}
