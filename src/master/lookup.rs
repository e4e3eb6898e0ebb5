//! What a config only names: programs, users, files. Looked up before anything is opened or begun: by `run`, by an
//! upgrade, and by `check` without a start.

use std::ffi::OsString;
use std::path::Path;

use super::environment;
use super::sticky::Sticky;
use crate::config::{self, Address, Config, Fault, Faults, Limits, Loaded, Place};
use crate::control::paths::default_runtime_dir;
use crate::process::{Owner, Plan, Release, ResolveError, Resource, unknown_owner};

/// The first release of a config, with all that it needs.
///
/// # Errors
/// Everything that is missing or cannot be used, each at its key's place.
pub fn look_up(loaded: &Loaded) -> Result<Release, Faults> {
    let mut faults = Vec::new();
    let file = environment_file(loaded, None).unwrap_or_else(|wrong| {
        faults.extend(wrong.0);
        Vec::new()
    });
    let release = Release::resolve(plan(&loaded.config, &Sticky::default(), file, None));
    if let Err(unresolved) = &release {
        let told = |error: &ResolveError| loaded.fault(error.key(), error.what(), error.hint());
        faults.extend(unresolved.0.iter().map(told));
    }
    faults.extend(unix_paths(loaded));
    faults.extend(super::access::faults(loaded));
    if let Ok(release) = &release
        && let (own, wanted) = (Owner::current(), release.owner())
        && own.uid != 0
        && own != wanted
    {
        let key = if loaded.config.app.user.is_some() {
            "app.user"
        } else {
            "app.group"
        };
        let what = "workers of another user or group can only be started by root";
        let hint = "start handover as root, or leave the key out";
        faults.push(loaded.fault(key, what.to_owned(), Some(hint.to_owned())));
    }
    match release {
        Ok(release) if faults.is_empty() => Ok(release),
        _ => Err(Faults::in_order(faults)),
    }
}

/// Where a unix socket shall be made, and whom it shall belong to.
fn unix_paths(loaded: &Loaded) -> Vec<Fault> {
    let mut faults = Vec::new();
    // `run` makes this one itself; with --runtime-dir it has made it already.
    let own = default_runtime_dir(&config::service_name(&loaded.config, loaded.file()));
    for (index, listen) in loaded.config.listen.iter().enumerate() {
        let Address::Unix(path) = &listen.address else {
            continue;
        };
        let key = |name: &str| format!("listen[{index}].{name}");
        let (user, group) = (listen.user.as_deref(), listen.group.as_deref());
        for (name, error) in unknown_owner(user, group) {
            faults.push(loaded.fault(&key(name), error.what(), error.hint()));
        }
        let Some(directory) = path.parent().filter(|path| !path.as_os_str().is_empty()) else {
            continue;
        };
        if directory.is_dir() || directory.starts_with(&own) {
            continue;
        }
        let shown = directory.display();
        let (what, hint) = match directory.exists() {
            true => (format!("{shown} is not a directory"), "correct the path"),
            false => (
                format!("there is no directory {shown} for the socket"),
                "create it; below /run the unit can: RuntimeDirectory=",
            ),
        };
        faults.push(loaded.fault(&key("address"), what, Some(hint.to_owned())));
    }
    faults
}

/// What `app.env_file`, or the file that an upgrade names instead, holds.
pub(super) fn environment_file(
    loaded: &Loaded,
    instead: Option<&Path>,
) -> Result<Vec<(String, String)>, Faults> {
    let configured = loaded.config.app.env_file.as_deref();
    let Some(path) = instead.or(configured) else {
        return Ok(Vec::new());
    };
    let told = |fault: Fault| match (&fault.place, instead) {
        // Nothing in it is wrong, but the file itself: that is told where it is named.
        (Place::File(_), None) => {
            let unusable = format!("{} {}", path.display(), without_name(&fault.message, path));
            loaded.fault("app.env_file", unusable, fault.hint)
        }
        (Place::File(_), Some(path)) => Fault {
            place: Place::Flag {
                name: "--env-file".to_owned(),
                value: Some(path.display().to_string()),
            },
            ..fault
        },
        _ => Fault {
            key: Some("app.env_file".to_owned()),
            ..fault
        },
    };
    config::read_env_file(path).map_err(|faults| Faults(faults.0.into_iter().map(told).collect()))
}

/// "web.env does not exist" without its first word: the whole path says more.
fn without_name<'m>(message: &'m str, path: &Path) -> &'m str {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let rest = name.and_then(|name| message.strip_prefix(name.as_ref()));
    rest.map_or(message, str::trim_start)
}

/// What a release is made of, before anything is looked up.
pub(super) fn plan(
    config: &Config,
    sticky: &Sticky,
    env_file: Vec<(String, String)>,
    label: Option<String>,
) -> Plan {
    let own: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let mut env = environment::of_release(config, &own, env_file);
    let asked = sticky
        .env
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    env.extend(asked);
    let app = &config.app;
    let set = app.env.keys().chain(sticky.env.keys());
    Plan {
        argv: sticky
            .command
            .clone()
            .unwrap_or_else(|| app.command.clone()),
        env,
        own_env: set.map(OsString::from).collect(),
        directory: app.directory.clone(),
        user: app.user.clone(),
        group: app.group.clone(),
        umask: app.umask,
        no_new_privs: app.no_new_privs,
        limits: limits(&config.limits),
        label,
    }
}

fn limits(limits: &Limits) -> Vec<(Resource, u64)> {
    let set = [
        (Resource::Nofile, limits.nofile),
        (Resource::Nproc, limits.nproc),
        (Resource::Core, limits.core),
        (Resource::Memlock, limits.memlock),
        (Resource::Stack, limits.stack),
        (Resource::Data, limits.data),
        (Resource::Fsize, limits.fsize),
        (Resource::As, limits.address_space),
    ];
    set.into_iter()
        .filter_map(|(resource, limit)| Some((resource, limit?)))
        .collect()
}
