//! File < environment < flags, and what each says about its own faults.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::{MINIMAL, flag, listen_flags};
use crate::config::{
    Config, Faults, InheritEnv, Loaded, Setting, Sources, Value, Workers, load, load_text,
    service_name,
};

type Env<'a> = &'a [(&'a str, &'a str)];

fn layered(text: &str, env: Env<'_>, flags: &[Setting]) -> Result<Loaded, Faults> {
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    load_text(Path::new("/etc/handover/web.toml"), text, &env, flags)
}

fn ok(env: Env<'_>, flags: &[Setting]) -> Loaded {
    layered(MINIMAL, env, flags).unwrap_or_else(|faults| panic!("{faults}"))
}

fn workers(config: &Config) -> Option<u32> {
    match config.app.workers {
        Workers::Auto => None,
        Workers::Count(n) => Some(n.get()),
    }
}

#[test]
fn the_higher_layer_wins_and_origins_tell_which() {
    let text = format!("{MINIMAL}[drain]\ntimeout = \"5s\"\n[log]\nlevel = \"warn\"\n");
    let env: Env<'_> = &[
        ("HANDOVER_APP__WORKERS", "2"),
        ("HANDOVER_LOG__LEVEL", "debug"),
    ];
    let loaded = layered(&text, env, &[flag("app.workers", "3", "--workers")]).expect("loads");
    assert_eq!(workers(&loaded.config), Some(3));
    let origin = |key: &str| loaded.origins[key].to_string();
    assert_eq!(origin("app.workers"), "--workers");
    assert_eq!(origin("log.level"), "HANDOVER_LOG__LEVEL");
    assert_eq!(origin("drain.timeout"), "/etc/handover/web.toml:6");
    assert_eq!(origin("listen[0].address"), "/etc/handover/web.toml:4");
    assert_eq!(origin("listen[0].backlog"), "default");
    assert_eq!(origin("ready.timeout"), "default");
}

#[test]
fn every_kind_of_value_can_come_from_a_variable() {
    let loaded = ok(
        &[
            ("HANDOVER__ROUTE", "direct"),
            ("HANDOVER__NAME", "shop"),
            ("HANDOVER_APP__COMMAND", "./server --name 'two words'"),
            ("HANDOVER_APP__ENV", "A=1 B='x y'"),
            ("HANDOVER_APP__INHERIT_ENV", "PATH HOME"),
            ("HANDOVER_APP__NO_NEW_PRIVS", "true"),
            ("HANDOVER_APP__UMASK", "0027"),
            ("HANDOVER_APP__WORKERS", "auto"),
            ("HANDOVER_DRAIN__SIGNAL", "QUIT"),
            ("HANDOVER_LIMITS__CORE", "unlimited"),
            ("HANDOVER_LIMITS__AS", "1G"),
            ("HANDOVER__LISTEN", "http=:80 unix:/run/web.sock"),
        ],
        &[],
    );
    let config = &loaded.config;
    assert_eq!(config.app.command, ["./server", "--name", "two words"]);
    assert_eq!(config.app.env["B"], "x y");
    assert_eq!(
        config.app.inherit_env,
        InheritEnv::Only(vec!["PATH".into(), "HOME".into()])
    );
    assert_eq!(
        (config.app.umask, config.app.workers),
        (Some(0o27), Workers::Auto)
    );
    assert_eq!(config.limits.core, Some(crate::config::UNLIMITED));
    assert_eq!(config.limits.address_space, Some(1 << 30));
    let names: Vec<_> = config
        .listen
        .iter()
        .map(|l| format!("{}={}", l.name, l.address))
        .collect();
    assert_eq!(names, ["http=:80", "listen-1=unix:/run/web.sock"]);
    assert_eq!(service_name(config, None), "shop");
    let toml = ok(
        &[
            ("HANDOVER_APP__COMMAND", "[\"a b\", 'c']"),
            ("HANDOVER_APP__ENV", "{ A = \"1\" }"),
        ],
        &[],
    );
    assert_eq!(toml.config.app.command, ["a b", "c"]);
    assert_eq!(toml.config.app.env["A"], "1");
}

#[test]
fn an_empty_variable_takes_an_optional_value_back() {
    let text = MINIMAL.replace("[[", "user = \"web\"\n[[");
    let loaded = layered(&text, &[("HANDOVER_APP__USER", "")], &[]).expect("loads");
    assert_eq!(loaded.config.app.user, None);
}

#[test]
fn flags_replace_all_listeners() {
    let loaded = ok(
        &[("HANDOVER__LISTEN", ":1")],
        &[listen_flags(&["a=:2", "b=[::1]:3"])],
    );
    let names: Vec<_> = loaded
        .config
        .listen
        .iter()
        .map(|l| format!("{}={}", l.name, l.address))
        .collect();
    assert_eq!(names, ["a=:2", "b=[::1]:3"]);
    assert_eq!(loaded.origins["listen[1].address"].to_string(), "--listen");
}

