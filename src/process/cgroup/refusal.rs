//! Why a bound cannot be set, in words, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::bounds::Controller;

/// A bound that cannot be set. Its [`Display`](fmt::Display) is one line with the hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Of which kind.
    pub controller: Controller,
    /// Why not.
    pub why: Refusal,
}

/// Why there is no control group for a worker, or a bound cannot be set in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No cgroup2 file system is mounted.
    NoVersion2,
    /// One is mounted, but this process's group is not below what it shows.
    Hidden {
        /// The group as the kernel names it.
        group: String,
    },
    /// The controller serves version 1 on this machine.
    VersionOne(Controller),
    /// The kernel was started without the controller.
    Disabled(Controller),
    /// The kernel has no such controller.
    NotBuilt(Controller),
    /// The group above does not hand the controller on.
    NotPassedOn {
        /// Which.
        controller: Controller,
        /// To whom.
        group: String,
    },
    /// This process is in the root group.
    Root,
    /// systemd did not delegate the unit's group.
    NotDelegated {
        /// The group as the kernel names it.
        group: String,
    },
    /// The file system is mounted read-only.
    ReadOnly {
        /// Where.
        mount: PathBuf,
    },
    /// Something in it may not be written by this user.
    Denied {
        /// What.
        path: PathBuf,
    },
    /// Processes that cannot be seen from here are in the group.
    Unseen {
        /// The group's directory.
        group: PathBuf,
    },
    /// The kernel refused.
    Failed {
        /// What was tried: "making /sys/fs/cgroup/web/w-1.0.0".
        what: String,
        /// What it said.
        errno: Errno,
    },
}

impl Refusal {
    pub(super) fn failed(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
        match errno {
            Errno::ROFS => Self::ReadOnly {
                mount: path.to_owned(),
            },
            Errno::ACCESS | Errno::PERM => Self::Denied {
                path: path.to_owned(),
            },
            errno => Self::Failed {
                what: format!("{doing} {}", path.display()),
                errno,
            },
        }
    }

    /// The thread that would make groups cannot be started.
    pub fn thread(error: &std::io::Error) -> Self {
        Self::Failed {
            what: "starting a thread".to_owned(),
            errno: Errno::from_io_error(error).unwrap_or(Errno::AGAIN),
        }
    }

    /// What is wrong, to be read after the key: "limits.memory needs …".
    pub fn what(&self) -> String {
        let needs = |controller: &Controller| format!("needs the {} controller", controller.name());
        match self {
            Self::NoVersion2 => {
                "needs control groups of version 2, and no cgroup2 file system is mounted here"
                    .to_owned()
            }
            Self::Hidden { group } => format!(
                "needs a control group, and handover's own ({group}) is not below what is mounted here"
            ),
            Self::VersionOne(controller) => format!(
                "{} in version 2 of control groups, and this machine has it in version 1",
                needs(controller)
            ),
            Self::Disabled(controller) => {
                format!(
                    "{}, which this kernel was started without",
                    needs(controller)
                )
            }
            Self::NotBuilt(controller) => {
                format!("{}, which this kernel does not offer", needs(controller))
            }
            Self::NotPassedOn { controller, group } => format!(
                "{}, which is not handed on to handover's control group ({group})",
                needs(controller)
            ),
            Self::Root => {
                "needs a control group that is handover's own, and handover runs in the root \
                           group, which is everybody's"
                    .to_owned()
            }
            Self::NotDelegated { group } => {
                format!("needs handover's control group ({group}) to be delegated, and it is not")
            }
            Self::ReadOnly { mount } => format!(
                "needs a control group for each worker, and {} is mounted read-only, as in most containers",
                mount.display()
            ),
            Self::Denied { path } => format!(
                "needs a control group for each worker, and this user may not write {}",
                path.display()
            ),
            Self::Unseen { group } => format!(
                "needs handover's control group for itself, and processes that are not visible from here \
                 are in {}",
                group.display()
            ),
            Self::Failed { what, errno } => {
                format!("needs a control group for each worker, and {what} failed: {errno}")
            }
        }
    }

    /// What to do.
    pub fn hint(&self) -> String {
        const DELEGATE: &str = "write Delegate=yes under [Service] in the unit (systemctl edit NAME) and restart it; to try \
                                it in a shell: systemd-run --scope --property=Delegate=yes handover run …";
        let instead = match self {
            Self::NoVersion2 => {
                "boot with systemd.unified_cgroup_hierarchy=1, in a container mount cgroup2 at /sys/fs/cgroup"
            }
            Self::VersionOne(_) => "boot with systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all",
            Self::Disabled(_) => {
                "take cgroup_disable= off the kernel's command line (some boards need cgroup_enable=memory)"
            }
            Self::NotBuilt(_) => {
                "use a kernel with CONFIG_MEMCG, CONFIG_CFS_BANDWIDTH and CONFIG_CGROUP_PIDS"
            }
            Self::NotPassedOn { .. } => {
                "write Delegate=yes under [Service] in the unit, which delegates every controller (Delegate=cpu \
                 only that one); without systemd, write it into cgroup.subtree_control of the group above"
            }
            Self::Root | Self::NotDelegated { .. } => DELEGATE,
            Self::Hidden { .. } => {
                "give the container a control group namespace of its own (--cgroupns=private)"
            }
            Self::ReadOnly { .. } => {
                "bound the container itself (docker run --memory, --cpus, --pids-limit), or mount \
                 /sys/fs/cgroup writable"
            }
            Self::Denied { .. } => "with User= in the unit, Delegate=yes hands it to that user",
            Self::Unseen { .. } => "start handover in a control group of its own",
            Self::Failed { .. } => {
                "Documentation/admin-guide/cgroup-v2.rst of the kernel says what that means"
            }
        };
        format!("{instead}; or do without: best_effort = true under [limits]")
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, why) = (self.controller.key(), &self.why);
        write!(f, "{key} {}; {}", why.what(), why.hint())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[limits] {}; {}", self.what(), self.hint())
    }
}

impl std::error::Error for Refusal {}
