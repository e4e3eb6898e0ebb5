//! The fleet's words as numbers. A number means the same for ever; new words get new ones.

use crate::fleet::rollout::{Gate, Phase};
use crate::fleet::{Cause, Fault, Kind, Plan, Process, Stage, State};

/// A word that is written as a number.
pub(super) trait Numbered: Copy + Sized {
    /// As it is written.
    fn number(self) -> u8;
    /// None: a later version's.
    fn of(number: u8) -> Option<Self>;
}

macro_rules! numbered {
    ($type:ident { $($variant:ident = $number:literal,)* }) => {
        impl Numbered for $type {
            fn number(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }

            fn of(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

numbered!(Stage {
    Starting = 0,
    Serving = 1,
    Stopping = 2,
    Finished = 3,
});

numbered!(State {
    Starting = 0,
    Baking = 1,
    Canary = 2,
    Active = 3,
    Draining = 4,
    Failed = 5,
});

numbered!(Process {
    Absent = 0,
    Starting = 1,
    Ready = 2,
    Draining = 3,
    Killed = 4,
});

numbered!(Phase {
    Idle = 0,
    Preparing = 1,
    Starting = 2,
    Baking = 3,
    Canary = 4,
    Replacing = 5,
    Scaling = 6,
    Undoing = 7,
});

numbered!(Gate {
    Shut = 0,
    Asked = 1,
    Open = 2,
});

numbered!(Fault {
    Unfit = 0,
    QueueNotTaken = 1,
    Stopped = 2,
    Unanswered = 3,
    Unhealthy = 4,
    HookFailed = 5,
});

/// Faults stand beside the other causes, from here on.
const FAULTS_FROM: u8 = 64;

impl Numbered for Cause {
    fn number(self) -> u8 {
        match self {
            Self::NotStarted => 0,
            Self::ExitedBeforeReady => 1,
            Self::ReadyTimeout => 2,
            Self::ExitedInBake => 3,
            Self::WatchdogMissed => 4,
            Self::Aborted => 5,
            Self::NotPromoted => 6,
            Self::Fault(fault) => FAULTS_FROM + fault.number(),
        }
    }

    fn of(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::NotStarted,
            1 => Self::ExitedBeforeReady,
            2 => Self::ReadyTimeout,
            3 => Self::ExitedInBake,
            4 => Self::WatchdogMissed,
            5 => Self::Aborted,
            6 => Self::NotPromoted,
            _ => Self::Fault(Fault::of(number.checked_sub(FAULTS_FROM)?)?),
        })
    }
}

/// A word that has a number of its own with it, where it has one.
pub(super) trait Paired: Copy + Sized {
    fn pair(self) -> (u8, u32);
    fn of_pair(pair: (u8, u32)) -> Option<Self>;
}

impl Paired for Kind {
    fn pair(self) -> (u8, u32) {
        match self {
            Self::Upgrade => (0, 0),
            Self::Reload => (1, 0),
            Self::Rollback { to } => (2, to),
            Self::Renew => (3, 0),
        }
    }

    fn of_pair((number, to): (u8, u32)) -> Option<Self> {
        Some(match number {
            0 => Self::Upgrade,
            1 => Self::Reload,
            2 => Self::Rollback { to },
            3 => Self::Renew,
            _ => return None,
        })
    }
}

impl Paired for Plan {
    fn pair(self) -> (u8, u32) {
        match self {
            Self::Whole => (0, 0),
            Self::Canary(workers) => (1, workers),
            Self::Rolling(batch) => (2, batch),
        }
    }

    fn of_pair((number, workers): (u8, u32)) -> Option<Self> {
        Some(match number {
            0 => Self::Whole,
            1 => Self::Canary(workers),
            2 => Self::Rolling(workers),
            _ => return None,
        })
    }
}
