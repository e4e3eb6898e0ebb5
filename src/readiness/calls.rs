//! System call numbers that can wait on a listener.
//!
//! Sources: `arch/x86/entry/syscalls/syscall_64.tbl` and
//! `include/uapi/asm-generic/unistd.h` (aarch64, riscv64, loongarch64) of Linux.

use super::evidence::How;

/// What a system call number means to the observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A call that can wait on a listener.
    Waits(How),
    /// `io_uring_enter(2)`: may wait on anything.
    Ring,
    /// `restart_syscall(2)`: a call that a stop and continue interrupted (`poll(2)` is one);
    /// the arguments are still those of the first call.
    Restarted,
    /// Anything else.
    Other,
}

/// The meaning of a number on the processor that this was compiled for; `None`: not known here.
pub(super) fn native(number: i64) -> Option<Meaning> {
    #[cfg(target_arch = "x86_64")]
    let meaning = Some(x86_64(number));
    #[cfg(any(
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "loongarch64"
    ))]
    let meaning = Some(generic(number));
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "loongarch64"
    )))]
    let meaning = {
        let _ = number;
        None
    };
    meaning
}

#[cfg(any(test, target_arch = "x86_64"))]
fn x86_64(number: i64) -> Meaning {
    match number {
        0 => Meaning::Waits(How::Read),
        7 => Meaning::Waits(How::Poll),
        23 => Meaning::Waits(How::Select),
        43 => Meaning::Waits(How::Accept),
        45 => Meaning::Waits(How::Recvfrom),
        47 => Meaning::Waits(How::Recvmsg),
        219 => Meaning::Restarted,
        232 => Meaning::Waits(How::EpollWait),
        270 => Meaning::Waits(How::Pselect6),
        271 => Meaning::Waits(How::Ppoll),
        281 => Meaning::Waits(How::EpollPwait),
        288 => Meaning::Waits(How::Accept4),
        299 => Meaning::Waits(How::Recvmmsg),
        426 => Meaning::Ring,
        441 => Meaning::Waits(How::EpollPwait2),
        _ => Meaning::Other,
    }
}

#[cfg(any(
    test,
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64"
))]
fn generic(number: i64) -> Meaning {
    match number {
        22 => Meaning::Waits(How::EpollPwait),
        63 => Meaning::Waits(How::Read),
        72 => Meaning::Waits(How::Pselect6),
        73 => Meaning::Waits(How::Ppoll),
        128 => Meaning::Restarted,
        202 => Meaning::Waits(How::Accept),
        207 => Meaning::Waits(How::Recvfrom),
        212 => Meaning::Waits(How::Recvmsg),
        242 => Meaning::Waits(How::Accept4),
        243 => Meaning::Waits(How::Recvmmsg),
        426 => Meaning::Ring,
        441 => Meaning::Waits(How::EpollPwait2),
        _ => Meaning::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_know_accept4_and_epoll_pwait2() {
        assert_eq!(x86_64(288), Meaning::Waits(How::Accept4));
        assert_eq!(generic(242), Meaning::Waits(How::Accept4));
        assert_eq!(x86_64(441), generic(441));
        assert_eq!(x86_64(-1), Meaning::Other);
        assert_eq!(generic(i64::MAX), Meaning::Other);
        assert!(
            native(202).is_some(),
            "tests run on a processor with a table"
        );
    }
}
