//! One look at a worker's tree, and what it proves.

use std::time::{Duration, Instant};

use super::blind::{Blindness, Obstacle};
use super::busy::{Busy, Served};
use super::calls::{self, Meaning};
use super::evidence::{Evidence, How, SecondSign, Sight, Wait, Wanted};
use super::procfs::{Fault, Reader, socket_device};
use super::proctext::{Frame, Line};
use super::rest::Rest;
use super::tree::{Process, Tree};
use super::waits::{Found, Place, Targets};

/// Watches one starting worker until it serves its listeners.
///
/// Looks only read `/proc` (and, for a busy worker, the kernel's socket tables); they
/// open, stop and change nothing in the worker. A process may vanish at any moment:
/// that is [`Sight::NotYet`], never an error.
#[derive(Debug)]
pub struct Observer {
    leader: i32,
    wanted: Vec<Wanted>,
    /// Which of them were ever seen taken.
    taken: Vec<bool>,
    targets: Targets,
    tree: Tree,
    reader: Reader,
    rest: Rest,
    busy: Busy,
    blindness: Blindness,
    edge_since: Option<Instant>,
}

/// A listener found waiting.
#[derive(Debug, Clone, Copy)]
struct Seen {
    how: How,
    pid: i32,
    tid: i32,
    edge: bool,
}

/// What one pass over the tree gathered.
#[derive(Debug)]
struct Pass {
    seen: Vec<Option<Seen>>,
    obstacle: Option<Obstacle>,
    /// Some thread told what it does.
    readable: bool,
}

impl Pass {
    /// Notes the first thing that hides something.
    fn hinder(&mut self, obstacle: Obstacle) {
        self.obstacle.get_or_insert(obstacle);
    }

    fn fail(&mut self, fault: Fault, pid: i32) {
        match fault {
            Fault::Denied => self.hinder(Obstacle::Refused(pid)),
            Fault::Exhausted => self.hinder(Obstacle::Exhausted),
            Fault::Gone => {}
        }
    }

    fn complete(&self) -> bool {
        self.seen.iter().all(Option::is_some)
    }

    fn settled(&self) -> bool {
        self.seen
            .iter()
            .all(|seen| seen.is_some_and(|seen| !seen.edge))
    }
}

/// How long an edge-triggered worker is given to come to rest before its connections are
/// asked for.
const EDGE_PATIENCE: Duration = Duration::from_millis(100);

impl Observer {
    /// An observer of the worker whose first process is `leader`. Every stream listener in
    /// `wanted` must be waited on; datagram ones only when there are no others. `inherited` are the
    /// inodes of the other sockets that it was given: they are not its own work.
    pub fn new(leader: i32, wanted: Vec<Wanted>, inherited: Vec<u64>) -> Self {
        let mut wanted = wanted;
        if wanted.iter().any(|listener| !listener.datagram) {
            wanted.retain(|listener| !listener.datagram);
        }
        let sockets = wanted
            .iter()
            .map(|listener| (listener.inode, listener.datagram))
            .collect();
        Self {
            leader,
            taken: vec![false; wanted.len()],
            wanted,
            targets: Targets {
                sockets,
                device: socket_device(),
            },
            tree: Tree::new(leader),
            reader: Reader::new(),
            rest: Rest::default(),
            busy: Busy::new(inherited),
            blindness: Blindness::default(),
            edge_since: None,
        }
    }

    /// The listeners that were in no look seen to be waited on or served.
    pub fn untaken(&self) -> impl Iterator<Item = &Wanted> {
        let both = self.wanted.iter().zip(&self.taken);
        both.filter(|(_, taken)| !**taken).map(|(wanted, _)| wanted)
    }

