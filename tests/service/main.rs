//! Whole services, as a person runs them: the real binary, real programs behind
//! it, real clients in front.

mod apps;
mod container;
mod control;
mod faults;
mod intent;
mod leftovers;
mod lineup;
mod listeners;
mod newcomers;
mod on_change;
mod refusals;
mod releases;
mod runtime_dir;
mod state_dir;
mod support;
mod systemd;
mod upgrade;
mod workers;
