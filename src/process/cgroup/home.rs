//! The group that was delegated to this process, and what it makes of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::bounds::{Bounds, Controller};
use super::group::{Group, write};
use super::place::{self, MASTER, Place, words_of};
use super::refusal::{Lack, Refusal};

/// What the names of workers' groups begin with.
const WORKER: &str = "w-";

/// How often what is in the delegated group is moved before it is given up: whoever forks meanwhile needs another look.
const MOVES_MAX: usize = 32;

/// How many groups of one name are tried: others are a dead master's.
const NAMES_MAX: usize = 64;

/// The delegated group, made ready: this process is in `master/` in it.
#[derive(Debug)]
pub struct Home {
    base: PathBuf,
}

/// A worker's group, and which of its bounds could not be set.
#[derive(Debug)]
pub struct Made {
    /// None where there can be none, which was allowed (`best_effort`).
    pub group: Option<Arc<Group>>,
    /// Empty unless `best_effort`.
    pub lacks: Vec<Lack>,
}

impl Made {
    /// No group for anybody.
    ///
    /// # Errors
    /// What is lacking, unless the bounds say `best_effort`.
    pub fn none(bounds: &Bounds, why: &Refusal) -> Result<Self, Lack> {
        let lacks = place::all(bounds, why);
        refuse(bounds, &lacks)?;
        Ok(Self { group: None, lacks })
    }
}

impl Home {
    /// Finds the delegated group and moves everything in it, this process first, into `master/` in it, because the
    /// kernel lets a group hand controllers on only while no process is in it (cgroup-v2.rst, "No Internal Process
    /// Constraint"). What an earlier master did of that is found and kept.
    ///
    /// # Errors
    /// Why there is none, or why it cannot be made ready.
    pub fn take() -> Result<Self, Refusal> {
        let base = Place::find()?.delegated()?;
        Self::at(base)
    }

    /// The same with the group of this directory.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn at(base: PathBuf) -> Result<Self, Refusal> {
        let home = Self { base };
        let master = home.base.join(MASTER);
        match fs::create_dir(&master) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Refusal::failed("making", &master, &error));
            }
            _ => {}
        }
        move_all(&home.base, &master)?;
        Ok(home)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.base
    }

    /// Removes empty groups that an earlier master left; returns those in which processes still are, with them.
    pub fn clear(&self) -> Vec<(Group, Vec<i32>)> {
        let entries = fs::read_dir(&self.base).into_iter().flatten().flatten();
        let workers = entries.filter(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with(WORKER) && entry.path().is_dir()
        });
        let groups = workers.map(|entry| Group::at(entry.path()));
        let full = groups.filter(|group| group.remove().is_err());
        full.map(|group| {
            let members = group.members();
            (group, members)
        })
        .collect()
    }

    /// Makes the group of a worker, with its bounds. `name` tells workers apart: `3.0.1`.
    ///
    /// # Errors
    /// What is lacking, unless the bounds say `best_effort`; then nothing was made.
    pub fn make(&self, name: &str, bounds: &Bounds) -> Result<Made, Lack> {
        let mut lacks = self.enable_each(bounds);
        refuse(bounds, &lacks)?;
        let group = match self.create(name) {
            Ok(group) => group,
            Err(why) => return Made::none(bounds, &why),
        };
        lacks.extend(group.bound(bounds, &lacks));
        if let Err(lack) = refuse(bounds, &lacks) {
            // Nobody was in it.
            drop(group.remove());
            return Err(lack);
        }
        let group = Some(Arc::new(group));
        Ok(Made { group, lacks })
    }

    /// Hands on what the bounds need; returns what cannot be.
    fn enable_each(&self, bounds: &Bounds) -> Vec<Lack> {
        let mut lacks = place::lacks_in(&self.base, bounds.controllers());
        for controller in bounds.controllers() {
            if lacks.iter().any(|lack| lack.controller == controller) {
                continue;
            }
            if let Err(why) = self.enable(controller.name()) {
                lacks.push(Lack { controller, why });
            }
        }
        lacks
    }

    /// Hands this controller on to the workers' groups.
    fn enable(&self, name: &str) -> Result<(), Refusal> {
        let file = self.base.join("cgroup.subtree_control");
        if words_of(&file).iter().any(|enabled| enabled == name) {
            return Ok(());
        }
        let on = format!("+{name}");
        let written = write(&file, &on).or_else(|error| {
            // EBUSY: somebody came into the group since.
            if Errno::from_io_error(&error) == Some(Errno::BUSY) {
                drop(move_all(&self.base, &self.base.join(MASTER)));
                return write(&file, &on);
            }
            Err(error)
        });
        written.map_err(|error| Refusal::failed(&format!("writing {on} into"), &file, &error))
    }

    /// A group that nobody is in yet. One of this name may be left of a dead master, with living processes in it: those
    /// must not be taken for the new worker's.
    fn create(&self, name: &str) -> Result<Group, Refusal> {
        let mut path = self.base.join(format!("{WORKER}{name}"));
        for number in 1..=NAMES_MAX {
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Group::at(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    path = self.base.join(format!("{WORKER}{name}+{number}"));
                }
                Err(error) => return Err(Refusal::failed("making", &path, &error)),
            }
        }
        let errno = Errno::EXIST;
        let what = format!("making {}", path.display());
        Err(Refusal::Failed { what, errno })
    }

    /// Undoes it at an orderly end: removes the empty groups of workers, switches the controllers off (or systemd before 254
    /// could not put the next master there) and moves everybody back.
    ///
    /// # Errors
    /// What could not be undone.
    pub fn leave(&self) -> Result<(), Refusal> {
        self.clear();
        for controller in Controller::ALL {
            self.disable(controller.name())?;
        }
        let master = self.base.join(MASTER);
        move_all(&master, &self.base)?;
        Group::at(master.clone())
            .remove()
            .map_err(|error| Refusal::failed("removing", &master, &error))
    }

    fn disable(&self, name: &str) -> Result<(), Refusal> {
        let file = self.base.join("cgroup.subtree_control");
        if words_of(&file).iter().all(|enabled| enabled != name) {
            return Ok(());
        }
        let off = format!("-{name}");
        write(&file, &off)
            .map_err(|error| Refusal::failed(&format!("writing {off} into"), &file, &error))
    }
}

/// The first lack, unless they are allowed.
fn refuse(bounds: &Bounds, lacks: &[Lack]) -> Result<(), Lack> {
    match lacks.first() {
        Some(lack) if !bounds.best_effort => Err(lack.clone()),
        _ => Ok(()),
    }
}

/// Moves every process of one group into another, this process first.
fn move_all(from: &Path, to: &Path) -> Result<(), Refusal> {
    let (from, into) = (Group::at(from.to_owned()), to.join("cgroup.procs"));
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let mut last = None;
    for _ in 0..MOVES_MAX {
        let mut members = from.members();
        if members.is_empty() {
            return Ok(());
        }
        if members.contains(&0) {
            let group = from.path().to_owned();
            return Err(Refusal::Unseen { group });
        }
        members.sort_unstable_by_key(|pid| *pid != me);
        for pid in members {
            match write(&into, &pid.to_string()) {
                Ok(()) => {}
                // Gone already.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => {}
                Err(error) => last = Some(error),
            }
        }
    }
    let error = last.unwrap_or_else(|| Errno::BUSY.into());
    Err(Refusal::failed("moving processes into", &into, &error))
}

#[cfg(test)]
#[path = "home_tests.rs"]
mod tests;
