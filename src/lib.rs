//! `handover`: a zero-downtime process manager for Linux.
//!
//! The rooms, lowest first; a room imports only rooms below it
//! (`tests/tidy.rs` holds this):
//!
//! | room | knows |
//! |---|---|
//! | `app` | for Rust applications: inherited listeners, readiness, graceful serve (feature `app`) |
//! | [`config`] | types, layers, diagnostics |
//! | [`fleet`] | PURE: generations, workers, upgrades |
//! | [`journal`] | what outlives a master: values by key on a file, and the fleet as such values |
//! | [`sockets`] | bind, inherit, repair, pass |
//! | [`process`] | release pinning, launcher, pidfd, output capture |
//! | [`readiness`] | notify sockets, observed accepting |
//! | [`systemd`] | what the master tells systemd |
//! | [`logging`] | where log lines go |
//! | [`control`] | HTTP API over a unix socket, its types, its client |
//! | [`master`] | the loop: events in, effects out |
//! | [`cli`] | one file a verb |

#[cfg(feature = "app")]
pub mod app;
#[cfg(feature = "manager")]
pub mod cli;
#[cfg(feature = "manager")]
pub mod config;
#[cfg(feature = "manager")]
pub mod control;
#[cfg(feature = "manager")]
pub mod fleet;
#[cfg(feature = "manager")]
pub mod journal;
#[cfg(feature = "manager")]
pub mod logging;
#[cfg(feature = "manager")]
pub mod master;
#[cfg(feature = "manager")]
pub mod process;
#[cfg(feature = "manager")]
pub mod readiness;
#[cfg(feature = "manager")]
pub mod sockets;
#[cfg(feature = "manager")]
pub mod systemd;
