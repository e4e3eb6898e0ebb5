//! (room: process)
