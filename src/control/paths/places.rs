//! The places where runtime directories are made and looked for.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What decides where runtime directories are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The effective user ID.
    pub user: u32,
    /// `$RUNTIME_DIRECTORY`: systemd's, for this very service.
    pub runtime_directory: Option<OsString>,
    /// `$XDG_RUNTIME_DIR`: the user's, made at login.
    pub user_runtime: Option<OsString>,
    /// `/run/handover`; another in tests.
    pub system: PathBuf,
    /// `/tmp`; another in tests.
    pub temporary: PathBuf,
}

/// The runtime directory of the service `name`, when `--runtime-dir` does not
/// say otherwise: `$RUNTIME_DIRECTORY`, else `/run/handover/NAME` as root,
/// else `$XDG_RUNTIME_DIR/handover/NAME`, else `/tmp/handover-UID/NAME`.
#[must_use]
pub fn default_runtime_dir(name: &str) -> PathBuf {
    Places::from_env().default_for(name)
}

/// Whether the command line finds a master in `directory` without being told where it is.
#[must_use]
pub fn is_found(directory: &Path) -> bool {
    let parent = directory.parent();
    parent.is_some_and(|parent| Places::from_env().roots().iter().any(|root| root == parent))
}

/// The state directory of the service `name`, when `--state-dir` does not say otherwise: `$STATE_DIRECTORY`, else
/// `/var/lib/handover/NAME` as root, else `$XDG_STATE_HOME/handover/NAME`, which is `~/.local/state` where it is not set
/// (XDG Base Directory Specification). None where the environment names no home.
#[must_use]
pub fn default_state_dir(name: &str) -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    state_dir(user, |variable| env::var_os(variable), name)
}

fn state_dir(
    user: u32,
    variable: impl Fn(&str) -> Option<OsString>,
    name: &str,
) -> Option<PathBuf> {
    let given = variable("STATE_DIRECTORY");
    // systemd separates several by colons (systemd.exec(5)).
    let given = given.as_ref().and_then(|it| it.to_str()?.split(':').next());
    if let Some(given) = given.and_then(|it| absolute(Path::new(it))) {
        return Some(given);
    }
    let root = match user {
        0 => PathBuf::from("/var/lib"),
        _ => {
            let set = |it: &str| absolute(Path::new(&variable(it)?));
            set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?
        }
    };
    Some(root.join("handover").join(component(name)))
}

impl Places {
    /// Those of this process.
    #[must_use]
    pub fn from_env() -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            runtime_directory: env::var_os("RUNTIME_DIRECTORY"),
            user_runtime: env::var_os("XDG_RUNTIME_DIR"),
            system: PathBuf::from("/run/handover"),
            temporary: PathBuf::from("/tmp"),
        }
    }

    /// The runtime directory of the service `name`.
    #[must_use]
    pub fn default_for(&self, name: &str) -> PathBuf {
        let mut all = self.all_for(name).into_iter();
        all.next()
            .unwrap_or_else(|| self.last_resort().join(component(name)))
    }

    /// Where the runtime directory of the service `name` may be, best first: the next where one cannot be written to,
    /// as in a container with a read-only root. What systemd gives is the only one.
    #[must_use]
    pub fn all_for(&self, name: &str) -> Vec<PathBuf> {
        if let Some(given) = self.given() {
            return vec![given];
        }
        let system = (self.user == 0).then(|| self.system.clone());
        let roots = system.into_iter().chain(self.of_the_user());
        let roots = roots.chain([self.last_resort()]);
        roots.map(|root| root.join(component(name))).collect()
    }

    /// The directory that systemd made for this very service.
    #[must_use]
    pub fn given(&self) -> Option<PathBuf> {
        // systemd separates several by colons (systemd.exec(5)).
        let given = self.runtime_directory.as_ref()?.to_str()?;
        absolute(Path::new(given.split(':').next()?))
    }

    /// The directories that hold runtime directories, most likely first.
    #[must_use]
    pub fn roots(&self) -> Vec<PathBuf> {
        let mut roots = vec![self.system.clone()];
        roots.extend(self.of_the_user());
        roots.push(self.last_resort());
        roots
    }

    fn of_the_user(&self) -> Option<PathBuf> {
        // A relative one is to be ignored (XDG Base Directory Specification).
        absolute(Path::new(self.user_runtime.as_ref()?)).map(|dir| dir.join("handover"))
    }

    fn last_resort(&self) -> PathBuf {
        self.temporary.join(format!("handover-{}", self.user))
    }
}

