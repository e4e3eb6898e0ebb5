//! Users and groups: names and numbers into what a worker becomes.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use super::resolve::with_hint;

/// The user and group that a worker runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User number.
    pub uid: u32,
    /// Primary group number.
    pub gid: u32,
}

impl Owner {
    /// What this process runs as.
    pub fn current() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }
}

/// Why a user or group cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerError {
    /// The user database has no such name.
    NoUser(String),
    /// The group database has no such name.
    NoGroup(String),
    /// A user number without an entry says nothing about its group.
    GroupUnknown(u32),
    /// The databases could not be read.
    Lookup {
        /// `user`, `group` or `the groups of user`.
        what: &'static str,
        /// The name.
        name: String,
        /// What the look-up said.
        errno: Errno,
    },
}

impl OwnerError {
    /// The key of the config that it is about.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::NoGroup(_) | Self::Lookup { what: "group", .. } => "app.group",
            _ => "app.user",
        }
    }

    /// What is wrong.
    pub fn what(&self) -> String {
        match self {
            Self::NoUser(name) => format!("there is no user {name:?} on this machine"),
            Self::NoGroup(name) => format!("there is no group {name:?} on this machine"),
            Self::GroupUnknown(uid) => {
                format!("user {uid} has no entry in the user database, so its group is not known")
            }
            Self::Lookup { what, name, errno } => {
                format!("looking up {what} {name:?}: {}", errno.desc())
            }
        }
    }

    /// What to do, where that can be known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoUser(name) => {
                format!("create it (useradd --system {name}) or correct `user`")
            }
            Self::NoGroup(name) => {
                format!("create it (groupadd --system {name}) or correct `group`")
            }
            Self::GroupUnknown(_) => "set `group` too".to_owned(),
            Self::Lookup { .. } => return None,
        })
    }
}

impl fmt::Display for OwnerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_hint(f, &self.what(), self.hint())
    }
}

impl std::error::Error for OwnerError {}

/// An identity to take on, with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) owner: Owner,
    /// Supplementary groups, the primary one included.
    pub(super) groups: Vec<u32>,
    /// The entry in the user database: `None` without `user`, or for a bare number.
    pub(super) user: Option<Passwd>,
    /// As the config has them, for messages.
    pub(super) label: String,
}

/// What systemd puts into the environment for `User=` (systemd.exec(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passwd {
    pub(super) name: String,
    pub(super) home: PathBuf,
    pub(super) shell: PathBuf,
}

/// Finds `user` and `group`, names or numbers. `Ok(None)` when neither is given.
///
/// # Errors
/// What is wrong with each of the two.
pub(super) fn account(
    user: Option<&str>,
    group: Option<&str>,
) -> Result<Option<Account>, Vec<OwnerError>> {
    let given_gid = group.map(gid_of).transpose();
    let found = user.map(user_of).transpose();
    let (given_gid, found) = match (given_gid, found) {
        (Ok(gid), Ok(user)) => (gid, user),
        (gid, user) => return Err(user.err().into_iter().chain(gid.err()).collect()),
    };
    let (Some(user), Some((uid, entry))) = (user, found) else {
        return Ok(given_gid.map(|gid| Account {
            owner: Owner {
                uid: Owner::current().uid,
                gid,
            },
            groups: vec![gid],
            user: None,
            label: format!("group {:?}", group.unwrap_or_default()),
        }));
    };
    let gid = match (given_gid, &entry) {
        (Some(gid), _) => gid,
        (None, Some(entry)) => entry.gid.as_raw(),
        (None, None) => return Err(vec![OwnerError::GroupUnknown(uid)]),
    };
    let groups = match &entry {
        Some(entry) => groups_of(&entry.name, gid).map_err(|error| vec![error])?,
        None => vec![gid],
    };
    Ok(Some(Account {
        owner: Owner { uid, gid },
        groups,
        user: entry.map(|e| Passwd {
            name: e.name,
            home: e.dir,
            shell: e.shell,
        }),
        label: format!("user {user:?}"),
    }))
}

/// What is wrong with a user or a group that only a file shall belong to.
pub fn unknown_owner(user: Option<&str>, group: Option<&str>) -> Vec<(&'static str, OwnerError)> {
    let user = user.and_then(|user| user_of(user).err());
    let group = group.and_then(|group| gid_of(group).err());
    let user = user.map(|error| ("user", error));
    user.into_iter()
        .chain(group.map(|error| ("group", error)))
        .collect()
}

fn user_of(user: &str) -> Result<(u32, Option<User>), OwnerError> {
    let lookup = |errno| OwnerError::Lookup {
        what: "user",
        name: user.to_owned(),
        errno,
    };
    if let Some(entry) = User::from_name(user).map_err(lookup)? {
        return Ok((entry.uid.as_raw(), Some(entry)));
    }
    let uid: u32 = user
        .parse()
        .map_err(|_| OwnerError::NoUser(user.to_owned()))?;
    Ok((uid, User::from_uid(Uid::from_raw(uid)).map_err(lookup)?))
}

