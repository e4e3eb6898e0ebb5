//! What to run, fixed when an upgrade begins.

mod kept;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::cgroup::Bounds;
use super::identity::{Changed, Identity, Recorded, changed_in_place};
use super::limits::Resource;
use super::owner::{self, Account, Owner};
use super::pinned::{Pinned, stays_below};
use super::resolve::{ResolveError, Unresolved};
use super::search::{Found, Kind, Search, real_path};

pub use kept::{Lost, Opened};

/// What is asked for, before anything is looked up.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The command; templates in arguments are left as they are.
    pub argv: Vec<String>,
    /// The whole environment that a worker gets from the config and from the master's own (not the variables that are
    /// set for each worker). Of a name that stands twice the last counts.
    pub env: Vec<(OsString, OsString)>,
    /// Names in `env` that the config itself sets. With `user`, HOME, USER, LOGNAME and SHELL are set from the user
    /// database, unless they are among these.
    pub own_env: BTreeSet<OsString>,
    /// Working directory; without it this process's own.
    pub directory: Option<PathBuf>,
    /// A name or a number.
    pub user: Option<String>,
    /// A name or a number; without it the user's own.
    pub group: Option<String>,
    /// File mode creation mask; without it this process's own.
    pub umask: Option<u32>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// Soft and hard limit alike, [`UNLIMITED`](super::UNLIMITED) for none.
    pub limits: Vec<(Resource, u64)>,
    /// What its control group holds a worker and all its processes to.
    pub bounds: Bounds,
    /// What people call it.
    pub label: Option<String>,
}

/// Names only: values are secrets.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("Plan")
            .field("argv", &self.argv)
            .field("env", &names)
            .field("directory", &self.directory)
            .field("user", &self.user)
            .field("group", &self.group)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// What to run: looked up, opened, recorded. Two descriptors; copies share them.
#[derive(Clone)]
pub struct Release(Arc<Inner>);

struct Inner {
    plan: Plan,
    program: Found,
    directory: Directory,
    account: Option<Account>,
    /// Files named in argv, and whether each stays below the directory.
    named: Vec<(Recorded, bool)>,
    pinned: Pinned,
}

impl Release {
    /// Looks up and opens everything that `plan` names.
    ///
    /// The program is searched by the PATH of the plan's environment when it has no slash, else relative to the
    /// directory. The directory is resolved once: `current -> releases/42` stays 42.
    ///
    /// # Errors
    /// Says everything that is missing or wrong, where it was looked for, and what to do.
    pub fn resolve(plan: Plan) -> Result<Self, Unresolved> {
        let plan = normal(plan).map_err(|error| Unresolved(vec![error]))?;
        let account = owner::account(plan.user.as_deref(), plan.group.as_deref());
        let directory = Directory::open(plan.directory.as_deref().unwrap_or(Path::new(".")));
        let mut wrong: Vec<ResolveError> = Vec::new();
        let account = account.unwrap_or_else(|errors| {
            wrong.extend(errors.into_iter().map(ResolveError::from));
            None
        });
        let directory = directory.map_err(|error| wrong.push(error)).ok();
        let plan = with_identity(plan, account.as_ref());
        let program = find_program(&plan, directory.as_ref())
            .map_err(|error| wrong.push(error))
            .ok()
            .flatten();
        let (Some(directory), Some(program), true) = (directory, program, wrong.is_empty()) else {
            return Err(Unresolved(wrong));
        };
        let named = named_files(&plan.argv, directory.fd.as_fd());
        let is_elf = matches!(program.kind, Kind::Elf { .. });
        let pinned = Pinned::decide(
            is_elf,
            &program.resolved,
            named.iter().map(|(_, below)| *below),
        );
        Ok(Self(Arc::new(Inner {
            plan,
            program,
            directory,
            account,
            named,
            pinned,
        })))
    }

