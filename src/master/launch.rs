//! From the fleet's effect to a process.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::environment::Templates;
use super::notices::listen;
use super::output::{self, Output, Pattern};
use super::runtime_dir::NOTIFY;
use super::worker::{ProbeListener, Worker};
use super::{Input, Master};
use crate::config::{PROBE, WorkerOutput};
use crate::control::Event;
use crate::fleet::{self, Ending, ReleaseId, WorkerId};
use crate::process::{
    LaunchFailure, LaunchRequest, Launched, Mark, Pipes, Reader, Release, Resource, Stream, nonce,
    private_directory,
};
use crate::readiness::Untaken;
use crate::readiness::notify::Socket;
use crate::sockets::own_listener;

/// The first descriptor that a worker gets (sd_listen_fds(3)).
const FIRST: u32 = 3;

/// How long a turn of the loop may start workers: a thousand of them must not
/// keep a watchdog, a signal or a caller waiting.
const LAUNCHING_MAX: Duration = Duration::from_millis(3);

/// What is made for a worker before it is started.
struct Surroundings {
    stdout: OwnedFd,
    stderr: OwnedFd,
    output: Option<Arc<Output>>,
    readers: Vec<Arc<Reader>>,
    notify: Socket,
}

impl Master {
    /// Starts as many of the waiting workers as fit into one turn of the loop.
    pub(super) fn launch_some(&mut self) {
        let began = Instant::now();
        while let Some((id, release)) = self.launches.pop_front() {
            if self.is_bounded(id, release) {
                self.launch(id, release);
            }
            if began.elapsed() >= LAUNCHING_MAX {
                break;
            }
        }
    }

    /// A worker that is no longer wanted before it was started never is; says
    /// whether it was such a one.
    pub(super) fn cancel_launch(&mut self, id: WorkerId) -> bool {
        let before = self.launches.len();
        self.launches.retain(|(waiting, _)| *waiting != id);
        let cancelled = self.cancel_group(id) || self.launches.len() < before;
        if cancelled {
            self.pending
                .push_back(fleet::Event::Exited(id, Ending::NotStarted));
        }
        cancelled
    }

    /// Starts a worker. Whatever goes wrong is an end of this worker, whose
    /// meaning the fleet decides.
    fn launch(&mut self, id: WorkerId, release: ReleaseId) {
        let before = id.life.checked_sub(1);
        let before = before.and_then(|life| self.workers.get(WorkerId { life, ..id }));
        // One for all lives of a slot: however often it is started again, there is one to look for.
        let nonce = before.map_or_else(nonce, |before| before.nonce.clone());
        let directory = self.runtime.worker(id);
        let mut worker = Worker {
            child: None,
            last_pid: 0,
            main: None,
            reported: false,
            delivered: false,
            nonce: nonce.clone(),
            directory,
            launched_at: Instant::now(),
            output: None,
            readers: Vec::new(),
            notify: None,
            tasks: Vec::new(),
            ready: None,
            status: None,
            told: None,
            killed: false,
            unfit: None,
            exit: None,
            not_started: None,
            group: None,
            over: None,
            elsewhere: None,
            probe: None,
            verdict: None,
            waits: false,
            untaken: Untaken::default(),
            executed: None,
            changed: Vec::new(),
            search: super::taken::Search::default(),
            chatter: super::chatter::Chatter::default(),
        };
        worker.changed = self.tell_of_changed_files(id, release);
        self.inherit_store(id);
        self.tell_of_left_out(id);
        if let Some(generation) = self.generations.get_mut(&id.generation) {
            generation.nonces.insert(nonce);
        }
        match self.start(id, release, &mut worker) {
            Ok(()) => {
                let pid = worker.pid().unwrap_or_default();
                let generation = id.generation;
                self.workers.insert(id, worker);
                self.tell(&Event::WorkerLaunched {
                    worker: id.to_string(),
                    generation,
                    pid,
                });
            }
            Err(reason) => {
                worker.not_started = Some(reason);
                worker.hush();
                self.runtime.discard(&worker.directory);
                self.remove_group(worker.group.take());
                self.workers.insert(id, worker);
                self.pending
                    .push_back(fleet::Event::Exited(id, Ending::NotStarted));
            }
        }
    }

