//! What loads, with what values.

use std::time::Duration;

use super::{MINIMAL, loaded};
use crate::config::{
    Applies, Config, InheritEnv, Probe, ReadyOn, Route, Signal, Stream, WorkerOutput, applies,
    changed, effective, reference_markdown, to_toml,
};

#[test]
fn defaults_are_those_of_the_design() {
    let config = loaded(MINIMAL).config;
    assert_eq!(config.route, Route::Auto);
    assert_eq!(config.ready.timeout, Duration::from_secs(30));
    assert_eq!(config.ready.settle, Duration::from_secs(1));
    assert_eq!(config.upgrade.bake, Duration::from_secs(1));
    assert_eq!(config.upgrade.retries, 0);
    assert_eq!(config.health.check, None);
    assert_eq!(config.health.interval, Duration::from_secs(5));
    assert_eq!(config.health.timeout, Duration::from_secs(2));
    assert_eq!(config.health.failures, 3);
    assert_eq!(config.drain.signal, Signal::TERM);
    assert_eq!(config.drain.timeout, Duration::from_secs(20));
    assert_eq!(config.drain.kill_after, Duration::from_secs(5));
    assert_eq!(config.drain.max_generations, 4);
    assert_eq!(config.restart.delay, Duration::from_millis(100));
    assert_eq!(config.restart.max_delay, Duration::from_secs(30));
    assert_eq!(config.app.inherit_env, InheritEnv::All);
    assert_eq!(config.log.worker_output, WorkerOutput::Journal);
    let listen = &config.listen[0];
    assert_eq!(
        (listen.name.as_str(), listen.backlog, listen.ready),
        ("listen-0", 4096, true)
    );
    assert!(!listen.nonblocking && !listen.reuse_port && listen.only_v6.is_none());
}

const FULL: &str = r#"
name = "web"
route = "direct"
listen = [{ address = ":8080", name = "http", backlog = 128, nodelay = true, keepalive = "30s" }, { address = "unix:/run/web.sock", mode = 0o660, user = "33" }, { address = "udp:127.0.0.1:53", receive_buffer = "1M" }, { address = "fd:extra", ready = false }]
[app]
command = ["./server", "--fd", "{fd:http}", "--slot={worker}", "{unrelated thing}", '{"json": 1}']
workers = "auto"
directory = "/var/lib/web"
env = { RUST_LOG = "info", EMPTY = "" }
env_file = "/etc/default/web"
inherit_env = ["PATH", "LC_*"]
watchdog = "10s"
umask = "0027"
no_new_privs = true
private = "auto"
dialects = []
[ready]
on = 'stdout:^listening on \d+$'
timeout = "1m"
[upgrade]
bake = "0s"
bake_max_errors = "1%"
strategy = "all"
batch = 1
canary = 0
canary_timeout = "0ms"
on_change = false
fallback = "none"
[drain]
signal = "SIGQUIT"
timeout = "2s"
delay = "0s"
[limits]
nofile = 65536
core = 0
stack = "8M"
memlock = "unlimited"
memory = "512M"
cpu = 0.5
pids = 100
best_effort = true
[log]
format = "json"
level = "trace"
worker_output = "journal"
[control]
group = ""
mode = "0600"
[admin]
listen = ""
[router]
trusted_proxies = ["127.0.0.0/8"]
idle = 0
[router.tls]
certificate = ""
[sessions]
key = []
warm = 2
idle_timeout = "600s"
"#;

#[test]
fn a_file_with_everything() {
    let text = FULL.replace("idle = 0\n", "");
    let config = loaded(&text).config;
    assert_eq!(
        config.ready.on,
        ReadyOn::Output {
            stream: Stream::Stdout,
            regex: r"^listening on \d+$".into()
        }
    );
    assert_eq!(config.drain.signal, Signal::QUIT);
    assert_eq!(config.listen.len(), 4);
    assert_eq!(config.listen[1].mode, Some(0o660));
    assert_eq!(config.listen[2].receive_buffer, Some(1 << 20));
    assert_eq!(config.limits.core, Some(0));
    assert_eq!(config.limits.memory, Some(512 << 20));
    assert_eq!(
        (config.limits.cpu, config.limits.pids),
        (Some(0.5), Some(100))
    );
    assert!(config.limits.best_effort);
    let again = loaded(&to_toml(&config)).config;
    assert_eq!(again, config);
    // Defaults of later keys are taken in any notation; unknown ones are not.
    assert!(std::panic::catch_unwind(|| loaded(FULL)).is_err());
}

