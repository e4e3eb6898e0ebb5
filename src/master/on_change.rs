//! `upgrade.on_change`: an upgrade by itself when the program changes on disk.
//!
//! A task follows the program's path and, where the config names one, the working directory's. When it has been quiet
//! there for a moment, a thread reads the program. What it holds decides: each content at each place is tried
//! once, and what serves, is on its way or failed before is no change.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::program::{AtWork, Content, Look, Seen, look, watched_paths};
use super::{Input, Master};
use crate::control::{Caller, Event, OperationRequest, UpgradeRequest};
use crate::fleet::GenerationNumber;
use crate::fleet::rollout::Phase;
use crate::process::{Follow, Release, Stir, pollable};

/// Who asked, in `history`.
pub(super) const CAUSE: &str = "on_change";

/// From the last sign to the look: a compiler or a package manager writes and renames more than once.
const QUIET: Duration = Duration::from_millis(200);

/// The same after a file was made and not closed: its writer may take its time, or it is a link.
const UNCLOSED: Duration = Duration::from_secs(5);

/// What happened is read, and the program looked at, this often at most: its owner may change it in a loop.
const READ_EVERY: Duration = Duration::from_millis(50);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was so for so long was so for good, and why it was otherwise is told again.
const FOR_GOOD: Duration = Duration::from_secs(60);

/// Looks and failures that are remembered.
const REMEMBERED: usize = 16;

/// What to do about a look.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is no change, or already at work.
    Nothing,
    /// It failed before.
    Failed,
    Upgrade,
}

/// What is followed, and what was seen.
#[derive(Default)]
pub(super) struct OnChange {
    paths: Vec<PathBuf>,
    task: Option<AbortHandle>,
    /// A thread looks; and it is to look again after that.
    looking: bool,
    again: bool,
    last: Option<Content>,
    /// The first look, too, is compared with what was started: nothing served before.
    from_start: bool,
    looks: VecDeque<Seen>,
    failed: VecDeque<AtWork>,
    /// Why a look saw nothing, where people were told, and since when they see something again.
    unseen: Option<(String, Option<Instant>)>,
}

impl OnChange {
    /// Takes a look; `at_work` are the programs that serve or are on their way.
    fn decide(&mut self, seen: Seen, at_work: &[AtWork]) -> Verdict {
        let first = self.last.is_none();
        let same = self.last.replace(seen.content.clone()).as_ref() == Some(&seen.content);
        let is = |one: &AtWork| {
            let mut looks = self.looks.iter();
            one.is(&seen) || looks.any(|it| one.is(it) && it.content == seen.content)
        };
        let verdict = match () {
            () if same || at_work.iter().any(is) => Verdict::Nothing,
            () if first && !self.from_start => Verdict::Nothing,
            () if self.failed.iter().any(is) => Verdict::Failed,
            () => Verdict::Upgrade,
        };
        remember(&mut self.looks, seen);
        verdict
    }

    /// Why nothing is seen, unless that was told and no minute without it has passed.
    fn newly_unseen(&mut self, why: Option<String>) -> Option<String> {
        let now = Instant::now();
        let Some(why) = why else {
            if let Some((_, seen_since)) = &mut self.unseen {
                seen_since.get_or_insert(now);
            }
            return None;
        };
        let told = self.unseen.replace((why.clone(), None));
        let again = told.is_some_and(|(old, seen_since)| {
            let seen_for = seen_since.map(|since| now.duration_since(since));
            old == why && seen_for.is_none_or(|long| long < FOR_GOOD)
        });
        (!again).then_some(why)
    }

    fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

fn remember<T: PartialEq>(all: &mut VecDeque<T>, new: T) {
    all.retain(|it| *it != new);
    all.push_back(new);
    if all.len() > REMEMBERED {
        all.pop_front();
    }
}

impl Master {
    /// Follows the program that serves next, where the config says so.
    pub(super) fn follow_program(&mut self) {
        let wanted = match self.config().upgrade.on_change {
            true => self.coming_release().map(watched_paths).unwrap_or_default(),
            false => Vec::new(),
        };
        if wanted == self.on_change.paths {
            return;
        }
        self.on_change.stop();
        self.on_change.paths.clone_from(&wanted);
        // The first look at another program is what changes are changes of.
        self.on_change.last = None;
        self.on_change.from_start = self.fleet.active().is_none();
        if wanted.is_empty() {
            return;
        }
        match Follow::new(&wanted).and_then(pollable) {
            Ok(follow) => {
                let task = tokio::spawn(wait(follow, self.inputs.clone()));
                self.on_change.task = Some(task.abort_handle());
                self.look_at_program();
            }
            Err(error) => self.warn(format!(
                "upgrade.on_change: {} cannot be watched ({error}; fs.inotify.max_user_watches, \
                 fs.inotify.max_user_instances?): changes are not noticed",
                wanted[0].display()
            )),
        }
    }

    fn coming_release(&self) -> Option<&Release> {
        let coming = match self.fleet.rollout() {
            (Phase::Starting | Phase::Baking, Some(number)) => self.fleet.generation(number),
            _ => self.fleet.active(),
        };
        self.releases.get(coming?.release)
    }

    /// It has been quiet for a moment: a thread reads what is there.
    pub(super) fn look_at_program(&mut self) {
        if std::mem::replace(&mut self.on_change.looking, true) {
            self.on_change.again = true;
            return;
        }
        let (paths, inputs) = (self.on_change.paths.clone(), self.inputs.clone());
        let thread = std::thread::Builder::new().name("look".to_owned());
        let spawned = thread.spawn(move || {
            let seen = look(&paths);
            // When the loop is gone, so is who wants to know.
            drop(inputs.blocking_send(Input::ProgramSeen(paths, seen)));
        });
        if let Err(error) = spawned {
            self.on_change.looking = false;
            self.warn(format!("upgrade.on_change: no thread for a look: {error}"));
        }
    }

    pub(super) fn on_program_seen(&mut self, paths: &[PathBuf], look: Look) {
        self.on_change.looking = false;
        if std::mem::take(&mut self.on_change.again) || paths != self.on_change.paths {
            if !self.on_change.paths.is_empty() {
                self.look_at_program();
            }
            return;
        }
        let (seen, unseen) = match look {
            Ok(seen) => (seen, None),
            Err(why) => (None, Some(why)),
        };
        if let Some(why) = self.on_change.newly_unseen(unseen) {
            self.tell_of_program(&format!(
                "it cannot be seen: {why}; what serves goes on until that is mended"
            ));
        }
        // Nothing there, or nothing whole: whoever removed it brings another.
        let Some(seen) = seen else {
            return;
        };
        let active = self.fleet.active().map(|active| active.release);
        let at_work = [
            active.and_then(|id| self.releases.get(id)),
            self.coming_release(),
        ];
        let at_work: Vec<AtWork> = at_work.into_iter().flatten().map(AtWork::of).collect();
        match self.on_change.decide(seen, &at_work) {
            Verdict::Nothing => {}
            Verdict::Failed => self.tell_of_program(&format!(
                "it is what failed before, and is not tried again; to try it: {}",
                self.command(format_args!("upgrade {}", self.name))
            )),
            Verdict::Upgrade => self.upgrade_by_itself(),
        }
    }

    fn upgrade_by_itself(&mut self) {
        self.tell_of_program("an upgrade is asked for");
        let by = Caller {
            uid: nix::unistd::geteuid().as_raw(),
            pid: super::listeners::own_pid(),
        };
        let request = OperationRequest::Upgrade(UpgradeRequest::default());
        match self.start_operation(request, by) {
            Ok(operation) => {
                let name = operation.borrow().id.clone();
                for id in self.operations.find(|view| view.id == name) {
                    self.operations
                        .update(id, |view| view.cause = Some(CAUSE.to_owned()));
                }
            }
            Err(error) => self.tell_of_program(&format!("the upgrade was refused: {error}")),
        }
    }

