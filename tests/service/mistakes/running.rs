//! Mistakes beside a service that runs.

use super::scene::type_in;
use super::{Mistake, Row, judge, mistake};
use crate::support::{Broken, Service, Start, eventually, python, python_code, server};

const NOTHING_RUNS: &[Mistake] = &[
    mistake(
        "handover status no-such-service",
        4,
        &[
            "no handover called no-such-service is running here (looked in ",
            "the same flag",
        ],
    ),
    mistake(
        "handover upgrade no-such-service --runtime-dir folder",
        4,
        &[
            "looked in folder/*",
            "handover run --listen :8080 -- ./server",
        ],
    ),
];

#[test]
fn where_nothing_runs() {
    super::type_each(NOTHING_RUNS);
}

/// Typed beside a service called `web`, whose runtime directory is `run`.
#[rustfmt::skip]
const BESIDE_WEB: &[Mistake] = &[
    mistake("handover status --runtime-dir run/control.sock", 4, &["it is no directory; write --runtime-dir run"]),
    mistake("handover status wbe --runtime-dir run", 4, &["did you mean web? handover status web --runtime-dir run"]),
    mistake("handover rollback 7 --runtime-dir run", 4, &["for generation 7: handover rollback web --to 7 --runtime-dir run"]),
    mistake("handover upgrade COLOUR=blue --runtime-dir run", 4, &["to set a variable: handover upgrade web --env COLOUR=blue --runtime-dir run"]),
    mistake("handover config upgrade.bake --runtime-dir run", 4, &["for one value: handover config web --runtime-dir run | grep -F upgrade.bake"]),
    mistake("handover logs 1.0 --runtime-dir run", 4, &["for worker 1.0: handover logs web --worker 1.0 --runtime-dir run"]),
    mistake("handover rollback --runtime-dir run", 1, &["there is nothing to go back to", "1 release, of the last 16 good generations since", "handover upgrade web --runtime-dir ", " -- COMMAND;"]),
    mistake("handover rollback --to 9 --runtime-dir run", 1, &["generation 9 is not among the good ones", "these are: 1"]),
    mistake("handover scale web 0 --runtime-dir run", 2, &["to end the service: handover stop web --runtime-dir run"]),
    mistake("handover abort --runtime-dir run", 1, &["no upgrade is under way", "generation 1 serves as before"]),
    mistake("handover promote --runtime-dir run", 1, &["no upgrade is under way"]),
    mistake("handover upgrade --runtime-dir run -- ./no-such", 1, &["there is no such file", "correct the path"]),
    mistake("handover upgrade --runtime-dir run -- sh -c 'echo no database; exit 3'", 1, &["exit status 3", "no database", "generation 1 serves as before"]),
    mistake("handover upgrade --runtime-dir run --env-file none.env", 2, &["--env-file", "does not exist"]),
    mistake("handover run --runtime-dir run --listen 127.0.0.1:0 -- true", 1, &["service web runs already (pid ", "neither has a config file", "handover upgrade web --runtime-dir ", "handover stop web --runtime-dir ", "another --runtime-dir"]),
];

fn beside(service: &Service, one: &Mistake) -> Row {
    Row::of(one, &type_in(&service.path(""), one.typed))
}

#[test]
fn beside_a_service_that_runs() {
    let service = Start::serving(&server()).flag("--name", "web").start();
    let rows: Vec<Row> = BESIDE_WEB.iter().map(|one| beside(&service, one)).collect();
    judge(&rows);
    let taken = format!("handover run --listen {} -- true", service.address());
    let place = format!(
        "handover stop web --runtime-dir {}",
        service.runtime_dir().display()
    );
    let elsewhere = tempfile::tempdir().expect("a directory");
    type_in(elsewhere.path(), &taken).says(1, &["the master of service web", &place]);
    service.stop();
}

#[test]
fn two_masters_and_no_name() {
    let place = tempfile::tempdir().expect("a directory that outlives both");
    let start = |name: &str| {
        let start = Start::serving(&server()).flag("--name", name);
        start.runtime_dir(place.path().join(name)).start()
    };
    let (api, web) = (start("api"), start("web"));
    let ended = type_in(place.path(), "handover status --runtime-dir .");
    ended.says(
        2,
        &[
            "2 masters run here",
            "handover status api --runtime-dir .",
            "handover status web --runtime-dir .",
        ],
    );
    api.stop();
    web.stop();
}

