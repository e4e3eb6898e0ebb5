//! The last words of a command that waited.

use super::Exit;
use super::target::Target;
use super::terminal::{Terminal, Tone};
use super::text::clean;
use crate::control::view::{OperationKind, OperationResult, OperationView};
use crate::control::{Count, Span};

/// Lines of the failing worker that are shown.
const TAIL_MAX: usize = 20;

/// The exit code of an operation that ended.
pub(super) fn exit(operation: &OperationView) -> Exit {
    operation.result.map_or(Exit::Incomplete, Exit::from)
}

/// One line: what is now.
pub(super) fn success(operation: &OperationView, name: &str, target: &Target) -> String {
    let name = clean(name);
    let serving = operation.to.or(operation.from);
    let generation = serving.map_or_else(String::new, |number| format!("generation {number}"));
    match operation.kind {
        OperationKind::Stop => format!("{name}: stopped"),
        OperationKind::Abort => match operation.from {
            Some(from) if !operation.changed_workers.is_empty() => {
                format!(
                    "{name}: aborted; {}",
                    not_as_before(operation, from, &name, target)
                )
            }
            Some(from) => format!("{name}: aborted; generation {from} serves as before"),
            None => format!("{name}: aborted"),
        },
        OperationKind::Scale => {
            let workers = operation
                .workers
                .map(|n| format!(" has {} now", Count(n, "worker")));
            format!("{name}: {generation}{}", workers.unwrap_or_default())
        }
        _ if operation.canary => canary(&name, operation, target),
        _ if operation.unchanged => unchanged(operation, &name, target),
        _ => {
            let how = how(operation);
            let how = if how.is_empty() {
                how
            } else {
                format!(" ({how})")
            };
            let back = operation
                .back_to
                .map_or_else(String::new, |back| match &operation.label {
                    Some(label) => {
                        format!(" with the release of generation {back}, {}", clean(label))
                    }
                    None => format!(" with the release of generation {back}"),
                });
            format!(
                "{name}: {generation} is active{back}{how}{}",
                old(operation)
            )
        }
    }
}

/// What stands, and how to go on.
fn canary(name: &str, operation: &OperationView, target: &Target) -> String {
    let number = |number: Option<u32>| number.map_or_else(String::new, |number| number.to_string());
    let workers = operation.workers.unwrap_or(1);
    let verb = if workers == 1 { "stands" } else { "stand" };
    let how = how(&OperationView {
        workers: None,
        ..operation.clone()
    });
    let how = if how.is_empty() {
        how
    } else {
        format!(" ({how})")
    };
    let end = match operation.canary_timeout_ms {
        Some(ms) => format!("without either it is aborted in {}", Span(ms)),
        None => "without either it stays".to_owned(),
    };
    format!(
        "{name}: {} of generation {} {verb} as a canary beside generation {}{how}\nto go on: {}; to go back: {}; {end}",
        Count(workers, "worker"),
        number(operation.to),
        number(operation.from),
        target.command(format_args!("promote {name}")),
        target.command(format_args!("abort {name}")),
    )
}

/// No new generation was made; but not everything that a config says needs one.
fn unchanged(operation: &OperationView, name: &str, target: &Target) -> String {
    let serving = operation.to.or(operation.from).unwrap_or_default();
    let mut parts = Vec::new();
    if !operation.applied.is_empty() {
        parts.push(format!("applied: {}", operation.applied.join(", ")));
    }
    if !operation.pending.is_empty() {
        let verb = if operation.pending.len() == 1 {
            "takes"
        } else {
            "take"
        };
        parts.push(format!(
            "{} {verb} effect with the next generation: {}",
            operation.pending.join(", "),
            target.command(format_args!("upgrade {name}"))
        ));
    }
    if parts.is_empty() {
        return format!("{name}: nothing changed; generation {serving} serves on");
    }
    format!(
        "{name}: the release did not change, generation {serving} serves on; {}",
        parts.join("; ")
    )
}

