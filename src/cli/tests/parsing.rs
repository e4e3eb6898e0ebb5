//! Arguments: what each line means, and what is wrong with it.

use clap::error::ErrorKind;

use super::*;
use crate::config::{Setting, Value};

fn words(line: &str) -> Vec<OsString> {
    std::iter::once("handover")
        .chain(line.split_whitespace())
        .map(OsString::from)
        .collect()
}

/// The verb of a line, as its debug text.
fn parsed(line: &str) -> String {
    match parse(words(line)) {
        Parsed::Verb(verb) => format!("{verb:?}"),
        Parsed::Clap(error, _) => panic!("{line}: {error}"),
        Parsed::Later(message) => panic!("{line}: {message}"),
    }
}

#[test]
fn the_definition_holds() {
    command().debug_assert();
}

#[test]
fn lines_mean_what_they_say() {
    for (line, parts) in [
        (
            "status",
            &["Status(", "name: None", "json: false", "watch: false"][..],
        ),
        (
            "status web --watch --json",
            &["name: Some(\"web\")", "json: true", "watch: true"],
        ),
        ("status --runtime-dir /x", &["runtime_dir: Some(\"/x\")"]),
        (
            "upgrade",
            &["Upgrade(", "name: None", "command: []", "timeout: None"],
        ),
        (
            "upgrade web --label v2 -- ./b --json",
            &[
                "name: Some(\"web\")",
                "json: false",
                "label: Some(\"v2\")",
                "command: [\"./b\", \"--json\"]",
            ],
        ),
        ("upgrade -- ./b", &["name: None", "command: [\"./b\"]"]),
        (
            "upgrade --env A=1 --env B=x=y --env-file e",
            &[
                "env: [(\"A\", \"1\"), (\"B\", \"x=y\")]",
                "env_file: Some(\"e\")",
            ],
        ),
        (
            "upgrade --timeout 1500ms --drained --if-running --systemd",
            &[
                "timeout: Some(1.5s)",
                "drained: true",
                "if_running: true",
                "systemd: true",
            ],
        ),
        ("rollback", &["Rollback(", "to: None", "anyway: false"]),
        (
            "rollback web --to 7 --anyway",
            &["to: Some(7)", "anyway: true"],
        ),
        ("promote --no-wait", &["Promote(", "no_wait: true"]),
        ("abort web", &["Abort("]),
        ("reload", &["Reload("]),
        ("stop --now", &["Stop(", "now: true"]),
        (
            "logs -f -g 8 -n 20",
            &["follow: true", "generation: Some(8)", "lines: Some(20)"],
        ),
        ("logs --worker 8.0", &["worker: Some(\"8.0\")"]),
        (
            "events --follow --since 12",
            &["follow: true", "since: Some(12)"],
        ),
        ("history", &["History("]),
        ("config --set", &["Config(", "set: true"]),
        ("check web.toml", &["Check(", "file: \"web.toml\""]),
    ] {
        let verb = parsed(line);
        for part in parts {
            assert!(verb.contains(part), "{line}: {part} in {verb}");
        }
    }
}

#[test]
fn the_last_of_several_wins_and_lists_grow() {
    let verb = parsed("run --bake 1s -l :1 --bake 5s -l :2 -- ./server");
    assert!(
        verb.contains("bake: Some(\"5s\")") && verb.contains("[\":1\", \":2\"]"),
        "{verb}"
    );
    assert!(parsed("upgrade --label a --label b").contains("label: Some(\"b\")"));
}

#[test]
fn what_is_wrong_is_bad_usage() {
    for line in [
        "frobnicate",
        "statsu",
        "upgrade web other",
        "upgrade --label=",
        "upgrade --env A",
        "upgrade --env =1",
        "upgrade --env NOTIFY_SOCKET=1",
        "upgrade --timeout 30",
        "upgrade --timeout 5s --no-wait",
        "upgrade --drained --no-wait",
        "rollback --to seven",
        "logs --worker 8",
        "logs --worker 8.0 --generation 8",
        "events --since -1",
        "events --since 10m",
        "scale +1",
        "scale -1",
        "scale web +1",
        "upgrade --canary 10%",
        "logs --lines abc",
        "check",
        "run ./server",
        "status --canary 1",
    ] {
        match parse(words(line)) {
            Parsed::Clap(error, _) => assert_eq!(error.exit_code(), 2, "{line}: {error}"),
            Parsed::Verb(verb) => panic!("{line} is {verb:?}"),
            Parsed::Later(message) => panic!("{line}: {message}"),
        }
    }
    let Parsed::Clap(error, _) = parse(words("statsu")) else {
        panic!("it is no verb");
    };
    assert!(error.to_string().contains("'status'"), "{error}");
}

