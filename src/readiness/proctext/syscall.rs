//! `/proc/PID/task/TID/syscall` (proc_pid_syscall(5)), and what its arguments point at.

use super::{decimal, hexadecimal, words};

/// One reading of a `syscall` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The thread runs, or is about to.
    Running,
    /// Blocked, but not in a system call (a page fault).
    Outside,
    /// Blocked in a system call.
    Inside(Frame),
}

/// A system call in which a thread is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its number on the machine's architecture.
    pub number: i64,
    /// Its arguments; what the call does not take is whatever the register held.
    pub args: [u64; 6],
    /// Stack pointer.
    pub sp: u64,
    /// Program counter.
    pub pc: u64,
}

impl Frame {
    /// The first argument as a descriptor.
    pub fn descriptor(&self) -> i32 {
        // A descriptor is an int: the upper half of the register is not part of it.
        self.args[0] as u32 as i32
    }

    /// A 32-bit program on a 64-bit kernel: its numbers mean other calls.
    pub fn is_32_bit(&self) -> bool {
        let narrow = |address: u64| address != 0 && u32::try_from(address).is_ok();
        narrow(self.sp) && narrow(self.pc)
    }
}

/// Parses a `syscall` file: `running`, `-1 SP PC`, or `NUMBER ARG*6 SP PC`.
pub fn syscall_line(text: &[u8]) -> Option<Line> {
    let mut words = words(text);
    let first = words.next()?;
    if first == b"running" {
        return Some(Line::Running);
    }
    let number: i64 = decimal(first)?;
    if number < 0 {
        return Some(Line::Outside);
    }
    let mut rest = [0_u64; 8];
    for slot in &mut rest {
        *slot = hexadecimal(words.next()?.strip_prefix(b"0x")?)?;
    }
    let [a, b, c, d, e, f, sp, pc] = rest;
    Some(Line::Inside(Frame {
        number,
        args: [a, b, c, d, e, f],
        sp,
        pc,
    }))
}

/// The descriptors of a `struct pollfd` array (poll(2)) that wait for input.
pub fn poll_array(bytes: &[u8]) -> impl Iterator<Item = i32> {
    const POLLIN: u16 = 0x01;
    const POLLRDNORM: u16 = 0x40;
    let (entries, _) = bytes.as_chunks::<8>();
    entries.iter().filter_map(|&[a, b, c, d, e, f, _, _]| {
        let fd = i32::from_ne_bytes([a, b, c, d]);
        let events = u16::from_ne_bytes([e, f]);
        (fd >= 0 && events & (POLLIN | POLLRDNORM) != 0).then_some(fd)
    })
}

/// The descriptors below `count` whose bit is set in an `fd_set` (select(2)).
pub fn fd_set(bytes: &[u8], count: usize) -> impl Iterator<Item = i32> {
    // An fd_set is an array of longs; which byte holds a bit depends on their order.
    let (words, _) = bytes.as_chunks::<8>();
    words
        .iter()
        .enumerate()
        .flat_map(|(index, &word)| {
            let word = u64::from_ne_bytes(word);
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| index * 64 + bit)
        })
        .take_while(move |&fd| fd < count)
        .filter_map(|fd| i32::try_from(fd).ok())
}

/// What a link in `/proc/PID/fd` points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A socket, by its inode.
    Socket(u64),
    /// An epoll set.
    Epoll,
    /// An io_uring.
    Ring,
    /// Anything else.
    Other,
}

/// Parses the target of a link in `/proc/PID/fd`.
pub fn link_target(link: &[u8]) -> Target {
    match link {
        b"anon_inode:[eventpoll]" => Target::Epoll,
        b"anon_inode:[io_uring]" => Target::Ring,
        _ => link
            .strip_prefix(b"socket:[")
            .and_then(|rest| rest.strip_suffix(b"]"))
            .and_then(decimal)
            .map_or(Target::Other, Target::Socket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_three_forms() {
        assert_eq!(syscall_line(b"running\n"), Some(Line::Running));
        assert_eq!(syscall_line(b"-1 0x7ffe 0x401000\n"), Some(Line::Outside));
        let text = b"232 0x4 0x19310ba0 0x3ff 0x4e20 0x0 0x0 0x7fff3a10cc98 0x7f78d3faaef3\n";
        let Some(Line::Inside(frame)) = syscall_line(text) else {
            panic!("not parsed")
        };
        assert_eq!(frame.number, 232);
        assert_eq!(frame.descriptor(), 4);
        assert_eq!(frame.args[3], 0x4e20);
        assert_eq!(frame.sp, 0x7fff_3a10_cc98);
        assert!(!frame.is_32_bit());
    }

    #[test]
    fn refuses_what_is_cut_or_strange() {
        for text in [
            &b""[..],
            b"232",
            b"232 0x4 0x1 0x2 0x3 0x4 0x5 0x6",
            b"232 4 1 2 3 4 5 6 7",
            b"232 0x-4 0x1 0x2 0x3 0x4 0x5 0x6 0x7",
            b"x 0x4 0x1 0x2 0x3 0x4 0x5 0x6 0x7",
        ] {
            assert_eq!(
                syscall_line(text),
                None,
                "{:?}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn a_program_with_narrow_addresses_is_32_bit() {
        let frame = Frame {
            number: 7,
            args: [0; 6],
            sp: 0xffd4_0000,
            pc: 0xf7f1_0000,
        };
        assert!(frame.is_32_bit());
        // A static 64-bit program has low code but a high stack.
        assert!(
            !Frame {
                pc: 0x40_1000,
                sp: 0x7ffe_0000_0000,
                ..frame
            }
            .is_32_bit()
        );
    }

    #[test]
    fn poll_takes_only_input_of_open_entries() {
        let entry = |fd: i32, events: u16| {
            let mut bytes = fd.to_ne_bytes().to_vec();
            bytes.extend(events.to_ne_bytes());
            bytes.extend([0, 0]);
            bytes
        };
        let mut array = entry(3, 1);
        array.extend(entry(4, 4)); // POLLOUT
        array.extend(entry(-1, 1)); // switched off
        array.extend(entry(7, 0x40));
        array.extend([1, 2, 3]); // cut
        assert_eq!(poll_array(&array).collect::<Vec<_>>(), [3, 7]);
    }

    #[test]
    fn select_reads_bits_below_nfds() {
        let mut set = [0_u8; 128];
        set[..8].copy_from_slice(&(1_u64 << 3 | 1 << 63).to_ne_bytes());
        set[8..16].copy_from_slice(&1_u64.to_ne_bytes());
        assert_eq!(fd_set(&set, 1024).collect::<Vec<_>>(), [3, 63, 64]);
        assert_eq!(fd_set(&set, 4).collect::<Vec<_>>(), [3]);
        assert_eq!(fd_set(&set, 3).count(), 0);
    }

    #[test]
    fn links() {
        assert_eq!(link_target(b"socket:[31009]"), Target::Socket(31009));
        assert_eq!(link_target(b"anon_inode:[eventpoll]"), Target::Epoll);
        assert_eq!(link_target(b"anon_inode:[io_uring]"), Target::Ring);
        assert_eq!(link_target(b"socket:[]"), Target::Other);
        assert_eq!(link_target(b"/tmp/socket:[1]"), Target::Other);
    }
}
