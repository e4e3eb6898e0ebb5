//! The config: types, layers (file < environment < flags) and diagnostics.
//!
//! This room knows what a config may say and how to tell a person what is wrong with it: every
//! fault at once, with its place and a way out. It reads files, and nothing else: it knows no
//! socket, no process, no user database and no clock.
//!
//! One table ([`keys()`]) drives the file, the variables, the flags, the suggestions, the reference
//! and the comparison of two configs. To add a key: a field in [`types`](Config), a line there.
//!
//! In a variable, a list (`HANDOVER_APP__COMMAND`) is a TOML array when it begins with `[`, else
//! words with shell-like quotes; `HANDOVER__LISTEN` takes words of the form `[NAME=]ADDR`. A value
//! of a higher layer replaces that of a lower one as a whole, listeners included.

mod address;
mod build;
mod choice;
mod effective;
mod env_file;
mod fault;
mod field;
mod fuzz;
mod kept;
mod key;
mod keys;
mod kind;
mod layers;
mod load;
mod name;
mod raw;
mod read;
mod render;
mod rules;
mod schema;
mod signal;
mod source;
mod suggest;
mod syntax;
mod types;
mod units;
mod walk;

#[cfg(test)]
mod tests;

pub use address::{Address, AddressError, Host, HostPort, UNIX_PATH_BYTES_MAX, split_name};
pub use effective::{Effective, applies, changed, effective, reference_markdown, to_toml};
pub use env_file::{parse_env_file, read_env_file};
pub use fault::{Fault, Faults, Origin, Place, Snippet};
pub use field::{WORKERS_MAX, is_reserved_variable};
pub use fuzz::fuzz;
pub use kept::Unreadable;
pub use key::{Applies, Key};
pub use keys::{find, keys};
pub use layers::{Setting, Value};
pub use load::{Loaded, Sources, check, examine, load, load_text};
pub use name::{script_of, service_name};
pub use schema::schema;
pub use signal::Signal;
pub use types::{
    Admin, App, Config, Control, Drain, Health, Hooks, InheritEnv, Level, Limits, Listen, Log,
    LogFormat, PROBE, Probe, Ready, ReadyOn, Restart, Route, Strategy, Stream, UNLIMITED, Upgrade,
    WorkerOutput, Workers,
};
pub use units::{read_duration, write_size};
