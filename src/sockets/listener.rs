//! One bound socket with a name.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use socket2::{SockRef, Socket};

use super::address::Local;
use super::adoption::{self, Adoption};
use super::arrange::Member;
use super::diag::Family;
use super::error::Fault;
use super::flags::{FlagChange, Flags};
use super::unix_path::{self, OwnedPath};
use super::{inet, options};
use crate::config::{Address, Listen};

/// Who bound a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// this process
    Bound,
    /// systemd, which passed it by `LISTEN_FDS`
    Systemd,
}

/// A bound socket with a name. Its descriptor has close-on-exec set; dropping it closes that, but
/// removes no path: [`Listener::close`] does.
#[derive(Debug)]
pub struct Listener {
    number: u64,
    /// The entry as the config has it, where the socket really is so.
    wish: Listen,
    /// The same as a repair has to give it back.
    entry: Listen,
    fd: OwnedFd,
    inode: u64,
    local: Local,
    datagram: bool,
    origin: Origin,
    flags: Flags,
    owned: Option<OwnedPath>,
    keep_dir: Option<PathBuf>,
    trouble: Option<String>,
}

/// The number of the listener that is opened next.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What of a listener nobody sees from outside, for who keeps it.
pub(super) struct Parts<'a> {
    pub(super) entry: &'a Listen,
    pub(super) owned: Option<&'a OwnedPath>,
    pub(super) keep_dir: Option<&'a Path>,
}

/// A new socket for a listener whose old one is beyond repair.
pub(super) struct Replacement {
    fd: OwnedFd,
    owned: Option<OwnedPath>,
}

