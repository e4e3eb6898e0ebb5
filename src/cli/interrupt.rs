//! Ctrl-C while waiting: read, not suffered.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;

use crate::process::pollable;

/// Takes the interrupts of this process from now on.
pub(super) struct Interrupt(AsyncFd<SignalFd>);

impl Interrupt {
    /// Blocks SIGINT and reads it instead (signalfd(2)).
    pub(super) fn arm() -> io::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self(pollable(SignalFd::with_flags(&signals, flags)?)?))
    }

    /// Waits for the next one.
    pub(super) async fn wait(&self) {
        loop {
            let Ok(mut guard) = self.0.readable().await else {
                // Nothing comes any more: only the other ends of waiting are left.
                return std::future::pending().await;
            };
            match guard.get_inner().read_signal() {
                Ok(Some(_)) => return,
                Ok(None) => guard.clear_ready(),
                Err(_) => return std::future::pending().await,
            }
        }
    }
}
