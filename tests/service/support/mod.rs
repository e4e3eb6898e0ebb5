//! The harness: a service of its own for each test, and nothing left afterwards.
//!
//! Every process that a test starts carries `TEST_MARK=…` in its environment.
//! That is how leftovers are found, and the only processes that are ever ended.

mod http;
mod load;
mod master;
mod programs;
mod start;
mod wait;

pub use http::{Answer, Kept, get, get_unix};
pub use load::Load;
pub use master::{Ended, Service, finish};
pub use programs::{
    Broken, debian, example_server, python, python_code, server, server_saying, sh,
};
pub use start::{Start, call};
pub use wait::{PATIENCE, eventually, free_port};
