//! The look at every process for what workers and errands left behind: one thread looks for all that wait for it at
//! once, so that checks which leave something behind each time cost a core at most, however many there are.
//!
//! Whoever is found is killed at once, not when all were looked at: a process that forks and ends would be gone by
//! then, and its child is on no list yet. Such a chain is met where it must come by: whoever loses its parents below us
//! is given to us, so its newest link stands in one short file, which is read again until nobody in it is news.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use tokio::sync::oneshot;

use super::nonce::Mark;
use super::procfs::{self, NoEnvironment};
use super::stragglers::{Stray, carrier, nonce_processes};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// The list of those who were given to us is read again for so long after the last news in it.
const STIRRED: Duration = Duration::from_millis(5);
/// How long the killed are waited for: who sleeps uninterruptibly ends later.
const QUIET_MAX: Duration = Duration::from_millis(200);
/// Who forks faster than it is killed for so long is told.
const SWEEP_MAX: Duration = Duration::from_secs(2);
/// Where the machine is so loaded that fewer were done in that time, so many looks are.
const LOOKS_MIN: usize = 16;
/// Nothing in it is deep.
const STACK: usize = 256 * 1024;

/// A process that was left behind.
#[derive(Debug, PartialEq, Eq)]
pub struct Remnant {
    /// Its number, for messages only.
    pub pid: i32,
    /// Its short name.
    pub comm: String,
    /// Else why not.
    pub killed: Result<(), String>,
}

/// What a sweep found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// All that were killed, or could not be.
    pub remnants: Vec<Remnant>,
    /// It came to its bound and still found new ones: some may live on.
    pub unfinished: bool,
}

/// The way to the thread, which is there as long as somebody waits for it.
#[derive(Clone, Debug, Default)]
pub struct Sweeper(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Search>,
    looks: bool,
}

#[derive(Debug)]
struct Search {
    mark: Mark,
    nonces: HashSet<String>,
    /// Its members were killed and are no news.
    group: Option<i32>,
    tell: oneshot::Sender<Swept>,
}

impl Sweeper {
    /// Kills all that carry one of these nonces as this mark, and says whom it found outside this group. Takes two looks
    /// at every process as a rule, two seconds at most.
    ///
    /// # Errors
    /// There can be no thread.
    pub async fn sweep(
        &self,
        mark: Mark,
        nonces: HashSet<String>,
        group: Option<i32>,
    ) -> io::Result<Swept> {
        let (tell, told) = oneshot::channel();
        self.enqueue(Search {
            mark,
            nonces,
            group,
            tell,
        })?;
        told.await
            .map_err(|_| io::Error::other("the thread for it ended early"))
    }

    fn enqueue(&self, search: Search) -> io::Result<()> {
        let mut queue = self.queue();
        if !queue.looks {
            let sweeper = self.clone();
            let thread = thread::Builder::new().name("sweep".to_owned());
            thread.stack_size(STACK).spawn(move || sweeper.serve())?;
            queue.looks = true;
        }
        queue.waiting.push(search);
        Ok(())
    }

    fn serve(&self) {
        while let Some(batch) = self.next() {
            let of = |wanted: Mark| {
                let them = batch.iter().filter(|search| search.mark == wanted);
                them.flat_map(|search| search.nonces.iter().cloned())
                    .collect()
            };
            let sought = [Mark::Worker, Mark::Errand].map(|mark| (mark, of(mark)));
            let groups = batch.iter().filter_map(|search| search.group).collect();
            let (mut found, unfinished) = Sweep::new(sought, groups).run();
            for search in batch {
                let mine = |(mark, nonce): &(Mark, String), _: &mut Remnant| {
                    *mark == search.mark && search.nonces.contains(nonce)
                };
                let remnants: Vec<_> = extract(&mut found, mine);
                let unfinished = unfinished && !remnants.is_empty();
                let swept = Swept {
                    remnants,
                    unfinished,
                };
                // Nobody waits for it where the master ended.
                drop(search.tell.send(swept));
            }
        }
    }

