//! `handover completions`.

use clap::{Args, ValueEnum};

use super::terminal::Terminal;
use super::{Exit, Failure, command};

/// Print a completion script for a shell
///
/// Bash: handover completions bash > /etc/bash_completion.d/handover. Zsh: into a file _handover in a directory
/// of $fpath. Fish: into ~/.config/fish/completions/handover.fish.
#[derive(Debug, PartialEq, Args)]
pub(super) struct Completions {
    /// For which shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command(), "handover", &mut script);
        terminal.say_raw(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Done)
    }
}
