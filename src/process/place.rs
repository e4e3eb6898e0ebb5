//! The one module of the crate with `unsafe` in it: system calls for which neither std, nor
//! rustix, nor nix has a safe form. Each is wrapped so that no caller can misuse it.
//!
//! * descriptors at exact numbers, and close-on-exec for all above them: both act on numbers that
//!   nobody here owns (what leaked into the master from its own parent), so they have no `BorrowedFd`;
//! * all signals back to their default action (`sigaction` is unsafe because of the handler that
//!   it may install; none is installed here);
//! * `pidfd_send_signal` with flags and with any signal number (rustix takes neither flags nor
//!   real-time signals, and signal 0 not at all);
//! * descriptors that the image before this one left open over its execve: whose they are is written nowhere but in the list
//!   that it left, too;
//! * `PIDFD_GET_INFO`, for how a process ended that is nobody's child here.
//!
#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;
use rustix::io::fcntl_dupfd_cloexec;

/// The last signal number of Linux (signal(7): 1 to 31 and the real-time ones up to 64).
const SIGNAL_MAX: i32 = 64;

/// The number of the first descriptor that is passed (sd_listen_fds(3)).
const FIRST: RawFd = 3;

/// Puts `passed` at the numbers 3, 4, … to be inherited, whatever was there, and marks everything above close-on-exec.
/// `kept` is given back at other numbers, still close-on-exec.
///
/// For the launcher alone: the calling process has one thread, and every descriptor that it owns is 2 or less, in one
/// of the arguments, or above the numbers that are filled. So whatever else is there is nobody's: it leaked in.
///
/// # Errors
/// EMFILE when the limit of open files leaves no room: twice the number passed is needed.
pub(super) fn place<const N: usize>(
    passed: Vec<OwnedFd>,
    kept: [OwnedFd; N],
) -> io::Result<[OwnedFd; N]> {
    let end = RawFd::try_from(passed.len())
        .ok()
        .and_then(|n| n.checked_add(FIRST));
    let end = end.ok_or(io::ErrorKind::InvalidInput)?;
    // Out of the way first, each closed where it was as soon as it is moved.
    let move_up = |fd: OwnedFd| fcntl_dupfd_cloexec(&fd, end);
    let kept = kept
        .into_iter()
        .map(move_up)
        .collect::<Result<Vec<_>, _>>()?;
    let passed = passed
        .into_iter()
        .map(move_up)
        .collect::<Result<Vec<_>, _>>()?;
    for (number, fd) in (FIRST..end).zip(&passed) {
        // SAFETY: what was in `kept` and `passed` is at `end` or above now, and so is everything else that this process
        // owns above 2, so nothing that is owned or borrowed has this number: what dup2 closes there is
        // nobody's. What it opens there is left to the program that is executed next.
        if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    drop(passed);
    close_on_exec_from(end)?;
    // Cannot fail: as many came as went.
    <[OwnedFd; N]>::try_from(kept).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Owns descriptors that were open when this process executed its program, with close-on-exec set again.
///
/// For the beginning of `main` alone, with numbers that the image before this one wrote down: it owned them, closed none
/// after that, and nothing here has been opened yet. A number that is 2 or less or comes twice is refused.
///
/// # Errors
/// EBADF for one that is not open, `InvalidInput` for one that is refused; nothing is owned, or closed, then.
pub(super) fn adopt(numbers: &[RawFd]) -> io::Result<Vec<OwnedFd>> {
    let mut seen = std::collections::BTreeSet::new();
    for number in numbers {
        if *number <= 2 || !seen.insert(*number) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: only the flags of the number are read and set; a number that is not open gives EBADF.
        let flags = unsafe { libc::fcntl(*number, libc::F_SETFD, libc::FD_CLOEXEC) };
        if flags < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: each number is open, as was just seen, is above those that the standard library uses, comes once, and is owned by
    // nobody in this image: it was open before `main` began, and whoever calls this calls it first.
    let own = |number: &RawFd| unsafe { OwnedFd::from_raw_fd(*number) };
    Ok(numbers.iter().map(own).collect())
}

/// Sets close-on-exec on every open descriptor whose number is `first` or more (close_range(2)
/// with CLOSE_RANGE_CLOEXEC, Linux 5.11; one by one before that).
///
/// # Errors
/// What the kernel says; a kernel before 5.11 also needs `/proc/self/fd`.
fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    let Ok(start) = u32::try_from(first) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // SAFETY: no memory is passed, and no descriptor is closed or made to mean another file, so
    // nothing that owns or borrows one is affected. The flag acts only at an execve of this process.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            libc::c_ulong::from(start),
            libc::c_ulong::from(u32::MAX),
            libc::c_ulong::from(libc::CLOSE_RANGE_CLOEXEC),
        )
    };
    if done == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL) => one_by_one(first),
        _ => Err(error),
    }
}

