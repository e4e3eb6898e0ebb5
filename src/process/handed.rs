//! Descriptors from one image of the master to the next, over its own execve(2).
//!
//! They keep their numbers. A memfd says which is what: it is the only one whose number stands in the environment, in
//! [`VARIABLE`]. Close-on-exec is off only from [`hand_on`] to the execve, or until the guard that it gives is dropped.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use minicbor::{Decode, Encode};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use super::place::adopt;

/// The variable of the environment that names the memfd.
pub const VARIABLE: &str = "HANDOVER_HANDED";

/// More bytes are no list of descriptors: 10,000 workers have some 60,000, of 40 bytes each.
const LIST_MAX: u64 = 16 << 20;

#[derive(Encode, Decode)]
#[cbor(map)]
struct List {
    #[n(0)]
    entries: Vec<(String, i32)>,
}

/// Descriptors that the next execve(2) of this process leaves open.
#[derive(Debug)]
pub struct HandedOn {
    /// Copies: close-on-exec is a flag of the number, and whoever lent the original goes on with it.
    copies: Vec<OwnedFd>,
    list: OwnedFd,
}

impl HandedOn {
    /// What [`VARIABLE`] is to be for the next image.
    #[must_use]
    pub fn variable(&self) -> String {
        self.list.as_raw_fd().to_string()
    }
}

impl Drop for HandedOn {
    /// The execve failed, or came to nothing: nothing that is started from now on gets them.
    fn drop(&mut self) {
        for fd in self.copies.iter().chain([&self.list]) {
            // They are closed next.
            let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
    }
}

/// Leaves these descriptors open for the next image of this process, under these names.
///
/// # Errors
/// EMFILE: it takes as many descriptors again, and one more. Nothing is left open then.
pub fn hand_on<'a>(
    fds: impl IntoIterator<Item = (String, BorrowedFd<'a>)>,
) -> io::Result<HandedOn> {
    let list = memfd_create("handover-handed", MemfdFlags::CLOEXEC)?;
    let mut handed = HandedOn {
        copies: Vec::new(),
        list,
    };
    let mut entries = Vec::new();
    for (name, fd) in fds {
        let copy = fcntl_dupfd_cloexec(fd, 3)?;
        entries.push((name, copy.as_raw_fd()));
        handed.copies.push(copy);
    }
    let mut bytes = Vec::new();
    // A vector takes whatever comes.
    drop(minicbor::encode(List { entries }, &mut bytes));
    let mut file = File::from(handed.list.try_clone()?);
    file.write_all(&bytes)?;
    file.rewind()?;
    for fd in handed.copies.iter().chain([&handed.list]) {
        fcntl_setfd(fd, FdFlags::empty())?;
    }
    Ok(handed)
}

/// Takes what the image before this one handed on; empty where there was none, or it handed nothing on.
///
/// To be called first thing in `main`, before anything is opened and any thread exists; it takes the variable's value,
/// since the environment cannot be changed safely here.
///
/// # Errors
/// When the variable names no such list, or the list a descriptor that is not open: then nothing of it is used.
pub fn take_over(variable: &str) -> io::Result<Vec<(String, OwnedFd)>> {
    let broken = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let number: RawFd = variable
        .parse()
        .map_err(|_| broken(format!("{VARIABLE}={variable:?} is no number")))?;
    let [list] = <[OwnedFd; 1]>::try_from(adopt(&[number])?)
        .map_err(|_| broken(format!("{VARIABLE}={variable} is not open")))?;
    let mut bytes = Vec::new();
    File::from(list).take(LIST_MAX).read_to_end(&mut bytes)?;
    let list: List = minicbor::decode(&bytes)
        .map_err(|_| broken(format!("descriptor {number} is no list of descriptors")))?;
    let (names, numbers): (Vec<String>, Vec<RawFd>) = list.entries.into_iter().unzip();
    Ok(names.into_iter().zip(adopt(&numbers)?).collect())
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;
    use std::os::fd::AsFd as _;
    use std::process::Command;

    use super::*;

    fn file_with(text: &str) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).expect("writes");
        file.rewind().expect("seeks");
        file
    }

    fn text_of(fd: OwnedFd) -> String {
        let mut text = String::new();
        let mut file = File::from(fd);
        file.rewind().expect("seeks");
        file.read_to_string(&mut text).expect("reads");
        text
    }

    #[test]
    fn the_next_image_has_them_under_their_names() {
        let (one, other) = (file_with("one"), file_with("other"));
        let named = [("l.1", one.as_fd()), ("n.2.0", other.as_fd())];
        let named = named.map(|(name, fd)| (name.to_owned(), fd));
        // The next image owns what this one did.
        let handed = ManuallyDrop::new(hand_on(named).expect("hands on"));
        // Any program that is executed now has them: as the next image of this process would.
        let number = handed.copies[1].as_raw_fd();
        let seen = Command::new("cat")
            .arg(format!("/proc/self/fd/{number}"))
            .output()
            .expect("cat runs");
        assert_eq!(seen.stdout, b"other");
        let taken = take_over(&handed.variable()).expect("takes over");
        let closed = |fd: &OwnedFd| {
            let flags = rustix::io::fcntl_getfd(fd).expect("open");
            flags.contains(FdFlags::CLOEXEC)
        };
        assert!(taken.iter().all(|(_, fd)| closed(fd)));
        let taken: Vec<_> = taken
            .into_iter()
            .map(|(name, fd)| (name, text_of(fd)))
            .collect();
        let expected = [("l.1", "one"), ("n.2.0", "other")];
        assert_eq!(
            taken,
            expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
        );
    }

    #[test]
    fn an_execve_that_failed_leaves_nothing_open() {
        let file = file_with("secret");
        let handed = hand_on([("s".to_owned(), file.as_fd())]).expect("hands on");
        let (number, list) = (handed.copies[0].as_raw_fd(), handed.list.as_raw_fd());
        drop(handed);
        for number in [number, list] {
            let seen = Command::new("test")
                .args(["-e", &format!("/proc/self/fd/{number}")])
                .status()
                .expect("test runs");
            assert!(!seen.success(), "descriptor {number} leaked");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let refused = |variable: &str| take_over(variable).expect_err("refused").to_string();
        assert!(refused("web").contains("is no number"));
        assert!(refused("-1").contains("invalid input"));
        assert!(refused("2").contains("invalid input"));
        assert!(refused("9999").contains("Bad file descriptor"));
        let file = ManuallyDrop::new(OwnedFd::from(file_with("\u{1}")));
        assert!(refused(&file.as_raw_fd().to_string()).contains("is no list"));
    }
}
