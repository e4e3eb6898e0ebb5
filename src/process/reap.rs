//! The one place that looks for children that ended, ours and strangers.
//!
//! As a subreaper (and as PID 1 of a container) the master becomes the parent of every orphan below
//! it. SIGCHLD coalesces, so one signal may stand for many ends: every call looks until nothing is
//! left. Known children are only named (their [`Child`](super::Child) reaps them through its pidfd, so that
//! no exit status is taken from its owner); strangers are reaped here.
//!
//! `waitid(P_ALL, WNOWAIT)` shows one zombie and goes on showing the same one, so a known one, above
//! all one that is kept on purpose, would hide every stranger behind it. It is used only as the
//! quick question "is there any?"; the answer comes from asking every child by its number, which cannot mean
//! another process meanwhile, since nobody else reaps.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, set_child_subreaper, waitid};

use super::exit::Exit;
use super::procfs::{self, Stat};

/// So that a storm of orphans does not hold the caller: the next SIGCHLD goes on.
const LOOKS_MAX: usize = 8;

/// What ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Known children that ended and are not yet reaped.
    pub known: Vec<i32>,
    /// Strangers, reaped now.
    pub strangers: Vec<(i32, Exit)>,
}

/// Finds every child that ended, and reaps those that `known` does not know. Never blocks.
///
/// Costs one system call when nothing ended, else about one for every child.
///
/// # Errors
/// What waitid(2) says, having no child at all being no error; and EMFILE where the list of children cannot be
/// read: then each known child is to be asked by itself, and the call made again later.
pub fn reap_ready(known: impl Fn(i32) -> bool) -> io::Result<Reaped> {
    let mut reaped = Reaped::default();
    if ended(WaitId::All, WaitIdOptions::NOWAIT)?.is_none() {
        return Ok(reaped);
    }
    // A stranger may be given to us while the list is read: so again, until a look finds none. One that comes after
    // the last look sends a SIGCHLD of its own.
    for _ in 0..LOOKS_MAX {
        let before = reaped.strangers.len();
        reaped.known.clear();
        for pid in procfs::children()? {
            let Some(id) = Pid::from_raw(pid) else {
                continue;
            };
            if known(pid) {
                if ended(WaitId::Pid(id), WaitIdOptions::NOWAIT)?.is_some() {
                    reaped.known.push(pid);
                }
            } else if let Some(exit) = ended(WaitId::Pid(id), WaitIdOptions::empty())? {
                reaped.strangers.push((pid, exit));
            }
        }
        if reaped.strangers.len() == before {
            break;
        }
    }
    Ok(reaped)
}

/// Our living children that `known` does not know: orphans of our descendants,
/// each with its short name.
pub fn orphans(known: impl Fn(i32) -> bool) -> Vec<(i32, String)> {
    let living = adopted(known).into_iter();
    living.map(|stat| (stat.pid, stat.comm)).collect()
}

/// Whether somebody may be there who lost its parent below us and whom `known` does not know: one short file tells, as
/// a rule that nobody is. Where it cannot be read, somebody may be.
pub fn may_have_orphans(known: impl Fn(i32) -> bool) -> bool {
    let given = procfs::given_children();
    given.map_or(true, |given| given.into_iter().any(|pid| !known(pid)))
}

/// The living children of this process that `known` does not know: what descendants left behind.
pub fn adopted(known: impl Fn(i32) -> bool) -> Vec<Stat> {
    let children = procfs::children().unwrap_or_default();
    let strangers = children.into_iter().filter(|pid| !known(*pid));
    strangers
        .filter_map(procfs::stat)
        .filter(|stat| !stat.is_dead())
        .collect()
}

/// Makes this process the parent of every orphan among its descendants (prctl(2),
/// PR_SET_CHILD_SUBREAPER; Linux 3.4). Survives an `execve`, is not inherited.
///
/// # Errors
/// What prctl(2) says.
pub fn become_subreaper() -> io::Result<()> {
    Ok(set_child_subreaper(Some(rustix::process::getpid()))?)
}

fn ended(id: WaitId<'_>, more: WaitIdOptions) -> io::Result<Option<Exit>> {
    match waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG | more) {
        Ok(status) => Ok(status.as_ref().and_then(Exit::from_status)),
        Err(Errno::CHILD) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
