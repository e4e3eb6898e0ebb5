//! Mistakes that new users make, each typed as they type it: the exit code says what kind it is, and the message has
//! the words to type or the key to change.

mod arguments;
mod configs;
mod running;
mod scene;
mod starts;

use std::fmt::Write as _;

use crate::support::Ended;
use scene::Scene;

/// One line that somebody types, and what must come of it.
struct Mistake {
    /// For `sh`, in a directory of its own that holds what [`Scene`] puts there. `@TAKEN@` is a port that another
    /// program has, `@FREE@` one that nobody has.
    typed: &'static str,
    code: i32,
    /// Parts of the message; the last is the fix.
    says: &'static [&'static str],
}

const fn mistake(typed: &'static str, code: i32, says: &'static [&'static str]) -> Mistake {
    Mistake { typed, code, says }
}

/// What was typed, and what came.
struct Row {
    typed: &'static str,
    said: String,
    wrong: Option<String>,
}

impl Row {
    fn of(mistake: &Mistake, ended: &Ended) -> Self {
        let Mistake { typed, code, says } = *mistake;
        let missing: Vec<&str> = says
            .iter()
            .filter(|part| !ended.stderr.contains(**part))
            .copied()
            .collect();
        let mut wrong = String::new();
        if ended.code != Some(code) {
            let _ = write!(wrong, " exit {:?} and not {code};", ended.code);
        }
        if !missing.is_empty() {
            let _ = write!(wrong, " it does not say {missing:?};");
        }
        if ended.stderr.contains("panicked") {
            wrong.push_str(" it panicked;");
        }
        Self {
            typed,
            said: ended.stderr.clone(),
            wrong: (!wrong.is_empty()).then_some(wrong),
        }
    }
}

/// The table of mistake and message, where one of them is not as it must be.
#[track_caller]
fn judge(rows: &[Row]) {
    let mut table = String::new();
    for Row { typed, said, wrong } in rows {
        let mark = if wrong.is_some() { "WRONG" } else { "ok" };
        let _ = writeln!(table, "\n[{mark}] $ {typed}");
        for line in said.trim_end().lines() {
            let _ = writeln!(table, "    {line}");
        }
        if let Some(wrong) = wrong {
            let _ = writeln!(table, "  ^{wrong}");
        }
    }
    let wrong = rows.iter().filter(|row| row.wrong.is_some()).count();
    assert!(wrong == 0, "{wrong} of {} messages:\n{table}", rows.len());
}

/// Types each in a fresh scene, where nothing of handover runs.
#[track_caller]
fn type_each(mistakes: &'static [Mistake]) -> Vec<Row> {
    // They mostly wait: for a process to start, for a readiness that does not come.
    const AT_ONCE: usize = 6;
    let mut rows: Vec<Row> = Vec::new();
    for some in mistakes.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let typing: Vec<_> = some
                .iter()
                .map(|one| scope.spawn(|| Row::of(one, &Scene::new().types(one.typed))))
                .collect();
            rows.extend(
                typing
                    .into_iter()
                    .map(|typed| typed.join().expect("no panic")),
            );
        });
    }
    judge(&rows);
    rows
}

#[test]
fn the_list_is_long() {
    let all = [
        arguments::MISTAKES,
        arguments::LISTENERS,
        configs::MISTAKES,
        starts::MISTAKES,
    ];
    let count: usize = all.iter().map(|list| list.len()).sum();
    assert!(count >= 60, "{count}");
}
