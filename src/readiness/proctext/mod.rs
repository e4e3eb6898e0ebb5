//! The texts of `/proc`, as plain functions over bytes.
//!
//! No function here reads anything, panics, or allocates more than its input;
//! whatever it does not understand is `None` or left out. Each has its fuzz
//! entry in [`fuzz`], with a corpus under `fuzz-corpus/proc/`.

mod fdinfo;
pub mod fuzz;
mod net;
mod socket_diag;
mod stat;
mod syscall;

pub use fdinfo::{EpollEntry, epoll_entries, ring_operations};
pub use net::{TcpRow, UnixRow, tcp_rows, unix_rows};
pub use socket_diag::{DiagPart, diag_inodes};
pub use stat::{Stat, children, run_count, schedule_stat, stat};
pub use syscall::{Frame, Line, Target, fd_set, link_target, poll_array, syscall_line};

/// The words of a line, separated by blanks.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty())
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
}

/// A whole word as a number; `None` when anything else is in it.
pub(super) fn decimal<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn hexadecimal(word: &[u8]) -> Option<u64> {
    // from_str_radix takes a sign, which no field of /proc has.
    if word
        .first()
        .is_some_and(|&byte| byte == b'+' || byte == b'-')
    {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()
}
