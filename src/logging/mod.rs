//! (room: logging)
