//! `handover`: a zero-downtime process manager for Linux.
//!
//! The rooms, lowest first; a room imports only rooms below it
//! (`tests/tidy.rs` holds this):
//!
//! | room | knows |
//! |---|---|
//! | [`config`] | types, layers, diagnostics |
//! | [`fleet`] | PURE: generations, workers, upgrades |
//! | [`sockets`] | bind, inherit, repair, pass |
//! | [`process`] | release pinning, launcher, pidfd, output capture |
//! | [`readiness`] | notify sockets, observed accepting |
//! | [`systemd`] | what the master tells systemd |
//! | [`logging`] | where log lines go |
//! | [`control`] | HTTP API over a unix socket, its types, its client |
//! | [`master`] | the loop: events in, effects out |
//! | [`cli`] | one file a verb |

pub mod cli;
pub mod config;
pub mod control;
pub mod fleet;
pub mod logging;
pub mod master;
pub mod process;
pub mod readiness;
pub mod sockets;
pub mod systemd;
