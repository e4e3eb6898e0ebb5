//! (room: sockets)

pub mod pass;
