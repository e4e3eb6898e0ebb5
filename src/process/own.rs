//! The program that this process runs, and what is at its path by now.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::elf;
use super::identity::Identity;

/// What /proc/self/exe says behind the path of a program that was removed or replaced (proc(5)).
const DELETED: &str = " (deleted)";

/// The running program.
#[derive(Debug)]
pub struct OwnProgram {
    path: PathBuf,
    identity: Identity,
    elf: Option<elf::Elf>,
    /// What was found to be the same program after all: it is read once.
    copy: Option<Identity>,
}

/// What is at the path of the running program.
#[derive(Debug)]
pub enum AtItsPath {
    /// The same, or a copy of it (by its build id).
    Same,
    /// Another program for this machine, opened.
    Other(File),
    /// Something that cannot take its place: what is wrong, following on its path.
    Unfit(String),
}

impl OwnProgram {
    /// The program that this process executed.
    ///
    /// # Errors
    /// What readlink(2), open(2) and fstat(2) say of `/proc/self/exe`.
    pub fn running() -> io::Result<Self> {
        let link = Path::new("/proc/self/exe");
        let path = std::fs::read_link(link)?;
        let path = match path.to_str().and_then(|text| text.strip_suffix(DELETED)) {
            Some(before) => PathBuf::from(before),
            None => path,
        };
        Self::at(path, &File::open(link)?)
    }

    fn at(path: PathBuf, file: &File) -> io::Result<Self> {
        Ok(Self {
            path,
            identity: Identity::from_metadata(&file.metadata()?),
            elf: elf::read(file),
            copy: None,
        })
    }

    /// Where it was when it was executed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at its path: a stat(2) as a rule.
    pub fn look(&mut self) -> AtItsPath {
        let unfit = |error: io::Error| AtItsPath::Unfit(format!("cannot be opened: {error}"));
        let meta = match std::fs::metadata(&self.path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return AtItsPath::Unfit("was removed, and nothing took its place".to_owned());
            }
            Err(error) => return unfit(error),
        };
        let now = Identity::from_metadata(&meta);
        if now == self.identity || Some(now) == self.copy {
            return AtItsPath::Same;
        }
        if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
            return AtItsPath::Unfit("is no executable file".to_owned());
        }
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) => return unfit(error),
        };
        match (elf::read(&file), &self.elf) {
            (None, _) => AtItsPath::Unfit("is no ELF program".to_owned()),
            (Some(new), Some(own)) if new.machine != own.machine => {
                AtItsPath::Unfit("is a program for another machine".to_owned())
            }
            (Some(new), Some(own)) if new.build_id.is_some() && new.build_id == own.build_id => {
                self.copy = Some(now);
                AtItsPath::Same
            }
            (Some(_), _) => AtItsPath::Other(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    struct Place {
        directory: tempfile::TempDir,
        own: OwnProgram,
    }

    impl Place {
        /// Where a copy of sleep(1) is the running program.
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("handover");
            fs::copy("/bin/sleep", &path).expect("a copy");
            let file = File::open(&path).expect("opens");
            let own = OwnProgram::at(path, &file).expect("looks");
            Self { directory, own }
        }

        /// As a package does: beside it, then renamed over it.
        fn install(&self, from: &Path) {
            let beside = self.directory.path().join("handover.dpkg-new");
            fs::copy(from, &beside).expect("a copy");
            fs::rename(&beside, self.own.path()).expect("renamed");
        }

        fn unfit(&mut self) -> String {
            match self.own.look() {
                AtItsPath::Unfit(why) => why,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_running_program_is_the_same() {
        let mut own = OwnProgram::running().expect("there is one");
        assert!(matches!(own.look(), AtItsPath::Same));
        assert_eq!(own.path(), std::env::current_exe().expect("known"));
    }

    #[test]
    fn a_copy_is_the_same_and_another_program_is_not() {
        let mut place = Place::new();
        place.install(Path::new("/bin/sleep"));
        assert!(
            matches!(place.own.look(), AtItsPath::Same),
            "by its build id"
        );
        assert!(matches!(place.own.look(), AtItsPath::Same), "and again");
        place.install(Path::new("/bin/cat"));
        let AtItsPath::Other(file) = place.own.look() else {
            panic!("cat is not sleep");
        };
        let there = fs::metadata(place.own.path()).expect("there");
        let opened = file.metadata().expect("open");
        assert_eq!(
            Identity::from_metadata(&there),
            Identity::from_metadata(&opened)
        );
    }

    #[test]
    fn what_cannot_take_its_place_is_told() {
        let mut place = Place::new();
        let path = place.own.path().to_owned();
        fs::remove_file(&path).expect("removed");
        assert_eq!(place.unfit(), "was removed, and nothing took its place");
        fs::write(&path, "#!/bin/sh\n").expect("written");
        assert_eq!(place.unfit(), "is no executable file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        assert_eq!(place.unfit(), "is no ELF program");
        place.install(Path::new("/bin/cat"));
        let file = fs::OpenOptions::new().write(true).open(&path);
        // e_machine: SPARC.
        let file = file.expect("opens");
        file.write_all_at(&[2, 0], 18).expect("written");
        drop(file);
        assert_eq!(place.unfit(), "is a program for another machine");
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a directory");
        assert_eq!(place.unfit(), "is no executable file");
    }
}