    fn start(
        &mut self,
        id: WorkerId,
        release: ReleaseId,
        worker: &mut Worker,
    ) -> Result<(), String> {
        let release = self
            .releases
            .get(release)
            .ok_or("its release is not known any more")?
            .clone();
        let bounded = self.bounded(id, &release)?;
        worker.group = bounded.group;
        self.runtime.restore_rooms().map_err(|error| {
            format!("the runtime directory was removed and cannot be made again: {error}")
        })?;
        let made = self
            .surroundings(id, &release, &worker.directory)
            .map_err(|error| {
                let place = worker.directory.display();
                let hint = super::no_files::hint(&error);
                format!("making its files in {place} failed: {error}{hint}")
            })?;
        worker.probe = self.probe_listener(id)?;
        let launched = self
            .execute(id, &release, worker, &made, &bounded.limits)
            .map_err(|error| cannot_fork(&error))?;
        let Launched { child, report } = launched;
        worker.last_pid = child.pid();
        worker.child = Some(child);
        worker.launched_at = Instant::now();
        if let Some(output) = made.output {
            let pattern = Pattern::of(&self.manner(id.generation).ready.on);
            worker.tasks = output::follow(&output, &made.readers, pattern, &self.inputs);
            worker.output = Some(output);
            worker.readers = made.readers;
        }
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let outcome = report.outcome().await;
            inputs.send(Input::Launched(id, outcome)).await.is_ok()
        });
        let notify = Arc::new(made.notify);
        worker.notify = Some(notify.clone());
        let receive = move || {
            let notify = notify.clone();
            async move { notify.recv().await }
        };
        let listening = tokio::spawn(listen(id, receive, self.inputs.clone()));
        worker.tasks.push(listening.abort_handle());
        Ok(())
    }

    /// Where this worker alone can be asked by `http:`, when it is.
    fn probe_listener(&self, id: WorkerId) -> Result<Option<ProbeListener>, String> {
        if !self.manner(id.generation).asks_by_http() {
            return Ok(None);
        }
        // A program that serves every descriptor treats them alike.
        let nonblocking = self.config().listen.iter().any(|listen| listen.nonblocking);
        let listener = own_listener(PROBE, nonblocking)
            .map_err(|error| format!("making its listener for probes failed: {error}"))?;
        let before = u32::try_from(self.listeners.len()).unwrap_or(u32::MAX);
        Ok(Some(ProbeListener {
            listener,
            descriptor: FIRST.saturating_add(before),
            taken: false,
        }))
    }

    fn surroundings(
        &self,
        id: WorkerId,
        release: &Release,
        directory: &Path,
    ) -> io::Result<Surroundings> {
        let owner = release.owner();
        private_directory(directory, owner)?;
        let notify = Socket::bind(&directory.join(NOTIFY), Some((owner.uid, owner.gid)))?;
        if self.config().log.worker_output == WorkerOutput::Inherit {
            let (stdout, stderr) = output::inherited()?;
            return Ok(Surroundings {
                stdout,
                stderr,
                output: None,
                readers: Vec::new(),
                notify,
            });
        }
        let (pipes, writers) = Pipes::create(directory, owner)?;
        let readers = [Stream::Stdout, Stream::Stderr]
            .map(|stream| pipes.reader(stream).map(Arc::new))
            .into_iter()
            .collect::<io::Result<_>>()?;
        let output = Some(Arc::new(Output::new(id, self.lines.clone())));
        let (stdout, stderr) = writers.into_parts();
        Ok(Surroundings {
            stdout,
            stderr,
            output,
            readers,
            notify,
        })
    }

    fn execute(
        &self,
        id: WorkerId,
        release: &Release,
        worker: &Worker,
        made: &Surroundings,
        limits: &[(Resource, u64)],
    ) -> io::Result<Launched> {
        let descriptors = self.descriptors(id, worker);
        let numbered: Vec<(String, u32)> = descriptors
            .iter()
            .zip(FIRST..)
            .map(|((name, _), number)| (name.clone(), number))
            .collect();
        let templates = Templates {
            worker: id,
            listeners: &numbered,
        };
        let argv = release
            .argv()
            .iter()
            .map(|text| templates.fill(text))
            .collect();
        self.launcher.launch(&LaunchRequest {
            release,
            argv,
            env: self.environment(id, release, worker, &templates),
            stdout: made.stdout.as_fd(),
            stderr: made.stderr.as_fd(),
            listeners: descriptors,
            group: worker.group.as_deref(),
            limits,
            announced: true,
        })
    }

    /// The listeners in config order, then that for probes, then what its predecessor stored.
    fn descriptors<'a>(
        &'a self,
        id: WorkerId,
        worker: &'a Worker,
    ) -> Vec<(String, BorrowedFd<'a>)> {
        let listeners = self.listeners_of(id.generation);
        let listeners = listeners.map(|(it, listener)| (it.entry.name.clone(), listener.fd()));
        let own = worker.probe.as_ref().map(|own| &own.listener);
        let own = own.map(|own| (own.name().to_owned(), own.fd()));
        let stored = self.stored_for(id);
        let stored = stored.map(|(name, fd)| (name.to_owned(), fd));
        listeners.chain(own).chain(stored).collect()
    }

    fn environment(
        &self,
        id: WorkerId,
        release: &Release,
        worker: &Worker,
        templates: &Templates<'_>,
    ) -> Vec<(OsString, OsString)> {
        let mut env = templates.fill_values(release.env());
        let mut set = |name: &str, value: String| env.push((name.into(), value.into()));
        set(
            "NOTIFY_SOCKET",
            worker.directory.join(NOTIFY).display().to_string(),
        );
        // What the fleet waits for, whatever the config says by now.
        let generation = self.fleet.generation(id.generation);
        if let Some(watchdog) = generation.and_then(|generation| generation.watchdog) {
            set("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        set("HANDOVER_NAME", self.name.clone());
        set("HANDOVER_GENERATION", id.generation.to_string());
        set("HANDOVER_WORKER", id.slot.to_string());
        let generation = self.generations.get(&id.generation);
        let label = generation.and_then(|generation| generation.label.clone());
        set("HANDOVER_RELEASE", label.unwrap_or_default());
        set(Mark::Worker.variable(), worker.nonce.clone());
        env
    }

    /// The launcher executed the program, or says why not.
    pub(super) fn on_launched(&mut self, id: WorkerId, outcome: Result<(), LaunchFailure>) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        worker.reported = true;
        match outcome {
            Ok(()) => self.watch(id),
            Err(failure) => worker.not_started = Some(failure.to_string()),
        }
        // Its exit may have come first and waited for this word.
        self.deliver_exit(id);
    }
}

fn cannot_fork(error: &io::Error) -> String {
    use rustix::io::Errno;
    let hint = match Errno::from_io_error(error) {
        Some(Errno::AGAIN) => {
            "; the limit of processes is reached (TasksMax=, ulimit -u, pids.max)"
        }
        Some(Errno::NOMEM) => "; the machine is out of memory",
        Some(Errno::MFILE | Errno::NFILE) => "; too many open files (LimitNOFILE=, ulimit -n)",
        _ => "",
    };
    format!("starting a process failed: {error}{hint}")
}
