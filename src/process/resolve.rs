//! Why a release cannot be resolved, for people.

use std::fmt;
use std::path::PathBuf;

use super::owner::OwnerError;

/// Why there is nothing that could be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No command at all.
    #[error("the command is empty: give the program and its arguments, as in `-- ./server --flag`")]
    EmptyCommand,
    /// A NUL byte cannot be passed to a program (execve(2)).
    #[error("{0} contains a NUL byte, which no program can be given")]
    Nul(String),
    /// `NAME` or `NAME=` is no variable.
    #[error("{0:?} cannot be the name of an environment variable")]
    VariableName(String),
    /// The program is nowhere in PATH.
    #[error("there is no program {program:?}: looked in {searched}; give its path, or correct PATH", searched = Searched(.searched))]
    NotFound {
        /// As given.
        program: String,
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// The path names nothing.
    #[error("{path}: there is no such file{hint}", path = .path.display(), hint = .hint)]
    Missing {
        /// What was looked for, made absolute.
        path: PathBuf,
        /// What to do, with a leading separator; may be empty.
        hint: String,
    },
    /// A directory.
    #[error("{}: this is a directory, not a program", .0.display())]
    IsDirectory(PathBuf),
    /// A socket, a FIFO, a device.
    #[error("{}: this is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// No execute bit.
    #[error("{path}: this file is not executable; chmod +x {path}, or start it with its interpreter", path = .0.display())]
    NotExecutable(PathBuf),
    /// The file system is mounted `noexec`.
    #[error("{}: the file system that it is on is mounted noexec; install it elsewhere, or remount", .0.display())]
    NoExecMount(PathBuf),
    /// For another processor.
    #[error("{path}: built for {found}, and this machine is {here}", path = .path.display(), here = std::env::consts::ARCH)]
    Architecture {
        /// The program.
        path: PathBuf,
        /// What its header says.
        found: String,
    },
    /// The `#!` line names what is not there.
    #[error("{script}: its #! line wants {interpreter:?}, which {why}", script = .script.display())]
    Interpreter {
        /// The script.
        script: PathBuf,
        /// As its first line has it.
        interpreter: String,
        /// Reads after "which".
        why: String,
    },
    /// The working directory.
    #[error("the working directory {path}: {why}", path = .path.display())]
    Directory {
        /// As configured.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The user or group.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// Anything else that the kernel said.
    #[error("{doing} {path}: {why}", path = .path.display())]
    Io {
        /// Reads before the path.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        why: String,
    },
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
            write!(f, "{}", directory.display())?;
        }
        Ok(())
    }
}
