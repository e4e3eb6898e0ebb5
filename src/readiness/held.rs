//! Which of the accepted connections a worker's processes hold.
//!
//! The kernel says which connections there are, but not whose they are: that is in `/proc/PID/fd`, and reading one
//! link of it costs as much as three connections do in the kernel's table. So what a process held at the last count is kept, and
//! a process is read again only when it may hold something else now: when the number of its descriptors
//! (st_size of `/proc/PID/fd`, Linux 6.2) is not what it was without the connections that ended since. What that
//! misses (one descriptor closed, a connection accepted in its place) leaves a connection
//! that nobody holds; then all processes are read.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, fstat, statat};

use super::blind::{self, Obstacle};
use super::procfs::{Fault, Reader, directory};
use super::proctext::{self, Target};

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
    /// Connections that were found with nobody when all were asked: another program's on the same port.
    nobodys: Vec<u64>,
}

#[derive(Debug, Default)]
struct Known {
    descriptors: u64,
    /// Sockets that were in the kernel's table,
    connections: Vec<u64>,
    /// and those that were not: of other ports, or accepted in between.
    others: Vec<u64>,
    /// The count in which all of its descriptors were read, and the one in which it was met.
    read: u64,
    met: u64,
}

/// One count.
struct Look<'a> {
    reader: Reader,
    /// Sorted.
    connections: &'a [u64],
    claimed: Vec<bool>,
    links_left: usize,
    /// Read every process, whatever is known.
    thorough: bool,
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
            links_left: LINKS_MAX,
            thorough: false,
        };
        let mut held = self.all(workers, &mut look);
        if everybody {
            if !self.unclaimed(&look).is_empty() {
                look.thorough = true;
                held = self.all(workers, &mut look);
            }
            let mut nobodys = self.unclaimed(&look);
            nobodys.extend(self.nobodys.iter().filter(|inode| look.has(**inode)));
            nobodys.sort_unstable();
            self.nobodys = nobodys;
        }
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
        let task = directory(rustix::fs::CWD, &format!("/proc/{pid}/task")).map_err(fault)?;
        let task = task.as_fd();
        // Link count: 2 and the number of threads.
        let threads = fstat(task).map_err(|errno| fault(errno.into()))?.st_nlink;
        let mut tids = Vec::new();
        if threads > 3 {
            look.reader
                .numbers(task, |tid| tids.push(tid))
                .map_err(fault)?;
        } else {
            tids.push(pid);
        }
        for &tid in &tids {
            // Without CONFIG_PROC_CHILDREN there is no such file: then the leader is the tree.
            let text = look.reader.once(task, tid, "children").unwrap_or_default();
            children.extend(proctext::children(text));
        }
        let size = statat(task, format!("{pid}/fd"), AtFlags::empty());
        let size = size.map_err(|errno| fault(errno.into()))?.st_size;
        let size = u64::try_from(size).unwrap_or(0);
        let number = self.number;
        let known = self.processes.entry(pid).or_default();
        known.met = number;
        let is_current = known.read == number;
        if !is_current && (look.thorough || !known.follows(size, look)) {
            let sockets = look.sockets(pid, task, &tids, size)?;
            let (connections, others) = sockets.into_iter().partition(|inode| look.has(*inode));
            *known = Known {
                descriptors: size,
                connections,
                others,
                read: number,
                met: number,
            };
        }
        for inode in &known.connections {
            if let Ok(at) = look.connections.binary_search(inode) {
                look.claimed[at] = true;
            }
        }
        together.extend(&known.connections);
        Ok(())
    }
}

impl Known {
    /// Brings it up to date without reading its links; false when that cannot be.
    fn follows(&mut self, size: u64, look: &Look<'_>) -> bool {
        let before = self.connections.len();
        self.connections.retain(|inode| look.has(*inode));
        let ended = (before - self.connections.len()) as u64;
        if size == 0 || size + ended != self.descriptors {
            return false;
        }
        self.descriptors = size;
        let connections = &mut self.connections;
        self.others.retain(|inode| {
            let accepted = look.has(*inode);
            connections.extend(accepted.then_some(*inode));
            !accepted
        });
        true
    }
}

impl Look<'_> {
    fn has(&self, inode: u64) -> bool {
        self.connections.binary_search(&inode).is_ok()
    }

    /// The inodes of all sockets that a process has open.
    fn sockets(
        &mut self,
        pid: i32,
        task: BorrowedFd<'_>,
        tids: &[i32],
        size: u64,
    ) -> Result<Vec<u64>, Unseen> {
        if size > self.links_left as u64 {
            return Err(Unseen::TooMany);
        }
        // The table of a first thread that ended before the others is empty.
        for &tid in tids.iter().take(4) {
            let links = self.reader.links(task, tid, self.links_left);
            let links = links.map_err(|fault| Unseen::Process(pid, fault))?;
            self.links_left = self.links_left.saturating_sub(links.len());
            if self.links_left == 0 {
                return Err(Unseen::TooMany);
            }
            if !links.is_empty() {
                let sockets = links.into_iter().filter_map(|(_, target)| match target {
                    Target::Socket(inode) => Some(inode),
                    Target::Epoll | Target::Ring | Target::Other => None,
                });
                return Ok(sockets.collect());
            }
        }
        Ok(Vec::new())
    }
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
