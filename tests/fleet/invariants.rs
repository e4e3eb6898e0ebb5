//! What must hold of every effect, by the names that the design gives it.

use crate::fleet::{
    Effect, GenerationNumber, Note, OperationId, Outcome, Plan, ReleaseId, State, Timer, WorkerId,
};
use crate::world::{Action, Gate, Known, Living, Stop, World};

impl World {
    /// One effect, in the order in which it was asked for.
    pub fn effect(&mut self, action: Action, effect: Effect) {
        match effect {
            Effect::Launch(id, release) => self.launched(action, id, release),
            Effect::Drain(id) => {
                self.may_be_told(action, id);
                self.few_dismissed_finish(action, id);
                let clock = self.clock.unwrap_or_default();
                let living = self.signalled(id);
                assert!(
                    living.told.is_none() && living.killed.is_none(),
                    "told twice"
                );
                living.told = Some(clock);
            }
            Effect::Kill(id) => {
                self.f3_no_kill_before_the_deadline(action, id);
                let clock = self.clock.unwrap_or_default();
                let living = self.signalled(id);
                assert!(living.killed.is_none(), "killed twice");
                living.killed = Some(clock);
            }
            Effect::Prepare(number) => {
                let known = self.known.get_mut(&number).expect("it was announced");
                assert_eq!(known.prepared, Gate::Shut, "asked twice, or needlessly");
                known.prepared = Gate::Asked;
            }
            Effect::Approve(number) => {
                let serving = self.serving_of(number);
                let known = self.known.get_mut(&number).expect("it was announced");
                assert_eq!(known.approved, Gate::Shut, "asked twice, or needlessly");
                assert!(serving > 0, "there is nothing to look at");
                known.approved = Gate::Asked;
            }
            Effect::Answer(operation, outcome) => self.answered(action, operation, outcome),
            Effect::Tell(note) => self.told(note),
            Effect::Finish(failure) => {
                assert_eq!(
                    failure.is_some(),
                    self.fatal,
                    "the reason of the first generation's failure"
                );
                self.finished = true;
            }
        }
    }

    fn signalled(&mut self, id: WorkerId) -> &mut Living {
        self.living
            .get_mut(&id)
            .expect("F6: only the living are signalled")
    }

    fn launched(&mut self, action: Action, id: WorkerId, release: ReleaseId) {
        let twin = |other: &WorkerId| (other.generation, other.slot) == (id.generation, id.slot);
        assert!(
            !self.living.keys().any(twin),
            "two processes in the slot of {id:?}"
        );
        let known = self.known.get(&id.generation).expect("it was announced");
        assert_eq!(
            known.release, release,
            "a release is pinned once a generation"
        );
        assert!(
            known.prepared == Gate::Open,
            "started {id:?} although it was not prepared"
        );
        assert!(
            id.life == 0 || self.active == Some(id.generation),
            "only the active generation's workers are started again"
        );
        assert!(!self.is_ending(), "started {id:?} although all is ending");
        let living = Living {
            added: matches!(action, Action::Scale(_)),
            ..Living::default()
        };
        let (workers, plan, promoted) = (known.workers, known.plan, known.promoted);
        self.living.insert(id, living);
        let well = |(other, living): &(&WorkerId, &Living)| {
            other.generation == id.generation && living.is_well() && !living.dismissed
        };
        let well = self.living.iter().filter(well).count() as u32;
        let most = match plan {
            Plan::Canary(few) if !promoted => few.clamp(1, workers),
            Plan::Whole | Plan::Canary(_) | Plan::Rolling(_) => workers,
        };
        assert!(well <= most, "{well} workers where {most} should be");
        if let Plan::Rolling(batch) = plan {
            self.rolling_runs_a_batch_more_at_most(id.generation, batch);
        }
    }

