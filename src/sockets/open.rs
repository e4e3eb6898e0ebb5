//! From the config's entries and what systemd passed to listeners.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use super::address::Local;
use super::error::{Fault, SocketError};
use super::inherit::{Held, Inherited};
use super::listener::{Listener, Origin};
use super::{diag, holder, inet, options, unix_path};
use crate::config::{Address, Listen};

/// Opens every listener, in the order of the config; also gives warnings for the person who
/// started this.
///
/// * `fd:NAME` takes what systemd passes under that name. Where several descriptors have it (a
///   .socket unit with several `ListenStream=`), all are taken: the first becomes the entry's name,
///   the others get `-1`, `-2`, … after it.
/// * Any other entry adopts the socket that systemd passes and that is bound where it asks for;
///   else a new one is bound.
/// * With no entry at all, everything that systemd passes is taken under its own name.
/// * What is passed and nobody takes is closed, with a warning.
///
/// `keep_dir` is a private directory, best on the file system of the unix paths: the second link to
/// each unix socket is kept there (else as a dot file beside it), so that a path which someone
/// removes leads to the same socket again.
///
/// # Errors
/// The first listener that cannot be opened; those opened before are closed again.
pub fn open(
    listen: &[Listen],
    inherited: Inherited,
    keep_dir: Option<&Path>,
) -> Result<(Vec<Listener>, Vec<String>), SocketError> {
    let mut opening = Opening {
        listen,
        inherited,
        keep_dir,
        opened: Vec::new(),
        warnings: Vec::new(),
    };
    match opening.run() {
        Ok(()) => Ok((opening.opened, opening.warnings)),
        Err(error) => {
            for listener in opening.opened {
                // The error that is returned says more than one about a leftover path.
                let _ = listener.close();
            }
            Err(error)
        }
    }
}

/// Binds one more, beside those that serve.
///
/// # Errors
/// Why it cannot be bound; nothing is left of it then.
pub(super) fn open_another(
    entry: &Listen,
    keep_dir: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<Listener, Fault> {
    let mut opening = Opening {
        listen: &[],
        inherited: Inherited::none(),
        keep_dir,
        opened: Vec::new(),
        warnings: Vec::new(),
    };
    let listener = opening.bind(entry)?;
    warnings.append(&mut opening.warnings);
    Ok(listener)
}

struct Opening<'a> {
    listen: &'a [Listen],
    inherited: Inherited,
    keep_dir: Option<&'a Path>,
    opened: Vec<Listener>,
    warnings: Vec<String>,
}

