//! What the control API says, as types: one family a file.
//!
//! Field names and states are an interface: scripts read them. They may grow,
//! they never change their meaning. Every state has one value more, for a
//! client that is older than its master: a state that it does not know yet.

mod config;
mod event;
mod generation;
mod history;
mod logs;
mod operation;
mod status;

pub use config::{ConfigValue, ConfigView};
pub use event::{EventView, EventsView};
pub use generation::{
    GenerationState, GenerationView, HealthView, Pinned, ReleaseView, WorkerState, WorkerView,
};
pub use history::HistoryView;
pub use logs::{LogLine, LogsView, Stream};
pub use operation::{OperationKind, OperationResult, OperationState, OperationView};
pub use status::{LastUpgrade, ListenerView, MasterState, SessionsView, Status, UpgradesView};

/// Writes a state in the words of the API: as its JSON, without the quotes.
macro_rules! words {
    ($type:ty { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// The word that the API uses.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        #[cfg(test)]
        impl $type {
            /// Every value that has a word.
            pub(crate) const ALL: &'static [$type] = &[$(Self::$variant),+];
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests;
