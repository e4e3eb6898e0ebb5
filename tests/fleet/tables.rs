//! The two tables as Markdown, the same as in `docs/fleet-tables.md`.

use std::fmt::{Debug, Write};
use std::path::Path;

use crate::fleet::rollout::{Move, PHASES, TURNS, turn};
use crate::fleet::worker::{HAPPENINGS, PROCESSES, Step, step};

const INTRODUCTION: &str = "\
# The tables of the fleet

What every happening means in every state. Written by `tests/fleet/tables.rs`
from `src/fleet/worker.rs` and `src/fleet/rollout.rs`; a test compares them.
After a change of the rules: `HANDOVER_WRITE_TABLES=1 cargo test --test fleet tables`.
An empty cell: nothing follows.
";

fn table<R: Debug + Copy, C: Debug + Copy>(
    text: &mut String,
    corner: &str,
    rows: &[R],
    columns: &[C],
    cell: impl Fn(R, C) -> String,
) {
    let mut line = |cells: Vec<String>| {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    let heads = columns.iter().map(|column| format!("{column:?}"));
    line([corner.to_owned()].into_iter().chain(heads).collect());
    line(vec!["---".to_owned(); columns.len() + 1]);
    for row in rows {
        let cells = columns.iter().map(|column| cell(*row, *column));
        line([format!("**{row:?}**")].into_iter().chain(cells).collect());
    }
}

fn rendered() -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("\n## A worker's process\n\n");
    table(
        &mut text,
        "happening",
        &HAPPENINGS,
        &PROCESSES,
        |happening, process| match step(process, happening) {
            Step::Nothing => String::new(),
            step => format!("{step:?}"),
        },
    );
    text.push_str("\n## A rollout\n\n");
    table(
        &mut text,
        "turn",
        &TURNS,
        &PHASES,
        |happening, phase| match turn(phase, happening) {
            Move::Nothing => String::new(),
            decision => format!("{decision:?}"),
        },
    );
    text
}

#[test]
fn the_documented_tables_are_the_real_ones() {
    let Some(root) = option_env!("CARGO_MANIFEST_DIR") else {
        // A copy that is compiled without cargo (a mutant) has no docs.
        return;
    };
    let path = Path::new(root).join("docs/fleet-tables.md");
    if std::env::var_os("HANDOVER_WRITE_TABLES").is_some() {
        std::fs::write(&path, rendered()).expect("docs/ is writable");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == rendered(),
        "docs/fleet-tables.md is old; HANDOVER_WRITE_TABLES=1 writes it anew"
    );
}
