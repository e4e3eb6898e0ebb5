//! Carries out what the worker table says.

use std::time::Duration;

use super::policy::{self, CRASH_LOOP};
use super::worker::{self, Happening, Process, Step};
use super::{
    Cause, Effect, Ending, Failure, Fleet, Generation, GenerationNumber, Note, Slot, State, Timer,
    WorkerId,
};

impl Fleet {
    /// Something happened to a worker. News of a life that is over is ignored.
    pub(super) fn happen(&mut self, id: WorkerId, happening: Happening, cause: Option<Cause>) {
        let Some(slot) = self.slot(id).copied() else {
            return;
        };
        match worker::step(slot.process, happening) {
            // `drain_slots` alone retires: it knows the deadline.
            Step::Nothing | Step::Drain => {}
            Step::Serve => self.serve(id),
            Step::Condemn => self.condemn(id, cause),
            Step::Dismiss => self.dismiss(id, cause),
            Step::Lose => {
                self.leave(id);
                self.lost(id, cause);
                self.gone(id);
            }
            Step::Bury => {
                let lost = slot.process == Process::Killed;
                self.leave(id);
                if lost {
                    self.respawn_later(id);
                }
                self.gone(id);
            }
            Step::Kill => self.kill(id),
            Step::Launch => self.launch_again(id),
            Step::Settle => {
                if let Some(slot) = self.slot_mut(id) {
                    slot.losses = 0;
                }
            }
        }
    }

    pub(super) fn exited(&mut self, id: WorkerId, ending: Ending) {
        let ready = self
            .slot(id)
            .is_some_and(|slot| slot.process == Process::Ready);
        let cause = match ending {
            Ending::NotStarted => Cause::NotStarted,
            Ending::Ended if ready => Cause::ExitedInBake,
            Ending::Ended => Cause::ExitedBeforeReady,
        };
        self.happen(id, Happening::Exited, Some(cause));
    }

    pub(super) fn extend(&mut self, id: WorkerId, by: Duration) {
        let timer = Timer::Ready(id);
        if let Some(due) = self.timers.due(timer) {
            self.timers.set(timer, due.max(self.now.saturating_add(by)));
        }
    }

    pub(super) fn ping(&mut self, id: WorkerId) {
        if self.timers.due(Timer::Watchdog(id)).is_some() {
            self.arm_watchdog(id);
        }
    }

    /// Starts the process of a slot.
    pub(super) fn launch(&mut self, id: WorkerId) {
        let Some(release) = self.generations.get(&id.generation).map(|g| g.release) else {
            return;
        };
        self.set_process(id, Process::Starting);
        let due = self.now.saturating_add(self.policy.ready_timeout);
        self.timers.set(Timer::Ready(id), due);
        self.emit(Effect::Launch(id, release));
    }

    /// Tells a worker to end, with this long to do it.
    pub(super) fn drain_worker(&mut self, id: WorkerId, deadline: super::Moment) {
        self.silence(id);
        self.set_process(id, Process::Draining);
        self.timers.set(Timer::Kill(id), deadline);
        self.emit(Effect::Drain(id));
    }

    /// Ends a worker now.
    pub(super) fn kill(&mut self, id: WorkerId) {
        self.silence(id);
        self.set_process(id, Process::Killed);
        self.emit(Effect::Kill(id));
    }

    pub(super) fn slot(&self, id: WorkerId) -> Option<&Slot> {
        let slots = &self.generations.get(&id.generation)?.slots;
        slots
            .get(id.slot as usize)
            .filter(|slot| slot.life == id.life)
    }

    pub(super) fn slot_mut(&mut self, id: WorkerId) -> Option<&mut Slot> {
        let slots = &mut self.generations.get_mut(&id.generation)?.slots;
        let slot = slots.get_mut(id.slot as usize)?;
        (slot.life == id.life).then_some(slot)
    }

    fn set_process(&mut self, id: WorkerId, process: Process) {
        if let Some(slot) = self.slot_mut(id) {
            slot.process = process;
        }
    }

    fn serve(&mut self, id: WorkerId) {
        self.timers.stop(Timer::Ready(id));
        self.set_process(id, Process::Ready);
        self.arm_watchdog(id);
        if self.slot(id).is_some_and(|slot| slot.losses > 0) {
            let due = self.now.saturating_add(self.policy.settled_after);
            self.timers.set(Timer::Settled(id), due);
        }
        self.let_go_of_replaced(id.generation);
        self.check_ready(id.generation);
    }

    /// A worker that lives is lost to its generation: it is killed, and what
    /// its loss means is decided at once, not when the kernel is done.
    fn condemn(&mut self, id: WorkerId, cause: Option<Cause>) {
        if let Some(cause) = cause {
            self.tell(Note::Unfit(id, cause));
        }
        self.kill(id);
        self.lost(id, cause);
    }

