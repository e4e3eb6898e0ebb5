//! Which room may import which.

use std::path::Path;

use super::source::{File, Tree};

/// Lowest first: a room imports only rooms before it.
const ROOMS: [&str; 12] = [
    "app",
    "config",
    "fleet",
    "journal",
    "sockets",
    "process",
    "readiness",
    "systemd",
    "logging",
    "control",
    "master",
    "cli",
];

/// Rooms that import the standard library and themselves only.
const PURE: [&str; 1] = ["fleet"];

pub fn faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, file) in tree.sources() {
        let Some((room, depth)) = place(path) else {
            continue;
        };
        let Some(height) = ROOMS.iter().position(|known| *known == room) else {
            faults.push(format!(
                "{}: {room} is not among the rooms {}",
                path.display(),
                ROOMS.join(" < ")
            ));
            continue;
        };
        for (number, imported) in imports(file, depth) {
            let shown = format!("{}:{number}", path.display());
            let pure = PURE.contains(&room);
            match ROOMS.iter().position(|known| *known == imported) {
                Some(other) if other > height => faults.push(format!(
                    "{shown}: {room} imports {imported}, which is above it ({})",
                    ROOMS.join(" < ")
                )),
                Some(other) if pure && other != height => {
                    faults.push(format!("{shown}: {room} is pure and imports {imported}"));
                }
                _ => {}
            }
        }
        if PURE.contains(&room) {
            faults.extend(foreign_crates(path, file));
        }
    }
    faults
}

/// The room of a file and how deep its module lies: 1 for the room itself.
fn place(path: &Path) -> Option<(&str, usize)> {
    let mut parts: Vec<&str> = path
        .iter()
        .skip(1)
        .filter_map(|part| part.to_str())
        .collect();
    let file = parts.pop()?;
    if parts.is_empty() {
        return None; // main.rs, lib.rs: they know every room
    }
    let depth = parts.len() + usize::from(file != "mod.rs");
    Some((parts[0], depth))
}

/// Names that follow `crate::` or enough `super::` to reach the crate's root.
fn imports(file: &File, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let text = file.code.join("\n");
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;
    let supers = "super::".repeat(depth);
    for root in ["crate::", supers.as_str()] {
        for (at, _) in text.match_indices(root) {
            let before = text[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == '$' {
                continue;
            }
            let after = text[at + root.len()..].trim_start_matches("super::");
            for name in heads(after) {
                found.push((line_of(at), name));
            }
        }
    }
    found
}

/// The first names of a path, or of each path of a group in braces.
fn heads(after: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(group) = after.strip_prefix('{') else {
        return vec![name(after)];
    };
    let (mut depth, mut names, mut start) = (0_usize, Vec::new(), true);
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => break,
            b'}' => depth -= 1,
            b',' if depth == 0 => start = true,
            _ if start && (byte.is_ascii_alphabetic() || byte == b'_') => {
                start = false;
                names.push(name(&group[at..]));
            }
            _ => {}
        }
    }
    names
}

/// `use` of anything but the standard library, in code that is not for tests.
fn foreign_crates(path: &Path, file: &File) -> Vec<String> {
    let mut known = vec!["std", "core", "alloc", "super", "self", "crate"];
    known.extend(file.modules.iter().map(|module| module.name.as_str()));
    let lines = file.code.iter().zip(&file.test);
    let text: Vec<&str> = lines
        .map(|(line, test)| if *test { "" } else { line })
        .collect();
    let text = text.join("\n");
    let mut faults = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let before = text[..at]
            .rsplit(['\n', ';', '{', '}'])
            .next()
            .unwrap_or_default()
            .trim();
        if !before.is_empty() && !before.starts_with("pub") {
            continue;
        }
        let number = text[..at].matches('\n').count() + 1;
        for head in heads(text[at + "use ".len()..].trim_start_matches("::")) {
            if !known.contains(&head.as_str()) && !head.starts_with(char::is_uppercase) {
                let path = path.display();
                faults.push(format!(
                    "{path}:{number}: a pure room uses the crate {head}"
                ));
            }
        }
    }
    faults
}
