//! One child: told through its pidfd, reaped once, its group reachable until the last member is gone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::exit::Exit;
use super::nonce::Mark;
use super::place::{pidfd_exit_status, pidfd_signal};
use super::{procfs, stragglers};

/// PIDFD_SIGNAL_PROCESS_GROUP of linux/pidfd.h (Linux 6.9).
const PROCESS_GROUP: u32 = 1 << 2;

/// A child of this process that leads a process group of its own.
///
/// No number is ever signalled: a process through its pidfd, which was opened while the child was
/// unreaped; its group through the same pidfd (Linux 6.9 and later: this works after the leader was reaped
/// too, because the kernel goes by the identity and not by the number). On older kernels the
/// leader is kept unreaped while its group lives, so that the number cannot come to mean another group.
///
/// Dropping it signals nobody.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    anchor: Anchor,
    /// Its start time, where somebody else is its parent.
    stranger: Option<u64>,
    exit: OnceLock<Exit>,
    reaped: AtomicBool,
}

/// What keeps the group's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Anchor {
    /// The pidfd (6.9+).
    Pidfd,
    /// The unreaped leader.
    Zombie,
}

impl Child {
    /// Takes over a child that was just started and that nobody has reaped.
    ///
    /// # Errors
    /// What pidfd_open(2) says (Linux 5.3 and later have it), EMFILE among them.
    pub(super) fn new(pid: i32) -> io::Result<Self> {
        let anchor = if group_signals_work() {
            Anchor::Pidfd
        } else {
            Anchor::Zombie
        };
        Self::with_anchor(pid, anchor)
    }

