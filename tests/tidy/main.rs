//! What STYLE asks and a program can check: sizes, directions, banned calls.
//!
//! Every fault is printed as `file:line: what is wrong`, all at once. The rules
//! themselves are tried on small wrong files in `self_test.rs`.

mod calls;
mod dependencies;
mod layout;
mod rooms;
mod self_test;
mod sizes;
mod source;

use std::path::{Path, PathBuf};

use source::Tree;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn report(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} faults\n{}\n",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn files_and_functions_are_short() {
    report(&sizes::faults(&Tree::read(root())));
}

#[test]
fn rooms_import_only_rooms_below_them() {
    report(&rooms::faults(&Tree::read(root())));
}

#[test]
fn the_fleet_compiles_alone() {
    let output = tempfile::tempdir().expect("a temporary directory");
    let rustc = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
    let result = std::process::Command::new(rustc)
        .current_dir(root())
        .args([
            "--edition=2024",
            "--crate-type=lib",
            "--crate-name=fleet",
            "--emit=metadata",
        ])
        .args(["-Aunused", "-Adead_code", "--out-dir"])
        .arg(output.path())
        .arg("src/fleet/mod.rs")
        .output()
        .expect("rustc runs");
    let said = String::from_utf8_lossy(&result.stderr);
    assert!(
        result.status.success(),
        "src/fleet needs something from outside:\n{said}"
    );
}

#[test]
fn banned_calls_stay_where_they_belong() {
    report(&calls::faults(&Tree::read(root())));
}

#[test]
fn every_file_is_reached_and_introduced() {
    report(&layout::module_faults(&Tree::read(root())));
}

#[test]
fn documents_have_one_title_and_nothing_names_a_machine() {
    report(&layout::document_faults(root()));
}

#[test]
fn every_dependency_is_used() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    report(&dependencies::unused(&manifest, &Tree::read(root())));
}

#[test]
fn an_application_pulls_only_the_crates_that_the_docs_list() {
    let docs = std::fs::read_to_string(root().join("docs/rust.md")).expect("docs/rust.md");
    report(&dependencies::unlisted(
        &dependencies::listed(&docs),
        &dependencies::crates_of_an_application(root()),
    ));
}

#[test]
fn every_dependency_may_be_used() {
    report(&dependencies::strangers(&dependencies::metadata(root())));
}
