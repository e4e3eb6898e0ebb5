//! `handover history`.

use std::time::Duration;

use clap::Args;
use nix::unistd::{Uid, User};

use super::table::{Cell, Table};
use super::target::Target;
use super::terminal::{Terminal, Tone};
use super::text::clean;
use super::{Exit, Failure};
use crate::control::view::{HistoryView, OperationResult, OperationView};
use crate::control::{Caller, Span, Timestamp};

/// A terminal that has room for a row and some of its reason.
const ONE_LINE: usize = 140;

/// Upgrades: number, label, who asked, result, duration, reason
#[derive(Debug, PartialEq, Args)]
pub(super) struct History {
    #[command(flatten)]
    pub(super) target: Target,
}

impl History {
    pub(super) async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        let master = self.target.find("history", None).await?;
        let patience = Some(Duration::from_secs(15));
        let reply = master.client.get_raw("/v1/history", patience).await?;
        if self.target.json {
            terminal.say(String::from_utf8_lossy(&reply.body).trim_end())?;
            return Ok(Exit::Done);
        }
        let history: HistoryView = reply.parse()?;
        let mut table = table(&history, user_name);
        let columns = match terminal.out_columns() {
            // What stands before the reason fills such a line alone: two of them then.
            narrow if narrow < ONE_LINE => 2 * narrow,
            wide => wide,
        };
        let is_cut = table.shrink(columns, &["REASON", "LABEL"]);
        let lines = table.lines(terminal.out_paint());
        if lines.is_empty() {
            terminal.tell(&nothing(&master.name, history.since))?;
        } else {
            terminal.say(&lines.join("\n"))?;
        }
        if is_cut {
            terminal.tell(&elsewhere(&self.target, &master.name))?;
        }
        Ok(Exit::Done)
    }
}

/// Where the reasons are whole: a pipe has no width.
fn elsewhere(target: &Target, name: &str) -> String {
    let command = target.command(format_args!("history {}", clean(name)));
    format!("whole reasons: {command} | less")
}

fn nothing(name: &str, since: Option<Timestamp>) -> String {
    let name = clean(name);
    match since {
        Some(since) => format!(
            "{name}: nothing was asked of it since this master started, {since}; it knows of nothing before"
        ),
        None => format!("{name}: nothing was asked of it yet"),
    }
}

fn table(history: &HistoryView, name: impl Fn(u32) -> Option<String>) -> Table {
    let heading = [
        "ID",
        "KIND",
        "GENERATION",
        "WORKERS",
        "LABEL",
        "RESULT",
        "BEGAN",
        "TOOK",
        "ASKED BY",
        "REASON",
    ];
    let mut table = Table::new(heading);
    for operation in &history.operations {
        table.row(row(operation, &name));
    }
    table
}

fn row(operation: &OperationView, name: impl Fn(u32) -> Option<String>) -> Vec<Cell> {
    let result = match operation.result {
        Some(result) => Cell::new(result).tone(match result {
            OperationResult::Done => Tone::Good,
            OperationResult::Superseded => Tone::Dim,
            _ => Tone::Bad,
        }),
        None => Cell::new(operation.state).tone(Tone::Warn),
    };
    let generation = match (operation.from, operation.to) {
        (Some(from), Some(to)) if from != to => format!("{from} to {to}"),
        (from, to) => to
            .or(from)
            .map_or_else(String::new, |number| number.to_string()),
    };
    let mut began = operation.started_at.to_string();
    // Seconds are enough here: 2026-03-21 17:04:05Z.
    began.replace_range(19..23, "");
    let Caller { uid, pid } = operation.by;
    let who = name(uid).unwrap_or_else(|| format!("uid {uid}"));
    vec![
        Cell::new(&operation.id),
        Cell::new(operation.kind),
        Cell::new(generation),
        Cell::maybe(scaling(operation)),
        Cell::maybe(operation.label.as_deref()),
        result,
        Cell::new(began.replace('T', " ")),
        Cell::maybe(operation.duration_ms.map(Span)).right(),
        match &operation.cause {
            Some(cause) => Cell::new(cause),
            None => Cell::new(format!("{who} (pid {pid})")),
        },
        Cell::maybe(reason(operation)),
    ]
}

/// "2 to 4"
fn scaling(operation: &OperationView) -> Option<String> {
    let (from, to) = operation.workers_from.zip(operation.workers_to)?;
    Some(format!("{from} to {to}"))
}

/// Why it ended so, and with which one it shared its end.
fn reason(operation: &OperationView) -> Option<String> {
    let joined = operation
        .joined
        .as_ref()
        .map(|first| format!("joined {first}"));
    let canary = operation.canary && operation.result == Some(OperationResult::Done);
    // Whether it still stands says `status`.
    let canary = canary.then(|| "as a canary".to_owned());
    let back = operation
        .back_to
        .map(|back| format!("the release of generation {back}"));
    let known = joined.into_iter().chain(back).chain(canary);
    let both: Vec<String> = known.chain(operation.reason.clone()).collect();
    let hint = operation
        .hint
        .as_ref()
        .map_or_else(String::new, |hint| format!("; {hint}"));
    (!both.is_empty()).then(|| both.join(": ") + &hint)
}

fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid))
        .ok()
        .flatten()
        .map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::Paint;
    use crate::control::view::OperationKind;

    fn operation(id: &str, kind: OperationKind, uid: u32) -> OperationView {
        let mut operation = OperationView::new(id, kind, Caller { uid, pid: 4711 });
        operation.started_at = Timestamp::from_millis(1_774_112_645_120);
        operation
    }

    #[test]
    fn each_operation_is_a_row() {
        let running = operation("up_9", OperationKind::Upgrade, 0);
        let joined = OperationView {
            joined: Some("up_9".to_owned()),
            ..operation("up_10", OperationKind::Upgrade, 0)
        };
        let failed = OperationView {
            result: Some(OperationResult::Failed),
            from: Some(7),
            to: Some(8),
            label: Some("v8".to_owned()),
            duration_ms: Some(1200),
            reason: Some("exit code 3".to_owned()),
            hint: Some("write `exec`".to_owned()),
            ..operation("up_8", OperationKind::Upgrade, 1000)
        };
        let history = HistoryView {
            since: None,
            operations: vec![joined, running, failed],
        };
        let name = |uid| (uid == 0).then(|| "root".to_owned());
        assert_eq!(
            table(&history, name).lines(Paint(false)).join("\n"),
            "\
ID     KIND     GENERATION  LABEL  RESULT  BEGAN                  TOOK  ASKED BY             REASON
up_10  upgrade                     queued  2026-03-21 17:04:05Z         root (pid 4711)      joined up_9
up_9   upgrade                     queued  2026-03-21 17:04:05Z         root (pid 4711)
up_8   upgrade  7 to 8      v8     failed  2026-03-21 17:04:05Z  1.2 s  uid 1000 (pid 4711)  \
exit code 3; write `exec`"
        );
    }

    #[test]
    fn a_long_reason_is_cut_at_the_terminal_s_width_and_nowhere_else() {
        let failed = OperationView {
            result: Some(OperationResult::Failed),
            reason: Some("worker 2.0 ended ".repeat(20)),
            ..operation("up_8", OperationKind::Upgrade, 1000)
        };
        let history = HistoryView {
            since: None,
            operations: vec![failed],
        };
        let mut table = table(&history, |_| None);
        let widest = |table: &Table| {
            let lines = table.lines(Paint(false));
            lines.iter().map(|line| line.chars().count()).max()
        };
        assert!(!table.shrink(usize::MAX, &["REASON"]));
        assert!(widest(&table) > Some(340));
        assert!(table.shrink(160, &["REASON"]));
        assert_eq!(widest(&table), Some(160));
        let target = Target {
            runtime_dir: Some("/r".into()),
            ..Target::default()
        };
        let told = elsewhere(&target, "web");
        assert_eq!(
            told,
            "whole reasons: handover history web --runtime-dir /r | less"
        );
    }

    #[test]
    fn a_scaling_says_from_and_to_what_number() {
        let scaled = OperationView {
            from: Some(7),
            workers_from: Some(2),
            workers_to: Some(4),
            ..operation("up_9", OperationKind::Scale, 0)
        };
        let history = HistoryView {
            since: None,
            operations: vec![scaled],
        };
        let lines = table(&history, |_| None).lines(Paint(false));
        assert!(
            lines[0].starts_with("ID    KIND   GENERATION  WORKERS  RESULT "),
            "{lines:?}"
        );
        assert!(
            lines[1].starts_with("up_9  scale  7           2 to 4   queued "),
            "{lines:?}"
        );
    }

    #[test]
    fn a_canary_says_that_it_was_one_and_what_became_of_it() {
        let canary = OperationView {
            canary: true,
            result: Some(OperationResult::Done),
            ..operation("up_9", OperationKind::Upgrade, 0)
        };
        assert_eq!(reason(&canary).as_deref(), Some("as a canary"));
        let back = OperationView {
            back_to: Some(3),
            ..operation("up_9", OperationKind::Rollback, 0)
        };
        let whose = reason(&back);
        assert_eq!(whose.as_deref(), Some("the release of generation 3"));
        let undone = OperationView {
            result: Some(OperationResult::Aborted),
            reason: Some("it was aborted before it was active".to_owned()),
            ..canary
        };
        assert_eq!(reason(&undone), undone.reason);
    }

    #[test]
    fn an_empty_history_says_since_when() {
        let since = Timestamp::from_millis(1_774_112_645_120);
        assert_eq!(
            nothing("web", Some(since)),
            "web: nothing was asked of it since this master started, 2026-03-21T17:04:05.120Z; it knows of nothing before"
        );
        assert_eq!(nothing("web", None), "web: nothing was asked of it yet");
    }

    #[test]
    fn users_have_names() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_name(u32::MAX - 7), None);
    }
}