    /// Old and new together: no more than the larger of the two, and a batch.
    fn rolling_runs_a_batch_more_at_most(&self, number: GenerationNumber, batch: u32) {
        let (Some(active), Some(new)) = (self.active, self.known.get(&number)) else {
            return;
        };
        if active == number || self.fleet.rollout().1 != Some(number) {
            return;
        }
        let old = self.known.get(&active).map_or(0, |old| old.workers);
        let living = |(id, living): &(&WorkerId, &Living)| {
            [active, number].contains(&id.generation) && !living.dismissed
        };
        let running = self.living.iter().filter(living).count() as u32;
        let left = |(id, living): &(&WorkerId, &Living)| {
            id.generation == active && living.told.is_some() && !living.dismissed
        };
        let leaving = self.living.iter().filter(left).count();
        // What was on its way out before the first batch does not count.
        assert!(
            new.baked == 0 || (leaving == 0 && running <= old.max(new.workers) + batch.max(1)),
            "a rolling upgrade runs {running} workers, {leaving} of them on their way out"
        );
    }

    fn told(&mut self, note: Note) {
        match note {
            Note::Starting(number, release) => {
                self.announced(number, release);
            }
            Note::Replacing(old, left) => {
                let taken = self.known.get(&old).is_some_and(|old| left < old.workers);
                let target = self.fleet.rollout().1.expect("something replaces it");
                let known = self.known.get_mut(&target).expect("it was announced");
                known.took |= taken;
            }
            Note::Baking(number, _) => {
                let known = self.known.get_mut(&number).expect("it was announced");
                known.bake_over = false;
            }
            Note::NotScaled(number, workers, _) => {
                let known = self.known.get_mut(&number).expect("it was announced");
                assert_eq!(known.from, workers, "as many as before");
                known.workers = workers;
                self.is_perhaps_whole_again();
            }
            Note::Scaling(number, workers) => {
                assert!(workers > 0, "scaled to nothing");
                let known = self.known.get_mut(&number).expect("it was announced");
                known.from = known.from.min(workers);
                known.workers = workers;
                self.is_perhaps_whole_again();
            }
            Note::Active(number) => self.f2_ready_and_baked_before_active(number),
            Note::Failed(number, _) => {
                assert_ne!(
                    self.active,
                    Some(number),
                    "F2: the active generation failed"
                );
                self.fatal |= self.active.is_none();
                if self.known.get(&number).is_some_and(|known| known.took) {
                    self.restoring = Some(number);
                }
            }
            Note::Ended(number) => {
                let survivor = self.living.keys().find(|id| id.generation == number);
                assert_eq!(survivor, None, "F3: a process survived its generation");
                self.known.remove(&number);
            }
            Note::Abandoned => self.living.clear(),
            Note::Growing(..)
            | Note::Canary(..)
            | Note::Restoring(_)
            | Note::Scaled(..)
            | Note::StopDelayed(_)
            | Note::Draining(..)
            | Note::Held(_)
            | Note::CutShort(_)
            | Note::Respawn(..)
            | Note::CrashLoop(..)
            | Note::Unfit(..)
            | Note::Stays(_)
            | Note::Waits(_)
            | Note::Joined(..)
            | Note::Queued(_)
            | Note::Retry(_) => {}
        }
    }

    fn announced(&mut self, number: GenerationNumber, release: ReleaseId) {
        let policy = *self.fleet.policy();
        let gate = |asked| match asked && self.active.is_some() {
            true => Gate::Shut,
            false => Gate::Open,
        };
        let plan = self.fleet.plan().expect("it is being rolled out");
        let known = Known {
            release,
            workers: policy.workers.max(1),
            from: policy.workers.max(1),
            plan,
            promoted: false,
            prepared: gate(policy.prepare),
            approved: gate(policy.approve),
            baked: 0,
            bake_over: true,
            took: false,
        };
        self.known.insert(number, known);
    }

