//! What keys mean together.

mod admin;
mod app;
mod control;
mod listen;
mod probe;
mod upgrade;

use std::time::Duration;

use super::build::{At, Build, not_yet};
use super::raw::{Fix, Wrong, quote};
use super::types::{ReadyOn, Route, WorkerOutput};
use super::units::write_duration;

/// Checks the whole config; a rule is silent when one of its keys has a fault of its own.
pub(crate) fn check(build: &mut Build<'_>) {
    available(build);
    app::check(build);
    listen::check(build);
    admin::check(build);
    control::check(build);
    ready(build);
    probe::check(build);
    seen_output(build);
    upgrade::check(build);
    times(build);
    limits(build);
}

/// Values of keys of this version that later versions bring.
fn available(build: &mut Build<'_>) {
    let route = build.config.route.as_str();
    let output = build.config.log.worker_output.as_str();
    for (key, value) in [("route", route), ("log.worker_output", output)] {
        if let Some(instead) = later_value(key, value) {
            build.rule(key, not_yet(value, instead));
        }
    }
}

/// What to do until a later version brings this value of a key.
fn later_value(key: &str, value: &str) -> Option<&'static str> {
    let later = match (key, value) {
        ("route", _) => [Route::Balance, Route::Session]
            .iter()
            .any(|route| route.as_str() == value),
        ("log.worker_output", _) => WorkerOutput::File.as_str() == value,
        _ => false,
    };
    later.then_some(match key {
        "route" => {
            "write route = \"direct\" and let the workers take the listeners they are given (LISTEN_FDS)"
        }
        _ => "write worker_output = \"journal\", or \"inherit\" and redirect handover's own output",
    })
}

/// A word that was mistyped and means what a later version brings: both are told at once, or the second would come
/// as the answer to the first's correction.
pub(super) fn without_later(key: &str, wrong: Wrong) -> Wrong {
    let Some(Fix::Text(meant)) = &wrong.fix else {
        return wrong;
    };
    let Some(instead) = later_value(key, meant) else {
        return wrong;
    };
    let hint = format!(
        "did you mean {}? It is not available in handover {} yet: {instead}",
        quote(meant),
        env!("CARGO_PKG_VERSION")
    );
    Wrong {
        fix: None,
        hint: Some(hint),
        ..wrong
    }
}

fn ready(build: &mut Build<'_>) {
    if ["ready.on", "ready.timeout", "ready.settle"]
        .iter()
        .any(|key| build.broken.contains(*key))
    {
        return;
    }
    let ready = build.config.ready.clone();
    let timeout = write_duration(ready.timeout);
    if let ReadyOn::Uptime(uptime) = ready.on {
        if uptime >= ready.timeout {
            uptime_too_long(build, uptime, &timeout);
        }
    } else if ready.settle >= ready.timeout {
        let wrong = Wrong::new(format!(
            "is {}, but ready.timeout gives up after {timeout}",
            write_duration(ready.settle)
        ));
        // The one that somebody wrote is the one to change.
        let key = if build.set.contains_key("ready.settle") {
            "ready.settle"
        } else {
            "ready.timeout"
        };
        match key {
            "ready.settle" => build.rule(
                key,
                wrong.hint("write settle = \"1s\", or a longer ready.timeout"),
            ),
            _ => build.rule(
                key,
                Wrong::new(format!(
                    "is {timeout}, not more than ready.settle ({})",
                    write_duration(ready.settle)
                ))
                .hint("write a longer timeout, or a shorter ready.settle"),
            ),
        }
    }
    if !matches!(ready.on, ReadyOn::Auto) && build.set.contains_key("ready.settle") {
        let wrong = Wrong::new("has no effect: it decides only with on = \"auto\"");
        build.warn(
            "ready.settle",
            wrong.hint("remove it, or write on = \"auto\""),
        );
    }
    let none_counts =
        !build.listeners.is_empty() && build.listeners.iter().all(|l| !l.listen.ready);
    if ready.on == ReadyOn::Accepting && none_counts {
        let wrong = Wrong::new(
            "waits for workers on their listeners, but every [[listen]] says ready = false",
        );
        build.rule(
            "ready.on",
            wrong.hint("write ready = true in one [[listen]], or on = \"notify\""),
        );
    }
}

