//! Control groups of version 2 (the kernel's Documentation/admin-guide/cgroup-v2.rst): one for each worker, below the
//! group that was delegated to this process (systemd's CGROUP_DELEGATION.md).
//!
//! [`lacks`] says before anything is done what could not be set, and why. [`Home`] is the delegated group: it moves
//! what is in it into `master/`, because a group that hands controllers on may have no process of its own, and makes
//! a [`Group`] for each worker beside that. All of it is blocking file work of which one write may wait for
//! milliseconds inside the kernel: a loop leaves it to a thread, but for the reading of small files.

mod bounds;
mod group;
mod home;
mod place;
mod refusal;
#[cfg(test)]
mod testing;

pub use bounds::{Bounds, Controller};
pub use group::{Counted, Group};
pub use home::{Home, Made};
pub use place::{lacks, lacks_of_machine};
pub use refusal::{Lack, Refusal};
