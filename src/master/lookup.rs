//! What a config only names: programs, users, files. Looked up before anything is opened or begun: by `run`, by an
//! upgrade, and by `check` without a start.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use super::environment;
use super::groups;
use super::releases::Manner;
use super::sticky::Sticky;
use crate::config::{self, Address, Config, Fault, Faults, Limits, Loaded, Place};
use crate::control::paths::default_runtime_dir;
use crate::process::{
    Owner, Plan, Release, ResolveError, Resource, lacks_of_machine, unknown_owner,
};

/// The first release of a config, with all that it needs.
///
/// # Errors
/// Everything that is missing or cannot be used, each at its key's place.
pub fn look_up(loaded: &Loaded) -> Result<Release, Faults> {
    look_up_with(loaded, &Sticky::default()).map(|(release, _)| release)
}

/// The same with what an upgrade brought, and with the manner of its workers.
pub(super) fn look_up_with(loaded: &Loaded, sticky: &Sticky) -> Result<(Release, Manner), Faults> {
    let mut faults = Vec::new();
    let file = environment_file(loaded, None).unwrap_or_else(|wrong| {
        faults.extend(wrong.0);
        Vec::new()
    });
    let plan = plan(&loaded.config, sticky, file, sticky.label.clone());
    let (release, manner, wrong) = resolve(&loaded.config, plan);
    let told = |(key, error): &(&str, ResolveError)| loaded.fault(key, error.what(), error.hint());
    faults.extend(wrong.iter().map(told));
    faults.extend(unix_paths(loaded));
    faults.extend(bounds_of_machine(loaded));
    faults.extend(hook_programs(loaded));
    faults.extend(super::access::faults(loaded));
    if let Some(release) = &release
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
    match (release, manner) {
        (Some(release), Some(manner)) if faults.is_empty() => Ok((release, manner)),
        _ => Err(Faults::in_order(faults)),
    }
}

/// The release and the programs that are asked about it, as far as they are there, and what is wrong with the others, by
/// the key that names it.
pub(super) fn resolve(
    config: &Config,
    plan: Plan,
) -> (
    Option<Release>,
    Option<Manner>,
    Vec<(&'static str, ResolveError)>,
) {
    let mut wrong = Vec::new();
    let release = Release::resolve(plan.clone()).map_err(|unresolved| {
        let told = |error: ResolveError| (error.key(), error);
        wrong.extend(unresolved.0.into_iter().map(told));
    });
    let whole = release.as_ref().map_or(&plan, Release::plan);
    let manner = Manner::with_errands(config, whole).map_err(|errands| {
        // Where, as whom and with what they would run is told of the command already.
        let is_own = |error: &ResolveError| release.is_ok() || error.is_of_program();
        wrong.extend(errands.into_iter().filter(|(_, error)| is_own(error)));
    });
    (release.ok(), manner.ok(), wrong)
}

/// What [`look_up`] finds of the keys that are sound, in a config that has other faults.
pub fn look_up_sound(loaded: &Loaded) -> Vec<Fault> {
    // A program is looked for in the directory, by the PATH of the environment, and as the user.
    const OF_COMMAND: [&str; 4] = [
        "app.directory",
        "app.env",
        "app.env_file",
        "app.inherit_env",
    ];
    const PROGRAMS: [&str; 3] = ["app.command", "ready.on", "health.check"];
    let wrong = |key: &&str| loaded.is_said(key) && !loaded.is_sound(key);
    let misled = OF_COMMAND.iter().any(wrong);
    let trusted = |fault: &Fault| {
        let key = fault.key.as_deref();
        key.is_some_and(|key| loaded.is_sound(key) && !(misled && PROGRAMS.contains(&key)))
    };
    match look_up(loaded) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.0.into_iter().filter(trusted).collect(),
    }
}

/// A script that is not there, of an interpreter that is. Not refused: an interpreter may look elsewhere, too.
pub fn missing_script(loaded: &Loaded) -> Option<Fault> {
    let app = &loaded.config.app;
    let script = config::script_of(&app.command)?;
    let directory = app
        .directory
        .clone()
        .unwrap_or_else(|| Path::new(".").into());
    let directory = directory.canonicalize().ok()?;
    let path = directory.join(script);
    if !loaded.is_sound("app.command") || !matches!(path.try_exists(), Ok(false)) {
        return None;
    }
    let what = format!("{}: there is no such file", path.display());
    let hint = match Path::new(script).is_relative() {
        true => format!(
            "correct the path: it is relative to the working directory {}",
            directory.display()
        ),
        false => "correct the path".to_owned(),
    };
    Some(loaded.fault("app.command", what, Some(hint)))
}

/// Bounds that nobody could set on this machine. Whether handover itself may is shown by a start: a unit is delegated,
/// not the shell in which somebody looks a config up.
fn bounds_of_machine(loaded: &Loaded) -> Vec<Fault> {
    let bounds = groups::bounds(&loaded.config);
    match bounds.best_effort {
        true => Vec::new(),
        false => groups::faults(loaded, &lacks_of_machine(&bounds)),
    }
}

/// Programs of hooks that are not there: better told now than in the middle of an upgrade.
fn hook_programs(loaded: &Loaded) -> Vec<Fault> {
    let hooks = &loaded.config.hooks;
    let named = [
        ("hooks.pre_upgrade", &hooks.pre_upgrade),
        ("hooks.post_ready", &hooks.post_ready),
        ("hooks.post_drain", &hooks.post_drain),
        ("hooks.on_failure", &hooks.on_failure),
    ];
    let env = environment::of_hook(std::env::vars_os().collect());
    let mut faults = Vec::new();
    for (key, command) in named.into_iter().filter(|(_, command)| !command.is_empty()) {
        let plan = Plan {
            argv: command.clone(),
            env: env.clone(),
            ..Plan::default()
        };
        let unresolved = Release::resolve(plan).err().into_iter();
        let errors = unresolved.flat_map(|unresolved| unresolved.0);
        faults.extend(errors.map(|error| loaded.fault(key, error.what(), error.hint())));
    }
    faults
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
    let mut own_env = BTreeSet::new();
    own_env.extend(set.map(OsString::from));
    Plan {
        argv: sticky
            .command
            .clone()
            .unwrap_or_else(|| app.command.clone()),
        env,
        own_env,
        directory: app.directory.clone(),
        user: app.user.clone(),
        group: app.group.clone(),
        umask: app.umask,
        no_new_privs: app.no_new_privs,
        limits: limits(&config.limits),
        bounds: groups::bounds(config),
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
