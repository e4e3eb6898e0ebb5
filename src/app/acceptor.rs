//! Takes connections from a listener that is shared with strangers, in a thread of its own.
//!
//! O_NONBLOCK belongs to the open file description, and that is shared with the manager, the other
//! workers and the generations before and after this one. Setting it would make a blocking program
//! of another generation fail; relying on it is no better, since any of them may clear it, and then
//! an event loop hangs in accept(2). A description of one's own cannot be had (a socket cannot be
//! opened again through /proc), accept has no MSG_DONTWAIT, and SO_RCVTIMEO is shared as well. So
//! the flags are neither changed nor believed: a thread waits in poll(2) for the listener and for
//! the order to stop, and then accepts, which may block when another worker was quicker.
//!
//! A thread that sits in accept when the drain begins takes one connection more, which is served
//! like any. When none comes it is sent one of our own ([`knock`](super::knock)), so that it is
//! never there when the process ends and nothing that it took is lost.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, accept_with, getpeername, sockopt};
use tokio::sync::mpsc;

use super::knock::{Knock, knock};
use super::listener::Listener;

/// What goes wrong is told here, in words.
pub(super) type Trouble = Arc<dyn Fn(&str) + Send + Sync>;

/// The pause after a first failed accept; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Asked to stop when dropped.
#[derive(Debug)]
pub(super) struct Acceptor {
    shared: Arc<Room>,
    /// Held until the next one, so that its connection is still there when it is taken.
    knocking: Option<Knock>,
}

/// What the thread and its owner share.
#[derive(Debug)]
struct Room {
    listener: Listener,
    /// An eventfd: readable once it is time to stop.
    stop: OwnedFd,
    in_accept: AtomicBool,
    ended: AtomicBool,
    /// Where our own connection comes from.
    own: Mutex<Option<SocketAddr>>,
}

impl Acceptor {
    /// Begins to accept; what is taken goes to `taken`.
    pub(super) fn spawn(
        listener: Listener,
        taken: mpsc::Sender<OwnedFd>,
        trouble: Trouble,
    ) -> io::Result<Self> {
        let shared = Arc::new(Room {
            listener,
            stop: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            in_accept: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            own: Mutex::new(None),
        });
        let room = shared.clone();
        // The kernel shows 15 bytes of a thread's name.
        std::thread::Builder::new()
            .name("handover-accept".to_owned())
            .spawn(move || {
                room.accept_until_told(&taken, &trouble);
                room.ended.store(true, Ordering::Release);
            })?;
        Ok(Self {
            shared,
            knocking: None,
        })
    }

    /// Tells the thread to stop; it ends at once unless it sits in accept.
    pub(super) fn stop(&self) {
        // It cannot fail but by being readable already.
        let _ = rustix::io::write(&self.shared.stop, &1_u64.to_ne_bytes());
    }

    /// Wakes a thread that was told to stop and sits in accept. To be repeated until it has ended:
    /// another worker may take our connection.
    pub(super) fn wake(&mut self) {
        self.knocking = None;
        if self.shared.in_accept.load(Ordering::Acquire) && !self.has_ended() {
            // Locked, or the thread could ask whose it is before we know.
            let mut own = self.shared.own();
            // An address that cannot be reached leaves the thread where it is, which `serve` tells.
            self.knocking = knock(self.shared.listener.as_fd()).ok();
            *own = self.knocking.as_ref().and_then(Knock::address);
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// Is a connection of our own under way?
    pub(super) fn is_knocking(&self) -> bool {
        self.knocking.is_some()
    }

    pub(super) fn listener(&self) -> &Listener {
        &self.shared.listener
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop();
        self.wake();
    }
}

impl Room {
    fn accept_until_told(&self, taken: &mpsc::Sender<OwnedFd>, trouble: &Trouble) {
        let mut pause = PAUSE_MIN;
        loop {
            if self.is_told_to_stop(None, true) {
                return;
            }
            self.in_accept.store(true, Ordering::Release);
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let accepted = accept_with(&self.listener, flags);
            self.in_accept.store(false, Ordering::Release);
            match accepted {
                Ok(fd) if self.is_our_own(&fd) => {}
                Ok(fd) => {
                    pause = PAUSE_MIN;
                    if taken.blocking_send(fd).is_err() {
                        return; // the server was dropped
                    }
                }
                // Another worker was quicker, or the client is gone.
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                Err(errno) => {
                    if pause == PAUSE_MIN {
                        trouble(&cannot_accept(&self.listener, errno));
                    }
                    if self.is_told_to_stop(Some(pause), false) {
                        return;
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Waits for the order to stop, and for a connection when `or_connection`.
    fn is_told_to_stop(&self, at_most: Option<Duration>, or_connection: bool) -> bool {
        let at_most = at_most.and_then(|at_most| Timespec::try_from(at_most).ok());
        let (stop, listener) = (&self.stop, &self.listener);
        let mut polled = [
            PollFd::new(stop, PollFlags::IN),
            PollFd::new(listener, PollFlags::IN),
        ];
        let watched = if or_connection { 2 } else { 1 };
        // EINTR and ENOMEM: accept will tell, or the next turn.
        let _ = poll(&mut polled[..watched], at_most.as_ref());
        !polled[0].revents().is_empty()
    }

    /// Did we connect to ourselves?
    fn is_our_own(&self, fd: &OwnedFd) -> bool {
        if sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX) {
            let own = rustix::process::getpid();
            let knocked = self.own().is_some();
            return knocked && sockopt::socket_peercred(fd).is_ok_and(|peer| peer.pid == own);
        }
        let own = *self.own();
        let peer = getpeername(fd).ok().flatten();
        own.is_some() && own == peer.and_then(|peer| SocketAddr::try_from(peer).ok())
    }

    fn own(&self) -> std::sync::MutexGuard<'_, Option<SocketAddr>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cannot_accept(listener: &Listener, errno: Errno) -> String {
    let hint = match errno {
        Errno::MFILE => "; the limit of open files is reached (LimitNOFILE=, ulimit -n)",
        Errno::NFILE => "; the machine's limit of open files is reached (fs.file-max)",
        Errno::INVAL => "; somebody called shutdown on the shared socket, handover repairs it",
        _ => "",
    };
    let error = io::Error::from(errno);
    format!("cannot accept on {listener}: {error}{hint}; trying again")
}
