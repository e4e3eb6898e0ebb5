//! Finding the running masters of this machine.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Client;
use crate::control::paths::{self, Holder, Places};

/// More runtime directories than any machine has; a bound all the same.
const DIRECTORIES_MAX: usize = 1000;

/// A master that is there.
#[derive(Clone, Debug)]
pub struct Master {
    /// The service's name.
    pub name: String,
    /// Its runtime directory.
    pub directory: PathBuf,
    /// Its process ID, as its lock says.
    pub pid: Option<i32>,
    /// Speaks to it.
    pub client: Client,
}

/// A place that was looked at, and why it holds no master that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// The place.
    pub path: PathBuf,
    /// Why; none when there simply is nothing.
    pub reason: Option<String>,
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// Why there is no master to speak to.
#[derive(Debug)]
pub enum NotFound {
    /// None runs, or none of that name.
    Nothing {
        /// The name that was asked for.
        name: Option<String>,
        /// Where it was looked for.
        looked: Vec<Looked>,
        /// Those that run under other names.
        others: Vec<Master>,
        /// Whether there are places that could not be looked into: a master
        /// may run there.
        denied: bool,
    },
    /// Several run, and none was named.
    Several(Vec<Master>),
}

/// Finds the master called `name`, or the only one; in `runtime_dir` (the
/// directory of one master, or the one above), else wherever masters live.
///
/// # Errors
/// [`NotFound`], which says where it looked, or what there is to choose from.
pub async fn locate(name: Option<&str>, runtime_dir: Option<&Path>) -> Result<Master, NotFound> {
    locate_in(&Places::from_env(), name, runtime_dir).await
}

/// [`locate`] with other places.
///
/// # Errors
/// As [`locate`].
pub async fn locate_in(
    places: &Places,
    name: Option<&str>,
    runtime_dir: Option<&Path>,
) -> Result<Master, NotFound> {
    let mut search = Search {
        user: places.user,
        found: Vec::new(),
        looked: Vec::new(),
        denied: false,
    };
    match runtime_dir {
        Some(dir) => search.given(dir).await,
        None => {
            if let Some(own) = places.given() {
                search.directory(&own).await;
                // Also where its master is another than the one that is asked for.
                if !search.has_looked(&own) {
                    search.saw(&own, None);
                }
            }
            for root in places.roots() {
                search.root(&root).await;
            }
        }
    }
    search.choose(name)
}

struct Search {
    user: u32,
    found: Vec<Master>,
    looked: Vec<Looked>,
    denied: bool,
}

impl Search {
    async fn given(&mut self, dir: &Path) {
        // What somebody names is trusted; only a search is careful.
        // The socket in it says which is meant, but there may be another place above.
        if fs::metadata(dir).is_ok_and(|meta| !meta.is_dir()) {
            let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
            let above = above.unwrap_or(Path::new("."));
            let fix = match paths::control_socket(above).exists() {
                true => format!("; write --runtime-dir {}", above.display()),
                false => String::new(),
            };
            self.saw(dir, Some(format!("it is no directory{fix}")));
        } else if paths::control_socket(dir).exists() {
            self.directory(dir).await;
            if !self.has_looked(dir) {
                self.saw(dir, None);
            }
        } else {
            self.children(dir).await;
        }
    }

    async fn root(&mut self, root: &Path) {
        if root.symlink_metadata().is_ok()
            && let Some(reason) = paths::distrust(root, self.user)
        {
            self.saw(root, Some(format!("not safe: {reason}")));
            return;
        }
        self.children(root).await;
    }

    async fn children(&mut self, root: &Path) {
        let entries = match fs::read_dir(root) {
            Ok(entries) => entries,
            Err(error) => {
                let missing = error.kind() == io::ErrorKind::NotFound;
                self.denied |= error.kind() == io::ErrorKind::PermissionDenied;
                self.saw(&root.join("*"), (!missing).then(|| error.to_string()));
                return;
            }
        };
        self.saw(&root.join("*"), None);
        let mut directories: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .take(DIRECTORIES_MAX)
            .collect();
        directories.sort_unstable();
        for directory in directories {
            if paths::control_socket(&directory).exists() {
                self.directory(&directory).await;
            }
        }
    }

    async fn directory(&mut self, directory: &Path) {
        if self
            .found
            .iter()
            .any(|master| master.directory == directory)
        {
            return;
        }
        let client = Client::new(paths::control_socket(directory));
        if let Err(error) = client.probe().await {
            self.denied |= error.kind() == io::ErrorKind::PermissionDenied;
            let reason = match error.kind() {
                io::ErrorKind::NotFound => None,
                io::ErrorKind::ConnectionRefused => Some("its master is dead".to_owned()),
                io::ErrorKind::PermissionDenied => Some(let_in(directory)),
                _ => Some(error.to_string()),
            };
            self.saw(directory, reason);
            return;
        }
        let holder = Holder::of(directory);
        let last = directory.file_name().unwrap_or_default().to_string_lossy();
        self.found.push(Master {
            name: holder
                .as_ref()
                .map_or_else(|| last.into_owned(), |h| h.name.clone()),
            directory: directory.to_owned(),
            pid: holder.map(|holder| holder.pid),
            client,
        });
    }

    fn has_looked(&self, path: &Path) -> bool {
        self.looked.iter().any(|looked| looked.path == path)
    }

    fn saw(&mut self, path: &Path, reason: Option<String>) {
        let looked = Looked {
            path: path.to_owned(),
            reason,
        };
        if !self.looked.contains(&looked) {
            self.looked.push(looked);
        }
    }

    fn choose(self, name: Option<&str>) -> Result<Master, NotFound> {
        let Self {
            found,
            looked,
            denied,
            ..
        } = self;
        let (mut fitting, others): (Vec<_>, Vec<_>) = match name {
            None => (found, Vec::new()),
            Some(name) => found.into_iter().partition(|master| {
                master.name == name || master.directory.file_name().is_some_and(|n| n == name)
            }),
        };
        if fitting.len() > 1 {
            return Err(NotFound::Several(fitting));
        }
        let name = name.map(str::to_owned);
        fitting.pop().ok_or(NotFound::Nothing {
            name,
            looked,
            others,
            denied,
        })
    }
}

/// Whom the control socket of `directory` lets in, for somebody whom it does not.
fn let_in(directory: &Path) -> String {
    let Ok(meta) = fs::metadata(paths::control_socket(directory)) else {
        return "it is another user's".to_owned();
    };
    let owner = format!("it is uid {}'s", meta.uid());
    match meta.mode() & 0o020 {
        0 => owner,
        _ => format!("{owner}, and open to the members of gid {}", meta.gid()),
    }
}

#[cfg(test)]
#[path = "locate_tests.rs"]
mod tests;
