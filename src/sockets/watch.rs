//! Notices listeners that a worker shut down and unix paths that somebody removed, and mends both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::backlog::mend_backlogs;
use super::listener::Listener;
use super::path_watch::{News, PathWatch};
use super::unix_path::Standing;

/// One descriptor for everything that can happen to listeners.
///
/// An epoll set holds every listener with no event but EPOLLRDHUP (EPOLLHUP and EPOLLERR are always
/// reported): a connection or a datagram wakes nobody here. It also holds an inotify descriptor for
/// the paths of unix sockets. Registrations of listeners are edge-triggered: what cannot be mended
/// does not spin.
///
/// What no event tells (a backlog that was cut, a thief of a path that dies and leaves the file) is
/// seen by a look once in a while, for which a timer is in the set: see
/// [`looking_every`](Watch::looking_every).
#[derive(Debug)]
pub struct Watch {
    epoll: OwnedFd,
    /// none when no listener has a path of ours, or the user is out of inotify instances
    paths: Option<PathWatch>,
    timer: Option<Timer>,
    /// the listeners that it watches, by number
    watched: BTreeSet<u64>,
    /// those that could not be mended
    complaints: BTreeMap<u64, Complaint>,
}

/// The steady looks.
#[derive(Debug)]
struct Timer {
    fd: OwnedFd,
    period: Duration,
    /// how many looks more go by without asking the kernel for backlogs
    pause: u32,
}

/// When mending is tried again without news: what failed is kept with the listener ([`Listener::trouble`]).
#[derive(Debug)]
struct Complaint {
    /// in steady looks: what is wrong may be costly to look at, or disturb whoever is in the way
    next: u32,
    distance: u32,
}

/// The longest distance between two tries.
const DISTANCE_MAX: u32 = 16;

/// Asking for backlogs takes at most this part of the time: the tables of a machine can be long.
const BACKLOG_SHARE: u32 = 1000;

/// Why somebody looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// nothing happened that the watch knows of
    Asked,
    /// other files of a watched directory
    Noise,
    /// it is time again
    Time,
    /// something happened
    News,
}

/// What was found, and done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// the listener's name
    pub listener: String,
    /// what was done
    pub what: RepairKind,
}

/// How a listener was mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepairKind {
    /// It was shut down, and listens again: the same socket, which every generation sees. The
    /// connections that waited in its queue are lost.
    Relistened,
    /// It was shut down, and a new socket is bound to its address. Running workers cannot see it:
    /// the active generation has to be replaced.
    Replaced {
        /// what happened to the old one: "was shut down by a worker"
        why: &'static str,
        /// the inode of the socket that workers still hold
        old_inode: u64,
        /// the inode of the new one
        inode: u64,
    },
    /// Somebody removed its path, which leads to the same socket again.
    PathRestored,
    /// A worker called listen(2) on it, and its queue is as long again as it was.
    Requeued {
        /// what its backlog had become
        from: u32,
        /// what it is again
        to: u32,
    },
    /// It cannot be mended: why, and what to do. Reported once.
    Failed(String),
}

/// What an event of the epoll set is about.
const ITSELF: u64 = 0;
const A_LISTENER: u64 = 1;

const SHUT_DOWN: &str = "was shut down by a worker";
const UNREACHABLE: &str = "lost its path and the second link to its socket";

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.listener;
        match &self.what {
            RepairKind::Relistened => write!(
                f,
                "listener {name} was shut down by a worker; it listens again on the same socket \
                 (connections that waited in its queue were lost)"
            ),
            RepairKind::Replaced { why, .. } => write!(
                f,
                "listener {name} {why}; a new socket is bound in its place, which the running \
                 workers cannot see"
            ),
            RepairKind::PathRestored => {
                write!(
                    f,
                    "the path of listener {name} was removed; it leads to the same socket again"
                )
            }
            RepairKind::Requeued { from, to } => write!(
                f,
                "a worker called listen(2) on listener {name}, which cut its queue to {from}; it \
                 holds {to} again"
            ),
            RepairKind::Failed(why) => write!(f, "listener {name} cannot be mended: {why}"),
        }
    }
}

