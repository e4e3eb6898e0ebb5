//! What one process holds, and how little must be read to know it.

use std::os::fd::AsFd;

use super::super::procfs::{Fault, Reader, directory, socket_device};
use super::super::proctext::{self, Target};

/// Reading an epoll set holds its mutex, some microseconds for each ten registrations: not for processes with
/// more descriptors than this.
const EPOLL_DESCRIPTORS_MAX: u64 = 256;

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// Of the processes that are known, what changed.
    Known,
    /// The trees too, for new children.
    Trees,
    /// All links, whatever is known.
    Links,
}

/// What is known of a process since the last count.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Its threads, where it has more than the first, and its children.
    tids: Vec<i32>,
    pub(super) children: Vec<i32>,
    /// How many descriptors it had.
    descriptors: u64,
    /// Sockets that were in the kernel's table,
    pub(super) connections: Vec<u64>,
    /// and those that were not: of other ports, or accepted in between.
    others: Vec<u64>,
    /// Its epoll sets, where all its connections are in one of them.
    epolls: Vec<i32>,
    /// How many of its descriptors are in none.
    rest: Option<u64>,
    /// The count in which all of its links were read, and the one in which it was met.
    pub(super) read: u64,
    pub(super) met: u64,
}

/// One count.
pub(super) struct Look<'a> {
    pub(super) reader: Reader,
    /// Sorted.
    pub(super) connections: &'a [u64],
    pub(super) claimed: Vec<bool>,
    /// How many of them are still to be found with somebody.
    pub(super) missing: usize,
    /// These are all the workers: whatever is overlooked is missed.
    pub(super) everybody: bool,
    pub(super) effort: Effort,
    pub(super) links_left: usize,
    /// The epoll sets of the process that was read last: workers run one program.
    pub(super) hint: Vec<i32>,
}

/// A process that is looked at.
pub(super) struct Place {
    pub(super) pid: i32,
    pub(super) descriptors: u64,
}

/// The links are more than one count reads, or cannot be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unread {
    TooMany,
    Fault(Fault),
}

impl Look<'_> {
    pub(super) fn has(&self, inode: u64) -> bool {
        self.connections.binary_search(&inode).is_ok()
    }

    pub(super) fn claim(&mut self, inode: u64) {
        if let Ok(at) = self.connections.binary_search(&inode)
            && !std::mem::replace(&mut self.claimed[at], true)
        {
            self.missing = self.missing.saturating_sub(1);
        }
    }

    /// Whatever this holds for is not looked for.
    pub(super) fn forget(&mut self, over: impl Fn(u64) -> bool) {
        for (inode, claimed) in self.connections.iter().zip(&mut self.claimed) {
            *claimed |= over(*inode);
        }
    }

    /// What is registered in these epoll sets: descriptor, and inode where it is a socket's. None when one of them is
    /// empty, or no epoll set.
    fn registered(&mut self, pid: i32, tid: i32, epolls: &[i32]) -> Option<Vec<(i32, u64)>> {
        let device = socket_device();
        let mut all = Vec::new();
        for epoll in epolls {
            let before = all.len();
            let text = self.reader.loose(pid, tid, &format!("fdinfo/{epoll}"));
            all.extend(proctext::epoll_entries(text.ok()?).map(|entry| {
                let inode = entry.inode.filter(|_| entry.device == device);
                (entry.fd, inode.unwrap_or(0))
            }));
            if all.len() == before {
                return None;
            }
        }
        all.sort_unstable();
        all.dedup_by_key(|(fd, _)| *fd);
        Some(all)
    }
}

impl Known {
    /// Its threads and children.
    pub(super) fn see_tree(&mut self, pid: i32, look: &mut Look<'_>) -> Result<(), Fault> {
        // Link count: 2 and the number of threads.
        let threads = look.reader.stat(pid, pid, "task")?.st_nlink;
        self.tids.clear();
        if threads > 3 {
            let task = directory(rustix::fs::CWD, &format!("/proc/{pid}/task"))?;
            look.reader
                .numbers(task.as_fd(), |tid| self.tids.push(tid))?;
        }
        self.children.clear();
        for &tid in first_or(&pid, &self.tids) {
            // Without CONFIG_PROC_CHILDREN there is no such file: then the leader is the tree.
            let text = look.reader.loose(pid, tid, "children").unwrap_or_default();
            self.children.extend(proctext::children(text));
        }
        Ok(())
    }

