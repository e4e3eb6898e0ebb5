//! What workers leave to their successors (`FDSTORE=1`), and how much of it there is room for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Master;
use super::room::{Room, store_room};
use super::worker::GenerationInfo;
use crate::control::Event;
use crate::fleet::WorkerId;
use crate::process::{Resource, is_scarce, nofile_limit};
use crate::readiness::notify::{Datagram, Refused, Store, StoreChange};

/// Kept for starting workers and for callers: what workers store must not take the last ones.
const DESCRIPTORS_RESERVED: u64 = 256;

impl Master {
    /// Does what a worker asks for with `FDSTORE=1` and `FDSTOREREMOVE=1`.
    pub(super) fn store(&mut self, id: WorkerId, datagram: &mut Datagram) {
        let room = self.store_room(id);
        let in_all = self.stored();
        let Some(generation) = self.generations.get_mut(&id.generation) else {
            return;
        };
        let scarce = |fd: &OwnedFd| is_scarce(fd.as_fd(), DESCRIPTORS_RESERVED);
        if datagram.fds.iter().any(scarce) {
            datagram.fds.clear();
            let message = format!(
                "worker {id} sent a descriptor, but handover has hardly any left and closed it: raise its \
                 limit (LimitNOFILE=, ulimit -Hn)"
            );
            return self.mention(id, Event::Warning { message });
        }
        // An upgrade copies what the generation has.
        let more = room.in_all.saturating_sub(in_all + stored_by(generation)) / 2;
        let store = generation.stores.entry(id.slot).or_default();
        store.limit_to(room.of_one.min(store.len() + more));
        for change in store.apply(datagram) {
            if let StoreChange::Refused(refused) = change {
                let help = help(&refused, &room);
                let message = format!("worker {id} asked to store a descriptor: {refused}{help}");
                self.mention(id, Event::Warning { message });
            }
        }
    }

    /// A first life begins with what the active generation's same slot stored
    /// so far; slots that vanish hand theirs to slot 0.
    pub(super) fn inherit_store(&mut self, id: WorkerId) {
        let Some(active) = self.fleet.active().map(|active| active.number) else {
            return;
        };
        if id.life > 0 || active == id.generation {
            return;
        }
        let slots = self
            .fleet
            .generation(id.generation)
            .map_or(1, |generation| generation.size);
        let room = self.store_room(id);
        let left = room.in_all.saturating_sub(self.stored());
        let Some(predecessor) = self.generations.get_mut(&active) else {
            return;
        };
        let mut inherited = Store::new();
        inherited.limit_to(room.of_one.min(left));
        let mut lost = Vec::new();
        for (slot, store) in &mut predecessor.stores {
            if *slot == id.slot || (id.slot == 0 && *slot >= slots) {
                store.forget_hung_up();
                lost.extend(store.copy_into(&mut inherited));
            }
        }
        if let Some(first) = lost.first() {
            let more = match lost.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            let help = help(first, &room);
            self.warn(format!(
                "worker {id} does not inherit all that was stored: {first}{more}{help}"
            ));
        }
        if let Some(generation) = self.generations.get_mut(&id.generation) {
            generation.stores.insert(id.slot, inherited);
        }
    }

    /// What its predecessor stored, as far as it can be passed: a limit may be lower now than it was then (prlimit(1)).
    pub(super) fn stored_for(&self, id: WorkerId) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        let store = self.store_of(id).into_iter();
        store.flat_map(Store::iter).take(self.store_room(id).of_one)
    }

    /// A worker that starts with less than its predecessor stored: better than none.
    pub(super) fn tell_of_left_out(&self, id: WorkerId) {
        let stored = self.store_of(id).map_or(0, Store::len);
        let room = self.store_room(id);
        if stored > room.of_one {
            self.warn(format!(
                "worker {id} gets {} of the {stored} descriptors that were stored: {}",
                room.of_one, room.why
            ));
        }
    }

    fn store_of(&self, id: WorkerId) -> Option<&Store> {
        self.generations.get(&id.generation)?.stores.get(&id.slot)
    }

    /// What all stores hold.
    fn stored(&self) -> usize {
        self.generations.values().map(stored_by).sum()
    }

    fn store_room(&self, id: WorkerId) -> Room {
        let info = self.generations.get(&id.generation);
        let release = info.and_then(|info| self.releases.get(info.release));
        let limits = release.into_iter().flat_map(|it| &it.plan().limits);
        let mut nofile = limits.filter(|(resource, _)| *resource == Resource::Nofile);
        let own = nofile
            .next()
            .map_or_else(|| self.launcher.nofile().soft, |limit| limit.1);
        // One for probes.
        let listeners = self.listeners_of(id.generation).count() + 1;
        store_room(nofile_limit(), own, self.fleet.policy().workers, listeners)
    }
}

fn stored_by(generation: &GenerationInfo) -> usize {
    generation.stores.values().map(Store::len).sum()
}

/// The end of a sentence that says what was refused.
fn help(refused: &Refused, room: &Room) -> String {
    match refused {
        Refused::NoRoom { .. } => format!(": {}", room.why),
        _ => String::new(),
    }
}