impl Opening<'_> {
    fn run(&mut self) -> Result<(), SocketError> {
        if self.listen.is_empty() {
            return self.take_everything();
        }
        for entry in self.listen {
            self.entry(entry)
                .map_err(|fault| self.error(entry, fault))?;
        }
        self.close_the_rest();
        Ok(())
    }

    fn error(&self, entry: &Listen, fault: Fault) -> SocketError {
        SocketError::Open {
            listener: entry.name.clone(),
            address: entry.address.to_string(),
            fault,
        }
    }

    fn take_everything(&mut self) -> Result<(), SocketError> {
        let entry_of = |name: &str| Listen::new(name, Address::Inherited(name.to_owned()));
        if let Some(unfit) = self.inherited.unfit.pop() {
            let entry = entry_of(&unfit.name);
            return Err(self.error(
                &entry,
                Fault::Unfit {
                    name: unfit.name,
                    what: unfit.what,
                },
            ));
        }
        for held in std::mem::take(&mut self.inherited.held) {
            let mut entry = entry_of(&held.name);
            entry.nonblocking = socket2::SockRef::from(&held.fd)
                .nonblocking()
                .unwrap_or(false);
            entry.name = self.free_name(&held.name);
            // There is no wish to compare it with.
            entry.backlog = backlog_of(&held).unwrap_or(entry.backlog);
            self.take(entry.clone(), held)
                .map_err(|fault| self.error(&entry, fault))?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Listen) -> Result<(), Fault> {
        if let Address::Inherited(name) = &entry.address {
            return self.take_named(entry, name);
        }
        let asked_for: Vec<&str> = self.listen.iter().filter_map(fd_name).collect();
        let adopted = self.inherited.held.iter().position(|held| {
            !asked_for.contains(&held.name.as_str())
                && held.local.serves(&entry.address, held.dual_stack)
        });
        if let Some(index) = adopted {
            let held = self.inherited.held.remove(index);
            return self.take(entry.clone(), held);
        }
        let listener = self
            .bind(entry)
            .map_err(|fault| self.explain(entry, fault))?;
        self.opened.push(listener);
        Ok(())
    }

    fn take_named(&mut self, entry: &Listen, name: &str) -> Result<(), Fault> {
        if let Some(unfit) = self.inherited.unfit.iter().find(|unfit| unfit.name == name) {
            return Err(Fault::Unfit {
                name: name.to_owned(),
                what: unfit.what.clone(),
            });
        }
        let there = self.inherited.names();
        let all = std::mem::take(&mut self.inherited.held);
        let (named, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|h| h.name == name);
        self.inherited.held = rest;
        if named.is_empty() {
            return Err(Fault::NotInherited {
                name: name.to_owned(),
                there,
            });
        }
        for (index, held) in named.into_iter().enumerate() {
            let mut entry = entry.clone();
            if index > 0 {
                entry.name = self.free_name(&entry.name);
            }
            self.take(entry, held)?;
        }
        Ok(())
    }

    /// A socket of systemd's becomes the listener of `entry`. Its options stay as they are: it may
    /// be shared with a process that relies on them (FAILURES 4); what is stale is said (33).
    fn take(&mut self, mut entry: Listen, held: Held) -> Result<(), Fault> {
        self.warnings.extend(stale_options(&entry, &held));
        let wish = entry.clone();
        // Not what the config wishes: what a repair has to give back.
        entry.backlog = backlog_of(&held).unwrap_or(entry.backlog);
        let Held {
            fd,
            local,
            datagram,
            ..
        } = held;
        let listener = Listener::new(entry, fd, local, datagram, Origin::Systemd)
            .map_err(Fault::os("fstat"))?;
        self.opened.push(listener.wished(wish));
        Ok(())
    }

    fn bind(&mut self, entry: &Listen) -> Result<Listener, Fault> {
        let warnings = &mut self.warnings;
        let mut path = None;
        let socket = match &entry.address {
            Address::Tcp(at) => inet::open(entry, at, false, warnings)?,
            Address::Udp(at) => inet::open(entry, at, true, warnings)?,
            Address::Abstract(name) => open_abstract(entry, name, warnings)?,
            Address::Unix(at) => {
                let (socket, owned) = unix_path::open(entry, at, self.keep_dir, warnings)?;
                path = Some(owned);
                socket
            }
            Address::Inherited(name) => {
                let (name, there) = (name.clone(), Vec::new());
                return Err(Fault::NotInherited { name, there });
            }
        };
        let datagram = matches!(entry.address, Address::Udp(_));
        if !datagram {
            warnings.extend(options::backlog_warning(entry));
        }
        let local = Local::of(&socket, datagram).map_err(Fault::os("getsockname"))?;
        let listener = Listener::new(entry.clone(), socket.into(), local, datagram, Origin::Bound)
            .map_err(Fault::os("fstat"))?;
        Ok(match path {
            Some(owned) => listener.with_path(owned, self.keep_dir),
            None => listener,
        })
    }

    /// An address in use may be one that systemd holds for us under a name that no entry takes.
    fn explain(&self, entry: &Listen, fault: Fault) -> Fault {
        let port = match (&fault, &entry.address) {
            (Fault::InUse(_), Address::Tcp(at) | Address::Udp(at)) => at.port,
            _ => return fault,
        };
        let datagram = matches!(entry.address, Address::Udp(_));
        let of_systemd =
            |held: &&Held| held.local.port() == Some(port) && held.datagram == datagram;
        match self.inherited.held.iter().find(of_systemd) {
            Some(held) => Fault::HeldBySystemd {
                name: held.name.clone(),
                address: held.local.to_string(),
            },
            None => fault,
        }
    }

    fn close_the_rest(&mut self) {
        for held in std::mem::take(&mut self.inherited.held) {
            let Held { name, local, .. } = held;
            self.warnings.push(format!(
                "systemd passes {name:?} ({local}) and no [[listen]] takes it: closed here; take it \
                 by address = \"fd:{name}\", or remove it from the .socket unit"
            ));
        }
        for unfit in std::mem::take(&mut self.inherited.unfit) {
            self.warnings.push(format!(
                "systemd passes {:?}, which is {}; it is not used",
                unfit.name, unfit.what
            ));
        }
    }

    /// `base`, or that with the first number that nobody else has.
    fn free_name(&self, base: &str) -> String {
        let taken = |name: &str| {
            self.opened.iter().any(|l| l.name() == name)
                || self.listen.iter().any(|e| e.name == name)
        };
        let numbered = (1..).map(|n: u32| format!("{base}-{n}"));
        std::iter::once(base.to_owned())
            .chain(numbered)
            .find(|name| !taken(name))
            .unwrap_or_else(|| base.to_owned())
    }
}