#[test]
fn a_second_stop_finds_nothing_to_stop() {
    let service = Start::serving(&server()).flag("--name", "web").start();
    let place = service.runtime_dir();
    service.handover("stop", &["web"]).says(0, &[]);
    service.ends();
    let typed = format!("handover stop web --runtime-dir {}", place.display());
    let elsewhere = tempfile::tempdir().expect("a directory");
    type_in(elsewhere.path(), &typed).says(4, &["no handover called web is running here"]);
}

/// A port below 1024, as a user who may not have it.
#[test]
fn a_privileged_port_as_a_plain_user() {
    const NOBODY: u32 = 65534;
    let lowest = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let lowest: u16 = lowest
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1024);
    if lowest <= 99 {
        eprintln!("skipped: any user may have port 99 here (net.ipv4.ip_unprivileged_port_start)");
        return;
    }
    let folder = tempfile::Builder::new()
        .prefix("handover-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .expect("a directory");
    // The built one may be where only its owner may go.
    let copy = folder.path().join("handover");
    std::fs::copy(env!("CARGO_BIN_EXE_handover"), &copy).expect("a copy");
    let run = folder.path().join("run");
    std::fs::create_dir(&run).expect("a directory");
    std::os::unix::fs::chown(&run, Some(NOBODY), Some(NOBODY)).ok();
    let switch = match nix::unistd::geteuid().is_root() {
        true => {
            format!("setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --bounding-set=-all ")
        }
        false => String::new(),
    };
    let typed = format!("{switch}./handover run --listen 127.0.0.1:99 -- /bin/true");
    let ended = type_in(folder.path(), &typed);
    let fixes = [
        "port 99 is privileged",
        "CAP_NET_BIND_SERVICE",
        "ListenStream=99",
    ];
    ended.says(1, &fixes);
}

#[test]
fn workers_that_a_killed_master_left_are_told_with_what_ends_them() {
    let mut service = Start::serving(&server()).flag("--name", "web").start();
    let address = service.address();
    let [worker] = service.workers(1)[..] else {
        panic!("one worker: {}", service.status())
    };
    service.kill_master();
    let ended = Start::bare(&server()).flag("--listen", &address).refused();
    let left = format!("(pid {worker}), a worker of a handover that is gone (service web)");
    ended.says(
        1,
        &[
            "the address is in use by",
            &left,
            &format!("; kill {worker}, or"),
        ],
    );
    service.kill_all();
    let free = Start::bare(&server()).flag("--listen", &address).start();
    free.stop();
}

#[test]
fn a_worker_that_takes_one_of_two_sockets_is_told_which_is_left() {
    let one = python_code("listener = socket.socket(fileno=3)\nwhile True: listener.accept()");
    let service = Start::serving(&server())
        .flag("--listen", "admin=127.0.0.1:0")
        .flag("--ready-timeout", "3s")
        .start();
    let admin = service.address_of(1);
    let ended = service.upgrade_to(&one);
    let left = format!("and not admin ({admin}), on which no thread of it ever waited");
    ended.says(1, &["it takes http (127.0.0.1:", &left, "LISTEN_FDNAMES"]);
    assert!(!ended.stderr.contains("exec"), "{ended:#?}");
    // The history says it, too.
    let history = service.handover("history", &[]);
    assert!(
        history.stdout.contains(&left) && history.stdout.contains("LISTEN_FDNAMES"),
        "{history:#?}"
    );
    service.stop();
}

fn config(extra: &str) -> String {
    let file = server().remove(1);
    format!(
        "[app]\ncommand = [{:?}, {file:?}]\n[[listen]]\naddress = \"127.0.0.1:0\"\n{extra}",
        python()
    )
}