    /// Brings it up to date; reads as little as will do.
    pub(super) fn update(
        &mut self,
        place: &Place,
        look: &mut Look<'_>,
        number: u64,
    ) -> Result<(), Unread> {
        let enough = match look.effort {
            Effort::Links => self.read == number || look.missing == 0,
            Effort::Known | Effort::Trees => {
                self.follows(place, look) || self.by_epoll(place, look)
            }
        };
        if !enough {
            self.by_links(place, look)?;
            self.read = number;
        }
        Ok(())
    }

    /// Nothing but the end of some of its connections happened.
    fn follows(&mut self, place: &Place, look: &Look<'_>) -> bool {
        let before = self.connections.len();
        self.connections.retain(|inode| look.has(*inode));
        let ended = (before - self.connections.len()) as u64;
        if place.descriptors == 0 || place.descriptors + ended != self.descriptors {
            return false;
        }
        self.descriptors = place.descriptors;
        let connections = &mut self.connections;
        self.others.retain(|inode| {
            let accepted = look.has(*inode);
            connections.extend(accepted.then_some(*inode));
            !accepted
        });
        true
    }

    /// Its epoll sets list what it has. When everybody is asked that need not be proved: what they do not list is
    /// missed in the end, and looked for.
    fn by_epoll(&mut self, place: &Place, look: &mut Look<'_>) -> bool {
        let few = (1..=EPOLL_DESCRIPTORS_MAX).contains(&place.descriptors);
        if self.epolls.is_empty() && self.rest.is_none() {
            self.epolls.clone_from(&look.hint);
        }
        if !few || self.epolls.is_empty() {
            return false;
        }
        let tid = first_or(&place.pid, &self.tids)[0];
        let Some(registered) = look.registered(place.pid, tid, &self.epolls) else {
            return false;
        };
        let Some(rest) = place.descriptors.checked_sub(registered.len() as u64) else {
            return false;
        };
        if self.rest != Some(rest) && !look.everybody {
            return false;
        }
        self.rest = Some(rest);
        self.take(place, registered.into_iter().map(|(_, inode)| inode), look);
        true
    }

    /// All of its links.
    fn by_links(&mut self, place: &Place, look: &mut Look<'_>) -> Result<(), Unread> {
        let (tid, links) = read_links(place, &self.tids, look)?;
        let (mut sockets, mut epolls) = (Vec::new(), Vec::new());
        for (fd, target) in links {
            match target {
                Target::Socket(inode) => sockets.push((fd, inode)),
                Target::Epoll => epolls.push(fd),
                Target::Ring | Target::Other => {}
            }
        }
        self.take(place, sockets.iter().map(|(_, inode)| *inode), look);
        (self.epolls, self.rest) = (Vec::new(), Some(place.descriptors));
        let few = place.descriptors <= EPOLL_DESCRIPTORS_MAX;
        let registered = match few && !epolls.is_empty() && !self.connections.is_empty() {
            true => look.registered(place.pid, tid, &epolls),
            false => None,
        };
        if let Some(registered) = registered {
            let mut held = sockets.iter().filter(|(_, inode)| look.has(*inode));
            let listed = held.all(|pair| registered.binary_search(pair).is_ok());
            let rest = place.descriptors.checked_sub(registered.len() as u64);
            if let (true, Some(rest)) = (listed, rest) {
                self.rest = Some(rest);
                look.hint.clone_from(&epolls);
                self.epolls = epolls;
            }
        } else if self.connections.is_empty() {
            // It has not shown yet where its connections will be.
            self.rest = None;
        }
        Ok(())
    }

    fn take(&mut self, place: &Place, sockets: impl Iterator<Item = u64>, look: &Look<'_>) {
        self.descriptors = place.descriptors;
        (self.connections, self.others) = sockets.partition(|inode| look.has(*inode));
    }
}

/// The threads that are known: the first one at least.
fn first_or<'a>(pid: &'a i32, tids: &'a [i32]) -> &'a [i32] {
    match tids.is_empty() {
        true => std::slice::from_ref(pid),
        false => tids,
    }
}

fn read_links(
    place: &Place,
    tids: &[i32],
    look: &mut Look<'_>,
) -> Result<(i32, Vec<(i32, Target)>), Unread> {
    if place.descriptors > look.links_left as u64 {
        return Err(Unread::TooMany);
    }
    // The table of a first thread that ended before the others is empty.
    for &tid in first_or(&place.pid, tids).iter().take(4) {
        let links = look.reader.loose_links(place.pid, tid, look.links_left);
        let links = links.map_err(Unread::Fault)?;
        look.links_left = look.links_left.saturating_sub(links.len());
        if look.links_left == 0 {
            return Err(Unread::TooMany);
        }
        if !links.is_empty() {
            return Ok((tid, links));
        }
    }
    Ok((0, Vec::new()))
}
