//! A config that is read again, beside listeners that serve: which are kept, which are bound anew.

use std::path::Path;

use super::error::{Fault, SocketError};
use super::listener::{Listener, Origin};
use super::open::open_another;
use crate::config::{Address, Host, Listen};

/// What the entries of a config stand for.
#[derive(Debug)]
pub struct Arrangement {
    /// The listeners, in the order of the config.
    pub members: Vec<Member>,
    /// The entries of the config, each as its listeners have it.
    pub entries: Vec<Listen>,
    /// Those that were bound for it.
    pub added: Vec<Listener>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// A listener as a config sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// See [`Listener::number`].
    pub number: u64,
    /// The entry as it is in force: options that are set once, when a socket is made, are as they were then.
    pub entry: Listen,
}

/// Finds the listener of each entry among those that are open, and binds those that are not there.
///
/// A listener is the entry's when it was made for the same address, or is bound exactly there; so an entry that
/// only changes its name keeps its socket, and one that changes its address gets another. Nothing of what is open
/// is changed here. `keep_dir` is as for [`open`](super::open).
///
/// # Errors
/// The first entry that cannot be had; what was bound for others is closed again.
pub fn arrange(
    listen: &[Listen],
    open: &[Listener],
    keep_dir: Option<&Path>,
) -> Result<Arrangement, SocketError> {
    let mut arranging = Arranging {
        listen,
        open,
        keep_dir,
        found: Vec::new(),
        added: Vec::new(),
        warnings: Vec::new(),
    };
    if let Err(error) = arranging.run() {
        arranging.take_back();
        return Err(error);
    }
    Ok(Arrangement {
        members: arranging.members(),
        entries: arranging.entries(),
        added: arranging.added,
        warnings: arranging.warnings,
    })
}

impl Arrangement {
    /// Closes what was bound for it.
    pub fn take_back(self) {
        for listener in self.added {
            // Whoever takes it back has something worse to tell.
            let _ = listener.close();
        }
    }
}

struct Arranging<'a> {
    listen: &'a [Listen],
    open: &'a [Listener],
    keep_dir: Option<&'a Path>,
    /// For each entry its listeners, by number; several for an `fd:NAME` that stands for several.
    found: Vec<Vec<u64>>,
    added: Vec<Listener>,
    warnings: Vec<String>,
}

