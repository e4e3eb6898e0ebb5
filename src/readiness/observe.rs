//! Looks at a worker's tree, and what they prove.

use std::time::{Duration, Instant};

use super::blind::{Blindness, Obstacle};
use super::busy::{Busy, Served};
use super::evidence::{Evidence, How, SecondSign, Sight, Untaken, Wait, Wanted};
use super::foreign::{Foreign, foreign_listeners};
use super::lap::{Lap, Seen};
use super::procfs::{Fault, Reader, socket_device};
use super::rest::Rest;
use super::slice::Slice;
use super::tree::{Step, Tree};
use super::waits::Targets;

/// Watches one starting worker until it serves its listeners.
///
/// Looks only read `/proc` (and, for a busy worker, the kernel's socket tables); they
/// open, stop and change nothing in the worker. A process may vanish at any moment:
/// that is [`Sight::NotYet`], never an error.
///
/// A look is about 1 ms long at most: a tree of more than some 200 threads is looked at in laps of several looks.
#[derive(Debug)]
pub struct Observer {
    leader: i32,
    wanted: Vec<Wanted>,
    /// Which of them were ever seen taken.
    taken: Vec<bool>,
    targets: Targets,
    tree: Tree,
    /// The lap that goes on.
    lap: Option<Lap>,
    reader: Reader,
    rest: Rest,
    busy: Busy,
    blindness: Blindness,
    edge_since: Option<Instant>,
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
            lap: None,
            reader: Reader::new(),
            rest: Rest::default(),
            busy: Busy::new(inherited),
            blindness: Blindness::default(),
            edge_since: None,
        }
    }

    /// The listeners that were in no look seen to be waited on or served.
    pub fn untaken(&self) -> Untaken {
        let both = self.wanted.iter().zip(&self.taken);
        let listeners = both.filter(|(_, taken)| !**taken);
        Untaken {
            listeners: listeners.map(|(wanted, _)| wanted.clone()).collect(),
            unseen: self.tree.unseen(),
        }
    }

    /// What the tree, as it is known from the looks, listens on besides what it was `given`, the likeliest mistake
    /// first. Costs a few hundred microseconds: not for every look.
    pub fn foreign_listeners(&mut self, given: &[Wanted]) -> Vec<Foreign> {
        foreign_listeners(&self.tree, &mut self.reader, given)
    }

    /// The same of a tree that nobody observes, as far as one look finds its way in it.
    pub fn foreign_listeners_of(leader: i32, given: &[Wanted]) -> Vec<Foreign> {
        let mut observer = Self::new(leader, given.to_vec(), Vec::new());
        observer.look(Instant::now());
        observer.foreign_listeners(given)
    }

    /// Looks once. Costs about 4 µs for each thread, more only for those that wait on
    /// descriptors.
    pub fn look(&mut self, now: Instant) -> Sight {
        if self.wanted.is_empty() {
            return Sight::Blind("no listener of this worker counts for readiness".into());
        }
        let listeners = self.wanted.len();
        let begin = || Lap::new(now, listeners, self.rest.tally(now));
        let mut lap = self.lap.take().unwrap_or_else(begin);
        let over = match self.go_on(&mut lap, now) {
            Ok(over) => over,
            Err(fault) => {
                self.tree.begin();
                let obstacle = self.unreachable(fault);
                return self.blindness.judge(now, obstacle, false, &mut self.reader);
            }
        };
        let waits = lap.complete();
        if !waits {
            self.add_busy(now, &mut lap);
        }
        for (taken, seen) in self.taken.iter_mut().zip(&lap.seen) {
            *taken |= seen.is_some();
        }
        if lap.settled() {
            return Sight::Accepting(self.evidence(&lap, None));
        }
        let mut sign = None;
        if over && waits {
            let tally = lap.tally.take();
            sign = self.rest.waiting(lap.began, Instant::now(), tally);
        } else if over {
            self.rest.disturbed();
        }
        if lap.complete()
            && let Some(sign) = sign.or_else(|| self.connection_taken(now))
        {
            return Sight::Accepting(self.evidence(&lap, Some(sign)));
        }
        if !over {
            self.lap = Some(lap);
            return Sight::NotYet;
        }
        // With every registration seen only what keeps a rest from being seen matters.
        let obstacle = lap.obstacle.filter(|obstacle| {
            !lap.complete() || matches!(obstacle, Obstacle::Refused(_) | Obstacle::Exhausted)
        });
        self.blindness
            .judge(now, obstacle, lap.readable, &mut self.reader)
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

    /// One slice of a lap; whether the lap is over, or nothing more is to be seen.
    fn go_on(&mut self, lap: &mut Lap, now: Instant) -> Result<bool, Fault> {
        let mut slice = Slice::begin();
        if lap.began != now {
            self.glance(lap, &mut slice);
        }
        while !lap.settled() {
            match self.tree.step(&mut self.reader, &mut slice, now)? {
                Step::Thread(process, index) => {
                    if let Some(process) = self.tree.processes.get_mut(process) {
                        lap.visit(process, index, &mut self.reader, &self.targets);
                    }
                }
                Step::Pause => return Ok(false),
                Step::End => return Ok(true),
            }
        }
        Ok(true)
    }

    /// Who accepts is most often a process's first thread or its newest: where a lap takes long, these need not wait
    /// for their turn.
    fn glance(&mut self, lap: &mut Lap, slice: &mut Slice) {
        for process in &mut self.tree.processes {
            let newest = process.threads.len().saturating_sub(1);
            for index in [0, newest] {
                if lap.settled() || slice.is_over() {
                    return;
                }
                lap.glance(process, index, &mut self.reader, &self.targets);
            }
        }
    }

    /// Adds the listeners that are served without being waited on.
    fn add_busy(&mut self, now: Instant, lap: &mut Lap) {
        for served in self.served(now) {
            if let Some(slot @ None) = lap.seen.get_mut(served.index) {
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

    /// What confirms that an edge-triggered registration is more than one, where no rest is seen for long.
    fn connection_taken(&mut self, now: Instant) -> Option<SecondSign> {
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

    fn evidence(&self, lap: &Lap, second_sign: Option<SecondSign>) -> Evidence {
        let waits = self
            .wanted
            .iter()
            .zip(&lap.seen)
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