    /// Looks once. Costs about 4 µs for each thread, more only for those that wait on
    /// descriptors.
    pub fn look(&mut self, now: Instant) -> Sight {
        if self.wanted.is_empty() {
            return Sight::Blind("no listener of this worker counts for readiness".into());
        }
        if let Err(fault) = self.tree.refresh(&mut self.reader, now) {
            let obstacle = self.unreachable(fault);
            return self.blindness.judge(now, obstacle, false, &mut self.reader);
        }
        let mut pass = self.pass();
        if !pass.complete() {
            self.rest.disturbed();
            self.add_busy(now, &mut pass);
        }
        for (taken, seen) in self.taken.iter_mut().zip(&pass.seen) {
            *taken |= seen.is_some();
        }
        if pass.settled() {
            return Sight::Accepting(self.evidence(&pass, None));
        }
        if pass.complete()
            && let Some(sign) = self.second_sign(now)
        {
            return Sight::Accepting(self.evidence(&pass, Some(sign)));
        }
        // With every registration seen only what keeps a rest from being seen matters.
        let obstacle = pass.obstacle.filter(|obstacle| {
            !pass.complete() || matches!(obstacle, Obstacle::Refused(_) | Obstacle::Exhausted)
        });
        self.blindness
            .judge(now, obstacle, pass.readable, &mut self.reader)
    }

    /// Why the leader itself cannot be opened.
    fn unreachable(&self, fault: Fault) -> Option<Obstacle> {
        match fault {
            Fault::Denied => Some(Obstacle::Refused(self.leader)),
            Fault::Exhausted => Some(Obstacle::Exhausted),
            Fault::Gone => {
                let leader = Some(self.leader).filter(|&pid| pid > 0);
                let pid = leader.and_then(rustix::process::Pid::from_raw)?;
                // EPERM is an answer too: there is such a process.
                let lives = rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH);
                (lives && !self.tree.has_ended()).then_some(Obstacle::Hidden(self.leader))
            }
        }
    }

    fn pass(&mut self) -> Pass {
        let mut pass = Pass {
            seen: vec![None; self.wanted.len()],
            obstacle: None,
            readable: false,
        };
        let mut sets = Vec::new();
        for process in &mut self.tree.processes {
            sets.clear();
            for index in 0..process.threads.len() {
                look_at(
                    process,
                    index,
                    &mut self.reader,
                    &self.targets,
                    &mut sets,
                    &mut pass,
                );
                if pass.settled() {
                    return pass;
                }
            }
        }
        pass
    }

    /// Adds the listeners that are served without being waited on.
    fn add_busy(&mut self, now: Instant, pass: &mut Pass) {
        for served in self.served(now) {
            if let Some(slot @ None) = pass.seen.get_mut(served.index) {
                let (how, pid, tid) = (served.how, served.pid, served.tid);
                *slot = Some(Seen {
                    how,
                    pid,
                    tid,
                    edge: false,
                });
            }
        }
    }

    /// What confirms that an edge-triggered registration is more than one.
    fn second_sign(&mut self, now: Instant) -> Option<SecondSign> {
        if let Some(sign) = self.rest.waiting(now, &mut self.tree, &mut self.reader) {
            return Some(sign);
        }
        let since = *self.edge_since.get_or_insert(now);
        if now.saturating_duration_since(since) < EDGE_PATIENCE {
            return None;
        }
        let served = self.served(now);
        let taken = served.iter().any(|served| served.how == How::Connection);
        taken.then_some(SecondSign::Connection)
    }

    /// What it serves already, by its connections.
    fn served(&mut self, now: Instant) -> Vec<Served> {
        let Self {
            busy,
            tree,
            reader,
            wanted,
            targets,
            ..
        } = self;
        busy.serves(now, tree, reader, wanted, targets)
    }

    fn evidence(&self, pass: &Pass, second_sign: Option<SecondSign>) -> Evidence {
        let waits = self
            .wanted
            .iter()
            .zip(&pass.seen)
            .filter_map(|(listener, seen)| {
                let Seen {
                    how,
                    pid,
                    tid,
                    edge,
                } = (*seen)?;
                Some(Wait {
                    how,
                    listener: listener.name.clone(),
                    pid,
                    tid,
                    edge,
                })
            })
            .collect();
        Evidence { waits, second_sign }
    }
}

