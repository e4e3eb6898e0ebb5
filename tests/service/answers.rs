//! Words of answers that are no success, or that somebody looks up later: they name the place, the way on, and what
//! really happened.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Service, Start, server};

/// A config of the example server; `app` goes below `[app]`, `rest` behind all.
fn config(app: &str, rest: &str) -> String {
    let command: Vec<String> = server().iter().map(|word| format!("{word:?}")).collect();
    format!(
        "[app]\ncommand = [{}]\n{app}[[listen]]\naddress = \"127.0.0.1:0\"\n[upgrade]\nbake = \"200ms\"\n{rest}",
        command.join(", ")
    )
}

fn rewrite(service: &Service, text: &str) {
    std::fs::write(service.path("web.toml"), text).expect("the config");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The history, newest first: kind, result and reason of each.
fn history(service: &Service) -> Vec<(String, String, String)> {
    let answer = service.handover("history", &["--json"]);
    let told = json(&answer.stdout);
    let operations = told["operations"].as_array().expect("a list");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |it: &Value| (word(&it["kind"]), word(&it["result"]), word(&it["reason"]));
    operations.iter().map(one).collect()
}

/// `handover WORDS` as in a unit that has this `$RUNTIME_DIRECTORY`.
fn in_a_unit(runtime_dir: &std::path::Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
    command.args(words).env("RUNTIME_DIRECTORY", runtime_dir);
    command.env_remove("NOTIFY_SOCKET");
    command.output().expect("it runs")
}

#[test]
fn a_name_that_is_taken_back_is_not_told_as_a_change() {
    let plain = config("", "");
    let service = Start::config(&plain).start();
    rewrite(&service, &format!("name = \"other\"\n{plain}"));
    let told = "name changed in the config and takes effect when the master starts anew";
    service.handover("reload", &[]).says(0, &[told]);
    rewrite(&service, &plain);
    let back = service.handover("reload", &[]);
    back.says(0, &[]);
    assert!(!back.stderr.contains("name changed"), "{back:#?}");
    service.stop();
}

#[test]
fn a_reload_that_started_nothing_is_no_last_upgrade() {
    let service = Start::config(&config("", "")).start();
    service.handover("upgrade", &["--label", "v2"]).says(0, &[]);
    let last = service.status()["last_upgrade"]["id"].clone();
    assert!(last.is_string(), "{last}");
    let same = service.handover("reload", &["--json"]);
    assert_eq!(json(&same.stdout)["unchanged"], true, "{same:#?}");
    assert_eq!(service.status()["last_upgrade"]["id"], last);
    service.stop();
}

#[test]
fn every_call_that_was_refused_stands_in_the_history() {
    let service = Start::config(&config("", "")).start();
    let refused = service.handover("rollback", &[]);
    refused.says(1, &["there is nothing to go back to"]);
    service.handover("abort", &[]).says(1, &[]);
    rewrite(
        &service,
        &config("workerss = 2\n", "[drain]\ntimeout = 5\n"),
    );
    service
        .handover("upgrade", &["--label", "v2"])
        .says(2, &["workerss"]);
    let told = history(&service);
    let kinds: Vec<(&str, &str)> = told.iter().map(|it| (&*it.0, &*it.1)).collect();
    let expected = [
        ("upgrade", "refused"),
        ("abort", "refused"),
        ("rollback", "refused"),
    ];
    assert_eq!(kinds, expected, "{told:#?}");
    let reason = &told[0].2;
    assert!(
        reason.contains("web.toml:3:1: ") && reason.ends_with(", and 1 more"),
        "one line of it: {reason:?}"
    );
    assert!(told[2].2.starts_with("there is nothing to go back to"));
    assert!(service.status()["last_upgrade"].is_null());
    service.stop();
}

#[test]
fn a_refused_config_is_a_list_of_faults_for_programs() {
    let service = Start::config(&config("", "")).start();
    rewrite(
        &service,
        &config("workerss = 2\n", "[drain]\ntimeout = 5\n"),
    );
    for verb in ["reload", "upgrade"] {
        let ended = service.handover(verb, &["--json"]);
        ended.says(2, &["workerss", "drain.timeout"]);
        let begins = ended.stderr.matches("error: ").count();
        assert_eq!(begins, 2, "as `check` has it: {}", ended.stderr);
        let error = json(&ended.stdout)["error"].clone();
        assert_eq!(error["kind"], "config", "{error}");
        let places: Vec<(u64, u64, &str)> = error["faults"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|it| {
                let number = |name: &str| it[name].as_u64().expect("a number");
                let key = it["key"].as_str().unwrap_or_default();
                (number("line"), number("column"), key)
            })
            .collect();
        assert_eq!(places.len(), 2, "{error}");
        assert_eq!((places[0].0, places[0].1), (3, 1), "{error}");
        assert_eq!((places[1].2, places[1].1), ("drain.timeout", 11), "{error}");
    }
    service.stop();
}

#[test]
fn what_a_config_only_names_is_told_at_its_place_by_a_reload_too() {
    let service = Start::config(&config("", "")).start();
    let lacking = config(
        "user = \"no-such-user\"\n",
        "[health]\ncheck = \"exec:/no/such/check\"\n",
    );
    rewrite(&service, &lacking);
    let ended = service.handover("reload", &["--json"]);
    ended.says(
        1,
        &[
            "web.toml:3:8: app.user: there is no user \"no-such-user\"",
            "health.check: /no/such/check: there is no such file",
            "2 faults in",
        ],
    );
    let error = json(&ended.stdout)["error"].clone();
    assert_eq!(error["kind"], "refused");
    assert_eq!(error["faults"][0]["line"], 3, "{error}");
    // A command that somebody typed stands in no file.
    rewrite(&service, &config("", ""));
    let typed = service.upgrade_to(&["/no/such/server".to_owned()]);
    typed.says(1, &["/no/such/server: there is no such file"]);
    assert!(!typed.stderr.contains("web.toml"), "{typed:#?}");
    assert_eq!(service.generation(), 1);
    service.stop();
}

#[test]
fn run_begins_every_fault_as_check_does() {
    let bad = config("workerss = 2\n", "[drain]\ntimeout = 5\n");
    let ended = Start::config(&bad).refused();
    ended.says(2, &["2 faults in"]);
    let begins = |line: &&str| line.starts_with("error: ") && line.contains("web.toml:");
    let count = ended.stderr.lines().filter(begins).count();
    assert_eq!(count, 2, "{}", ended.stderr);
}

#[test]
fn a_runtime_directory_that_the_unit_gave_is_named_and_another_is_the_way_out() {
    let service = Start::serving(&server()).flag("--name", "first").start();
    let given = service.runtime_dir();
    let second = in_a_unit(
        &given,
        &["run", "--name", "second", "-l", "127.0.0.1:0", "--", "true"],
    );
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(
        told.contains("or give this one another --runtime-dir"),
        "{told}"
    );
    assert!(!told.contains("another --name"), "{told}");
    let asked = in_a_unit(&given, &["status", "nosuch"]);
    let told = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert_eq!(asked.status.code(), Some(4), "{told}");
    let looked = format!("(looked in {}", given.display());
    assert!(told.contains(&looked) && told.contains("first"), "{told}");
    service.stop();
}

#[test]
fn a_name_that_nobody_said_is_shown_with_what_it_comes_from() {
    let service = Start::config(&config("", "")).start();
    let shown = service.handover("config", &[]).stdout;
    let line = shown.lines().find(|line| line.starts_with("name "));
    let line = line.expect("a line of it");
    assert!(
        line.contains("\"web\"") && line.contains("default, of ") && line.ends_with("web.toml"),
        "{line}"
    );
    let set = service.handover("config", &["--set"]).stdout;
    assert!(!set.lines().any(|line| line.starts_with("name ")), "{set}");
    service.stop();
}
