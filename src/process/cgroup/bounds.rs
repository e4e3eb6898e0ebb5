//! What a worker may use, and the files that say so.

use std::time::Duration;

/// The time over which the CPU time of a group is counted (cpu.max; the kernel's own default).
const PERIOD: Duration = Duration::from_millis(100);

/// A controller of the kernel that a bound needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// Bytes of memory.
    Memory,
    /// CPU time.
    Cpu,
    /// Processes and threads.
    Pids,
}

impl Controller {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// Its name in cgroup.controllers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    /// The key that asks for it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Memory => "limits.memory",
            Self::Cpu => "limits.cpu",
            Self::Pids => "limits.pids",
        }
    }
}

/// What one worker and all its processes together may use; unset: as much as they like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes (memory.max).
    pub memory: Option<u64>,
    /// CPU time in every 100 ms (cpu.max): 50 ms is half a CPU, 200 ms are two.
    pub cpu: Option<Duration>,
    /// Processes and threads (pids.max).
    pub pids: Option<u64>,
    /// What cannot be set is left out, and told.
    pub best_effort: bool,
}

impl Bounds {
    /// CPU time for so many CPUs.
    pub fn cpu_time(cpus: f64) -> Duration {
        PERIOD.mul_f64(cpus.clamp(0.0, 1e9))
    }

    /// What they need.
    pub fn controllers(&self) -> impl Iterator<Item = Controller> {
        let asked = [
            self.memory.map(|_| Controller::Memory),
            self.cpu.map(|_| Controller::Cpu),
            self.pids.map(|_| Controller::Pids),
        ];
        asked.into_iter().flatten()
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.controllers().next().is_none()
    }

    /// The file that holds this bound, and what is written there.
    pub(super) fn setting(&self, controller: Controller) -> Option<(&'static str, String)> {
        match controller {
            Controller::Memory => Some(("memory.max", self.memory?.to_string())),
            Controller::Cpu => {
                let (quota, period) = (self.cpu?.as_micros(), PERIOD.as_micros());
                Some(("cpu.max", format!("{quota} {period}")))
            }
            Controller::Pids => Some(("pids.max", self.pids?.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_the_kernel_reads_them() {
        let bounds = Bounds {
            memory: Some(512 << 20),
            cpu: Some(Bounds::cpu_time(1.5)),
            pids: Some(100),
            best_effort: false,
        };
        let written: Vec<_> = bounds
            .controllers()
            .filter_map(|controller| bounds.setting(controller))
            .collect();
        let expected = [
            ("memory.max", "536870912"),
            ("cpu.max", "150000 100000"),
            ("pids.max", "100"),
        ];
        assert_eq!(
            written,
            expected.map(|(file, value)| (file, value.to_owned()))
        );
        // The least that a config may ask for is the least that the kernel takes: 1 ms.
        assert_eq!(Bounds::cpu_time(0.01), Duration::from_millis(1));
        assert!(!bounds.is_empty() && Bounds::default().is_empty());
    }
}
