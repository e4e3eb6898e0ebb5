//! What Prometheus reads, checked by its own tool.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Broken, Service, Start, debian, eventually, server};

/// Each sample with its value, and what is written about each family.
struct Scraped {
    text: String,
    samples: BTreeMap<String, f64>,
}

impl Scraped {
    #[track_caller]
    fn of(service: &Service) -> Self {
        let answer = service.ask("GET", "/metrics", "").expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = answer.body;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (name.to_owned(), value.parse().expect("a number"))
        });
        let samples = samples.collect();
        Self { text, samples }
    }

    #[track_caller]
    fn value(&self, sample: &str) -> f64 {
        let value = self.samples.get(sample);
        *value.unwrap_or_else(|| panic!("no {sample} in {}", self.text))
    }

    /// Name, type and meaning of each family.
    fn families(&self) -> Vec<(&str, &str, &str)> {
        let about = |kind| {
            let lines = self.text.lines();
            lines.filter_map(move |line| line.strip_prefix(kind)?.split_once(' '))
        };
        let typed: BTreeMap<&str, &str> = about("# TYPE ").collect();
        let families = about("# HELP ").map(|(name, help)| (name, typed[name], help));
        families.collect()
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.expect("a clock after 1970").as_secs_f64()
}

#[test]
fn upgrades_are_counted_by_their_end_and_workers_by_their_state() {
    let before = now();
    let service = Start::serving(&server())
        .flag("--name", "shop")
        .flag("--workers", "2")
        .flag("--bake", "1s")
        .start();
    let first = Scraped::of(&service);
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("handover_build_info{{version=\"{version}\",name=\"shop\"}}");
    assert_eq!(first.value(&build), 1.0);
    assert_eq!(first.value("handover_generation"), 1.0);
    assert_eq!(first.value("handover_workers_wanted"), 2.0);
    let started = first.value("handover_start_time_seconds");
    assert!((before - 1.0..now() + 1.0).contains(&started), "{started}");
    assert!(
        !first
            .text
            .contains("handover_last_upgrade_timestamp_seconds"),
        "none ended yet: {}",
        first.text
    );
    let upgrade = ["--env", "RELEASE=2", "--drained"];
    service.handover("upgrade", &upgrade).says(0, &[]);
    service.upgrade_to(&Broken::at_once()).says(1, &[]);
    service.upgrade_to(&Broken::in_the_bake()).says(1, &[]);
    service.handover("rollback", &[]).says(0, &[]);
    let worker = service.workers(service.generation())[0];
    kill(Pid::from_raw(worker), Signal::SIGKILL).expect("a worker");
    let after = eventually("the worker was started again", || {
        let scraped = Scraped::of(&service);
        let restarted = scraped.value("handover_worker_restarts_total") == 1.0;
        let ready = scraped.value("handover_workers{state=\"ready\"}") == 2.0;
        (restarted && ready).then_some(scraped)
    });
    assert_eq!(after.value("handover_upgrade_duration_seconds_count"), 4.0);
    for (result, count) in [("succeeded", 1.0), ("failed", 2.0), ("rolled_back", 1.0)] {
        let of = |family: &str| after.value(&format!("{family}{{result=\"{result}\"}}"));
        assert_eq!(of("handover_upgrades_total"), count, "{result}");
        let at = of("handover_last_upgrade_timestamp_seconds");
        assert!((started..now() + 1.0).contains(&at), "{result} at {at}");
    }
    promtool_takes(&after.text);
    is_documented(&after);
    service.stop();
}

#[test]
fn a_master_that_only_started_is_read_without_a_complaint() {
    let service = Start::serving(&server()).start();
    let scraped = Scraped::of(&service);
    promtool_takes(&scraped.text);
    let routed = ["session", "request", "connections{"];
    assert!(
        !routed.iter().any(|word| scraped.text.contains(word)),
        "what this route has no part in is absent, not zero: {}",
        scraped.text
    );
    service.stop();
}

#[test]
fn the_alerts_in_the_docs_are_rules_that_prometheus_takes() {
    let docs = docs();
    let rules = docs
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let Some(said) = promtool(
        &["rules", "/dev/stdin"],
        rules.expect("docs/metrics.md shows rules"),
    ) else {
        return;
    };
    assert!(said.contains("5 rules found"), "{said}");
}

/// `promtool check metrics` reads all of it, and has nothing to say about names and units.
#[track_caller]
fn promtool_takes(text: &str) {
    let Some(said) = promtool(&["metrics"], text) else {
        return;
    };
    assert_eq!(said, "", "{text}");
}

/// What `promtool check` says of this text, which it finds good.
#[track_caller]
fn promtool(what: &[&str], text: &str) -> Option<String> {
    let promtool = debian("promtool")?;
    let mut child = Command::new(promtool)
        .arg("check")
        .args(what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("our own child");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "promtool: {said}\n{text}");
    Some(said)
}

fn docs() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    std::fs::read_to_string(path).expect("docs/metrics.md")
}

/// `docs/metrics.md` has a row for each family, with its type and its meaning.
#[track_caller]
fn is_documented(scraped: &Scraped) {
    let docs = docs();
    let rows: Vec<Vec<&str>> = docs
        .lines()
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    for (name, kind, help) in scraped.families() {
        let row = rows.iter().find(|row| {
            let first = row.get(1).unwrap_or(&"");
            let bare = first.trim_matches('`').split('{').next();
            bare == Some(name)
        });
        let row = row.unwrap_or_else(|| panic!("docs/metrics.md has no row for {name}"));
        assert_eq!(row.get(2), Some(&kind), "the type of {name}");
        assert_eq!(row.get(3), Some(&help), "the meaning of {name}");
    }
}