#[test]
fn ipv6_only_beside_ipv4_is_no_clash() {
    loaded(
        "[app]\ncommand = [\"a\"]\n[[listen]]\naddress = \"[::]:80\"\nonly_v6 = true\n[[listen]]\naddress = \"0.0.0.0:80\"\n",
    );
    loaded(
        "[app]\ncommand = [\"a\"]\n[[listen]]\naddress = \":0\"\n[[listen]]\naddress = \":0\"\n",
    );
}

#[test]
fn strings_may_hold_what_looks_like_a_mistake() {
    let note = "'''\n[listen]\n<<<<<<< a\n=======\n'''";
    let text = MINIMAL.replace("[[", &format!("env = {{ NOTE = {note} }}\n[["));
    assert_eq!(
        loaded(&text).config.app.env["NOTE"],
        "[listen]\n<<<<<<< a\n=======\n"
    );
}

#[test]
fn warnings_do_not_refuse() {
    let warned = |text: &str| -> String {
        loaded(text)
            .warnings
            .iter()
            .map(|warning| format!("{warning}\n"))
            .collect()
    };
    let near =
        warned("[app]\ncommand = [\"a\", \"{wroker}\", \"{x}\"]\n[[listen]]\naddress = \":80\"\n");
    assert!(
        near.contains("did you mean {worker}?") && !near.contains("has {x}"),
        "{near}"
    );
    let settle = warned(&format!(
        "{MINIMAL}[ready]\non = \"notify\"\nsettle = \"2s\"\n"
    ));
    assert!(settle.contains("ready.settle has no effect"), "{settle}");
    assert!(
        warned("[app]\ncommand = [\"run me\"]\n[[listen]]\naddress = \":80\"\n")
            .contains("no shell splits it")
    );
    assert!(warned(MINIMAL).is_empty());
}

