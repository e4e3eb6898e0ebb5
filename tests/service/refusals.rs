//! Wrong use and wrong configs: said with the place, and nothing changes.

use crate::support::{Ended, Start, get, python, server};

fn config(extra: &str) -> String {
    let file = server().remove(1);
    format!(
        "[app]\ncommand = [{:?}, {file:?}]\n[[listen]]\nname = \"http\"\n\
         address = \"127.0.0.1:0\"\n[upgrade]\nbake = \"200ms\"\n{extra}",
        python()
    )
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) -> Ended {
    let ended = Start::config(text).refused();
    ended.says(2, parts);
    ended
}

#[test]
fn every_fault_of_a_config_is_told_at_once() {
    let text = config("[drian]\ntimeout = \"5s\"\n[restart]\ndelay = \"soon\"\n");
    refused(
        &text,
        &["drian", "drain", "web.toml:8", "soon", "web.toml:11"],
    );
}

#[test]
fn a_config_that_is_no_text_or_no_file_is_refused() {
    let start = Start::bare(&[]);
    let file = start.path("bytes.toml");
    std::fs::write(&file, [0xff, 0xfe, 0x00]).expect("a file");
    start
        .flag("--config", &file)
        .refused()
        .says(2, &["bytes.toml"]);
    Start::bare(&[])
        .flag("--config", "/does/not/exist.toml")
        .refused()
        .says(2, &["exist.toml"]);
    Start::bare(&[])
        .flag("--config", "/")
        .refused()
        .says(2, &["/"]);
}

#[test]
fn no_command_at_all_is_bad_usage() {
    let ended = Start::bare(&[]).flag("--listen", "127.0.0.1:0").refused();
    ended.says(2, &["command"]);
}

#[test]
fn what_later_versions_bring_is_refused_not_ignored() {
    refused(
        &config("[hooks]\nsession_end = [\"/bin/true\"]\n"),
        &["session_end", "not available"],
    );
    let route = config("").replacen("[app]", "route = \"session\"\n[app]", 1);
    refused(&route, &["session"]);
}

#[test]
fn an_upgrade_with_a_broken_config_changes_nothing() {
    let service = Start::config(&config("")).start();
    let file = service.path("web.toml");
    std::fs::write(&file, "[app\n").expect("the config");
    service.handover("upgrade", &[]).says(2, &["web.toml:1"]);
    assert_eq!(service.generation(), 1);
    assert!(service.status()["last_upgrade"].is_null());
    std::fs::write(&file, config("[drain]\ntimeout = \"5s\"\n")).expect("the config");
    service.handover("upgrade", &[]).says(0, &[]);
    assert_eq!(get(&service.address(), "/").expect("an answer").status, 200);
    service.stop();
}

#[test]
fn what_handover_sets_itself_cannot_be_set_by_an_upgrade() {
    let service = Start::config(&config("")).start();
    let ended = service.handover("upgrade", &["--env", "NOTIFY_SOCKET=/x"]);
    ended.says(2, &["handover sets NOTIFY_SOCKET itself"]);
    let file = service.path("web.env");
    std::fs::write(&file, "A=1\nLISTEN_FDS=9\n").expect("a file");
    let file = file.display().to_string();
    let ended = service.handover("upgrade", &["--env-file", &file]);
    ended.says(2, &["web.env:2:1: LISTEN_FDS", "remove LISTEN_FDS"]);
    assert_eq!(service.generation(), 1);
    service.stop();
}

#[test]
fn the_level_of_the_log_changes_with_an_upgrade() {
    let level = |level: &str| config(&format!("[log]\nlevel = {level:?}\n"));
    let service = Start::config(&level("error")).start();
    service.handover("upgrade", &[]).says(0, &[]);
    assert!(
        !service.said().contains("generation 2"),
        "{}",
        service.said()
    );
    std::fs::write(service.path("web.toml"), level("info")).expect("the config");
    let ended = service.handover("upgrade", &[]);
    assert!(
        !ended.says(0, &[]).stderr.contains("log.level"),
        "{ended:#?}"
    );
    service.wait_said("generation 3");
    service.stop();
}

#[test]
fn a_unix_path_that_is_too_long_is_refused_with_its_length() {
    let long = format!("unix:/tmp/{}", "x".repeat(120));
    let ended = Start::bare(&server()).flag("--listen", &long).refused();
    ended.says(2, &["107"]);
}

#[test]
fn a_first_generation_that_cannot_start_ends_the_run_with_its_words() {
    let broken = crate::support::Broken::at_once();
    Start::serving(&broken)
        .refused()
        .says(1, &["cannot find the database"]);
}
