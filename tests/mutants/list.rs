// One deliberate fault each: the file of the room, what is there, what it
// becomes, and who must notice it.

mutants! {
    drain_before_bake {
        "upgrade.rs":
        "self.tell(Note::Baking(number, bake));" =>
        "self.tell(Note::Baking(number, bake));\n        self.active.into_iter().for_each(|old| self.retire(old));",
        "F2: the active generation was told to drain"
    }
    no_bake_at_all {
        "upgrade.rs":
        "if self.active.is_none() || self.policy.bake.is_zero() {" =>
        "if true {",
        "F2: active before it was baked"
    }
    active_with_one_worker_not_ready {
        "generation.rs":
        "self.ready() == self.slots.len()" =>
        "self.ready() + 1 >= self.slots.len()",
        "F2: active before all of its workers were ready"
    }
    the_queue_is_forgotten {
        "upgrade.rs":
        "&& let Some(Queued { request, waiters }) = self.queued.take()" =>
        "&& let Some(Queued { request, waiters }) = None::<Queued>",
        "F5: a call without an answer"
    }
    the_superseded_are_never_answered {
        "upgrade.rs":
        "if let Some(old) = queued.replace(Queued::new(request)) {" =>
        "if let Some(old) = queued.replace(Queued::new(request)).filter(|_| false) {",
        "F5: a call without an answer"
    }
    those_who_join_are_forgotten {
        "upgrade.rs":
        "                    rollout.waiters.push(request.operation);" =>
        "                    let _ = &rollout.waiters;",
        "F5: a call without an answer"
    }
    promote_is_answered_twice {
        "upgrade.rs":
        "                    self.activate(number);\n                }\n            }\n            other" =>
        "                    self.activate(number);\n                    self.answer(operation, Outcome::Active(number));\n                }\n            }\n            other",
        "F5:"
    }
    started_again_while_draining {
        "workers.rs":
        "        // Whoever ends a generation says that none of its slots is wanted.\n        let Some(slot) = self.slot_mut(id).filter(|slot| slot.wanted) else {" =>
        "        let Some(slot) = self.slot_mut(id) else {",
        "timers that are set"
    }
    draining_slots_stay_wanted {
        "drain.rs":
        "            slot.wanted = false;" =>
        "            slot.wanted = true;",
        "timers that are set"
    }
    two_processes_in_a_slot {
        "workers.rs":
        "    fn condemn(&mut self, id: WorkerId, cause: Option<Cause>) {" =>
        "    fn condemn(&mut self, id: WorkerId, cause: Option<Cause>) {\n        self.launch_again(id);",
        "two processes in the slot"
    }
    killed_when_retired {
        "drain.rs":
        "Step::Drain => self.drain_worker(id, deadline)," =>
        "Step::Drain => self.kill(id),",
        "F3:"
    }
    the_undo_is_never_done {
        "rollout.rs":
        "(P::Undoing, T::Undone) => Move::Conclude," =>
        "(P::Undoing, T::Undone) => Move::Nothing,",
        "f17_new_worker_dies_right_after_ready"
    }
    given_up_never {
        "rollout.rs":
        "(P::Undoing, T::UndoDue) => Move::GiveUp," =>
        "(P::Undoing, T::UndoDue) => Move::Nothing,",
        "timers that are set"
    }
    the_bake_goes_on_after_a_failure {
        "rollout.rs":
        "(P::Idle | P::Starting | P::Undoing, T::BakeDue) => Move::Nothing," =>
        "(P::Undoing, T::BakeDue) => Move::Activate,\n        (P::Idle | P::Starting, T::BakeDue) => Move::Nothing,",
        "late news"
    }
    the_bake_timer_stays_after_a_failure {
        "upgrade.rs":
        "        self.timers.stop(Timer::Bake(number));\n        self.set_phase(Phase::Undoing);" =>
        "        self.set_phase(Phase::Undoing);",
        "timers that are set"
    }
    the_held_are_forgotten {
        "drain.rs":
        "if self.stage != Stage::Serving {\n            return;" =>
        "if self.stage != Stage::Stopping {\n            return;",
        "failed generations stay"
    }
    the_held_drain_at_once {
        "drain.rs":
        "        if self.somebody_else_serves(number) {\n            self.drain_the_rest(number);\n        } else if" =>
        "        if true {\n            self.drain_the_rest(number);\n        } else if",
        "F1:"
    }
    every_failed_generation_is_held {
        "drain.rs":
        "State::Active | State::Failed);" =>
        "State::Active);",
        "f16_only_one_failed_generation_stays"
    }
    started_again_from_the_new_release {
        "workers.rs":
        "        self.emit(Effect::Launch(id, release));" =>
        "        let newest = self.generations.values().next_back().map(|g| g.release);\n        self.emit(Effect::Launch(id, newest.unwrap_or(release)));",
        "a release is pinned once a generation"
    }
    an_abort_changes_nothing {
        "upgrade.rs":
        "                    self.undo(number, Some(failure));\n                }\n            }\n            (Move::Desist" =>
        "                    let _ = (number, failure);\n                }\n            }\n            (Move::Desist",
        "F5: a call without an answer"
    }
    an_abort_does_not_end_the_retries {
        "upgrade.rs":
        "        rollout.retries = 0;\n" =>
        "",
        "abort_during_the_undo_ends_the_retries"
    }
    aborters_are_forgotten {
        "upgrade.rs":
        "        for operation in rollout.aborters {" =>
        "        for operation in rollout.aborters.into_iter().take(0) {",
        "F5: a call without an answer"
    }
    a_stop_forgets_who_waits {
        "drain.rs":
        "        self.stop_waiters.extend(operation);" =>
        "        let _ = &self.stop_waiters;",
        "F5: a call without an answer"
    }
    a_stop_forgets_the_upgrades {
        "drain.rs":
        "        self.dismiss_rollouts();" =>
        "        self.rollout = None;",
        "F5: a call without an answer"
    }
    the_first_failure_does_not_finish {
        "upgrade.rs":
        "        if self.active.is_none() {\n            return self.first_failed(number, failure);\n        }" =>
        "",
        "the reason of the first generation's failure"
    }
    a_second_signal_does_not_kill {
        "drain.rs":
        "if again || now {" =>
        "if now {",
        "f15_a_second_signal"
    }
    a_repeated_call_kills {
        "drain.rs":
        "operation.is_none() && std::mem::replace" =>
        "std::mem::replace",
        "F3:"
    }
    one_generation_more_may_drain {
        "drain.rs":
        "numbers.len().saturating_sub(most)" =>
        "numbers.len().saturating_sub(most + 1)",
        "F3:"
    }
    the_newest_is_cut_short {
        "drain.rs":
        "in numbers.into_iter().take(excess)" =>
        "in numbers.into_iter().rev().take(excess)",
        "F3:"
    }
    rollback_to_the_oldest {
        "mod.rs":
        "self.good.iter().rev().find(earlier)" =>
        "self.good.iter().find(earlier)",
        "rollback_again_goes_further_back"
    }
    rollback_goes_back_and_forth {
        "upgrade.rs":
        "Kind::Rollback { to } => self.stands_for(to)," =>
        "Kind::Rollback { .. } => number,",
        "rollback_again_goes_further_back"
    }
    rollback_meets_what_was_left {
        "upgrade.rs":
        "good.map_or(number, |good| good.stands_for)" =>
        "good.map_or(number, |good| good.number)",
        "rollback_after_rollback"
    }
    ready_of_an_earlier_life_counts {
        "workers.rs":
        "            .filter(|slot| slot.life == id.life)\n" =>
        "",
        "late news"
    }
    a_draining_worker_is_called_back {
        "worker.rs":
        "(P::Absent | P::Ready | P::Draining | P::Killed, H::Ready) => Step::Nothing," =>
        "(P::Draining, H::Ready) => Step::Serve,\n        (P::Absent | P::Ready | P::Killed, H::Ready) => Step::Nothing,",
        "late news"
    }
    a_drain_has_no_deadline {
        "workers.rs":
        "        self.timers.set(Timer::Kill(id), deadline);" =>
        "        let _ = deadline;",
        "timers that are set"
    }
    a_start_has_no_deadline {
        "workers.rs":
        "        self.timers.set(Timer::Ready(id), due);" =>
        "        let _ = due;",
        "timers that are set"
    }
    extending_shortens {
        "workers.rs":
        "due.max(self.now.saturating_add(by))" =>
        "self.now.saturating_add(by)",
        "extend_timeout_gives"
    }
    a_failure_ends_the_old_one {
        "upgrade.rs":
        "        self.retire_failed(number);" =>
        "        self.active.into_iter().for_each(|old| self.retire(old));\n        self.retire_failed(number);",
        "F2:"
    }
    a_loss_in_the_bake_is_overlooked {
        "rollout.rs":
        "(P::Starting | P::Baking, T::Against) => Move::Undo,\n        (P::Idle | P::Undoing, T::Against)" =>
        "(P::Starting, T::Against) => Move::Undo,\n        (P::Idle | P::Baking | P::Undoing, T::Against)",
        "F2: active before all of its workers were ready"
    }
    answered_before_it_is_undone {
        "upgrade.rs":
        "        self.retire_failed(number);" =>
        "        self.retire_failed(number);\n        self.conclude(number);",
        "everything is as before"
    }
    timers_stay_at_the_end {
        "drain.rs":
        "        self.timers = Timers::default();\n" =>
        "",
        "timers that are set"
    }
    signals_put_the_end_off {
        "drain.rs":
        "sooner.min(moment)" =>
        "moment",
        "f23_repeated_signals"
    }
    the_watchdog_of_the_new_policy {
        "workers.rs":
        "held.and_then(|held| held.watchdog)" =>
        "held.and(self.policy.watchdog)",
        "a_running_worker_keeps_the_watchdog"
    }
    a_drain_waits_for_the_longer_deadline {
        "drain.rs":
        "            .is_some_and(|due| due > deadline)" =>
        "            .is_some_and(|due| due < deadline)",
        "a_stop_does_not_lengthen"
    }
    no_backoff {
        "policy.rs":
        ".saturating_mul(1 << doublings)" =>
        ".saturating_mul(1 << (doublings * 0))",
        "f17_a_crash_loop_slows_down"
    }
    a_settled_worker_is_not_trusted {
        "workers.rs":
        "                    slot.losses = 0;" =>
        "                    slot.losses += 0;",
        "a_worker_that_settled"
    }
}
