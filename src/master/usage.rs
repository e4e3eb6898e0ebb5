//! What workers use, for the metrics: looked up by a thread, since a thousand workers have two thousand files.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::Master;
use crate::control::Answer;
use crate::control::metrics::{Family, exposition};
use crate::fleet::WorkerId;
use crate::process::{Subject, Usage, usage};

/// The most CPU time that each worker was seen with: a counter never falls, though a process that ended takes its part
/// along where no control group counts.
pub(super) type Spent = Arc<Mutex<BTreeMap<WorkerId, Duration>>>;

impl Master {
    /// All metrics; those that take time come from a thread, which answers.
    pub(super) fn answer_metrics(&mut self, reply: oneshot::Sender<Answer>) {
        let mut families = self.metrics();
        let (mut ids, mut subjects) = (Vec::new(), Vec::new());
        for (id, worker) in &self.workers.all {
            if let Some(leader) = worker.pid() {
                ids.push(*id);
                let group = worker.group.clone();
                subjects.push(Subject { leader, group });
            }
        }
        let spent = Arc::clone(&self.spent);
        // Whoever asked may be gone.
        tokio::task::spawn_blocking(move || {
            // One scrape at a time.
            let mut spent = spent.lock().unwrap_or_else(PoisonError::into_inner);
            let used = usage(&subjects);
            let used = monotonic(&mut spent, ids.into_iter().zip(used));
            families.extend(used_by_workers(&used));
            drop(reply.send(Answer::Text(exposition(&families))));
        });
    }
}

/// What was seen once stays seen; workers that are gone are forgotten.
fn monotonic(
    spent: &mut BTreeMap<WorkerId, Duration>,
    seen: impl Iterator<Item = (WorkerId, Usage)>,
) -> Vec<(WorkerId, Usage)> {
    let used: Vec<_> = seen
        .map(|(id, usage)| {
            let before = spent.get(&id).copied().unwrap_or_default();
            let cpu = usage.cpu.max(before);
            (id, Usage { cpu, ..usage })
        })
        .collect();
    spent.clear();
    spent.extend(used.iter().map(|(id, usage)| (*id, usage.cpu)));
    used
}

fn used_by_workers(used: &[(WorkerId, Usage)]) -> [Family; 2] {
    let memory = Family::gauge(
        "handover_worker_memory_bytes",
        "Memory of a worker and its processes: of its control group, else their resident sets.",
    );
    let cpu = Family::counter(
        "handover_worker_cpu_seconds_total",
        "CPU time of a worker and its processes.",
    );
    used.iter()
        .fold([memory, cpu], |[memory, cpu], (id, usage)| {
            let (worker, generation) = (id.to_string(), id.generation.to_string());
            let labels = [("worker", worker.as_str()), ("generation", &generation)];
            [
                memory.sample(&labels, usage.memory),
                cpu.sample(&labels, usage.cpu.as_secs_f64()),
            ]
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u32) -> WorkerId {
        WorkerId {
            generation: 3,
            slot,
            life: 0,
        }
    }

    fn used(memory: u64, cpu_ms: u64) -> Usage {
        Usage {
            memory,
            cpu: Duration::from_millis(cpu_ms),
        }
    }

    #[test]
    fn a_counter_does_not_fall_when_a_child_ends() {
        let mut spent = BTreeMap::new();
        let cpu = |seen: Vec<(WorkerId, Usage)>| {
            seen.iter()
                .map(|(_, it)| it.cpu.as_millis())
                .collect::<Vec<_>>()
        };
        let both = [(id(0), used(1, 500)), (id(1), used(1, 10))];
        assert_eq!(cpu(monotonic(&mut spent, both.into_iter())), [500, 10]);
        let fallen = [(id(0), used(1, 300))];
        assert_eq!(cpu(monotonic(&mut spent, fallen.into_iter())), [500]);
        assert_eq!(spent.len(), 1, "who is gone is forgotten");
    }

    #[test]
    fn metrics_have_worker_and_generation() {
        let text = exposition(&used_by_workers(&[(id(1), used(4096, 1500))]));
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "handover_worker_memory_bytes{worker=\"3.1\",generation=\"3\"} 4096",
            "handover_worker_cpu_seconds_total{worker=\"3.1\",generation=\"3\"} 1.5",
        ];
        assert_eq!(lines, expected);
    }
}
