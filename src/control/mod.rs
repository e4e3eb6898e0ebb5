//! The control API: what a master says of itself and takes orders by.
//!
//! This room knows HTTP, JSON, the unix socket and where it lies, and the
//! words of the API. It must not know what an upgrade is made of: it hands
//! each [`Call`] to whoever sits behind the channel and writes down the
//! [`Answer`]. The same types serve the client that the command line uses.

mod call;
pub mod client;
mod error;
mod event_log;
mod events;
pub mod metrics;
pub mod paths;
#[cfg(test)]
mod schemas;
mod server;
mod span;
mod timestamp;
pub mod view;

pub use call::{Answer, Call, Caller, OperationRequest, Request, UpgradeRequest};
pub use error::{ApiError, ErrorBody, ErrorKind, FaultView};
pub use event_log::{Batch, EventLog, Stored, Subscription};
pub use events::{Event, Severity};
pub(crate) use server::DESCRIPTORS_RESERVED;
pub use server::{
    AdminDoor, Admitted, ControlDoor, Door, Group, Limits, feed, serve, serve_admin, serve_within,
};
pub use span::{Count, Span};
pub use timestamp::{NotATimestamp, Timestamp};
