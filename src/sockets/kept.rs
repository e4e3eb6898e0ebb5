//! A listener over the end of a master: as bytes, and back with its socket.
//!
//! CBOR (RFC 8949) in maps with numbered keys, whose numbers mean the same for ever.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use rustix::net::SocketType;
use rustix::net::sockopt;

use super::address::Local;
use super::listener::{Listener, Origin};
use super::unix_path::OwnedPath;
use crate::config::{Address, Listen};

#[derive(Encode, Decode)]
#[cbor(map)]
struct Record {
    #[n(0)]
    number: u64,
    #[n(1)]
    wish: Entry,
    #[n(2)]
    entry: Entry,
    #[n(3)]
    inode: u64,
    /// 0: bound by a master, 1: from systemd.
    #[n(4)]
    origin: u8,
    #[n(5)]
    owned: Option<Owned>,
    #[n(6)]
    keep_dir: Option<ByteVec>,
}

/// A unix path: where, its second link, device and inode.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Owned {
    #[n(0)]
    path: ByteVec,
    #[n(1)]
    keep: Option<ByteVec>,
    #[n(2)]
    device: u64,
    #[n(3)]
    inode: u64,
}

/// A [`Listen`]; durations in nanoseconds.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Entry {
    #[n(0)]
    name: String,
    #[n(1)]
    address: String,
    #[n(2)]
    backlog: u32,
    #[n(3)]
    nonblocking: bool,
    #[n(4)]
    ready: bool,
    #[n(5)]
    reuse_port: bool,
    #[n(6)]
    only_v6: Option<bool>,
    #[n(7)]
    nodelay: bool,
    #[n(8)]
    keepalive: Option<u64>,
    #[n(9)]
    receive_buffer: Option<u32>,
    #[n(10)]
    send_buffer: Option<u32>,
    #[n(11)]
    defer_accept: Option<u64>,
    #[n(12)]
    fastopen: Option<u32>,
    #[n(13)]
    freebind: bool,
    #[n(14)]
    transparent: bool,
    #[n(15)]
    mark: Option<u32>,
    #[n(16)]
    mode: Option<u32>,
    #[n(17)]
    user: Option<String>,
    #[n(18)]
    group: Option<String>,
}

/// Why a listener cannot be had again.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The bytes are none of a listener, or say what this version does not know.
    #[error("what is kept of a listener cannot be read")]
    Unreadable,
    /// The socket that was handed on is another one.
    #[error("the socket that was handed on as listener {0} is not the one that it was")]
    OtherSocket(String),
    /// It cannot be looked at.
    #[error("listener {0} cannot be examined: {1}")]
    Io(String, io::Error),
}

impl Listener {
    /// The listener as bytes.
    #[must_use]
    pub fn keep(&self) -> Vec<u8> {
        let parts = self.parts();
        let owned = parts.owned.map(|owned| {
            let (path, keep, (device, inode)) = owned.parts();
            Owned {
                path: bytes(path),
                keep: keep.map(bytes),
                device,
                inode,
            }
        });
        let record = Record {
            number: self.number(),
            wish: entry(self.wish()),
            entry: entry(parts.entry),
            inode: self.inode(),
            origin: match self.origin() {
                Origin::Bound => 0,
                Origin::Systemd => 1,
            },
            owned,
            keep_dir: parts.keep_dir.map(bytes),
        };
        let mut bytes = Vec::new();
        // A vector takes whatever comes.
        drop(minicbor::encode(record, &mut bytes));
        bytes
    }

    /// The listener that [`keep`](Self::keep) gave as `bytes`, with its socket. It has the number that it had, and no other
    /// gets it.
    ///
    /// # Errors
    /// See [`Lost`].
    pub fn recall(bytes: &[u8], fd: OwnedFd) -> Result<Self, Lost> {
        let record: Record = minicbor::decode(bytes).map_err(|_| Lost::Unreadable)?;
        let (wish, entry) = (listen(record.wish)?, listen(record.entry)?);
        let name = wish.name.clone();
        let io = |error| Lost::Io(name.clone(), error);
        let inode = rustix::fs::fstat(&fd)
            .map_err(|errno| io(errno.into()))?
            .st_ino;
        if inode != record.inode {
            return Err(Lost::OtherSocket(name));
        }
        let kind = sockopt::socket_type(&fd).map_err(|errno| io(errno.into()))?;
        let datagram = kind == SocketType::DGRAM;
        let local = Local::of(&fd, datagram).map_err(io)?;
        let origin = match record.origin {
            0 => Origin::Bound,
            1 => Origin::Systemd,
            _ => return Err(Lost::Unreadable),
        };
        let owned = record.owned.map(|owned| {
            let id = (owned.device, owned.inode);
            OwnedPath::of_parts(path(owned.path), owned.keep.map(path), id)
        });
        let listener = Self::new(entry, fd, local, datagram, origin).map_err(io)?;
        let keep_dir = record.keep_dir.map(path);
        let listener = match owned {
            Some(owned) => listener.with_path(owned, keep_dir.as_deref()),
            None => listener,
        };
        Ok(listener.wished(wish).numbered(record.number))
    }
}

fn entry(listen: &Listen) -> Entry {
    Entry {
        name: listen.name.clone(),
        address: listen.address.to_string(),
        backlog: listen.backlog,
        nonblocking: listen.nonblocking,
        ready: listen.ready,
        reuse_port: listen.reuse_port,
        only_v6: listen.only_v6,
        nodelay: listen.nodelay,
        keepalive: listen.keepalive.map(nanos),
        receive_buffer: listen.receive_buffer,
        send_buffer: listen.send_buffer,
        defer_accept: listen.defer_accept.map(nanos),
        fastopen: listen.fastopen,
        freebind: listen.freebind,
        transparent: listen.transparent,
        mark: listen.mark,
        mode: listen.mode,
        user: listen.user.clone(),
        group: listen.group.clone(),
    }
}

fn listen(entry: Entry) -> Result<Listen, Lost> {
    let address = entry
        .address
        .parse::<Address>()
        .map_err(|_| Lost::Unreadable)?;
    Ok(Listen {
        name: entry.name,
        address,
        backlog: entry.backlog,
        nonblocking: entry.nonblocking,
        ready: entry.ready,
        reuse_port: entry.reuse_port,
        only_v6: entry.only_v6,
        nodelay: entry.nodelay,
        keepalive: entry.keepalive.map(Duration::from_nanos),
        receive_buffer: entry.receive_buffer,
        send_buffer: entry.send_buffer,
        defer_accept: entry.defer_accept.map(Duration::from_nanos),
        fastopen: entry.fastopen,
        freebind: entry.freebind,
        transparent: entry.transparent,
        mark: entry.mark,
        mode: entry.mode,
        user: entry.user,
        group: entry.group,
    })
}

fn bytes(path: &Path) -> ByteVec {
    path.as_os_str().as_bytes().to_vec().into()
}

fn path(bytes: ByteVec) -> PathBuf {
    OsString::from_vec(bytes.into()).into()
}

/// 584 years; nothing lasts longer.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
