//! (room: readiness)
