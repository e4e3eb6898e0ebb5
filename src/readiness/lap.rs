//! What the threads of a tree wait on, gathered in one lap.

use std::time::Instant;

use super::blind::Obstacle;
use super::calls::{self, Meaning};
use super::evidence::How;
use super::procfs::{Fault, Reader};
use super::proctext::{Frame, Line};
use super::rest::Tally;
use super::tree::Process;
use super::waits::{Found, Place, Targets};

/// A listener found waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) how: How,
    pub(super) pid: i32,
    pub(super) tid: i32,
    pub(super) edge: bool,
}

/// What one lap over the tree gathered, in one slice or in several.
#[derive(Debug)]
pub(super) struct Lap {
    pub(super) began: Instant,
    pub(super) seen: Vec<Option<Seen>>,
    pub(super) obstacle: Option<Obstacle>,
    /// Some thread told what it does.
    pub(super) readable: bool,
    /// How often the threads ran, where that is asked.
    pub(super) tally: Option<Tally>,
    /// The epoll sets that were read already, of this process.
    sets: Vec<i32>,
    sets_of: i32,
}

impl Lap {
    /// A lap that begins: so many listeners are looked for.
    pub(super) fn new(began: Instant, listeners: usize, tally: Option<Tally>) -> Self {
        Self {
            began,
            seen: vec![None; listeners],
            obstacle: None,
            readable: false,
            tally,
            sets: Vec::new(),
            sets_of: 0,
        }
    }

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

    pub(super) fn complete(&self) -> bool {
        self.seen.iter().all(Option::is_some)
    }

    pub(super) fn settled(&self) -> bool {
        self.seen
            .iter()
            .all(|seen| seen.is_some_and(|seen| !seen.edge))
    }

    /// Looks at a thread as the lap comes to it.
    pub(super) fn visit(
        &mut self,
        process: &mut Process,
        index: usize,
        reader: &mut Reader,
        targets: &Targets,
    ) {
        let Some(tid) = process.threads.get(index).map(|thread| thread.tid) else {
            return;
        };
        if let Some(tally) = &mut self.tally {
            tally.count(process, tid, reader);
        }
        let line = process.line(index, reader);
        if let Some(tally) = &mut self.tally {
            tally.note(line, process, tid, reader);
        }
        self.judge(line, process, index, reader, targets);
    }

    /// Looks at a thread between two slices, wherever the lap is.
    pub(super) fn glance(
        &mut self,
        process: &mut Process,
        index: usize,
        reader: &mut Reader,
        targets: &Targets,
    ) {
        let line = process.line(index, reader);
        self.judge(line, process, index, reader, targets);
    }

    fn judge(
        &mut self,
        line: Result<Line, Fault>,
        process: &mut Process,
        index: usize,
        reader: &mut Reader,
        targets: &Targets,
    ) {
        let Some(tid) = process.threads.get(index).map(|thread| thread.tid) else {
            return;
        };
        let frame = match line {
            Ok(Line::Inside(frame)) => frame,
            Ok(Line::Running | Line::Outside) => {
                self.readable = true;
                return;
            }
            // Only where the thread is still there is its file missing.
            Err(Fault::Gone) if process.has(tid) => return self.hinder(Obstacle::NoSyscallFile),
            Err(fault) => return self.fail(fault, process.pid),
        };
        self.readable = true;
        let Some(how) = call_of(process, tid, &frame, reader, targets, self) else {
            return;
        };
        // Several threads may wait on one set; it says the same of each.
        if self.sets_of != process.pid {
            self.sets_of = process.pid;
            self.sets.clear();
        }
        let is_set = matches!(how, How::EpollWait | How::EpollPwait | How::EpollPwait2);
        if is_set && self.sets.contains(&frame.descriptor()) {
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
            Err(fault) => return self.fail(fault, process.pid),
        };
        if found.ring {
            self.hinder(Obstacle::Ring(process.pid));
        }
        let recorded = record(&found, how, process, index, &frame, reader, self);
        if is_set && (recorded || found.listeners.is_empty()) {
            self.sets.push(frame.descriptor());
        }
    }
}

/// Which call that can wait on a listener a thread is in, if any.
fn call_of(
    process: &Process,
    tid: i32,
    frame: &Frame,
    reader: &mut Reader,
    targets: &Targets,
    lap: &mut Lap,
) -> Option<How> {
    let Some(meaning) = calls::native(frame.number) else {
        lap.hinder(Obstacle::Processor);
        return None;
    };
    if frame.is_32_bit() {
        lap.hinder(Obstacle::Narrow(process.pid));
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
                lap.hinder(Obstacle::Ring(process.pid));
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
    lap: &mut Lap,
) -> bool {
    let news = |&&(slot, edge): &&(usize, bool)| {
        lap.seen
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
        if let Some(seen) = lap.seen.get_mut(slot) {
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
