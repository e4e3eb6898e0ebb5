//! Workers that were started from files that changed: what is only a path is not pinned, so a generation that gets a
//! worker again gets one of what lies there now, which may be the very release that failed.

use super::Master;
use crate::control::Event;
use crate::fleet::{GenerationNumber, OperationId, Outcome, ReleaseId, WorkerId};
use crate::process::Release;

/// What of the active generation is not as it was.
struct NotAsBefore {
    /// "1.0", "1.1"
    workers: Vec<String>,
    /// "workers 1.0, 1.1 of generation 1 were started from files that changed since it began"
    fact: String,
    /// "/srv/app.py: changed (size 1 → 2)"
    files: String,
    /// "restore them, then: handover upgrade web"
    remedy: String,
}

impl Master {
    /// A respawn runs what the paths hold now; people should know. The files that changed, in words.
    pub(super) fn tell_of_changed_files(
        &mut self,
        id: WorkerId,
        release: ReleaseId,
    ) -> Vec<String> {
        if id.life == 0 {
            return Vec::new();
        }
        let changed = self.releases.get(release).map(Release::changed_files);
        let files: Vec<String> = changed.iter().flatten().map(ToString::to_string).collect();
        let Some(generation) = self.generations.get_mut(&id.generation) else {
            return files;
        };
        if !files.is_empty() && !std::mem::replace(&mut generation.changed_told, true) {
            self.tell(&Event::ReleaseChanged {
                generation: id.generation,
                files: files.clone(),
            });
        }
        files
    }

    /// The workers of the active generation that run something else than it began with.
    fn not_as_before(&self) -> Option<NotAsBefore> {
        let number = self.fleet.active()?.number;
        let (mut workers, mut files): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        let of_it = self.workers.all.iter().filter(|(id, worker)| {
            id.generation == number && worker.told.is_none() && !worker.changed.is_empty()
        });
        for (id, worker) in of_it {
            workers.push(id.to_string());
            let news = worker.changed.iter().filter(|file| !files.contains(file));
            let news: Vec<String> = news.cloned().collect();
            files.extend(news);
        }
        let (whose, were) = match workers.as_slice() {
            [] => return None,
            [one] => (format!("worker {one}"), "was"),
            all => (format!("workers {}", all.join(", ")), "were"),
        };
        let upgrade = self.command(format_args!("upgrade {}", self.name));
        Some(NotAsBefore {
            fact: format!(
                "{whose} of generation {number} {were} started from files that changed since it began"
            ),
            workers,
            files: files.join("; "),
            remedy: format!("restore them, then: {upgrade}"),
        })
    }

    /// An operation that failed says so of the generation that it goes back to: in its reason, where it has one, and in
    /// a warning; and what to do where it could not go back.
    pub(super) fn say_what_is_not_as_before(
        &mut self,
        operation: OperationId,
        outcome: Outcome,
        reason: &mut Option<String>,
    ) {
        if let Outcome::NotUndone(number, _) = outcome {
            let way_out = self.way_out(number);
            self.operations.update(operation, |view| {
                let more = view.hint.take();
                let more =
                    more.map_or_else(String::new, |hint| format!("; of what failed: {hint}"));
                view.hint = Some(way_out + &more);
            });
        }
        let goes_back = matches!(
            outcome,
            Outcome::Failed(..) | Outcome::NotUndone(..) | Outcome::Aborted(_)
        );
        let Some(changed) = self.not_as_before().filter(|_| goes_back) else {
            return;
        };
        let NotAsBefore {
            workers,
            fact,
            files,
            remedy,
        } = changed;
        if let Some(reason) = reason {
            *reason += &format!("; {fact}");
        }
        let warning = format!("{fact}: {files}; they may run what failed; {remedy}");
        self.operations.update(operation, |view| {
            view.changed_workers = workers;
            view.warnings.push(warning);
        });
    }

    /// What to do about an operation that is not wholly undone.
    fn way_out(&self, failed: GenerationNumber) -> String {
        let upgrade = self.command(format_args!("upgrade {}", self.name));
        let logs = self.command(format_args!("logs {}", self.name));
        if let Some(changed) = self.not_as_before() {
            let NotAsBefore {
                fact,
                files,
                remedy,
                ..
            } = changed;
            return format!("{fact}: {files}; {remedy}");
        }
        match self.fleet.active() {
            Some(active) if (active.ready() as u64) < u64::from(active.wanted()) => format!(
                "{} of {} workers of generation {} are ready; what the others say: {logs}; when that is put right they \
                 come back by themselves, or: {upgrade}",
                active.ready(),
                active.wanted(),
                active.number
            ),
            _ => {
                let status = self.command(format_args!("status {}", self.name));
                format!(
                    "processes of generation {failed} do not end, {status} names them; a new generation replaces what \
                     runs: {upgrade}"
                )
            }
        }
    }
}
