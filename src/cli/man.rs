//! `handover man`: manual pages from the arguments, with what arguments cannot say.

mod pages;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::exit::CODES;
use super::terminal::Terminal;
use super::{Exit, Failure, command};
use pages::{About, CHANGED, COMMON, ENVIRONMENT, FILES, SIGNALS, about};

/// Write the manual pages into a directory
///
/// One for handover and one for each verb: handover man /usr/local/share/man/man1.
#[derive(Debug, PartialEq, Args)]
pub(super) struct WriteMan {
    /// Where; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl WriteMan {
    pub(super) fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let failed = |path: &Path, error: &io::Error| {
            let message = format!("cannot write {}: {error}", path.display());
            Failure::new(Exit::Failed, message).hint("name a directory that you may write to")
        };
        fs::create_dir_all(&self.directory).map_err(|error| failed(&self.directory, &error))?;
        let pages = pages();
        let count = pages.len();
        for (name, page) in pages {
            let path = self.directory.join(format!("{name}.1"));
            fs::write(&path, page).map_err(|error| failed(&path, &error))?;
        }
        terminal.say(&format!("{count} pages in {}", self.directory.display()))?;
        Ok(Exit::Done)
    }
}

/// Every page with its name.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut whole = command();
    whole.build();
    let verbs = whole.get_subcommands();
    let verbs = verbs.filter(|verb| !verb.is_hide_set() && verb.get_name() != "help");
    let verbs: Vec<Command> = verbs.cloned().collect();
    let all = std::iter::once(whole.clone()).chain(verbs);
    all.map(|command| {
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name());
        (name.to_owned(), page(&command))
    })
    .collect()
}

fn page(command: &Command) -> Vec<u8> {
    let man = Man::new(command.clone())
        .date(CHANGED)
        .manual("handover")
        .source(format!("handover {}", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = write_page(command, &man, &mut page);
    page
}

fn write_page(command: &Command, man: &Man, page: &mut Vec<u8>) -> io::Result<()> {
    let root = command.has_subcommands();
    let about = about(if root { "" } else { command.get_name() });
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    description(command, about).to_writer(page)?;
    man.render_options_section(page)?;
    if root {
        man.render_subcommands_section(page)?;
    }
    let mut more = Roff::new();
    examples(&mut more, about);
    if root || command.get_name() == "run" {
        terms(&mut more, "SIGNALS", SIGNALS.iter().copied());
    }
    let codes = CODES.iter().filter(|(exit, _)| about.ends_with(*exit));
    let codes: Vec<(String, &str)> = codes
        .map(|(exit, meaning)| ((*exit as u8).to_string(), *meaning))
        .collect();
    let codes = codes
        .iter()
        .map(|(code, meaning)| (code.as_str(), *meaning));
    terms(&mut more, "EXIT STATUS", codes);
    terms(&mut more, "ENVIRONMENT", ENVIRONMENT.iter().copied());
    terms(&mut more, "FILES", FILES.iter().copied());
    see_also(&mut more, root);
    more.to_writer(page)
}

fn description(command: &Command, about: &About) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    let own = command.get_long_about().or_else(|| command.get_about());
    let own = own.map(|text| format!("{text}.").replace("..", "."));
    let common = (!about.local).then_some(COMMON);
    let told = about.paragraphs.iter().copied();
    let paragraphs = own.as_deref().into_iter().chain(told).chain(common);
    for (number, paragraph) in paragraphs.enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph.replace('\n', " "))]);
    }
    roff
}

fn examples(roff: &mut Roff, about: &About) {
    if about.examples.is_empty() {
        return;
    }
    roff.control("SH", ["EXAMPLES"]);
    for (command, what) in about.examples {
        roff.control("TP", []);
        roff.text([bold(*command)]);
        roff.text([roman(*what)]);
    }
}

fn terms<'a>(roff: &mut Roff, title: &str, terms: impl Iterator<Item = (&'a str, &'a str)>) {
    roff.control("SH", [title]);
    for (term, meaning) in terms {
        roff.control("TP", []);
        roff.text([bold(term)]);
        roff.text([roman(meaning)]);
    }
}

fn see_also(roff: &mut Roff, root: bool) {
    roff.control("SH", ["SEE ALSO"]);
    let mut names = vec!["systemd.socket", "sd_notify"];
    if !root {
        names.insert(0, "handover");
    }
    let mut words: Vec<Inline> = Vec::new();
    for name in names {
        let section = match name {
            "handover" => "(1)",
            "sd_notify" => "(3)",
            _ => "(5)",
        };
        let comma = if words.is_empty() { "" } else { ", " };
        words.extend([roman(comma), bold(name), roman(section)]);
    }
    roff.text(words);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn every_verb_has_a_page_that_says_more_than_its_arguments() {
        let pages = pages();
        assert!(pages.iter().any(|(name, _)| name == "handover"));
        let mut whole = command();
        whole.build();
        for verb in whole.get_subcommands().filter(|v| v.get_name() != "help") {
            let name = format!("handover-{}", verb.get_name());
            let page = pages.iter().find(|(page, _)| *page == name);
            let (_, page) = page.unwrap_or_else(|| panic!("no page {name}"));
            let text = String::from_utf8_lossy(page);
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"] {
                assert!(text.contains(section), "{name} has no {section}");
            }
            let about = about(verb.get_name());
            assert!(
                !about.paragraphs.is_empty(),
                "{name}: say more in cli/man/pages.rs"
            );
        }
    }

    #[test]
    fn the_codes_of_the_pages_are_those_of_the_help() {
        let help = command().render_long_help().to_string();
        for (exit, meaning) in CODES {
            let line = format!("  {:<4} {}", *exit as u8, meaning.trim_end_matches('.'));
            assert!(help.contains(&line), "{line:?} is not in {help}");
        }
        assert_eq!(CODES.len(), 8, "{:?} is the last", Exit::Interrupted);
    }
}