#[test]
fn a_reload_tells_what_is_in_force_and_what_is_not() {
    let service = Start::config(&config("")).flag("--bake", "200ms").start();
    let change = |text: &str| std::fs::write(service.path("web.toml"), text).expect("the config");
    let reload = || service.handover("reload", &[]);
    assert!(
        reload()
            .says(0, &[])
            .stdout
            .contains("nothing changed; generation 1 serves on")
    );
    let more = config("[drain]\ntimeout = \"9s\"\n").replacen("[app]\n", "[app]\nworkers = 2\n", 1);
    change(&more);
    let told = reload().stdout;
    let place = service.runtime_dir();
    let upgrade = format!("handover upgrade web --runtime-dir {}", place.display());
    for part in [
        "applied: drain.timeout;",
        "app.workers takes effect with the next generation: ",
        &upgrade,
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    // It is not forgotten until there is one.
    assert!(
        reload().stdout.contains("app.workers takes effect"),
        "{told}"
    );
    service.handover("upgrade", &[]).says(0, &[]);
    assert!(reload().stdout.contains("nothing changed"));
    change("[app\n");
    reload().says(2, &["web.toml:1", "write [app]"]);
    service.stop();
}

#[test]
fn a_value_that_is_in_force_still_is_not_said_to_come_from_the_line_that_says_another() {
    let start = Start::config(&config(""));
    let file = start.path("web.toml");
    let service = start.start();
    let text = config("nonblocking = true\n[log]\nformat = \"json\"\n");
    std::fs::write(&file, &text).expect("the config");
    service.handover("reload", &[]).says(0, &[]);
    let page = service.handover("config", &["--set"]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    let row = |key: &str, value: &str, says: &str| {
        let line = lines.iter().position(|it| it.starts_with(says));
        let line = line.map_or(0, |line| line + 1);
        let row = page.lines().find(|it| it.starts_with(key));
        let row = row.unwrap_or_else(|| panic!("no {key} in {page}"));
        let rest = row.strip_prefix(key).unwrap_or_default().trim_start();
        assert!(rest.starts_with(value), "{row}");
        assert!(rest.contains("as before; "), "{row}");
        assert!(rest.ends_with(&format!("web.toml:{line}")), "{row}");
    };
    row("listen[0].nonblocking", "false", "nonblocking");
    row("log.format", "\"auto\"", "format");
    service.stop();
}

#[test]
fn output_that_does_not_pass_through_cannot_become_the_sign() {
    let inherit = "[log]\nworker_output = \"inherit\"\n";
    let service = Start::config(&config(inherit)).start();
    let journal = "[log]\nworker_output = \"journal\"\n[ready]\non = \"output:serving\"\n";
    std::fs::write(service.path("web.toml"), config(journal)).expect("the config");
    let fix = "write another sign, such as on = \"auto\"";
    service
        .handover("reload", &[])
        .says(2, &["web.toml:", "ready.on", "\"inherit\"", fix]);
    assert_eq!(service.generation(), 1);
    service.stop();
}

#[test]
fn a_promotion_tells_what_it_saved_and_a_rollback_where_it_went() {
    let service = Start::serving(&server())
        .flag("--bake", "50s")
        .flag("--name", "web")
        .start();
    let label = ["--label", "v2\u{202e}x", "--no-wait"];
    service
        .handover("upgrade", &[&label[..], &["--env", "A=1"]].concat())
        .says(0, &[]);
    service.wait_event("bake_started");
    let promoted = service.handover("promote", &[]).stdout;
    assert!(
        promoted.contains("promoted after ") && promoted.contains(" of 50 s)"),
        "{promoted}"
    );
    let status = service.handover("status", &[]).stdout;
    assert!(
        status.contains("v2\\u{202e}x") && !status.contains('\u{202e}'),
        "{status}"
    );
    let json = service.handover("status", &["--json"]).stdout;
    assert!(json.contains('\u{202e}'), "{json}");
    service.handover("rollback", &["--no-wait"]).says(0, &[]);
    eventually("it bakes", || {
        (service.events().matches("bake_started").count() == 2).then_some(())
    });
    let back = service.handover("promote", &[]);
    back.says(0, &[]);
    let history = service.handover("history", &["--json"]).stdout;
    assert!(history.contains("\"back_to\":1"), "{history}");
    service.stop();
}

#[test]
fn a_long_command_is_cut_for_people_and_whole_for_programs() {
    let service = Start::serving(&server()).start();
    let long = "x".repeat(100 * 1024);
    service
        .upgrade_to(&[server(), vec![long.clone()]].concat())
        .says(0, &[]);
    for verb in ["status", "config", "history"] {
        let text = service.handover(verb, &[]).stdout;
        assert!(text.len() < 8 * 1024, "{verb}: {} bytes", text.len());
    }
    assert!(
        service
            .handover("status", &["--json"])
            .stdout
            .contains(&long)
    );
    let broken = service.upgrade_to(&Broken::at_once());
    broken.says(1, &["cannot find the database"]);
    service.stop();
}

#[test]
fn the_numbers_of_events_are_shown_and_silence_is_said() {
    let service = Start::serving(&server()).start();
    let all = service.handover("events", &[]).stdout;
    let third = all.lines().nth(2).expect("three events").trim_start();
    let number = third.split(' ').next().expect("a number");
    let after = service.handover("events", &["--since", number]).stdout;
    assert_eq!(after.lines().next(), all.lines().nth(3), "{all}");
    let silent = Start::serving(&python_code("serve()")).start();
    let logs = silent.handover("logs", &["--generation", "1"]);
    if logs.stdout.is_empty() {
        logs.says(0, &["no output yet"]);
    }
    silent.stop();
    service.stop();
}
