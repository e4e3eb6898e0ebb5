//! The thread that makes, kills and removes control groups: writes to them may wait for whole grace periods of the
//! kernel, or for another process's write.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::mpsc;

use super::super::Input;
use super::Notice;
use crate::fleet::WorkerId;
use crate::process::{Bounds, Group, Home, Lack, Made, Refusal};

/// How often a group is tried to be removed that the kernel says is empty, and yet cannot be.
const AGAIN: Duration = Duration::from_millis(50);

/// When people are told that a group cannot be removed.
const STUCK_AFTER: Duration = Duration::from_secs(10);

const SIGTERM: i32 = nix::libc::SIGTERM;

/// What the clerk is asked to do.
pub(super) enum Job {
    /// The group of a worker that is to be started.
    Make(WorkerId, Bounds),
    /// SIGKILL for everybody in it.
    Kill(Arc<Group>),
    /// SIGTERM for everybody in it but the process group.
    End(Arc<Group>, i32),
    /// Its worker is gone.
    Remove(Arc<Group>),
    /// The master ends.
    Leave(SyncSender<Result<(), Refusal>>),
}

/// The master's end of it.
pub(super) struct Clerk {
    desk: Arc<Desk>,
}

/// Jobs, in their order, and what wakes the thread.
struct Desk {
    jobs: Mutex<VecDeque<Job>>,
    bell: OwnedFd,
}

impl Clerk {
    /// Starts the thread.
    ///
    /// # Errors
    /// EAGAIN, EMFILE.
    pub(super) fn start(inputs: mpsc::Sender<Input>) -> io::Result<Self> {
        let desk = Arc::new(Desk {
            jobs: Mutex::default(),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let mut thread = Thread {
            desk: Arc::clone(&desk),
            inputs,
            home: None,
            removals: Vec::new(),
        };
        std::thread::Builder::new()
            .name("handover-groups".to_owned())
            .spawn(move || thread.run())?;
        Ok(Self { desk })
    }

    pub(super) fn ask(&self, job: Job) {
        self.desk.put(job);
    }

    /// Ends it, within the bound.
    ///
    /// # Errors
    /// What is left, in words.
    pub(super) fn leave(self, within: Duration) -> Result<(), String> {
        let (done, wait) = sync_channel(1);
        self.ask(Job::Leave(done));
        let left: Receiver<_> = wait;
        match left.recv_timeout(within) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refusal)) => Err(format!(
                "control groups are left behind: {}",
                refusal.what()
            )),
            Err(_) => Err(format!(
                "control groups are left behind: the kernel did not answer for {within:?}"
            )),
        }
    }
}

impl Desk {
    fn put(&self, job: Job) {
        self.jobs().push_back(job);
        // It can only be full when it rings already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread {
    desk: Arc<Desk>,
    inputs: mpsc::Sender<Input>,
    /// Taken with the first worker.
    home: Option<Home>,
    removals: Vec<Removal>,
}

/// A group on its way out.
struct Removal {
    group: Arc<Group>,
    since: Instant,
    /// Tells that the last process of it ended.
    events: Option<File>,
    told: bool,
}

impl Thread {
    fn run(&mut self) {
        loop {
            self.wait();
            loop {
                let job = self.desk.jobs().pop_front();
                match job {
                    Some(Job::Leave(done)) => {
                        // Whoever waited may have given up.
                        drop(done.send(self.leave()));
                        return;
                    }
                    Some(job) => self.carry_out(job),
                    None => break,
                }
            }
            self.remove();
        }
    }

    /// Until there is a job, or a group became empty.
    fn wait(&self) {
        if !self.desk.jobs().is_empty() {
            return;
        }
        let mut all = vec![PollFd::new(&self.desk.bell, PollFlags::IN)];
        let events = self.removals.iter().filter_map(|it| it.events.as_ref());
        all.extend(events.map(|file| PollFd::from_borrowed_fd(file.as_fd(), PollFlags::PRI)));
        let again = Timespec {
            tv_sec: 0,
            tv_nsec: AGAIN.subsec_nanos().into(),
        };
        // EINTR is as good as any other reason to look.
        let _ = poll(&mut all, (!self.removals.is_empty()).then_some(&again));
        let mut rung = [0; 8];
        let _ = rustix::io::read(&self.desk.bell, &mut rung);
    }

    fn carry_out(&mut self, job: Job) {
        match job {
            Job::Make(id, bounds) => {
                let made = self.make(id, &bounds);
                self.say(Notice::Made(id, made));
            }
            Job::Kill(group) => {
                if let Err(error) = group.kill() {
                    let path = group.path().display();
                    self.say(Notice::Trouble(format!(
                        "killing what is in the control group {path} failed: {error}"
                    )));
                }
            }
            Job::End(group, leader) => group.signal_others(SIGTERM, leader),
            Job::Remove(group) => self.removals.push(Removal {
                group,
                since: Instant::now(),
                events: None,
                told: false,
            }),
            Job::Leave(_) => {}
        }
    }

    fn make(&mut self, id: WorkerId, bounds: &Bounds) -> Result<Made, Lack> {
        let home = match &self.home {
            Some(home) => home,
            None => match Home::take() {
                Ok(home) => {
                    self.tell_of_leftovers(&home);
                    self.home.insert(home)
                }
                Err(why) => return Made::none(bounds, &why),
            },
        };
        let WorkerId {
            generation,
            slot,
            life,
        } = id;
        home.make(&format!("{generation}.{slot}.{life}"), bounds)
    }

    /// A master that was killed may have left workers, which are not this one's to end.
    fn tell_of_leftovers(&self, home: &Home) {
        for (group, members) in home.clear() {
            self.say(Notice::Trouble(format!(
                "processes {members:?} of an earlier master are in the control group {}: they are not ended, \
                 and may still hold a listener",
                group.path().display()
            )));
        }
    }

    /// Removes what is empty; waits for the others.
    fn remove(&mut self) {
        let mut stuck = Vec::new();
        self.removals.retain_mut(|removal| {
            let Err(error) = removal.group.remove() else {
                return false;
            };
            removal.watch();
            if removal.since.elapsed() > STUCK_AFTER && !removal.told {
                removal.told = true;
                stuck.push(format!(
                    "the control group {} cannot be removed: {error}; processes in it: {:?}",
                    removal.group.path().display(),
                    removal.group.members()
                ));
            }
            true
        });
        for message in stuck {
            self.say(Notice::Trouble(message));
        }
    }

    fn leave(&mut self) -> Result<(), Refusal> {
        self.remove();
        match self.home.take() {
            Some(home) => home.leave(),
            None => Ok(()),
        }
    }

    fn say(&self, notice: Notice) {
        // The master may be gone.
        drop(self.inputs.blocking_send(Input::Group(notice)));
    }
}

impl Removal {
    /// From now on poll(2) tells a change: what was read before does not count.
    fn watch(&mut self) {
        if self.events.is_none() {
            self.events = self.group.events().ok();
        }
        if let Some(file) = &mut self.events {
            let mut seen = String::new();
            let _ = file.rewind().and_then(|()| file.read_to_string(&mut seen));
        }
    }
}
