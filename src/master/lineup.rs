//! Which listeners a generation has, and what becomes of those that none has any more.
//!
//! A config that is read again may add listeners, rename them and leave some out. What is new is bound
//! (see `binding`) before anything else changes; a generation keeps the listeners that it began with, also for workers that are
//! started again; a listener that no generation has and none waits for is closed, by its master alone.

use std::sync::Arc;

use super::Master;
use super::adopt::Adopted;
use super::count::Count;
use super::status::listener_view;
use crate::config::{Faults, Listen, Loaded};
use crate::control::view::ListenerView;
use crate::control::{ApiError, Event};
use crate::fleet::GenerationNumber;
use crate::fleet::rollout::Phase;
use crate::sockets::{self, Adoption, Arranged, Arrangement, Listener, Member, SocketError, Watch};

/// The listeners of a generation, in the order in which its workers get them.
#[derive(Default)]
pub(super) struct Lineup {
    members: Vec<Member>,
    /// The config's entries that they are.
    entries: Vec<Listen>,
}

impl Lineup {
    /// The workers of both see the same sockets under the same names.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        let seen = |it: &Self| -> Vec<(u64, String)> {
            let members = it.members.iter();
            members
                .map(|it| (it.number, it.entry.name.clone()))
                .collect()
        };
        seen(self) == seen(other)
    }

    fn has(&self, listener: &Listener) -> bool {
        self.members.iter().any(|it| it.number == listener.number())
    }

    /// Its members, each with its socket.
    pub(super) fn members_in<'a>(
        &'a self,
        open: &'a [Listener],
    ) -> impl Iterator<Item = (&'a Member, &'a Listener)> {
        let members = self.members.iter();
        members.filter_map(|member| {
            let socket = open.iter().find(|it| it.number() == member.number)?;
            Some((member, socket))
        })
    }
}

impl Master {
    /// What was opened when the master started.
    pub(super) fn first_lineup(&self) -> Arc<Lineup> {
        Arc::new(Lineup {
            members: self.listeners.iter().map(Listener::member).collect(),
            entries: self.config().listen.clone(),
        })
    }

    pub(super) fn lineup_of(&self, generation: GenerationNumber) -> Arc<Lineup> {
        let info = self.generations.get(&generation);
        info.map(|info| info.lineup.clone()).unwrap_or_default()
    }

    /// The listeners of this generation as its workers get them.
    pub(super) fn listeners_of(
        &self,
        generation: GenerationNumber,
    ) -> impl Iterator<Item = (&Member, &Listener)> {
        let info = self.generations.get(&generation).into_iter();
        info.flat_map(|info| info.lineup.members_in(&self.listeners))
    }

    /// The listeners of what serves next: of the generation on its way, else of the active one.
    pub(super) fn coming_lineup(&self) -> Arc<Lineup> {
        let under_way = match self.fleet.rollout() {
            (Phase::Idle | Phase::Undoing, _) | (_, None) => None,
            (_, Some(number)) => Some(number),
        };
        let active = self.fleet.active().map(|active| active.number);
        self.lineup_of(under_way.or(active).unwrap_or_default())
    }

    /// Finds the listeners that the config names.
    ///
    /// # Errors
    /// What cannot be had while the master runs.
    pub(super) fn arrange(&self, loaded: &Loaded) -> Result<Arrangement, ApiError> {
        let listen = &loaded.config.listen;
        sockets::arrange(listen, &self.listeners).map_err(|error| match &error {
            SocketError::Open {
                listener, fault, ..
            } => {
                let index = listen.iter().position(|it| it.name == *listener);
                let key = format!("listen[{}].address", index.unwrap_or_default());
                ApiError::faults(&Faults(vec![loaded.fault(&key, fault, None)]))
            }
            SocketError::Environment(_) => ApiError::internal(error),
        })
    }

    /// Takes what was arranged; what living sockets can take, they take at once.
    pub(super) fn adopt_arrangement(
        &mut self,
        arrangement: Arranged,
        adopted: &mut Adopted,
    ) -> Arc<Lineup> {
        let mut told = arrangement.warnings;
        for listener in &mut self.listeners {
            let mut members = arrangement.members.iter();
            let Some(member) = members.find(|it| it.number == listener.number()) else {
                continue;
            };
            let Adoption { applied, refused } = listener.adopt(&member.entry);
            let name = listener.name();
            let of_it = |what: String| format!("listener {name}: {what}");
            adopted.applied.extend(applied.into_iter().map(of_it));
            told.extend(refused.into_iter().map(of_it));
        }
        adopted
            .pending
            .extend(self.not_yet_exempt(&arrangement.members));
        for listener in arrangement.added {
            self.tell(&Event::ListenerOpened {
                listener: listener.name().to_owned(),
                address: listener.address(),
            });
            self.listeners.push(listener);
        }
        for warning in told {
            self.warn(warning.clone());
            adopted.warnings.push(warning);
        }
        let lineup = Arc::new(Lineup {
            members: arrangement.members,
            entries: arrangement.entries,
        });
        let active = self.fleet.active().map(|active| active.number);
        if active.is_some_and(|active| self.lineup_of(active).same_as(&lineup)) {
            self.loaded.config.listen.clone_from(&lineup.entries);
        }
        lineup
    }