/// The timeout is to be changed where it was said, else where the uptime was.
fn uptime_too_long(build: &mut Build<'_>, uptime: Duration, timeout: &str) {
    let enough = write_duration(uptime + Duration::from_secs(10).min(uptime));
    let longer = match (build.set.get("ready.on"), build.set.get("ready.timeout")) {
        (_, Some(At::File(_))) | (Some(At::File(_)), None) => {
            format!("timeout = \"{enough}\" under [ready]")
        }
        (_, Some(At::Variable(name, _))) => format!("{name}={enough}"),
        _ => format!("--ready-timeout {enough}"),
    };
    let wrong = Wrong::new(format!(
        "waits for an uptime of {}, but ready.timeout gives up after {timeout}",
        write_duration(uptime)
    ));
    let hint = format!("write {longer}, or a shorter uptime");
    build.rule("ready.on", wrong.hint(hint));
}

/// Output can decide only where it passes through handover.
fn seen_output(build: &mut Build<'_>) {
    let keys = ["ready.on", "log.worker_output"];
    if keys.iter().any(|key| build.broken.contains(*key)) {
        return;
    }
    let inherited = build.config.log.worker_output == WorkerOutput::Inherit;
    if inherited && matches!(build.config.ready.on, ReadyOn::Output { .. }) {
        let wrong = Wrong::new(
            "waits for a line of output, which nobody reads: with log.worker_output = \"inherit\" it \
             does not pass through handover",
        );
        let hint = "write worker_output = \"journal\" under [log], or another sign: on = \"auto\"";
        build.rule("ready.on", wrong.hint(hint));
    }
}

fn times(build: &mut Build<'_>) {
    let broken =
        |build: &Build<'_>, keys: [&str; 2]| keys.iter().any(|key| build.broken.contains(*key));
    let restart = build.config.restart.clone();
    if !broken(build, ["restart.delay", "restart.max_delay"]) && restart.delay > restart.max_delay {
        let delay = write_duration(restart.delay);
        let set = build.set.contains_key("restart.max_delay");
        let (key, wrong) = if set {
            (
                "restart.max_delay",
                Wrong::new(format!("is shorter than restart.delay ({delay})")).text(delay),
            )
        } else {
            let max = write_duration(restart.max_delay);
            (
                "restart.delay",
                Wrong::new(format!("is longer than restart.max_delay ({max})"))
                    .hint(format!("write max_delay = \"{delay}\" as well")),
            )
        };
        build.rule(key, wrong);
    }
    let drain = build.config.drain.clone();
    let both =
        build.set.contains_key("drain.timeout") && build.set.contains_key("drain.kill_after");
    if both
        && !broken(build, ["drain.timeout", "drain.kill_after"])
        && drain.kill_after > drain.timeout
    {
        let timeout = write_duration(drain.timeout);
        let wrong = Wrong::new(format!(
            "is longer than drain.timeout ({timeout}), of which it is a part"
        ));
        build.rule("drain.kill_after", wrong.text(timeout));
    }
}

/// A wish without anything to wish for is a misunderstanding.
fn limits(build: &mut Build<'_>) {
    let limits = &build.config.limits;
    let bounds = ["limits.memory", "limits.cpu", "limits.pids"];
    let some = bounds
        .iter()
        .any(|key| build.set.contains_key(*key) || build.broken.contains(*key));
    if limits.best_effort && !some {
        let wrong =
            Wrong::new("has no effect: it is about limits.memory, limits.cpu and limits.pids");
        build.warn("limits.best_effort", wrong.hint("remove it"));
    }
}