    fn next(&self) -> Option<Vec<Search>> {
        let mut queue = self.queue();
        let batch = std::mem::take(&mut queue.waiting);
        queue.looks = !batch.is_empty();
        queue.looks.then_some(batch)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change is one that cannot panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Found = Vec<((Mark, String), Remnant)>;

fn extract(
    found: &mut Found,
    mut mine: impl FnMut(&(Mark, String), &mut Remnant) -> bool,
) -> Vec<Remnant> {
    found
        .extract_if(.., |(whose, remnant)| mine(whose, remnant))
        .map(|(_, remnant)| remnant)
        .collect()
}

/// Kills all that carry one of these nonces as this mark, whatever group they are in. Blocks, for two looks at every
/// process as a rule, two seconds at most.
pub(super) fn sweep(mark: Mark, nonces: HashSet<String>) -> Swept {
    let (found, unfinished) = Sweep::new([(mark, nonces)], HashSet::new()).run();
    Swept {
        remnants: found.into_iter().map(|(_, remnant)| remnant).collect(),
        unfinished,
    }
}

/// One on its way.
struct Sweep<const N: usize> {
    sought: [(Mark, HashSet<String>); N],
    groups: HashSet<i32>,
    found: Found,
    /// Those who were found, by number and time of start, and whether they were killed.
    seen: BTreeMap<(i32, u64), bool>,
    /// Those given to us who are none of them, or dead.
    others: HashSet<i32>,
    began: Instant,
    /// When the last was killed.
    killed_at: Option<Instant>,
}

/// What is known of one who was given to us.
enum Given {
    /// It is none of them, or is known already.
    Old,
    /// It was killed before and is not dead yet: what it started meanwhile comes with its end.
    Dying,
    /// It was killed now.
    Killed,
    /// It has ended or is about to: its children are, or will be, given to us.
    Ending,
}

impl<const N: usize> Sweep<N> {
    fn new(sought: [(Mark, HashSet<String>); N], groups: HashSet<i32>) -> Self {
        Self {
            sought,
            groups,
            found: Vec::new(),
            seen: BTreeMap::new(),
            others: HashSet::new(),
            began: Instant::now(),
            killed_at: None,
        }
    }

    /// Says whom it found, and whether there may be more.
    fn run(mut self) -> (Found, bool) {
        let mut looks = 0;
        loop {
            let settled = self.look();
            looks += 1;
            // Twice at least: who is held up in the middle of an execve has no environment.
            if settled && looks > 1 && self.all_are_dead() {
                return (self.found, false);
            }
            let quiet_since = self.killed_at.unwrap_or(self.began);
            let bound_is_reached =
                quiet_since.elapsed() > QUIET_MAX || self.began.elapsed() > SWEEP_MAX;
            if bound_is_reached && looks >= LOOKS_MIN {
                return (self.found, !settled);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Looks at everybody; says whether there was nothing new.
    fn look(&mut self) -> bool {
        let mut settled = self.look_at_given();
        for (mark, nonces) in self.sought.clone() {
            for stray in nonce_processes(mark, &nonces) {
                settled &= !self.kill(mark, stray);
            }
        }
        settled & self.look_at_given()
    }

    /// Looks at those who were given to us until nobody is news; says whether there was nothing new.
    fn look_at_given(&mut self) -> bool {
        let mut settled = true;
        let mut stirred = Instant::now();
        // Where the list cannot be read, only the look at everybody tells.
        while let Ok(given) = procfs::given_children() {
            let (mut dying, mut ending) = (false, false);
            for pid in given {
                match self.look_at(pid) {
                    Given::Old => {}
                    Given::Dying => dying = true,
                    Given::Ending => ending = true,
                    Given::Killed => {
                        dying = true;
                        settled = false;
                        stirred = Instant::now();
                    }
                }
            }
            if !dying && !ending {
                return settled;
            }
            if stirred.elapsed() > STIRRED {
                return settled && !ending;
            }
            thread::yield_now();
        }
        settled
    }

    fn look_at(&mut self, pid: i32) -> Given {
        if self.others.contains(&pid) {
            return Given::Old;
        }
        for (mark, nonces) in &self.sought {
            let mark = *mark;
            if let Some(stray) = carrier(pid, mark, nonces) {
                return match self.kill(mark, stray) {
                    true => Given::Killed,
                    false => self.still(pid),
                };
            }
        }
        match procfs::stat(pid) {
            // It may be reaped later; its children came to us with its end.
            Some(stat) if stat.is_dead() => {
                self.others.insert(pid);
                Given::Ending
            }
            // Its environment is gone already.
            Some(stat) if self.seen.contains_key(&(pid, stat.start_time)) => self.still(pid),
            Some(_) if procfs::no_environment(pid) != NoEnvironment::Never => {
                self.others.insert(pid);
                Given::Old
            }
            _ => Given::Ending,
        }
    }

    /// One who was found before and still lives: who was killed is about to end.
    fn still(&self, pid: i32) -> Given {
        let mut known = self.seen.range((pid, 0)..=(pid, u64::MAX));
        match known.any(|(_, killed)| *killed) {
            true => Given::Dying,
            false => Given::Old,
        }
    }

    /// Kills one that carries a nonce; says whether it is news.
    fn kill(&mut self, mark: Mark, stray: Stray) -> bool {
        let killed = stray.signal(nix::libc::SIGKILL);
        let Stray {
            pid,
            start_time,
            pgrp,
            comm,
            nonce,
            ..
        } = stray;
        let is_killed = killed.is_ok();
        let id = (pid, start_time);
        if self.seen.insert(id, is_killed).is_some() {
            return false;
        }
        if is_killed {
            self.killed_at = Some(Instant::now());
        }
        if !self.groups.contains(&pgrp) {
            let remnant = Remnant {
                pid,
                comm,
                killed: killed.map_err(|error| error.to_string()),
            };
            self.found
                .push(((mark, nonce.unwrap_or_default()), remnant));
        }
        true
    }

    fn all_are_dead(&self) -> bool {
        let lives = |(pid, start_time): (i32, u64)| {
            procfs::stat(pid).is_some_and(|stat| stat.start_time == start_time && !stat.is_dead())
        };
        let mut killed = self.seen.iter().filter(|(_, killed)| **killed);
        !killed.any(|(id, _)| lives(*id))
    }
}

impl fmt::Display for Remnant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.comm, self.pid)?;
        match &self.killed {
            Ok(()) => Ok(()),
            Err(why) => write!(f, ": {why}"),
        }
    }
}
