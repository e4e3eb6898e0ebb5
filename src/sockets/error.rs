//! What can go wrong when a listener is opened, in words for the person who has to mend it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::holder::{self, Holder, Known};

/// A listener could not be opened, or what systemd announced does not hold.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// One listener could not be opened.
    #[error("cannot open listener {listener} ({address}): {fault}")]
    Open {
        /// its name
        listener: String,
        /// its address as configured
        address: String,
        /// why, and what to do
        fault: Fault,
    },
    /// `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES` contradict each other or the descriptors.
    #[error("cannot take the descriptors that LISTEN_FDS announces: {0}")]
    Environment(String),
}

impl SocketError {
    /// Adds what `known` knows of the holders of an address, by PID: this room does not know what a master or a
    /// worker is. Where one of them gave the socket to the others, it alone is named.
    #[must_use]
    pub fn with_known(mut self, known: impl Fn(i32) -> Option<Known>) -> Self {
        let SocketError::Open { fault, .. } = &mut self else {
            return self;
        };
        if let Fault::InUse(holders) | Fault::LivePath { holders, .. } | Fault::LiveName(holders) =
            fault
        {
            for holder in holders.iter_mut() {
                holder.known = holder.pid.and_then(&known);
            }
            let is_origin = |holder: &Holder| holder.known.as_ref().is_some_and(|it| it.is_origin);
            if holders.iter().any(is_origin) {
                holders.retain(is_origin);
            }
        }
        self
    }
}

/// Why one listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// EADDRINUSE
    #[error(
        "the address is in use by {}; {}, or listen on another address",
        holder::list(.0),
        holder::remedy(.0, "stop it")
    )]
    InUse(Vec<Holder>),
    /// EADDRINUSE because of a socket that systemd passed and no entry takes
    #[error(
        "systemd already holds {address} and passes it as {name:?}; \
         write address = \"fd:{name}\" to take it"
    )]
    HeldBySystemd {
        /// its name in LISTEN_FDNAMES
        name: String,
        /// where it is bound
        address: String,
    },
    /// EACCES for a port
    #[error(
        "port {0} is privileged: ports below 1024 need root or CAP_NET_BIND_SERVICE; or let systemd \
         bind it (ListenStream={0} in the .socket unit), or lower net.ipv4.ip_unprivileged_port_start"
    )]
    Privileged(u16),
    /// EADDRNOTAVAIL
    #[error(
        "this machine has no such address (`ip address` lists those it has); if it comes later, \
         set freebind = true"
    )]
    NoSuchAddress,
    /// EAFNOSUPPORT
    #[error("the kernel has no IPv6 here; use an IPv4 address")]
    NoIpv6,
    /// EMFILE, ENFILE
    #[error("{0}: raise LimitNOFILE= of the service, or `ulimit -n`")]
    Descriptors(io::Error),
    /// the host name leads nowhere
    #[error("the host {host:?} cannot be resolved ({why}); write an address instead of a name")]
    Unresolved {
        /// the name
        host: String,
        /// what the resolver said
        why: String,
    },
    /// an option was refused
    #[error("{option} was refused: {error}{}", needs(.option))]
    Option {
        /// the key of the config
        option: &'static str,
        /// what the kernel said
        error: io::Error,
    },
    /// `user` or `group` is unknown here
    #[error("there is no {kind} {name:?} on this machine; create it, or correct `{kind}`")]
    Nobody {
        /// "user" or "group"
        kind: &'static str,
        /// its name
        name: String,
    },
    /// the path does not fit `sun_path`
    #[error(
        "the path has {length} bytes, a unix socket takes at most 107: use a shorter one, for \
         instance in /run"
    )]
    PathTooLong {
        /// in bytes, absolute
        length: usize,
    },
    /// an empty path, or one that ends in `..`
    #[error("{} names no file in a directory", .0.display())]
    NoFileName(PathBuf),
    /// ENOENT
    #[error("there is no directory {}; create it (under systemd: RuntimeDirectory=)", .0.display())]
    NoDirectory(PathBuf),
    /// EACCES, EPERM, EROFS for a path
    #[error("no permission to make a socket in {}: {error}; it must be writable by this user", .directory.display())]
    NotWritable {
        /// where
        directory: PathBuf,
        /// what the kernel said
        error: io::Error,
    },
    /// something else than a socket is at the path
    #[error("{} exists and is not a socket, so it is left alone; remove it, or use another path", .0.display())]
    NotASocket(PathBuf),
    /// another process serves the path
    #[error(
        "{} is served by {}; {}, or use another path",
        .path.display(),
        holder::list(.holders),
        holder::remedy(.holders, "stop it")
    )]
    LivePath {
        /// the path
        path: PathBuf,
        /// who listens there
        holders: Vec<Holder>,
    },
    /// an abstract name is taken
    #[error(
        "the abstract name is in use by {}; {}, or use another name",
        holder::list(.0),
        holder::remedy(.0, "stop it")
    )]
    LiveName(Vec<Holder>),
    /// `fd:NAME`, and nothing of that name came
    #[error("{}", not_inherited(.name, .there))]
    NotInherited {
        /// what the entry asks for
        name: String,
        /// the names that came
        there: Vec<String>,
    },
    /// `fd:NAME` in a config that is read again
    #[error(
        "systemd passed no descriptor named {0:?}, and passes descriptors only when the master starts: restart the \
         service (under systemd: `systemctl restart`, with a .socket unit that has FileDescriptorName={0})"
    )]
    NotPassed(String),
    /// the address overlaps with one that a listener of ours has
    #[error(
        "the address is taken by this service's own listener {listener} ({address}), which goes on until its \
         generation has ended: reload without the one first and with the other afterwards, or restart the service"
    )]
    OurOwn {
        /// its name
        listener: String,
        /// where it is bound
        address: String,
    },
    /// a descriptor came that cannot be served
    #[error("the descriptor that systemd passes as {name:?} is {what}")]
    Unfit {
        /// its name
        name: String,
        /// what it is, and what to do
        what: String,
    },
    /// a broken socket that only its owner can make anew
    #[error("{0}")]
    Irreplaceable(&'static str),
    /// anything else
    #[error("{call}: {error}")]
    Os {
        /// the system call
        call: &'static str,
        /// what it said
        error: io::Error,
    },
}

impl Fault {
    /// For use in `map_err`: the system call that failed, with nothing more to say.
    pub(super) fn os(call: &'static str) -> impl FnOnce(io::Error) -> Fault {
        move |error| match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE) => Fault::Descriptors(error),
            _ => Fault::Os { call, error },
        }
    }

    /// A failure on a path in `directory`.
    pub(super) fn path(call: &'static str, directory: &Path) -> impl FnOnce(io::Error) -> Fault {
        let directory = directory.to_owned();
        move |error| match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR) if !directory.is_dir() => {
                Fault::NoDirectory(directory)
            }
            // ENOENT in a directory that is there: a file system that makes no files (procfs).
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOENT) => {
                Fault::NotWritable { directory, error }
            }
            _ => Fault::os(call)(error),
        }
    }
}

fn needs(option: &str) -> &'static str {
    match option {
        "mark" | "transparent" => "; it needs root or CAP_NET_ADMIN",
        _ => "",
    }
}

fn not_inherited(name: &str, there: &[String]) -> String {
    if there.is_empty() {
        return format!(
            "systemd passes no descriptor at all; is the .socket unit started, with \
             FileDescriptorName={name}?"
        );
    }
    format!(
        "systemd passes no descriptor named {name:?}, but {}; set FileDescriptorName={name} in the \
         .socket unit",
        there
            .iter()
            .map(|n| format!("{n:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    )
}
