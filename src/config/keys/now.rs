//! Keys of this version, `[[listen]]` and `[limits]` apart.

use std::time::Duration;

use super::super::key::{Key, key};
use super::super::kind::Kind;
use super::super::types::{Level, LogFormat, Route, Strategy, WorkerOutput};

const ANY: Kind = Kind::Duration {
    min: Duration::ZERO,
};
const POSITIVE: Kind = Kind::Duration {
    min: Duration::from_millis(1),
};
const SOME: Kind = Kind::Number {
    min: 1,
    max: u32::MAX as u64,
};
const COMMAND: Kind = Kind::Words("[\"./server\", \"--verbose\"]");
const HOOK: Kind = Kind::Words("[\"/usr/lib/web/hook\"]");
const MASK: Kind = Kind::Mode { max: 0o777 };

pub(super) const KEYS: &[Key] = &[
    key!(
        "name",
        name,
        Kind::Name,
        "",
        Restart,
        "The service's name; else the file's stem, else the command's base name: of an interpreter its script's stem (`python3 app.py`: `app`) or the last part of its module's name (`python3 -m http.server`: `server`)."
    ),
    key!(
        "route",
        route,
        Kind::Choice(Route::NAMES),
        "auto",
        Restart,
        "Who takes the connections: the workers (direct) or the router (balance, session)."
    ),
    // [app]
    key!(
        "app.command",
        app.command,
        COMMAND,
        "[]",
        Release,
        "Program and arguments; no shell in between."
    ),
    key!(
        "app.workers",
        app.workers,
        Kind::Workers,
        "1",
        Release,
        "Workers of a generation; auto: as many as the control group has CPUs."
    ),
    key!(
        "app.directory",
        app.directory,
        Kind::Path,
        "",
        Release,
        "Working directory; a relative one counts from where handover was started."
    ),
    key!(
        "app.user",
        app.user,
        Kind::Account,
        "",
        Release,
        "User of the workers, name or number in quotes; else the master's own."
    ),
    key!(
        "app.group",
        app.group,
        Kind::Account,
        "",
        Release,
        "Group of the workers, name or number in quotes; else the user's own."
    ),
    key!(
        "app.env",
        app.env,
        Kind::Variables,
        "{}",
        Release,
        "Environment variables, set over env_file and the inherited ones."
    )
    .secret(),
    key!(
        "app.env_file",
        app.env_file,
        Kind::Path,
        "",
        Release,
        "Environment variables in the syntax of systemd's EnvironmentFile=, read again for each generation."
    ),
    key!(
        "app.inherit_env",
        app.inherit_env,
        Kind::InheritEnv,
        "true",
        Release,
        "Which of the master's variables a worker sees: all, only PATH HOME USER LOGNAME SHELL LANG LC_* TZ TMPDIR, or those named."
    ),
    key!(
        "app.watchdog",
        app.watchdog,
        POSITIVE,
        "",
        Release,
        "A worker that sends no WATCHDOG=1 for this long is replaced; unset: never."
    ),
    key!(
        "app.umask",
        app.umask,
        MASK,
        "",
        Release,
        "File mode creation mask of the workers, octal; else the master's own."
    ),
    key!(
        "app.no_new_privs",
        app.no_new_privs,
        Kind::Switch,
        "false",
        Release,
        "Workers and their children gain nothing from setuid programs (PR_SET_NO_NEW_PRIVS)."
    ),
    // [ready]
    key!(
        "ready.on",
        ready.on,
        Kind::ReadyOn,
        "auto",
        Release,
        "The sign that decides; auto: READY=1 or the kernel's evidence that the worker waits on its listeners."
    ),
    key!(
        "ready.timeout",
        ready.timeout,
        POSITIVE,
        "30s",
        Live,
        "A worker that is not ready by then has failed."
    ),
    key!(
        "ready.settle",
        ready.settle,
        ANY,
        "1s",
        Release,
        "Where nothing can be observed: being alive for this long counts as ready."
    ),
    // [health]
    key!(
        "health.check",
        health.check,
        Kind::Probe,
        "",
        Release,
        "A probe that a worker must answer to be ready, and ever after: http:PATH or exec:COMMAND."
    ),
    key!(
        "health.interval",
        health.interval,
        POSITIVE,
        "5s",
        Release,
        "From one probe of a worker to its next; in a bake shorter, so that all failures fit into it."
    ),
    key!(
        "health.timeout",
        health.timeout,
        POSITIVE,
        "2s",
        Release,
        "A probe without a whole answer by then has failed; those of ready.on too."
    ),
    key!(
        "health.failures",
        health.failures,
        Kind::Number { min: 1, max: 1000 },
        "3",
        Release,
        "So many failures in a row: the worker is replaced, or its bake rolled back."
    ),
    // [upgrade]
    key!(
        "upgrade.bake",
        upgrade.bake,
        ANY,
        "1s",
        Live,
        "How long a new generation must stay healthy beside the old one before the old one is let go."
    ),
    key!(
        "upgrade.retries",
        upgrade.retries,
        Kind::Number { min: 0, max: 100 },
        "0",
        Live,
        "How often a failed generation is tried again before the upgrade counts as failed."
    ),
    key!(
        "upgrade.strategy",
        upgrade.strategy,
        Kind::Choice(Strategy::NAMES),
        "all",
        Live,
        "Replace all workers at once, or a batch at a time: an old worker drains when its replacement baked."
    ),
    key!(
        "upgrade.batch",
        upgrade.batch,
        SOME,
        "1",
        Live,
        "Rolling: workers replaced at a time."
    ),
    key!(
        "upgrade.canary",
        upgrade.canary,
        Kind::Number {
            min: 0,
            max: u32::MAX as u64
        },
        "0",
        Live,
        "Workers of the new generation that serve beside the old one until promoted or aborted; 0: none."
    ),
    key!(
        "upgrade.canary_timeout",
        upgrade.canary_timeout,
        ANY,
        "0s",
        Live,
        "A canary that nobody promoted by then is aborted; 0s: never."
    ),
    key!(
        "upgrade.on_change",
        upgrade.on_change,
        Kind::Switch,
        "false",
        Live,
        "Upgrade by itself when the executable changes on disk, or a link that leads to it or to the working directory."
    ),
    // [drain]
    key!(
        "drain.signal",
        drain.signal,
        Kind::Signal,
        "TERM",
        Release,
        "What asks a worker to finish."
    ),
    key!(
        "drain.timeout",
        drain.timeout,
        ANY,
        "20s",
        Live,
        "A worker that has not finished by then is killed."
    ),
    key!(
        "drain.kill_after",
        drain.kill_after,
        ANY,
        "5s",
        Live,
        "Routed modes: the signal is sent this long before drain.timeout at the latest."
    ),
    key!(
        "drain.max_generations",
        drain.max_generations,
        Kind::Number { min: 1, max: 1000 },
        "4",
        Live,
        "More draining generations than this: the oldest is ended at once."
    ),
    key!(
        "drain.delay",
        drain.delay,
        ANY,
        "0s",
        Live,
        "On stop: how long listeners go on accepting while /readyz already says no."
    ),
    // [restart]
    key!(
        "restart.delay",
        restart.delay,
        POSITIVE,
        "100ms",
        Live,
        "Bound of the first delay before a worker that died is started again."
    ),
    key!(
        "restart.max_delay",
        restart.max_delay,
        POSITIVE,
        "30s",
        Live,
        "Bound of every later delay."
    ),
    // [hooks]
    key!(
        "hooks.pre_upgrade",
        hooks.pre_upgrade,
        HOOK,
        "[]",
        Live,
        "Before a new generation starts (not the first); if it fails, so does the upgrade, and nothing was started."
    ),
    key!(
        "hooks.post_ready",
        hooks.post_ready,
        HOOK,
        "[]",
        Live,
        "When the first workers of a new generation are ready; a failure undoes the upgrade."
    ),
    key!(
        "hooks.post_drain",
        hooks.post_drain,
        HOOK,
        "[]",
        Live,
        "When a generation that was replaced has ended."
    ),
    key!(
        "hooks.on_failure",
        hooks.on_failure,
        HOOK,
        "[]",
        Live,
        "When an upgrade failed; HANDOVER_REASON says why."
    ),
    // [log]
    key!(
        "log.format",
        log.format,
        Kind::Choice(LogFormat::NAMES),
        "auto",
        Restart,
        "Form of handover's own lines; auto: journald under systemd, else text."
    ),
    key!(
        "log.level",
        log.level,
        Kind::Choice(Level::NAMES),
        "info",
        Live,
        "The least important line that is written."
    ),
    key!(
        "log.worker_output",
        log.worker_output,
        Kind::Choice(WorkerOutput::NAMES),
        "journal",
        Restart,
        "Where workers' output goes: the master's own output, its log (as text behind the worker, `[3.0] …`), or a file each."
    ),
    // [control]
    key!(
        "control.group",
        control.group,
        Kind::Account,
        "",
        Restart,
        "Group of the control socket, whose members may give orders where control.mode lets them write; else the master's own."
    ),
    key!(
        "control.mode",
        control.mode,
        MASK,
        "0600",
        Restart,
        "Permissions of the control socket, octal: 0600, or 0660 to let the group in."
    ),
    // [admin]
    key!(
        "admin.listen",
        admin.listen,
        Kind::Address,
        "",
        Live,
        "Read-only /metrics, /healthz and /readyz at this TCP address, for anybody who reaches it."
    ),
];
