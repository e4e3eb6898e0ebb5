//! The command and its templates.

use super::super::build::{At, Build, not_yet};
use super::super::raw::Wrong;
use super::super::suggest;
use super::super::types::{PROBE, Route};
use super::probe;

/// What is replaced in arguments and in values of `app.env`.
const TEMPLATES: [&str; 6] = ["port", "socket", "worker", "generation", "session", "state"];
/// Those that only the router can fill.
const ROUTED: [&str; 3] = ["port", "socket", "session"];

pub(super) fn check(build: &mut Build<'_>) {
    command(build);
    if !build.broken.contains("app.command") {
        templates(build);
    }
}

fn command(build: &mut Build<'_>) {
    if build.broken.contains("app.command") {
        return;
    }
    let first = build.config.app.command.first().cloned();
    match first.as_deref() {
        None if !build.broken_lines.is_empty() => {}
        None if build.source.is_none() => {
            let wrong = Wrong::new("is missing: there is nothing to run");
            build.rule(
                "app.command",
                wrong.hint("write the program after --: handover run -l :8080 -- ./server"),
            );
        }
        None => {
            let wrong = Wrong::new("is missing: there is nothing to run");
            let hint = match build.set.contains_key("app.command") {
                true => "write command = [\"./server\", \"--verbose\"]",
                false => "write under [app]: command = [\"./server\", \"--verbose\"]",
            };
            build.rule("app.command", wrong.hint(hint));
        }
        Some("") => {
            let wrong = Wrong::new("begins with an empty string, which names no program");
            build.rule(
                "app.command",
                wrong.hint("write the program first: command = [\"./server\"]"),
            );
        }
        Some(program)
            if program.contains(' ')
                && build.config.app.command.len() == 1
                && !program.contains('/') =>
        {
            let words: Vec<_> = program.split_whitespace().map(str::to_owned).collect();
            let wrong = Wrong::new("is one string with spaces; no shell splits it");
            build.warn(
                "app.command",
                wrong.bare(super::super::raw::quote_list(&words)),
            );
        }
        Some(_) => {}
    }
}

fn templates(build: &mut Build<'_>) {
    let texts: Vec<(&str, String)> = build
        .config
        .app
        .command
        .iter()
        .map(|text| ("app.command", text.clone()))
        .chain(
            build
                .config
                .app
                .env
                .values()
                .map(|text| ("app.env", text.clone())),
        )
        .collect();
    let mut told: Vec<String> = Vec::new();
    for (key, text) in texts {
        for name in braces(&text) {
            if told.iter().any(|known| known == name) {
                continue;
            }
            if template(build, key, name) {
                told.push(name.to_owned());
            }
        }
    }
}

/// The names in braces.
fn braces(text: &str) -> impl Iterator<Item = &str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
}

/// True when something was said about it.
fn template(build: &mut Build<'_>, key: &str, name: &str) -> bool {
    if ROUTED.contains(&name) {
        routed(build, key, name);
        return true;
    }
    if let Some(listener) = name.strip_prefix("fd:") {
        return descriptor(build, key, listener);
    }
    // `{0}` or `{"json"}` are somebody else's.
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    if !plain || TEMPLATES.contains(&name) {
        return false;
    }
    let Some(near) = suggest::nearest(name, TEMPLATES.into_iter().chain(["fd"])) else {
        return false;
    };
    let near = if near == "fd" { "fd:NAME" } else { near };
    let wrong = Wrong::new(format!("has {{{name}}}, which is left as it is"));
    build.warn(key, wrong.hint(format!("did you mean {{{near}}}?")));
    true
}

fn routed(build: &mut Build<'_>, key: &str, name: &str) {
    let template = format!("has {{{name}}}, which only a router can fill");
    let route = build.config.route;
    let wrong = match route {
        Route::Direct => Wrong::new(format!("{template}, but route is \"direct\"")).hint(format!(
            "remove {{{name}}}: the program finds its listeners at descriptors 3… (LISTEN_FDS)"
        )),
        Route::Auto => {
            let wrong = not_yet(
                "",
                "remove it, and let the program take the listeners it is given (LISTEN_FDS)",
            );
            Wrong::new(format!("{template}; route = \"balance\" {}", wrong.message))
                .hint(wrong.hint.unwrap_or_default())
        }
        // The route itself is refused.
        Route::Balance | Route::Session => return,
    };
    build.rule(key, wrong);
}

fn descriptor(build: &mut Build<'_>, key: &str, listener: &str) -> bool {
    let names: Vec<String> = build
        .listeners
        .iter()
        .enumerate()
        .map(|(index, l)| {
            if l.named {
                l.listen.name.clone()
            } else {
                format!("listen-{index}")
            }
        })
        .collect();
    let uncertain = build.listeners.iter().any(|l| !l.whole)
        || matches!(&build.listen_at, Some(At::File(_)) if names.is_empty());
    let is_probe = listener == PROBE;
    if names.iter().any(|name| name == listener) || uncertain || is_probe && probe::by_http(build) {
        return false;
    }
    let wrong = Wrong::new(format!(
        "has {{fd:{listener}}}, but no listener has that name"
    ));
    if is_probe {
        let hint = "a worker gets it with health.check = \"http:PATH\" or ready.on = \"http:PATH\"";
        build.rule(key, wrong.hint(hint));
        return true;
    }
    let hint = match suggest::nearest(listener, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {{fd:{near}}}?"),
        None if names.is_empty() => format!("write [[listen]] with name = \"{listener}\""),
        None => format!("listeners: {}", names.join(", ")),
    };
    build.rule(key, wrong.hint(hint));
    true
}
