//! The harness: a service of its own for each test, and nothing left afterwards.
//!
//! Every process that a test starts carries `TEST_MARK=…` in its environment.
//! That is how leftovers are found, and the only processes that are ever ended.

mod cgroup;
mod http;
mod load;
mod master;
mod programs;
mod start;
mod wait;

pub use cgroup::Cgroup;
pub use http::{Answer, Kept, get, get_unix};
pub use load::Load;
pub use master::{Ended, Service};
pub use programs::{
    Broken, debian, example_counter, example_server, python, python_code, script, server, server_saying, sh,
    switched,
};
pub use start::{Start, call, check};
pub use wait::{PATIENCE, eventually, free_port};