#[test]
fn flags_alone_are_enough() {
    let command = Setting {
        key: "app.command".into(),
        value: Value::List(vec!["./server".into(), "[x".into(), String::new()]),
        flag: "COMMAND".into(),
    };
    let sources = Sources {
        flags: vec![listen_flags(&[":8080"]), command],
        ..Sources::default()
    };
    let loaded = load(&sources).expect("loads");
    assert_eq!(loaded.config.app.command, ["./server", "[x", ""]);
    let nothing = load(&Sources::default()).expect_err("nothing").to_string();
    assert!(
        nothing.contains("handover run -l :8080 -- ./server"),
        "{nothing}"
    );
    assert!(
        nothing.ends_with("2 faults on the command line"),
        "{nothing}"
    );
}

#[test]
fn every_other_variable_is_ignored() {
    ok(
        &[
            ("HANDOVER_NAME", "x"),
            ("HANDOVER_GENERATION", "7"),
            ("HANDOVER_APP_WORKERS", "0"),
            ("APP__WORKERS", "0"),
            ("handover_app__workers", "0"),
            ("XHANDOVER_APP__WORKERS", "0"),
        ],
        &[],
    );
}

#[test]
fn faults_name_the_variable_or_the_flag_with_its_value() {
    let lines = |env: Env<'_>, flags: &[Setting]| {
        layered(MINIMAL, env, flags)
            .expect_err("a fault")
            .to_string()
    };
    for (name, value, told) in [
        (
            "HANDOVER_APP__WORKERS",
            "0",
            "HANDOVER_APP__WORKERS=\"0\": app.workers must be at least 1",
        ),
        (
            "HANDOVER_APP__WORKERS",
            "0",
            "hint: write HANDOVER_APP__WORKERS=1",
        ),
        (
            "HANDOVER_DRAIN__TIMEOUT",
            "20",
            "hint: write HANDOVER_DRAIN__TIMEOUT=20s",
        ),
        (
            "HANDOVER_APP__COMMAND",
            "'a",
            "app.command has a ' that is never closed",
        ),
        (
            "HANDOVER_APP__COMMAND",
            "[\"a\"",
            "app.command is not valid TOML",
        ),
        (
            "HANDOVER_APP__NO_NEW_PRIVS",
            "1",
            "hint: write HANDOVER_APP__NO_NEW_PRIVS=true",
        ),
        (
            "HANDOVER_READY__ON",
            "output:(",
            "hint: write HANDOVER_READY__ON='output:\\('",
        ),
        (
            "HANDOVER__LISTEN",
            "8080",
            "HANDOVER__LISTEN=\"8080\": listen[0].address is a port without a ':'",
        ),
        ("HANDOVER__ROTE", "direct", "did you mean HANDOVER__ROUTE?"),
        (
            "HANDOVER_app__workers",
            "2",
            "did you mean HANDOVER_APP__WORKERS?",
        ),
        (
            "HANDOVER_LISTEN__BACKLOG",
            "2",
            "options of a listener stand in the file",
        ),
        (
            "HANDOVER_APP__ENV__TOKEN",
            "x",
            "write HANDOVER_APP__ENV='NAME=VALUE NAME=VALUE'",
        ),
        (
            "HANDOVER_FOO__BAR",
            "2",
            "variables are HANDOVER_SECTION__KEY",
        ),
        (
            "HANDOVER_UPGRADE__FALLBACK",
            "last-good",
            "upgrade.fallback is not available in handover",
        ),
    ] {
        let text = lines(&[(name, value)], &[]);
        assert!(text.contains(told), "{told}\n{text}");
        assert!(text.ends_with("1 fault in the environment"), "{text}");
    }
    let text = lines(
        &[],
        &[
            flag("app.workers", "0", "-w"),
            listen_flags(&[":80", "x=*:81", "private=:82"]),
        ],
    );
    assert!(
        text.contains("-w \"0\": app.workers must be at least 1"),
        "{text}"
    );
    assert!(text.contains("hint: write -w 1"), "{text}");
    assert!(
        text.contains("--listen \"x=*:81\": listen[1].address has '*'"),
        "{text}"
    );
    assert!(text.contains("hint: write --listen x=:81"), "{text}");
    assert!(
        text.contains("--listen \"private=:82\": listen[2].name is \"private\""),
        "{text}"
    );
    assert!(text.ends_with("3 faults on the command line"), "{text}");
    let mixed = layered(
        "nme = 1",
        &[("HANDOVER_APP__WORKERS", "0")],
        &[flag("ready.on", "x", "--ready")],
    );
    let mixed = mixed.expect_err("faults").to_string();
    let count =
        "5 faults: 3 in /etc/handover/web.toml, 1 in the environment, 1 on the command line";
    assert!(mixed.ends_with(count), "{mixed}");
}