/// Looks at one thread. `sets` are the epoll sets of this process that were read already.
fn look_at(
    process: &mut Process,
    index: usize,
    reader: &mut Reader,
    targets: &Targets,
    sets: &mut Vec<i32>,
    pass: &mut Pass,
) {
    let Some(tid) = process.threads.get(index).map(|thread| thread.tid) else {
        return;
    };
    let frame = match process.line(index, reader) {
        Ok(Line::Inside(frame)) => frame,
        Ok(Line::Running | Line::Outside) => {
            pass.readable = true;
            return;
        }
        // Only where the thread is still there is its file missing.
        Err(Fault::Gone) if process.has(tid) => return pass.hinder(Obstacle::NoSyscallFile),
        Err(fault) => return pass.fail(fault, process.pid),
    };
    pass.readable = true;
    let Some(how) = call_of(process, tid, &frame, reader, targets, pass) else {
        return;
    };
    // Several threads may wait on one set; it says the same of each.
    let is_set = matches!(how, How::EpollWait | How::EpollPwait | How::EpollPwait2);
    if is_set && sets.contains(&frame.descriptor()) {
        return;
    }
    let mut place = Place {
        task: process.task(),
        tid,
        reader,
        targets,
    };
    let found = match place.waits(how, &frame) {
        Ok(found) => found,
        Err(fault) => return pass.fail(fault, process.pid),
    };
    if found.ring {
        pass.hinder(Obstacle::Ring(process.pid));
    }
    let recorded = record(&found, how, process, index, &frame, reader, pass);
    if is_set && (recorded || found.listeners.is_empty()) {
        sets.push(frame.descriptor());
    }
}

/// Which call that can wait on a listener a thread is in, if any.
fn call_of(
    process: &Process,
    tid: i32,
    frame: &Frame,
    reader: &mut Reader,
    targets: &Targets,
    pass: &mut Pass,
) -> Option<How> {
    let Some(meaning) = calls::native(frame.number) else {
        pass.hinder(Obstacle::Processor);
        return None;
    };
    if frame.is_32_bit() {
        pass.hinder(Obstacle::Narrow(process.pid));
        return None;
    }
    match meaning {
        Meaning::Waits(how) => Some(how),
        Meaning::Restarted => is_restarted_poll(process, tid, reader).then_some(How::Poll),
        Meaning::Ring => {
            let mut place = Place {
                task: process.task(),
                tid,
                reader,
                targets,
            };
            if place.ring_may_accept(frame.descriptor()) {
                pass.hinder(Obstacle::Ring(process.pid));
            }
            None
        }
        Meaning::Other => None,
    }
}

/// Notes what a call waits on; false when the thread does not wait in it any more.
fn record(
    found: &Found,
    how: How,
    process: &mut Process,
    index: usize,
    frame: &Frame,
    reader: &mut Reader,
    pass: &mut Pass,
) -> bool {
    let news = |&&(slot, edge): &&(usize, bool)| {
        pass.seen
            .get(slot)
            .is_some_and(|seen| seen.is_none_or(|seen| seen.edge && !edge))
    };
    let fresh: Vec<(usize, bool)> = found.listeners.iter().filter(news).copied().collect();
    if fresh.is_empty() {
        return true;
    }
    if !still_waits(process, index, frame, reader) {
        return false;
    }
    let (pid, tid) = (
        process.pid,
        process.threads.get(index).map_or(process.pid, |t| t.tid),
    );
    for (slot, edge) in fresh {
        if let Some(seen) = pass.seen.get_mut(slot) {
            *seen = Some(Seen {
                how,
                pid,
                tid,
                edge,
            });
        }
    }
    true
}

/// The thread sleeps (a stopped one shows its call too), and still in the same call: what
/// was read of its descriptors and memory meanwhile belongs to it.
fn still_waits(process: &mut Process, index: usize, frame: &Frame, reader: &mut Reader) -> bool {
    let Some(tid) = process.threads.get(index).map(|thread| thread.tid) else {
        return false;
    };
    process
        .stat(reader, tid)
        .is_some_and(|stat| stat.state == b'S')
        && process.line(index, reader) == Ok(Line::Inside(*frame))
}

/// `restart_syscall(2)` resumes sleeps as well as polls; where the thread sleeps tells which.
fn is_restarted_poll(process: &Process, tid: i32, reader: &mut Reader) -> bool {
    reader
        .once(process.task(), tid, "wchan")
        .is_ok_and(|place| {
            place.starts_with(b"poll_schedule_timeout") || place.starts_with(b"do_sys_poll")
        })
}