    /// The active generation has all of its workers, and all of them serve.
    pub fn is_perhaps_whole_again(&mut self) {
        let active = self.active.unwrap_or_default();
        let workers = self.known.get(&active).map_or(0, |known| known.workers);
        // Who is to be replaced is none of its workers any more.
        let its = |(id, living): &(&WorkerId, &Living)| {
            id.generation == active && living.serves() && !living.dismissed
        };
        if self.living.iter().filter(its).count() as u32 >= workers {
            self.restoring = None;
        }
    }

    /// F1 and F2 for one worker that is told to drain.
    fn may_be_told(&mut self, action: Action, id: WorkerId) {
        let own_fault = Self::own_fault(action) == Some(id);
        let dismissed = self.living.get(&id).is_some_and(|living| living.dismissed);
        if self.is_ending() || own_fault || dismissed {
            return;
        }
        assert!(
            !self.delayed || self.active != Some(id.generation),
            "the stop did not wait"
        );
        let state = self.fleet.generation(id.generation).map(|held| held.state);
        let serves = self.living.get(&id).is_some_and(Living::serves);
        self.is_perhaps_whole_again();
        if state == Some(State::Failed) && serves {
            assert!(
                self.restoring != Some(id.generation),
                "F1: {id:?} was told to drain before those that it replaced were back"
            );
        }
        if self.active == Some(id.generation) {
            self.f2_replaced_before_it_drains();
        }
    }

    /// With this one no more of those whose places others took than the generation has workers.
    fn few_dismissed_finish(&self, action: Action, id: WorkerId) {
        let dismissed = self.living.get(&id).is_some_and(|living| living.dismissed);
        if !dismissed || Self::own_fault(action) != Some(id) {
            return;
        }
        let finish = |(other, living): &(&WorkerId, &Living)| {
            other.generation == id.generation && living.dismissed && !living.is_well()
        };
        let before = self.living.iter().filter(finish).count() as u32;
        let workers = self
            .known
            .get(&id.generation)
            .map_or(0, |known| known.workers);
        assert!(
            before < workers,
            "{id:?} was replaced while {before} that were replaced before it still finish, of {workers}"
        );
    }

    /// Of the active generation as many stay as are not replaced by baked and
    /// approved workers of a rolling upgrade; all, when nothing rolls.
    fn f2_replaced_before_it_drains(&mut self) {
        let old = self.fleet.active().expect("it drains");
        let workers = self.known.get(&old.number).map_or(0, |known| known.workers);
        let wanted = old.wanted();
        let target = self
            .fleet
            .rollout()
            .1
            .filter(|target| *target != old.number);
        let baked = target.map_or(0, |target| self.baked(target));
        let known = target.and_then(|target| self.known.get_mut(&target));
        let Some(known) = known else {
            assert!(
                wanted >= workers,
                "F2: the active generation was told to drain"
            );
            return;
        };
        let rolls = matches!(known.plan, Plan::Rolling(_))
            && (known.approved == Gate::Open || known.promoted);
        let missing = known.workers.saturating_sub(baked);
        let needed = match rolls {
            true => (workers * missing).div_ceil(known.workers),
            false => workers,
        };
        assert!(
            wanted >= needed,
            "F2: the active generation was told to drain: {wanted} stay, {needed} must"
        );
    }

    /// How many of its workers baked.
    fn baked(&self, number: GenerationNumber) -> u32 {
        if self.fleet.policy().bake.is_zero() {
            return self.serving_of(number);
        }
        self.known.get(&number).map_or(0, |known| known.baked)
    }

    /// The active generation is what it was before this rollout.
    fn check_undone(&self, number: GenerationNumber) {
        let Some(active) = self.fleet.active() else {
            return;
        };
        let workers = self.known.get(&active.number).map(|known| known.workers);
        assert!(
            Some(active.wanted()) == workers && self.restoring != Some(number),
            "answered 'everything is as before' while workers are missing"
        );
    }

