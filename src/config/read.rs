//! Reading a file that may be anything.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::fault::{Fault, Faults, Place};
use super::suggest;

/// No config is larger; more is refused before it is read.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a regular file of at most 1 MiB.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, Faults> {
    let mut bytes = Vec::new();
    // O_NONBLOCK: opening a FIFO must not wait for its writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(path);
    let mut file =
        file.map_err(|error| whole(path, cannot_open(&error), hint_for(path, &error)))?;
    check_kind(path, &file)?;
    let read = file
        .by_ref()
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| {
        whole(
            path,
            format!("cannot be read: {}", reason(&error)),
            "check the file system".into(),
        )
    })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(too_large(path, None));
    }
    Ok(bytes)
}

/// The text of a file's bytes, without a byte order mark.
pub(crate) fn text<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str, Faults> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(whole(path, "is UTF-16".into(), "save it as UTF-8".into()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (line, column) = position(bytes, error.valid_up_to());
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        at(
            path,
            line,
            column,
            format!("is not UTF-8: byte 0x{byte:02x}"),
            "save it as UTF-8",
        )
    })?;
    match text.find('\0') {
        Some(offset) => {
            let (line, column) = position(bytes, offset);
            Err(at(
                path,
                line,
                column,
                "holds a NUL byte".into(),
                "remove it; is this a text file?",
            ))
        }
        None => Ok(text),
    }
}

fn check_kind(path: &Path, file: &File) -> Result<(), Faults> {
    let metadata = file.metadata().map_err(|error| {
        whole(
            path,
            format!("cannot be read: {}", reason(&error)),
            "check the file system".into(),
        )
    })?;
    if metadata.is_dir() {
        return Err(whole(
            path,
            "is a directory, not a file".into(),
            format!("name a file in it: {}", path.join("web.toml").display()),
        ));
    }
    if !metadata.is_file() {
        // It is read again on every reload, which a pipe cannot do.
        return Err(whole(
            path,
            "is not a regular file".into(),
            "name a regular file".into(),
        ));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(too_large(path, Some(metadata.len())));
    }
    Ok(())
}

fn too_large(path: &Path, bytes: Option<u64>) -> Faults {
    let size = bytes
        .map(|bytes| format!("{bytes} bytes, "))
        .unwrap_or_default();
    whole(
        path,
        format!("is too large: {size}more than {FILE_BYTES_MAX}"),
        "is this the right file?".into(),
    )
}

fn cannot_open(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".into(),
        _ => format!("cannot be opened: {}", reason(error)),
    }
}

fn hint_for(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => match path
            .parent()
            .filter(|dir| !dir.as_os_str().is_empty() && !dir.exists())
        {
            Some(dir) => format!(
                "the directory {} does not exist either; check the path",
                dir.display()
            ),
            None => match neighbour(path) {
                Some(near) => format!("did you mean {near}?"),
                None if path.is_absolute() => "check the name".into(),
                None => {
                    "check the name: a relative one counts from where handover was started".into()
                }
            },
        },
        io::ErrorKind::PermissionDenied => {
            "run as a user who may read it, or change its permissions".into()
        }
        _ => "check the path".into(),
    }
}

/// A file beside it whose name is nearly the same.
fn neighbour(path: &Path) -> Option<String> {
    // More is no directory of configs.
    const LOOKED_AT_MAX: usize = 200;
    let wanted = path.file_name()?.to_str()?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let entries = std::fs::read_dir(parent.unwrap_or(Path::new("."))).ok()?;
    let names: Vec<String> = entries
        .flatten()
        .take(LOOKED_AT_MAX)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let near = suggest::nearest(wanted, names.iter().map(String::as_str))?;
    Some(path.with_file_name(near).display().to_string())
}

/// The system's words without the number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

fn position(bytes: &[u8], offset: usize) -> (usize, usize) {
    let before = bytes.get(..offset).unwrap_or(bytes);
    let line_start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = String::from_utf8_lossy(before.get(line_start..).unwrap_or_default())
        .chars()
        .count()
        + 1;
    (line, column)
}

fn whole(path: &Path, message: String, hint: String) -> Faults {
    one(path, Place::File(path.to_owned()), message, hint)
}

fn at(path: &Path, line: usize, column: usize, message: String, hint: &str) -> Faults {
    one(
        path,
        Place::At {
            file: path.to_owned(),
            line,
            column,
        },
        message,
        hint.into(),
    )
}

fn one(path: &Path, place: Place, message: String, hint: String) -> Faults {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let message = format!("{name} {message}");
    Faults(vec![Fault {
        place,
        key: None,
        message,
        hint: Some(hint),
        snippet: None,
    }])
}
