//! The journal's native protocol: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.
//!
//! Own code instead of a crate, because it is short, and because what is there
//! cannot be pointed at another socket for tests.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, sendmsg_addr, sendto, socket_with,
};

use super::{Level, Record};

/// Where journald listens, on every system that has one.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// A way to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: OwnedFd,
    address: SocketAddrUnix,
    service: String,
    /// The unit that runs us, if one does.
    unit: Option<String>,
}

impl Journal {
    /// Does not say whether anybody listens there: see [`probe`](Self::probe).
    pub(super) fn new(path: &Path, service: &str, unit: Option<String>) -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok(Self {
            socket,
            address: SocketAddrUnix::new(path)?,
            service: service.to_owned(),
            unit,
        })
    }

    /// Is journald there? It drops an empty datagram.
    pub(super) fn probe(&self) -> io::Result<()> {
        // A full queue is a sign of life.
        match sendto(&self.socket, &[], SendFlags::DONTWAIT, &self.address) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends one entry, and waits while journald is busy.
    pub(super) fn send(&self, record: &Record) -> io::Result<()> {
        let entry = self.entry(record);
        loop {
            match sendto(&self.socket, &entry, SendFlags::NOSIGNAL, &self.address) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                // Larger than a datagram may be: as a sealed file.
                Err(Errno::MSGSIZE | Errno::NOBUFS) => return self.send_large(&entry),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn entry(&self, record: &Record) -> Vec<u8> {
        let (priority, message) = priority(record);
        let mut entry = Vec::with_capacity(256 + message.len());
        put(&mut entry, "MESSAGE", message);
        put(&mut entry, "PRIORITY", &priority.to_string());
        put(&mut entry, "NAME", &self.service);
        // What `journalctl` shows in front of the message. A worker's output stays
        // as it was printed: others may want to parse it.
        match (&record.worker, record.is_output()) {
            (Some(worker), true) => put(
                &mut entry,
                "SYSLOG_IDENTIFIER",
                &format!("{}/{worker}", self.service),
            ),
            _ => put(&mut entry, "SYSLOG_IDENTIFIER", &self.service),
        }
        let generation = record.generation.map(|generation| generation.to_string());
        for (name, value) in [
            ("UNIT", self.unit.as_deref()),
            ("EVENT", record.event.as_deref()),
            ("GENERATION", generation.as_deref()),
            ("WORKER", record.worker.as_deref()),
            ("STREAM", record.stream),
        ] {
            if let Some(value) = value {
                put(&mut entry, name, value);
            }
        }
        entry
    }

    fn send_large(&self, entry: &[u8]) -> io::Result<()> {
        let mut file = File::from(memfd_create(
            "handover-log",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )?);
        file.write_all(entry)?;
        // journald maps only what can no longer change under it.
        fcntl_add_seals(
            &file,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL,
        )?;
        let fds = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg_addr(
            &self.socket,
            &self.address,
            &[IoSlice::new(&[])],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }
}

/// `NAME=value`, or with its length where the value has line breaks.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// The syslog priority, and the message without what said it: as for programs
/// that write to the journal directly, a line may begin with `<3>` (sd-daemon(3)).
fn priority(record: &Record) -> (u8, &str) {
    if record.is_output()
        && let Some((digits, rest)) = record
            .message
            .strip_prefix('<')
            .and_then(|after| after.split_once('>'))
        && let [digit @ b'0'..=b'7'] = digits.as_bytes()
    {
        return (digit - b'0', rest);
    }
    let priority = match record.level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug => 7,
    };
    (priority, &record.message)
}

/// The unit named by `/proc/self/cgroup`: the last part that is a service or a
/// scope. (journald finds it out by itself as `_SYSTEMD_UNIT`; `UNIT` is for
/// those who read fields.)
pub(super) fn unit_of(cgroups: &str) -> Option<String> {
    let path = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .or_else(|| {
            let named = |line: &&str| line.contains(":name=systemd:");
            cgroups.lines().find(named)?.splitn(3, ':').nth(2)
        })?;
    path.rsplit('/')
        .find(|part| part.ends_with(".service") || part.ends_with(".scope"))
        .map(str::to_owned)
}

/// Is this descriptor the one that `JOURNAL_STREAM` (`DEVICE:INODE`) speaks of?
/// The variable is inherited by everything below a unit, also by what has its
/// output redirected; systemd.exec(5).
pub(super) fn is_stream(journal_stream: Option<&str>, fd: impl AsFd) -> bool {
    let Some((dev, ino)) = journal_stream.and_then(|value| value.split_once(':')) else {
        return false;
    };
    rustix::fs::fstat(fd)
        .is_ok_and(|stat| dev.parse() == Ok(stat.st_dev) && ino.parse() == Ok(stat.st_ino))
}
