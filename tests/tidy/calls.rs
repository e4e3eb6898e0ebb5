//! Calls that are banned, or that belong to one place.

use std::path::Path;

use super::source::Tree;

/// Where a ban holds.
#[derive(Clone, Copy, PartialEq)]
enum Scope {
    /// Everywhere: tests, examples and benchmarks too.
    All,
    /// The crate itself, its tests apart.
    Code,
    /// One folder, its tests apart.
    Only(&'static str),
}

struct Ban {
    what: &'static str,
    scope: Scope,
    /// Paths that begin like this are allowed it.
    except: &'static [&'static str],
    why: &'static str,
}

const fn ban(
    what: &'static str,
    scope: Scope,
    except: &'static [&'static str],
    why: &'static str,
) -> Ban {
    Ban {
        what,
        scope,
        except,
        why,
    }
}

const FLEET: Scope = Scope::Only("src/fleet");

const BANS: &[Ban] = &[
    ban(
        "Instant::now",
        FLEET,
        &[],
        "the rules are pure: time is an argument",
    ),
    ban(
        "SystemTime::now",
        FLEET,
        &[],
        "the rules are pure: time is an argument",
    ),
    ban(
        "std::thread",
        FLEET,
        &[],
        "the rules are pure: they have no threads",
    ),
    ban("std::fs", FLEET, &[], "the rules are pure: they do no I/O"),
    ban("std::net", FLEET, &[], "the rules are pure: they do no I/O"),
    ban(
        "Command::new",
        Scope::Code,
        &["src/process/"],
        "only the launcher starts programs",
    ),
    ban(
        "unsafe",
        Scope::All,
        &["src/process/place.rs"],
        "the one module for it is process/place.rs",
    ),
    ban(
        "set_var",
        Scope::All,
        &["src/main.rs"],
        "other threads may read the environment",
    ),
    ban(
        "remove_var",
        Scope::All,
        &["src/main.rs"],
        "other threads may read the environment",
    ),
    ban("todo!", Scope::All, &[], "finish it"),
    ban("unimplemented!", Scope::All, &[], "finish it"),
    ban("dbg!", Scope::All, &[], "left over"),
    ban(
        "#[ignore",
        Scope::All,
        &[],
        "a test that does not run proves nothing",
    ),
    ban(
        "#[allow(",
        Scope::All,
        &[],
        "#[expect(…, reason = …)] says when it is no longer needed",
    ),
    ban(
        "#![allow(",
        Scope::Code,
        &[],
        "#[expect(…, reason = …)] says when it is no longer needed",
    ),
];

pub fn faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, file) in tree.all() {
        for ban in BANS.iter().filter(|ban| ban.holds_in(path)) {
            for (number, line) in file.numbered() {
                let exempt = ban.scope != Scope::All && file.test[number - 1];
                if !exempt && contains_word(line, ban.what) {
                    let (shown, what, why) = (path.display(), ban.what, ban.why);
                    faults.push(format!("{shown}:{number}: {what}: {why}"));
                }
            }
        }
    }
    faults
}

impl Ban {
    fn holds_in(&self, path: &Path) -> bool {
        let inside = match self.scope {
            Scope::All => true,
            Scope::Code => path.starts_with("src"),
            Scope::Only(folder) => path.starts_with(folder),
        };
        let path = path.to_string_lossy();
        inside && !self.except.iter().any(|except| path.starts_with(except))
    }
}

/// `unsafe` is in `unsafe {`, but not in `unsafe_code`.
fn contains_word(line: &str, word: &str) -> bool {
    let inner = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let first_inner = inner(word.chars().next());
        let last_inner = inner(word.chars().next_back());
        !(first_inner && inner(before.chars().next_back())
            || last_inner && inner(after.chars().next()))
    })
}
