//! A config that is read again, beside listeners that serve: which are kept, which are bound anew.

use std::path::Path;

use super::error::{Fault, SocketError};
use super::listener::{Listener, Origin};
use super::open::open_another;
use crate::config::{Address, Listen};

/// The listeners of the entries of a config: those that are open, and those that are still to be bound.
#[derive(Debug)]
pub struct Arrangement {
    places: Vec<Place>,
    entries: Vec<Listen>,
    warnings: Vec<String>,
    /// What is open, for an address that overlaps with one of it.
    ours: Vec<Ours>,
}

#[derive(Debug)]
enum Place {
    Kept(Member),
    Missing(Listen),
}

#[derive(Debug)]
struct Ours {
    name: String,
    address: String,
    datagram: bool,
    port: Option<u16>,
}

/// An arrangement of which nothing is missing.
#[derive(Debug)]
pub struct Arranged {
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

/// Finds the listener of each entry among those that are open. Never blocks, and changes nothing.
///
/// A listener is the entry's when it was made for the same address, or is bound exactly there; so an entry that
/// only changes its name keeps its socket, and one that changes its address gets another.
///
/// # Errors
/// An entry that wants a descriptor of systemd's which is not there.
pub fn arrange(listen: &[Listen], open: &[Listener]) -> Result<Arrangement, SocketError> {
    let mut arranging = Arranging {
        listen,
        open,
        found: vec![Vec::new(); listen.len()],
        warnings: Vec::new(),
    };
    arranging.find();
    let places = arranging.places()?;
    let ours = |it: &Listener| Ours {
        name: it.name().to_owned(),
        address: it.address(),
        datagram: it.is_datagram(),
        port: it.port(),
    };
    Ok(Arrangement {
        places,
        entries: arranging.entries(),
        warnings: arranging.warnings,
        ours: open.iter().map(ours).collect(),
    })
}

impl Arrangement {
    /// Whether every listener is open already.
    pub fn is_complete(&self) -> bool {
        let mut places = self.places.iter();
        places.all(|place| matches!(place, Place::Kept(_)))
    }

    /// Binds what is missing: looking up a host name, and who holds an address, may take long. `keep_dir` is as for
    /// [`open`](super::open).
    ///
    /// # Errors
    /// The first entry that cannot be bound; what was bound for others is closed again.
    pub fn bind(self, keep_dir: Option<&Path>) -> Result<Arranged, SocketError> {
        let mut arranged = Arranged {
            members: Vec::new(),
            entries: self.entries,
            added: Vec::new(),
            warnings: self.warnings,
        };
        for place in self.places {
            let entry = match place {
                Place::Kept(member) => {
                    arranged.members.push(member);
                    continue;
                }
                Place::Missing(entry) => entry,
            };
            match open_another(&entry, keep_dir, &mut arranged.warnings) {
                Ok(listener) => {
                    let number = listener.number();
                    arranged.members.push(Member { number, entry });
                    arranged.added.push(listener);
                }
                Err(fault) => {
                    let fault = explain(&self.ours, &entry, fault);
                    arranged.take_back();
                    return Err(failed(&entry, fault));
                }
            }
        }
        Ok(arranged)
    }
}

impl Arranged {
    /// Closes what was bound for it.
    pub fn take_back(self) {
        for listener in self.added {
            // Whoever takes it back has something worse to tell.
            let _ = listener.close();
        }
    }
}

fn failed(entry: &Listen, fault: Fault) -> SocketError {
    SocketError::Open {
        listener: entry.name.clone(),
        address: entry.address.to_string(),
        fault,
    }
}

/// An address in use may overlap with one of ours.
fn explain(ours: &[Ours], entry: &Listen, fault: Fault) -> Fault {
    let (Fault::InUse(_), Address::Tcp(at) | Address::Udp(at)) = (&fault, &entry.address) else {
        return fault;
    };
    let datagram = matches!(entry.address, Address::Udp(_));
    let mut ours = ours.iter();
    match ours.find(|it| it.datagram == datagram && it.port == Some(at.port)) {
        Some(ours) => Fault::OurOwn {
            listener: ours.name.clone(),
            address: ours.address.clone(),
        },
        None => fault,
    }
}

struct Arranging<'a> {
    listen: &'a [Listen],
    open: &'a [Listener],
    /// For each entry its listeners, by number; several for an `fd:NAME` that stands for several.
    found: Vec<Vec<u64>>,
    warnings: Vec<String>,
}

impl<'a> Arranging<'a> {
    fn find(&mut self) {
        // A name that stayed decides between two of the same address (port 0 is one).
        self.look(|entry, held| entry.name == held.wish().name && asks_for(entry, held));
        self.look(asks_for);
        self.look(|entry, held| held.is_at(&entry.address));
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

    fn places(&mut self) -> Result<Vec<Place>, SocketError> {
        if self.listen.is_empty() {
            return Ok(self.passed());
        }
        let mut names: Vec<String> = self.listen.iter().map(|it| it.name.clone()).collect();
        let mut places = Vec::new();
        for (entry, found) in self.listen.iter().zip(&self.found) {
            if let (Address::Inherited(name), true) = (&entry.address, found.is_empty()) {
                return Err(failed(entry, Fault::NotPassed(name.clone())));
            }
            if found.is_empty() {
                places.push(Place::Missing(entry.clone()));
            }
            let held = found.iter().filter_map(|number| self.held(*number));
            let held: Vec<&Listener> = held.collect();
            for (index, held) in held.into_iter().enumerate() {
                let mut entry = entry.clone();
                if index > 0 {
                    let numbered = (1..).map(|n: u32| format!("{}-{n}", entry.name));
                    let mut free = numbered.filter(|name| !names.contains(name));
                    entry.name = free.next().unwrap_or_default();
                    names.push(entry.name.clone());
                }
                let kept = set_once(held.wish(), &mut entry);
                self.warnings.extend(stays(&entry.name, &kept));
                let number = held.number();
                places.push(Place::Kept(Member { number, entry }));
            }
        }
        Ok(places)
    }

    fn held(&self, number: u64) -> Option<&'a Listener> {
        self.open.iter().find(|held| held.number() == number)
    }

    fn entries(&self) -> Vec<Listen> {
        let mut entries = self.listen.to_vec();
        for (entry, found) in entries.iter_mut().zip(&self.found) {
            if let Some(held) = found.first().and_then(|number| self.held(*number)) {
                set_once(held.wish(), entry);
            }
        }
        entries
    }

    /// Without any entry a service has what systemd passed to it.
    fn passed(&self) -> Vec<Place> {
        let open = self.open.iter();
        let passed = open.filter(|held| held.origin() == Origin::Systemd);
        passed.map(|held| Place::Kept(held.member())).collect()
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
