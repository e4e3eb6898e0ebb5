//! Listening sockets: bound once, or received from systemd, and never closed while the service
//! lives.
//!
//! Knows addresses, socket options, who owns a unix path, what is wrong with a socket and how to
//! mend it, and how descriptors travel. Must not know workers, generations or the event loop: the
//! master asks, and does what follows.
//!
//! | file | what |
//! |---|---|
//! | `open` | entries and inherited descriptors → listeners |
//! | `arrange` | changed entries beside listeners that serve: what is kept, what is bound |
//! | `listener` | one bound socket with a name |
//! | `inherit` | `LISTEN_FDS` |
//! | `kept` | a listener over the end of a master |
//! | `own` | a listener that one worker alone has |
//! | `inet`, `unix_path`, `occupant`, `options`, `address` | bind(2) and what belongs to it |
//! | `watch`, `path_watch`, `backlog`, `flags` | what workers and others do to a shared socket |
//! | [`diag`], [`holder`], `queue`, `through` | the kernel's socket tables; who holds a port; who waits to be accepted; who was |
//! | [`pass`] | SCM_RIGHTS |
//!
//! Two rules hold throughout: options and flags of a socket are set when it is made and never
//! again, for every generation shares them; and every descriptor has close-on-exec set.

mod address;
mod adoption;
mod arrange;
mod backlog;
pub mod diag;
mod error;
mod flags;
pub mod holder;
mod inet;
mod inherit;
mod kept;
mod listener;
mod occupant;
mod open;
mod options;
mod own;
pub mod pass;
mod path_watch;
mod queue;
#[cfg(test)]
mod testing;
mod through;
mod unix_path;
mod watch;

pub use adoption::Adoption;
pub use arrange::{Arranged, Arrangement, Member, arrange};
pub use backlog::mend_backlogs;
pub use error::{Fault, SocketError};
pub use flags::FlagChange;
pub use inherit::Inherited;
pub use kept::Lost;
pub use listener::{Listener, Origin};
pub use open::open;
pub use own::own_listener;
pub use queue::waiting;
pub use through::{ListenerId, Through, Unseen, through};
pub use watch::{Repair, RepairKind, Watch};