/// [`close_on_exec_from`] for kernels that cannot do it in one call.
fn one_by_one(first: RawFd) -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|n| n.parse::<RawFd>().ok()) else {
            continue;
        };
        if number < first {
            continue;
        }
        // SAFETY: as above: only the close-on-exec flag of the number is set. A number that was
        // closed meanwhile gives EBADF, which is no fault here.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Gives every signal its default action, so that none that this process ignores stays ignored in
/// the program that it executes next (execve(2): ignored signals stay ignored).
///
/// By the system call itself: glibc's wrappers refuse 32 and 33, which its own posix_spawn(3) leaves ignored.
pub(super) fn default_signal_actions() {
    // The kernel's own `struct sigaction`, all zero: SIG_DFL, no flags, no restorer, an empty mask. It has 32 bytes
    // or fewer on every architecture.
    let default = [0_u64; 4];
    for signal in 1..=SIGNAL_MAX {
        // SAFETY: the kernel reads at most the 32 bytes of `default` and writes nothing back (the third argument is
        // null). SIG_DFL installs no handler, so no code of ours can run in a signal context. For SIGKILL
        // and SIGSTOP the call fails and changes nothing.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
}

/// pidfd_send_signal(2) with `flags` as they are. Signal 0 only asks whether there is anyone.
///
/// # Errors
/// ESRCH when the process (or the group) is gone, EPERM, EINVAL for an unknown signal or flag.
pub(super) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32, flags: u32) -> io::Result<()> {
    // SAFETY: the descriptor is open while it is borrowed; the siginfo pointer may be null
    // (pidfd_send_signal(2): the kernel then fills it in as kill(2) does); no memory is written.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            flags,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `struct pidfd_info` of linux/pidfd.h, as it first was: its size is part of the request's number.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    /// pid, tgid and ppid, then four pairs of uid and gid.
    ids: [u32; 11],
    exit_code: i32,
}

/// PIDFD_INFO_EXIT: how it ended is asked for, and known.
const INFO_EXIT: u64 = 1 << 3;
/// PIDFD_GET_INFO: _IOWR(0xff, 11, struct pidfd_info).
const GET_INFO: u32 = 3 << 30 | (size_of::<PidfdInfo>() as u32) << 16 | 0xff << 8 | 11;

/// How a process ended and was reaped, as wait(2) gives it (ioctl(2) PIDFD_GET_INFO, Linux 6.15); none where the kernel does
/// not know that, or not yet.
pub(super) fn pidfd_exit_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = PidfdInfo {
        mask: INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the descriptor is open while it is borrowed; the kernel writes no more bytes behind the pointer than the number of the
    // request says, which is the size of `info`; every value of its fields is valid.
    let done = unsafe {
        libc::ioctl(
            pidfd.as_raw_fd(),
            libc::Ioctl::from(GET_INFO),
            std::ptr::from_mut(&mut info),
        )
    };
    (done == 0 && info.mask & INFO_EXIT != 0).then_some(info.exit_code)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};

    use super::*;

    /// High numbers, so that no other test of this process is touched.
    fn leaky(number: RawFd) -> std::os::fd::OwnedFd {
        let file = File::open("/dev/null").unwrap();
        let fd = fcntl_dupfd_cloexec(&file, number).unwrap();
        fcntl_setfd(&fd, FdFlags::empty()).unwrap();
        fd
    }

    #[test]
    fn f05_a_range_gets_close_on_exec_in_one_call_or_one_by_one() {
        for set in [close_on_exec_from, one_by_one] {
            let (below, above) = (leaky(600), leaky(700));
            set(650).unwrap();
            assert_eq!(fcntl_getfd(&below).unwrap(), FdFlags::empty());
            assert_eq!(fcntl_getfd(&above).unwrap(), FdFlags::CLOEXEC);
        }
    }

    #[test]
    fn a_negative_number_is_refused() {
        assert!(close_on_exec_from(-1).is_err());
    }
}
