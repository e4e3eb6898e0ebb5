//! (room: readiness)

pub mod notify;
