//! A worker that is never seen waiting, because it already serves.
//!
//! Old and new workers take from one queue. Under heavy load a new worker may find
//! a connection whenever it asks and never sleep; what it holds then proves more
//! than a wait: a connection that came through the listener.

use std::time::{Duration, Instant};

use super::evidence::{How, Wanted};
use super::procfs::Reader;
use super::proctext::{self, Target};
use super::sockdiag;
use super::tree::Tree;
use super::waits::{Found, Place, Targets};

/// Nothing is asked in a worker's first moments,
const FIRST: Duration = Duration::from_millis(150);
/// and then at this interval: it costs far more than a look.
const INTERVAL: Duration = Duration::from_millis(250);
/// Descriptors of one process that are looked at.
const DESCRIPTORS_MAX: usize = 1024;
/// The table of unix sockets is read up to here, in bytes.
const UNIX_TABLE_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Busy {
    began: Option<Instant>,
    asked: Option<Instant>,
    /// Sockets that the leader was born with: a connection that its predecessor stored
    /// came through the listener, but not by this worker's doing.
    inherited: Vec<u64>,
}

/// A listener (by index) that is served, and by whom.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) index: usize,
    pub(super) how: How,
    pub(super) pid: i32,
    pub(super) tid: i32,
}

struct Holding {
    process: usize,
    tid: i32,
    sockets: Vec<u64>,
    sets: Vec<i32>,
}

impl Busy {
    pub(super) fn new(inherited: Vec<u64>) -> Self {
        Self {
            inherited,
            ..Self::default()
        }
    }

    /// The listeners that the tree serves; empty also when it is not yet time to ask again.
    pub(super) fn serves(
        &mut self,
        now: Instant,
        tree: &Tree,
        reader: &mut Reader,
        wanted: &[Wanted],
        targets: &Targets,
    ) -> Vec<Served> {
        let since = |then: Option<Instant>| then.map(|then| now.saturating_duration_since(then));
        let early = since(Some(*self.began.get_or_insert(now))).is_none_or(|age| age < FIRST);
        if early || since(self.asked).is_some_and(|age| age < INTERVAL) {
            return Vec::new();
        }
        self.asked = Some(now);
        let mut holdings = holdings(tree, reader);
        for holding in &mut holdings {
            holding.sockets.retain(|inode| {
                !self.inherited.contains(inode)
                    && targets
                        .sockets
                        .iter()
                        .all(|(listener, _)| listener != inode)
            });
        }
        holdings.retain(|holding| !holding.sockets.is_empty());
        if holdings.is_empty() {
            return Vec::new();
        }
        let mut served = by_connection(&holdings, tree, reader, wanted);
        if !served.is_empty() && served.len() < wanted.len() {
            companions(&holdings, tree, reader, targets, &mut served);
        }
        served
    }
}

/// Whether a process of this leader's tree holds a connection that came through one of the
/// listeners: it has accepted at least that one.
pub fn holds_connection(leader: i32, wanted: &[Wanted]) -> bool {
    let mut reader = Reader::new();
    // Thousands of threads are asked for children only where the short way finds nobody.
    [false, true].into_iter().any(|every| {
        let mut tree = Tree::new(leader);
        if tree.survey(&mut reader, every).is_err() {
            return false;
        }
        let holdings = holdings(&tree, &mut reader);
        !by_connection(&holdings, &tree, &mut reader, wanted).is_empty()
    })
}

fn by_connection(
    holdings: &[Holding],
    tree: &Tree,
    reader: &mut Reader,
    wanted: &[Wanted],
) -> Vec<Served> {
    let mut served = Vec::new();
    for (index, listener) in wanted.iter().enumerate() {
        let through = connections(listener, tree, reader);
        let taker = holdings.iter().find(|holding| {
            holding
                .sockets
                .iter()
                .any(|inode| through.binary_search(inode).is_ok())
        });
        served.extend(taker.and_then(|holding| {
            let pid = tree.processes.get(holding.process)?.pid;
            Some(Served {
                index,
                how: How::Connection,
                pid,
                tid: holding.tid,
            })
        }));
    }
    served
}

/// Listeners that sit level-triggered in the same epoll set as one that is served.
fn companions(
    holdings: &[Holding],
    tree: &Tree,
    reader: &mut Reader,
    targets: &Targets,
    served: &mut Vec<Served>,
) {
    for holding in holdings {
        let Some(process) = tree.processes.get(holding.process) else {
            continue;
        };
        for &set in &holding.sets {
            let mut found = Found::default();
            let mut place = Place {
                task: process.task(),
                tid: holding.tid,
                reader,
                targets,
            };
            if place.set(set, false, 0, &mut found).is_err() {
                continue;
            }
            let known = |index: usize, served: &[Served]| served.iter().any(|s| s.index == index);
            if found
                .listeners
                .iter()
                .any(|&(index, _)| known(index, served))
            {
                for (index, edge) in found.listeners {
                    if !edge && !known(index, served) {
                        let (pid, tid) = (process.pid, holding.tid);
                        served.push(Served {
                            index,
                            how: How::BusyEpoll,
                            pid,
                            tid,
                        });
                    }
                }
            }
        }
    }
}

fn holdings(tree: &Tree, reader: &mut Reader) -> Vec<Holding> {
    let mut all = Vec::new();
    for (index, process) in tree.processes.iter().enumerate() {
        let (tid, links) = process.descriptors(reader, DESCRIPTORS_MAX);
        let mut holding = Holding {
            process: index,
            tid,
            sockets: vec![],
            sets: vec![],
        };
        for (fd, target) in links {
            match target {
                Target::Socket(inode) => holding.sockets.push(inode),
                Target::Epoll => holding.sets.push(fd),
                Target::Ring | Target::Other => {}
            }
        }
        all.push(holding);
    }
    all
}

/// The inodes of connections that came through a listener, sorted.
fn connections(listener: &Wanted, tree: &Tree, reader: &mut Reader) -> Vec<u64> {
    if listener.datagram {
        return Vec::new();
    }
    if let Some(port) = listener.port {
        return sockdiag::connections(port).unwrap_or_default();
    }
    let Some(leader) = tree.processes.first() else {
        return Vec::new();
    };
    let table = format!("/proc/{}/net/unix", leader.pid);
    let text = reader.path(&table, UNIX_TABLE_MAX).unwrap_or_default();
    // A path that was bound and then renamed keeps the name of its bind in the table: the listener's own row says it.
    let mut rows = proctext::unix_rows(text);
    let bound = rows.find(|row| row.inode == listener.inode);
    let Some(path) = bound.and_then(|row| row.path) else {
        return Vec::new();
    };
    let mut inodes: Vec<u64> = proctext::unix_rows(text)
        .filter(|row| !row.listens && row.path.as_deref() == Some(&*path))
        .map(|row| row.inode)
        .collect();
    inodes.sort_unstable();
    inodes
}
