//! A status as a page: a header, then tables.

use std::time::Duration;

use crate::cli::table::{Cell, Table};
use crate::cli::terminal::{Paint, Tone};
use crate::cli::text::{clean, fit, shell, width, wrap};
use crate::control::view::{
    GenerationState, GenerationView, LastUpgrade, ListenerView, MasterState, OperationResult,
    OperationView, Status, WorkerState, WorkerView,
};
use crate::control::{Count, Span, Timestamp};

/// A command longer than this is cut: `--json` has it all.
const COMMAND_MAX: usize = 48;

/// What made a worker ready, too.
const SIGN_MAX: usize = 40;

/// What a worker says of itself, too.
const STATUS_MAX: usize = 120;

/// What a line that is broken between words may leave free.
const LEFT_FREE: usize = 8;

/// The whole page, without a last newline. What is longer than `columns` is cut in tables where nobody needs all of
/// it, and broken elsewhere.
pub(super) fn render(status: &Status, paint: Paint, columns: usize) -> String {
    let mut generations = generations(status);
    generations.shrink(columns, &["LABEL", "RELEASE"]);
    let mut workers = workers(status);
    workers.shrink(columns, &["BY"]);
    workers.shrink(columns, &["STATUS"]);
    let broken = |lines: Vec<String>| lines.iter().map(|line| wrap(line, columns)).collect();
    let sections: [Vec<String>; 5] = [
        broken(header(status, paint)),
        generations.lines(paint),
        workers.lines(paint),
        listeners(&status.listeners).lines(paint),
        broken(footer(status, paint, columns)),
    ];
    let sections: Vec<String> = sections
        .into_iter()
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join("\n"))
        .collect();
    sections.join("\n\n")
}

fn header(status: &Status, paint: Paint) -> Vec<String> {
    let (word, tone) = match status.state {
        // It is what a pager sees first.
        MasterState::Serving if nobody_serves(status) => ("not serving", Tone::Bad),
        MasterState::Upgrading if nobody_serves(status) => ("upgrading, not serving", Tone::Bad),
        MasterState::Serving => (status.state.as_str(), Tone::Good),
        MasterState::Starting | MasterState::Upgrading => (status.state.as_str(), Tone::Warn),
        MasterState::Stopping | MasterState::Unknown => (status.state.as_str(), Tone::Bad),
    };
    let mut first = vec![
        paint.tone(Tone::Strong, &clean(&status.name)),
        paint.tone(tone, word),
    ];
    if status.generation > 0 {
        first.push(format!("generation {}", status.generation));
    }
    first.push(clean(&status.route));
    first.push(format!("pid {}", status.pid));
    first.push(format!("up {}", age(status.at, status.started_at)));
    first.push(format!("handover {}", clean(&status.version)));
    let mut lines = vec![first.join("  ")];
    lines.extend(status.sticky.as_deref().map(clean));
    lines.extend(status.scaled.as_deref().map(clean));
    lines.extend(
        status
            .admin
            .as_deref()
            .map(|at| format!("metrics: http://{}/metrics", clean(at))),
    );
    for warning in &status.warnings {
        lines.push(paint.tone(Tone::Warn, &format!("warning: {}", clean(warning))));
    }
    lines
}

/// No worker is ready, or no listener lets a client through.
fn nobody_serves(status: &Status) -> bool {
    let mut workers = status.generations.iter().flat_map(|held| &held.workers);
    let ready = workers.any(|worker| worker.state == WorkerState::Ready);
    let unready = !status.generations.is_empty() && !ready;
    let listeners = &status.listeners;
    let unreachable = !listeners.is_empty() && listeners.iter().all(|listener| listener.broken);
    unready || unreachable
}

fn generations(status: &Status) -> Table {
    let mut table = Table::new([
        "GENERATION",
        "STATE",
        "AGE",
        "LABEL",
        "RELEASE",
        "PINNED",
        "",
    ]);
    for generation in &status.generations {
        let command = fit(&clean(&shell(&generation.release.command)), COMMAND_MAX);
        table.row(vec![
            Cell::new(generation.number),
            Cell::new(generation.state).tone(generation_tone(generation.state)),
            Cell::new(age(status.at, generation.started_at)).right(),
            Cell::maybe(generation.label.as_deref()),
            Cell::new(command),
            Cell::new(generation.release.pinned),
            Cell::new(remark(generation, status.at)),
        ]);
    }
    table
}

