//! One worker's life as a table: what a happening means for a process in a
//! given state. Nothing here knows of generations; what a loss means to the
//! whole is decided where this table says `Lost`.

/// Where the process of a slot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Process {
    /// There is none (it ended, or it waits to be started again).
    Absent,
    /// It was launched and is not ready.
    Starting,
    /// It serves.
    Ready,
    /// It was told to finish and end.
    Draining,
    /// It was killed and is not gone yet.
    Killed,
}

/// What may happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Happening {
    /// It says, or is seen, to serve.
    Ready,
    /// It lives but is not fit.
    Fault,
    /// It answers that it is not well, so it may finish what it has.
    Unhealthy,
    /// It is gone.
    Exited,
    /// Its time to become ready is over.
    ReadyDue,
    /// Its time to send a sign of life is over.
    WatchdogDue,
    /// Its time to finish is over.
    KillDue,
    /// It has been ready for long enough to be trusted again.
    SettledDue,
    /// Its slot is to be started again now.
    RespawnDue,
    /// It is no longer wanted.
    Retire,
    /// It is no longer wanted and gets no time.
    End,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Nothing: late or repeated news.
    Nothing,
    /// It serves from now on.
    Serve,
    /// It is lost to its generation while it still lives: kill it.
    Condemn,
    /// It is lost to its generation while it still lives: another one takes its place, and it may finish.
    Dismiss,
    /// It is lost to its generation and gone.
    Lose,
    /// It is gone, as it should be.
    Bury,
    /// Tell it to finish.
    Drain,
    /// Kill it.
    Kill,
    /// Start its slot again.
    Launch,
    /// Forget that it failed before.
    Settle,
}

/// Every state, for tests and for the table in the docs.
pub const PROCESSES: [Process; 5] = [
    Process::Absent,
    Process::Starting,
    Process::Ready,
    Process::Draining,
    Process::Killed,
];

/// Every happening, for tests and for the table in the docs.
pub const HAPPENINGS: [Happening; 11] = [
    Happening::Ready,
    Happening::Fault,
    Happening::Unhealthy,
    Happening::Exited,
    Happening::ReadyDue,
    Happening::WatchdogDue,
    Happening::KillDue,
    Happening::SettledDue,
    Happening::RespawnDue,
    Happening::Retire,
    Happening::End,
];

/// The table.
pub fn step(process: Process, happening: Happening) -> Step {
    use Happening as H;
    use Process as P;
    match (process, happening) {
        (P::Starting, H::Ready) => Step::Serve,
        // A worker that was told to end and says READY=1 late is not called back.
        (P::Absent | P::Ready | P::Draining | P::Killed, H::Ready) => Step::Nothing,

        (P::Starting | P::Ready, H::Fault) => Step::Condemn,
        (P::Absent | P::Draining | P::Killed, H::Fault) => Step::Nothing,

        // Who starts may have been seen to wait for requests already.
        (P::Starting | P::Ready, H::Unhealthy) => Step::Dismiss,
        (P::Absent | P::Draining | P::Killed, H::Unhealthy) => Step::Nothing,

        (P::Starting | P::Ready, H::Exited) => Step::Lose,
        (P::Draining | P::Killed, H::Exited) => Step::Bury,
        (P::Absent, H::Exited) => Step::Nothing,

        (P::Starting, H::ReadyDue) => Step::Condemn,
        (P::Absent | P::Ready | P::Draining | P::Killed, H::ReadyDue) => Step::Nothing,

        (P::Ready, H::WatchdogDue) => Step::Condemn,
        (P::Absent | P::Starting | P::Draining | P::Killed, H::WatchdogDue) => Step::Nothing,

        (P::Draining, H::KillDue) => Step::Kill,
        (P::Absent | P::Starting | P::Ready | P::Killed, H::KillDue) => Step::Nothing,

        (P::Ready, H::SettledDue) => Step::Settle,
        (P::Absent | P::Starting | P::Draining | P::Killed, H::SettledDue) => Step::Nothing,

        (P::Absent, H::RespawnDue) => Step::Launch,
        (P::Starting | P::Ready | P::Draining | P::Killed, H::RespawnDue) => Step::Nothing,

        (P::Starting | P::Ready, H::Retire) => Step::Drain,
        (P::Absent | P::Draining | P::Killed, H::Retire) => Step::Nothing,

        (P::Starting | P::Ready | P::Draining, H::End) => Step::Kill,
        (P::Absent | P::Killed, H::End) => Step::Nothing,
    }
}
