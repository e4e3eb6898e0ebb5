//! Notices that a path leads to another file, or that its file was written to (inotify(7)).
//!
//! What is watched are the directories in which a name of the path is an entry, links included: of
//! `/srv/current/app`, with `current -> releases/42`, that is `current` in `/srv`, `app` in `/srv/releases/42`, and
//! the names of the directories on the way. New entries and files that are closed after they were written wake somebody;
//! each single write, and a file that another process only reads, do not. Of a directory its attributes count, too: it may
//! be opened to us.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// As many links as the kernel follows in one path (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// So many events are taken at once: whoever changes something in a loop is not followed for as long as he does.
const EVENTS_MAX: usize = 256;
/// A directory that was open for so long was so for good, and is told of again.
const FOR_GOOD: Duration = Duration::from_secs(60);
/// So many directories are told of before some of them were open for good.
const CLOSED_MAX: usize = 64;

/// Paths, and the watches that follow them.
#[derive(Debug)]
pub struct Follow {
    inotify: OwnedFd,
    paths: Vec<PathBuf>,
    /// The watch of a directory and the name that is waited for in it: which entry that is.
    places: BTreeMap<(i32, OsString), PathBuf>,
    /// Directories that may not be watched, or could not be a moment ago.
    closed: BTreeMap<PathBuf, Closed>,
    /// The last read took all there was.
    drained: bool,
}

/// A directory that may not be watched.
#[derive(Debug, Default)]
struct Closed {
    /// Whether that was asked for already.
    told: bool,
    /// Since when it may be, or is not on the way any more.
    open_since: Option<Instant>,
}

/// What happened since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stir {
    /// Nothing to these paths.
    Nothing,
    /// One of them is another file, or its file was written to and closed.
    Changed,
    /// A file was made and is not closed yet: somebody writes to it, or linked it.
    Begun,
}

impl Follow {
    /// Follows these absolute paths, also as long as they lead nowhere.
    ///
    /// # Errors
    /// What inotify_init(2) and inotify_add_watch(2) say.
    pub fn new(paths: &[PathBuf]) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let mut follow = Self {
            inotify: inotify::init(flags)?,
            paths: paths.to_vec(),
            places: BTreeMap::new(),
            closed: BTreeMap::new(),
            drained: true,
        };
        follow.renew()?;
        Ok(follow)
    }

    /// Reads what happened, as far as it is read at once, and goes after paths that lead elsewhere now. Of several things
    /// the last counts.
    ///
    /// # Errors
    /// What inotify_add_watch(2) says.
    pub fn read(&mut self) -> io::Result<Stir> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut stir = Stir::Nothing;
        let mut events = 0;
        self.drained = true;
        loop {
            if events >= EVENTS_MAX && reader.is_buffer_empty() {
                self.drained = false;
                break;
            }
            let Ok(event) = reader.next() else { break };
            events += 1;
            stir = self.stir_of(&event).unwrap_or(stir);
        }
        if stir != Stir::Nothing {
            self.renew()?;
        }
        Ok(stir)
    }

    /// What this event says of the paths, if anything.
    fn stir_of(&self, event: &inotify::Event<'_>) -> Option<Stir> {
        let name = event
            .file_name()
            .map(|name| OsStr::from_bytes(name.to_bytes()));
        let place = name.map(|name| (event.wd(), name.to_owned()));
        let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
        let entry = place.and_then(|place| self.places.get(&place));
        if !lost && entry.is_none() {
            return None;
        }
        // A link or a directory is whole as soon as it is there.
        let is_file = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|it| it.is_file());
        let of_attributes = event.events().contains(ReadFlags::ATTRIB);
        if of_attributes && !entry.is_some_and(|path| path.is_dir()) {
            return None;
        }
        let made = event.events().contains(ReadFlags::CREATE);
        Some(match made && entry.is_some_and(is_file) {
            true => Stir::Begun,
            false => Stir::Changed,
        })
    }

    /// Whether the last read took all there was: else the next one goes on, without a new event.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    /// A directory on the way that may not be watched (its owner lets us not read it), so that what happens in it is not
    /// noticed; each once, and again where it was open for a minute meanwhile.
    pub fn newly_closed(&mut self) -> Option<PathBuf> {
        let news = |closed: &Closed| !closed.told && closed.open_since.is_none();
        let (path, closed) = self.closed.iter_mut().find(|(_, closed)| news(closed))?;
        closed.told = true;
        Some(path.clone())
    }

    /// Watches what the paths are made of now, and no more what they were made of.
    fn renew(&mut self) -> io::Result<()> {
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        let mut places = BTreeMap::new();
        let now = Instant::now();
        self.closed.retain(|_, closed| {
            let open_since = *closed.open_since.get_or_insert(now);
            now.duration_since(open_since) < FOR_GOOD
        });
        for (directory, name) in self.paths.iter().flat_map(|path| entries(path)) {
            match inotify::add_watch(&self.inotify, &directory, flags) {
                Ok(watch) => {
                    let entry = directory.join(&name);
                    places.insert((watch, name), entry);
                }
                // Gone since we looked, or a loop of links: the entry above it says when that changes.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                // Who opens it changes its attributes.
                Err(Errno::ACCESS) => {
                    if self.closed.len() < CLOSED_MAX || self.closed.contains_key(&directory) {
                        self.closed.entry(directory).or_default().open_since = None;
                    }
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        let watches = |places: &BTreeMap<(i32, OsString), PathBuf>| -> BTreeSet<i32> {
            let mut watches = BTreeSet::new();
            watches.extend(places.keys().map(|(watch, _)| *watch));
            watches
        };
        for unused in watches(&self.places).difference(&watches(&places)) {
            // EINVAL: its directory is gone, and the watch with it.
            let _ = inotify::remove_watch(&self.inotify, *unused);
        }
        self.places = places;
        Ok(())
    }
}

impl AsRawFd for Follow {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}

/// The directory entries that decide where `path` leads, as far as it leads somewhere.
fn entries(path: &Path) -> Vec<(PathBuf, OsString)> {
    let mut found = Vec::new();
    let mut links = 0;
    let mut at = PathBuf::from("/");
    let mut left: Vec<OsString> = names(path).collect();
    left.reverse();
    while let Some(name) = left.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        found.push((at.clone(), name.clone()));
        let here = at.join(&name);
        match fs::read_link(&here) {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                let target: Vec<OsString> = names(&target).collect();
                left.extend(target.into_iter().rev());
            }
            _ => at = here,
        }
    }
    found
}