impl Arranging<'_> {
    fn run(&mut self) -> Result<(), SocketError> {
        self.found = vec![Vec::new(); self.listen.len()];
        // A name that stayed decides between two of the same address (port 0 is one).
        self.look(|entry, held| entry.name == held.wish().name && asks_for(entry, held));
        self.look(asks_for);
        self.look(|entry, held| held.is_at(&entry.address));
        for index in 0..self.listen.len() {
            let entry = &self.listen[index];
            if self.found[index].is_empty() {
                let listener = self.bind(entry).map_err(|fault| SocketError::Open {
                    listener: entry.name.clone(),
                    address: entry.address.to_string(),
                    fault,
                })?;
                self.found[index].push(listener.number());
                self.added.push(listener);
            }
        }
        Ok(())
    }

    fn look(&mut self, fits: impl Fn(&Listen, &Listener) -> bool) {
        for (index, entry) in self.listen.iter().enumerate() {
            let inherited = matches!(entry.address, Address::Inherited(_));
            for held in self.open {
                let enough = !inherited && !self.found[index].is_empty();
                let taken = self.found.iter().flatten().any(|it| *it == held.number());
                if !enough && !taken && fits(entry, held) {
                    self.found[index].push(held.number());
                }
            }
        }
    }

    fn bind(&mut self, entry: &Listen) -> Result<Listener, Fault> {
        match &entry.address {
            Address::Inherited(name) => return Err(Fault::NotPassed(name.clone())),
            Address::Tcp(at) | Address::Udp(at) => match &at.host {
                Host::Name(name) if name != "localhost" => {
                    return Err(Fault::NameWhileServing(name.clone()));
                }
                _ => {}
            },
            Address::Unix(_) | Address::Abstract(_) => {}
        }
        open_another(entry, self.keep_dir, &mut self.warnings)
            .map_err(|fault| self.explain(entry, fault))
    }

    /// An address in use may overlap with one of ours.
    fn explain(&self, entry: &Listen, fault: Fault) -> Fault {
        let (Fault::InUse(_), Address::Tcp(at) | Address::Udp(at)) = (&fault, &entry.address)
        else {
            return fault;
        };
        let datagram = matches!(entry.address, Address::Udp(_));
        let mut all = self.open.iter().chain(&self.added);
        let ours = all.find(|it| it.is_datagram() == datagram && it.port() == Some(at.port));
        match ours {
            Some(ours) => Fault::OurOwn {
                listener: ours.name().to_owned(),
                address: ours.address(),
            },
            None => fault,
        }
    }

    fn take_back(&mut self) {
        for listener in std::mem::take(&mut self.added) {
            // The error that is returned says more than one about a leftover path.
            let _ = listener.close();
        }
    }

    fn members(&mut self) -> Vec<Member> {
        if self.listen.is_empty() {
            return self.passed();
        }
        let mut members: Vec<Member> = Vec::new();
        for (entry, found) in self.listen.iter().zip(&self.found) {
            for (place, number) in found.iter().enumerate() {
                let mut entry = entry.clone();
                if place > 0 {
                    let taken = |name: &str| {
                        members.iter().any(|it| it.entry.name == name)
                            || self.listen.iter().any(|it| it.name == name)
                    };
                    let numbered = (1..).map(|n: u32| format!("{}-{n}", entry.name));
                    entry.name = numbered
                        .into_iter()
                        .find(|name| !taken(name))
                        .unwrap_or_default();
                }
                if let Some(held) = self.open.iter().find(|held| held.number() == *number) {
                    let kept = set_once(held.wish(), &mut entry);
                    self.warnings.extend(stays(&entry.name, &kept));
                }
                let number = *number;
                members.push(Member { number, entry });
            }
        }
        members
    }

    fn entries(&self) -> Vec<Listen> {
        let mut entries = self.listen.to_vec();
        for (entry, found) in entries.iter_mut().zip(&self.found) {
            let mut open = self.open.iter();
            if let Some(held) = open.find(|held| found.first() == Some(&held.number())) {
                set_once(held.wish(), entry);
            }
        }
        entries
    }

    /// Without any entry a service has what systemd passed to it.
    fn passed(&self) -> Vec<Member> {
        let passed = self
            .open
            .iter()
            .filter(|held| held.origin() == Origin::Systemd);
        passed.map(Listener::member).collect()
    }
}

fn asks_for(entry: &Listen, held: &Listener) -> bool {
    entry.address == held.wish().address
}

/// Gives `new` what a living socket cannot change, as it was made, and says what that is.
fn set_once(made: &Listen, new: &mut Listen) -> Vec<&'static str> {
    let mut kept = Vec::new();
    macro_rules! keep {
        ($($field:ident),*) => {
            $(if new.$field != made.$field {
                new.$field = made.$field.clone();
                kept.push(stringify!($field));
            })*
        };
    }
    keep!(
        nonblocking,
        reuse_port,
        only_v6,
        nodelay,
        keepalive,
        receive_buffer,
        send_buffer,
        defer_accept,
        fastopen,
        freebind,
        transparent,
        mark
    );
    // What a path had before nobody remembers.
    if new.mode.is_none() {
        keep!(mode);
    }
    if new.user.is_none() {
        keep!(user);
    }
    if new.group.is_none() {
        keep!(group);
    }
    kept
}

fn stays(name: &str, kept: &[&str]) -> Option<String> {
    (!kept.is_empty()).then(|| {
        format!(
            "listener {name}: {} changed in the config and takes effect when the master starts anew: it is set once, \
             when a socket is made, and this one is kept",
            kept.join(", ")
        )
    })
}

#[cfg(test)]
#[path = "arrange_tests.rs"]
mod tests;