    fn answered(&mut self, action: Action, operation: OperationId, outcome: Outcome) {
        assert!(
            self.waiting.remove(&operation),
            "F5: {operation:?} was answered twice, or never asked"
        );
        match outcome {
            Outcome::Failed(number, _) | Outcome::Aborted(number) => {
                assert!(
                    self.living.keys().all(|id| id.generation != number),
                    "answered 'everything is as before' while {number} lives"
                );
                self.check_undone(number);
            }
            Outcome::Canary(number) => {
                self.f2_baked_and_approved(number, self.serving_of(number));
                self.check_undone(number);
            }
            Outcome::Scaled(workers) => {
                let active = self.active.unwrap_or_default();
                let from = self.known.get(&active).map_or(0, |known| known.from);
                let ready = |living: &Living| !living.added || !living.is_well() || living.ready;
                assert!(
                    workers <= from || self.living.values().all(ready),
                    "answered 'scaled' before the added workers were ready"
                );
                self.scaled(workers);
            }
            Outcome::NotScaled(workers, _) => self.scaled(workers),
            Outcome::Active(number) => assert!(
                self.active == Some(number) || self.is_ending(),
                "answered 'active', but it is not"
            ),
            Outcome::Unchanged(number) => assert_eq!(self.active, Some(number)),
            Outcome::Superseded => assert!(
                matches!(action, Action::Request(..) | Action::Scale(_)),
                "superseded by no call at all"
            ),
            Outcome::Stopped => assert!(
                self.living.is_empty(),
                "answered 'stopped' while processes live"
            ),
            Outcome::Stopping => assert!(self.stopping || self.fatal, "nothing stops"),
            Outcome::NotUndone(..) | Outcome::Refused(_) => {}
        }
    }

    fn scaled(&mut self, workers: u32) {
        let active = self.fleet.active().expect("it was scaled");
        let known = self.known.get_mut(&active.number);
        let known = known.expect("it was announced");
        known.from = workers;
        assert_eq!(
            (known.workers, active.wanted()),
            (workers, workers),
            "answered with another number of workers than there is"
        );
        for living in self.living.values_mut() {
            living.added = false;
        }
    }

    pub fn is_ending(&self) -> bool {
        (self.stopping && !self.delayed) || self.fatal
    }

    fn f2_ready_and_baked_before_active(&mut self, number: GenerationNumber) {
        let known = *self.known.get(&number).expect("it was announced");
        assert_eq!(
            self.serving_of(number),
            known.workers,
            "F2: active before all of its workers were ready"
        );
        let canary = matches!(known.plan, Plan::Canary(_));
        assert!(
            known.promoted || !canary,
            "F2: a canary became active that nobody promoted"
        );
        self.f2_baked_and_approved(number, known.workers);
        self.active = Some(number);
        self.restoring = None;
    }

    /// So many of its workers did, unless it is the first generation.
    fn f2_baked_and_approved(&self, number: GenerationNumber, workers: u32) {
        let known = self.known.get(&number).expect("it was announced");
        if self.active.is_none() {
            return;
        }
        assert!(
            self.baked(number) >= workers && workers > 0,
            "F2: active before it was baked"
        );
        assert!(
            known.approved == Gate::Open || known.promoted,
            "F2: active before it was approved"
        );
    }

    fn f3_no_kill_before_the_deadline(&self, action: Action, id: WorkerId) {
        let living = self.living.get(&id).copied().unwrap_or_default();
        if action == Action::Due(Timer::Kill(id)) {
            let (drain, kill) = self.patience;
            let patience = if living.ready { drain } else { drain.min(kill) };
            let long_enough = |now| living.told.is_some_and(|told| now >= told + patience);
            assert!(
                self.clock.is_none_or(long_enough),
                "F3: {id:?} was killed at {:?}: {living:?}",
                self.clock
            );
            return;
        }
        let at_once = match action {
            Action::Stop(Stop::Now) => true,
            Action::Stop(Stop::Signal) => self.signals > 1,
            _ => false,
        };
        let unfit = Self::own_fault(action) == Some(id) && living.told.is_none();
        assert!(
            at_once || unfit || self.is_crowded_out(id.generation),
            "F3: {id:?} was killed before its deadline by {action:?}"
        );
    }
}
