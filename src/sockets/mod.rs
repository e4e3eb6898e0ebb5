//! (room: sockets)