    /// Whether both run the same: argv, environment, directory, user, limits, and the identity of the executable, of a
    /// script's interpreter and of every file named in argv, each as it was when its release was resolved. The
    /// label does not count.
    pub fn same_as(&self, other: &Self) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        let settings = |p: &Plan| (p.umask, p.no_new_privs, p.limits.clone(), p.bounds.clone());
        a.plan.argv == b.plan.argv
            && a.plan.env == b.plan.env
            && settings(&a.plan) == settings(&b.plan)
            && a.account == b.account
            && a.directory.identity.is_same_file(b.directory.identity)
            && a.program.identity == b.program.identity
            && a.program.kind == b.program.kind
            && a.named == b.named
    }

    /// How much of it stays what it was.
    pub fn pinned(&self) -> Pinned {
        self.0.pinned
    }

    /// What would be different if a worker were started now: files that are only paths, and an executable that was
    /// written to in place. An ELF executable that was removed or replaced is none: the old one still runs.
    pub fn changed_files(&self) -> Vec<Changed> {
        let inner = &*self.0;
        let (directory, shown) = (inner.directory.fd.as_fd(), inner.directory.path.as_path());
        let mut changed = Vec::new();
        match &inner.program.kind {
            Kind::Elf { .. } => {
                changed.extend(changed_in_place(
                    &inner.program.fd,
                    inner.program.identity,
                    &inner.program.resolved,
                ));
            }
            Kind::Script { .. } | Kind::Other => {
                changed.extend(self.path_of_script().changed(directory, shown))
            }
        }
        if let Kind::Script { interpreters } = &inner.program.kind {
            changed.extend(
                interpreters
                    .iter()
                    .filter_map(|file| file.changed(directory, shown)),
            );
        }
        changed.extend(
            inner
                .named
                .iter()
                .filter_map(|(file, _)| file.changed(directory, shown)),
        );
        changed.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        changed.dedup();
        changed
    }

    /// The executable, without symbolic links.
    pub fn executable(&self) -> &Path {
        &self.0.program.resolved
    }

    /// The executable as it was found: relative to the working directory or absolute, links not followed.
    pub fn searched(&self) -> &Path {
        &self.0.program.searched
    }

    /// What the executable was when the release was resolved.
    pub fn identity(&self) -> Identity {
        self.0.program.identity
    }

    /// The command, templates unfilled.
    pub fn argv(&self) -> &[String] {
        &self.0.plan.argv
    }

    /// The environment, sorted by name, with HOME, USER, LOGNAME and SHELL of `user`.
    pub fn env(&self) -> &[(OsString, OsString)] {
        &self.0.plan.env
    }

    /// The working directory, without symbolic links.
    pub fn directory(&self) -> &Path {
        &self.0.directory.path
    }

    /// What people call it.
    pub fn label(&self) -> Option<&str> {
        self.0.plan.label.as_deref()
    }

    /// The GNU build id of an ELF executable, in hexadecimal.
    pub fn build_id(&self) -> Option<&str> {
        match &self.0.program.kind {
            Kind::Elf { build_id } => build_id.as_deref(),
            Kind::Script { .. } | Kind::Other => None,
        }
    }

    /// What a `#!` script runs in, as its first line has it.
    pub fn interpreter(&self) -> Option<&OsStr> {
        match &self.0.program.kind {
            Kind::Script { interpreters } => interpreters.last().map(|it| it.path.as_os_str()),
            Kind::Elf { .. } | Kind::Other => None,
        }
    }

    /// What a worker runs as.
    pub fn owner(&self) -> Owner {
        self.0
            .account
            .as_ref()
            .map_or_else(Owner::current, |account| account.owner)
    }

    /// The plan as it was resolved.
    pub fn plan(&self) -> &Plan {
        &self.0.plan
    }

    pub(super) fn program(&self) -> &Found {
        &self.0.program
    }

    pub(super) fn directory_fd(&self) -> BorrowedFd<'_> {
        self.0.directory.fd.as_fd()
    }

    pub(super) fn account(&self) -> Option<&Account> {
        self.0.account.as_ref()
    }

    /// What the launcher will execute when the file cannot run from its descriptor: see `role.rs`.
    fn path_of_script(&self) -> Recorded {
        let program = &self.0.program;
        let still_there = Identity::of_file(self.directory_fd(), &program.searched)
            .is_some_and(|now| now.is_same_file(program.identity));
        let path = if still_there {
            &program.searched
        } else {
            &program.resolved
        };
        Recorded {
            path: path.clone().into_os_string(),
            identity: program.identity,
        }
    }
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Release")
            .field("plan", &self.0.plan)
            .field("executable", &self.0.program.resolved)
            .field("pinned", &self.0.pinned)
            .finish_non_exhaustive()
    }
}

