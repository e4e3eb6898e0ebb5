//! From `argv[0]` to an opened executable.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, StatVfsMountFlags, fstat, fstatvfs, openat, statat,
};
use rustix::io::Errno;

use super::elf;
use super::identity::{Identity, Recorded};
use super::resolve::{ResolveError, is_no_program};

/// Where programs are looked for when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of a file the kernel looks at for a `#!` line (BINPRM_BUF_SIZE).
const FIRST_LINE_MAX: usize = 256;

/// An executable, opened.
#[derive(Debug)]
pub(super) struct Found {
    /// As it was found, relative to the working directory or absolute: what the kernel is given and `ps` shows.
    pub(super) searched: PathBuf,
    /// Without symbolic links.
    pub(super) resolved: PathBuf,
    /// O_PATH.
    pub(super) fd: OwnedFd,
    pub(super) identity: Identity,
    pub(super) kind: Kind,
}

/// What the kernel will do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Runs from its descriptor. Also what may be executed but not read.
    Elf { build_id: Option<String> },
    /// A `#!` script, and what its first line needs.
    Script { interpreters: Vec<Recorded> },
    /// Something that only a binfmt_misc handler can run, or nothing can.
    Other,
}

/// Where to look.
pub(super) struct Search<'a> {
    pub(super) directory: BorrowedFd<'a>,
    /// The directory's own path.
    pub(super) shown: &'a Path,
    /// PATH of the release.
    pub(super) path: Option<&'a OsStr>,
}

