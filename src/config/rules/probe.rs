//! `[health]`, and probes as the sign of readiness.

use super::super::build::Build;
use super::super::raw::Wrong;
use super::super::types::{Probe, ReadyOn};
use super::super::units::write_duration;

pub(super) fn check(build: &mut Build<'_>) {
    without_check(build);
    slow(build);
    named_descriptors(build);
    no_shell(build);
}

/// Whether a worker is asked by `http:`, as far as that can be told.
pub(super) fn by_http(build: &Build<'_>) -> bool {
    let unknown = ["ready.on", "health.check"];
    unknown.iter().any(|key| build.broken.contains(*key))
        || probes(build).any(|(_, probe)| matches!(probe, Probe::Http(_)))
}

fn probes<'b>(build: &'b Build<'_>) -> impl Iterator<Item = (&'static str, &'b Probe)> {
    let ready = match &build.config.ready.on {
        ReadyOn::Probe(probe) => Some(("ready.on", probe)),
        _ => None,
    };
    let health = build.config.health.check.as_ref();
    ready
        .into_iter()
        .chain(health.map(|probe| ("health.check", probe)))
}

fn without_check(build: &mut Build<'_>) {
    let probe = matches!(build.config.ready.on, ReadyOn::Probe(_));
    let checked = build.config.health.check.is_some() || build.broken.contains("health.check");
    for key in ["health.interval", "health.failures", "health.timeout"] {
        let used = checked || key == "health.timeout" && probe;
        if build.set.contains_key(key) && !used {
            let wrong = Wrong::new("has no effect: nothing is asked without health.check");
            build.warn(
                key,
                wrong.hint("write check = \"http:/healthz\" under [health], or remove it"),
            );
        }
    }
}

/// One probe of a worker at a time.
fn slow(build: &mut Build<'_>) {
    let health = build.config.health.clone();
    let broken = ["health.interval", "health.timeout"];
    if health.check.is_none() || broken.iter().any(|key| build.broken.contains(*key)) {
        return;
    }
    if health.timeout > health.interval {
        let (interval, timeout) = (
            write_duration(health.interval),
            write_duration(health.timeout),
        );
        let (key, what) = match build.set.contains_key("health.timeout") {
            true => (
                "health.timeout",
                format!("is longer than health.interval ({interval})"),
            ),
            false => (
                "health.interval",
                format!("is shorter than health.timeout ({timeout})"),
            ),
        };
        let wrong = Wrong::new(format!(
            "{what}: a worker that hangs is asked less often than that, since it is asked once at a time"
        ));
        build.warn(
            key,
            wrong.hint("write a shorter timeout, or a longer interval"),
        );
    }
}

/// A program that is told its descriptors by name is told of this one in the same way, or serves it never.
fn named_descriptors(build: &mut Build<'_>) {
    let texts = build.config.app.command.iter();
    let texts = texts.chain(build.config.app.env.values());
    let all: Vec<&String> = texts.filter(|text| text.contains("{fd:")).collect();
    if all.is_empty() || !by_http(build) || all.iter().any(|text| text.contains("{fd:probe}")) {
        return;
    }
    let key = probes(build).find(|(_, probe)| matches!(probe, Probe::Http(_)));
    let key = key.map_or("health.check", |(key, _)| key);
    let wrong = Wrong::new(
        "asks each worker on a listener of its own, named probe, and app.command says {fd:…} of others only",
    );
    build.warn(
        key,
        wrong.hint("pass {fd:probe} to the program in the same way; one that can serve a single descriptor: exec:COMMAND"),
    );
}

/// What only a shell would understand.
fn no_shell(build: &mut Build<'_>) {
    const OPERATORS: [&str; 10] = [
        "|",
        "||",
        "&&",
        ";",
        "&",
        ">",
        ">>",
        "<",
        "2>&1",
        ">/dev/null",
    ];
    let told: Vec<_> = probes(build)
        .filter_map(|(key, probe)| match probe {
            Probe::Exec(words) => {
                let found = words
                    .iter()
                    .find(|word| OPERATORS.contains(&word.as_str()))?;
                Some((key, found.clone()))
            }
            Probe::Http(_) => None,
        })
        .collect();
    for (key, word) in told {
        let wrong = Wrong::new(format!(
            "passes {word:?} to the program as an argument; no shell is in between"
        ));
        build.warn(key, wrong.hint("for a shell: exec:sh -c '…'"));
    }
}
