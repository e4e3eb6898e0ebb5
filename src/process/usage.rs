//! What workers use: memory and CPU time, by their control group where they have one, else by `/proc`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::cgroup::Group;
use super::procfs::{self, Stat};

/// Whose usage is asked for.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The leader of its process group.
    pub leader: i32,
    /// Its control group.
    pub group: Option<Arc<Group>>,
}

/// What a worker and all its processes use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes: what its control group counts (page cache and kernel memory too), else the resident sets of its processes
    /// (what they share counts in each).
    pub memory: u64,
    /// CPU time: what its control group counts, else that of its living processes and of those that they waited for.
    pub cpu: Duration,
}

/// Of each of the subjects, in their order. Reads two files for each that has a control group, and one for every process
/// of the machine when any of them lacks a number: to be called from a thread.
pub fn usage(subjects: &[Subject]) -> Vec<Usage> {
    let groups: Vec<_> = subjects
        .iter()
        .map(|subject| subject.group.as_ref().map(|group| group.usage()))
        .collect();
    let counted = groups
        .iter()
        .all(|group| group.is_some_and(|it| it.memory.is_some() && it.cpu.is_some()));
    let trees = match counted {
        true => HashMap::new(),
        false => by_leader(
            &procfs::pids()
                .into_iter()
                .filter_map(procfs::stat)
                .collect::<Vec<_>>(),
            &subjects.iter().map(|subject| subject.leader).collect(),
        ),
    };
    let tree = |leader: i32| trees.get(&leader).copied().unwrap_or_default();
    subjects
        .iter()
        .zip(groups)
        .map(|(subject, group)| {
            let (seen, counted) = (tree(subject.leader), group.unwrap_or_default());
            Usage {
                memory: counted.memory.unwrap_or(seen.memory),
                cpu: counted.cpu.unwrap_or(seen.cpu),
            }
        })
        .collect()
}

/// The sum over each leader's process group and descendants.
fn by_leader(all: &[Stat], leaders: &HashSet<i32>) -> HashMap<i32, Usage> {
    let by_pid: HashMap<i32, &Stat> = all.iter().map(|stat| (stat.pid, stat)).collect();
    let mut sums: HashMap<i32, Usage> = HashMap::new();
    for stat in all {
        if let Some(leader) = leader_of(stat, &by_pid, leaders) {
            let sum = sums.entry(leader).or_default();
            sum.memory = sum.memory.saturating_add(pages(stat.rss_pages));
            sum.cpu = sum.cpu.saturating_add(ticks(stat.cpu_ticks));
        }
    }
    sums
}

/// Up the parents until one is a leader, or in a leader's group.
fn leader_of(stat: &Stat, all: &HashMap<i32, &Stat>, leaders: &HashSet<i32>) -> Option<i32> {
    // Deeper trees than this are loops of numbers that were used again.
    const DEPTH_MAX: usize = 64;
    let mut at = stat;
    for _ in 0..DEPTH_MAX {
        if let Some(leader) = [at.pid, at.pgrp]
            .into_iter()
            .find(|it| leaders.contains(it))
        {
            return Some(leader);
        }
        at = all.get(&at.ppid)?;
    }
    None
}

fn pages(count: u64) -> u64 {
    count.saturating_mul(rustix::param::page_size() as u64)
}

fn ticks(count: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_micros(count.saturating_mul(1_000_000) / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: i32, ppid: i32, pgrp: i32) -> Stat {
        Stat {
            pid,
            comm: String::new(),
            state: 'S',
            ppid,
            pgrp,
            start_time: 0,
            cpu_ticks: 1,
            rss_pages: 1,
        }
    }

    #[test]
    fn children_and_members_of_the_group_count_for_their_leader() {
        let all = [
            stat(1, 0, 1),
            stat(10, 1, 10),
            // A child in a group of its own, and its child.
            stat(11, 10, 11),
            stat(12, 11, 11),
            // A member whose parent ended.
            stat(13, 1, 10),
            stat(20, 1, 20),
            stat(30, 1, 30),
        ];
        let sums = by_leader(&all, &HashSet::from([10, 20, 40]));
        let memory = |leader| sums.get(&leader).map(|it| it.memory / pages(1));
        assert_eq!(
            (memory(10), memory(20), memory(40)),
            (Some(4), Some(1), None)
        );
        assert_eq!(sums[&10].cpu, ticks(4));
    }

    #[test]
    fn numbers_that_were_used_again_are_no_endless_loop() {
        let all = [stat(5, 6, 5), stat(6, 5, 6)];
        assert!(by_leader(&all, &HashSet::from([7])).is_empty());
    }

    #[test]
    fn this_process_uses_something() {
        let subject = Subject {
            leader: i32::try_from(std::process::id()).unwrap(),
            group: None,
        };
        let seen = usage(&[subject]);
        assert!(seen[0].memory > 100_000, "{seen:?}");
    }
}