impl Search<'_> {
    /// Finds `program` as execvp(3) would: by PATH when it has no slash, else relative to the directory.
    pub(super) fn find(&self, program: &str) -> Result<Found, ResolveError> {
        if program.is_empty() {
            return Err(ResolveError::EmptyCommand);
        }
        if program.contains('/') {
            return match self.open(Path::new(program))? {
                Some((fd, stat)) => self.examine(Path::new(program), fd, &stat),
                // The first of several words names a program.
                None if is_no_program(program)
                    && program.split_whitespace().next().is_some_and(|first| {
                        matches!(self.open(Path::new(first)), Ok(Some(_)))
                    }) =>
                {
                    Err(ResolveError::NoProgram(program.to_owned()))
                }
                None => Err(self.missing(program)),
            };
        }
        let mut refused = None;
        let searched = self.path_entries();
        for entry in &searched {
            let candidate = entry.join(program);
            match self.open(&candidate) {
                Ok(None) => {}
                Ok(Some((fd, stat))) => match usable(&self.shown.join(&candidate), &stat) {
                    Ok(()) => return self.examine(&candidate, fd, &stat),
                    Err(why) => refused = refused.or(Some(why)),
                },
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        if refused.is_none() && is_no_program(program) {
            return Err(ResolveError::NoProgram(program.to_owned()));
        }
        // Something of that name that cannot be run says more than "not found".
        Err(refused.unwrap_or_else(|| ResolveError::NotFound {
            is_here: matches!(self.open(&Path::new(".").join(program)), Ok(Some(_))),
            program: program.to_owned(),
            searched: self.each_once(&searched),
        }))
    }

    /// The directories of PATH; an empty entry is the working directory (execvp(3)).
    fn path_entries(&self) -> Vec<PathBuf> {
        let path = self.path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes();
        path.split(|b| *b == b':')
            .map(|entry| {
                PathBuf::from(OsStr::from_bytes(if entry.is_empty() {
                    b"."
                } else {
                    entry
                }))
            })
            .collect()
    }

    /// Whole, in their order: PATH often has a directory twice.
    fn each_once(&self, entries: &[PathBuf]) -> Vec<PathBuf> {
        let mut seen = Vec::new();
        for entry in entries {
            let whole = self.shown.join(entry);
            if !seen.contains(&whole) {
                seen.push(whole);
            }
        }
        seen
    }

    fn open(&self, path: &Path) -> Result<Option<(OwnedFd, Stat)>, ResolveError> {
        let failed = |errno: Errno| self.io("opening", path, errno.into());
        let fd = match openat(
            self.directory,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let stat = fstat(&fd).map_err(failed)?;
        Ok(Some((fd, stat)))
    }

    fn missing(&self, program: &str) -> ResolveError {
        let path = self.shown.join(program);
        let dangling = statat(self.directory, program, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
        let why = if dangling {
            Some("it is a symbolic link to nothing".to_owned())
        } else if Path::new(program).is_relative() {
            Some(format!(
                "{program:?} is relative to the working directory {}",
                self.shown.display()
            ))
        } else {
            None
        };
        ResolveError::Missing { path, why }
    }

    fn examine(&self, searched: &Path, fd: OwnedFd, stat: &Stat) -> Result<Found, ResolveError> {
        let shown = self.shown.join(searched);
        usable(&shown, stat)?;
        if fstatvfs(&fd).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NOEXEC)) {
            return Err(ResolveError::NoExecMount(shown));
        }
        let resolved = real_path(&fd).unwrap_or_else(|| shown.clone());
        let kind = self.kind(&shown, &fd)?;
        Ok(Found {
            searched: searched.to_owned(),
            resolved,
            identity: Identity::of(stat),
            fd,
            kind,
        })
    }

    fn kind(&self, shown: &Path, fd: &OwnedFd) -> Result<Kind, ResolveError> {
        // O_PATH cannot be read: open it again. Execute-only is allowed, and then it is no script that works.
        let file = match File::open(format!("/proc/self/fd/{}", fd.as_raw_fd())) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Kind::Elf { build_id: None });
            }
            Err(error) => return Err(self.io("reading", shown, error)),
        };
        if let Some(elf) = elf::read(&file) {
            if elf::is_foreign(elf.machine) && !has_foreign_handlers() {
                let found = elf::machine_name(elf.machine);
                return Err(ResolveError::Architecture {
                    path: shown.to_owned(),
                    found,
                });
            }
            return Ok(Kind::Elf {
                build_id: elf.build_id,
            });
        }
        let mut buffer = [0_u8; FIRST_LINE_MAX];
        let length = file
            .read_at(&mut buffer, 0)
            .map_err(|e| self.io("reading", shown, e))?;
        match hash_bang(buffer.get(..length).unwrap_or_default()) {
            Some(line) => Ok(Kind::Script {
                interpreters: self.interpreters(shown, &line)?,
            }),
            None => Ok(Kind::Other),
        }
    }

    /// What the first line of a script needs: the interpreter, and what `env` would start.
    fn interpreters(&self, script: &Path, line: &HashBang) -> Result<Vec<Recorded>, ResolveError> {
        let wants = |why: &str, name: &OsStr| ResolveError::Interpreter {
            script: script.to_owned(),
            interpreter: name.to_string_lossy().into_owned(),
            why: why.to_owned(),
        };
        let program = Path::new(&line.program);
        let Some((_, stat)) = self.open(program)? else {
            let windows = line.program.as_bytes().ends_with(b"\r");
            return Err(wants(
                if windows {
                    "ends in a carriage return: the script has Windows line ends (dos2unix)"
                } else {
                    "is missing"
                },
                &line.program,
            ));
        };
        if let Err(why) = usable(program, &stat) {
            return Err(wants(&format!("cannot be used: {why}"), &line.program));
        }
        let mut found = vec![Recorded {
            path: line.program.clone(),
            identity: Identity::of(&stat),
        }];
        if program.file_name() == Some(OsStr::new("env"))
            && let Some(name) = line.started_by_env()
        {
            let target = self
                .path_entries()
                .into_iter()
                .map(|entry| entry.join(name))
                .find_map(|path| {
                    let (_, stat) = self.open(&path).ok()??;
                    usable(&path, &stat).ok()?;
                    Some(Recorded {
                        path: path.into_os_string(),
                        identity: Identity::of(&stat),
                    })
                });
            found.push(target.ok_or_else(|| wants("is nowhere in PATH", name))?);
        }
        Ok(found)
    }

    fn io(&self, doing: &'static str, path: &Path, error: io::Error) -> ResolveError {
        ResolveError::Io {
            doing,
            path: self.shown.join(path),
            why: error.to_string(),
        }
    }
}

