//! What the master tells the service manager that started it.
//!
//! This room knows the protocol of sd_notify(3) from the sender's side, the fd
//! store, the service watchdog of sd_watchdog_enabled(3), and which environment variables
//! belong to the master alone. It must not know what a generation or a worker
//! is: the sentence behind `STATUS=` is made by others, and what *workers* send
//! is read by `readiness::notify`.
//!
//! The shipped unit files lie in `systemd/` at the top of the repository; the
//! tests here hold them to what DESIGN promises of them.

mod backlog;
mod notifier;
mod store;

pub use notifier::{Notifier, Told};
pub use store::{NAMES_BYTES_MAX, NotStored, Stored};

/// The variables by which a service manager speaks to the master itself.
///
/// They are never passed on to a worker as they are: a worker that found them
/// would speak to systemd in the master's name, take descriptor 3 of an
/// unrelated process for a socket, or feed a watchdog that is not its own.
/// (`HANDOVER_*` is left out here: those are handover's, not systemd's.)
///
/// Exact names and no prefixes, because `LISTEN_ADDR` or `WATCHDOG_DIR` may
/// well be the application's own.
///
/// Sources: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3),
/// systemd.exec(5) "Environment variables set on processes".
pub const OWN_VARIABLES: &[&str] = &[
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
];

#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unit_files;
