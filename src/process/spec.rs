//! What the master asks the launcher for, on its way through a memfd (CBOR, numbered fields).
//!
//! Both ends are the same binary, so no version has to be told.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

/// The launcher refuses more: the kernel takes at most 6 MiB of arguments and environment.
const SPEC_MAX: u64 = 64 << 20;

/// One start.
#[derive(Debug, PartialEq, Encode, Decode)]
pub(super) struct Spec {
    #[n(0)]
    pub(super) argv: Vec<ByteVec>,
    /// `NAME=value` each, without LISTEN_*.
    #[n(1)]
    pub(super) env: Vec<ByteVec>,
    /// One for every listener.
    #[n(2)]
    pub(super) names: Vec<String>,
    /// The executable, relative to the directory or absolute.
    #[n(3)]
    pub(super) searched: ByteVec,
    /// The same without symbolic links.
    #[n(4)]
    pub(super) resolved: ByteVec,
    /// It can be executed from its descriptor.
    #[n(5)]
    pub(super) from_descriptor: bool,
    #[n(6)]
    pub(super) limits: Vec<Limit>,
    #[n(7)]
    pub(super) identity: Option<Identity>,
    #[n(8)]
    pub(super) umask: Option<u32>,
    #[n(9)]
    pub(super) no_new_privs: bool,
    /// For messages.
    #[n(10)]
    pub(super) directory: String,
    /// The control group to enter, for messages: its cgroup.procs is the last descriptor that is passed.
    #[n(11)]
    pub(super) group: Option<String>,
    /// Sets LISTEN_*.
    #[n(12)]
    pub(super) announced: bool,
}

/// One resource limit.
#[derive(Debug, PartialEq, Encode, Decode)]
pub(super) struct Limit {
    #[n(0)]
    pub(super) resource: u8,
    #[n(1)]
    pub(super) soft: u64,
    #[n(2)]
    pub(super) hard: u64,
}

/// Whom to become.
#[derive(Debug, PartialEq, Encode, Decode)]
pub(super) struct Identity {
    #[n(0)]
    pub(super) uid: u32,
    #[n(1)]
    pub(super) gid: u32,
    #[n(2)]
    pub(super) groups: Vec<u32>,
    /// For messages: `user "web"`.
    #[n(3)]
    pub(super) label: String,
}

/// Why it did not come to the `execve`.
#[derive(Debug, PartialEq, Encode, Decode)]
pub(super) struct Failure {
    #[n(0)]
    pub(super) step: u8,
    #[n(1)]
    pub(super) errno: i32,
    #[n(2)]
    pub(super) detail: String,
}

impl Spec {
    /// Writes it into a memfd.
    pub(super) fn store(&self) -> io::Result<OwnedFd> {
        let bytes = minicbor::to_vec(self).map_err(io::Error::other)?;
        let mut file = File::from(memfd()?);
        file.write_all(&bytes)?;
        Ok(file.into())
    }

    /// Reads it back.
    pub(super) fn load(memfd: OwnedFd) -> io::Result<Self> {
        let mut file = File::from(memfd);
        let length = file.metadata()?.len();
        file.rewind()?;
        let mut bytes = Vec::new();
        file.take(length.min(SPEC_MAX)).read_to_end(&mut bytes)?;
        minicbor::decode(&bytes)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))
    }
}

/// Not executable where the kernel (6.3) knows the difference: `vm.memfd_noexec = 2` demands it.
fn memfd() -> io::Result<OwnedFd> {
    const NAME: &str = "handover-launch";
    match memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => Ok(memfd_create(NAME, MemfdFlags::CLOEXEC)?),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_comes_back_as_it_went() {
        let spec = Spec {
            argv: vec![b"a".to_vec().into(), b"\xff".to_vec().into()],
            env: vec![b"A=1".to_vec().into()],
            names: vec!["http".to_owned()],
            limits: vec![Limit {
                resource: 9,
                soft: 1,
                hard: u64::MAX,
            }],
            identity: Some(Identity {
                uid: 1,
                gid: 2,
                groups: vec![2, 3],
                label: "user \"web\"".to_owned(),
            }),
            umask: Some(0o27),
            no_new_privs: true,
            searched: b"./srv".to_vec().into(),
            resolved: b"/srv".to_vec().into(),
            from_descriptor: true,
            directory: "/".to_owned(),
            group: Some("/sys/fs/cgroup/web/w-1.0.0".to_owned()),
            announced: true,
        };
        assert_eq!(Spec::load(spec.store().unwrap()).unwrap(), spec);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = minicbor::decode::<Spec>(&bytes);
            let _ = minicbor::decode::<Failure>(&bytes);
        }
    }
}
