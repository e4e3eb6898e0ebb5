//! For Rust applications that are served by handover (or systemd, or nobody): inherited listeners,
//! readiness, descriptors that outlive a generation, and a graceful server for hyper.
//!
//! ```toml
//! handover = { version = "0.1", default-features = false, features = ["app"] }
//! ```
//!
//! ```no_run
//! use std::convert::Infallible;
//! use handover::app::{self, Listener};
//! use hyper::{Request, Response, body::Incoming, service::service_fn};
//!
//! async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
//!     Ok(Response::new("hello\n".to_owned()))
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let listener = Listener::named("http").or_bind("127.0.0.1:8080")?;
//!     // … load what must be loaded …
//!     app::ready()?;
//!     let report = app::serve(listener, service_fn(hello)).run().await?;
//!     eprintln!("{report}");
//!     Ok(())
//! }
//! ```
//!
//! # What the server does at SIGTERM
//!
//! * It stops accepting at once; what it has accepted is served.
//! * A request in flight is answered to its last byte.
//! * A request that arrives in the drain, on a connection that was kept alive or half sent before,
//!   is answered, and the answer says `Connection: close`. Of pipelined requests the last one does.
//! * An idle connection is kept for [`Serve::linger`], since its client may be sending at this
//!   moment. Then our side ends, and what the client still sends is read and not reset.
//! * An upgraded connection (WebSocket, CONNECT) counts until whoever holds it drops it.
//!   Handlers learn of the drain by [`Drain`] in the extensions of their requests.
//! * [`Serve::deadline`] ends everything: answers that are not whole by a reset, so that none is
//!   taken for whole, upgraded connections by an end of file. The [`Report`] counts both.
//! * Further signals change nothing.
//!
//! Nothing here changes a flag of a listener, and none is needed: connections are accepted by a
//! thread, whether `nonblocking` is set or not.
//!
//! This knows the application's side of the protocols. It must not know any other room.

mod acceptor;
mod answering;
mod connection;
mod drain;
mod inherited;
mod knock;
mod listener;
mod notify;
mod scan;
mod serve;
mod signals;
mod stream;
mod wire;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

pub use drain::Drain;
pub use listener::{Listener, Named};
pub use serve::{Report, Serve, serve};
pub use signals::signals;

use notify::Notifier;

/// The listener that was passed under this name; short for `Listener::named(name).inherited()`.
///
/// # Errors
/// `NotFound` when there is none, or it was taken already.
pub fn listener(name: &str) -> io::Result<Listener> {
    Listener::named(name).inherited()
}

/// Every listener that was passed and not yet taken, in the order of the configuration.
///
/// # Errors
/// `LISTEN_FDS` and its companions contradict each other.
pub fn listeners() -> io::Result<Vec<Listener>> {
    inherited::ask(inherited::Inherited::listeners)
}

/// The descriptor that the predecessor stored under this name (see [`store`]), or any other that was
/// passed; each once. `None`: there is none, as in a first generation.
///
/// # Errors
/// `LISTEN_FDS` and its companions contradict each other.
pub fn take(name: &str) -> io::Result<Option<OwnedFd>> {
    inherited::ask(|all| all.take(name))
}

/// Has the manager keep a descriptor for the successor, which [`take`]s it by this name: a memfd
/// with state, a listener of its own, a live connection.
///
/// When this returns the manager has it (`FDSTORE=1`, then `BARRIER=1`; sd_notify(3)). Stored under one
/// name twice, two different ones are kept; [`forget`] first to replace. A successor gets what
/// was stored before it was launched: store before [`ready`], and let both share what may change later.
/// A manager that refuses (more than 512 are stored) says so in its own log.
///
/// False: no manager is there to keep it (`NOTIFY_SOCKET` is not set).
///
/// # Errors
/// `InvalidInput` for what is no name (1 to 255 printable ASCII characters, no colon); `TimedOut` when
/// the manager does not answer within 5 s.
pub async fn store(name: &str, fd: impl AsFd) -> io::Result<bool> {
    let fd = fd.as_fd().try_clone_to_owned()?;
    match Notifier::from_env()? {
        Some(notifier) => notifier.store(name, fd).await.map(|()| true),
        None => Ok(false),
    }
}

/// Has the manager close everything that is stored under this name.
///
/// False, and errors: as of [`store`].
///
/// # Errors
/// See [`store`].
pub async fn forget(name: &str) -> io::Result<bool> {
    match Notifier::from_env()? {
        Some(notifier) => notifier.forget(name).await.map(|()| true),
        None => Ok(false),
    }
}

/// Tells the manager that this process serves (`READY=1`).
///
/// False: nobody wants to know (`NOTIFY_SOCKET` is not set). Waits at most a second, and only when
/// the manager does not read.
///
/// # Errors
/// The socket that `NOTIFY_SOCKET` names cannot be reached.
pub fn ready() -> io::Result<bool> {
    tell("READY=1")
}

/// Tells the manager what this process is doing, in one line for people (`STATUS=`).
///
/// # Errors
/// As [`ready`].
pub fn status(text: &str) -> io::Result<bool> {
    tell(&format!("STATUS={}", notify::one_line(text)))
}

/// Tells the manager that this process has begun to end (`STOPPING=1`).
///
/// # Errors
/// As [`ready`].
pub fn stopping() -> io::Result<bool> {
    tell("STOPPING=1")
}

/// How often the manager wants to hear that this process is alive: half of `app.watchdog`
/// (`WATCHDOG_USEC`). `None`: it does not.
///
/// # Errors
/// The variables are no numbers.
pub fn watchdog_interval() -> io::Result<Option<Duration>> {
    notify::interval(|key| std::env::var_os(key), std::process::id())
}

/// Tells the manager again and again that the runtime turns (`WATCHDOG=1`); to be spawned, or
/// selected beside the work that must not hang. Returns at once where nobody watches.
///
/// # Errors
/// As [`ready`] and [`watchdog_interval`].
pub async fn watchdog() -> io::Result<()> {
    let Some(interval) = watchdog_interval()? else {
        return Ok(());
    };
    while tell("WATCHDOG=1")? {
        tokio::time::sleep(interval).await;
    }
    Ok(())
}

fn tell(text: &str) -> io::Result<bool> {
    match Notifier::from_env()? {
        Some(notifier) => notifier.send(text, &[]).map(|()| true),
        None => Ok(false),
    }
}
