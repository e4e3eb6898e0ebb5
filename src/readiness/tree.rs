//! The processes and threads below a leader.
//!
//! A process once found stays until it ends, also when its parent ended first
//! (a program that forks into the background).

use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::procfs::{Fault, Kept, Reader, directory};
use super::proctext::{self, Line, Stat, Target};

/// More processes than this below one leader are not looked at.
const PROCESSES_MAX: usize = 128;
/// More threads than this in one tree are not looked at.
const THREADS_MAX: usize = 2048;
/// Threads fork seldom but for the first: their children are asked for at this interval.
const OTHERS_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Thread {
    pub(super) tid: i32,
    syscall: Option<Kept>,
    children: Option<Kept>,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: i32,
    task: OwnedFd,
    pub(super) threads: Vec<Thread>,
    /// Link count of the task directory: 2 and the number of threads.
    links: i64,
}

#[derive(Debug)]
pub(super) struct Tree {
    leader: i32,
    pub(super) processes: Vec<Process>,
    others_asked: Option<Instant>,
    /// The leader was seen and ended: its number may belong to a stranger now.
    ended: bool,
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
        })
    }

    pub(super) fn task(&self) -> BorrowedFd<'_> {
        self.task.as_fd()
    }

    /// Lists the threads again when their number changed, or when told to.
    fn refresh(&mut self, reader: &mut Reader, anyway: bool) -> Result<(), Fault> {
        let links = rustix::fs::fstat(&self.task)?.st_nlink;
        // The field's width differs between processors.
        let links = i64::try_from(links).unwrap_or(i64::MAX);
        if !anyway && links == self.links && !self.threads.is_empty() {
            return Ok(());
        }
        let mut listed = Vec::with_capacity(self.threads.len() + 4);
        reader.numbers(self.task.as_fd(), |tid| listed.push(tid))?;
        if listed.is_empty() {
            return Err(Fault::Gone);
        }
        self.threads.retain(|thread| listed.contains(&thread.tid));
        for tid in listed {
            if self.threads.iter().all(|thread| thread.tid != tid) {
                self.threads.push(Thread {
                    tid,
                    syscall: None,
                    children: None,
                });
            }
        }
        self.links = links;
        Ok(())
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
            ended: false,
        }
    }

    /// The leader was seen, and ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Finds new processes and threads, forgets ended ones. Only a leader that cannot be
    /// opened is an error; what happens below it is seen at the next look.
    pub(super) fn refresh(&mut self, reader: &mut Reader, now: Instant) -> Result<(), Fault> {
        if self.ended {
            return Err(Fault::Gone);
        }
        if self.processes.is_empty() {
            self.processes.push(Process::open(self.leader)?);
        }
        let others = self
            .others_asked
            .is_none_or(|asked| now.saturating_duration_since(asked) >= OTHERS_INTERVAL);
        if others {
            self.others_asked = Some(now);
        }
        let mut found: Vec<i32> = Vec::new();
        let mut threads = 0;
        let mut index = 0;
        while let Some(process) = self.processes.get_mut(index) {
            match process.refresh(reader, others) {
                Ok(()) => {}
                Err(Fault::Gone) if process.pid == self.leader => {
                    self.ended = true;
                    self.processes.clear();
                    return Err(Fault::Gone);
                }
                Err(Fault::Gone) => {
                    self.processes.remove(index);
                    continue;
                }
                Err(fault) => return Err(fault),
            }
            process
                .threads
                .truncate(THREADS_MAX.saturating_sub(threads));
            threads += process.threads.len();
            found.clear();
            process.children(reader, others, &mut found);
            for &pid in &found {
                let known = self.processes.iter().any(|process| process.pid == pid);
                if !known && self.processes.len() < PROCESSES_MAX {
                    // Ended meanwhile, most likely; a hidden one cannot be asked anyway.
                    self.processes.extend(Process::open(pid));
                }
            }
            index += 1;
        }
        Ok(())
    }
}

impl Process {
    fn children(&mut self, reader: &mut Reader, others: bool, found: &mut Vec<i32>) {
        let (task, pid) = (self.task.as_fd(), self.pid);
        for thread in &mut self.threads {
            let text = if thread.tid == pid {
                reader.kept(&mut thread.children, task, pid, "children")
            } else if others {
                reader.once(task, thread.tid, "children")
            } else {
                continue;
            };
            // Without CONFIG_PROC_CHILDREN there is no such file: then the leader is the tree.
            found.extend(proctext::children(text.unwrap_or_default()));
        }
    }
}