#[test]
fn secrets_in_variables_are_never_shown() {
    for (name, value) in [
        ("HANDOVER_APP__ENV", "hunter2"),
        ("HANDOVER_APP__ENV", "2A=hunter2"),
        ("HANDOVER_APP__ENV", "{ A = hunter2 }"),
        ("HANDOVER_APP__ENV", "'hunter2"),
        ("HANDOVER_APP__ENV__TOKEN", "hunter2"),
        ("HANDOVER_SECRET__TOKEN", "hunter2"),
    ] {
        let faults = layered(MINIMAL, &[(name, value)], &[]).expect_err("a fault");
        assert!(!faults.to_string().contains("hunter2"), "{faults}");
        assert!(
            !faults.to_json().to_string().contains("hunter2"),
            "{faults}"
        );
    }
}

#[test]
fn a_variable_that_is_not_utf8_is_a_fault() {
    let env = [(
        OsString::from("HANDOVER_APP__WORKERS"),
        OsString::from_vec(vec![0xff]),
    )];
    let faults = load_text(Path::new("x"), MINIMAL, &env, &[])
        .expect_err("a fault")
        .to_string();
    assert!(faults.contains("app.workers is not UTF-8"), "{faults}");
}

#[test]
fn json_carries_what_the_text_says() {
    let faults = layered(
        "[drain]\ntimeout = 5\n",
        &[("HANDOVER_APP__WORKERS", "0")],
        &[],
    )
    .expect_err("faults");
    let json = faults.to_json();
    assert_eq!(json["count"], faults.0.len());
    let first = &json["faults"][0];
    assert_eq!((&first["line"], &first["column"]), (&2.into(), &11.into()));
    assert_eq!(first["file"], "/etc/handover/web.toml");
    assert_eq!(first["key"], "drain.timeout");
    assert_eq!(first["hint"], "write timeout = \"5s\"");
    assert_eq!(first["source"], "timeout = 5");
    let variable = json["faults"]
        .as_array()
        .and_then(|all| all.iter().find(|f| f.get("variable").is_some()));
    assert_eq!(variable.map(|f| f["value"].clone()), Some("\"0\"".into()));
}

#[test]
fn the_designed_text() {
    let faults = layered(
        "[drain]\ntimeout = 5\n\n[app]\ncommand = [\"a\"]\n[[listen]]\naddress = \"é\"\n",
        &[],
        &[],
    );
    let expected = "\
/etc/handover/web.toml:2:11: drain.timeout needs a unit: ms, s, m or h
  2 | timeout = 5
    |           ^
  hint: write timeout = \"5s\"

/etc/handover/web.toml:7:11: listen[0].address has no port
  7 | address = \"é\"
    |           ^^^
  hint: write HOST:PORT, :PORT, [V6]:PORT, unix:PATH, udp:HOST:PORT or fd:NAME

2 faults in /etc/handover/web.toml";
    let faults = faults.expect_err("faults");
    assert_eq!(faults.to_string(), expected);
    assert!(faults.render(true).contains("\u{1b}["));
}

#[test]
fn a_variable_with_one_underscore_is_told_what_was_meant() {
    for (name, meant) in [
        ("HANDOVER_WORKERS", "HANDOVER_APP__WORKERS"),
        ("HANDOVER_APP_WORKERS", "HANDOVER_APP__WORKERS"),
        ("HANDOVER_ROUTE", "HANDOVER__ROUTE"),
        ("HANDOVER_LISTEN", "HANDOVER__LISTEN"),
        ("HANDOVER_UPGRADE_BAKE", "HANDOVER_UPGRADE__BAKE"),
    ] {
        let loaded = ok(&[(name, "2")], &[]);
        let [warning] = &loaded.warnings[..] else {
            panic!("{name}: {:?}", loaded.warnings);
        };
        let text = warning.render(false);
        assert!(
            text.contains(&format!("{name} has no effect"))
                && text.contains(&format!("write {meant}, or unset it")),
            "{text}"
        );
        assert_eq!(workers(&loaded.config), Some(1));
    }
    // What handover gives its workers, and what no key is called.
    for name in [
        "HANDOVER_NAME",
        "HANDOVER_GENERATION",
        "HANDOVER_WORKER",
        "HANDOVER_RELEASE",
        "HANDOVER_NONCE",
        "HANDOVER_HOOK",
        "HANDOVER_ERRAND",
        "HANDOVER_REASON",
        "HANDOVER_TIMEOUT",
        "HANDOVER_SECRET",
        "HANDOVER_",
    ] {
        let loaded = ok(&[(name, "2")], &[]);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }
}