/// The number of a group by its name, or as it was written.
///
/// # Errors
/// When there is no group of that name.
pub fn gid_of(group: &str) -> Result<u32, OwnerError> {
    let lookup = |errno| OwnerError::Lookup {
        what: "group",
        name: group.to_owned(),
        errno,
    };
    if let Some(entry) = Group::from_name(group).map_err(lookup)? {
        return Ok(entry.gid.as_raw());
    }
    group
        .parse()
        .map_err(|_| OwnerError::NoGroup(group.to_owned()))
}

/// Whether this process may give its files to this group (chown(2)).
pub fn may_give_to(gid: u32) -> bool {
    let own = Owner::current();
    let supplementary = rustix::process::getgroups().unwrap_or_default();
    own.uid == 0 || own.gid == gid || supplementary.iter().any(|group| group.as_raw() == gid)
}

fn groups_of(user: &str, gid: u32) -> Result<Vec<u32>, OwnerError> {
    let failed = |errno| OwnerError::Lookup {
        what: "the groups of user",
        name: user.to_owned(),
        errno,
    };
    let name = CString::new(user).map_err(|_| failed(Errno::EINVAL))?;
    let groups = getgrouplist(&name, Gid::from_raw(gid)).map_err(failed)?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

/// Makes a directory that only `owner` may enter (0700). One that is there already must be a
/// directory of `owner` or of this process, and is put right.
///
/// # Errors
/// What mkdir(2), chown(2) and chmod(2) say; `PermissionDenied` when something of another's, or
/// no directory, is at `path`.
pub fn private_directory(path: &Path, owner: Owner) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, fchmod, fchown, fstat, open};

    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // By descriptor and without following: nobody can put another directory in its place meanwhile.
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let directory = open(path, flags, Mode::empty())?;
    let there = fstat(&directory)?;
    if there.st_uid != owner.uid && there.st_uid != Owner::current().uid {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} belongs to user {}", path.display(), there.st_uid),
        ));
    }
    if (there.st_uid, there.st_gid) != (owner.uid, owner.gid) {
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(owner.uid),
            rustix::fs::Gid::from_raw(owner.gid),
        );
        fchown(&directory, Some(uid), Some(gid))?;
    }
    let private = std::fs::Permissions::from_mode(0o700);
    Ok(fchmod(&directory, Mode::from_raw_mode(private.mode()))?)
}

/// Removes such a directory. A thousand workers may end together, and almost always it
/// holds what we put there and nothing else: that is removed by name, without reading directories.
///
/// # Errors
/// What unlink(2) and rmdir(2) say; having no such directory is no error.
pub fn remove_private(path: &Path) -> io::Result<()> {
    for name in ["out", "err", "notify"] {
        let _ = std::fs::remove_file(path.join(name));
    }
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            std::fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        let by_name = account(Some("root"), None).unwrap().unwrap();
        let by_number = account(Some("0"), None).unwrap().unwrap();
        assert_eq!(by_name.owner, Owner { uid: 0, gid: 0 });
        assert_eq!(
            (
                by_name.user.as_ref().unwrap().name.as_str(),
                &by_name.groups
            ),
            ("root", &by_number.groups)
        );
        let bare = account(Some("4294960000"), Some("4294960001"))
            .unwrap()
            .unwrap();
        assert_eq!(
            (bare.owner.uid, bare.owner.gid, bare.user),
            (4_294_960_000, 4_294_960_001, None)
        );
        assert_eq!(account(None, None), Ok(None));
        assert_eq!(account(None, Some("root")).unwrap().unwrap().groups, [0]);
    }

    #[test]
    fn what_is_not_there_is_said_with_what_to_do() {
        let said = |user, group| account(user, group).unwrap_err()[0].to_string();
        assert!(said(Some("no-such-one"), None).contains("no user \"no-such-one\""));
        assert!(said(Some("root"), Some("no-such-one")).contains("groupadd"));
        assert!(said(Some("4294960000"), None).contains("set `group` too"));
        assert!(said(Some("nul\0"), None).contains("user"));
        let both = account(Some("no-such-one"), Some("no-such-group")).unwrap_err();
        assert_eq!(both.len(), 2, "both are told: {both:?}");
    }

    #[test]
    fn a_private_directory_is_made_and_put_right() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("w");
        std::fs::create_dir(&path).unwrap();
        let me = Owner::current();
        let owner = if me.uid == 0 {
            Owner {
                uid: 12_345,
                gid: 12_346,
            }
        } else {
            me
        };
        for _ in 0..2 {
            private_directory(&path, owner).unwrap();
            let there = std::fs::metadata(&path).unwrap();
            assert_eq!(
                (there.uid(), there.gid(), there.mode() & 0o7777),
                (owner.uid, owner.gid, 0o700)
            );
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_directory_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("w");
        std::os::unix::fs::symlink("/etc", &path).unwrap();
        private_directory(&path, Owner::current()).unwrap_err();
    }
}
