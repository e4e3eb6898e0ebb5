//! The file: appended to, compacted by rename.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use minicbor::{Decode, Encode};

use super::frame::{self, Next};
use super::table::{Table, encoded};

/// Raised when an earlier version would misread what is written.
const FORMAT: u32 = 1;

/// A file that is longer than this, and than twice what it was after the last compaction, is compacted.
const COMPACTED_ABOVE: u64 = 64 << 10;

/// Who wrote the rest of a file.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
struct Header {
    #[n(0)]
    format: u32,
    /// handover's version, for people.
    #[n(1)]
    version: String,
    /// `/proc/sys/kernel/random/boot_id`: process numbers of another boot say nothing.
    #[n(2)]
    boot: String,
}

/// Why a journal cannot be read. Whatever it was about is not guessed.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The file itself.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Another version of handover wrote it, in a way that this one would misread.
    #[error("handover {version} wrote it in format {format}, and this is {own}, which reads {FORMAT}", own = env!("CARGO_PKG_VERSION"))]
    Later {
        /// The format.
        format: u32,
        /// handover's version.
        version: String,
    },
    /// The frame that begins at this byte is none, and yet something follows.
    #[error("it is damaged at byte {0}")]
    Damaged(u64),
}

/// What a file holds.
#[derive(Debug)]
pub struct Found {
    /// The values.
    pub table: Table,
    /// The version of handover that wrote it.
    pub version: String,
    /// The machine was started again since then: no process and no descriptor of it is left.
    pub of_another_boot: bool,
    /// Its last bytes are the beginning of a frame that was never finished, and are left out.
    pub torn: bool,
}

impl Found {
    /// Reads the bytes of a file; none when not even its first frame is whole: nothing was done by then.
    ///
    /// # Errors
    /// A later format, or damage that a killed writer does not leave.
    pub fn parse(bytes: &[u8], boot: &str) -> Result<Option<Self>, Unreadable> {
        let at = |rest: &[u8]| Unreadable::Damaged((bytes.len() - rest.len()) as u64);
        let (header, mut rest) = match frame::read(bytes) {
            Next::Frame(payload, rest) => (payload, rest),
            Next::End | Next::Torn => return Ok(None),
            Next::Damaged => return Err(at(bytes)),
        };
        let header: Header = minicbor::decode(header).map_err(|_| at(bytes))?;
        if header.format != FORMAT {
            let (format, version) = (header.format, header.version);
            return Err(Unreadable::Later { format, version });
        }
        let mut table = Table::default();
        let torn = loop {
            match frame::read(rest) {
                Next::Frame(payload, _) if !table.take(payload) => return Err(at(rest)),
                Next::Frame(_, following) => rest = following,
                Next::End => break false,
                Next::Torn => break true,
                Next::Damaged => return Err(at(rest)),
            }
        };
        Ok(Some(Self {
            table,
            version: header.version,
            of_another_boot: header.boot != boot,
            torn,
        }))
    }
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    boot: String,
    file: File,
    /// Where the next frame goes.
    end: u64,
    /// How long the file was after the last compaction.
    compact: u64,
    table: Table,
}

impl Journal {
    /// Reads the file at `path`; none where there is none, or one in which nothing happened yet.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn read(path: &Path) -> Result<Option<Found>, Unreadable> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => file.read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Found::parse(&bytes, &boot()?)
    }

    /// Writes `table` as a new file at `path`, in the place of the one that is there.
    ///
    /// # Errors
    /// When it cannot be written: then the old one is as it was.
    pub fn begin(path: &Path, mut table: Table) -> io::Result<Self> {
        let boot = boot()?;
        let (file, end) = write_whole(path, &boot, &table)?;
        table.written();
        Ok(Self {
            path: path.to_owned(),
            boot,
            file,
            end,
            compact: end,
            table,
        })
    }

    /// The values; what is changed here is not in the file before [`commit`](Self::commit).
    pub fn table(&mut self) -> &mut Table {
        &mut self.table
    }

    /// Brings what was changed into the file, whole or not at all. A master that is killed right after it leaves what
    /// was written: the page cache is the kernel's.
    ///
    /// # Errors
    /// When it cannot be written. What was to be written is kept, and goes with the next one.
    pub fn commit(&mut self) -> io::Result<()> {
        let Some(payload) = self.table.changes() else {
            return Ok(());
        };
        if self.end > COMPACTED_ABOVE.max(self.compact.saturating_mul(2)) && self.compact().is_ok()
        {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(frame::length(&payload));
        frame::write(&mut bytes, &payload);
        if let Err(error) = self.file.write_all_at(&bytes, self.end) {
            // What did get written would be a torn tail in the middle of the file.
            self.file.set_len(self.end)?;
            return Err(error);
        }
        self.end += bytes.len() as u64;
        self.table.written();
        Ok(())
    }

    /// Writes the values anew, without their past, and makes the file again where somebody removed it.
    ///
    /// # Errors
    /// When it cannot be written: then the old one is as it was.
    pub fn compact(&mut self) -> io::Result<()> {
        let (file, end) = write_whole(&self.path, &self.boot, &self.table)?;
        (self.file, self.end, self.compact) = (file, end, end);
        self.table.written();
        Ok(())
    }
}

/// Beside the old one, and then in its place.
fn write_whole(path: &Path, boot: &str, table: &Table) -> io::Result<(File, u64)> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&beside)?;
    let mut bytes = Vec::new();
    let header = Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot: boot.to_owned(),
    };
    frame::write(&mut bytes, &encoded(&header));
    frame::write(&mut bytes, &table.whole());
    let done = file.write_all_at(&bytes, 0);
    if let Err(error) = done.and_then(|()| std::fs::rename(&beside, path)) {
        // A disk that is full is not made fuller.
        drop(std::fs::remove_file(&beside));
        return Err(error);
    }
    Ok((file, bytes.len() as u64))
}

/// Which start of the machine this is (random(4)).
fn boot() -> io::Result<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim_end().to_owned())
}
