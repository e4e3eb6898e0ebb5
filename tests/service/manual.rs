//! Manual pages and completions, read by what reads them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ended, debian, finish};

fn handover(words: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
    command.args(words);
    finish(command)
}

fn run(program: impl AsRef<Path>, words: &[&str]) -> Ended {
    let mut command = Command::new(program.as_ref());
    command
        .args(words)
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "80");
    finish(command)
}

fn pages(directory: &Path) -> Vec<PathBuf> {
    let ended = handover(&["man", directory.to_str().expect("UTF-8")]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let entries = fs::read_dir(directory).expect("a directory");
    let mut pages: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    pages.sort();
    assert!(
        ended
            .stdout
            .starts_with(&format!("{} pages in ", pages.len())),
        "{ended:?}"
    );
    pages
}

#[test]
fn manual_pages_are_read_without_a_warning() {
    let place = tempfile::tempdir().expect("a directory");
    let pages = pages(&place.path().join("made/man1"));
    assert!(pages.len() >= 15, "{pages:?}");
    for page in &pages {
        let shown = page.to_str().expect("UTF-8");
        if let Some(man) = debian("man") {
            // As lintian asks.
            let ended = run(
                man,
                &["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", shown],
            );
            assert_eq!(
                (ended.code, ended.stderr.as_str()),
                (Some(0), ""),
                "{shown}"
            );
        }
        if let Some(mandoc) = debian("mandoc") {
            let ended = run(mandoc, &["-T", "lint", "-W", "warning", shown]);
            let faults = ended.stdout.lines().chain(ended.stderr.lines());
            // How clap_mangen sets the values of an option apart: a break too many, seen by nobody.
            let faults = faults.filter(|line| !line.contains("skipping paragraph macro: br "));
            assert_eq!(faults.collect::<Vec<_>>(), [""; 0], "{shown}");
        }
    }
}

#[test]
fn a_page_says_what_a_person_on_call_looks_for() {
    let place = tempfile::tempdir().expect("a directory");
    let pages = pages(place.path());
    let Some(mandoc) = debian("mandoc") else {
        return;
    };
    let read = |name: &str| {
        let page = place.path().join(name);
        assert!(pages.contains(&page), "{name} in {pages:?}");
        let ended = run(&mandoc, &["-T", "ascii", page.to_str().expect("UTF-8")]);
        // Bold is written as overstrikes.
        let mut text = String::new();
        for char in ended.stdout.chars() {
            match char {
                '\u{8}' => drop(text.pop()),
                other => text.push(other),
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let whole = read("handover.1");
    for part in [
        "NAME handover - Keeps a service reachable",
        "handover-upgrade(1)",
        "EXIT STATUS 0 done 1 failed and undone",
        "130 interrupted while waiting",
        "SIGNALS USR2 as handover upgrade",
        "/run/handover/NAME/control.sock",
        "HANDOVER_SECTION__KEY",
    ] {
        assert!(whole.contains(part), "no {part:?} in {whole}");
    }
    let upgrade = read("handover-upgrade.1");
    for part in [
        "handover-upgrade - Replace the running generation",
        "SYNOPSIS handover upgrade [OPTIONS] [NAME] [-- COMMAND [ARG]...]",
        "--drained",
        "everything is as before",
        "3 superseded by a newer call",
        "SEE ALSO handover(1)",
    ] {
        assert!(upgrade.contains(part), "no {part:?} in {upgrade}");
    }
    let check = read("handover-check.1");
    assert!(!check.contains("superseded"), "it never ends so: {check}");
}

#[test]
fn a_directory_that_cannot_be_written_to_is_said() {
    let place = tempfile::NamedTempFile::new().expect("a file");
    let inside = place.path().join("man1");
    let ended = handover(&["man", inside.to_str().expect("UTF-8")]);
    ended.says(1, &["cannot write", "man1", "hint: name a directory"]);
}

#[test]
fn completions_are_scripts_that_complete_a_verb() {
    let place = tempfile::tempdir().expect("a directory");
    let script = |shell: &str| {
        let ended = handover(&["completions", shell]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let path = place.path().join(shell);
        fs::write(&path, &ended.stdout).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let said = |ended: Ended| {
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(0), ""),
            "{ended:?}"
        );
        ended.stdout
    };
    let (bash, zsh, fish) = (script("bash"), script("zsh"), script("fish"));
    if let Some(program) = debian("bash") {
        let complete = format!(
            "set -u; source {bash}; COMP_WORDS=(handover upg); COMP_CWORD=1; \
             $(complete -p handover | sed 's/.*-F \\([^ ]*\\).*/\\1/') handover upg handover; \
             echo \"${{COMPREPLY[@]}}\""
        );
        let words = ["--noprofile", "--norc", "-c", &complete];
        assert_eq!(said(run(program, &words)), "upgrade\n");
    }
    if let Some(program) = debian("zsh") {
        said(run(program, &["--no-exec", "--no-rcs", &zsh]));
    }
    if let Some(program) = debian("fish") {
        let complete = format!("source {fish}; complete --do-complete 'handover upg'");
        let answer = said(run(program, &["--no-config", "-c", &complete]));
        assert!(answer.starts_with("upgrade\t"), "{answer}");
    }
    handover(&["completions", "tcsh"]).says(2, &["bash, zsh, fish"]);
}
