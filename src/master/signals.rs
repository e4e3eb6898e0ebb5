//! What a signal means.
//!
//! All handled signals are blocked before any thread exists and read from a
//! signalfd(2), in one order with everything else that the loop waits for.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;

use super::Master;
use crate::control::{Caller, Event, OperationRequest, UpgradeRequest};
use crate::fleet::{self, Scale};
use crate::process::pollable;

/// Sent by the kernel (a terminal went away), not by a person: `SI_KERNEL` of
/// sigaction(2).
const SI_KERNEL: i32 = 0x80;

const HANDLED: [Signal; 9] = [
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// What goes through: faults of this process itself, which cannot be held back, and a shell's job control. Everything else
/// has no meaning here and would end the master, and with it the service: SIGXFSZ comes from a log file at its limit
/// (write(2) says EFBIG then), the others, real-time ones too, from whoever mistakes a PID. Workers get an empty mask.
const UNBLOCKED: [Signal; 9] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGABRT,
    Signal::SIGSYS,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// `si_code` of a SIGCHLD for a child that a signal stopped (sigaction(2)).
const CLD_STOPPED: i32 = 5;

fn handled() -> SigSet {
    HANDLED.into_iter().collect()
}

/// Blocks the handled signals and those without a meaning; to be called before any thread exists.
pub(super) fn block() -> io::Result<()> {
    let mut blocked = SigSet::all();
    for signal in UNBLOCKED {
        blocked.remove(signal);
    }
    Ok(blocked.thread_block()?)
}

/// The signals that arrive.
pub(super) struct Signals(AsyncFd<SignalFd>);

/// One signal, and who sent it.
pub(super) struct Arrived {
    signal: Signal,
    by: Caller,
    from_kernel: bool,
    /// SIGCHLD of a child that was stopped, and not of one that ended.
    stopped: bool,
}

impl Signals {
    pub(super) fn open() -> io::Result<Self> {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&handled(), flags)?;
        Ok(Self(pollable(fd)?))
    }

    /// The next signal; cancelling loses none.
    pub(super) async fn next(&self) -> io::Result<Arrived> {
        loop {
            let mut guard = self.0.readable().await?;
            let read = guard.try_io(|fd| {
                let read = fd.get_ref().read_signal();
                read?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
            });
            if let Ok(info) = read {
                let info = info?;
                let number = i32::try_from(info.ssi_signo).unwrap_or_default();
                if let Ok(signal) = Signal::try_from(number) {
                    let pid = i32::try_from(info.ssi_pid).unwrap_or_default();
                    let by = Caller {
                        uid: info.ssi_uid,
                        pid,
                    };
                    let from_kernel = info.ssi_code == SI_KERNEL;
                    let stopped = signal == Signal::SIGCHLD && info.ssi_code == CLD_STOPPED;
                    return Ok(Arrived {
                        signal,
                        by,
                        from_kernel,
                        stopped,
                    });
                }
            }
        }
    }
}

impl Master {
    pub(super) fn on_signal(&mut self, arrived: &Arrived) {
        let Arrived {
            signal,
            by,
            from_kernel,
            stopped,
        } = *arrived;
        match signal {
            Signal::SIGCHLD => {
                if stopped {
                    self.on_stopped(by.pid);
                }
                self.reap();
            }
            Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT => self.stop_signalled(by),
            Signal::SIGUSR2 => {
                let request = OperationRequest::Upgrade(UpgradeRequest::default());
                self.start_signalled(request, by);
            }
            // A terminal that goes away is no request.
            Signal::SIGHUP if from_kernel => {}
            Signal::SIGHUP => self.start_signalled(OperationRequest::Reload, by),
            // Nothing is written to a file that could be reopened.
            Signal::SIGUSR1 => {}
            Signal::SIGTTIN => self.scale_signalled(Scale::Up, by),
            Signal::SIGTTOU => self.scale_signalled(Scale::Down, by),
            _ => {}
        }
    }

    /// The first drains, a second one ends at once.
    fn stop_signalled(&mut self, by: Caller) {
        if self.fleet.stage() == fleet::Stage::Stopping {
            self.warn("a second signal to stop: what is left is ended now");
        } else {
            let drain_timeout_ms = super::effects::millis(self.config().drain.timeout);
            // A terminal's Ctrl-C has no sender.
            let by = Some(by).filter(|by| by.pid != 0);
            self.tell(&Event::MasterStopping {
                by,
                drain_timeout_ms,
            });
        }
        let (operation, now) = (None, false);
        self.pending
            .push_back(fleet::Event::Stop { operation, now });
    }

    fn scale_signalled(&mut self, to: Scale, by: Caller) {
        if let Err(error) = self.scale(to, by) {
            self.warn(error.to_string());
        }
    }

    /// A request that nobody waits for: a refusal is told as an event.
    fn start_signalled(&mut self, request: OperationRequest, by: Caller) {
        if let Err(error) = self.start_operation(request, by) {
            self.tell(&Event::ConfigRefused {
                reason: error.to_string(),
            });
        }
    }
}
