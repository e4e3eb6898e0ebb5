//! The harness: a service of its own for each test, and nothing left afterwards.
//!
//! Every process that a test starts carries `TEST_MARK=…` in its environment.
//! That is how leftovers are found, and the only processes that are ever ended.

mod cgroup;
mod ended;
mod http;
mod load;
mod marked;
mod master;
mod programs;
mod start;
mod wait;

pub use cgroup::Cgroup;
pub use ended::{Ended, finish};
pub use http::{Answer, Kept, get, get_unix};
pub use load::Load;
pub use master::Service;
pub use programs::{
    Broken, debian, example_counter, example_server, python, python_code, script, server,
    server_saying, sh, switched,
};
pub use start::{Start, call, check, clean};
pub use wait::{PATIENCE, eventually, free_port};
