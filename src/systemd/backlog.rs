//! What waits while the service manager does not listen. Pure.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// The longest sentence behind `STATUS=`, in bytes; systemd drops a datagram of
/// more than 4096 altogether.
const STATUS_BYTES_MAX: usize = 2048;

/// What systemd has not been told yet. At most three states: a first `READY=1`,
/// one `RELOADING=1`, and what ended it.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    states: VecDeque<State>,
    status: Option<String>,
    /// `STOPPING=1` is final: nothing but statuses may follow it.
    stopping: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    /// With the moment at which the reload began, in µs of CLOCK_MONOTONIC.
    Reloading(i64),
    Stopping,
}

impl Backlog {
    /// Of several sentences only the newest is worth telling.
    pub(super) fn set_status(&mut self, status: &str) {
        self.status = Some(one_line(status));
    }

    /// Keeps the shortest list that brings systemd into the same state: a reload
    /// that began and ended while nobody listened never was, but a first
    /// `READY=1` and the latest reload are told whole and in order.
    pub(super) fn push(&mut self, state: State) {
        if self.stopping {
            return;
        }
        let began_ready = self.states.front() == Some(&State::Ready);
        match state {
            State::Ready if self.states.back() == Some(&State::Ready) => return,
            State::Ready => {}
            State::Reloading(_) => self.states.truncate(usize::from(began_ready)),
            State::Stopping => {
                self.states.truncate(usize::from(began_ready));
                self.stopping = true;
            }
        }
        self.states.push_back(state);
    }

    /// The next datagram, and how many states it carries (none: a bare status).
    /// The status goes with the last state, so that it is never ahead of it.
    pub(super) fn next_message(&self) -> Option<(String, usize)> {
        let mut message = match self.states.front() {
            None => String::new(),
            Some(State::Ready) => "READY=1".to_owned(),
            Some(State::Reloading(stamp_usec)) => {
                format!("RELOADING=1\nMONOTONIC_USEC={stamp_usec}")
            }
            Some(State::Stopping) => "STOPPING=1".to_owned(),
        };
        if self.states.len() <= 1
            && let Some(status) = &self.status
        {
            let separator = if message.is_empty() { "" } else { "\n" };
            let _ = write!(message, "{separator}STATUS={status}");
        }
        (!message.is_empty()).then_some((message, self.states.len().min(1)))
    }

    /// That message is out, with so many states.
    pub(super) fn sent(&mut self, states: usize) {
        if self.states.len() <= 1 {
            self.status = None;
        }
        self.states.drain(..states);
    }
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(STATUS_BYTES_MAX));
    for char in text.chars() {
        if line.len() + char.len_utf8() > STATUS_BYTES_MAX {
            break;
        }
        line.push(if char.is_control() { ' ' } else { char });
    }
    line
}
