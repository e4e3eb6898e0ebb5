//! Whole services, as a person runs them: the real binary, real programs behind
//! it, real clients in front.

mod apps;
mod control;
mod faults;
mod listeners;
mod newcomers;
mod refusals;
mod releases;
mod support;
mod systemd;
mod upgrade;
mod workers;
