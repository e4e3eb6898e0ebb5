//! Which of the accepted connections a worker's processes hold.
//!
//! The kernel says which connections there are, but not whose they are: that is in `/proc/PID/fd`, and reading one
//! link of it costs as much as three connections do in the kernel's table. So as little as will do is read of a process:
//! nothing when the number of its descriptors (st_size of `/proc/PID/fd`, Linux 6.2) is what it was, less the
//! connections that ended since; its epoll sets when they list all its connections; else every link. What that
//! overlooks (one descriptor closed, a connection accepted in its place) leaves a connection that nobody has; then
//! all links are read until it is found.

mod known;

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::blind::{self, Obstacle};
use super::procfs::{Fault, Reader, directory};
use super::proctext;
use known::{Known, Look, Place, Unread};

/// More processes than this of one worker are not looked at.
const PROCESSES_MAX: usize = 16 * 1024;
/// Links read in one count: about two seconds.
const LINKS_MAX: usize = 1 << 20;
/// Processes that were not asked for in so many counts are forgotten.
const FORGOTTEN_AFTER: u64 = 16;

/// What the workers hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Of each worker, in the order asked: each connection once, however many of its processes share
    /// it. None where it cannot be seen.
    pub connections: Vec<Option<u64>>,
    /// Why something could not be seen: of the first such worker.
    pub reason: Option<String>,
}

/// What is known of every process since the last count.
#[derive(Debug, Default)]
pub struct Holders {
    number: u64,
    processes: HashMap<i32, Known>,
    hint: Vec<i32>,
    /// Connections that were found with nobody when all were asked: another program's on the same port.
    nobodys: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Unseen {
    Process(i32, Fault),
    TooMany,
}

impl Holders {
    /// Counts what each worker (the processes at the top of its tree) holds of `connections`, which is sorted.
    ///
    /// `everybody`: these are all the workers that may hold any of them.
    pub fn count(&mut self, workers: &[Vec<i32>], connections: &[u64], everybody: bool) -> Held {
        self.number += 1;
        if connections.is_empty() {
            let connections = vec![Some(0); workers.len()];
            let reason = None;
            return Held {
                connections,
                reason,
            };
        }
        let mut look = Look {
            reader: Reader::new(),
            connections,
            claimed: vec![false; connections.len()],
            missing: 0,
            everybody,
            thorough: false,
            links_left: LINKS_MAX,
            hint: std::mem::take(&mut self.hint),
        };
        let mut held = self.all(workers, &mut look);
        if everybody {
            look.missing = self.unclaimed(&look).len();
            if look.missing > 0 {
                look.thorough = true;
                held = self.all(workers, &mut look);
            }
            let mut nobodys = self.unclaimed(&look);
            nobodys.extend(self.nobodys.iter().filter(|inode| look.has(**inode)));
            nobodys.sort_unstable();
            self.nobodys = nobodys;
        }
        self.hint = look.hint;
        let recent = self.number.saturating_sub(FORGOTTEN_AFTER);
        self.processes.retain(|_, known| known.met > recent);
        held
    }

    fn unclaimed(&self, look: &Look<'_>) -> Vec<u64> {
        let all = look.connections.iter().zip(&look.claimed);
        all.filter(|(inode, claimed)| !**claimed && self.nobodys.binary_search(inode).is_err())
            .map(|(inode, _)| *inode)
            .collect()
    }

    fn all(&mut self, workers: &[Vec<i32>], look: &mut Look<'_>) -> Held {
        let mut held = Held::default();
        for roots in workers {
            let seen = self.tree(roots, look);
            if let (Err(unseen), None) = (seen, &held.reason) {
                held.reason = Some(unseen.in_words(&mut look.reader));
            }
            held.connections.push(seen.ok());
        }
        held
    }

    /// What the processes of one worker hold, together.
    fn tree(&mut self, roots: &[i32], look: &mut Look<'_>) -> Result<u64, Unseen> {
        let mut queue = roots.to_vec();
        let mut queued: HashSet<i32> = queue.iter().copied().collect();
        let mut together: Vec<u64> = Vec::new();
        let mut index = 0;
        while let Some(&pid) = queue.get(index) {
            index += 1;
            let mut children = Vec::new();
            match self.process(pid, look, &mut children, &mut together) {
                Err(Unseen::Process(_, Fault::Gone)) if roots.contains(&pid) && is_hidden(pid) => {
                    return Err(Unseen::Process(pid, Fault::Denied));
                }
                // What ended holds nothing.
                Ok(()) | Err(Unseen::Process(_, Fault::Gone)) => {}
                Err(unseen) => return Err(unseen),
            }
            for child in children {
                if queue.len() < PROCESSES_MAX && queued.insert(child) {
                    queue.push(child);
                }
            }
        }
        together.sort_unstable();
        together.dedup();
        Ok(together.len() as u64)
    }

    fn process(
        &mut self,
        pid: i32,
        look: &mut Look<'_>,
        children: &mut Vec<i32>,
        together: &mut Vec<u64>,
    ) -> Result<(), Unseen> {
        let fault = |fault| Unseen::Process(pid, fault);
        // Link count: 2 and the number of threads.
        let threads = look.reader.stat(pid, pid, "task").map_err(fault)?.st_nlink;
        let mut tids = vec![pid];
        if threads > 3 {
            let task = directory(rustix::fs::CWD, &format!("/proc/{pid}/task")).map_err(fault)?;
            tids.clear();
            look.reader
                .numbers(task.as_fd(), |tid| tids.push(tid))
                .map_err(fault)?;
        }
        for &tid in &tids {
            // Without CONFIG_PROC_CHILDREN there is no such file: then the leader is the tree.
            let text = look.reader.loose(pid, tid, "children").unwrap_or_default();
            children.extend(proctext::children(text));
        }
        let size = look.reader.stat(pid, pid, "fd").map_err(fault)?.st_size;
        let place = Place {
            pid,
            tids: &tids,
            descriptors: u64::try_from(size).unwrap_or(0),
        };
        let known = self.processes.entry(pid).or_default();
        known.met = self.number;
        let updated = known.update(&place, look, self.number);
        updated.map_err(|unread| match unread {
            Unread::TooMany => Unseen::TooMany,
            Unread::Fault(unreadable) => fault(unreadable),
        })?;
        for inode in &known.connections {
            look.claim(*inode);
        }
        together.extend(&known.connections);
        Ok(())
    }
}

/// It is there, though `/proc` does not show it (hidepid).
fn is_hidden(pid: i32) -> bool {
    let alive = |pid| match test_kill_process(pid) {
        Ok(()) | Err(Errno::PERM) => true,
        Err(_) => false,
    };
    let shown = || rustix::fs::stat(format!("/proc/{pid}")).is_ok();
    Pid::from_raw(pid).is_some_and(alive) && !shown()
}

impl Unseen {
    fn in_words(self, reader: &mut Reader) -> String {
        match self {
            Self::Process(pid, Fault::Denied | Fault::Gone) => {
                blind::explain(Obstacle::Refused(pid), reader)
            }
            Self::Process(_, Fault::Exhausted) => blind::explain(Obstacle::Exhausted, reader),
            Self::TooMany => {
                format!("the workers have more than {LINKS_MAX} descriptors open")
            }
        }
    }
}
