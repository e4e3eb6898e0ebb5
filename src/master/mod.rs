//! (room: master)