impl Listener {
    /// Takes a socket that is bound, for the entry as which it is known from now on.
    pub(super) fn new(
        mut entry: Listen,
        fd: OwnedFd,
        local: Local,
        datagram: bool,
        origin: Origin,
    ) -> io::Result<Self> {
        let inode = rustix::fs::fstat(&fd)?.st_ino;
        let flags = Flags::of(&fd)?;
        let wish = entry.clone();
        if let Local::Tcp(SocketAddr::V6(_)) | Local::Udp(SocketAddr::V6(_)) = local {
            // As it is, so that a replacement takes the same families.
            entry.only_v6 = SockRef::from(&fd).only_v6().ok();
        }
        let (owned, keep_dir) = (None, None);
        Ok(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            wish,
            entry,
            fd,
            inode,
            local,
            datagram,
            origin,
            flags,
            owned,
            keep_dir,
            trouble: None,
        })
    }

    /// The same with a unix path of ours.
    pub(super) fn with_path(mut self, owned: OwnedPath, keep_dir: Option<&Path>) -> Self {
        self.local = Local::Unix(owned.path().to_owned());
        self.owned = Some(owned);
        self.keep_dir = keep_dir.map(Path::to_owned);
        self
    }

    /// What the config asked for, where the socket is not just that.
    pub(super) fn wished(mut self, wish: Listen) -> Self {
        self.wish = wish;
        self
    }

    /// The same under the number that it had before.
    pub(super) fn numbered(mut self, number: u64) -> Self {
        self.number = number;
        NEXT.fetch_max(number.saturating_add(1), Ordering::Relaxed);
        self
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        Parts {
            entry: &self.entry,
            owned: self.owned.as_ref(),
            keep_dir: self.keep_dir.as_deref(),
        }
    }

    /// One for each socket that was ever opened here: names may be given anew.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// It as the config sees it.
    pub fn member(&self) -> Member {
        Member {
            number: self.number,
            entry: self.wish.clone(),
        }
    }

    /// The config's entry, as far as it is in force.
    pub(super) fn wish(&self) -> &Listen {
        &self.wish
    }

    /// Whether it is bound exactly where `wanted` asks for; host names are not looked up.
    pub(super) fn is_at(&self, wanted: &Address) -> bool {
        let dual_stack = SockRef::from(&self.fd).only_v6().is_ok_and(|only| !only);
        self.local.is(wanted, dual_stack)
    }

    /// From now on it goes by the name and the address of this entry.
    pub fn rename(&mut self, entry: &Listen) {
        for known in [&mut self.wish, &mut self.entry] {
            known.name.clone_from(&entry.name);
            known.address = entry.address.clone();
        }
    }

    /// Takes from the entry what a socket that workers share can take: its backlog, and the owner and the permissions
    /// of its path.
    pub fn adopt(&mut self, entry: &Listen) -> Adoption {
        let mut adoption = Adoption::default();
        let (name, address) = (self.wish.name.clone(), self.wish.address.clone());
        let wish = Listen {
            name,
            address,
            ..entry.clone()
        };
        let before = std::mem::replace(&mut self.wish, wish);
        self.entry.ready = entry.ready;
        if before.backlog != entry.backlog {
            self.entry.backlog = entry.backlog;
            if !self.datagram {
                let change = format!("backlog {} to {}", before.backlog, entry.backlog);
                match self.requeue() {
                    true => adoption.applied.push(change),
                    false => adoption
                        .refused
                        .push(format!("{change}: refused by listen(2)")),
                }
            }
        }
        let ownership = |it: &Listen| (it.mode, it.user.clone(), it.group.clone());
        if ownership(&before) != ownership(entry) {
            (self.entry.mode, self.entry.user, self.entry.group) = ownership(entry);
            match self.owned.as_ref().map(|owned| owned.reown(entry)) {
                Some(Ok(())) => adoption.applied.extend(adoption::ownership(&before, entry)),
                Some(Err(fault)) => adoption.refused.push(fault.to_string()),
                None => {}
            }
        }
        adoption
    }

    /// Its name, unique among those that one generation has.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// Where it really is bound, as it would be written in the config: port 0 is resolved, a host
    /// name is an address, `:PORT` is `[::]:PORT` or `0.0.0.0:PORT`.
    pub fn address(&self) -> String {
        self.local.to_string()
    }

    /// The port, for TCP and UDP.
    pub fn port(&self) -> Option<u16> {
        self.local.port()
    }

    /// Where a client reaches it, for TCP and UDP.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self.local {
            Local::Tcp(at) | Local::Udp(at) => Some(at),
            Local::Unix(_) | Local::Abstract(_) | Local::Nowhere => None,
        }
    }

    /// The descriptor. It changes only when a [`Watch`](super::Watch) reports
    /// [`Replaced`](super::RepairKind::Replaced).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The inode of the socket, as in `/proc/PID/fd` (`socket:[INODE]`).
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// A datagram socket: no queue of connections, no accept.
    pub fn is_datagram(&self) -> bool {
        self.datagram
    }

    /// Whether a worker has to wait on it to count as ready (`ready` of the entry).
    pub fn counts_for_ready(&self) -> bool {
        self.entry.ready
    }

    /// Who bound it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How many connections may wait; the kernel caps it at `net.core.somaxconn`. As the config
    /// says, or as systemd made it; 0 where nothing connects.
    pub fn backlog(&self) -> u32 {
        if self.is_datagram() {
            return 0;
        }
        self.entry.backlog
    }

    /// In which of the kernel's tables its backlog stands; none where it has none. The inner none
    /// is for unix sockets.
    pub(super) fn table(&self) -> Option<Option<Family>> {
        match self.local {
            Local::Tcp(SocketAddr::V4(_)) => Some(Some(Family::V4)),
            Local::Tcp(SocketAddr::V6(_)) => Some(Some(Family::V6)),
            Local::Unix(_) | Local::Abstract(_) if !self.datagram => Some(None),
            _ => None,
        }
    }

    /// Gives a socket that listens the backlog that it should have.
    pub(super) fn requeue(&self) -> bool {
        match self.local {
            Local::Tcp(_) => self.relisten().is_ok(),
            _ => SockRef::from(&self.fd)
                .listen(options::backlog(&self.entry))
                .is_ok(),
        }
    }

    /// What a person should know about overlapping generations on this listener (FAILURES 12).
    pub fn overlap_note(&self) -> Option<&'static str> {
        self.datagram.then_some(
            "datagrams: during an upgrade the old and the new generation read from one socket, and \
             each datagram reaches either of them; protocols with state (QUIC, DTLS) lose it",
        )
    }

    /// Why it does not work and could not be mended, as a [`Watch`](super::Watch) found last; none while it does.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    pub(super) fn set_trouble(&mut self, trouble: Option<String>) {
        self.trouble = trouble;
    }

    /// What a worker changed on the open file description that all generations share (FAILURES 4):
    /// one change a call, each reported once; call until `None`. Nothing is put back: that would
    /// change it under the worker that wanted it so.
    pub fn flags_changed(&mut self) -> Option<FlagChange> {
        let now = Flags::of(&self.fd).ok()?;
        self.flags.next_change(&now, self.name().to_owned())
    }

    /// Whether a worker set O_NONBLOCK, as far as [`Listener::flags_changed`] saw: the config did not.
    pub fn was_made_nonblocking(&self) -> bool {
        self.flags.nonblocking() && !self.entry.nonblocking
    }

    /// Closes it and removes its unix path, but only where that still is this very socket.
    ///
    /// # Errors
    /// What unlink(2) says; the socket is closed all the same.
    pub fn close(self) -> io::Result<()> {
        self.owned.map_or(Ok(()), OwnedPath::remove)
    }

    pub(super) fn local(&self) -> &Local {
        &self.local
    }

    pub(super) fn owned_path(&self) -> Option<&OwnedPath> {
        self.owned.as_ref()
    }

    /// Whether someone who holds the socket shut it down (FAILURES 3).
    ///
    /// A TCP listener becomes an unconnected socket (EPOLLHUP, SO_ACCEPTCONN 0); a unix one still
    /// says that it listens and reports EPOLLRDHUP; so does a datagram socket.
    pub(super) fn is_shut_down(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::RDHUP)];
        let hung = match poll(&mut fds, Some(&Timespec::default())) {
            Ok(_) => fds[0]
                .revents()
                .intersects(PollFlags::HUP | PollFlags::RDHUP),
            Err(_) => false,
        };
        hung || matches!(self.local, Local::Tcp(_))
            && sockopt::socket_acceptconn(&self.fd).is_ok_and(|listens| !listens)
    }

    /// Makes the same TCP socket listen again, and verifies that it is where it was.
    pub(super) fn relisten(&self) -> Result<(), String> {
        let Local::Tcp(at) = self.local else {
            return Err("only a TCP socket can listen again".to_owned());
        };
        let socket = SockRef::from(&self.fd);
        socket
            .listen(options::backlog(&self.entry))
            .map_err(|e| format!("listen: {e}"))?;
        match Local::of(&self.fd, false) {
            Ok(now) if now == self.local => Ok(()),
            Ok(now) => {
                // Bound by somebody to port 0: better closed than somewhere else.
                let _ = socket.shutdown(std::net::Shutdown::Both);
                Err(format!("it would listen on {now} and not on {at}"))
            }
            Err(error) => Err(format!("getsockname: {error}")),
        }
    }

    /// Binds a new socket to the same address, beside the broken one that workers still hold.
    pub(super) fn replacement(&self) -> Result<Replacement, Fault> {
        let mut warnings = Vec::new();
        let (socket, owned) = match &self.local {
            Local::Tcp(at) => (self.inet_replacement(*at, &mut warnings)?, None),
            Local::Udp(at) => (self.inet_replacement(*at, &mut warnings)?, None),
            Local::Unix(path) if self.owned.is_some() => {
                let keep_dir = self.keep_dir.as_deref();
                let (socket, owned) = unix_path::open(&self.entry, path, keep_dir, &mut warnings)?;
                (socket, Some(owned))
            }
            Local::Unix(_) | Local::Abstract(_) | Local::Nowhere => {
                return Err(Fault::Irreplaceable(match self.origin {
                    Origin::Bound => {
                        "an abstract name stays taken while a worker holds it; stop \
                                      the service and start it, or use a path"
                    }
                    Origin::Systemd => "systemd bound it; restart its .socket unit and the service",
                }));
            }
        };
        Ok(Replacement {
            fd: socket.into(),
            owned,
        })
    }

    /// Puts the replacement in the place of the old socket, which is closed here.
    pub(super) fn replace(&mut self, new: Replacement) -> io::Result<()> {
        self.inode = rustix::fs::fstat(&new.fd)?.st_ino;
        self.flags = Flags::of(&new.fd)?;
        self.fd = new.fd;
        self.owned = new.owned;
        Ok(())
    }

    fn inet_replacement(
        &self,
        at: SocketAddr,
        warnings: &mut Vec<String>,
    ) -> Result<Socket, Fault> {
        if !self.datagram {
            return inet::open_at(&self.entry, at, false, warnings);
        }
        inet::open_beside(&self.entry, at, &SockRef::from(&self.fd), warnings)
    }
}
