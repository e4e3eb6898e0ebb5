//! Whole services, as a person runs them: the real binary, real programs behind
//! it, real clients in front.

mod apps;
mod control;
mod faults;
mod health;
mod intent;
mod leftovers;
mod limits;
mod listeners;
mod newcomers;
mod refusals;
mod releases;
mod runtime_dir;
mod rust_app;
mod support;
mod systemd;
mod upgrade;
mod workers;