fn usable(shown: &Path, stat: &Stat) -> Result<(), ResolveError> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_mode & 0o111 == 0 => {
            Err(ResolveError::NotExecutable(shown.to_owned()))
        }
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(ResolveError::IsDirectory(shown.to_owned())),
        _ => Err(ResolveError::NotAFile(shown.to_owned())),
    }
}

/// The path of what a descriptor means, without symbolic links.
pub(super) fn real_path(fd: impl AsFd) -> Option<PathBuf> {
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    std::fs::read_link(link)
        .ok()
        .filter(|path| path.is_absolute())
}

/// Whether binfmt_misc has any handler, so that this machine may run programs of others.
fn has_foreign_handlers() -> bool {
    std::fs::read_dir("/proc/sys/fs/binfmt_misc").is_ok_and(|entries| {
        entries.flatten().any(|e| {
            !["register", "status"]
                .iter()
                .any(|own| e.file_name() == *own)
        })
    })
}

/// A `#!` line (execve(2)): the program and the one argument that Linux passes.
#[derive(Debug, PartialEq, Eq)]
struct HashBang {
    program: OsString,
    argument: Vec<u8>,
}

impl HashBang {
    /// What `env` will start: the first word that is neither an option nor an assignment.
    fn started_by_env(&self) -> Option<&OsStr> {
        let words = self
            .argument
            .split(u8::is_ascii_whitespace)
            .filter(|w| !w.is_empty());
        let mut candidates = words.filter(|word| !word.starts_with(b"-") && !word.contains(&b'='));
        candidates.next().map(OsStr::from_bytes)
    }
}

fn hash_bang(start: &[u8]) -> Option<HashBang> {
    let rest = start.strip_prefix(b"#!")?;
    let line = rest.split(|b| *b == b'\n' || *b == 0).next()?;
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let from = line.iter().position(|b| !blank(b))?;
    let line = line.get(from..)?;
    let length = line.iter().position(blank).unwrap_or(line.len());
    Some(HashBang {
        program: OsString::from_vec(line.get(..length)?.to_vec()),
        argument: line.get(length..)?.trim_ascii().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_lines_are_read_as_the_kernel_reads_them() {
        let line = |text: &str| {
            hash_bang(text.as_bytes()).map(|l| {
                let env = l.started_by_env().map(|s| s.to_string_lossy().into_owned());
                (l.program.into_string().unwrap(), env)
            })
        };
        let both =
            |program: &str, env: Option<&str>| Some((program.to_owned(), env.map(str::to_owned)));
        assert_eq!(line("#!/bin/sh\nexit"), both("/bin/sh", None));
        assert_eq!(line("#! \t/bin/sh  -e \n"), both("/bin/sh", None));
        assert_eq!(
            line("#!/usr/bin/env python3\n"),
            both("/usr/bin/env", Some("python3"))
        );
        assert_eq!(
            line("#!/usr/bin/env -S A=1 node --x\n"),
            both("/usr/bin/env", Some("node"))
        );
        assert_eq!(line("#!/bin/sh\r\n"), both("/bin/sh\r", None));
        assert_eq!(line("#!\n"), None);
        assert_eq!(line("#"), None);
        assert_eq!(line(""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let with = [b"#!", &bytes[..]].concat();
            for start in [bytes, with] {
                let _ = hash_bang(&start).map(|l| l.started_by_env().map(OsStr::to_owned));
            }
        }
    }
}
