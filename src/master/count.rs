//! One count of connections, on a thread of its own: it reads thousands of links of `/proc`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Input;
use super::watching::thread_time;
use crate::fleet::WorkerId;
use crate::process;
use crate::readiness::Holders;
use crate::sockets::{ListenerId, through};
use tokio::sync::mpsc;

/// Whose connections are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// Those of generations that drain.
    Draining,
    /// Everybody's.
    All,
}

/// What is to be counted.
pub(super) struct Job {
    pub(super) scope: Scope,
    pub(super) listeners: Vec<ListenerId>,
    /// The workers that are asked for, with the process that leads each.
    pub(super) workers: Vec<(WorkerId, i32)>,
    /// All leaders, sorted: our other children are what workers left behind.
    pub(super) leaders: Vec<i32>,
}

/// What was counted.
pub(super) struct Count {
    pub(super) scope: Scope,
    /// As in the job: with other workers it is no answer.
    pub(super) workers: Vec<(WorkerId, i32)>,
    pub(super) ended: Instant,
    /// Processor time.
    pub(super) cost: Duration,
    pub(super) connections: BTreeMap<WorkerId, u64>,
    /// Of each listener: who waits to be accepted.
    pub(super) queues: BTreeMap<String, u32>,
    /// Why some of it, or all, is not known.
    pub(super) reason: Option<String>,
}

impl Count {
    /// One that found nothing out.
    pub(super) fn failed(job: Job, reason: String) -> Self {
        Self {
            scope: job.scope,
            workers: job.workers,
            ended: Instant::now(),
            cost: Duration::ZERO,
            connections: BTreeMap::new(),
            queues: BTreeMap::new(),
            reason: Some(reason),
        }
    }
}

/// What goes from count to count.
#[derive(Default)]
pub(super) struct Counter {
    holders: Holders,
}

/// Begins a count; its result comes as an [`Input::Counted`], unless there can be no thread.
pub(super) fn begin(
    mut counter: Box<Counter>,
    job: Job,
    inputs: mpsc::Sender<Input>,
) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("count".to_owned());
    // Nothing in here is deep; the reading end is gone when the master ends.
    let thread = thread.stack_size(256 * 1024).spawn(move || {
        let count = counter.count(job);
        drop(inputs.blocking_send(Input::Counted(counter, Box::new(count))));
    });
    thread.map(drop)
}

impl Counter {
    fn count(&mut self, job: Job) -> Count {
        let begun = thread_time();
        let asked = !job.workers.is_empty();
        let through = match through(&job.listeners, asked) {
            Ok(through) => through,
            Err(unseen) => return Count::failed(job, unseen.to_string()),
        };
        // What lost its parent was given to us; its group says whose it is.
        let known = |pid: i32| job.leaders.binary_search(&pid).is_ok();
        let adopted = match through.connections.is_empty() {
            true => Vec::new(),
            false => process::adopted(known),
        };
        let roots = job.workers.iter().map(|(_, leader)| {
            let left = adopted.iter().filter(|stat| stat.pgrp == *leader);
            let mut roots = vec![*leader];
            roots.extend(left.map(|stat| stat.pid));
            roots
        });
        let roots: Vec<Vec<i32>> = roots.collect();
        // What ended since then is missed by nobody.
        let again = || {
            Some(
                crate::sockets::through(&job.listeners, true)
                    .ok()?
                    .connections,
            )
        };
        let again = (job.scope == Scope::All).then_some(&again as &dyn Fn() -> _);
        let held = self.holders.count(&roots, &through.connections, again);
        let held_by = job.workers.iter().zip(held.connections);
        let mut connections = BTreeMap::new();
        connections.extend(held_by.filter_map(|((id, _), count)| Some((*id, count?))));
        let mut queues = BTreeMap::new();
        let lengths = through.queues.into_iter();
        queues.extend(lengths.map(|(name, queue)| (name, queue.length)));
        Count {
            scope: job.scope,
            connections,
            workers: job.workers,
            ended: Instant::now(),
            cost: thread_time().saturating_sub(begun),
            queues,
            reason: held.reason,
        }
    }
}
