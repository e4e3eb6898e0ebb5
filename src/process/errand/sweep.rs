//! The look at every process for what errands left behind: one thread looks for all that wait for it at once, so that
//! checks which leave something behind each time cost a core at most, however many there are.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io, thread};

use tokio::sync::oneshot;

use crate::process::nonce::Mark;
use crate::process::procfs;
use crate::process::stragglers::nonce_processes;

/// Between two looks, and how many there are: who forks as fast as it can is met again, who sleeps uninterruptibly is
/// not waited for.
const LOOK_EVERY: Duration = Duration::from_millis(2);
const LOOKS_MAX: usize = 50;
/// Nothing in it is deep.
const STACK: usize = 256 * 1024;

/// A process that was left behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remnant {
    pub(super) pid: i32,
    pub(super) comm: String,
    /// Else why not.
    pub(super) killed: Result<(), String>,
}

/// The way to the thread, which is there as long as somebody waits for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sweeper(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Search>,
    looks: bool,
}

#[derive(Debug)]
struct Search {
    nonce: String,
    /// Its members were killed and are no news.
    group: i32,
    tell: oneshot::Sender<Vec<Remnant>>,
}

impl Sweeper {
    /// Kills all that carry this nonce, and says whom it found outside this group.
    ///
    /// # Errors
    /// There can be no thread.
    pub(super) async fn sweep(&self, nonce: String, group: i32) -> io::Result<Vec<Remnant>> {
        let (tell, told) = oneshot::channel();
        self.enqueue(Search { nonce, group, tell })?;
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
            let nonces = batch.iter().map(|search| search.nonce.clone()).collect();
            let groups = batch.iter().map(|search| search.group).collect();
            let mut found = sweep(&nonces, &groups);
            for search in batch {
                // Nobody waits for it where the master ended.
                drop(
                    search
                        .tell
                        .send(found.remove(&search.nonce).unwrap_or_default()),
                );
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

/// Kills all that carry one of these nonces, and says whom it found outside these `groups`, by nonce. Blocks, for a
/// tenth of a second and some looks at every process at most.
pub(super) fn sweep(
    nonces: &HashSet<String>,
    groups: &HashSet<i32>,
) -> BTreeMap<String, Vec<Remnant>> {
    let mut seen = HashSet::new();
    let mut remnants: BTreeMap<String, Vec<Remnant>> = BTreeMap::new();
    for look in 0..LOOKS_MAX {
        let mut any = false;
        for stray in nonce_processes(Mark::Errand, nonces) {
            let killed = stray.signal(nix::libc::SIGKILL);
            any |= killed.is_ok();
            let in_group = procfs::stat(stray.pid).is_some_and(|stat| groups.contains(&stat.pgrp));
            if in_group || !seen.insert(stray.pid) {
                continue;
            }
            let remnant = Remnant {
                pid: stray.pid,
                comm: stray.comm,
                killed: killed.map_err(|error| error.to_string()),
            };
            let nonce = stray.nonce.unwrap_or_default();
            remnants.entry(nonce).or_default().push(remnant);
        }
        // Twice at least: who is held up in the middle of an execve has no environment.
        if !any && look > 0 {
            break;
        }
        thread::sleep(LOOK_EVERY);
    }
    remnants
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
