//! Flags of other programs and of other verbs, and what to type here.

use super::quoted;
use super::typed::Typed;

/// The verbs (none: every one), the flags, and what to type: `[stop]` is `handover stop` with the name and the place
/// that were typed, `[]` is that of the verb that was typed, `<20>` is the flag's value, or 20 where it has none.
type Row = (
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

const RUN: &[Row] = &[
    (
        &["run"],
        &["--json", "--format", "-o", "--output"],
        "for handover's own lines as JSON: handover run --log-format json …",
    ),
    (
        &["run"],
        &[
            "--port",
            "-p",
            "--bind",
            "-b",
            "--host",
            "--addr",
            "--address",
            "-a",
        ],
        "where to listen: --listen :8080, or --listen 127.0.0.1:8080 for this machine only",
    ),
    (
        &["run"],
        &["--env", "-e"],
        "set it before the command (K=V handover run …), or in the config: [app] env = { K = \"V\" }",
    ),
    (
        &["run"],
        &["--env-file"],
        "in the config: [app] env_file = \"/etc/default/web\"",
    ),
    (
        &["run"],
        &["--user", "-u", "--group", "-g"],
        "in the config: [app] user = \"web\"",
    ),
    (
        &["run"],
        &["--directory", "--chdir", "--cwd", "-C"],
        "in the config: [app] directory = \"/srv/web\"; else workers start where handover was started",
    ),
    (
        &["run"],
        &[
            "--detach",
            "-d",
            "--daemon",
            "-D",
            "--background",
            "--daemonize",
        ],
        "it stays in the foreground: systemctl start handover@NAME runs it behind you (systemd/handover@.service)",
    ),
    (
        &["run"],
        &["--label"],
        "an upgrade has a label: handover upgrade --label <TEXT>",
    ),
    (
        &["run"],
        &["--canary"],
        "an upgrade has a canary: handover upgrade --canary 1",
    ),
    (
        &["run"],
        &["--dry-run", "--check", "--test", "-t"],
        "to look up all that a start would need: handover check FILE",
    ),
];

const FORCE: &[&str] = &["--force", "-f", "-9", "--kill"];
const WORKERS: &[&str] = &["--workers", "-w", "--count"];
const DRY: &[&str] = &["--dry-run", "--check", "--test", "-t"];
const LAST: &[&str] = &["--tail", "-n", "--lines", "--limit", "--last"];
/// Every verb that has an answer to show again.
const SHOWN: &[&str] = &["history", "events", "logs"];

const OTHERS: &[Row] = &[
    (&["stop"], FORCE, "without the drain: [stop] --now"),
    (
        &["rollback"],
        FORCE,
        "although files of that release changed: [rollback] --anyway",
    ),
    (
        &["upgrade"],
        FORCE,
        "new workers are started even where nothing changed; leave it out: [upgrade]",
    ),
    (
        &["status"],
        &["-w", "-f", "--follow"],
        "to see it again whenever something happens: [status] --watch",
    ),
    (
        SHOWN,
        &["-w", "-f", "--watch", "--follow"],
        "to go on with what happens: [events] --follow",
    ),
    (
        &["promote", "abort", "reload", "scale"],
        FORCE,
        "leave it out: []",
    ),
    (&["scale"], WORKERS, "the number stands alone: [scale] <3>"),
    (
        &["upgrade", "reload", "rollback"],
        WORKERS,
        "for another number of workers, now: [scale] <3>; for good: set app.workers in the config, then: [upgrade]",
    ),
    (
        &["check"],
        &["--config", "-c", "--file", "-f"],
        "the file stands alone: handover check <FILE>",
    ),
    (
        &["check"],
        &["--listen", "-l", "--workers", "-w"],
        "that is a flag of `handover run`; a check reads the file alone: handover check FILE",
    ),
    (
        &["upgrade"],
        DRY,
        "the config alone: handover check FILE; with one worker beside the old ones, until promote or abort: [upgrade] --canary 1",
    ),
    (&["reload"], DRY, "the config alone: handover check FILE"),
    (
        &["upgrade"],
        &["--version", "-V", "--tag", "--release"],
        "a name for people: [upgrade] --label <v2>",
    ),
    (
        &["upgrade"],
        &["-e", "--environment", "--set", "--set-env"],
        "to set a variable: [upgrade] --env <K=V>",
    ),
    (
        &["rollback"],
        &["--label", "--version", "--generation", "-g"],
        "by the number of its generation, which stands beside the label in [history]: [rollback] --to 3",
    ),
    (
        &["promote", "abort", "reload", "scale"],
        &["--label"],
        "an upgrade has a label: [upgrade] --label <TEXT>",
    ),
    (
        &["promote", "abort", "reload", "scale", "rollback"],
        &["--env", "-e", "--env-file"],
        "variables come with an upgrade: [upgrade] --env <K=V>",
    ),
    (
        &["events", "history"],
        LAST,
        "the last ones: [] | tail -n <20>",
    ),
    (&[], &["--tail"], "the last lines: [logs] --lines <20>"),
    (
        &["logs"],
        &["--since", "--until"],
        "by their number, not by their time: [logs] --lines 20",
    ),
    (
        &["status", "history"],
        &["--since", "--until"],
        "what happened, each with its time and its number: [events]",
    ),
    (
        &["completions", "man"],
        &["--json", "--format"],
        "there is no JSON of it; leave it out",
    ),
    (&[], &["--format", "-o", "--output"], "as JSON: [] --json"),
    (&[], &["--name"], "the name stands alone: [] <NAME>"),
    (
        &[],
        &["--listen", "-l", "--config", "-c"],
        "that is a flag of `handover run`; a master that runs reads its own config again with each upgrade",
    ),
];

/// What to type instead of `flag`.
pub(super) fn of(flag: &str, typed: &Typed<'_>) -> Option<String> {
    let verb = typed.verb();
    let table = if verb == "run" { RUN } else { OTHERS };
    let (_, _, text) = table.iter().find(|(verbs, flags, _)| {
        (verbs.is_empty() || verbs.contains(&verb)) && flags.contains(&flag)
    })?;
    Some(filled(text, flag, typed))
}

fn filled(text: &str, flag: &str, typed: &Typed<'_>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['[', '<']) {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let close = if from.starts_with('[') { ']' } else { '>' };
        let Some((inner, behind)) = from.get(1..).and_then(|from| from.split_once(close)) else {
            break;
        };
        filled += &match (close, inner) {
            // `[app]` of a config.
            (']', "app") => "[app]".to_owned(),
            (']', "") => typed.command(typed.verb()),
            (']', verb) => typed.command(verb),
            (_, default) => typed.value(flag).map_or_else(|| default.to_owned(), quoted),
        };
        rest = behind;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_others_lead_to_ours() {
        for (line, flag, said) in [
            ("run --json", "--json", "--log-format json"),
            ("run --port=80", "--port", "--listen :8080"),
            ("run --env A=1", "--env", "K=V handover run"),
            ("run --user web", "--user", "[app] user = \"web\""),
            ("stop web --force", "--force", "handover stop web --now"),
            ("rollback --force", "--force", "handover rollback --anyway"),
            ("status -w", "-w", "handover status --watch"),
            ("scale --workers 3", "--workers", "alone: handover scale 3"),
            (
                "scale web --runtime-dir /r --workers=3",
                "--workers",
                "handover scale web --runtime-dir /r 3",
            ),
            ("upgrade -w 2", "-w", "now: handover scale 2; for good"),
            ("upgrade --dry-run", "--dry-run", "handover check FILE"),
            (
                "upgrade --version v2",
                "--version",
                "handover upgrade --label v2",
            ),
            ("upgrade -e A=1", "-e", "handover upgrade --env A=1"),
            ("events -n 3", "-n", "handover events | tail -n 3"),
            ("status --format json", "--format", "handover status --json"),
            ("check -c web.toml", "-c", "handover check web.toml"),
            ("check -c", "-c", "handover check FILE"),
            ("stop --name web", "--name", "alone: handover stop web"),
        ] {
            let typed = Typed::new(line.split(' '));
            let hint = of(flag, &typed).unwrap_or_default();
            assert!(hint.contains(said), "{line}: {hint}");
        }
        let typed = Typed::new(["upgrade", "--force"]);
        let hint = of("--force", &typed).unwrap_or_default();
        assert!(hint.ends_with("leave it out: handover upgrade"), "{hint}");
        assert_eq!(of("--watc", &Typed::new(["status", "--watc"])), None);
    }

    #[test]
    fn every_template_is_filled() {
        let typed = Typed::new(["upgrade", "web"]);
        for (_, flags, text) in RUN.iter().chain(OTHERS) {
            let hint = filled(text, flags[0], &typed).replace("[app]", "");
            assert!(!hint.contains(['[', ']', '<', '>']), "{hint}");
        }
    }
}
