//! `[admin] listen`: metrics and health over TCP, served by a task of their own.
//!
//! At a start the address is opened before anything else runs. A reload opens a new one in a thread, since
//! finding out who holds a port takes its time, and only then lets go of the old one.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::holders;
use super::{Input, Master};
use crate::config::{self, Address, Listen};
use crate::control::{self, AdminDoor, Event, EventLog};
use crate::sockets::{self, Inherited};

/// How the listener is called in errors: as its key.
const NAME: &str = "admin.listen";
/// Connections that may wait: a scraper has one.
const BACKLOG: u32 = 128;
/// How long the end waits for answers that are on their way.
const FAREWELL: Duration = Duration::from_secs(2);

/// A socket that listens and that nobody serves yet.
pub(super) struct Bound {
    listener: TcpListener,
    /// As bound: with its number where port 0 was asked for.
    address: String,
}

/// Opens `at`.
///
/// # Errors
/// In words; says who holds it, where it is taken.
pub(super) fn bind(at: &Address) -> Result<Bound, String> {
    let entry = Listen {
        backlog: BACKLOG,
        nonblocking: true,
        ..Listen::new(NAME, at.clone())
    };
    let opened = sockets::open(&[entry], Inherited::none(), None);
    let (listeners, _) = opened.map_err(|error| holders::of_address(error, None))?;
    let listener = listeners.first();
    let listener = listener.ok_or_else(|| format!("{NAME} ({at}) came to nothing"))?;
    let owned = listener.fd().try_clone_to_owned();
    let owned = owned.map_err(|error| format!("cannot open {NAME} ({at}): {error}"))?;
    Ok(Bound {
        listener: TcpListener::from(owned),
        address: listener.address(),
    })
}

/// Where metrics and health are served, if anywhere.
pub(super) struct Admin {
    calls: mpsc::Sender<control::Request>,
    events: EventLog,
    open: Option<Open>,
    /// What is being opened in its place.
    opening: Option<Address>,
    /// Why it is not where the config wants it.
    trouble: Option<String>,
}

struct Open {
    address: String,
    /// As long as it is there the server goes on.
    doors: mpsc::Sender<AdminDoor>,
    server: JoinHandle<()>,
}

impl Admin {
    pub(super) fn new(calls: mpsc::Sender<control::Request>, events: EventLog) -> Self {
        Self {
            calls,
            events,
            open: None,
            opening: None,
            trouble: None,
        }
    }

    /// Serves `bound` from now on, in the place of what was served before.
    pub(super) fn serve(&mut self, bound: Bound) -> std::io::Result<()> {
        let door = AdminDoor(tokio::net::TcpListener::from_std(bound.listener)?);
        let address = bound.address;
        if let Some(open) = &mut self.open {
            let sent = open.doors.try_send(door);
            open.address = address;
            return sent.map_err(std::io::Error::other);
        }
        let (doors, renewed) = mpsc::channel(1);
        let served = control::serve_admin(door, renewed, self.calls.clone(), self.events.clone());
        let server = tokio::spawn(served);
        self.open = Some(Open {
            address,
            doors,
            server,
        });
        Ok(())
    }

    /// Where it is open.
    pub(super) fn address(&self) -> Option<&str> {
        self.open.as_ref().map(|open| open.address.as_str())
    }

    /// What a person should know of it.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// After the event log was closed: waits for answers that are on their way.
    pub(super) async fn end(&mut self) {
        if let Some(open) = self.open.take() {
            drop(timeout(FAREWELL, open.server).await);
        }
    }
}

impl Master {
    /// The config that was just read wants it at `wanted`; returns what is in force until that is open.
    pub(super) fn move_admin(
        &mut self,
        now: config::Admin,
        wanted: config::Admin,
    ) -> config::Admin {
        if now == wanted {
            self.admin.opening = None;
            self.admin.trouble = None;
            return now;
        }
        let Some(address) = wanted.listen.clone() else {
            // The server ends with its doors.
            self.admin.open = None;
            self.admin.opening = None;
            self.admin.trouble = None;
            self.tell(&Event::AdminListening { address: None });
            return wanted;
        };
        if self.admin.opening.as_ref() != Some(&address) {
            self.admin.opening = Some(address.clone());
            let inputs = self.inputs.clone();
            let opener = thread::Builder::new().name("admin".to_owned());
            let started = opener.spawn(move || {
                let bound = bind(&address);
                // The loop may have ended.
                drop(inputs.blocking_send(Input::Admin(address, bound)));
            });
            if let Err(error) = started {
                self.admin_failed(format!("{NAME}: no thread to open it in: {error}"));
            }
        }
        now
    }

    pub(super) fn on_admin(&mut self, address: Address, bound: Result<Bound, String>) {
        if self.admin.opening.as_ref() != Some(&address) {
            // The config was changed again since.
            return;
        }
        let served = bound.and_then(|bound| self.admin.serve(bound).map_err(|e| e.to_string()));
        if let Err(why) = served {
            return self.admin_failed(why);
        }
        self.admin.opening = None;
        self.admin.trouble = None;
        self.loaded.config.admin.listen = Some(address);
        let address = self.admin.address().map(str::to_owned);
        self.tell(&Event::AdminListening { address });
    }

    fn admin_failed(&mut self, why: String) {
        self.admin.opening = None;
        let instead = match self.admin.address() {
            Some(address) => format!("it stays at {address}"),
            None => "metrics and health stay on the control socket alone".to_owned(),
        };
        let message = format!("{why}; {instead}, and the next reload tries again");
        self.warn(message.clone());
        self.admin.trouble = Some(message);
    }
}
