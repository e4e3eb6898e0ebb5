//! `/proc/PID/fdinfo/FD` of epoll sets (proc_pid_fdinfo(5)) and of io_urings.

use super::{decimal, hexadecimal, lines, words};

/// One registration of an epoll set.
///
/// Seen on Linux 6.18: `tfd:        3 events: 80000019 data:     7f7800000003  pos:0 ino:7921 sdev:9`,
/// where `ino` is hexadecimal and, for a socket, the number that `socket:[31009]` shows
/// in decimal, and `sdev` is the device of the filesystem it counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpollEntry {
    /// The descriptor's number when it was registered.
    pub fd: i32,
    /// The event mask; a spent one-shot registration has no event left in it.
    pub events: u32,
    /// Inode of the registered file; not told before Linux 4.13.
    pub inode: Option<u64>,
    /// Device of that inode (`MAJOR << 20 | MINOR`).
    pub device: Option<u64>,
}

impl EpollEntry {
    /// Wakes a waiter when there is something to read or to accept.
    pub fn is_armed_for_input(&self) -> bool {
        const EPOLLIN: u32 = 0x01;
        const EPOLLRDNORM: u32 = 0x40;
        self.events & (EPOLLIN | EPOLLRDNORM) != 0
    }

    /// `EPOLLET`: a wake-up per change, not per state.
    pub fn is_edge_triggered(&self) -> bool {
        self.events & (1 << 31) != 0
    }
}

/// The registrations in the fdinfo of an epoll set; lines that are not one are passed over.
pub fn epoll_entries(text: &[u8]) -> impl Iterator<Item = EpollEntry> {
    lines(text).filter_map(|line| {
        let mut words = words(line.strip_prefix(b"tfd:")?);
        let fd = decimal(words.next()?)?;
        if words.next()? != b"events:" {
            return None;
        }
        let events = u32::try_from(hexadecimal(words.next()?)?).ok()?;
        let mut entry = EpollEntry {
            fd,
            events,
            inode: None,
            device: None,
        };
        for word in words {
            if let Some(inode) = word.strip_prefix(b"ino:") {
                entry.inode = hexadecimal(inode);
            } else if let Some(device) = word.strip_prefix(b"sdev:") {
                entry.device = hexadecimal(device);
            }
        }
        Some(entry)
    })
}

/// The operations that an io_uring waits to finish by polling (`PollList:` in its fdinfo);
/// `None` when the kernel does not tell them.
pub fn ring_operations(text: &[u8]) -> Option<Vec<u8>> {
    let mut lines = lines(text);
    lines.find(|line| line.starts_with(b"PollList:"))?;
    Some(
        lines
            .map_while(|line| line.strip_prefix(b"  op="))
            .filter_map(|rest| decimal(rest.split(|&byte| byte == b',').next()?))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &[u8] = b"pos:\t0\nflags:\t02000002\nmnt_id:\t17\nino:\t1039\n\
tfd:        3 events: 80000019 data:     7f7800000003  pos:0 ino:7921 sdev:9\n\
tfd:        4 events:       19 data:     7f7800000004  pos:0 ino:40f sdev:10\n\
tfd:        5 events: 40000000 data:     7f7800000003  pos:0 ino:7921 sdev:9\n";

    #[test]
    fn inodes_are_hexadecimal() {
        let entries: Vec<_> = epoll_entries(SET).collect();
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0].inode, Some(31009));
        assert_eq!(entries[0].device, Some(9));
        assert!(entries[0].is_armed_for_input() && entries[0].is_edge_triggered());
        assert!(entries[1].is_armed_for_input() && !entries[1].is_edge_triggered());
    }

    #[test]
    fn a_spent_one_shot_registration_is_not_armed() {
        let spent = epoll_entries(SET).nth(2).expect("three lines");
        assert!(!spent.is_armed_for_input());
    }

    #[test]
    fn an_old_kernel_tells_no_inode() {
        let entry = epoll_entries(b"tfd:        3 events:       19 data: 3\n").next();
        assert_eq!(entry.map(|entry| (entry.fd, entry.inode)), Some((3, None)));
    }

    #[test]
    fn a_ring_that_waits_to_accept() {
        let text = b"UserBufs:\t0\nPollList:\n  op=13, task_works=0\n  op=6, task_works=0\nCqOverflowList:\n";
        assert_eq!(ring_operations(text), Some(vec![13, 6]));
        assert_eq!(
            ring_operations(b"PollList:\nCqOverflowList:\n"),
            Some(vec![])
        );
        assert_eq!(ring_operations(b"SqMask:\t0x7\n"), None);
    }
}
