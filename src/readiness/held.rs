//! Which of the accepted connections a worker's processes hold.
//!
//! The kernel says which connections there are, but not whose they are: that is in `/proc/PID/fd`, and reading one
//! link of it costs as much as three connections do in the kernel's table. So as little as will do is read of a process:
//! nothing when the number of its descriptors (st_size of `/proc/PID/fd`, Linux 6.2) is what it was, less the
//! connections that ended since; its epoll sets when they list all its connections; else every link. What that
//! overlooks (one descriptor closed, a connection accepted in its place; a child that is new) leaves a connection that
//! nobody has. So where these are all the workers one [`Effort`] follows the other until none is left.

mod known;

use std::collections::{HashMap, HashSet};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::blind::{self, Obstacle};
use super::procfs::{Fault, Reader};
use known::{Effort, Known, Look, Place, Unread};

/// More processes than this of one worker are not looked at.
const PROCESSES_MAX: usize = 16 * 1024;
/// Links read in one count: about two seconds.
const LINKS_MAX: usize = 1 << 20;
/// What is with nobody is looked for, for which all links are read, once in so many counts at least.
const LOOKED_FOR_EVERY_MAX: u64 = 64;
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
    /// Connections that were found with nobody when all were asked: another program's on the same port, or on their
    /// way from one process to another.
    nobodys: HashMap<u64, Nobodys>,
}

/// When a connection that nobody had is looked for again: in so many counts, then in twice as many.
#[derive(Debug, Clone, Copy)]
struct Nobodys {
    next: u64,
    distance: u64,
}

#[derive(Debug, Clone, Copy)]
enum Unseen {
    Process(i32, Fault),
    TooMany,
}

impl Holders {
    /// Counts what each worker (the processes at the top of its tree) holds of `connections`, which is sorted.
    ///
    /// `again` where these are all the workers that may hold any of them: it tells which connections there are now,
    /// sorted, none if that is not to be known. One that ended while it was looked for is not looked for any longer.
    pub fn count(
        &mut self,
        workers: &[Vec<i32>],
        connections: &[u64],
        again: Option<&dyn Fn() -> Option<Vec<u64>>>,
    ) -> Held {
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
            missing: connections.len(),
            everybody: again.is_some(),
            effort: if again.is_some() {
                Effort::Known
            } else {
                Effort::Trees
            },
            links_left: LINKS_MAX,
            hint: std::mem::take(&mut self.hint),
        };
        let mut held = self.all(workers, &mut look);
        if let Some(again) = again {
            if !self.unclaimed(&look).is_empty()
                && let Some(left) = again()
            {
                look.forget(|inode| left.binary_search(&inode).is_err());
            }
            for effort in [Effort::Trees, Effort::Links] {
                look.missing = self.unclaimed(&look).len();
                if look.missing > 0 {
                    look.effort = effort;
                    held = self.all(workers, &mut look);
                }
            }
            self.look_later_for(self.unclaimed(&look), &look);
        }
        self.hint = look.hint;
        let recent = self.number.saturating_sub(FORGOTTEN_AFTER);
        self.processes.retain(|_, known| known.met > recent);
        held
    }

    /// Those that are to be found and are with nobody yet.
    fn unclaimed(&self, look: &Look<'_>) -> Vec<u64> {
        let all = look.connections.iter().zip(&look.claimed);
        let due = |inode: &u64| {
            let known = self.nobodys.get(inode);
            known.is_none_or(|known| known.next <= self.number)
        };
        all.filter(|(inode, claimed)| !**claimed && due(inode))
            .map(|(inode, _)| *inode)
            .collect()
    }

    fn look_later_for(&mut self, inodes: Vec<u64>, look: &Look<'_>) {
        self.nobodys.retain(|inode, _| look.has(*inode));
        for inode in inodes {
            let before = self.nobodys.get(&inode).map_or(1, |it| it.distance);
            let distance = (before * 2).min(LOOKED_FOR_EVERY_MAX);
            let next = self.number + distance;
            self.nobodys.insert(inode, Nobodys { next, distance });
        }
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
        let mut queued = HashSet::new();
        let mut together: Vec<u64> = Vec::new();
        let mut index = 0;
        while let Some(&pid) = queue.get(index) {
            index += 1;
            match self.process(pid, look, &mut together) {
                Err(Unseen::Process(_, Fault::Gone)) if roots.contains(&pid) && is_hidden(pid) => {
                    return Err(Unseen::Process(pid, Fault::Denied));
                }
                Ok(()) => {}
                // What ended holds nothing.
                Err(Unseen::Process(_, Fault::Gone)) => {
                    self.processes.remove(&pid);
                }
                Err(unseen) => return Err(unseen),
            }
            let known = self.processes.get(&pid);
            for &child in known.map_or(&[][..], |known| &known.children) {
                let new = !roots.contains(&child) && queued.insert(child);
                if new && queue.len() < PROCESSES_MAX {
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
        together: &mut Vec<u64>,
    ) -> Result<(), Unseen> {
        let fault = |fault| Unseen::Process(pid, fault);
        let known = self.processes.entry(pid).or_default();
        known.met = self.number;
        if look.effort != Effort::Known && look.missing > 0 {
            known.see_tree(pid, look).map_err(fault)?;
        }
        let size = look.reader.stat(pid, pid, "fd").map_err(fault)?.st_size;
        let descriptors = u64::try_from(size).unwrap_or(0);
        let place = Place { pid, descriptors };
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
