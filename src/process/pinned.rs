//! How much of a release is pinned: the rule, in one place.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// How much of a release stays what it was whatever happens to the paths on disk.
///
/// A *named file* is an argument (or what follows the first `=` in one, as in `--config=FILE`) that named an
/// existing regular file when the release was resolved. An *interpreter* is a program that is known to run
/// what its arguments say: `python3`, `node`, `java`, `sh`, `env`, …
///
/// | executable | named files | pinned |
/// |---|---|---|
/// | ELF, no interpreter | none | `Program` |
/// | ELF | all by a relative path that stays below the working directory | `Directory` |
/// | ELF, an interpreter | none (`python3 -m app`, `sh -c …`) | `Path` |
/// | ELF | any by an absolute path, or out of the directory | `Path` |
/// | `#!` script, or no ELF file | any | `Path` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pinned {
    /// The program itself, from its open descriptor.
    Program,
    /// The program, and through the open working directory the files that it is given: `current -> releases/42`
    /// stays 42; a file written to in place does not stay.
    Directory,
    /// Only paths: what is there at the time of a start is what runs.
    Path,
}

impl Pinned {
    /// `program`, `directory` or `path`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Directory => "directory",
            Self::Path => "path",
        }
    }

    /// Applies the table; `named` says for each named file whether it stays below the directory.
    pub(super) fn decide(
        is_elf: bool,
        program: &Path,
        mut named: impl ExactSizeIterator<Item = bool>,
    ) -> Self {
        let interpreter = is_interpreter(program);
        match (is_elf, named.len()) {
            (false, _) => Self::Path,
            (true, 0) if interpreter => Self::Path,
            (true, 0) => Self::Program,
            (true, _) if named.all(|below| below) => Self::Directory,
            (true, _) => Self::Path,
        }
    }
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether `path` is relative and stays below `directory`, links included (openat2(2),
/// RESOLVE_BENEATH, Linux 5.6; before that: no).
pub(super) fn stays_below(directory: BorrowedFd<'_>, path: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(directory, path, flags, Mode::empty(), ResolveFlags::BENEATH).is_ok()
}

/// Programs that run what their arguments (or their own search paths) say, and wrappers that start another.
const INTERPRETERS: &[&str] = &[
    "ash",
    "bash",
    "beam",
    "bun",
    "busybox",
    "bwrap",
    "chpst",
    "chroot",
    "chrt",
    "csh",
    "dash",
    "deno",
    "dotnet",
    "elixir",
    "env",
    "envdir",
    "erl",
    "erlexec",
    "firejail",
    "fish",
    "gdb",
    "guile",
    "ionice",
    "irb",
    "java",
    "jruby",
    "julia",
    "ksh",
    "ltrace",
    "lua",
    "luajit",
    "mono",
    "nice",
    "node",
    "nodejs",
    "nohup",
    "nsenter",
    "numactl",
    "octave",
    "perl",
    "php",
    "php-cgi",
    "php-fpm",
    "prlimit",
    "pypy",
    "python",
    "racket",
    "rscript",
    "ruby",
    "runuser",
    "scala",
    "setarch",
    "setpriv",
    "setsid",
    "setuidgid",
    "sh",
    "softlimit",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "taskset",
    "tclsh",
    "time",
    "timeout",
    "tini",
    "dumb-init",
    "unshare",
    "uv",
    "uvx",
    "valgrind",
    "wish",
    "zsh",
];

/// `python3.11` is `python`, `ld-linux-x86-64.so.2` runs its argument.
fn is_interpreter(program: &Path) -> bool {
    let Some(name) = program.file_name().and_then(|n| n.to_str()) else {
        return false;
    };
    let name = name.to_ascii_lowercase();
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    name.starts_with("ld-linux")
        || INTERPRETERS.contains(&name.as_str())
        || INTERPRETERS.contains(&stem)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn f28_the_table_of_what_is_pinned() {
        let decide = |elf, program: &str, named: &[bool]| {
            Pinned::decide(elf, Path::new(program), named.iter().copied())
        };
        assert_eq!(decide(true, "/srv/server", &[]), Pinned::Program);
        assert_eq!(decide(true, "/srv/server", &[true]), Pinned::Directory);
        assert_eq!(decide(true, "/srv/server", &[true, false]), Pinned::Path);
        assert_eq!(decide(true, "/usr/bin/python3.11", &[]), Pinned::Path);
        assert_eq!(
            decide(true, "/usr/bin/python3.11", &[true]),
            Pinned::Directory
        );
        assert_eq!(decide(true, "/usr/bin/python3", &[false]), Pinned::Path);
        assert_eq!(decide(false, "./run.sh", &[]), Pinned::Path);
        for name in [
            "python3",
            "pypy3.10",
            "node",
            "lua5.4",
            "ld-linux-x86-64.so.2",
            "bash",
            "php8.2",
            "Rscript",
        ] {
            assert!(is_interpreter(Path::new(name)), "{name}");
        }
        for name in ["server", "node_exporter", "shfmt", "nginx", "caddy2"] {
            assert!(!is_interpreter(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn f28_what_leaves_the_directory_is_noticed() {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("in")).unwrap();
        std::fs::write(base.path().join("in/file"), "").unwrap();
        std::fs::write(base.path().join("out"), "").unwrap();
        std::os::unix::fs::symlink("../out", base.path().join("in/link")).unwrap();
        let directory = File::open(base.path().join("in")).unwrap();
        let below = |path: &str| stays_below(directory.as_fd(), Path::new(path));
        assert!(below("file") && below("./file"));
        assert!(!below("../out") && !below("link") && !below("/etc/passwd"));
    }
}
