//! What an errand leaves behind outside its process group: found by its nonce, and ended.
//!
//! Whoever outlives its parents below us is given to us (we are a subreaper), and the kernel gives it to the first
//! living thread of a process (find_new_reaper, kernel/exit.c): the main one. What the launcher starts belongs to
//! another thread. So one short file, `/proc/self/task/PID/children`, tells whether an errand can have left anybody,
//! and only where it names a newcomer every process is looked at, in a thread of its own.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use crate::process::child::Child;
use crate::process::nonce::Mark;
use crate::process::procfs;
use crate::process::sweep::{Sweeper, Swept};

/// How long members of its group, who were killed, are waited for, in steps that double.
const DYING: [Duration; 7] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(4),
    Duration::from_millis(8),
    Duration::from_millis(16),
    Duration::from_millis(32),
    Duration::from_millis(64),
];
/// So many are looked at in the loop; where there are more, the thread looks.
const NEWCOMERS_MAX: usize = 32;

/// What is to be known before its start.
#[derive(Debug)]
pub(super) struct Remains {
    nonce: String,
    /// Who had been given to us by then: no child of what began later. A number comes to mean another process only
    /// when all others were used.
    before: Vec<i32>,
}

/// What the list of those who were given to us says.
#[derive(Debug, PartialEq, Eq)]
enum Newcomers {
    None,
    /// Members of the errand's group, who were killed.
    Dying,
    /// Anybody else, or nobody can tell.
    Some,
}

impl Remains {
    pub(super) fn before(nonce: String) -> Self {
        let mut before = procfs::given_children().unwrap_or_default();
        before.sort_unstable();
        Self { nonce, before }
    }

    /// Ends all that is left of an errand whose process ended and whose group was killed.
    ///
    /// # Errors
    /// There can be no thread that looks for it.
    pub(super) async fn end(self, child: &Child, sweeper: &Sweeper) -> io::Result<Swept> {
        for pause in DYING {
            match self.newcomers(child.pid()) {
                Newcomers::None => return Ok(Swept::default()),
                Newcomers::Dying => tokio::time::sleep(pause).await,
                Newcomers::Some => break,
            }
        }
        let nonce = HashSet::from([self.nonce]);
        sweeper.sweep(Mark::Errand, nonce, Some(child.pid())).await
    }

    fn newcomers(&self, group: i32) -> Newcomers {
        let mut seen = HashSet::new();
        let mut found = Newcomers::None;
        while seen.len() < NEWCOMERS_MAX {
            let Ok(given) = procfs::given_children() else {
                return Newcomers::Some;
            };
            let mut ended = false;
            for pid in given {
                let old = pid == group || self.before.binary_search(&pid).is_ok();
                if old || !seen.insert(pid) {
                    continue;
                }
                if seen.len() > NEWCOMERS_MAX {
                    return Newcomers::Some;
                }
                match procfs::stat(pid).filter(|stat| !stat.is_dead()) {
                    Some(stat) if stat.pgrp == group => found = Newcomers::Dying,
                    Some(_) => return Newcomers::Some,
                    None => ended = true,
                }
            }
            if !ended {
                return found;
            }
            // Whoever ended after the list was read may have had children, which are given to us now.
        }
        Newcomers::Some
    }
}
