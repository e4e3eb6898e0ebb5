//! Who has the address that a worker could not bind: handover itself, another worker, somebody else. Nothing is claimed
//! that was not seen.

use std::time::Duration;

use super::Master;
use super::holders;
use super::watching::{thread_time, wanted_of};
use super::worker::Worker;
use crate::fleet::WorkerId;
use crate::process::{Release, parent};
use crate::readiness::{
    Advice, Foreign, Instead, Named, Taken, Wanted, address_said, addresses_of_command,
    foreign_listeners, says_address_in_use,
};
use crate::sockets::diag::ListeningSocket;
use crate::sockets::holder::{Holder, Remedy, bound, one_holding};

/// Processor time for the question who holds a socket, which is asked on the loop.
const SEARCH_MAX: Duration = Duration::from_millis(3);

/// Workers beside a failed one that are asked where they listen: some hundred microseconds each.
const SIBLINGS_MAX: usize = 4;

/// Deeper trees than this are loops of numbers that were used again.
const DEPTH_MAX: usize = 64;

impl Master {
    /// What is known of the address that kept this worker from serving.
    pub(super) fn advise_on_address(
        &self,
        id: WorkerId,
        worker: &Worker,
        said: &[String],
    ) -> Advice {
        let lines = || said.iter().map(String::as_str);
        let advise = |instead, given: &[Wanted]| self.advise(id, worker.last_pid, instead, given);
        let named = address_said(lines());
        let release = self.generations.get(&id.generation);
        let release = release.and_then(|info| self.releases.get(info.release));
        let guessed = match named {
            Some(_) => Vec::new(),
            None => addresses_of_command(release.map_or(&[][..], Release::argv)),
        };
        let meant: Vec<Named> = named.into_iter().chain(guessed.iter().copied()).collect();
        if let Some(own) = self.passed_on(id, &meant, said) {
            return advise(Instead::AddressInUse, &[own]);
        }
        let sibling = || self.sibling_elsewhere(id).filter(|_| named.is_none());
        if let Some(advice) = sibling() {
            return advice;
        }
        if let Some(advice) = self.held_by_others(id, worker, &meant, named.is_some()) {
            return advice;
        }
        let Some(named) = named else {
            return advise(Instead::SomethingInUse, &self.wanted(id.generation));
        };
        let taken = Taken {
            named: named.to_string(),
            said: true,
            by: "nobody is seen there now".to_owned(),
            remedy: format!("{} shows who listens there", ss(named.port)),
        };
        self.advise(id, worker.last_pid, Instead::TakenBy(&taken), &[])
    }

    /// The listener that the worker was given and that it means.
    fn passed_on(&self, id: WorkerId, meant: &[Named], said: &[String]) -> Option<Wanted> {
        let mut given = self.listeners_of(id.generation);
        let found = given.find(|(_, listener)| match listener.socket_address() {
            Some(at) => meant.iter().any(|named| named.overlaps(at)),
            None => {
                let address = listener.address();
                let path = address.strip_prefix("unix:").unwrap_or(&address);
                let names = |line: &&String| says_address_in_use([line]) && line.contains(path);
                said.iter().any(|line| names(&line))
            }
        });
        found.map(wanted_of)
    }

    /// Another worker of its generation listens somewhere else than it should: so would this one have.
    fn sibling_elsewhere(&self, id: WorkerId) -> Option<Advice> {
        let others = self.workers.all.iter().filter(|(other, worker)| {
            other.generation == id.generation && **other != id && worker.exit.is_none()
        });
        let others: Vec<(&WorkerId, &Worker)> = others.collect();
        let told = others
            .iter()
            .find_map(|(other, worker)| Some((**other, worker.elsewhere.clone()?)));
        if let Some((other, advice)) = told {
            return Some(of_sibling(other, advice));
        }
        let unready = others.iter().filter(|(_, worker)| worker.ready.is_none());
        unready.take(SIBLINGS_MAX).find_map(|(other, worker)| {
            let pid = worker.pid()?;
            let given: Vec<Wanted> = self.listeners_of(other.generation).map(wanted_of).collect();
            let foreign = foreign_listeners(pid, &given).into_iter().next()?;
            self.of_sibling_at(**other, &foreign)
        })
    }

