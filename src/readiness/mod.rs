//! Room `readiness`: how the master learns that a worker serves.
//!
//! Knows: what a worker says of itself, and what the kernel says of a worker
//! that waits on its listeners (`/proc` and sock_diag, see [`Observer`]).
//! Must not know: generations, configuration, who asks or what follows from
//! an answer; it changes nothing in a worker, opens none of its descriptors
//! and takes part in none of its connections.
//!
//! | file | idea |
//! |---|---|
//! | `observe` | looks at a worker's tree, and what they prove |
//! | `lap` | what the threads of a tree wait on |
//! | `evidence` | what a look can say |
//! | `waits` | which descriptors does a blocked call wait on? |
//! | `busy` | a worker that is never seen waiting, because it already serves |
//! | `rest` | the second sign that an edge-triggered registration needs |
//! | `tree` | processes and threads below a leader |
//! | `slice` | how much of a long walk is done at once |
//! | `procfs` | reading `/proc` without waste |
//! | `proctext` | the texts of `/proc`, parsed as plain bytes |
//! | `calls` | system call numbers that can wait on a listener |
//! | `sockdiag` | connections by local port, asked of the kernel |
//! | `blind` | why nothing can be observed, in words that help |
//! | `notify` | what a worker says of itself on its notify socket |
//! | `http` | does it answer a request? |
//! | `held` | which of the accepted connections a worker's processes hold |
//! | `foreign` | where a worker listens instead |
//! | `advise` | the line that helps its author |
//! | `pace` | how often to look |

mod advise;
mod blind;
mod busy;
mod calls;
mod evidence;
mod foreign;
mod held;
mod http;
mod in_use;
mod lap;
pub mod notify;
mod observe;
mod pace;
mod procfs;
pub mod proctext;
mod rest;
mod slice;
mod sockdiag;
mod tree;
mod waits;

#[cfg(test)]
mod tests;

pub use advise::{
    Advice, Astray, Instead, Taken, advise, says_address_in_use, says_would_block, shell_named,
};
pub use busy::holds_connection;
pub use evidence::{Evidence, How, SecondSign, Sight, Unseen, Untaken, Wait, Wanted};
pub use foreign::Foreign;
pub use held::{Held, Holders};
pub use http::{Answered, Unanswered, ask};
pub use in_use::{Named, address_said, addresses_of_command};
pub use observe::Observer;
pub use pace::{Schedule, Turn};
