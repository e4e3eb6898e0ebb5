//! `[admin] listen`: metrics and health over TCP, for anybody who reaches it.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Broken, Service, Start, eventually, free_port, get, python_code, server};

const ADMIN: &str = "HANDOVER_ADMIN__LISTEN";

#[track_caller]
fn admin(service: &Service) -> String {
    let status = service.status();
    let address = status["admin"].as_str();
    address
        .unwrap_or_else(|| panic!("no admin in {status}"))
        .to_owned()
}

#[track_caller]
fn code(address: &str, path: &str) -> u16 {
    get(address, path).expect("an answer").status
}

#[test]
fn metrics_and_health_are_read_over_tcp_and_orders_are_not_taken() {
    let service = Start::serving(&server()).env(ADMIN, "127.0.0.1:0").start();
    let at = admin(&service);
    let metrics = get(&at, "/metrics").expect("metrics");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.body.contains("\nhandover_generation 1\n"),
        "{metrics:?}"
    );
    let ready = get(&at, "/readyz").expect("readiness");
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (200, "generation 1 active, 1 worker\n")
    );
    assert_eq!(code(&at, "/healthz"), 200);
    assert_eq!(code(&at, "/v1/status"), 404);
    assert_eq!(code(&at, "/v1/stop"), 404);
    let page = service.handover("status", &[]).stdout;
    assert!(
        page.contains(&format!("metrics: http://{at}/metrics")),
        "{page}"
    );
    service.stop();
}

#[test]
fn readyz_says_no_while_nobody_serves_and_while_it_stops_and_healthz_says_yes() {
    let place = tempfile::tempdir().expect("a directory");
    let fuse = place.path().join("fuse");
    let service = Start::serving(&python_code(&format!(
        "while not os.path.exists({fuse:?}): time.sleep(0.01)\nserve()"
    )))
    .env(ADMIN, "127.0.0.1:0")
    .flag("--drain-timeout", "2s")
    .spawn();
    let at = eventually("the master answers", || {
        let answer = service.ask("GET", "/v1/status", "").ok()?;
        let status: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
        Some(status["admin"].as_str()?.to_owned())
    });
    assert_eq!(
        (code(&at, "/readyz"), code(&at, "/healthz")),
        (503, 200),
        "it starts"
    );
    std::fs::write(&fuse, "").expect("a file");
    eventually("it serves", || (code(&at, "/readyz") == 200).then_some(()));
    // An idle connection holds the example server.
    let open = TcpStream::connect(service.address()).expect("a connection");
    service.signal(Signal::SIGTERM);
    eventually("a stop is under way", || {
        (code(&at, "/readyz") == 503).then_some(())
    });
    assert_eq!(code(&at, "/healthz"), 200);
    drop(open);
    assert_eq!(service.ends().code, Some(0));
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_who_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("an address").to_string();
    let pid = std::process::id().to_string();
    let refused = Start::serving(&server()).env(ADMIN, &at).refused();
    refused.says(
        1,
        &["admin.listen", &at, "in use by", &format!("(pid {pid})")],
    );
}

#[test]
fn check_says_that_others_may_reach_it() {
    let file = tempfile::NamedTempFile::with_suffix(".toml").expect("a file");
    let text = "[app]\ncommand = [\"/bin/true\"]\n[[listen]]\naddress = \":8080\"\n[admin]\nlisten = \":9464\"\n";
    std::fs::write(file.path(), text).expect("written");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_handover"));
    let output = command
        .arg("check")
        .arg(file.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "a warning, no refusal: {said}");
    assert!(
        said.contains("admin.listen is :9464: whoever reaches it")
            && said.contains("127.0.0.1:9464"),
        "{said}"
    );
}

#[test]
fn a_reload_moves_it_opens_the_new_before_it_lets_go_of_the_old_and_closes_it() {
    let quoted: Vec<String> = server().iter().map(|word| format!("{word:?}")).collect();
    let config = format!(
        "[app]\ncommand = [{}]\n[[listen]]\naddress = \"127.0.0.1:0\"\n",
        quoted.join(", ")
    );
    let with = |at: &str| format!("{config}[admin]\nlisten = \"{at}\"\n");
    let service = Start::config(&config).start();
    let reload = |text: &str| {
        std::fs::write(service.path("web.toml"), text).expect("the config");
        service.handover("reload", &[]).says(0, &[]);
    };
    let admin = || service.status()["admin"].clone();
    assert!(admin().is_null());
    let at = |port: u16| format!("127.0.0.1:{port}");
    let (first, second) = (at(free_port()), at(free_port()));
    for place in [&first, &second] {
        reload(&with(place));
        eventually("it is there", || (admin() == **place).then_some(()));
        assert_eq!(code(place, "/readyz"), 200);
    }
    TcpStream::connect(&first).expect_err("the first is let go of");
    // A port of somebody else's: it stays where it is, and says why.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    reload(&with(&taken.local_addr().expect("an address").to_string()));
    let warning = eventually("the warning is told", || {
        let status = service.status();
        let warnings = status["warnings"].as_array().expect("a list").clone();
        let mut warnings = warnings.iter().filter_map(|warning| warning.as_str());
        Some(
            warnings
                .find(|text| text.contains("admin.listen"))?
                .to_owned(),
        )
    });
    let pid = format!("(pid {})", std::process::id());
    for part in [
        "admin.listen",
        "in use by",
        &pid,
        &format!("it stays at {second}"),
    ] {
        assert!(warning.contains(part), "no {part:?} in {warning}");
    }
    assert_eq!(code(&second, "/healthz"), 200);
    drop(taken);
    reload(&config);
    eventually("nobody listens", || {
        TcpStream::connect(&second).is_err().then_some(())
    });
    let status = service.status();
    assert!(status["admin"].is_null(), "{status}");
    assert!(
        !status["warnings"].to_string().contains("admin"),
        "{status}"
    );
    assert_eq!(status["generation"], 1, "the release did not change");
    service.stop();
}

#[test]
fn clients_that_mean_no_good_hold_nothing_up() {
    let service = Start::serving(&server()).env(ADMIN, "127.0.0.1:0").start();
    let at = admin(&service);
    let before = descriptors(service.pid());
    let mut silent: Vec<TcpStream> = Vec::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(&at).expect("a connection");
        // Half of them begin a request that never ends; the server may have let go of them.
        if number % 2 == 0 {
            drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nx: "));
        }
        silent.push(stream);
    }
    assert_eq!(code(&at, "/metrics"), 200);
    let held = descriptors(service.pid()) - before;
    assert!(held <= 100, "{held} descriptors are held");
    // Four that never stop asking; whoever gives orders is heard all the same.
    let until = Instant::now() + Duration::from_secs(2);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while Instant::now() < until {
                    drop(get(&at, "/metrics"));
                }
            });
        }
        service.handover("upgrade", &[]).says(0, &[]);
        service.upgrade_to(&Broken::at_once()).says(1, &[]);
    });
    assert_eq!(service.generation(), 2);
    drop(silent);
    service.stop();
}

fn descriptors(pid: i32) -> usize {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
    open.expect("the master lives").count()
}
