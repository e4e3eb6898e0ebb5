//! Who waits for what, and what became of it.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::watch;

use crate::control::Caller;
use crate::control::view::{OperationKind, OperationResult, OperationState, OperationView};
use crate::fleet::{GenerationNumber, OperationId};

/// Ended operations that `history` shows.
const KEPT: usize = 64;

/// The operation of the first generation, which nobody waits for.
pub(super) const FIRST: OperationId = OperationId(0);

/// Every operation that runs or waits, and the last that ended.
pub(super) struct Operations {
    next: u64,
    /// Tells this master's operations from those of the one before it, which began at 1 too.
    start: u64,
    live: BTreeMap<OperationId, watch::Sender<OperationView>>,
    ended: VecDeque<OperationView>,
}

impl Operations {
    pub(super) fn new(start: u64) -> Self {
        Self {
            next: FIRST.0 + 1,
            start: start & 0xffff,
            live: BTreeMap::new(),
            ended: VecDeque::new(),
        }
    }

    /// A new one; whoever is interested subscribes.
    pub(super) fn begin(
        &mut self,
        kind: OperationKind,
        by: Caller,
        label: Option<String>,
    ) -> (OperationId, watch::Receiver<OperationView>) {
        let id = OperationId(self.next);
        self.next += 1;
        let mut view = OperationView::new(format!("op-{}-{:04x}", id.0, self.start), kind, by);
        view.label = label;
        let (sender, receiver) = watch::channel(view);
        self.live.insert(id, sender);
        (id, receiver)
    }

    /// What was refused before it began: whoever looks for it finds it among the others.
    pub(super) fn refused(
        &mut self,
        kind: OperationKind,
        by: Caller,
        label: Option<String>,
        (reason, hint): (String, Option<String>),
    ) {
        let (id, _) = self.begin(kind, by, label);
        self.update(id, |view| {
            view.hint = hint;
            view.end(OperationResult::Refused, Some(reason));
        });
        self.settle();
    }

    pub(super) fn update(&mut self, id: OperationId, change: impl FnOnce(&mut OperationView)) {
        if let Some(sender) = self.live.get(&id) {
            sender.send_modify(change);
        }
    }

    pub(super) fn view(&self, id: OperationId) -> Option<OperationView> {
        self.live.get(&id).map(|sender| sender.borrow().clone())
    }

    /// The ids of those that the predicate holds for, oldest first.
    pub(super) fn find(&self, holds: impl Fn(&OperationView) -> bool) -> Vec<OperationId> {
        let matching = self
            .live
            .iter()
            .filter(|(_, sender)| holds(&sender.borrow()));
        matching.map(|(id, _)| *id).collect()
    }

    /// Canaries of this generation that stood: what was `done` came to nothing after all, and the history says how.
    pub(super) fn undo_canaries(
        &mut self,
        generation: GenerationNumber,
        how: impl Fn(&mut OperationView),
    ) {
        let is_one = |view: &OperationView| {
            view.canary && view.to == Some(generation) && view.result == Some(OperationResult::Done)
        };
        for view in self.ended.iter_mut().filter(|view| is_one(view)) {
            how(view);
        }
        for id in self.find(is_one) {
            self.update(id, &how);
        }
    }

    /// Who aborts what is under way.
    pub(super) fn aborter(&self) -> Option<Caller> {
        let aborts = |view: &OperationView| {
            view.kind == OperationKind::Abort && view.state == OperationState::Running
        };
        let first = self.find(aborts).into_iter().next()?;
        self.view(first).map(|view| view.by)
    }

    /// Moves those that need nothing more to the history.
    pub(super) fn settle(&mut self) {
        for id in self.find(|view| view.is_ended() && view.drained) {
            if let Some(sender) = self.live.remove(&id) {
                self.ended.push_front(sender.borrow().clone());
            }
        }
        self.ended.truncate(KEPT);
    }

    /// By the name that the caller knows; lives on for who asks again.
    pub(super) fn by_name(&self, name: &str) -> Option<watch::Receiver<OperationView>> {
        let live = self.live.values().find(|sender| sender.borrow().id == name);
        if let Some(sender) = live {
            return Some(sender.subscribe());
        }
        let ended = self.ended.iter().find(|view| view.id == name)?;
        Some(watch::channel(ended.clone()).1)
    }

    /// The one that runs, and the one that waits.
    pub(super) fn current(&self) -> (Option<OperationView>, Option<OperationView>) {
        let in_state = |state: OperationState| {
            let mut views = self.live.values().map(|sender| sender.borrow().clone());
            views.find(|view| view.state == state)
        };
        (
            in_state(OperationState::Running),
            in_state(OperationState::Queued),
        )
    }

    /// All that are known, newest first.
    pub(super) fn history(&self) -> Vec<OperationView> {
        let live = self
            .live
            .values()
            .rev()
            .map(|sender| sender.borrow().clone());
        let mut all: Vec<OperationView> = live.chain(self.ended.iter().cloned()).collect();
        all.sort_by_key(|view| std::cmp::Reverse(view.started_at));
        all
    }

    /// The last upgrade, reload or rollback that ended.
    pub(super) fn last_upgrade(&self) -> Option<OperationView> {
        // A call that was refused changed nothing, and so did a reload without news: what was before is still the last.
        let refused = [OperationResult::Refused, OperationResult::Superseded].map(Some);
        let makes_generations = |view: &OperationView| {
            is_rollout(view.kind)
                && view.is_ended()
                && !view.unchanged
                && !refused.contains(&view.result)
        };
        self.history().into_iter().find(makes_generations)
    }
}

/// Whether it makes a new generation.
pub(super) fn is_rollout(kind: OperationKind) -> bool {
    matches!(
        kind,
        OperationKind::Upgrade | OperationKind::Reload | OperationKind::Rollback
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_changed_nothing_is_no_last_upgrade() {
        let mut operations = Operations::new(7);
        let mut ended = |kind, result| {
            let by = Caller { uid: 0, pid: 1 };
            let (id, _) = operations.begin(kind, by, None);
            operations.update(id, |view| view.end(result, None));
            operations.view(id).map(|view| view.id)
        };
        let failed = ended(OperationKind::Upgrade, OperationResult::Failed);
        ended(OperationKind::Upgrade, OperationResult::Refused);
        ended(OperationKind::Reload, OperationResult::Superseded);
        ended(OperationKind::Scale, OperationResult::Done);
        let by = Caller { uid: 0, pid: 1 };
        let (same, _) = operations.begin(OperationKind::Reload, by, None);
        operations.update(same, |view| {
            (view.to, view.unchanged) = (Some(1), true);
            view.end(OperationResult::Done, None);
        });
        assert!(failed.is_some());
        let last = |operations: &Operations| operations.last_upgrade().map(|view| view.id);
        assert_eq!(last(&operations), failed);
        // Also when nothing of them is live any more.
        for id in operations.find(|_| true) {
            operations.update(id, |view| view.drained = true);
        }
        operations.settle();
        assert_eq!(last(&operations), failed);
        operations.begin(OperationKind::Rollback, Caller { uid: 0, pid: 1 }, None);
        assert_eq!(last(&operations), failed, "one that runs is not the last");
    }
}
