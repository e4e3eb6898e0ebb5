//! News that comes too late, or twice: of each kind whatever must change nothing
//! as things stand.

use std::time::Duration;

use crate::fleet::rollout::Phase;
use crate::fleet::{Ending, Event, Fault, Process, Slot, Timer, WorkerId};
use crate::world::World;

/// What a slow messenger may still bring.
pub fn news(world: &World) -> Vec<Event> {
    let mut news = Vec::new();
    if !world.delayed {
        news.push(Event::Due(Timer::StopDelay));
    }
    for generation in world.fleet.generations() {
        for (id, slot) in generation.workers() {
            of_a_worker(id, slot, &mut news);
        }
        let number = generation.number;
        let (phase, target) = world.fleet.rollout();
        let phase = if target == Some(number) {
            phase
        } else {
            Phase::Idle
        };
        if phase != Phase::Preparing {
            news.push(Event::Prepared(number));
        }
        if phase != Phase::Baking {
            news.push(Event::Approved(number));
            news.push(Event::Due(Timer::Bake(number)));
        }
        if phase != Phase::Canary {
            news.push(Event::Due(Timer::Canary(number)));
        }
        if phase != Phase::Undoing {
            news.push(Event::Due(Timer::Undo(number)));
        }
        if matches!(phase, Phase::Idle | Phase::Undoing) {
            news.push(Event::Against(number, Fault::QueueNotTaken));
        }
    }
    news
}

fn of_a_worker(id: WorkerId, slot: &Slot, news: &mut Vec<Event>) {
    let process = slot.process;
    let absent = process == Process::Absent;
    if process != Process::Starting {
        news.push(Event::Ready(id));
        news.push(Event::Due(Timer::Ready(id)));
        news.push(Event::Extend(id, Duration::from_secs(900)));
    }
    if process != Process::Ready {
        news.push(Event::Due(Timer::Watchdog(id)));
        news.push(Event::Due(Timer::Settled(id)));
        news.push(Event::Ping(id));
    }
    if process != Process::Draining {
        news.push(Event::Due(Timer::Kill(id)));
    }
    if !absent {
        news.push(Event::Due(Timer::Respawn(id)));
    }
    if !matches!(process, Process::Starting | Process::Ready) {
        news.push(Event::Fault(id, Fault::Unfit));
        news.push(Event::Fault(id, Fault::Unhealthy));
    }
    if absent {
        news.push(Event::Exited(id, Ending::Ended));
    }
    if let Some(life) = id.life.checked_sub(1) {
        news.push(Event::Exited(WorkerId { life, ..id }, Ending::Ended));
        news.push(Event::Ready(WorkerId { life, ..id }));
    }
}
