//! The graceful server of `handover::app`, against raw sockets: what a client sees of a drain.

mod accepting;
mod drains;
mod endings;
mod support;