    fn with_anchor(pid: i32, anchor: Anchor) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self {
            pid,
            pidfd,
            anchor,
            stranger: None,
            exit: OnceLock::new(),
            reaped: AtomicBool::new(false),
        })
    }

    /// Finds a process again that a master started before this one: by its number, when it began, and the nonce that it
    /// carries. Where this process is its parent still (it executed itself anew), the start time is enough: nobody else
    /// reaps. None when there is no such process any more; the number may be a stranger's.
    ///
    /// # Errors
    /// What pidfd_open(2) says, EMFILE among them; not that there is no such process.
    pub fn find(pid: i32, start_time: u64, nonce: &str) -> io::Result<Option<Self>> {
        let gone = |error: &io::Error| error.raw_os_error() == Some(nix::libc::ESRCH);
        let mut child = match Self::new(pid) {
            Ok(child) => child,
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // The pidfd is open: while its process is there, what is read by its number is about it.
        let began = procfs::stat(pid).map(|stat| (stat.start_time, stat.is_dead()));
        let own = child.wait(WaitIdOptions::NOWAIT).is_ok();
        let found = match began {
            Some((began, _)) if began != start_time => false,
            Some(_) if own => true,
            Some((_, dead)) => !dead && Mark::Worker.of(pid).is_some_and(|mark| mark == nonce),
            None => false,
        };
        if !found || (!own && child.signal(0).is_err_and(|error| gone(&error))) {
            return Ok(None);
        }
        child.stranger = (!own).then_some(start_time);
        Ok(Some(child))
    }

    /// As on a kernel before 6.9, which knows groups by their number only.
    #[cfg(test)]
    pub(crate) fn on_an_older_kernel(pid: i32) -> io::Result<Self> {
        Self::with_anchor(pid, Anchor::Zombie)
    }

    /// Takes over a descendant that became our child when its parent ended (we are its
    /// subreaper) and that nobody has reaped.
    ///
    /// # Errors
    /// ECHILD when it is not our child, else what pidfd_open(2) says.
    pub fn adopt(pid: i32) -> io::Result<Self> {
        let child = Self::new(pid)?;
        child.wait(WaitIdOptions::NOWAIT)?;
        Ok(child)
    }

    /// Its number, which is its group's too.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// Clock ticks after boot at which it began (field 22 of `/proc/PID/stat`); 0 without `/proc`, and
    /// after it was reaped: its number may be a stranger's then.
    pub fn start_time(&self) -> u64 {
        if self.reaped.load(Ordering::Acquire) {
            return 0;
        }
        if let Some(start_time) = self.stranger {
            return start_time;
        }
        // It is unreaped, so this is its own line, even when it is a zombie by now.
        procfs::stat(self.pid()).map_or(0, |stat| stat.start_time)
    }

    /// The pidfd: readable once the child ended (pidfd_open(2)).
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits until the process ended (it is reaped by [`reap`](Self::reap)). Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// What epoll_ctl(2) says: a child is waited for by one at a time.
    pub async fn ended(&self) -> io::Result<()> {
        #[expect(
            deprecated,
            reason = "the pidfd is borrowed for as long as it is registered, so it stays open and the same"
        )]
        let pidfd = AsyncFd::with_interest(self.pidfd(), Interest::READABLE)?;
        pidfd.readable().await.map(drop)
    }

    /// Sends `signal` to the process itself.
    ///
    /// # Errors
    /// ESRCH when it was reaped, EPERM when it became somebody else's, EINVAL for no signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        pidfd_signal(self.pidfd(), signal, 0)
    }

    /// Sends `signal` to every process of its group, whether the leader still lives or not.
    ///
    /// # Errors
    /// ESRCH when nobody is left, else as [`signal`](Self::signal).
    pub fn signal_group(&self, signal: i32) -> io::Result<()> {
        match self.anchor {
            Anchor::Pidfd => pidfd_signal(self.pidfd(), signal, PROCESS_GROUP),
            // Nothing keeps the number of its group: the process itself is all that is surely ours.
            Anchor::Zombie if self.stranger.is_some() => self.signal(signal),
            Anchor::Zombie => self.signal_group_by_number(signal),
        }
    }

    /// Ends the process and its whole group at once, by SIGKILL. The process is told by itself too, since it may have left
    /// the group that it began with. Who is gone already needs no signal, and who became another user's takes none.
    pub fn kill(&self) {
        let _ = self.signal_group(nix::libc::SIGKILL);
        let _ = self.signal(nix::libc::SIGKILL);
    }

    /// By number, which is ours as long as the leader is our unreaped child: nobody else reaps here.
    fn signal_group_by_number(&self, signal: i32) -> io::Result<()> {
        if self.reaped.load(Ordering::Acquire) {
            return Err(rustix::io::Errno::SRCH.into());
        }
        // ECHILD here: somebody did reap it. Then the number means nothing any more.
        self.wait(WaitIdOptions::NOWAIT)?;
        match rustix::process::Signal::from_named_raw(signal) {
            Some(named) => Ok(kill_process_group(self.pid, named)?),
            None if signal == 0 => Ok(rustix::process::test_kill_process_group(self.pid)?),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// How it ended; `None` while it runs. Reaps it, except on a kernel before 6.9 as long as its
    /// group lives (call again, or ask [`group_is_empty`](Self::group_is_empty)). Answers the same for ever after.
    ///
    /// # Errors
    /// What waitid(2) says: ECHILD when it is not our child.
    pub fn reap(&self) -> io::Result<Option<Exit>> {
        if self.reaped.load(Ordering::Acquire) {
            return Ok(self.exit.get().copied());
        }
        if self.stranger.is_some() {
            return self.end_of_a_stranger();
        }
        let keep = match self.anchor {
            Anchor::Pidfd => WaitIdOptions::empty(),
            Anchor::Zombie => WaitIdOptions::NOWAIT,
        };
        let Some(exit) = self.wait(keep)? else {
            return Ok(None);
        };
        let _ = self.exit.set(exit);
        match self.anchor {
            Anchor::Pidfd => self.reaped.store(true, Ordering::Release),
            Anchor::Zombie => {
                self.let_go_of_the_number();
            }
        }
        Ok(Some(exit))
    }

    /// The pidfd says that it ended; how, the kernel tells to anybody from 6.15 on, once its parent has heard of it.
    fn end_of_a_stranger(&self) -> io::Result<Option<Exit>> {
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        if rustix::io::retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))? == 0 {
            return Ok(None);
        }
        let exit = pidfd_exit_status(self.pidfd()).map_or(Exit::Unknown, Exit::from_wait_status);
        let _ = self.exit.set(exit);
        self.reaped.store(true, Ordering::Release);
        Ok(self.exit.get().copied())
    }

    /// Whether no living process is left in its group. Cheap when nobody is left at all, else one
    /// look at every process (a zombie that its parent has not reaped does not count).
    pub fn group_is_empty(&self) -> bool {
        if self.reaped.load(Ordering::Acquire) {
            if self.anchor == Anchor::Zombie {
                return true;
            }
            if gone(self.signal_group(0)) {
                return true;
            }
        }
        let empty = stragglers::living_members(self.pid()).is_empty();
        if empty && self.anchor == Anchor::Zombie && self.exit.get().is_some() {
            self.let_go_of_the_number();
        }
        empty
    }

    /// Reaps a leader that was kept for its number, when nobody needs the number any more.
    fn let_go_of_the_number(&self) {
        if stragglers::living_members(self.pid()).is_empty()
            && matches!(self.wait(WaitIdOptions::empty()), Ok(Some(_)))
        {
            self.reaped.store(true, Ordering::Release);
        }
    }

    fn wait(&self, more: WaitIdOptions) -> io::Result<Option<Exit>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | more;
        let status = waitid(WaitId::PidFd(self.pidfd()), options)?;
        Ok(status.as_ref().and_then(Exit::from_status))
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd()
    }
}