fn absolute(path: &Path) -> Option<PathBuf> {
    path.is_absolute().then(|| path.to_owned())
}

/// `name` as one component of a path: a name like `a/b` or `..` stays inside.
fn component(name: &str) -> String {
    match name {
        "" | "." | ".." => "_".to_owned(),
        _ => name.replace(['/', '\0'], "_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(user: u32, systemd: Option<&str>, xdg: Option<&str>) -> Places {
        Places {
            user,
            runtime_directory: systemd.map(OsString::from),
            user_runtime: xdg.map(OsString::from),
            system: PathBuf::from("/run/handover"),
            temporary: PathBuf::from("/tmp"),
        }
    }

    #[test]
    fn the_runtime_directory_follows_who_runs_and_where() {
        for (user, systemd, xdg, expected) in [
            (0, None, None, "/run/handover/web"),
            (0, None, Some("/run/user/0"), "/run/handover/web"),
            (
                1000,
                None,
                Some("/run/user/1000"),
                "/run/user/1000/handover/web",
            ),
            (1000, None, None, "/tmp/handover-1000/web"),
            (1000, None, Some(""), "/tmp/handover-1000/web"),
            (1000, None, Some("relative"), "/tmp/handover-1000/web"),
            (
                1000,
                Some("/run/handover/x"),
                Some("/run/user/1000"),
                "/run/handover/x",
            ),
            (0, Some("/run/a:/run/b"), None, "/run/a"),
            (0, Some(""), None, "/run/handover/web"),
        ] {
            let found = places(user, systemd, xdg).default_for("web");
            assert_eq!(found, Path::new(expected), "{user} {systemd:?} {xdg:?}");
        }
    }

    #[test]
    fn the_state_directory_follows_who_runs_and_where() {
        let place = |user: u32, set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = set.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            state_dir(user, variable, "a/b").map(|it| it.display().to_string())
        };
        let home = ("HOME", "/home/a");
        assert_eq!(place(0, &[home]).as_deref(), Some("/var/lib/handover/a_b"));
        let expected = Some("/home/a/.local/state/handover/a_b");
        assert_eq!(place(7, &[home]).as_deref(), expected);
        let set = [home, ("XDG_STATE_HOME", "/s")];
        assert_eq!(place(7, &set).as_deref(), Some("/s/handover/a_b"));
        let given = [("STATE_DIRECTORY", "/var/lib/x:/var/lib/y")];
        assert_eq!(place(7, &given).as_deref(), Some("/var/lib/x"));
        assert_eq!(place(7, &[]), None);
    }

    #[test]
    fn where_one_cannot_be_written_to_there_is_another() {
        let all = |places: Places| -> Vec<String> {
            let all = places.all_for("web").into_iter();
            all.map(|it| it.display().to_string()).collect()
        };
        let (root, user) = ("/run/handover/web", "/run/user/7/handover/web");
        assert_eq!(all(places(0, None, None)), [root, "/tmp/handover-0/web"]);
        let expected = [root, user, "/tmp/handover-0/web"];
        assert_eq!(all(places(0, None, Some("/run/user/7"))), expected);
        let expected = [user, "/tmp/handover-7/web"];
        assert_eq!(all(places(7, None, Some("/run/user/7"))), expected);
        assert_eq!(all(places(0, Some("/run/own"), None)), ["/run/own"]);
    }

    #[test]
    fn no_name_leaves_its_place() {
        let root = places(0, None, None);
        for (name, expected) in [
            ("", "/run/handover/_"),
            ("..", "/run/handover/_"),
            ("a/../../b", "/run/handover/a_.._.._b"),
        ] {
            assert_eq!(root.default_for(name), Path::new(expected));
        }
    }
}
