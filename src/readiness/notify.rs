//! What workers say: one datagram socket a worker, spoken to as sd_notify(3) says.
//!
//! A worker finds the path in `NOTIFY_SOCKET` and sends what it would send to
//! systemd. One socket a worker, and not one for all, because a datagram of a
//! process that has already ended can no longer be traced to its worker by PID
//! (FAILURES 17); the credentials that the kernel attaches are handed up all the
//! same, so that the master can tell the worker from its descendants and both
//! from strangers.
//!
//! This knows the protocol, the sockets and the descriptors that were stored. It
//! must not know what a message changes: that is decided in `fleet` and done in
//! `master`.
//!
//! * [`parse`]: bytes to [`Message`]s, pure
//! * [`Socket`], [`Datagram`]: the socket and what came over it
//! * [`Store`]: `FDSTORE=1`, handed from generation to generation

mod message;
mod socket;
mod store;

pub use message::{Message, ParseError, STATUS_BYTES_MAX, is_valid_name, parse};
pub use socket::{DATAGRAM_BYTES_MAX, Datagram, Fault, Socket};
pub use store::{Refused, STORE_LIMIT, STORE_NAMES_BYTES_MAX, Store, StoreChange};

#[cfg(test)]
mod tests;