/// The names that a path is made of.
fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn following(path: &Path) -> Follow {
        Follow::new(&[path.to_owned()]).unwrap()
    }

    #[test]
    fn every_entry_on_the_way_is_found_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("releases/42")).unwrap();
        symlink("releases/42", root.join("current")).unwrap();
        symlink("../../current/app-1", root.join("releases/42/app")).unwrap();
        let found = entries(&root.join("current/app"));
        let below =
            |place: &(PathBuf, OsString)| Some(place.0.strip_prefix(&root).ok()?.join(&place.1));
        let found: Vec<PathBuf> = found.iter().filter_map(below).collect();
        let expected = [
            "current",
            "releases",
            "releases/42",
            "releases/42/app",
            "current",
            "releases",
            "releases/42",
            "releases/42/app-1",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        // A loop has an end.
        symlink("loop", root.join("loop")).unwrap();
        assert!(entries(&root.join("loop/x")).len() > LINKS_MAX);
    }

    #[test]
    fn a_rename_a_link_and_a_write_are_told_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for release in ["1", "2"] {
            fs::create_dir(at(release)).unwrap();
            fs::write(at(release).join("app"), release).unwrap();
        }
        symlink("1", at("current")).unwrap();
        let mut follow = following(&at("current/app"));
        assert_eq!(follow.read().unwrap(), Stir::Nothing);
        fs::write(at("1/other"), "").unwrap();
        fs::write(at("2/app"), "not yet").unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Nothing);

        fs::write(at("1/app.new"), "").unwrap();
        fs::rename(at("1/app.new"), at("1/app")).unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Changed);
        fs::write(at("1/app"), "in place").unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Changed);
        symlink("2", at("next")).unwrap();
        fs::rename(at("next"), at("current")).unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Changed);
        // It goes on where the link leads now.
        fs::write(at("1/app"), "").unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Nothing);
        fs::write(at("2/app"), "").unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Changed);
    }

    #[test]
    fn a_file_that_is_being_written_is_begun_until_it_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app");
        let mut follow = following(&path);
        let mut file = fs::File::create(&path).unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Begun);
        io::Write::write_all(&mut file, b"half").unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Nothing);
        drop(file);
        assert_eq!(follow.read().unwrap(), Stir::Changed);
    }

    #[test]
    fn directories_that_go_and_come_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/app");
        let mut follow = following(&path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Changed);
        fs::write(&path, "").unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Changed);
        fs::rename(dir.path().join("a"), dir.path().join("old")).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Changed);
        fs::write(&path, "").unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Changed);
    }

    #[test]
    fn a_loop_of_links_is_followed_until_it_leads_somewhere() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("1")).unwrap();
        fs::write(at("1/app"), "").unwrap();
        symlink("1", at("current")).unwrap();
        let mut follow = following(&at("current/app"));
        let lead = |to: &str| {
            symlink(to, at("next")).unwrap();
            fs::rename(at("next"), at("current")).unwrap();
        };
        lead("current");
        assert_eq!(follow.read().unwrap(), Stir::Changed);
        lead("1");
        assert_eq!(follow.read().unwrap(), Stir::Changed);
        fs::write(at("1/app"), "").unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Changed);
        // It may be one from the beginning.
        lead("current");
        let mut follow = following(&at("current/app"));
        lead("1");
        assert_eq!(follow.read().unwrap(), Stir::Changed);
        assert_eq!(follow.newly_closed(), None);
    }

    #[test]
    fn a_flood_is_taken_in_pieces_and_nothing_of_it_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app");
        let mut follow = following(&path);
        for other in 0..2 * EVENTS_MAX {
            fs::write(dir.path().join(other.to_string()), "").unwrap();
        }
        fs::write(&path, "").unwrap();
        assert_eq!(follow.read().unwrap(), Stir::Nothing);
        let mut reads = 1;
        let mut stir = Stir::Nothing;
        while !follow.is_drained() {
            stir = stir.max(follow.read().unwrap());
            reads += 1;
        }
        assert!((2..10).contains(&reads), "{reads}");
        assert_eq!(stir, Stir::Changed);
    }

    #[test]
    fn attributes_of_directories_count_and_those_of_files_do_not() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mode = |name: &str, mode| {
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        fs::create_dir(at("1")).unwrap();
        fs::write(at("1/app"), "").unwrap();
        let mut follow = following(&at("1/app"));
        mode("1/app", 0o700);
        assert_eq!(follow.read().unwrap(), Stir::Nothing);
        mode("1", 0o700);
        assert_eq!(follow.read().unwrap(), Stir::Changed);
    }
}
