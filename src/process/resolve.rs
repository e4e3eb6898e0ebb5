//! Why a release cannot be resolved, for people: what is wrong, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use super::owner::OwnerError;

/// Why there is nothing that could be started: everything that was found, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved(pub Vec<ResolveError>);

/// One reason why there is nothing that could be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveError {
    /// No command at all.
    EmptyCommand,
    /// A NUL byte cannot be passed to a program (execve(2)): where.
    Nul(String),
    /// `NAME` or `NAME=` is no variable.
    VariableName(String),
    /// The program is nowhere in PATH.
    NotFound {
        /// As given.
        program: String,
        /// Where it was looked for.
        searched: Vec<PathBuf>,
        /// A file of that name is in the working directory.
        is_here: bool,
    },
    /// Several words that were given as one, or a variable: as given.
    NoProgram(String),
    /// The path names nothing.
    Missing {
        /// What was looked for, made absolute.
        path: PathBuf,
        /// Why, where that can be known.
        why: Option<String>,
    },
    /// A directory.
    IsDirectory(PathBuf),
    /// A socket, a FIFO, a device.
    NotAFile(PathBuf),
    /// No execute bit.
    NotExecutable(PathBuf),
    /// The file system is mounted `noexec`.
    NoExecMount(PathBuf),
    /// For another processor.
    Architecture {
        /// The program.
        path: PathBuf,
        /// What its header says.
        found: String,
    },
    /// The `#!` line names what is not there.
    Interpreter {
        /// The script.
        script: PathBuf,
        /// As its first line has it.
        interpreter: String,
        /// Reads after "which".
        why: String,
    },
    /// The working directory.
    Directory {
        /// As configured.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The user or group.
    Owner(OwnerError),
    /// Anything else that the kernel said.
    Io {
        /// Reads before the path.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        why: String,
    },
}

impl ResolveError {
    /// The key of the config that it is about.
    pub fn key(&self) -> &'static str {
        match self {
            Self::VariableName(_) => "app.env",
            Self::Nul(place) if place.contains("variable") => "app.env",
            Self::Directory { .. } => "app.directory",
            Self::Owner(error) => error.key(),
            _ => "app.command",
        }
    }

    /// It is about the program itself, not about where, as whom and with what it would run.
    pub fn is_of_program(&self) -> bool {
        self.key() == "app.command"
    }

    /// What is wrong.
    pub fn what(&self) -> String {
        match self {
            Self::EmptyCommand => "the command is empty".to_owned(),
            Self::Nul(place) => {
                format!("{place} contains a NUL byte, which no program can be given")
            }
            Self::VariableName(name) => {
                format!("{name:?} cannot be the name of an environment variable")
            }
            Self::NotFound {
                program, searched, ..
            } => format!(
                "there is no program {program:?}: looked in {}",
                Searched(searched)
            ),
            Self::NoProgram(words) => format!("there is no program {words:?}"),
            Self::Missing { path, why } => {
                let why = why
                    .as_ref()
                    .map_or_else(String::new, |why| format!("; {why}"));
                format!("{}: there is no such file{why}", shown(path))
            }
            Self::IsDirectory(path) => {
                format!("{}: this is a directory, not a program", shown(path))
            }
            Self::NotAFile(path) => format!("{}: this is not a regular file", shown(path)),
            Self::NotExecutable(path) => format!("{}: this file is not executable", shown(path)),
            Self::NoExecMount(path) => format!(
                "{}: the file system that it is on is mounted noexec",
                shown(path)
            ),
            Self::Architecture { path, found } => format!(
                "{}: built for {found}, and this machine is {}",
                shown(path),
                std::env::consts::ARCH
            ),
            Self::Interpreter {
                script,
                interpreter,
                why,
            } => format!(
                "{}: its #! line wants {interpreter:?}, which {why}",
                shown(script)
            ),
            Self::Directory { path, why } => {
                format!("the working directory {}: {why}", shown(path))
            }
            Self::Owner(error) => error.what(),
            Self::Io { doing, path, why } => format!("{doing} {}: {why}", shown(path)),
        }
    }

    /// What to do, where that can be known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::EmptyCommand => {
                "give the program and its arguments, as in `-- ./server --flag`".to_owned()
            }
            Self::NotFound {
                program,
                is_here: true,
                ..
            } => format!("it is in the working directory: write ./{program}"),
            Self::NoProgram(words) => meant_by(words),
            Self::NotFound { .. } => "give its path, or correct PATH".to_owned(),
            Self::Missing { .. } => "correct the path, or write the whole one".to_owned(),
            Self::IsDirectory(path) => {
                format!("name the program in it: {}/PROGRAM", shown(path))
            }
            Self::NotExecutable(path) => {
                format!("chmod +x {}, or start it with its interpreter", shown(path))
            }
            Self::NoExecMount(_) => "install it elsewhere, or remount".to_owned(),
            Self::Interpreter { why, .. } if why.starts_with("is ") => {
                "install the interpreter, or correct the first line".to_owned()
            }
            Self::Directory { why, .. } if why.starts_with("there is no") => {
                "create it, or correct `directory`".to_owned()
            }
            Self::Owner(error) => return error.hint(),
            _ => return None,
        })
    }
}

