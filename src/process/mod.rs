//! Processes: what to run ([`Release`]), how it is started ([`Launcher`]), how it is told, watched
//! and reaped ([`Child`], [`reap_ready`]), what it leaves behind ([`group_members`],
//! [`Sweeper`]), what it may use ([`Bounds`], [`Home`]), what it used ([`usage`]) and what it prints ([`Pipes`],
//! [`Tail`]).
//!
//! This room knows executables, users, limits, control groups, signals, `/proc` and pipes. It must not know what a
//! generation, a readiness or an upgrade is, when a worker is to be started or ended, nor what a
//! listener is for: it is handed descriptors and passes them on.
//!
//! A start, step by step: the master resolves a [`Plan`] into a [`Release`] once a generation
//! (executable and directory are opened and stay open), writes a request into a memfd and starts
//! itself (from a descriptor of the running binary) in the role [`launcher_main`], which takes its
//! descriptors over a socketpair, becomes what the request says, one named [`Step`] after the other, and
//! executes the program. The socket closes with the `execve`: that is the success. Before, it
//! carries the step that failed.

mod cgroup;
mod child;
mod elf;
mod errand;
mod exit;
mod failure;
mod follow;
mod handed;
mod identity;
mod launcher;
mod limits;
mod nonce;
mod output;
mod own;
mod owner;
mod pinned;
mod place;
mod pollable;
mod procfs;
mod reap;
mod release;
mod resolve;
mod role;
mod search;
mod spawner;
mod spec;
mod stragglers;
mod sweep;
mod tail;
mod usage;

pub use cgroup::{
    Bounds, Controller, Counted, Group, Home, Lack, Made, Refusal, lacks, lacks_of_machine,
};
pub use child::{Child, require_pidfds};
pub use elf::{Elf, fuzz as fuzz_elf};
pub use errand::{Done, Errand, Errands, Outcome};
pub use exit::{Exit, signal_name};
pub use failure::{LaunchFailure, Step};
pub use follow::{Follow, Stir};
pub use handed::{HandedOn, VARIABLE as HANDED, hand_on, take_over};
pub use identity::{Changed, Difference, Identity};
pub use launcher::{LaunchRequest, Launched, Launcher, ROLE, Report};
pub use limits::{
    Nofile, Resource, UNLIMITED, UnknownResource, is_scarce, nofile_limit, raise_nofile,
};
pub use nonce::{Mark, nonce};
pub use output::{Pipes, Reader, Writers, short_pipe};
pub use own::{AtItsPath, OwnProgram};
pub use owner::{
    Owner, OwnerError, gid_of, may_give_to, private_directory, remove_private, unknown_owner,
};
pub use pinned::Pinned;
pub use pollable::pollable;
pub use procfs::{Stat, is_descendant, parent, parse_stat};
pub use reap::{Reaped, adopted, become_subreaper, may_have_orphans, orphans, reap_ready};
pub use release::{Lost, Opened, Plan, Release};
pub use resolve::{ResolveError, Unresolved};
pub use role::launcher_main;
pub use stragglers::{Stray, group_members, nonce_processes};
pub use sweep::{Remnant, Sweeper, Swept};
pub use tail::{Line, Stream, Tail};
pub use usage::{Subject, Usage, usage};
