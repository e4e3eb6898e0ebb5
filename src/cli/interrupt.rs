//! Ctrl-C while waiting: read, not suffered.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::net::unix::pipe;

/// `sizeof(struct signalfd_siginfo)` (signalfd(2)).
const RECORD: usize = 128;

/// Takes the interrupts of this process from now on.
///
/// A signalfd is read like a pipe, and tokio's pipe owns its descriptor, which
/// its `AsyncFd` cannot promise without `unsafe`.
pub(super) struct Interrupt(pipe::Receiver);

impl Interrupt {
    /// Blocks SIGINT and reads it instead (signalfd(2)).
    pub(super) fn arm() -> io::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = OwnedFd::from(SignalFd::with_flags(&signals, flags)?);
        Ok(Self(pipe::Receiver::from_owned_fd_unchecked(signals)?))
    }

    /// Waits for the next one.
    pub(super) async fn wait(&self) {
        loop {
            let mut record = [0; RECORD];
            match self
                .0
                .readable()
                .await
                .and_then(|()| self.0.try_read(&mut record))
            {
                Ok(_) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Nothing comes any more: only the other ends of waiting are left.
                Err(_) => return std::future::pending().await,
            }
        }
    }
}