    /// As [`condemn`](Self::condemn), of a worker that can still finish what it has, and that still
    /// serves: of the active generation it goes when somebody else is there (F1), and no sooner than
    /// there is room for one more that finishes.
    fn dismiss(&mut self, id: WorkerId, cause: Option<Cause>) {
        let Some((held, slot)) = self.generations.get(&id.generation).zip(self.slot(id)) else {
            return;
        };
        let active = held.state == State::Active;
        let adds = slot.added && self.scaling.is_some();
        if !slot.wanted {
            // It is being replaced, or stays while its failed generation is needed.
            return;
        }
        // Nothing else would end it any more.
        let starts = |slot: &Slot| slot.process == Process::Starting;
        let late = starts(slot) && self.timers.due(Timer::Ready(id)).is_none();
        if active && held.is_crowded() && !adds && !late {
            return self.tell(Note::Waits(id));
        }
        if let Some(cause) = cause {
            self.tell(Note::Unfit(id, cause));
        }
        if !active || adds {
            self.lost(id, cause);
        }
        if active {
            self.take_the_place_of(id);
        }
        if late && self.slot(id).is_some_and(starts) {
            self.kill(id);
        }
    }

    /// Another worker takes the place of one that still lives, as one that was lost is started again;
    /// not while too many finish.
    fn take_the_place_of(&mut self, id: WorkerId) {
        let Some(slot) = self.slot(id).copied().filter(|slot| slot.wanted) else {
            return;
        };
        if self.active().is_none_or(Generation::is_crowded) {
            return;
        }
        if let Some(slot) = self.slot_mut(id) {
            slot.dismissed = true;
        }
        let serving = self.active().map_or(0, Generation::ready);
        if slot.process == Process::Ready && serving == 1 {
            if let Some(slot) = self.slot_mut(id) {
                slot.wanted = false;
            }
            self.tell(Note::Stays(id));
        } else {
            self.retire_worker(id, self.now.saturating_add(self.policy.drain_timeout));
        }
        let Some(held) = self.generations.get_mut(&id.generation) else {
            return;
        };
        let new = held.claim(false);
        if let Some(new) = self.slot_mut(new) {
            new.losses = slot.losses;
        }
        self.respawn_later(new);
    }

    /// Somebody of the active generation is ready: those that stayed for want of one may go.
    fn let_go_of_replaced(&mut self, number: GenerationNumber) {
        let active = self.active().filter(|active| active.number == number);
        let stays = |(id, slot): (WorkerId, &Slot)| {
            (slot.process == Process::Ready && !slot.wanted).then_some(id)
        };
        let replaced: Vec<WorkerId> = active
            .into_iter()
            .flat_map(Generation::workers)
            .filter_map(stays)
            .collect();
        let deadline = self.now.saturating_add(self.policy.drain_timeout);
        for id in replaced {
            self.retire_worker(id, deadline);
        }
    }

    fn lost(&mut self, id: WorkerId, cause: Option<Cause>) {
        let Some((cause, held)) = cause.zip(self.generations.get(&id.generation)) else {
            return;
        };
        match held.state {
            State::Starting | State::Baking | State::Canary => {
                let worker = Some(id);
                self.fail(id.generation, Failure { worker, cause });
            }
            State::Active => match self.slot(id) {
                Some(slot) if slot.added && self.scaling.is_some() => {
                    let worker = Some(id);
                    self.fail(id.generation, Failure { worker, cause });
                }
                // Started again once it is gone: a slot holds one process.
                Some(slot) if slot.process == Process::Absent => self.respawn_later(id),
                _ => {}
            },
            State::Draining | State::Failed => {}
        }
    }

    fn respawn_later(&mut self, id: WorkerId) {
        let held = self.generations.get(&id.generation);
        if held.is_none_or(|held| held.state != State::Active) {
            return;
        }
        // Whoever lets a worker go says that its slot is not wanted.
        let Some(slot) = self.slot_mut(id).filter(|slot| slot.wanted) else {
            return;
        };
        slot.losses = slot.losses.saturating_add(1).min(CRASH_LOOP * 4);
        let losses = slot.losses;
        let dice = self.seed ^ (u64::from(id.generation) << 40) ^ (u64::from(id.slot) << 20);
        let dice = dice ^ u64::from(id.life);
        let delay = policy::respawn_delay(&self.policy, losses, dice);
        self.timers
            .set(Timer::Respawn(id), self.now.saturating_add(delay));
        self.tell(Note::Respawn(id, delay, losses));
        if losses == CRASH_LOOP {
            self.tell(Note::CrashLoop(id, losses));
        }
    }

    fn launch_again(&mut self, id: WorkerId) {
        let Some(slot) = self.slot_mut(id).filter(|slot| slot.wanted) else {
            return;
        };
        slot.life += 1;
        let life = slot.life;
        self.launch(WorkerId { life, ..id });
    }

    /// The process is no more.
    fn leave(&mut self, id: WorkerId) {
        self.silence(id);
        self.set_process(id, Process::Absent);
    }

    fn arm_watchdog(&mut self, id: WorkerId) {
        let held = self.generations.get(&id.generation);
        if let Some(watchdog) = held.and_then(|held| held.watchdog) {
            let due = self.now.saturating_add(watchdog);
            self.timers.set(Timer::Watchdog(id), due);
        }
    }

    /// Stops every timer of a worker.
    pub(super) fn silence(&mut self, id: WorkerId) {
        let timers: [fn(WorkerId) -> Timer; 5] = [
            Timer::Ready,
            Timer::Respawn,
            Timer::Kill,
            Timer::Settled,
            Timer::Watchdog,
        ];
        for timer in timers {
            self.timers.stop(timer(id));
        }
    }
}
