//! The processes and threads below a leader.
//!
//! A process once found stays until it ends, also when its parent ended first
//! (a program that forks into the background). A tree is walked in laps, thread by thread; how many there are does
//! not matter, since a lap may stop anywhere and go on later.

use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::evidence::Unseen;
use super::procfs::{Fault, Kept, Reader, directory, rewind};
use super::proctext::{self, Line, Stat, Target};
use super::slice::Slice;

/// More processes than this below one leader are not looked at.
const PROCESSES_MAX: usize = 128;
/// Threads fork seldom but for the first: their children are asked for at this interval,
const OTHERS_INTERVAL: Duration = Duration::from_millis(20);
/// and of each process in one lap only so many, since that costs more than the look at a thread.
const OTHERS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Thread {
    pub(super) tid: i32,
    /// Some lap came to it.
    looked_at: bool,
    syscall: Option<Kept>,
    children: Option<Kept>,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: i32,
    task: OwnedFd,
    /// By their numbers.
    pub(super) threads: Vec<Thread>,
    /// Link count of the task directory as the threads were listed.
    links: usize,
    /// What a listing that goes on has found.
    listing: Option<Vec<i32>>,
}

#[derive(Debug)]
pub(super) struct Tree {
    leader: i32,
    pub(super) processes: Vec<Process>,
    others_asked: Option<Instant>,
    /// How many laps asked others.
    turn: usize,
    /// The leader was seen and ended: its number may belong to a stranger now.
    ended: bool,
    lap: Lap,
    /// There are more processes than are looked at.
    crowded: bool,
}

/// Where a lap is.
#[derive(Debug, Default)]
struct Lap {
    asks: Asks,
    process: usize,
    /// The next thread; `None` before the process's threads are listed.
    thread: Option<usize>,
}

/// Which threads a lap asks for children, besides the first of each process.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Asks {
    #[default]
    None,
    /// A part, another one each turn.
    Part(usize),
    Every,
}

impl Asks {
    /// Whether the thread at `index` of so many is asked.
    fn includes(self, index: usize, threads: usize) -> bool {
        match self {
            Self::None => false,
            Self::Every => true,
            Self::Part(turn) => {
                let stride = threads.div_ceil(OTHERS_MAX).max(1);
                index % stride == turn % stride
            }
        }
    }
}

/// What a lap comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A thread, by the indexes of its process and its own; they hold until the lap ends.
    Thread(usize, usize),
    /// The slice is over; the lap goes on here.
    Pause,
    /// The end; the next step begins another lap.
    End,
}

impl Process {
    fn open(pid: i32) -> Result<Self, Fault> {
        let mut path = String::with_capacity(24);
        let _ = write!(path, "/proc/{pid}/task");
        let task = directory(rustix::fs::CWD, &path)?;
        Ok(Self {
            pid,
            task,
            threads: Vec::new(),
            links: 0,
            listing: None,
        })
    }

    pub(super) fn task(&self) -> BorrowedFd<'_> {
        self.task.as_fd()
    }

    /// Link count of the task directory: 2 and the number of threads.
    fn links(&self) -> Result<usize, Fault> {
        let links = rustix::fs::fstat(&self.task)?.st_nlink;
        // The field's width differs between processors.
        Ok(usize::try_from(links).unwrap_or(usize::MAX))
    }

    /// Lists the threads again when their number changed, or when told to; false when the slice was over before they
    /// were listed.
    fn refresh(
        &mut self,
        reader: &mut Reader,
        slice: &mut Slice,
        anyway: bool,
    ) -> Result<bool, Fault> {
        let mut listed = match self.listing.take() {
            Some(listed) => listed,
            None => {
                let links = self.links()?;
                if !anyway && links == self.links && !self.threads.is_empty() {
                    return Ok(true);
                }
                self.links = links;
                rewind(self.task.as_fd())?;
                Vec::with_capacity(self.threads.len() + 4)
            }
        };
        if !reader.more_numbers(self.task.as_fd(), slice, |tid| listed.push(tid))? {
            self.listing = Some(listed);
            return Ok(false);
        }
        if listed.is_empty() {
            return Err(Fault::Gone);
        }
        listed.sort_unstable();
        listed.dedup();
        self.threads
            .retain(|thread| listed.binary_search(&thread.tid).is_ok());
        let known = |tid: &i32| self.threads.binary_search_by_key(tid, |thread| thread.tid);
        listed.retain(|tid| known(tid).is_err());
        self.threads.extend(listed.into_iter().map(|tid| Thread {
            tid,
            looked_at: false,
            syscall: None,
            children: None,
        }));
        self.threads.sort_unstable_by_key(|thread| thread.tid);
        Ok(true)
    }

    /// The process's descriptors, at most `most`, and the thread through which they were seen:
    /// the table of a first thread that ended before the others is empty.
    pub(super) fn descriptors(
        &self,
        reader: &mut Reader,
        most: usize,
    ) -> (i32, Vec<(i32, Target)>) {
        for thread in self.threads.iter().take(4) {
            let links = reader
                .links(self.task(), thread.tid, most)
                .unwrap_or_default();
            if !links.is_empty() {
                return (thread.tid, links);
            }
        }
        (self.pid, Vec::new())
    }

    /// Name, state and parent of a thread.
    pub(super) fn stat(&self, reader: &mut Reader, tid: i32) -> Option<Stat> {
        proctext::stat(reader.once(self.task(), tid, "stat").ok()?)
    }

    /// What a thread does; `None` when it ended.
    pub(super) fn line(&mut self, index: usize, reader: &mut Reader) -> Result<Line, Fault> {
        let Some(thread) = self.threads.get_mut(index) else {
            return Err(Fault::Gone);
        };
        let text = reader.kept(
            &mut thread.syscall,
            self.task.as_fd(),
            thread.tid,
            "syscall",
        )?;
        proctext::syscall_line(text).ok_or(Fault::Gone)
    }

    /// Whether a thread's directory is still there.
    pub(super) fn has(&self, tid: i32) -> bool {
        let mut path = String::with_capacity(12);
        let _ = write!(path, "{tid}");
        rustix::fs::statat(&self.task, &path, rustix::fs::AtFlags::empty()).is_ok()
    }
}

