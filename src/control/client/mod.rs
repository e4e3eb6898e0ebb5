//! The client: finds a running master and speaks to it.
//!
//! Each request has a connection of its own: nothing is kept that could be
//! stale, and a master that went away is seen at once.

mod connection;
mod events;
mod locate;

pub use connection::{Client, ClientError, Reply};
pub use events::EventReader;
pub use locate::{Looked, Master, NotFound, locate, locate_in};
