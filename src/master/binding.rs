//! Listeners that a config adds are bound by a thread: a host name may have to be looked up, and who holds an
//! address is found by a walk through `/proc`. Calls that come meanwhile wait for their turn, since what they lack
//! depends on what is bound now.

use std::collections::VecDeque;

use tokio::sync::watch;

use super::groups::Lacking;
use super::holders;
use super::releases::Manner;
use super::sticky::Sticky;
use super::{Input, Master};
use crate::config::Loaded;
use crate::control::view::{OperationKind, OperationResult, OperationView};
use crate::control::{ApiError, Caller, Event, UpgradeRequest};
use crate::fleet::{Kind, OperationId};
use crate::process::Release;
use crate::sockets::{Arranged, Arrangement};

/// A call that was found to be right.
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) loaded: Loaded,
    pub(super) sticky: Sticky,
    /// What of earlier upgrades ends with it.
    pub(super) ends: Option<String>,
    pub(super) release: Release,
    pub(super) manner: Manner,
    pub(super) lacking: Lacking,
    /// Workers of a canary; none: as the config says.
    pub(super) canary: Option<u32>,
}

/// The call whose listeners are being bound, and those behind it.
#[derive(Default)]
pub(super) struct Binding {
    now: Option<(OperationId, Asked)>,
    waiting: VecDeque<(OperationId, OperationKind, UpgradeRequest, Caller)>,
}

impl Binding {
    /// A call is at it, or waits for its turn.
    pub(super) fn is_busy(&self) -> bool {
        self.now.is_some() || !self.waiting.is_empty()
    }
}

impl Master {
    /// Goes on with a call when all its listeners are there.
    pub(super) fn bind(&mut self, id: OperationId, asked: Asked, arrangement: Arrangement) {
        if arrangement.is_complete() {
            return match arrangement.bind(None) {
                Ok(arranged) => self.go_on(id, asked, arranged),
                Err(error) => self.refuse(id, &error.to_string()),
            };
        }
        let (keep, inputs) = (self.runtime.listeners(), self.inputs.clone());
        let file = self.sources.file.clone();
        let thread = std::thread::Builder::new().name("bind".to_owned());
        let spawned = thread.spawn(move || {
            let bound = arrangement.bind(Some(&keep));
            let bound = bound.map_err(|error| holders::of_address(error, file.as_deref()));
            // Where nobody takes them any more nothing may be left of them.
            if let Err(lost) = inputs.blocking_send(Input::Bound(bound))
                && let Input::Bound(Ok(arranged)) = lost.0
            {
                arranged.take_back();
            }
        });
        match spawned {
            Ok(_) => self.binding.now = Some((id, asked)),
            Err(error) => self.refuse(id, &format!("no thread to bind a listener: {error}")),
        }
    }

    /// A call that comes while another one's listeners are being bound.
    pub(super) fn wait_for_binding(
        &mut self,
        kind: OperationKind,
        upgrade: UpgradeRequest,
        by: Caller,
    ) -> watch::Receiver<OperationView> {
        let (id, receiver) = self.operations.begin(kind, by, upgrade.label.clone());
        self.binding.waiting.push_back((id, kind, upgrade, by));
        receiver
    }

    pub(super) fn on_bound(&mut self, outcome: Result<Arranged, String>) {
        match (self.binding.now.take(), outcome) {
            (Some((id, asked)), Ok(arranged)) => self.go_on(id, asked, arranged),
            (Some((id, _)), Err(why)) => self.refuse(id, &why),
            (None, Ok(arranged)) => arranged.take_back(),
            (None, Err(_)) => {}
        }
        self.call_next();
    }

    /// The fleet knows of the call before: the next one has its turn.
    pub(super) fn bind_next(&mut self) {
        let Some((id, kind, upgrade, by)) = self.binding.waiting.pop_front() else {
            return;
        };
        match self.prepare(kind, &upgrade, by) {
            Ok((asked, arrangement)) => self.bind(id, asked, arrangement),
            Err(ApiError { message, .. }) => self.refuse(id, &message),
        }
        if self.binding.now.is_none() {
            self.call_next();
        }
    }

    /// In another turn of the loop: what a call is compared with is under way by then.
    fn call_next(&self) {
        if !self.binding.waiting.is_empty() {
            let inputs = self.inputs.clone();
            tokio::spawn(async move { inputs.send(Input::BindNext).await.is_ok() });
        }
    }

    /// Nothing begins, and nothing changed.
    fn refuse(&mut self, id: OperationId, why: &str) {
        let reason = why.to_owned();
        self.tell(&Event::ConfigRefused {
            reason: reason.clone(),
        });
        self.operations.update(id, |view| {
            view.end(OperationResult::Refused, Some(reason.clone()));
        });
        if let Some(view) = self.operations.view(id) {
            self.tell(&Event::OperationEnded {
                operation: view.id,
                operation_kind: view.kind,
                result: OperationResult::Refused,
                reason: Some(reason),
                duration_ms: view.duration_ms.unwrap_or_default(),
            });
        }
    }
}