impl Drop for Child {
    /// A leader that was kept for its number does not stay a zombie for ever.
    fn drop(&mut self) {
        if self.exit.get().is_some() && !self.reaped.load(Ordering::Acquire) {
            let _ = self.wait(WaitIdOptions::empty());
        }
    }
}

fn gone(answer: io::Result<()>) -> bool {
    answer.is_err_and(|e| e.raw_os_error() == Some(nix::libc::ESRCH))
}

/// Makes sure that this kernel has what workers are held by: pidfd_send_signal(2) of Linux 5.1, pidfd_open(2) of 5.3,
/// waitid(2) for a pidfd of 5.4. Whatever else is newer is done without where it is missing.
///
/// # Errors
/// Says what is missing and what to do.
pub fn require_pidfds() -> io::Result<()> {
    let lacking = |call: &'static str| {
        move |error: io::Error| {
            let why = format!(
                "{call} does not work here ({error}); handover needs Linux 5.4 or later, and a sandbox \
                 (seccomp) that lets it through"
            );
            io::Error::new(error.kind(), why)
        }
    };
    let me = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
        .map_err(io::Error::from)
        .map_err(lacking("pidfd_open(2)"))?;
    pidfd_signal(me.as_fd(), 0, 0).map_err(lacking("pidfd_send_signal(2)"))?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match waitid(WaitId::PidFd(me.as_fd()), options) {
        // Nobody is a child of its own.
        Err(rustix::io::Errno::CHILD) | Ok(_) => Ok(()),
        Err(errno) => Err(lacking("waitid(2) for a pidfd")(errno.into())),
    }
}

/// Whether this kernel signals groups through pidfds. Asked once, by signal 0 to our own group.
fn group_signals_work() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let Ok(me) = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()) else {
            return false;
        };
        // ESRCH: we lead no group, but the flag was understood. EINVAL: it was not.
        match pidfd_signal(me.as_fd(), 0, PROCESS_GROUP) {
            Ok(()) => true,
            Err(error) => !matches!(
                error.raw_os_error(),
                Some(nix::libc::EINVAL | nix::libc::ENOSYS)
            ),
        }
    })
}

#[cfg(test)]
#[path = "child_tests.rs"]
mod tests;
