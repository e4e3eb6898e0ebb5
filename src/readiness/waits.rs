//! Which listeners does a blocked call wait on?

use std::fmt::Write as _;
use std::os::fd::BorrowedFd;

use super::evidence::How;
use super::procfs::{Fault, Reader};
use super::proctext::{self, Frame, Target};

/// Sets within sets, as libraries that embed another's loop make them.
const NESTING_MAX: usize = 2;
/// Members of one set that are not sockets and may be sets themselves.
const NESTED_MAX: usize = 16;
/// Entries of a `poll(2)` array that are read.
const POLL_MAX: usize = 4096;
/// Descriptors of one call whose links are read.
const LINKS_MAX: usize = 256;

/// What a listener's inode is compared with, for all looks of an observer.
#[derive(Debug)]
pub(super) struct Targets {
    /// Inode, and whether it is a datagram socket, in the order wanted.
    pub(super) sockets: Vec<(u64, bool)>,
    /// The device that socket inodes belong to, as fdinfo shows it.
    pub(super) device: Option<u64>,
}

/// What one call was found to wait on.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Index into [`Targets::sockets`], and whether it is registered edge-triggered.
    pub(super) listeners: Vec<(usize, bool)>,
    /// It waits on an io_uring, which may wait on anything.
    pub(super) ring: bool,
}

/// A thread's descriptors, through its own `/proc/PID/task/TID` (tables may be unshared).
pub(super) struct Place<'a> {
    pub(super) task: BorrowedFd<'a>,
    pub(super) tid: i32,
    pub(super) reader: &'a mut Reader,
    pub(super) targets: &'a Targets,
}

impl Targets {
    fn index(&self, inode: u64) -> Option<usize> {
        self.sockets.iter().position(|&(wanted, _)| wanted == inode)
    }
}

impl Place<'_> {
    /// What `frame`, known to be a call of kind `how`, waits on.
    pub(super) fn waits(&mut self, how: How, frame: &Frame) -> Result<Found, Fault> {
        let mut found = Found::default();
        match how {
            How::EpollWait | How::EpollPwait | How::EpollPwait2 => {
                self.set(frame.descriptor(), false, 0, &mut found)?;
            }
            How::Accept | How::Accept4 => self.single(frame.descriptor(), false, &mut found)?,
            How::Recvfrom | How::Recvmsg | How::Recvmmsg | How::Read => {
                if self.targets.sockets.iter().any(|&(_, datagram)| datagram) {
                    self.single(frame.descriptor(), true, &mut found)?;
                }
            }
            How::Poll | How::Ppoll => {
                let count = usize::try_from(frame.args[1]).unwrap_or(usize::MAX);
                // More than this is no array of descriptors.
                if count <= POLL_MAX {
                    let bytes = self.memory(frame.args[0], count * 8)?;
                    let fds: Vec<i32> = proctext::poll_array(bytes).take(LINKS_MAX).collect();
                    self.many(&fds, &mut found);
                }
            }
            How::Select | How::Pselect6 => {
                let count = frame.descriptor().clamp(0, 65_536) as usize;
                let bytes = self.memory(frame.args[1], count.div_ceil(64) * 8)?;
                let fds: Vec<i32> = proctext::fd_set(bytes, count).take(LINKS_MAX).collect();
                self.many(&fds, &mut found);
            }
            How::Connection | How::BusyEpoll => {}
        }
        Ok(found)
    }

    fn memory(&mut self, address: u64, length: usize) -> Result<&[u8], Fault> {
        // A null array is a call that waits for nothing but time.
        if address == 0 || length == 0 {
            return Ok(&[]);
        }
        self.reader.memory(self.task, self.tid, address, length)
    }

    /// A call on one descriptor; `datagram` is the only kind that it can wait on.
    fn single(&mut self, fd: i32, datagram: bool, found: &mut Found) -> Result<(), Fault> {
        if let Target::Socket(inode) = self.reader.link(self.task, self.tid, fd)?
            && let Some(index) = self.targets.index(inode)
            && self
                .targets
                .sockets
                .get(index)
                .is_some_and(|socket| socket.1 == datagram)
        {
            found.listeners.push((index, false));
        }
        Ok(())
    }

    /// The descriptors of a `poll(2)` or `select(2)`.
    fn many(&mut self, fds: &[i32], found: &mut Found) {
        for &fd in fds {
            match self.reader.link(self.task, self.tid, fd) {
                Ok(Target::Socket(inode)) => {
                    found
                        .listeners
                        .extend(self.targets.index(inode).map(|index| (index, false)));
                }
                // A loop embedded in another: its set becomes readable.
                Ok(Target::Epoll) => {
                    let _ = self.set(fd, false, 1, found);
                }
                Ok(Target::Ring) => found.ring |= self.ring_may_accept(fd),
                Ok(Target::Other) | Err(_) => {}
            }
        }
    }

    /// The members of an epoll set; `edge` when the set itself is watched edge-triggered.
    pub(super) fn set(
        &mut self,
        epoll: i32,
        edge: bool,
        depth: usize,
        found: &mut Found,
    ) -> Result<(), Fault> {
        let mut nested = Vec::new();
        let mut path = String::with_capacity(24);
        let _ = write!(path, "fdinfo/{epoll}");
        let text = self.reader.once(self.task, self.tid, &path)?;
        for entry in proctext::epoll_entries(text).filter(|entry| entry.is_armed_for_input()) {
            let edge = edge || entry.is_edge_triggered();
            let may_be_socket = entry.device.is_none()
                || self.targets.device.is_none_or(|d| entry.device == Some(d));
            let index = entry
                .inode
                .filter(|_| may_be_socket)
                .and_then(|i| self.targets.index(i));
            if let Some(index) = index {
                found.listeners.push((index, edge));
            } else if (entry.inode.is_none() || entry.device != self.targets.device)
                && nested.len() < NESTED_MAX
            {
                nested.push((entry.fd, edge));
            }
        }
        for (fd, edge) in nested {
            match self.reader.link(self.task, self.tid, fd) {
                Ok(Target::Epoll) if depth < NESTING_MAX => {
                    let _ = self.set(fd, edge, depth + 1, found);
                }
                Ok(Target::Ring) => found.ring |= self.ring_may_accept(fd),
                // Only a kernel that tells no inodes brings sockets here.
                Ok(Target::Socket(inode)) => {
                    found
                        .listeners
                        .extend(self.targets.index(inode).map(|index| (index, edge)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether an io_uring may be what takes the connections: it has a pending accept or
    /// poll (for datagrams: a receive), or the kernel does not tell. Which descriptor an
    /// operation is for is never told, so this is a reason to doubt, not a proof.
    pub(super) fn ring_may_accept(&mut self, ring: i32) -> bool {
        // enum io_uring_op of linux/io_uring.h.
        const POLL_ADD: u8 = 6;
        const RECVMSG: u8 = 10;
        const ACCEPT: u8 = 13;
        const RECV: u8 = 27;
        const EPOLL_WAIT: u8 = 59;
        let mut path = String::with_capacity(24);
        let _ = write!(path, "fdinfo/{ring}");
        let Ok(text) = self.reader.once(self.task, self.tid, &path) else {
            return false;
        };
        let Some(pending) = proctext::ring_operations(text) else {
            return true;
        };
        let datagrams = self.targets.sockets.iter().all(|&(_, datagram)| datagram);
        pending.iter().any(|operation| match *operation {
            POLL_ADD | EPOLL_WAIT => true,
            ACCEPT => !datagrams,
            RECVMSG | RECV => datagrams,
            _ => false,
        })
    }
}
