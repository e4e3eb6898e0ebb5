//! Keys of `[limits]`.

use super::super::key::{Key, key};
use super::super::kind::Kind;

/// PID_MAX_LIMIT of linux/threads.h: pids.max takes no more.
const PIDS_MAX: u64 = 1 << 22;

pub(super) const KEYS: &[Key] = &[
    key!(
        "limits.nofile",
        limits.nofile,
        Kind::CountLimit,
        "",
        Release,
        "Open descriptors (RLIMIT_NOFILE); else what the master was started with."
    ),
    key!(
        "limits.nproc",
        limits.nproc,
        Kind::CountLimit,
        "",
        Release,
        "Processes of the workers' user (RLIMIT_NPROC)."
    ),
    key!(
        "limits.core",
        limits.core,
        Kind::SizeLimit,
        "",
        Release,
        "Size of a core file in bytes (RLIMIT_CORE)."
    ),
    key!(
        "limits.memlock",
        limits.memlock,
        Kind::SizeLimit,
        "",
        Release,
        "Locked memory in bytes (RLIMIT_MEMLOCK)."
    ),
    key!(
        "limits.stack",
        limits.stack,
        Kind::SizeLimit,
        "",
        Release,
        "Stack of the main thread in bytes (RLIMIT_STACK)."
    ),
    key!(
        "limits.data",
        limits.data,
        Kind::SizeLimit,
        "",
        Release,
        "Data segment in bytes (RLIMIT_DATA)."
    ),
    key!(
        "limits.fsize",
        limits.fsize,
        Kind::SizeLimit,
        "",
        Release,
        "Size of a written file in bytes (RLIMIT_FSIZE)."
    ),
    key!(
        "limits.as",
        limits.address_space,
        Kind::SizeLimit,
        "",
        Release,
        "Address space in bytes (RLIMIT_AS)."
    ),
    key!(
        "limits.memory",
        limits.memory,
        Kind::Size {
            min: 1 << 20,
            max: u64::MAX - 1
        },
        "",
        Release,
        "Memory of a worker and all its processes, in bytes (memory.max of its control group; needs Delegate=yes in the unit). Above it the kernel kills the worker; swap is not counted."
    ),
    key!(
        "limits.cpu",
        limits.cpu,
        Kind::Cpus,
        "",
        Release,
        "CPU time of a worker and all its processes, in CPUs (cpu.max of its control group); above it they wait."
    ),
    key!(
        "limits.pids",
        limits.pids,
        Kind::Number {
            min: 1,
            max: PIDS_MAX
        },
        "",
        Release,
        "Processes and threads of a worker (pids.max of its control group); above it fork(2) fails."
    ),
    key!(
        "limits.best_effort",
        limits.best_effort,
        Kind::Switch,
        "false",
        Release,
        "What cannot be set of memory, cpu and pids is a warning instead of an error; without a control group memory then bounds the data of each process by itself (RLIMIT_DATA), cpu and pids bound nothing."
    ),
];