impl Tree {
    pub(super) fn new(leader: i32) -> Self {
        Self {
            leader,
            processes: Vec::new(),
            others_asked: None,
            turn: 0,
            ended: false,
            lap: Lap::default(),
            crowded: false,
        }
    }

    /// The leader was seen, and ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// What no lap came to, of what is there now.
    pub(super) fn unseen(&self) -> Option<Unseen> {
        let (mut looked, mut all) = (0, 0);
        for process in &self.processes {
            looked += process.threads.iter().filter(|it| it.looked_at).count();
            all += process.links().unwrap_or(0).saturating_sub(2);
        }
        let crowded = || self.crowded.then_some(Unseen::Processes(PROCESSES_MAX));
        let threads = Unseen::Threads { looked, all };
        Some(threads).filter(|_| looked < all).or_else(crowded)
    }

    /// The next step is a lap's first.
    pub(super) fn begin(&mut self) {
        self.lap = Lap::default();
    }

    /// Goes to the next thread. Finds new processes and threads, forgets ended ones. Only a leader that cannot be
    /// opened is an error; what happens below it is seen in the next lap.
    pub(super) fn step(
        &mut self,
        reader: &mut Reader,
        slice: &mut Slice,
        now: Instant,
    ) -> Result<Step, Fault> {
        if self.ended {
            return Err(Fault::Gone);
        }
        if self.processes.is_empty() {
            self.processes.push(Process::open(self.leader)?);
        }
        if self.lap.process == 0 && self.lap.thread.is_none() {
            self.ask_others(now);
        }
        loop {
            let Some(process) = self.processes.get_mut(self.lap.process) else {
                self.lap = Lap::default();
                return Ok(Step::End);
            };
            if slice.is_over() {
                return Ok(Step::Pause);
            }
            let Some(index) = self.lap.thread else {
                match process.refresh(reader, slice, self.lap.asks != Asks::None) {
                    Ok(true) => self.lap.thread = Some(0),
                    Ok(false) => return Ok(Step::Pause),
                    Err(Fault::Gone) if process.pid == self.leader => {
                        self.ended = true;
                        self.processes.clear();
                        return Err(Fault::Gone);
                    }
                    Err(Fault::Gone) => {
                        self.processes.remove(self.lap.process);
                    }
                    Err(fault) => return Err(fault),
                }
                continue;
            };
            if let Some(thread) = process.threads.get_mut(index) {
                thread.looked_at = true;
                self.lap.thread = Some(index + 1);
                self.follow_children(index, reader);
                return Ok(Step::Thread(self.lap.process, index));
            }
            self.lap.process += 1;
            self.lap.thread = None;
        }
    }

    /// Which threads the lap that begins asks for children.
    fn ask_others(&mut self, now: Instant) {
        let due = |asked| now.saturating_duration_since(asked) >= OTHERS_INTERVAL;
        if self.lap.asks == Asks::None && self.others_asked.is_none_or(due) {
            self.others_asked = Some(now);
            self.lap.asks = Asks::Part(self.turn);
            self.turn = self.turn.wrapping_add(1);
        }
    }

    /// Adds the processes that a thread of the lap's process started.
    fn follow_children(&mut self, index: usize, reader: &mut Reader) {
        let Some(process) = self.processes.get_mut(self.lap.process) else {
            return;
        };
        for pid in process.children(index, reader, self.lap.asks) {
            if self.processes.iter().any(|process| process.pid == pid) {
                continue;
            }
            self.crowded |= self.processes.len() >= PROCESSES_MAX;
            if self.processes.len() < PROCESSES_MAX {
                // Ended meanwhile, most likely; a hidden one cannot be asked anyway.
                self.processes.extend(Process::open(pid));
            }
        }
    }

    /// One whole lap for who asks once; `every`: all threads are asked for children, not only the first of each
    /// process.
    pub(super) fn survey(&mut self, reader: &mut Reader, every: bool) -> Result<(), Fault> {
        let now = Instant::now();
        match every {
            true => self.lap.asks = Asks::Every,
            false => self.others_asked = Some(now),
        }
        while self.step(reader, &mut Slice::whole(), now)? != Step::End {}
        Ok(())
    }
}

impl Process {
    fn children(&mut self, index: usize, reader: &mut Reader, asks: Asks) -> Vec<i32> {
        let (task, pid) = (self.task.as_fd(), self.pid);
        let asked = asks.includes(index, self.threads.len());
        let text = match self.threads.get_mut(index) {
            Some(thread) if thread.tid == pid => {
                reader.kept(&mut thread.children, task, pid, "children")
            }
            Some(thread) if asked => reader.once(task, thread.tid, "children"),
            Some(_) | None => return Vec::new(),
        };
        // Without CONFIG_PROC_CHILDREN there is no such file: then the leader is the tree.
        proctext::children(text.unwrap_or_default()).collect()
    }
}