/// "2 workers, ready in 112 ms by epoll_wait on http, baked 1 s".
fn how(operation: &OperationView) -> String {
    let ready = operation.ready_ms.map(|ms| match &operation.ready_by {
        Some(evidence) => format!("ready in {} by {}", Span(ms), clean(evidence)),
        None => format!("ready in {}", Span(ms)),
    });
    let workers = operation
        .workers
        .map(|count| Count(count, "worker").to_string());
    let baked = operation
        .bake_ms
        .filter(|ms| *ms > 0)
        .map(|ms| match operation.bake_left_ms {
            Some(left) => format!("promoted after {} of {}", Span(ms), Span(ms + left)),
            None => format!("baked {}", Span(ms)),
        });
    let all: Vec<String> = [workers, ready, baked].into_iter().flatten().collect();
    all.join(", ")
}

/// What becomes of the generation before.
fn old(operation: &OperationView) -> String {
    match (operation.from, operation.drain_timeout_ms) {
        (Some(from), _) if operation.drained => format!("; generation {from} is drained"),
        (Some(from), Some(ms)) => format!("; generation {from} drains, {} at most", Span(ms)),
        _ => String::new(),
    }
}

/// What failed, the failing worker's last lines, what can be done, and what serves now.
pub(super) fn failure(
    operation: &OperationView,
    name: &str,
    target: &Target,
    terminal: &Terminal,
) -> String {
    let OperationView { kind, id, .. } = operation;
    let headline = match operation.result {
        Some(OperationResult::Aborted) => format!("{kind} {id} was aborted"),
        Some(OperationResult::Refused) => format!("{kind} refused"),
        Some(OperationResult::Superseded) => format!("{kind} {id} was superseded"),
        Some(OperationResult::Incomplete) => format!("{kind} failed and is not wholly undone"),
        Some(OperationResult::Unknown) | None => format!("{kind} {id} ended in an unknown way"),
        Some(OperationResult::Failed | OperationResult::Done) => format!("{kind} failed"),
    };
    let paint = terminal.err_paint();
    let mut text = format!("{}: {headline}", clean(name));
    let again = match operation.result {
        // "upgrade up_8 was aborted before it was active, asked by …"
        Some(OperationResult::Aborted) => "it was aborted",
        _ => "",
    };
    if let Some(reason) = &operation.reason {
        let reason = clean(reason);
        match reason.strip_prefix(again).filter(|_| !again.is_empty()) {
            Some(rest) => text += rest,
            None => text += &format!(": {reason}"),
        }
    }
    text = paint.tone(Tone::Bad, &terminal.fold(&text));
    let tail = &operation.log_tail[operation.log_tail.len().saturating_sub(TAIL_MAX)..];
    let worker = operation.failed_worker.as_deref().map(clean);
    match (&worker, tail.is_empty()) {
        (Some(worker), false) => text += &format!("\nworker {worker} said last:"),
        (Some(worker), true) => text += &format!("\nworker {worker} printed nothing"),
        (None, false) => text += "\nthe last lines:",
        (None, true) => {}
    }
    for line in tail {
        text += &format!("\n    {}", clean(line));
    }
    if let Some(hint) = &operation.hint {
        let hint = terminal.fold(&format!("hint: {}", clean(hint)));
        let words = hint.strip_prefix("hint:").unwrap_or(&hint);
        text += &format!("\n{}{words}", paint.tone(Tone::Strong, "hint:"));
    }
    text + &now(operation, name, target)
}

/// What serves after a failure.
fn now(operation: &OperationView, name: &str, target: &Target) -> String {
    match (operation.result, operation.from) {
        (Some(OperationResult::Incomplete | OperationResult::Unknown) | None, _) => {
            let status = target.command(format_args!("status {}", clean(name)));
            format!("\nwhat runs: {status}")
        }
        (Some(OperationResult::Superseded), _) | (_, None) => String::new(),
        (_, Some(from)) if !operation.changed_workers.is_empty() => {
            format!("\n{}", not_as_before(operation, from, &clean(name), target))
        }
        (_, Some(from)) if operation.unserved => {
            let status = target.command(format_args!("status {}", clean(name)));
            format!("\ngeneration {from} is as before, but none of its workers is ready: {status}")
        }
        (_, Some(from)) => format!("\ngeneration {from} serves as before"),
    }
}

