//! The shipped unit on a real systemd: a Debian tree that is booted once for each story, with networking of its own.
//!
//! A story is a shell script that runs inside as a unit; the container ends with it, and with its exit status. The tree is
//! made by debootstrap once and kept in `target/boot`; each boot writes to an overlay of its own, which goes with it.

mod machine;
mod stories;
mod tree;
