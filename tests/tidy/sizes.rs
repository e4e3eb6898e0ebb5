//! How long files and functions may be.

use super::source::{Tree, item_end};

const FILE_CODE_LINES_MAX: usize = 400;
const TEST_FILE_CODE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
/// A table of cases may be long.
const TEST_FUNCTION_LINES_MAX: usize = 200;

pub fn faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, file) in tree.all() {
        let whole_test = file.test.iter().all(|test| *test);
        let (max, length) = if whole_test {
            (TEST_FILE_CODE_LINES_MAX, count(file.numbered()))
        } else {
            (FILE_CODE_LINES_MAX, count(file.code_lines()))
        };
        let shown = path.display();
        if length > max {
            faults.push(format!(
                "{shown}: {length} lines of code, at most {max}; split it"
            ));
        }
        for (number, line) in file.numbered() {
            if !begins_function(line) {
                continue;
            }
            let length = item_end(&file.code, number - 1) + 2 - number;
            let in_test = file.test[number - 1];
            let max = if in_test {
                TEST_FUNCTION_LINES_MAX
            } else {
                FUNCTION_LINES_MAX
            };
            if length > max {
                let name = line.trim();
                faults.push(format!(
                    "{shown}:{number}: {length} lines, at most {max}: {name}"
                ));
            }
        }
    }
    faults
}

fn count<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> usize {
    lines.filter(|(_, line)| !line.trim().is_empty()).count()
}

/// `fn name` with only qualifiers before it: no type `fn(…)`, no word in a macro's pattern.
fn begins_function(line: &str) -> bool {
    let Some((before, after)) = line.split_once("fn ") else {
        return false;
    };
    let qualifiers = [
        "pub",
        "pub(super)",
        "pub(crate)",
        "const",
        "async",
        "unsafe",
        "extern",
        "\"C\"",
    ];
    before
        .split_whitespace()
        .all(|word| qualifiers.contains(&word) || word.starts_with("pub(in"))
        && after.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