    /// What failed once is not tried again by itself.
    pub(super) fn remember_failed_program(&mut self, generation: GenerationNumber) {
        let info = self.generations.get(&generation);
        let release = info.and_then(|info| self.releases.get(info.release));
        let Some(failed) = release.map(AtWork::of) else {
            return;
        };
        remember(&mut self.on_change.failed, failed);
        let ours = |view: &crate::control::view::OperationView| {
            view.to == Some(generation) && view.cause.as_deref() == Some(CAUSE)
        };
        if !self.operations.find(ours).is_empty() {
            self.tell_of_program(&format!(
                "generation {generation} failed with it, and it is not tried again before it changes; to try it: {}",
                self.command(format_args!("upgrade {}", self.name))
            ));
        }
    }

    fn tell_of_program(&self, what: &str) {
        let path = self.on_change.paths.first();
        let path = path
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        let what = what.to_owned();
        self.tell(&Event::ProgramChanged { path, what });
    }
}

/// Tells the loop each time that it is quiet again.
async fn wait(mut follow: tokio::io::unix::AsyncFd<Follow>, inputs: mpsc::Sender<Input>) {
    let mut quiet_at: Option<Instant> = None;
    let mut read_at = Instant::now();
    let mut look_at = read_at;
    loop {
        while let Some(closed) = follow.get_mut().newly_closed() {
            if inputs.send(Input::ProgramClosed(closed)).await.is_err() {
                return;
            }
        }
        let quiet = async {
            match quiet_at {
                Some(at) => sleep_until(at.max(look_at)).await,
                None => std::future::pending().await,
            }
        };
        let readable = async {
            sleep_until(read_at).await;
            follow.readable_mut().await
        };
        tokio::select! {
            ready = readable => {
                let Ok(mut guard) = ready else { return };
                let stir = guard.get_inner_mut().read();
                if guard.get_inner().is_drained() {
                    guard.clear_ready();
                }
                read_at = Instant::now() + READ_EVERY;
                match stir {
                    Ok(Stir::Nothing) => {}
                    Ok(Stir::Changed) => quiet_at = Some(Instant::now() + QUIET),
                    Ok(Stir::Begun) => quiet_at = Some(Instant::now() + UNCLOSED),
                    Err(error) => {
                        let lost = Input::ProgramLost(error);
                        drop(inputs.send(lost).await);
                        return;
                    }
                }
            }
            () = quiet => {
                quiet_at = None;
                look_at = Instant::now() + LOOK_EVERY;
                if inputs.send(Input::ProgramChanged).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Identity;

    /// A file by its inode, with this content.
    fn seen(inode: u64, sum: u64) -> Seen {
        let identity = Identity {
            dev: 1,
            ino: inode,
            size: 7,
            mtime_ns: 0,
        };
        let places = vec![PathBuf::from("/srv/app")];
        let content = Content {
            places,
            size: 7,
            sum,
        };
        Seen { identity, content }
    }

    #[test]
    fn each_content_is_tried_once_and_what_serves_is_no_change() {
        let mut memory = OnChange::default();
        let id = |inode| AtWork {
            identity: seen(inode, 0).identity,
            directory: None,
        };
        let a = [id(1)];
        assert_eq!(
            memory.decide(seen(1, 100), &a),
            Verdict::Nothing,
            "what is there at first"
        );
        assert_eq!(
            memory.decide(seen(2, 100), &a),
            Verdict::Nothing,
            "a copy of it"
        );
        assert_eq!(memory.decide(seen(3, 200), &a), Verdict::Upgrade);
        assert_eq!(
            memory.decide(seen(3, 200), &a),
            Verdict::Nothing,
            "only once"
        );
        remember(&mut memory.failed, id(3));
        assert_eq!(
            memory.decide(seen(4, 100), &a),
            Verdict::Nothing,
            "back to what serves"
        );
        assert_eq!(
            memory.decide(seen(5, 200), &a),
            Verdict::Failed,
            "a copy of what failed"
        );
        assert_eq!(
            memory.decide(seen(6, 300), &[id(1), id(6)]),
            Verdict::Nothing,
            "at work already"
        );
        assert_eq!(memory.decide(seen(7, 400), &a), Verdict::Upgrade);
    }

    #[test]
    fn the_same_interpreter_in_another_directory_is_another_program() {
        let mut memory = OnChange::default();
        let release = |number: u32| PathBuf::from(format!("/srv/releases/{number}"));
        let python = |number| {
            let mut seen = seen(1, 100);
            seen.content.places.push(release(number));
            seen
        };
        let at_work = |number| AtWork {
            identity: python(number).identity,
            directory: Some(release(number)),
        };
        let verdict =
            |memory: &mut OnChange, now, before| memory.decide(python(now), &[at_work(before)]);
        assert_eq!(verdict(&mut memory, 41, 41), Verdict::Nothing);
        assert_eq!(verdict(&mut memory, 42, 41), Verdict::Upgrade);
        assert_eq!(verdict(&mut memory, 41, 42), Verdict::Upgrade, "and back");
        remember(&mut memory.failed, at_work(43));
        assert_eq!(verdict(&mut memory, 43, 41), Verdict::Failed);
        assert_eq!(verdict(&mut memory, 44, 41), Verdict::Upgrade);
    }

    #[test]
    fn what_was_there_before_a_rollback_is_no_change_and_what_came_during_the_start_is() {
        let first = |from_start| {
            let mut memory = OnChange {
                from_start,
                ..OnChange::default()
            };
            let at_work = AtWork {
                identity: seen(1, 100).identity,
                directory: None,
            };
            memory.decide(seen(2, 200), &[at_work])
        };
        assert_eq!(first(false), Verdict::Nothing);
        assert_eq!(first(true), Verdict::Upgrade);
    }

    #[test]
    fn another_place_is_a_change_also_with_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for release in ["1", "2"] {
            std::fs::create_dir(at(release)).unwrap();
            std::fs::write(at(release).join("app"), "same").unwrap();
        }
        std::os::unix::fs::symlink("1", at("current")).unwrap();
        let paths = [at("current/app")];
        let one = look(&paths).unwrap().unwrap();
        assert_eq!(look(&paths), Ok(Some(one.clone())));
        std::fs::remove_file(at("current")).unwrap();
        assert_eq!(look(&paths), Ok(None));
        std::os::unix::fs::symlink("2", at("current")).unwrap();
        let two = look(&paths).unwrap().unwrap();
        assert_eq!(
            (one.content.sum, one.content.size),
            (two.content.sum, two.content.size)
        );
        assert_ne!(one.content, two.content);
    }

    /// How long after the change in a file's directory somebody is told to look.
    async fn quiet_after(change: impl FnOnce(&std::path::Path)) -> Duration {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app");
        let follow = Follow::new(std::slice::from_ref(&path))
            .and_then(pollable)
            .unwrap();
        let (inputs, mut waiting) = mpsc::channel(1);
        let begun = Instant::now();
        change(&path);
        let task = tokio::spawn(wait(follow, inputs));
        let told = waiting.recv().await;
        assert!(matches!(told, Some(Input::ProgramChanged)));
        task.abort();
        begun.elapsed()
    }

    #[tokio::test]
    async fn a_whole_file_is_looked_at_when_it_is_quiet_and_an_unclosed_one_later() {
        let mut open = None;
        let (whole, half) = tokio::join!(
            quiet_after(|path| std::fs::write(path, "whole").unwrap()),
            quiet_after(|path| open = Some(std::fs::File::create(path).unwrap())),
        );
        assert!((QUIET..UNCLOSED).contains(&whole), "{whole:?}");
        assert!(half >= UNCLOSED, "{half:?}");
    }
}
