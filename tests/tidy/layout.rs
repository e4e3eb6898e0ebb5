//! Files: reached by a `mod`, introduced by a first line, free of machine paths.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::source::{Tree, candidates};

/// Files that no `mod` reaches, and rooms that do not say what they are.
pub fn module_faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    let mut queue: Vec<PathBuf> = tree
        .files
        .keys()
        .filter(|path| is_root(path))
        .cloned()
        .collect();
    let mut reached: BTreeSet<PathBuf> = queue.iter().cloned().collect();
    while let Some(path) = queue.pop() {
        for module in tree
            .files
            .get(&path)
            .into_iter()
            .flat_map(|file| &file.modules)
        {
            for child in candidates(&path, module) {
                if tree.files.contains_key(&child) && reached.insert(child.clone()) {
                    queue.push(child);
                }
            }
        }
    }
    for (path, file) in tree.all() {
        let shown = path.display();
        if !reached.contains(path) {
            faults.push(format!(
                "{shown}: no `mod` reaches this file; remove it or use it"
            ));
        }
        let introduced = file
            .lines
            .first()
            .is_some_and(|line| line.starts_with("//! "));
        let for_tests = file.test.iter().all(|test| *test);
        if path.ends_with("mod.rs") && !introduced && !for_tests {
            faults.push(format!(
                "{shown}:1: say in a first line `//! …` what this module knows"
            ));
        }
    }
    faults
}

/// Roots of compilation: library, binary, each test, example and benchmark.
fn is_root(path: &Path) -> bool {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    match parts.as_slice() {
        ["src", "lib.rs" | "main.rs"] => true,
        ["tests" | "examples", file] => file.ends_with(".rs"),
        ["tests" | "examples" | "bench", _, "main.rs"] => true,
        _ => false,
    }
}

/// Titles of Markdown documents, and paths that exist on one machine only.
pub fn document_faults(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    for path in tracked(root) {
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else {
            continue;
        }; // not text
        faults.extend(text_faults(&path, &text));
    }
    faults
}

pub fn text_faults(path: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let shown = path.display();
    // Written in two halves, or this file would be at fault.
    let machine = [
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/tmp/", "wt/"),
    ];
    for (index, line) in text.lines().enumerate() {
        for bad in machine.iter().filter(|bad| line.contains(*bad)) {
            faults.push(format!(
                "{shown}:{}: {bad} exists on one machine only",
                index + 1
            ));
        }
    }
    if path.extension().is_some_and(|extension| extension == "md") {
        let mut fenced = false;
        let titles = text.lines().filter(|line| {
            fenced ^= line.trim_start().starts_with("```");
            !fenced && line.starts_with("# ")
        });
        match titles.count() {
            1 => {}
            count => faults.push(format!("{shown}: {count} titles (`# …`), must be one")),
        }
    }
    faults
}

/// What git knows; without git (in a packaged crate) nothing is checked.
fn tracked(root: &Path) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z"])
        .output();
    let Ok(listed) = listed else {
        return Vec::new();
    };
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .collect()
}
