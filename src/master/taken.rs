//! Who has the address that a worker could not bind: handover itself, another worker, somebody else. Nothing is claimed
//! that was not seen.

use std::time::{Duration, Instant};

use super::watching::wanted_of;
use super::worker::Worker;
use super::{Input, Master, holders};
use crate::fleet::WorkerId;
use crate::process::{Release, parent};
use crate::readiness::{
    Advice, Foreign, Instead, Named, Observer, Taken, Wanted, address_said, addresses_of_command,
    says_address_in_use,
};
use crate::sockets::diag::ListeningSocket;
use crate::sockets::holder::{Holder, Remedy, bound, one_holding};

/// For how long a thread looks for who holds a socket; the end of the worker that wanted it waits as long to be told.
const SEARCH_MAX: Duration = Duration::from_secs(1);

/// Workers beside a failed one that are asked where they listen: some hundred microseconds each.
const SIBLINGS_MAX: usize = 4;

/// Deeper trees than this are loops of numbers that were used again.
const DEPTH_MAX: usize = 64;

/// Who has the address that a worker could not bind.
#[derive(Debug, Default)]
pub(super) enum Search {
    /// Nobody looked.
    #[default]
    Not,
    /// A thread looks.
    Begun,
    /// Nobody is bound there.
    Nobody,
    /// This socket is in the way of what the worker means; and whose it is, where that was found in time.
    Found(Named, ListeningSocket, Option<i32>),
}

impl Master {
    /// The end of a worker that says that its address is in use is told when a thread saw who has it: that takes longer
    /// than the loop may be held. Of a generation that was accepted nobody asks why its worker ended.
    pub(super) fn waits_for_holder(&mut self, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get(id) else {
            return false;
        };
        match worker.search {
            Search::Not => {}
            Search::Begun => return true,
            Search::Nobody | Search::Found(..) => return false,
        }
        let active = self.fleet.active().map(|active| active.number);
        let asked_for =
            active != Some(id.generation) || self.fleet.rollout().1 == Some(id.generation);
        if !asked_for || worker.told.is_some() || worker.killed || worker.not_started.is_some() {
            return false;
        }
        let said = worker.output.as_ref().map_or_else(Vec::new, |it| it.last());
        if !says_address_in_use(said.iter().map(String::as_str)) {
            return false;
        }
        let (meant, _) = self.meant(id, &said);
        if meant.is_empty() || self.passed_on(id, &meant, &said).is_some() {
            return false;
        }
        let inputs = self.inputs.clone();
        let thread = std::thread::Builder::new().name("taken".to_owned());
        let spawned = thread.spawn(move || {
            let found = search(&meant);
            // A master that is gone asks no more.
            drop(inputs.blocking_send(Input::Taken(id, found)));
        });
        let worker = self.workers.get_mut(id).filter(|_| spawned.is_ok());
        worker.is_some_and(|worker| {
            worker.search = Search::Begun;
            true
        })
    }

    pub(super) fn on_taken(&mut self, id: WorkerId, found: Search) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.search = found;
            self.deliver_exit(id);
        }
    }

    /// The addresses that a worker means, and whether it named one itself.
    fn meant(&self, id: WorkerId, said: &[String]) -> (Vec<Named>, bool) {
        if let Some(named) = address_said(said.iter().map(String::as_str)) {
            return (vec![named], true);
        }
        let info = self.generations.get(&id.generation);
        let release = info.and_then(|info| self.releases.get(info.release));
        let argv = release.map_or(&[][..], Release::argv);
        (addresses_of_command(argv), false)
    }

    /// What is known of the address that kept this worker from serving.
    pub(super) fn advise_on_address(
        &self,
        id: WorkerId,
        worker: &Worker,
        said: &[String],
    ) -> Advice {
        let advise = |instead, given: &[Wanted]| self.advise(id, worker.last_pid, instead, given);
        let (meant, by_itself) = self.meant(id, said);
        if let Some(own) = self.passed_on(id, &meant, said) {
            return advise(Instead::AddressInUse, &[own]);
        }
        let sibling = || self.sibling_elsewhere(id);
        if let Some(advice) = (!by_itself).then(sibling).flatten() {
            return advice;
        }
        if let Search::Found(named, socket, pid) = &worker.search {
            return self.held_by_others(id, worker, (named, by_itself), (socket, *pid));
        }
        let Some(named) = meant.first().filter(|_| by_itself) else {
            return advise(Instead::SomethingInUse, &self.wanted(id.generation));
        };
        let by = match worker.search {
            Search::Nobody => "nobody is seen there now",
            _ => "who has it was not looked for",
        };
        let taken = Taken {
            named: named.to_string(),
            said: true,
            by: by.to_owned(),
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
            let mut foreign = Observer::foreign_listeners_of(pid, &given).into_iter();
            let foreign = foreign.next()?;
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
        (named, said): (&Named, bool),
        (socket, pid): (&ListeningSocket, Option<i32>),
    ) -> Advice {
        let at = socket.socket_addr();
        let (who, remedy) = match pid.and_then(|pid| Some((pid, self.worker_above(pid)?))) {
            Some((pid, other)) => {
                if let Some(advice) = self.of_unready_sibling(id, other, pid, socket) {
                    return advice;
                }
                let remedy = format!(
                    "workers of one generation, and of two in an upgrade, run side by side: let handover bind it once \
                     and pass it on (one more [[listen]] with address = \"{at}\"), or bind it with SO_REUSEPORT"
                );
                (format!("worker {other}, {},", Holder::process(pid)), remedy)
            }
            None => self.stranger(pid, socket),
        };
        let taken = Taken {
            named: named.to_string(),
            said,
            by: format!("{who} listens on {at}"),
            remedy,
        };
        self.advise(id, worker.last_pid, Instead::TakenBy(&taken), &[])
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

/// The first socket that one of these meets, and a process that has it.
fn search(meant: &[Named]) -> Search {
    let met = [false, true].into_iter().find_map(|datagram| {
        let bound = bound(datagram);
        meant.iter().find_map(|named| {
            let mut all = bound.iter();
            let found = all.find(|socket| named.overlaps(socket.socket_addr()))?;
            Some((*named, found.clone()))
        })
    });
    let Some((named, socket)) = met else {
        return Search::Nobody;
    };
    let began = Instant::now();
    let pid = one_holding(socket.inode, || began.elapsed() < SEARCH_MAX);
    Search::Found(named, socket, pid)
}

fn of_sibling(sibling: WorkerId, advice: Advice) -> Advice {
    Advice {
        fact: format!("worker {sibling} has the address: {}", advice.fact),
        hint: advice.hint,
    }
}
