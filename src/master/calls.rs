//! What the control API asks.

use std::collections::BTreeMap;

use super::Master;
use crate::config::{self, Applies, Origin};
use crate::control::metrics::exposition;
use crate::control::view::{
    ConfigValue, ConfigView, HistoryView, LogLine, LogsView, OperationState, Stream,
};
use crate::control::{Answer, ApiError, Call, Timestamp};
use crate::fleet::WorkerId;
use crate::process::{self, Line};

impl Master {
    pub(super) fn on_call(&mut self, call: Call) -> Answer {
        match call {
            Call::Status => Answer::view(&self.status()),
            Call::Config => Answer::view(&self.config_view()),
            Call::History => Answer::view(&HistoryView {
                since: Some(self.started_at),
                operations: self.operations.history(),
            }),
            Call::Operation(name) => match self.operations.by_name(&name) {
                Some(operation) => Answer::Operation(operation),
                None => ApiError::not_found(format!("no operation {name} is known")).into(),
            },
            Call::Logs {
                worker,
                generation,
                after,
                lines,
            } => match self.logs(worker.as_deref(), generation, after, lines) {
                Ok(view) => Answer::view(&view),
                Err(error) => error.into(),
            },
            Call::Ready => Answer::Ready {
                ready: self.fleet.is_serving() && self.is_reachable(),
                detail: self.sentence(),
            },
            Call::Metrics => Answer::Text(exposition(&self.metrics())),
            Call::Start { kind, by } => match self.start_operation(kind, by) {
                Ok(operation) => Answer::Operation(operation),
                Err(error) => error.into(),
            },
        }
    }

    fn config_view(&self) -> ConfigView {
        let values = config::effective(&self.loaded.config, &self.loaded.origins);
        let said = config::effective(&self.said, &self.loaded.origins);
        let mut by_key = BTreeMap::new();
        by_key.extend(said.into_iter().map(|one| (one.key, one.value)));
        let said = by_key;
        let values = values.into_iter().map(|value| match value.key.as_str() {
            "name" if value.value.is_none() && value.origin == Origin::Default => {
                self.derived_name()
            }
            _ => view_of(value, &said),
        });
        ConfigView {
            file: self
                .sources
                .file
                .as_ref()
                .map(|file| file.display().to_string()),
            values: values.collect(),
            sticky: self.sticky_sentence(),
        }
    }

    /// Nobody said a name: it is made of something else.
    fn derived_name(&self) -> ConfigValue {
        let source = match &self.sources.file {
            Some(file) => format!("of {}", file.display()),
            None => "of the command".to_owned(),
        };
        ConfigValue {
            key: "name".to_owned(),
            value: self.name.clone().into(),
            origin: format!("default, {source}"),
            masked: false,
        }
    }

    fn logs(
        &self,
        worker: Option<&str>,
        generation: Option<u32>,
        after: Option<u64>,
        most: Option<u32>,
    ) -> Result<LogsView, ApiError> {
        let live = self.workers.all.iter();
        let live = live.filter_map(|(id, worker)| Some((*id, worker.output.as_ref()?)));
        let gone = self
            .workers
            .archive
            .iter()
            .map(|(id, output)| (*id, output));
        let wanted = |id: &WorkerId| {
            worker.is_none_or(|name| id.to_string() == name)
                && generation.is_none_or(|number| id.generation == number)
        };
        let outputs: Vec<_> = gone.chain(live).filter(|(id, _)| wanted(id)).collect();
        if outputs.is_empty() && (worker.is_some() || generation.is_some()) {
            let what = worker.map_or_else(
                || format!("generation {}", generation.unwrap_or_default()),
                |worker| format!("worker {worker}"),
            );
            return Err(ApiError::not_found(format!("no output of {what} is kept")));
        }
        let mut dropped = 0;
        let mut lines = Vec::new();
        for (id, output) in outputs {
            let tail = output.tail();
            dropped += tail.dropped();
            let new = tail.since(after.unwrap_or_default());
            lines.extend(new.map(|line| log_line(id, line)));
        }
        lines.sort_unstable_by_key(|line| line.seq);
        let excess = lines
            .len()
            .saturating_sub(most.unwrap_or(u32::MAX) as usize);
        lines.drain(..excess);
        let next = lines
            .last()
            .map_or(after.unwrap_or_default(), |line| line.seq);
        Ok(LogsView {
            lines,
            next,
            dropped,
        })
    }

    /// What is under way, for `status`.
    pub(super) fn is_upgrading(&self) -> bool {
        let (running, _) = self.operations.current();
        running.is_some_and(|view| view.state == OperationState::Running)
    }
}

fn view_of(value: config::Effective, said: &BTreeMap<String, Option<String>>) -> ConfigValue {
    ConfigValue {
        masked: value
            .value
            .as_deref()
            .is_some_and(|text| text.contains("***")),
        origin: origin_of(&value, said.get(&value.key)),
        key: value.key,
        value: as_json(value.value),
    }
}

/// Where a value came from. One that is in force still, although its place says another by now, did not come from there.
fn origin_of(value: &config::Effective, said: Option<&Option<String>>) -> String {
    let Some(said) = said.filter(|said| **said != value.value) else {
        return value.origin.to_string();
    };
    let unnumbered = match value.key.strip_prefix("listen[") {
        Some(rest) => rest.split_once(']').map(|(_, key)| format!("listen{key}")),
        None => None,
    };
    let when = match config::applies(unnumbered.as_deref().unwrap_or(&value.key)) {
        Applies::Restart => "when the master starts anew",
        Applies::Release => "with the next generation",
        Applies::Live => "once that is in force",
    };
    let said = said.as_deref().unwrap_or("unset");
    format!("as before; {when} {said}, {}", value.origin)
}

/// A value as the config writes it; what TOML and JSON write alike becomes JSON.
fn as_json(text: Option<String>) -> serde_json::Value {
    let Some(text) = text else {
        return serde_json::Value::Null;
    };
    serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))
}

fn log_line(id: WorkerId, line: &Line) -> LogLine {
    LogLine {
        seq: line.seq,
        at: Timestamp::from_millis(line.at_ms),
        worker: id.to_string(),
        stream: match line.stream {
            process::Stream::Stdout => Stream::Stdout,
            process::Stream::Stderr => Stream::Stderr,
        },
        text: line.to_string(),
    }
}