/// What a person should know of a generation and has no column.
fn remark(generation: &GenerationView, at: Timestamp) -> String {
    let mut remarks = Vec::new();
    if let Some(deadline) = generation.drain_deadline {
        let left = deadline.since(at).as_millis();
        let left = Span(u64::try_from(left).unwrap_or(u64::MAX));
        // A part would be a wrong number.
        let mut living = generation.workers.iter().filter(|it| it.pid.is_some());
        let sum = living.try_fold(0, |sum, worker| Some(sum + worker.connections?));
        if let Some(connections) = sum.filter(|_| !generation.workers.is_empty()) {
            remarks.push(format!("{} left", Count(connections, "connection")));
        }
        remarks.push(format!("{left} left"));
    }
    if generation.state == GenerationState::Canary {
        let mut words = "promote or abort it".to_owned();
        if let Some(deadline) = generation.canary_deadline {
            let left = deadline.since(at).as_secs();
            words += &format!(", aborted in {}", Span(left * 1000));
        }
        remarks.push(words);
    }
    match generation.release.changed_files.as_slice() {
        [] => {}
        [file] => remarks.push(file.clone()),
        files => remarks.push(format!("{} files changed since", files.len())),
    }
    remarks.join(", ")
}

fn workers(status: &Status) -> Table {
    let heading = [
        "WORKER",
        "STATE",
        "PID",
        "READY AFTER",
        "BY",
        "RESTARTS",
        "CONNECTIONS",
        "HEALTH",
        "STATUS",
    ];
    let mut table = Table::new(heading);
    for worker in status
        .generations
        .iter()
        .flat_map(|generation| &generation.workers)
    {
        table.row(row(worker));
    }
    table
}

fn row(worker: &WorkerView) -> Vec<Cell> {
    let says = worker.status.as_deref().map(clean);
    let ended = worker.ended.as_deref();
    let ended = ended.map(|how| format!("ended: {}", clean(how)));
    vec![
        Cell::new(&worker.id),
        match worker.restart_in_ms {
            Some(left) => Cell::new(format!("restarts in {}", soon(left))).tone(Tone::Bad),
            None => Cell::new(worker.state).tone(worker_tone(worker.state)),
        },
        // That there is none is worth a column, too.
        Cell::new(worker.pid.map_or("none".to_owned(), |pid| pid.to_string())).right(),
        Cell::maybe(worker.ready_ms.map(Span)).right(),
        Cell::maybe(sign(worker)),
        Cell::maybe((worker.restarts > 0).then_some(worker.restarts))
            .right()
            .tone(Tone::Warn),
        Cell::maybe(worker.connections).right(),
        health(worker),
        Cell::maybe(says.or(ended).map(|words| fit(&words, STATUS_MAX))),
    ]
}

/// What made it ready, without what other columns say: its own PID, and that its health check agreed.
fn sign(worker: &WorkerView) -> Option<String> {
    let by = worker.ready_by.as_deref()?;
    let before_check = worker.health.as_ref().and_then(|_| by.rsplit_once("; "));
    let sign = before_check.map_or(by, |(sign, _)| sign);
    let own = worker.pid.map(|pid| format!(" (pid {pid})"));
    let sign = own.map_or_else(|| sign.to_owned(), |own| sign.replace(&own, ""));
    Some(fit(&sign, SIGN_MAX))
}

/// A time that is left; from a second on in whole seconds, rounded up: "0 s" would be over.
fn soon(left_ms: u64) -> Span {
    match left_ms {
        0..1000 => Span(left_ms),
        _ => Span(left_ms.div_ceil(1000) * 1000),
    }
}

/// What its last probe said: one word while it is well.
fn health(worker: &WorkerView) -> Cell {
    let Some(health) = &worker.health else {
        return Cell::default();
    };
    match (health.ok, health.failures) {
        (true, _) => Cell::new("ok").tone(Tone::Good),
        (false, 0 | 1) => Cell::new(&health.reason).tone(Tone::Warn),
        (false, failures) => {
            let words = format!("{}, {failures} times in a row", health.reason);
            Cell::new(words).tone(Tone::Bad)
        }
    }
}

fn listeners(listeners: &[ListenerView]) -> Table {
    let mut table = Table::new(["LISTENER", "ADDRESS", "BACKLOG", "WAITING", "FROM", ""]);
    for listener in listeners {
        // What the master bound itself needs no word.
        let origin = Some(&listener.origin).filter(|origin| *origin != "bound");
        table.row(vec![
            Cell::new(&listener.name),
            Cell::new(&listener.address),
            Cell::maybe((listener.backlog > 0).then_some(listener.backlog)).right(),
            // A queue in which nobody waits is as it should be.
            Cell::maybe(listener.queue.filter(|queue| *queue > 0)).right(),
            Cell::maybe(origin),
            Cell::maybe(note(listener)).tone(match listener.broken {
                true => Tone::Bad,
                false => Tone::Warn,
            }),
        ]);
    }
    table
}

