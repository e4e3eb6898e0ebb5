// One deliberate fault each: the file of the room, what is there, what it
// becomes, and who must notice it.

mutants! {
    drain_before_bake {
        "advance.rs":
        "self.tell(Note::Baking(number, bake));" =>
        "self.tell(Note::Baking(number, bake));\n        self.active.into_iter().for_each(|old| self.retire(old));",
        "F2: the active generation was told to drain"
    }
    no_bake_at_all {
        "advance.rs":
        "if self.active.is_none() {\n            return self.activate(number);" =>
        "if true {\n            return self.activate(number);",
        "F2: active before it was baked"
    }
    active_with_one_worker_not_ready {
        "generation.rs":
        "let serves = |slot: &Slot| !slot.wanted || slot.process == Process::Ready;\n        self.slots.iter().all(serves)" =>
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
        "advance.rs":
        "                self.advance(number);\n            }\n            other" =>
        "                self.advance(number);\n                self.answer(operation, Outcome::Active(number));\n            }\n            other",
        "F5:"
    }
    started_again_while_draining {
        "workers.rs":
        "        // Whoever lets a worker go says that its slot is not wanted.\n        let Some(slot) = self.slot_mut(id).filter(|slot| slot.wanted) else {" =>
        "        let Some(slot) = self.slot_mut(id) else {",
        "timers that are set"
    }
    draining_slots_stay_wanted {
        "drain.rs":
        "        (slot.wanted, slot.added) = (false, false);" =>
        "        (slot.wanted, slot.added) = (true, false);",
        "workers are wanted"
    }
    two_processes_in_a_slot {
        "workers.rs":
        "    fn condemn(&mut self, id: WorkerId, cause: Option<Cause>) {" =>
        "    fn condemn(&mut self, id: WorkerId, cause: Option<Cause>) {\n        self.launch_again(id);",
        "two processes in the slot"
    }
    the_unhealthy_are_killed {
        "worker.rs":
        "(P::Starting | P::Ready, H::Unhealthy) => Step::Dismiss," =>
        "(P::Starting | P::Ready, H::Unhealthy) => Step::Condemn,",
        "F1:"
    }
    the_unhealthy_are_not_replaced {
        "workers.rs":
        "        self.respawn_later(new);" =>
        "        let _ = new;",
        "f1_the_only_worker_that_serves_stays_until_another_one_does"
    }
    the_unhealthy_go_first {
        "workers.rs":
        "if slot.process == Process::Ready && serving == 1 {" =>
        "if false {",
        "F1:"
    }
    the_unhealthy_stay_for_ever {
        "workers.rs":
        "        self.let_go_of_replaced(id.generation);" =>
        "",
        "f1_the_only_worker_that_serves_stays_until_another_one_does"
    }
    the_unhealthy_pile_up {
        "generation.rs":
        "self.slots.iter().filter(finish).count() >= self.size.max(1) as usize" =>
        "self.slots.iter().filter(finish).count() == usize::MAX",
        "that were replaced before it still finish"
    }
    the_late_wait_for_ever {
        "workers.rs":
        "if late && self.slot(id).is_some_and(starts) {" =>
        "if false {",
        "timers that are set"
    }
    killed_when_retired {
        "drain.rs":
        "Step::Drain => self.drain_worker(id, deadline)," =>
        "Step::Drain => self.kill(id),",
        "F3:"
    }
    the_undo_is_never_done {
        "rollout.rs":
        "only(phase == P::Undoing, Move::Conclude)" =>
        "Move::Nothing",
        "f17_new_worker_dies_right_after_ready"
    }
    given_up_never {
        "rollout.rs":
        "only(phase == P::Undoing, Move::GiveUp)" =>
        "Move::Nothing",
        "timers that are set"
    }
    the_bake_goes_on_after_a_failure {
        "rollout.rs":
        "only(phase == P::Baking, Move::Advance)" =>
        "only(matches!(phase, P::Baking | P::Undoing), Move::Advance)",
        "late news"
    }
    the_bake_timer_stays_after_a_failure {
        "undo.rs":
        "        self.stop_stage_timers(number);\n        self.set_phase(Phase::Undoing);" =>
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
        "        if self.may_go(number) {\n            self.drain_the_rest(number);\n        } else if" =>
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
        "undo.rs":
        "                    self.undo(number, Some(failure));\n                }\n            }\n            (Move::Desist" =>
        "                    let _ = (number, failure);\n                }\n            }\n            (Move::Desist",
        "F5: a call without an answer"
    }
    an_abort_does_not_end_the_retries {
        "undo.rs":
        "        rollout.retries = 0;\n" =>
        "",
        "abort_during_the_undo_ends_the_retries"
    }
    aborters_are_forgotten {
        "undo.rs":
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
        "        self.dismiss_rollouts();\n        let deadline" =>
        "        self.rollout = None;\n        let deadline",
        "F5: a call without an answer"
    }
    the_first_failure_does_not_finish {
        "undo.rs":
        "        if self.active.is_none() {\n            return self.first_failed(number, failure);\n        }" =>
        "",
        "the reason of the first generation's failure"
    }
    a_second_signal_does_not_kill {
        "drain.rs":
        "let at_once = again || now;" =>
        "let at_once = now;",
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
        "undo.rs":
        "        self.retire_failed(number);" =>
        "        self.active.into_iter().for_each(|old| self.retire(old));\n        self.retire_failed(number);",
        "F2:"
    }
    a_loss_in_the_bake_is_overlooked {
        "rollout.rs":
        "P::Preparing | P::Starting | P::Baking | P::Canary | P::Replacing => Move::Undo,\n            P::Scaling => Move::TakeBack,\n            P::Idle | P::Undoing" =>
        "P::Preparing | P::Starting | P::Canary | P::Replacing => Move::Undo,\n            P::Scaling => Move::TakeBack,\n            P::Idle | P::Baking | P::Undoing",
        "F2: active before all of its workers were ready"
    }
    answered_before_it_is_undone {
        "undo.rs":
        "        self.retire_failed(number);" =>
        "        self.retire_failed(number);\n        if let Some((rollout, failure)) = self.take_failed() {\n            self.answer_failed(rollout, Outcome::Failed(number, failure));\n        }",
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
    a_canary_becomes_active_by_itself {
        "advance.rs":
        "Plan::Canary(_) => self.stand(number)," =>
        "Plan::Canary(_) => self.activate(number),",
        "F2:"
    }
    a_canary_of_all_becomes_active_by_itself {
        "advance.rs":
        "            Plan::Canary(_) => self.stand(number),\n" =>
        "            Plan::Canary(_) if !held.is_whole() => self.stand(number),\n            Plan::Canary(_) => self.activate(number),\n",
        "F2: a canary became active that nobody promoted"
    }
    a_promoted_canary_does_not_grow {
        "advance.rs":
        "if held.is_whole() => self.activate(number)," =>
        "if true => self.activate(number),",
        "F2: active before all of its workers were ready"
    }
    a_canary_is_all_at_once {
        "advance.rs":
        "Plan::Canary(workers) => workers.clamp(1, size)," =>
        "Plan::Canary(_) => size,",
        "where 1 should be"
    }
    whoever_waits_for_a_canary_is_forgotten {
        "advance.rs":
        "std::mem::take(&mut rollout.waiters)" =>
        "Vec::new()",
        "a_canary_stands_until_it_is_promoted"
    }
    a_canary_keeps_the_queue {
        "advance.rs":
        "self.queued.take_if(|queued| queued.kind() != Kind::Renew)" =>
        "self.queued.take_if(|_| false)",
        "while_a_canary_stands_other_calls"
    }
    a_canary_stands_for_ever {
        "advance.rs":
        "        if !limit.is_zero() {" =>
        "        if false {",
        "nobody_decides_and_the_canary_goes"
    }
    a_lost_canary_stays {
        "rollout.rs":
        "P::Preparing | P::Starting | P::Baking | P::Canary | P::Replacing => Move::Undo,\n            P::Scaling => Move::TakeBack,\n            P::Idle | P::Undoing" =>
        "P::Preparing | P::Starting | P::Baking | P::Replacing => Move::Undo,\n            P::Scaling => Move::TakeBack,\n            P::Idle | P::Canary | P::Undoing",
        "a_canary_that_dies"
    }
    a_promoted_canary_is_retried {
        "advance.rs":
        "        rollout.retries = 0;\n" =>
        "",
        "a_canary_that_dies_is_not_tried_again"
    }
    rolling_drains_before_the_replacement_baked {
        "advance.rs":
        "self.tell(Note::Growing(number, workers));" =>
        "self.tell(Note::Growing(number, workers));\n            self.active.into_iter().for_each(|old| self.shrink_to(old, 1));",
        "F2: the active generation was told to drain"
    }
    rolling_takes_one_too_many {
        "advance.rs":
        "let left = left.div_ceil(u64::from(new.size.max(1)));" =>
        "let left = left.div_ceil(u64::from(new.size.max(1))).saturating_sub(1);",
        "F2: the active generation was told to drain"
    }
    rolling_does_not_wait_for_those_that_go {
        "generation.rs":
        "let leaving = |slot: &Slot| !slot.wanted && !here(slot);" =>
        "let leaving = |slot: &Slot| !slot.wanted && here(slot) && slot.process == Process::Ready;",
        "a rolling upgrade runs"
    }
    rolling_never_goes_on {
        "drain.rs":
        "        self.check_replaced();\n" =>
        "",
        "an_old_worker_drains_when_its_replacement_baked"
    }
    a_failed_roll_ends_the_new_before_the_old_are_back {
        "drain.rs":
        "somebody_else_serves && !(stands_in && restoring)" =>
        "somebody_else_serves",
        "F1:"
    }
    a_failed_roll_does_not_bring_the_old_back {
        "undo.rs":
        "        self.grow_to(number, size, false);" =>
        "        let _ = size;",
        "a_failed_batch_brings_the_old_workers_back"
    }
    a_failed_roll_is_answered_before_the_old_are_back {
        "undo.rs":
        "if restoring || self.generations" =>
        "if self.generations",
        "workers are missing"
    }
    a_failed_roll_is_never_over {
        "undo.rs":
        "                self.turn_of(failed, Turn::Undone, None);" =>
        "                let _ = failed;",
        "an_undone_roll_waits_for_the_old"
    }
    scaled_to_nothing {
        "resize.rs":
        "Scale::To(workers) => workers.max(1)," =>
        "Scale::To(workers) => workers,",
        "scaled to nothing"
    }
    scaled_down_to_nothing {
        "resize.rs":
        "old.saturating_sub(1).max(1)" =>
        "old.saturating_sub(1)",
        "scaled to nothing"
    }
    a_scaling_is_answered_before_the_workers_are_ready {
        "generation.rs":
        "let serves = |slot: &Slot| !slot.added || slot.process == Process::Ready;" =>
        "let serves = |slot: &Slot| !slot.added || slot.process != Process::Absent;",
        "before the added workers were ready"
    }
    the_serving_are_let_go_first {
        "resize.rs":
        "                Process::Ready => 2," =>
        "                Process::Ready => 0,",
        "F1:"
    }
    added_workers_are_not_taken_back {
        "resize.rs":
        "        self.shrink_to(target, from);\n" =>
        "",
        "answered with another number of workers"
    }
    an_older_scaling_is_forgotten {
        "resize.rs":
        "            self.answer(waiter, Outcome::Superseded);" =>
        "            let _ = waiter;",
        "F5: a call without an answer"
    }
    a_call_that_waits_for_a_scaling_is_forgotten {
        "resize.rs":
        "self.answer(scaling.waiter, Outcome::Scaled(workers));\n        self.next();" =>
        "self.answer(scaling.waiter, Outcome::Scaled(workers));",
        "F5: a call without an answer"
    }
    an_upgrade_may_be_scaled {
        "rollout.rs":
        "P::Preparing | P::Starting | P::Baking => Move::RefuseBusy," =>
        "P::Preparing | P::Starting | P::Baking => Move::Scale,",
        "an_upgrade_and_a_scaling_do_not_mix"
    }
    a_place_is_taken_again_in_the_same_life {
        "generation.rs":
        ".map_or(0, |slot| slot.life + 1)" =>
        ".map_or(0, |slot| slot.life)",
        "a_place_that_is_taken_again_is_a_new_life"
    }
    prepare_is_skipped {
        "upgrade.rs":
        "            self.emit(Effect::Prepare(number));" =>
        "            self.emit(Effect::Prepare(number));\n            self.launch_next(number);",
        "although it was not prepared"
    }
    approval_is_not_waited_for {
        "advance.rs":
        "if rollout.gate != Gate::Open || self.timers" =>
        "if self.timers",
        "F2: active before it was approved"
    }
    approval_is_asked_for_again {
        "advance.rs":
        "            rollout.gate = Gate::Asked;" =>
        "            rollout.gate = Gate::Shut;",
        "the_bake_waits_for_the_approval"
    }
    approval_ends_the_bake {
        "advance.rs":
        "            rollout.gate = Gate::Open;\n            self.advance(number);" =>
        "            rollout.gate = Gate::Open;\n            self.timers.stop(Timer::Bake(number));\n            self.advance(number);",
        "F2: active before it was baked"
    }
    a_stop_does_not_wait {
        "drain.rs":
        "if self.stage == Stage::Serving && !at_once && !delay.is_zero() {" =>
        "if false {",
        "the stop did not wait"
    }
    a_delayed_stop_never_drains {
        "mod.rs":
        "Timer::StopDelay => self.stop_delay_is_over()," =>
        "Timer::StopDelay => {}",
        "timers that are set"
    }
    a_second_signal_waits_for_the_delay {
        "drain.rs":
        "        if at_once {\n            self.stop_delay_is_over();\n" =>
        "        if at_once {\n",
        "timers that are set"
    }
}
