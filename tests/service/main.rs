//! Whole services, as a person runs them: the real binary, real programs behind
//! it, real clients in front.

mod access;
mod admin;
mod apps;
mod canary;
mod container;
mod control;
mod draining;
mod faults;
mod health;
mod hooks;
mod intent;
mod leftovers;
mod limits;
mod lineup;
mod listeners;
mod manual;
mod metrics;
mod mistakes;
mod newcomers;
mod on_change;
mod reach;
mod refusals;
mod releases;
mod rolling;
mod runtime_dir;
mod rust_app;
mod scaling;
mod schemas;
mod state_dir;
mod strays;
mod support;
mod systemd;
mod unserved;
mod upgrade;
mod workers;