    fn of_sibling_at(&self, sibling: WorkerId, foreign: &Foreign) -> Option<Advice> {
        let wanted = self.wanted(sibling.generation);
        let pid = self.workers.get(sibling)?.pid()?;
        let advice = self.advise(sibling, pid, Instead::ListensOn(foreign), &wanted);
        (!wanted.is_empty()).then(|| of_sibling(sibling, advice))
    }

    /// Somebody listens where the worker wanted to.
    fn held_by_others(
        &self,
        id: WorkerId,
        worker: &Worker,
        meant: &[Named],
        said: bool,
    ) -> Option<Advice> {
        let (named, socket) = bound_at(meant)?;
        let began = thread_time();
        let in_time = || thread_time().saturating_sub(began) < SEARCH_MAX;
        let pid = one_holding(socket.inode, in_time);
        let at = socket.socket_addr();
        let (who, remedy) = match pid.and_then(|pid| Some((pid, self.worker_above(pid)?))) {
            Some((pid, other)) => {
                if let Some(advice) = self.of_unready_sibling(id, other, pid, &socket) {
                    return Some(advice);
                }
                let remedy = format!(
                    "workers of one generation, and of two in an upgrade, run side by side: let handover bind it once \
                     and pass it on (one more [[listen]] with address = \"{at}\"), or bind it with SO_REUSEPORT"
                );
                (format!("worker {other}, {},", Holder::process(pid)), remedy)
            }
            None => self.stranger(pid, &socket),
        };
        let taken = Taken {
            named: named.to_string(),
            said,
            by: format!("{who} listens on {at}"),
            remedy,
        };
        Some(self.advise(id, worker.last_pid, Instead::TakenBy(&taken), &[]))
    }

    fn of_unready_sibling(
        &self,
        id: WorkerId,
        other: WorkerId,
        pid: i32,
        socket: &ListeningSocket,
    ) -> Option<Advice> {
        let unready = self.workers.get(other)?.ready.is_none();
        if other.generation != id.generation || !unready {
            return None;
        }
        let foreign = Foreign {
            pid,
            comm: Holder::process(pid).command.unwrap_or_default(),
            address: socket.socket_addr().to_string(),
            port: Some(socket.port),
        };
        self.of_sibling_at(other, &foreign)
    }

    /// A holder that is no worker of this service, and what to do about it.
    fn stranger(&self, pid: Option<i32>, socket: &ListeningSocket) -> (String, String) {
        let Some(pid) = pid else {
            let remedy = format!(
                "{} as root shows which: stop it, or {ELSEWHERE}",
                ss(socket.port)
            );
            return (format!("a process of user {}", socket.uid), remedy);
        };
        let mut holder = Holder::process(pid);
        if pid.cast_unsigned() == std::process::id() {
            return (format!("handover itself, {holder},"), ELSEWHERE.to_owned());
        }
        let (name, config) = (holder.command.as_deref(), self.sources.file.as_deref());
        holder.known = holders::known_by_name(pid, name, config);
        let remedy = match holder.known.as_ref().map(|known| &known.remedy) {
            Some(Remedy::Say(words)) => words.clone(),
            Some(Remedy::Kill(pid)) => format!("kill {pid}"),
            None => "stop that".to_owned(),
        };
        (holder.to_string(), format!("{remedy}, or {ELSEWHERE}"))
    }

    /// The worker whose process this is.
    fn worker_above(&self, pid: i32) -> Option<WorkerId> {
        let mut line = std::iter::successors(Some(pid), |pid| parent(*pid)).take(DEPTH_MAX);
        line.find_map(|pid| self.workers.by_pid.get(&pid).copied())
    }
}

const ELSEWHERE: &str = "let the program bind another address";

/// The command that shows who has a port.
fn ss(port: u16) -> String {
    format!("`ss -lntup 'sport = :{port}'`")
}

/// The first socket that one of these meets.
fn bound_at(meant: &[Named]) -> Option<(&Named, ListeningSocket)> {
    // Nobody needs the kernel's tables for nothing.
    meant.first()?;
    [false, true].into_iter().find_map(|datagram| {
        let bound = bound(datagram);
        meant.iter().find_map(|named| {
            let mut all = bound.iter();
            let found = all.find(|socket| named.overlaps(socket.socket_addr()))?;
            Some((named, found.clone()))
        })
    })
}

fn of_sibling(sibling: WorkerId, advice: Advice) -> Advice {
    Advice {
        fact: format!("worker {sibling} has the address: {}", advice.fact),
        hint: advice.hint,
    }
}
