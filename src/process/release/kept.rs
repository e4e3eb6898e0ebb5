//! A release over the end of a master: as bytes, and back with what was opened for it.
//!
//! CBOR (RFC 8949) in maps with numbered keys, whose numbers mean the same for ever. The bytes hold values of variables, which
//! are secrets.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::super::cgroup::Bounds;
use super::super::identity::{Identity, Recorded};
use super::super::limits::Resource;
use super::super::owner::{Account, Owner, Passwd};
use super::super::pinned::Pinned;
use super::super::search::{Found, Kind};
use super::{Directory, Inner, Plan, Release};

#[derive(Encode, Decode)]
#[cbor(map)]
struct Record {
    #[n(0)]
    plan: PlanRecord,
    #[n(1)]
    program: Program,
    /// The working directory: its path, and what it was.
    #[n(2)]
    directory: (ByteVec, File64),
    #[n(3)]
    account: Option<AccountRecord>,
    /// Files named in argv, and whether each stays below the directory.
    #[n(4)]
    named: Vec<(Noted, bool)>,
    /// 0: the program, 1: the directory, 2: a path.
    #[n(5)]
    pinned: u8,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct PlanRecord {
    #[n(0)]
    argv: Vec<String>,
    #[n(1)]
    env: Vec<(ByteVec, ByteVec)>,
    #[n(2)]
    own_env: Vec<ByteVec>,
    #[n(3)]
    directory: Option<ByteVec>,
    #[n(4)]
    user: Option<String>,
    #[n(5)]
    group: Option<String>,
    #[n(6)]
    umask: Option<u32>,
    #[n(7)]
    no_new_privs: bool,
    /// By the names that a config uses.
    #[n(8)]
    limits: Vec<(String, u64)>,
    #[n(9)]
    bounds: BoundsRecord,
    #[n(10)]
    label: Option<String>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct BoundsRecord {
    #[n(0)]
    memory: Option<u64>,
    /// Nanoseconds in every 100 ms.
    #[n(1)]
    cpu: Option<u64>,
    #[n(2)]
    pids: Option<u64>,
    #[n(3)]
    best_effort: bool,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Program {
    #[n(0)]
    searched: ByteVec,
    #[n(1)]
    resolved: ByteVec,
    #[n(2)]
    identity: File64,
    /// 0: ELF, 1: a script, 2: something else.
    #[n(3)]
    kind: u8,
    #[n(4)]
    build_id: Option<String>,
    #[n(5)]
    interpreters: Vec<Noted>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct AccountRecord {
    #[n(0)]
    uid: u32,
    #[n(1)]
    gid: u32,
    #[n(2)]
    groups: Vec<u32>,
    #[n(3)]
    label: String,
    /// Name, home, shell.
    #[n(4)]
    user: Option<(String, ByteVec, ByteVec)>,
}

/// An [`Identity`]; the time in whole seconds and nanoseconds.
#[derive(Clone, Copy, Encode, Decode)]
#[cbor(map)]
struct File64 {
    #[n(0)]
    dev: u64,
    #[n(1)]
    ino: u64,
    #[n(2)]
    size: u64,
    #[n(3)]
    seconds: i64,
    #[n(4)]
    nanoseconds: u32,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Noted {
    #[n(0)]
    path: ByteVec,
    #[n(1)]
    identity: File64,
}

/// What of a release was opened when it began, and is still to be had.
#[derive(Debug, Default)]
pub struct Opened {
    /// The executable.
    pub program: Option<OwnedFd>,
    /// The working directory.
    pub directory: Option<OwnedFd>,
    /// Its workers that live: the executable and the directory of one may be what the release began with.
    pub workers: Vec<i32>,
}

/// Why a release cannot be had again.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The bytes are none of a release, or say what this version does not know.
    #[error("what is kept of it cannot be read")]
    Unreadable,
    /// Nothing that is there now is the executable that it began with.
    #[error("its executable {} is gone: another file is there now, and no worker of it runs", .0.display())]
    Program(PathBuf),
    /// The same of its directory.
    #[error("its directory {} is gone: another one is there now, and no worker of it runs", .0.display())]
    Directory(PathBuf),
}

impl Release {
    /// The release as bytes.
    #[must_use]
    pub fn keep(&self) -> Vec<u8> {
        let inner = &*self.0;
        let (build_id, interpreters, kind) = match &inner.program.kind {
            Kind::Elf { build_id } => (build_id.clone(), Vec::new(), 0),
            Kind::Script { interpreters } => (None, interpreters.iter().map(noted).collect(), 1),
            Kind::Other => (None, Vec::new(), 2),
        };
        let record = Record {
            plan: plan_record(&inner.plan),
            program: Program {
                searched: path_bytes(&inner.program.searched),
                resolved: path_bytes(&inner.program.resolved),
                identity: file(inner.program.identity),
                kind,
                build_id,
                interpreters,
            },
            directory: (
                path_bytes(&inner.directory.path),
                file(inner.directory.identity),
            ),
            account: inner.account.as_ref().map(account_record),
            named: inner
                .named
                .iter()
                .map(|(it, below)| (noted(it), *below))
                .collect(),
            pinned: match inner.pinned {
                Pinned::Program => 0,
                Pinned::Directory => 1,
                Pinned::Path => 2,
            },
        };
        let mut bytes = Vec::new();
        // A vector takes whatever comes.
        drop(minicbor::encode(record, &mut bytes));
        bytes
    }

    /// The two descriptors that it holds: of the executable, and of the directory.
    #[must_use]
    pub fn descriptors(&self) -> [std::os::fd::BorrowedFd<'_>; 2] {
        [self.0.program.fd.as_fd(), self.0.directory.fd.as_fd()]
    }

    /// The release that [`keep`](Self::keep) gave as `bytes`: the same executable in the same directory, whatever their paths
    /// name by now.
    ///
    /// # Errors
    /// See [`Lost`].
    pub fn recall(bytes: &[u8], opened: Opened) -> Result<Self, Lost> {
        let record: Record = minicbor::decode(bytes).map_err(|_| Lost::Unreadable)?;
        let plan = plan_of(record.plan)?;
        let (path, was) = record.directory;
        let (path, was) = (path_of(path), identity(was));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let candidates = opened.workers.iter().map(|pid| format!("/proc/{pid}/cwd"));
        let fd = find(opened.directory, flags, &path, candidates, |now| {
            now.is_same_file(was)
        })
        .ok_or_else(|| Lost::Directory(path.clone()))?;
        let directory = Directory {
            fd,
            path,
            identity: was,
        };
        let program = record.program;
        let (resolved, was) = (path_of(program.resolved), identity(program.identity));
        let candidates = opened.workers.iter().map(|pid| format!("/proc/{pid}/exe"));
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let fd = find(opened.program, flags, &resolved, candidates, |now| {
            now.is_same_file(was)
        })
        .ok_or_else(|| Lost::Program(resolved.clone()))?;
        let kind = match program.kind {
            0 => Kind::Elf {
                build_id: program.build_id,
            },
            1 => Kind::Script {
                interpreters: program.interpreters.into_iter().map(recorded).collect(),
            },
            2 => Kind::Other,
            _ => return Err(Lost::Unreadable),
        };
        let named = record.named.into_iter();
        Ok(Self(Arc::new(Inner {
            plan,
            program: Found {
                searched: path_of(program.searched),
                resolved,
                fd,
                identity: was,
                kind,
            },
            directory,
            account: record.account.map(account_of),
            named: named.map(|(it, below)| (recorded(it), below)).collect(),
            pinned: match record.pinned {
                0 => Pinned::Program,
                1 => Pinned::Directory,
                2 => Pinned::Path,
                _ => return Err(Lost::Unreadable),
            },
        })))
    }
}

/// The first of them that is what it was.
fn find(
    opened: Option<OwnedFd>,
    flags: OFlags,
    path: &Path,
    candidates: impl Iterator<Item = String>,
    is_it: impl Fn(Identity) -> bool,
) -> Option<OwnedFd> {
    let fits = |fd: OwnedFd| {
        let now = Identity::of_descriptor(&fd).ok()?;
        is_it(now).then_some(fd)
    };
    let open = |path: &Path| fits(openat(CWD, path, flags, Mode::empty()).ok()?);
    let of_workers = || candidates.into_iter().find_map(|at| open(Path::new(&at)));
    opened
        .and_then(fits)
        .or_else(|| open(path))
        .or_else(of_workers)
}

fn plan_record(plan: &Plan) -> PlanRecord {
    let env = plan.env.iter();
    let limits = plan.limits.iter();
    PlanRecord {
        argv: plan.argv.clone(),
        env: env
            .map(|(name, value)| (text_bytes(name), text_bytes(value)))
            .collect(),
        own_env: plan.own_env.iter().map(|name| text_bytes(name)).collect(),
        directory: plan.directory.as_deref().map(path_bytes),
        user: plan.user.clone(),
        group: plan.group.clone(),
        umask: plan.umask,
        no_new_privs: plan.no_new_privs,
        limits: limits
            .map(|(resource, value)| (resource.name().to_owned(), *value))
            .collect(),
        bounds: BoundsRecord {
            memory: plan.bounds.memory,
            cpu: plan.bounds.cpu.map(nanos),
            pids: plan.bounds.pids,
            best_effort: plan.bounds.best_effort,
        },
        label: plan.label.clone(),
    }
}

fn plan_of(record: PlanRecord) -> Result<Plan, Lost> {
    let env = record.env.into_iter();
    let mut own_env = std::collections::BTreeSet::new();
    own_env.extend(record.own_env.into_iter().map(text_of));
    let mut limits = Vec::new();
    for (name, value) in record.limits {
        let resource: Resource = name.parse().map_err(|_| Lost::Unreadable)?;
        limits.push((resource, value));
    }
    Ok(Plan {
        argv: record.argv,
        env: env
            .map(|(name, value)| (text_of(name), text_of(value)))
            .collect(),
        own_env,
        directory: record.directory.map(path_of),
        user: record.user,
        group: record.group,
        umask: record.umask,
        no_new_privs: record.no_new_privs,
        limits,
        bounds: Bounds {
            memory: record.bounds.memory,
            cpu: record.bounds.cpu.map(Duration::from_nanos),
            pids: record.bounds.pids,
            best_effort: record.bounds.best_effort,
        },
        label: record.label,
    })
}

fn account_record(account: &Account) -> AccountRecord {
    let user = account.user.as_ref();
    AccountRecord {
        uid: account.owner.uid,
        gid: account.owner.gid,
        groups: account.groups.clone(),
        label: account.label.clone(),
        user: user.map(|it| (it.name.clone(), path_bytes(&it.home), path_bytes(&it.shell))),
    }
}

fn account_of(record: AccountRecord) -> Account {
    Account {
        owner: Owner {
            uid: record.uid,
            gid: record.gid,
        },
        groups: record.groups,
        user: record.user.map(|(name, home, shell)| Passwd {
            name,
            home: path_of(home),
            shell: path_of(shell),
        }),
        label: record.label,
    }
}

fn file(identity: Identity) -> File64 {
    const SECOND: i128 = 1_000_000_000;
    let seconds = identity.mtime_ns.div_euclid(SECOND);
    File64 {
        dev: identity.dev,
        ino: identity.ino,
        size: identity.size,
        seconds: i64::try_from(seconds).unwrap_or_default(),
        nanoseconds: u32::try_from(identity.mtime_ns.rem_euclid(SECOND)).unwrap_or_default(),
    }
}

fn identity(file: File64) -> Identity {
    Identity {
        dev: file.dev,
        ino: file.ino,
        size: file.size,
        mtime_ns: i128::from(file.seconds) * 1_000_000_000 + i128::from(file.nanoseconds),
    }
}

fn noted(file_at: &Recorded) -> Noted {
    Noted {
        path: text_bytes(&file_at.path),
        identity: file(file_at.identity),
    }
}

fn recorded(noted: Noted) -> Recorded {
    Recorded {
        path: text_of(noted.path),
        identity: identity(noted.identity),
    }
}

fn text_bytes(text: &OsStr) -> ByteVec {
    text.as_bytes().to_vec().into()
}

fn text_of(bytes: ByteVec) -> OsString {
    OsString::from_vec(bytes.into())
}

fn path_bytes(path: &Path) -> ByteVec {
    text_bytes(path.as_os_str())
}

fn path_of(bytes: ByteVec) -> PathBuf {
    text_of(bytes).into()
}

/// 584 years; nothing lasts longer.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn copy_of_sleep(directory: &Path) -> PathBuf {
        let program = directory.join("server");
        fs::copy("/bin/sleep", &program).expect("a copy");
        program
    }

    fn release(directory: &Path, argv: &[&str]) -> Release {
        let plan = Plan {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: vec![
                ("COLOUR".into(), "green".into()),
                ("RAW".into(), OsString::from_vec(b"\xff".to_vec())),
            ],
            own_env: [OsString::from("COLOUR")].into(),
            directory: Some(directory.to_owned()),
            umask: Some(0o27),
            no_new_privs: true,
            limits: vec![(Resource::Nofile, 77)],
            bounds: Bounds {
                memory: Some(1 << 30),
                cpu: Some(Duration::from_millis(150)),
                pids: Some(9),
                best_effort: true,
            },
            label: Some("v42".to_owned()),
            ..Plan::default()
        };
        Release::resolve(plan).expect("resolves")
    }

    fn handed_on(release: &Release) -> Opened {
        let [program, directory] = release.descriptors();
        let copy = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().expect("a copy");
        Opened {
            program: Some(copy(program)),
            directory: Some(copy(directory)),
            workers: Vec::new(),
        }
    }

    #[test]
    fn a_release_is_the_same_after_it_was_kept() {
        let base = tempfile::tempdir().expect("a directory");
        copy_of_sleep(base.path());
        fs::write(base.path().join("conf"), "x").expect("a file");
        let script = base.path().join("script");
        fs::write(&script, "#!/bin/sh\n").expect("a file");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
        for argv in [&["./server", "60", "--config=conf"][..], &["./script"]] {
            let before = release(base.path(), argv);
            let after = Release::recall(&before.keep(), handed_on(&before)).expect("recalls");
            assert!(before.same_as(&after));
            assert!(before.plan() == after.plan());
            assert_eq!(before.pinned(), after.pinned());
            assert_eq!(before.executable(), after.executable());
            assert_eq!(before.searched(), after.searched());
            assert_eq!(before.build_id(), after.build_id());
            assert_eq!(before.interpreter(), after.interpreter());
            assert_eq!(before.directory(), after.directory());
            assert_eq!(before.keep(), after.keep());
            assert_eq!(after.changed_files(), []);
        }
    }

    #[test]
    fn what_was_replaced_on_disk_is_had_from_who_runs_it() {
        let base = tempfile::tempdir().expect("a directory");
        let program = copy_of_sleep(base.path());
        let before = release(base.path(), &["./server", "60"]);
        let mut worker = Command::new(&program)
            .arg("60")
            .current_dir(base.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("starts");
        fs::remove_file(&program).expect("removed");
        copy_of_sleep(base.path());
        let pid = i32::try_from(worker.id()).expect("a number");
        let of_worker = Opened {
            workers: vec![pid],
            ..Opened::default()
        };
        let after = Release::recall(&before.keep(), of_worker).expect("recalls");
        assert!(before.same_as(&after));
        worker.kill().expect("killed");
        worker.wait().expect("reaped");
        let lost = Release::recall(&before.keep(), Opened::default()).expect_err("it is gone");
        let said = lost.to_string();
        assert!(said.contains("server is gone: another file"), "{said}");
    }

    #[test]
    fn a_directory_that_moved_is_had_by_its_descriptor_only() {
        let base = tempfile::tempdir().expect("a directory");
        let (old, new) = (base.path().join("42"), base.path().join("43"));
        fs::create_dir(&old).expect("a directory");
        let before = release(&old, &["/bin/sleep", "60"]);
        fs::rename(&old, &new).expect("renamed");
        fs::create_dir(&old).expect("another directory");
        let after = Release::recall(&before.keep(), handed_on(&before)).expect("recalls");
        assert!(before.same_as(&after));
        let lost = Release::recall(&before.keep(), Opened::default()).expect_err("it is gone");
        assert!(matches!(lost, Lost::Directory(path) if path == old));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(Release::recall(&bytes, Opened::default()));
        }
    }
}
