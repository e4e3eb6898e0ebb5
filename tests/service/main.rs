//! Whole services, as a person runs them: the real binary, real programs behind
//! it, real clients in front.

mod access;
mod admin;
mod apps;
mod control;
mod faults;
mod intent;
mod leftovers;
mod listeners;
mod manual;
mod metrics;
mod newcomers;
mod refusals;
mod releases;
mod runtime_dir;
mod schemas;
mod support;
mod systemd;
mod upgrade;
mod workers;
