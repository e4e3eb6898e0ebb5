//! The program as it lies on disk: which paths lead to it, and what is there.

use std::fs::{File, OpenOptions};
use std::hash::Hasher as _;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::OFlags;

use crate::process::{Identity, Release};

/// The program as it was found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Which file it was.
    pub(super) identity: Identity,
    pub(super) content: Content,
}

/// A program that serves, is on its way or failed: its file, and where it runs. An interpreter is the same file for every
/// release; what it runs lies in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AtWork {
    pub(super) identity: Identity,
    /// Without links; where the config names one.
    pub(super) directory: Option<PathBuf>,
}

impl AtWork {
    pub(super) fn of(release: &Release) -> Self {
        let named = release.plan().directory.is_some();
        Self {
            identity: release.identity(),
            directory: named.then(|| release.directory().to_owned()),
        }
    }

    /// Whether what was seen is this one.
    pub(super) fn is(&self, seen: &Seen) -> bool {
        self.identity == seen.identity && self.directory.as_ref() == seen.content.places.get(1)
    }
}

/// What is compared: where the paths lead, and what is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) places: Vec<PathBuf>,
    pub(super) size: u64,
    pub(super) sum: u64,
}

/// The program's path before links are followed, and the working directory's where the config names one.
pub(super) fn watched_paths(release: &Release) -> Vec<PathBuf> {
    let directory = release.plan().directory.as_deref();
    let directory = directory.and_then(|it| std::path::absolute(it).ok());
    let own = directory.clone().or_else(|| std::env::current_dir().ok());
    let program = own.unwrap_or_default().join(release.searched());
    [program].into_iter().chain(directory).collect()
}

/// A look: what is there, nothing where nothing is, or why it cannot be seen.
pub(super) type Look = Result<Option<Seen>, String>;

/// What is at the paths; none where the program is no file.
pub(super) fn look(paths: &[PathBuf]) -> Look {
    let mut places = Vec::new();
    for path in paths {
        match path.canonicalize() {
            Ok(place) => places.push(place),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            // A loop of links, a directory that cannot be searched.
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    Ok(read(places))
}

/// What is in the file at the first of these places.
fn read(places: Vec<PathBuf>) -> Option<Seen> {
    let path = places.first()?;
    let mut options = OpenOptions::new();
    // Not to wait for the other end of a FIFO.
    options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let mut hasher = std::hash::DefaultHasher::new();
    let meta = match options.open(path) {
        Ok(mut file) => {
            let meta = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
            read_into(&mut hasher, &mut file)?;
            meta
        }
        // What may be executed and not read: by what its directory says.
        Err(_) => {
            let meta = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
            for number in [meta.ino(), meta.mtime().cast_unsigned(), meta.size()] {
                hasher.write_u64(number);
            }
            meta
        }
    };
    let identity = Identity::from_metadata(&meta);
    let content = Content {
        places,
        size: meta.size(),
        sum: hasher.finish(),
    };
    Some(Seen { identity, content })
}

fn read_into(hasher: &mut impl std::hash::Hasher, file: &mut File) -> Option<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(()),
            length => hasher.write(&buffer[..length]),
        }
    }
}
