//! The errands that run: children of ours that no worker is, and what marks those that they start.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Errand;
use super::remains::Remains;
use crate::process::child::Child;
use crate::process::launcher::{LaunchRequest, Launched, Launcher};
use crate::process::nonce::{Mark, nonce};
use crate::process::output::short_pipe;
use crate::process::procfs;
use crate::process::release::Release;
use crate::process::sweep::{Sweeper, Swept, sweep};

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Errands {
    /// By the number of their process.
    running: Arc<Mutex<BTreeMap<i32, Running>>>,
    sweeper: Sweeper,
}

#[derive(Debug)]
struct Running {
    child: Arc<Child>,
    nonce: String,
}

/// That it runs. Whoever lets go of it early, since the loop ends, ends the errand.
#[derive(Debug)]
pub(super) struct Entry {
    errands: Errands,
    pid: i32,
}

impl Errands {
    /// Starts the release's program with this command and this environment, in a process group of its own and without
    /// any listener. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// As [`Launcher::launch`]; also what pipe(2) says.
    pub fn start(
        &self,
        launcher: &Launcher,
        release: &Release,
        argv: Vec<String>,
        mut env: Vec<(OsString, OsString)>,
    ) -> io::Result<Errand> {
        let (output, writer) = short_pipe()?;
        let nonce = nonce();
        env.push((Mark::Errand.variable().into(), OsString::from(&nonce)));
        let remains = Remains::before(nonce.clone());
        let Launched { child, report } = launcher.launch(&LaunchRequest {
            release,
            argv,
            env,
            stdout: writer.as_fd(),
            stderr: writer.as_fd(),
            listeners: Vec::new(),
            group: None,
            limits: &[],
            announced: false,
        })?;
        let child = Arc::new(child);
        let pid = child.pid();
        let running = Running {
            child: child.clone(),
            nonce,
        };
        self.all().insert(pid, running);
        let entry = Entry {
            errands: self.clone(),
            pid,
        };
        Ok(Errand {
            child,
            report,
            output,
            remains,
            entry,
        })
    }

    /// Whether this child of ours is the process of one: it is reaped by its errand and nobody else.
    pub fn reaps(&self, pid: i32) -> bool {
        self.all().contains_key(&pid)
    }

    /// Whether this process belongs to one: by its group, or by the nonce.
    pub fn includes(&self, pid: i32) -> bool {
        let all = self.all();
        if all.is_empty() {
            return false;
        }
        let in_group = procfs::stat(pid).is_some_and(|stat| all.contains_key(&stat.pgrp));
        let carries = |nonce: String| all.values().any(|running| running.nonce == nonce);
        in_group || Mark::Errand.of(pid).is_some_and(carries)
    }

    /// The way to the thread that looks for what they leave behind: it looks for what others leave, too.
    pub fn sweeper(&self) -> &Sweeper {
        &self.sweeper
    }

    /// Kills all that run, and whatever they started. Blocks for some looks at every process, where any runs: for the
    /// end of the service.
    pub fn end(&self) -> Swept {
        let nonces: HashSet<String> = {
            let all = self.all();
            all.values().for_each(|running| running.child.kill());
            all.values().map(|running| running.nonce.clone()).collect()
        };
        match nonces.is_empty() {
            true => Swept::default(),
            false => sweep(Mark::Errand, nonces),
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<i32, Running>> {
        // Every change is one that cannot panic half-way.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    pub(super) fn sweeper(&self) -> &Sweeper {
        &self.errands.sweeper
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let ended = self.errands.all().remove(&self.pid);
        // Nobody is hit where it ended already.
        if let Some(running) = ended {
            running.child.kill();
        }
    }
}
