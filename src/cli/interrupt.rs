//! Ctrl-C while waiting: read, not suffered.

use std::io;

use crate::process::pollable;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;

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
            // The runtime's end is the only failure; then nothing comes.
            let Ok(mut ready) = self.0.readable().await else {
                return std::future::pending().await;
            };
            match self.0.get_ref().read_signal() {
                Ok(Some(_)) => return,
                Ok(None) | Err(_) => ready.clear_ready(),
            }
        }
    }
}
