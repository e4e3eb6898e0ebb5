//! The one place that hands a descriptor of ours to tokio's reactor.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits for `fd` to become readable.
///
/// # Errors
/// What epoll_ctl(2) says.
#[expect(
    deprecated,
    reason = "its successor is unsafe because a type may lie about its descriptor or close it \
              while it is registered; ours own theirs and are owned by the AsyncFd"
)]
pub fn pollable<T: AsRawFd>(fd: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}