    /// Whether a worker must wait on a listener counts from its generation on.
    fn not_yet_exempt(&self, members: &[Member]) -> Vec<String> {
        let active = self.fleet.active().map(|active| active.number);
        let lineup = self.lineup_of(active.unwrap_or_default());
        let began = |it: &Member| lineup.members.iter().find(|old| old.number == it.number);
        let changed = |it: &&Member| began(it).is_some_and(|old| old.entry.ready != it.entry.ready);
        let changed = members.iter().filter(changed);
        changed
            .map(|it| format!("ready of listener {}", it.entry.name))
            .collect()
    }

    /// This generation serves: its listeners are what the service has, by its names.
    pub(super) fn lineup_is_in_force(&mut self, generation: GenerationNumber) {
        let lineup = self.lineup_of(generation);
        for listener in &mut self.listeners {
            let mut members = lineup.members.iter();
            if let Some(member) = members.find(|it| it.number == listener.number()) {
                listener.rename(&member.entry);
            }
        }
        self.loaded.config.listen.clone_from(&lineup.entries);
    }

    /// Watches what is new, and closes what no generation has any more and none waits for.
    pub(super) fn follow_listeners(&mut self, watch: &mut Watch) {
        if let Err(error) = watch.follow(&self.listeners) {
            self.warn(format!("a listener cannot be watched: {error}"));
        }
        // Before the first generation and after the last one all belong to the service itself.
        if self.fleet.generations().next().is_none() {
            return;
        }
        // What is being bound may go with one that drains.
        if self.binding.is_busy() {
            return;
        }
        while let Some(place) = self.listeners.iter().position(|it| !self.is_in_use(it)) {
            let listener = self.listeners.remove(place);
            watch.forget(&listener);
            let (name, address) = (listener.name().to_owned(), listener.address());
            if let Err(error) = listener.close() {
                self.warn(format!(
                    "removing the path of listener {name} failed: {error}"
                ));
            }
            self.tell(&Event::ListenerClosed {
                listener: name,
                address,
            });
        }
    }

    fn is_in_use(&self, listener: &Listener) -> bool {
        let mut generations = self.fleet.generations();
        let in_generation = |number| {
            let info = self.generations.get(&number);
            info.is_some_and(|info| info.lineup.has(listener))
        };
        let in_release = |id| {
            let held = self.releases.held(id);
            held.is_some_and(|held| held.lineup.has(listener))
        };
        generations.any(|held| in_generation(held.number))
            || self.fleet.releases_at_work().any(in_release)
    }

    /// The service's listeners in the order of the config, then those of other generations.
    pub(super) fn listener_views(&self, count: Option<&Count>) -> Vec<ListenerView> {
        let active = self.fleet.active().map(|active| active.number);
        let Some(active) = active else {
            let all = self.first_lineup();
            return all
                .members_in(&self.listeners)
                .map(|it| listener_view(it, count))
                .collect();
        };
        let lineup = self.lineup_of(active);
        let mut views: Vec<ListenerView> = lineup
            .members_in(&self.listeners)
            .map(|it| listener_view(it, count))
            .collect();
        for listener in self.listeners.iter().filter(|it| !lineup.has(it)) {
            let mut view = listener_view((&listener.member(), listener), count);
            let with = self.fleet.generations().map(|held| held.number);
            let with = with.filter(|number| self.lineup_of(*number).has(listener));
            let place = match with.last() {
                Some(number) if number > active => {
                    format!("new with generation {number}, which is not active yet")
                }
                Some(number) => {
                    format!("not in the config any more: closed when generation {number} has ended")
                }
                None => "waits for its generation".to_owned(),
            };
            view.note = match listener.trouble() {
                Some(trouble) => Some(format!("{place}; {trouble}")),
                None => Some(place),
            };
            views.push(view);
        }
        views
    }
}