#[test]
fn no_flag_is_proposed_as_a_command() {
    for line in ["upgrade --dry-runn", "status --watc", "scale -1"] {
        let Parsed::Clap(error, _) = parse(words(line)) else {
            panic!("{line} is understood");
        };
        assert!(!error.to_string().contains(" -- "), "{line}: {error}");
    }
    let Parsed::Clap(error, None) = parse(words("status --watc")) else {
        panic!("only the flag itself is meant");
    };
    assert!(error.to_string().contains("'--watch'"), "{error}");
}

#[test]
fn help_and_version_are_no_errors() {
    for (line, kind) in [
        ("--help", ErrorKind::DisplayHelp),
        ("upgrade --help", ErrorKind::DisplayHelp),
        ("--version", ErrorKind::DisplayVersion),
    ] {
        let Parsed::Clap(error, _) = parse(words(line)) else {
            panic!("{line} is no help");
        };
        assert_eq!((error.kind(), error.exit_code()), (kind, 0));
    }
}

#[test]
fn verbs_of_later_versions_say_so_and_are_not_listed() {
    let help = command().render_long_help().to_string();
    let verbs = ["demo", "sessions", "sweep", "top", "unit"];
    for verb in verbs {
        let Parsed::Later(message) = parse(words(&format!("{verb} web 4"))) else {
            panic!("{verb} is not later");
        };
        assert!(
            message.starts_with(&format!("`{verb}` comes in a later version")),
            "{message}"
        );
        assert!(!help.contains(&format!("\n  {verb} ")), "{help}");
    }
    for verb in [
        "run", "upgrade", "rollback", "abort", "promote", "status", "stop", "logs",
    ] {
        assert!(help.contains(&format!("\n  {verb} ")), "{help}");
    }
}

#[test]
fn run_turns_flags_into_settings() {
    let line = "run -c web.toml -n web -l :8080 -l api=unix:/x -w auto --ready notify \
                --ready-timeout 5s --bake 2s --drain-timeout 1m --log-format json --log-level \
                debug -r direct -k cookie:a --runtime-dir /r --state-dir /s -- ./server -l x";
    let Parsed::Verb(verb) = parse(words(line)) else {
        panic!("not parsed");
    };
    let Verb::Run(run) = *verb else {
        panic!("not run");
    };
    let arguments = run.into_run_args();
    assert_eq!(
        arguments.sources.file.as_deref(),
        Some(Path::new("web.toml"))
    );
    assert_eq!(arguments.runtime_dir.as_deref(), Some(Path::new("/r")));
    assert_eq!(arguments.state_dir.as_deref(), Some(Path::new("/s")));
    assert_eq!(arguments.sources.env.len(), std::env::vars_os().count());
    let text = |key: &str, flag: &str, value: &str| Setting {
        key: key.to_owned(),
        value: Value::Text(value.to_owned()),
        flag: flag.to_owned(),
    };
    let list = |key: &str, flag: &str, value: &[&str]| Setting {
        key: key.to_owned(),
        value: Value::List(value.iter().map(|word| (*word).to_owned()).collect()),
        flag: flag.to_owned(),
    };
    assert_eq!(
        arguments.sources.flags,
        [
            text("name", "--name", "web"),
            list("listen", "--listen", &[":8080", "api=unix:/x"]),
            text("app.workers", "--workers", "auto"),
            text("route", "--route", "direct"),
            list("sessions.key", "--session-key", &["cookie:a"]),
            text("ready.on", "--ready", "notify"),
            text("ready.timeout", "--ready-timeout", "5s"),
            text("upgrade.bake", "--bake", "2s"),
            text("drain.timeout", "--drain-timeout", "1m"),
            text("log.format", "--log-format", "json"),
            text("log.level", "--log-level", "debug"),
            list("app.command", "-- COMMAND", &["./server", "-l", "x"]),
        ]
    );
}

#[test]
fn the_flags_of_run_are_keys_of_the_config() {
    let line = "run -n web -l :8080 -w 2 --ready notify --ready-timeout 5s --bake 2s \
                --drain-timeout 1m --log-format json --log-level debug -r direct -- /bin/true";
    let Parsed::Verb(verb) = parse(words(line)) else {
        panic!("not parsed");
    };
    let Verb::Run(run) = *verb else {
        panic!("not run");
    };
    let mut sources = run.into_run_args().sources;
    sources.env.clear();
    crate::config::load(&sources).expect("a config");
}
