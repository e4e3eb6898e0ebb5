//! Dependencies: each is used, from the registry, under a licence that we allow.
//!
//! `cargo deny` says the same and more where it is installed (see `deny.toml`);
//! this runs everywhere.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::source::Tree;

/// Kept in step with `deny.toml`.
pub const LICENCES: [&str; 9] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BlueOak-1.0.0",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Zlib",
];

/// Dependencies whose name appears nowhere in the code that may use them.
pub fn unused(manifest: &str, tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (section, in_src) in [("dependencies", true), ("dev-dependencies", false)] {
        for name in keys(manifest, section) {
            let path = format!("{}::", name.replace('-', "_"));
            let used = tree.all().any(|(file, code)| {
                let counts = !in_src || file.starts_with("src");
                counts && code.code.iter().any(|line| names(line, &path))
            });
            if !used {
                faults.push(format!(
                    "Cargo.toml: [{section}] {name} is used nowhere; remove it"
                ));
            }
        }
    }
    faults
}

/// The keys of one table, each on a line of its own.
fn keys<'a>(manifest: &'a str, section: &str) -> Vec<&'a str> {
    let head = format!("[{section}]");
    let lines = manifest.lines().skip_while(|line| *line != head).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| Some(line.split_once('=')?.0.trim()))
        .collect()
}

fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back().unwrap_or(' ');
        !before.is_alphanumeric() && before != '_'
    })
}

/// What `cargo metadata` says of every crate that is built on this platform.
pub fn metadata(root: &Path) -> Value {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", &host()])
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {said}");
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

/// The crates that `default-features = false, features = ["app"]` builds on this platform.
pub fn crates_of_an_application(root: &Path) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args([
            "tree",
            "--locked",
            "--offline",
            "--prefix=none",
            "--edges=normal",
        ])
        .args(["--no-default-features", "--features=app", "--format={p}"])
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {said}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != env!("CARGO_PKG_NAME"));
    names.map(str::to_owned).collect()
}

/// The crates that the documentation lists, between two marks.
pub fn listed(docs: &str) -> BTreeSet<String> {
    let list = docs.split("<!-- crates:begin -->").nth(1);
    let list = list.and_then(|rest| rest.split("<!-- crates:end -->").next());
    let words = list.unwrap_or_default().split('`');
    words.skip(1).step_by(2).map(str::to_owned).collect()
}

/// Crates on one list only.
pub fn unlisted(listed: &BTreeSet<String>, built: &BTreeSet<String>) -> Vec<String> {
    let new = built.difference(listed).map(|name| {
        format!(
            "docs/rust.md: an application now pulls {name}: is it worth it? list it, or leave it"
        )
    });
    let gone = listed
        .difference(built)
        .map(|name| format!("docs/rust.md: lists {name}, which is not pulled any more"));
    new.chain(gone).collect()
}

fn host() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("a host")
        .to_owned()
}

/// Crates from elsewhere than the registry, or under another licence.
pub fn strangers(metadata: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().expect("a list of packages") {
        let Some(source) = package["source"].as_str() else {
            continue;
        }; // this crate itself
        let name = format!("{} {}", package["name"], package["version"]).replace('"', "");
        if !source.starts_with("registry+") {
            faults.push(format!(
                "Cargo.lock: {name} comes from {source}, not from the registry"
            ));
        }
        let licence = package["license"].as_str().unwrap_or("none");
        if !allowed(licence) {
            faults.push(format!(
                "Cargo.lock: {name} is under {licence}: allow it or leave it"
            ));
        }
    }
    faults
}

/// As much of an SPDX expression as crates use: alternatives, all of which must hold where joined by AND.
pub fn allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|part| {
        part.split(" OR ")
            .any(|licence| LICENCES.contains(&licence.trim()))
    })
}