fn fd_name(entry: &Listen) -> Option<&str> {
    match &entry.address {
        Address::Inherited(name) => Some(name),
        _ => None,
    }
}

/// What the entry asks for and the socket, made by another, has not.
fn stale_options(entry: &Listen, held: &Held) -> Vec<String> {
    let mut stale = Vec::new();
    let mut say = |what: String| {
        stale.push(format!(
            "listener {} ({}) comes from systemd {what} and restart that (a service restart keeps \
             the socket as it is)",
            entry.name, held.local
        ));
    };
    let socket = socket2::SockRef::from(&held.fd);
    if entry.nonblocking && socket.nonblocking().is_ok_and(|nonblocking| !nonblocking) {
        say("in blocking mode: set NonBlocking=yes in the .service unit".to_owned());
    }
    if entry.reuse_port && socket.reuse_port().is_ok_and(|reuse| !reuse) {
        say("without SO_REUSEPORT: set ReusePort=yes in the .socket unit".to_owned());
    }
    if entry.only_v6 == Some(true) && held.dual_stack {
        say("for both families: set BindIPv6Only=ipv6-only in the .socket unit".to_owned());
    }
    if let Some(backlog) = backlog_of(held)
        && backlog < entry.backlog.min(options::somaxconn())
    {
        say(format!(
            "with a backlog of {}, not {}: set Backlog={} in the .socket unit",
            backlog, entry.backlog, entry.backlog
        ));
    }
    stale
}

fn backlog_of(held: &Held) -> Option<u32> {
    let inode = rustix::fs::fstat(&held.fd).ok()?.st_ino;
    let inet = held.local.port().is_some();
    let queue = diag::queue_of_inode(inode, held.datagram, inet).ok()??;
    (!held.datagram).then_some(queue.backlog)
}

fn open_abstract(entry: &Listen, name: &[u8], warnings: &mut Vec<String>) -> Result<Socket, Fault> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(Fault::os("socket"))?;
    let nonblocking = socket.set_nonblocking(entry.nonblocking);
    nonblocking.map_err(|error| Fault::Option {
        option: "nonblocking",
        error,
    })?;
    options::buffers(entry, &socket, warnings)?;
    let full = [b"\0", name].concat();
    let address =
        SockAddr::unix(std::ffi::OsStr::from_bytes(&full)).map_err(Fault::os("unix address"))?;
    socket
        .bind(&address)
        .map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::ADDRINUSE) => Fault::LiveName(holder::of_abstract(name)),
            _ => Fault::os("bind")(error),
        })?;
    socket
        .listen(options::backlog(entry))
        .map_err(Fault::os("listen"))?;
    Ok(socket)
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "adopt_tests.rs"]
mod adopt_tests;
