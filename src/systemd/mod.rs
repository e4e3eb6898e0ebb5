//! (room: systemd)