fn note(listener: &ListenerView) -> Option<String> {
    let note = listener.note.as_deref();
    match listener.broken {
        true => Some(format!("broken: {}", note.unwrap_or("the log says why"))),
        false => note.map(str::to_owned),
    }
}

fn footer(status: &Status, paint: Paint, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(uncounted(status).map(|line| paint.tone(Tone::Dim, &line)));
    lines.extend(
        status
            .operation
            .as_ref()
            .map(|o| under_way("under way", o, status.at)),
    );
    lines.extend(
        status
            .queued
            .as_ref()
            .map(|o| under_way("queued", o, status.at)),
    );
    if let Some(last) = &status.last_upgrade {
        let stands = |held: &GenerationView| {
            held.state == GenerationState::Canary && Some(held.number) == last.to
        };
        let canary = status.generations.iter().any(stands);
        lines.push(last_upgrade(last, canary, status.at, (paint, columns)));
    }
    let counts = status.upgrades;
    if counts.succeeded + counts.failed + counts.rolled_back > 0 {
        lines.push(format!(
            "upgrades: {} succeeded, {} failed, {} rolled back",
            counts.succeeded, counts.failed, counts.rolled_back
        ));
    }
    lines
}

fn under_way(how: &str, operation: &OperationView, at: Timestamp) -> String {
    let OperationView { kind, id, by, .. } = operation;
    format!(
        "{how}: {kind} {} for {}, asked by {by}",
        clean(id),
        age(at, operation.started_at)
    )
}

/// Why a number is missing, once for all of them.
fn uncounted(status: &Status) -> Option<String> {
    let reason = clean(status.uncounted.as_deref()?);
    let mut workers = status.generations.iter().flat_map(|held| &held.workers);
    let whose = match workers.any(|worker| worker.connections.is_some()) {
        true => "connections of some workers",
        false => "connections",
    };
    Some(format!("{whose} are not counted: {reason}"))
}

/// `canary`: what it made stands, and is not active.
fn last_upgrade(
    last: &LastUpgrade,
    canary: bool,
    at: Timestamp,
    (paint, columns): (Paint, usize),
) -> String {
    let good = last.result == OperationResult::Done;
    let result = paint.tone(
        if good { Tone::Good } else { Tone::Bad },
        last.result.as_str(),
    );
    let way = match (last.from, last.to) {
        (Some(from), Some(to)) if canary => format!(", generation {to} as a canary beside {from}"),
        (Some(from), Some(to)) => format!(", generation {from} to {to}"),
        (None, Some(to)) => format!(", generation {to}"),
        _ => String::new(),
    };
    let mut line = format!(
        "last upgrade: {} {result}{way}, {} ago, took {}",
        clean(&last.id),
        age(
            at,
            last.started_at
                .after(Duration::from_millis(last.duration_ms))
        ),
        Span(last.duration_ms)
    );
    if let Some(reason) = &last.reason {
        // Two lines at most, less what breaking between words leaves free; `history` has the whole.
        let used = width(&clean(&line)) + 2 * LEFT_FREE;
        let room = columns.saturating_mul(2).saturating_sub(used);
        line += &format!(": {}", fit(&clean(reason).replace('\n', " "), room));
    }
    line
}

fn age(at: Timestamp, since: Timestamp) -> String {
    // Whole seconds: the page is not a stopwatch.
    let seconds = at.since(since).as_secs();
    Span(seconds * 1000).to_string().replace("0 ms", "0 s")
}

fn generation_tone(state: GenerationState) -> Tone {
    match state {
        GenerationState::Active => Tone::Good,
        GenerationState::Starting | GenerationState::Baking | GenerationState::Canary => Tone::Warn,
        GenerationState::Failed => Tone::Bad,
        GenerationState::Draining | GenerationState::Ended | GenerationState::Unknown => Tone::Dim,
    }
}

fn worker_tone(state: WorkerState) -> Tone {
    match state {
        WorkerState::Ready => Tone::Good,
        WorkerState::Starting => Tone::Warn,
        WorkerState::Draining | WorkerState::Exited | WorkerState::Unknown => Tone::Dim,
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