/// Workers of it came back from files that changed; which, the warning says.
fn not_as_before(operation: &OperationView, from: u32, name: &str, target: &Target) -> String {
    let upgrade = target.command(format_args!("upgrade {name}"));
    let state = match operation.unserved {
        true => "is not as before, and none of its workers is ready",
        false => "serves, but not as before",
    };
    format!("generation {from} {state}: restore the files that changed, then: {upgrade}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::fake::files;
    use crate::control::Caller;

    fn told(operation: &OperationView) -> String {
        failure(operation, "web", &Target::default(), &files().0)
    }

    fn told_well(operation: &OperationView) -> String {
        success(operation, "web", &Target::default())
    }

    fn operation(kind: OperationKind, result: OperationResult) -> OperationView {
        let mut operation = OperationView::new("up_8", kind, Caller { uid: 0, pid: 1 });
        operation.end(result, None);
        operation.from = Some(7);
        operation
    }

    fn upgraded() -> OperationView {
        OperationView {
            to: Some(8),
            workers: Some(2),
            ready_ms: Some(112),
            ready_by: Some("epoll_wait on http".to_owned()),
            bake_ms: Some(1000),
            drain_timeout_ms: Some(20_000),
            ..operation(OperationKind::Upgrade, OperationResult::Done)
        }
    }

    #[test]
    fn success_is_one_line() {
        assert_eq!(
            told_well(&upgraded()),
            "web: generation 8 is active (2 workers, ready in 112 ms by epoll_wait on http, baked \
             1 s); generation 7 drains, 20 s at most"
        );
        let drained = OperationView {
            drained: true,
            ..upgraded()
        };
        assert!(told_well(&drained).ends_with("; generation 7 is drained"));
        let first = OperationView {
            from: None,
            ready_by: None,
            workers: Some(1),
            bake_ms: Some(0),
            ..upgraded()
        };
        assert_eq!(
            told_well(&first),
            "web: generation 8 is active (1 worker, ready in 112 ms)"
        );
    }

    #[test]
    fn a_canary_says_how_to_go_on() {
        let canary = OperationView {
            canary: true,
            workers: Some(1),
            canary_timeout_ms: Some(600_000),
            drain_timeout_ms: None,
            ..upgraded()
        };
        assert_eq!(
            told_well(&canary),
            "web: 1 worker of generation 8 stands as a canary beside generation 7 (ready in 112 ms by \
             epoll_wait on http, baked 1 s)\nto go on: handover promote web; to go back: handover abort \
             web; without either it is aborted in 10 min"
        );
        let stays = OperationView {
            canary_timeout_ms: None,
            workers: Some(2),
            ..canary
        };
        let text = told_well(&stays);
        assert!(text.starts_with("web: 2 workers of generation 8 stand as a canary"));
        assert!(text.ends_with("; without either it stays"));
    }

    #[test]
    fn each_verb_has_its_success() {
        let done = |kind| operation(kind, OperationResult::Done);
        assert_eq!(told_well(&done(OperationKind::Stop)), "web: stopped");
        assert_eq!(
            told_well(&done(OperationKind::Abort)),
            "web: aborted; generation 7 serves as before"
        );
        let scaled = OperationView {
            workers: Some(4),
            ..done(OperationKind::Scale)
        };
        assert_eq!(told_well(&scaled), "web: generation 7 has 4 workers now");
        let same = OperationView {
            unchanged: true,
            ..done(OperationKind::Reload)
        };
        assert_eq!(
            told_well(&same),
            "web: nothing changed; generation 7 serves on"
        );
    }

    #[test]
    fn a_reload_without_a_new_generation_tells_what_is_in_force_and_what_is_not() {
        let same = OperationView {
            unchanged: true,
            applied: vec!["upgrade.bake".to_owned(), "drain.timeout".to_owned()],
            pending: vec!["app.workers".to_owned()],
            ..operation(OperationKind::Reload, OperationResult::Done)
        };
        let elsewhere = Target {
            runtime_dir: Some("/x y".into()),
            ..Target::default()
        };
        assert_eq!(
            success(&same, "web", &elsewhere),
            "web: the release did not change, generation 7 serves on; applied: upgrade.bake, drain.timeout; \
             app.workers takes effect with the next generation: handover upgrade web --runtime-dir '/x y'"
        );
    }

    #[test]
    fn a_rollback_says_where_to_and_a_promotion_what_it_saved() {
        let back = OperationView {
            kind: OperationKind::Rollback,
            back_to: Some(5),
            label: Some("v5".to_owned()),
            ..upgraded()
        };
        let text = told_well(&back);
        assert!(
            text.starts_with("web: generation 8 is active with the release of generation 5, v5 ("),
            "{text}"
        );
        let promoted = OperationView {
            bake_ms: Some(300),
            bake_left_ms: Some(4700),
            ..upgraded()
        };
        let text = told_well(&promoted);
        assert!(text.contains(", promoted after 300 ms of 5 s)"), "{text}");
    }

    #[test]
    fn failure_tells_the_reason_the_last_lines_and_what_serves() {
        let failed = OperationView {
            reason: Some("worker 8.0 ended with exit code 3 before it was ready".to_owned()),
            failed_worker: Some("8.0".to_owned()),
            log_tail: (1..=25).map(|n| format!("line {n}\u{1b}[0m")).collect(),
            ..operation(OperationKind::Upgrade, OperationResult::Failed)
        };
        let text = told(&failed);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "web: upgrade failed: worker 8.0 ended with exit code 3 before it was ready",
                "worker 8.0 said last:",
                "    line 6",
            ]
        );
        assert_eq!(
            lines[21..],
            ["    line 25", "generation 7 serves as before"]
        );
        let silent = OperationView {
            log_tail: vec![],
            ..failed
        };
        assert!(told(&silent).contains("\nworker 8.0 printed nothing\n"));
        let hinted = OperationView {
            hint: Some("write `exec`".to_owned()),
            ..silent
        };
        let hint = "\nhint: write `exec`\ngeneration 7 serves as before";
        assert!(told(&hinted).ends_with(hint));
    }

    #[test]
    fn what_was_aborted_is_said_to_be_once() {
        let aborted = OperationView {
            reason: Some("it was aborted before it was active, asked by root (pid 7)".to_owned()),
            ..operation(OperationKind::Upgrade, OperationResult::Aborted)
        };
        assert_eq!(
            told(&aborted),
            "web: upgrade up_8 was aborted before it was active, asked by root (pid 7)\n\
             generation 7 serves as before"
        );
    }

    #[test]
    fn each_result_has_its_words_and_its_exit_code() {
        for (result, code, words) in [
            (
                OperationResult::Aborted,
                1,
                "upgrade up_8 was aborted\ngeneration 7 serves as before",
            ),
            (
                OperationResult::Refused,
                1,
                "upgrade refused\ngeneration 7 serves as before",
            ),
            (
                OperationResult::Superseded,
                3,
                "upgrade up_8 was superseded",
            ),
            (
                OperationResult::Incomplete,
                6,
                "upgrade failed and is not wholly undone\nwhat runs: handover status web",
            ),
            (
                OperationResult::Unknown,
                6,
                "upgrade up_8 ended in an unknown way\nwhat runs: handover status web",
            ),
        ] {
            let ended = operation(OperationKind::Upgrade, result);
            assert_eq!(exit(&ended) as u8, code);
            assert_eq!(told(&ended), format!("web: {words}"));
        }
        assert_eq!(exit(&upgraded()), Exit::Done);
    }
}