impl From<OwnerError> for ResolveError {
    fn from(error: OwnerError) -> Self {
        Self::Owner(error)
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_hint(f, &self.what(), self.hint())
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            let newline = if n > 0 { "\n" } else { "" };
            write!(f, "{newline}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ResolveError {}
impl std::error::Error for Unresolved {}

/// Whether this is certainly not meant to be the name of one program.
pub(super) fn is_no_program(word: &str) -> bool {
    word.split_whitespace().nth(1).is_some() || is_assignment(word)
}

fn is_assignment(word: &str) -> bool {
    let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    word.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(of_a_name))
}

/// `python3 server.py` as one word, `PORT=1` in front of a program.
fn meant_by(word: &str) -> String {
    let words: Vec<&str> = word.split_whitespace().collect();
    let [first, rest @ ..] = words.as_slice() else {
        return "give the path of a program".to_owned();
    };
    let plain = |char: char| char.is_ascii_alphanumeric() || "_-+=./:,@%".contains(char);
    // What a shell would take apart otherwise is not to be copied.
    let simple = word.chars().all(|char| plain(char) || char == ' ');
    match (is_assignment(first), rest) {
        (true, []) if simple => {
            format!("`env` sets a variable for a program: env {first} PROGRAM")
        }
        (true, []) => "`env` sets a variable for a program: env NAME=VALUE PROGRAM".to_owned(),
        (true, _) if simple => format!(
            "`env` sets a variable for a program; write the words separately: env {}",
            words.join(" ")
        ),
        (false, _) if simple => format!(
            "write the words separately: {}; in a config: command = {words:?}",
            words.join(" ")
        ),
        _ => "write the words separately, as in `-- ./server --flag`; in a config: command = [\"./server\", \"--flag\"]"
            .to_owned(),
    }
}

/// "what; what to do"
pub(super) fn with_hint(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    hint: Option<String>,
) -> fmt::Result {
    match hint {
        Some(hint) => write!(f, "{what}; {hint}"),
        None => f.write_str(what),
    }
}

/// A path without the `.` and `//` that joining leaves in it; `..` stays, it may cross a link.
fn shown(path: &Path) -> Display<'_> {
    Display(path)
}

struct Display<'a>(&'a Path);

impl fmt::Display for Display<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `components` leaves out every `.` but a first one.
        write!(f, "{}", self.0.components().collect::<PathBuf>().display())
    }
}

struct Searched<'a>(&'a [PathBuf]);

impl fmt::Display for Searched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no directory at all (PATH is empty)");
        }
        for (n, directory) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{}", shown(directory))?;
        }
        Ok(())
    }
}