impl Watch {
    /// Watches these listeners; [`follow`](Watch::follow) and [`forget`](Watch::forget) change the set.
    ///
    /// # Errors
    /// What epoll_create1(2) and epoll_ctl(2) say. Without inotify it works on, but paths are then
    /// mended only when `examine` is called.
    pub fn new(listeners: &[Listener]) -> io::Result<Self> {
        let has_paths = listeners.iter().any(|l| l.owned_path().is_some());
        let mut watch = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            paths: has_paths.then(PathWatch::new).flatten(),
            timer: None,
            watched: BTreeSet::new(),
            complaints: BTreeMap::new(),
        };
        if let Some(paths) = &watch.paths {
            watch.register(paths.as_fd(), ITSELF, epoll::EventFlags::IN)?;
        }
        for listener in listeners {
            watch.add(listener)?;
        }
        Ok(watch)
    }

    /// The descriptor becomes readable once in this time, too, for what no event tells.
    ///
    /// # Errors
    /// What timerfd_create(2) and epoll_ctl(2) say.
    pub fn looking_every(mut self, period: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let period_spec = Timespec::try_from(period).map_err(io::Error::other)?;
        let times = Itimerspec {
            it_interval: period_spec,
            it_value: period_spec,
        };
        timerfd_settime(&fd, TimerfdTimerFlags::empty(), &times)?;
        self.register(fd.as_fd(), ITSELF, epoll::EventFlags::IN)?;
        let pause = 0;
        self.timer = Some(Timer { fd, period, pause });
        Ok(self)
    }

    /// Looks at every listener and mends what it can; never blocks. To be called when the
    /// descriptor is readable; it is not readable any more afterwards, unless something new
    /// happened.
    pub fn examine(&mut self, listeners: &mut [Listener]) -> Vec<Repair> {
        let cause = self.drain();
        let mut repairs = Vec::new();
        if cause == Cause::Noise {
            return repairs;
        }
        for listener in &mut *listeners {
            if cause == Cause::Time && self.is_early(listener.number()) {
                continue;
            }
            let mut found = self.look(listener);
            // Whoever is in the way may have gone before somebody watched.
            if matches!(found, Some(RepairKind::Failed(_))) && self.watch_around(listener) {
                found = self.look(listener);
            }
            if let Some(what) = self.worth_telling(listener, found) {
                let listener = listener.name().to_owned();
                repairs.push(Repair { listener, what });
            }
        }
        if cause == Cause::Time {
            repairs.extend(self.backlogs(listeners));
        }
        repairs
    }

    /// Watches those of these listeners, too, that it does not watch yet.
    ///
    /// # Errors
    /// What epoll_ctl(2) says of the first that cannot be watched.
    pub fn follow(&mut self, listeners: &[Listener]) -> io::Result<()> {
        for listener in listeners {
            if self.watched.contains(&listener.number()) {
                continue;
            }
            if self.paths.is_none() && listener.owned_path().is_some() {
                self.paths = PathWatch::new();
                if let Some(paths) = &self.paths {
                    self.register(paths.as_fd(), ITSELF, epoll::EventFlags::IN)?;
                }
            }
            self.add(listener)?;
        }
        Ok(())
    }

    /// Forgets a listener that is about to be closed here while workers still hold it: its
    /// registration would outlive our descriptor (FAILURES 6).
    pub fn forget(&mut self, listener: &Listener) {
        // ENOENT: it was never watched.
        let _ = epoll::delete(&self.epoll, listener.fd());
        self.watched.remove(&listener.number());
        self.complaints.remove(&listener.number());
        if let Some(paths) = &mut self.paths {
            paths.leave(listener.number());
        }
    }

    fn add(&mut self, listener: &Listener) -> io::Result<()> {
        let flags = epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        self.register(listener.fd(), A_LISTENER, flags)?;
        self.watched.insert(listener.number());
        if let (Some(paths), Some(owned)) = (&mut self.paths, listener.owned_path()) {
            paths.file(listener.number(), owned.path());
        }
        Ok(())
    }

    fn register(&self, fd: BorrowedFd<'_>, data: u64, flags: epoll::EventFlags) -> io::Result<()> {
        let data = epoll::EventData::new_u64(data);
        Ok(epoll::add(&self.epoll, fd, data, flags)?)
    }

    /// Takes every event, and says what they were about.
    fn drain(&mut self) -> Cause {
        const ROUNDS_MAX: usize = 64;
        let mut cause = match self.paths.as_mut().map(PathWatch::read) {
            Some(News::Ours) => Cause::News,
            Some(News::Noise) => Cause::Noise,
            Some(News::Silence) | None => Cause::Asked,
        };
        if let Some(timer) = &self.timer
            && rustix::io::read(&timer.fd, &mut [0_u8; 8]).is_ok()
        {
            cause = cause.max(Cause::Time);
        }
        let mut events = Vec::with_capacity(64);
        for _ in 0..ROUNDS_MAX {
            events.clear();
            let now = Some(&Timespec::default());
            let got = epoll::wait(&self.epoll, spare_capacity(&mut events), now);
            if !matches!(got, Ok(count) if count > 0) {
                break;
            }
            if events.iter().any(|event| event.data.u64() == A_LISTENER) {
                cause = Cause::News;
            }
        }
        cause
    }

    /// What is wrong with a listener, and what was done about it.
    fn look(&mut self, listener: &mut Listener) -> Option<RepairKind> {
        match listener.is_shut_down() {
            true => Some(self.reopen(listener, SHUT_DOWN)),
            false => self.path(listener),
        }
    }

    /// Whether a steady look leaves this one out, since it was in vain before.
    fn is_early(&mut self, listener: u64) -> bool {
        let Some(complaint) = self.complaints.get_mut(&listener) else {
            return false;
        };
        complaint.next = complaint.next.saturating_sub(1);
        complaint.next > 0
    }

    /// While a complaint about a path stands, its directory says when it is worth a look. Says
    /// whether it was not watched before.
    fn watch_around(&mut self, listener: &Listener) -> bool {
        match (&mut self.paths, listener.owned_path()) {
            (Some(paths), Some(owned)) => paths.around(listener.number(), owned.path()),
            _ => false,
        }
    }

    /// Keeps complaints: each is told once.
    fn worth_telling(
        &mut self,
        listener: &mut Listener,
        found: Option<RepairKind>,
    ) -> Option<RepairKind> {
        let number = listener.number();
        let before = self.complaints.remove(&number);
        let Some(RepairKind::Failed(why)) = found else {
            listener.set_trouble(None);
            if before.is_some()
                && let Some(paths) = &mut self.paths
            {
                paths.calm(number);
            }
            return found;
        };
        let distance = before.map_or(1, |it| it.distance * 2);
        let distance = distance.min(DISTANCE_MAX);
        let next = distance;
        self.complaints.insert(number, Complaint { next, distance });
        let known = listener.trouble() == Some(&why);
        listener.set_trouble(Some(why.clone()));
        (!known).then_some(RepairKind::Failed(why))
    }

    fn backlogs(&mut self, listeners: &[Listener]) -> Vec<Repair> {
        let Some(timer) = &mut self.timer else {
            return Vec::new();
        };
        if timer.pause > 0 {
            timer.pause -= 1;
            return Vec::new();
        }
        let before = Instant::now();
        let repairs = mend_backlogs(listeners);
        let distance = before.elapsed() * BACKLOG_SHARE;
        let pause = distance.as_nanos() / timer.period.as_nanos().max(1);
        timer.pause = u32::try_from(pause).unwrap_or(u32::MAX);
        repairs
    }

    fn reopen(&mut self, listener: &mut Listener, why: &'static str) -> RepairKind {
        let Err(why_not) = listener.relisten() else {
            return RepairKind::Relistened;
        };
        let new = match listener.replacement() {
            Ok(new) => new,
            Err(fault) => {
                return RepairKind::Failed(format!(
                    "it {why} and cannot be bound again: {fault} ({why_not})"
                ));
            }
        };
        let old_inode = listener.inode();
        self.forget(listener);
        match listener.replace(new).and_then(|()| self.add(listener)) {
            Ok(()) => RepairKind::Replaced {
                why,
                old_inode,
                inode: listener.inode(),
            },
            Err(error) => RepairKind::Failed(format!("the new socket cannot be watched: {error}")),
        }
    }

    fn path(&mut self, listener: &mut Listener) -> Option<RepairKind> {
        let owned = listener.owned_path()?;
        match owned.standing() {
            Standing::Ours => {
                owned.mend_keep();
                return None;
            }
            Standing::Taken(what) => return Some(RepairKind::Failed(what)),
            Standing::Lost | Standing::Dead => {}
        }
        if owned.restore().is_ok() {
            return Some(RepairKind::PathRestored);
        }
        let directory = owned.path().parent();
        if directory.is_some_and(|directory| !directory.is_dir()) {
            return Some(RepairKind::Failed(format!(
                "{} was removed with its directory; create that again",
                owned.path().display()
            )));
        }
        // Both links are gone, so the socket cannot be reached by anybody any more.
        Some(self.reopen(listener, UNREACHABLE))
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