#[test]
fn probes_are_read_and_written_again() {
    let with = |on: &str| loaded(&format!("{MINIMAL}[ready]\non = '{on}'\n")).config;
    assert_eq!(
        with("http:/healthz?full=1").ready.on,
        ReadyOn::Probe(Probe::Http("/healthz?full=1".into()))
    );
    let config = with(r#"exec:./check "a b" --slot={worker}"#);
    let ReadyOn::Probe(Probe::Exec(words)) = &config.ready.on else {
        panic!("{config:?}")
    };
    assert_eq!(words[..], ["./check", "a b", "--slot={worker}"]);
    assert_eq!(loaded(&to_toml(&config)).config, config);
    let health = loaded(&format!(
        "{MINIMAL}[health]\ncheck = \"exec:./check\"\ninterval = \"1s\"\ntimeout = \"500ms\"\nfailures = 2\n"
    ));
    assert!(health.warnings.is_empty(), "{:?}", health.warnings);
    let health = health.config.health;
    assert_eq!(health.check, Some(Probe::Exec(vec!["./check".into()])));
    assert_eq!(
        (health.interval, health.failures),
        (Duration::from_secs(1), 2)
    );
}

#[test]
fn a_health_section_that_does_less_than_it_seems_is_warned_of() {
    let warned = |lines: &str| -> String {
        let warnings = loaded(&format!("{MINIMAL}{lines}")).warnings;
        warnings
            .iter()
            .map(|warning| format!("{warning}\n"))
            .collect()
    };
    let unused = warned("[health]\ninterval = \"1s\"\n");
    assert!(
        unused.contains("nothing is asked without health.check"),
        "{unused}"
    );
    assert!(warned("[ready]\non = \"http:/\"\n[health]\ntimeout = \"1s\"\n").is_empty());
    let slow = warned("[health]\ncheck = \"http:/\"\ninterval = \"1s\"\n");
    assert!(
        slow.contains("health.interval is shorter than health.timeout (2s)"),
        "{slow}"
    );
    let shell = warned("[health]\ncheck = \"exec:curl -f x | grep ok\"\n");
    assert!(
        shell.contains("no shell is in between") && shell.contains("exec:sh -c"),
        "{shell}"
    );
    let text = "[app]\ncommand = [\"a\", \"{fd:http}\"]\n[[listen]]\nname = \"http\"\naddress = \":80\"\n\
                [health]\ncheck = \"http:/\"\n";
    let named: String = loaded(text)
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(named.contains("pass {fd:probe} to the program"), "{named}");
    let both = text.replace("{fd:http}", "{fd:http},{fd:probe}");
    assert!(loaded(&both).warnings.is_empty());
}

#[test]
fn changes_are_named_by_key() {
    let old = loaded(MINIMAL).config;
    let with = |lines: &str| loaded(&format!("{MINIMAL}{lines}")).config;
    assert!(changed(&old, &old).is_empty());
    assert_eq!(
        changed(&old, &with("backlog = 5\n[drain]\ntimeout = \"1s\"\n")),
        ["listen.backlog", "drain.timeout"]
    );
    assert_eq!(
        changed(&old, &with("[[listen]]\naddress = \":81\"\n")),
        ["listen"]
    );
    let app = loaded(&MINIMAL.replace("./server", "./other")).config;
    assert_eq!(changed(&old, &app), ["app.command"]);
    assert_eq!(applies("app.command"), Applies::Release);
    assert_eq!(applies("limits.nofile"), Applies::Release);
    assert_eq!(applies("drain.timeout"), Applies::Live);
    assert_eq!(applies("listen.backlog"), Applies::Live);
    assert_eq!(applies("listen.nodelay"), Applies::Restart);
    assert_eq!(applies("listen"), Applies::Release);
    assert_eq!(applies("name"), Applies::Restart);
}

#[test]
fn the_effective_config_masks_secrets() {
    let loaded = loaded(&MINIMAL.replace("[[", "env = { TOKEN = \"hunter2\" }\n[["));
    let all = effective(&loaded.config, &loaded.origins);
    let of = |key: &str| {
        all.iter()
            .find(|e| e.key == key)
            .unwrap_or_else(|| panic!("{key}"))
    };
    assert_eq!(of("app.env").value.as_deref(), Some("{ TOKEN = \"***\" }"));
    assert_eq!(of("app.env").origin.to_string(), "web.toml:3");
    assert_eq!(of("listen[0].address").value.as_deref(), Some("\":8080\""));
    assert_eq!(of("drain.timeout").value.as_deref(), Some("\"20s\""));
    assert!(!format!("{all:?}").contains("hunter2"));
}

#[test]
fn the_reference_has_every_key() {
    let text = reference_markdown();
    for key in crate::config::keys() {
        assert!(
            text.contains(&format!("| `{}`", key.name())),
            "{}",
            key.path
        );
        assert!(text.contains(&key.doc.replace('|', "\\|")), "{}", key.path);
    }
    assert!(text.contains("`HANDOVER_APP__WORKERS`") && text.contains("`HANDOVER__ROUTE`"));
    // A row has as many cells as its head.
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 6, "{row}");
    }
}

#[test]
fn the_default_config_is_what_an_empty_dump_says() {
    assert_eq!(to_toml(&Config::default()).trim(), "");
}

#[test]
fn an_admin_address_that_others_may_reach_is_said() {
    let admin = |address: &str| {
        let text = MINIMAL.to_owned() + &format!("[admin]\nlisten = \"{address}\"\n");
        let warnings = loaded(&text).warnings;
        warnings
            .into_iter()
            .map(|w| w.to_string())
            .collect::<String>()
    };
    for local in [
        "127.0.0.1:9464",
        "127.8.0.1:0",
        "[::1]:9464",
        "localhost:9464",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert_eq!(admin(local), "", "{local}");
    }
    for open in [
        ":9464",
        "0.0.0.0:9464",
        "[::]:9464",
        "192.0.2.1:9464",
        "metrics.lan:9464",
    ] {
        let said = admin(open);
        assert!(
            said.contains("admin.listen is ") && said.contains(open),
            "{said}"
        );
        assert!(said.contains("without being asked who they are"), "{said}");
        assert!(said.contains("write listen = \"127.0.0.1:9464\""), "{said}");
    }
}

#[test]
fn a_group_that_the_mode_keeps_out_is_said() {
    let warned = |control: &str| {
        let text = MINIMAL.to_owned() + "[control]\n" + control;
        let warnings = loaded(&text).warnings;
        warnings
            .into_iter()
            .map(|w| w.to_string())
            .collect::<String>()
    };
    let said = warned("group = \"deploy\"\n");
    assert!(
        said.contains("control.group has no effect: control.mode is 0600"),
        "{said}"
    );
    assert!(said.contains("write mode = \"0660\""), "{said}");
    assert_eq!(warned("group = \"deploy\"\nmode = \"0660\"\n"), "");
    assert_eq!(warned("mode = \"0620\"\n"), "");
}
