//! Who has what a new master wants, in words: another master, a worker that one left behind, somebody else.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::control::Span;
use crate::control::client::Client;
use crate::control::paths::{Holder, PathError, control_socket};
use crate::control::view::{MasterState, Status};
use crate::process::parent;
use crate::sockets::SocketError;
use crate::sockets::holder::{Known, Remedy};

/// Deeper trees than this are loops of numbers that were used again.
const DEPTH_MAX: usize = 64;

/// For another master's status; one that counts connections answers within a second.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Why an address cannot be bound; of its holders is said what they are to handover.
pub(super) fn of_address(error: SocketError, config: Option<&Path>) -> String {
    error.with_known(|pid| known(pid, config)).to_string()
}

/// Why a runtime directory cannot be had. `elsewhere`: it was given, by `--runtime-dir` or `$RUNTIME_DIRECTORY`, and
/// does not come from the service's name.
pub(super) fn of_directory(error: &PathError, config: Option<&Path>, elsewhere: bool) -> String {
    let PathError::InUse {
        path,
        holder: Some(holder),
    } = error
    else {
        return error.to_string();
    };
    let Holder { name, pid, .. } = holder;
    let other = match elsewhere {
        true => "another --runtime-dir",
        false => "another --name",
    };
    let what_now = match how_it_stops(path) {
        None => format!(
            "upgrade it: {}; stop it: {}",
            holder.command("upgrade", path),
            holder.command("stop", path)
        ),
        Some(how) => {
            let stop = holder.command("stop", path);
            format!(
                "it is stopping{how}: wait until it is gone, and start again: {stop}; to end it at once: {stop} --now"
            )
        }
    };
    format!(
        "service {name} runs already (pid {pid}, {}) and has {}; {what_now}; or give this one {other}",
        sameness(holder, config),
        path.display(),
    )
}

/// For how long a master goes on that was told to stop; none for one that was not, and for one that does not answer.
fn how_it_stops(directory: &Path) -> Option<String> {
    let status = ask(directory)?;
    if status.state != MasterState::Stopping {
        return None;
    }
    let deadlines = status.generations.iter();
    let last = deadlines.filter_map(|held| held.drain_deadline).max();
    Some(last.map_or_else(String::new, |last| {
        // Rounded up: "0 s" would be over.
        let left = last.since(status.at) + Duration::from_millis(999);
        let left = Span(left.as_secs() * 1000);
        format!(" and its workers may drain for another {left}")
    }))
}

/// Before there is a runtime; whoever may not ask has no answer either.
fn ask(directory: &Path) -> Option<Status> {
    let client = Client::new(control_socket(directory));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .ok()?;
    runtime.block_on(async {
        let status = client.get("/v1/status");
        tokio::time::timeout(ANSWER_TIMEOUT, status)
            .await
            .ok()?
            .ok()
    })
}

fn known(pid: i32, config: Option<&Path>) -> Option<Known> {
    if let Some((holder, directory)) = Holder::of_master(pid) {
        return Some(Known {
            what: format!(
                "the master of service {} ({})",
                holder.name,
                sameness(&holder, config)
            ),
            remedy: remedy(&holder, &directory),
            is_origin: true,
        });
    }
    known_worker(pid)
}

/// What is known of a process of whose descriptors there may be too many to look at each; of a master by its name.
pub(super) fn known_by_name(pid: i32, name: Option<&str>, config: Option<&Path>) -> Option<Known> {
    match name {
        Some("handover") => known(pid, config),
        _ => known_worker(pid),
    }
}

fn known_worker(pid: i32) -> Option<Known> {
    let name = worker_of(pid)?;
    Some(match master_above(pid) {
        Some((holder, directory)) => Known {
            what: format!(
                "a worker of service {} (its master is pid {})",
                holder.name, holder.pid
            ),
            remedy: remedy(&holder, &directory),
            is_origin: false,
        },
        None => Known {
            what: format!("a worker of a handover that is gone (service {name})"),
            remedy: Remedy::Kill(pid),
            is_origin: false,
        },
    })
}

fn remedy(holder: &Holder, directory: &Path) -> Remedy {
    let stop = holder.command("stop", directory);
    let upgrade = holder.command("upgrade", directory);
    Remedy::Say(format!("stop it: {stop}; or upgrade it: {upgrade}"))
}

/// Whether it is the same service that was started a second time.
fn sameness(holder: &Holder, config: Option<&Path>) -> String {
    let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match (&holder.config, config) {
        (None, None) => "neither has a config file".to_owned(),
        (None, Some(_)) => "without a config file".to_owned(),
        (Some(theirs), Some(ours)) if whole(theirs) == whole(ours) => {
            format!("with the same config, {}", theirs.display())
        }
        (Some(theirs), _) => format!("with another config, {}", theirs.display()),
    }
}

/// The name of the service that a process was started for; none when it is no worker's.
fn worker_of(pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |name: &[u8]| {
        let mut pairs = environment.split(|byte| *byte == 0);
        let found = pairs.find_map(|pair| pair.strip_prefix(name));
        found.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    value(b"HANDOVER_NONCE=")?;
    value(b"HANDOVER_NAME=")
}

fn master_above(pid: i32) -> Option<(Holder, std::path::PathBuf)> {
    let above = std::iter::successors(parent(pid), |pid| parent(*pid));
    above.take(DEPTH_MAX).find_map(Holder::of_master)
}