/// Refuses what no program can be given; sorts the environment and leaves the last of each name.
fn normal(mut plan: Plan) -> Result<Plan, ResolveError> {
    if let Some(n) = plan.argv.iter().position(|word| word.contains('\0')) {
        return Err(ResolveError::Nul(format!("argument {n} of the command")));
    }
    let mut env = BTreeMap::new();
    for (name, value) in plan.env {
        let shown = || name.to_string_lossy().into_owned();
        if value.as_bytes().contains(&0) || name.as_bytes().contains(&0) {
            return Err(ResolveError::Nul(format!(
                "the environment variable {}",
                shown().replace('\0', "")
            )));
        }
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(ResolveError::VariableName(shown()));
        }
        env.insert(name, value);
    }
    plan.env = env.into_iter().collect();
    plan.limits.sort_unstable();
    Ok(plan)
}

/// As systemd does for `User=` (systemd.exec(5)).
fn with_identity(mut plan: Plan, account: Option<&Account>) -> Plan {
    let Some(user) = account.and_then(|a| a.user.as_ref()) else {
        return plan;
    };
    let mut env = BTreeMap::new();
    env.extend(plan.env);
    for (name, value) in [
        ("HOME", user.home.as_os_str()),
        ("USER", OsStr::new(&user.name)),
        ("LOGNAME", OsStr::new(&user.name)),
        ("SHELL", user.shell.as_os_str()),
    ] {
        if !plan.own_env.contains(OsStr::new(name)) {
            env.insert(name.into(), value.to_owned());
        }
    }
    plan.env = env.into_iter().collect();
    plan
}

/// The working directory, opened.
struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    identity: Identity,
}

impl Directory {
    fn open(asked: &Path) -> Result<Self, ResolveError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let wrong = |errno| bad_directory(asked, errno);
        let fd = openat(CWD, asked, flags, Mode::empty()).map_err(wrong)?;
        let identity = Identity::of_descriptor(&fd).map_err(wrong)?;
        let path = real_path(&fd).unwrap_or_else(|| asked.to_owned());
        Ok(Self { fd, path, identity })
    }
}

/// `None` where it cannot be known: what is relative to a directory that is not there.
fn find_program(plan: &Plan, directory: Option<&Directory>) -> Result<Option<Found>, ResolveError> {
    let first = plan.argv.first().ok_or(ResolveError::EmptyCommand)?;
    let path = plan.env.iter().find(|(name, _)| name == "PATH");
    let relative = first.contains('/') && Path::new(first).is_relative();
    let (directory, shown) = match directory {
        Some(directory) => (directory.fd.as_fd(), directory.path.as_path()),
        None if relative => return Ok(None),
        None => (CWD, Path::new("")),
    };
    let search = Search {
        directory,
        shown,
        path: path.map(|(_, value)| value.as_os_str()),
    };
    search.find(first).map(Some)
}

fn bad_directory(path: &Path, errno: Errno) -> ResolveError {
    let why = match errno {
        Errno::NOENT => "there is no such directory".to_owned(),
        Errno::NOTDIR => "this is not a directory".to_owned(),
        other => other.to_string(),
    };
    ResolveError::Directory {
        path: path.to_owned(),
        why,
    }
}

/// Arguments that name an existing regular file, and `--config=FILE`.
fn named_files(argv: &[String], directory: BorrowedFd<'_>) -> Vec<(Recorded, bool)> {
    let mut found: Vec<(Recorded, bool)> = Vec::new();
    for argument in argv.iter().skip(1) {
        let value = argument.split_once('=').map(|(_, value)| value);
        for name in [Some(argument.as_str()), value]
            .into_iter()
            .flatten()
            .filter(|name| !name.is_empty())
        {
            let Some(identity) = Identity::of_file(directory, Path::new(name)) else {
                continue;
            };
            let recorded = Recorded {
                path: name.into(),
                identity,
            };
            if !found.iter().any(|(old, _)| *old == recorded) {
                found.push((recorded, stays_below(directory, Path::new(name))));
            }
        }
    }
    found
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
