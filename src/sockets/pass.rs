//! Descriptors through a unix stream socket (SCM_RIGHTS, unix(7)).
//!
//! One call of [`send`] is one frame, one call of [`recv`] takes exactly one:
//!
//! ```text
//! "HOF1" · payload length (u32 LE) · descriptor count (u32 LE)
//! payload
//! one byte for every batch: how many descriptors come with that byte (1 ≤ n ≤ 64)
//! ```
//!
//! The count in the header and the byte of every batch are the manifest: what arrives is compared
//! with it, and a frame with one descriptor more or fewer than announced is refused as a whole
//! (all that arrived are closed). The receiver has room for 253, the most that the kernel takes in
//! one message, so that a sender that breaks the rules is noticed and nothing leaks.
//!
//! Both ends may be blocking or not: no flag of the socket is looked at or changed. Every wait for
//! the peer ends after [`PATIENCE`].

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The most descriptors in one message; more go in several.
pub const BATCH_MAX: usize = 64;
/// The most descriptors in one frame.
pub const DESCRIPTORS_MAX: usize = 4096;
/// How long either end waits for the other's next byte.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// SCM_MAX_FD of the kernel: no message can carry more.
const KERNEL_BATCH_MAX: usize = 253;
const MAGIC: [u8; 4] = *b"HOF1";
const HEADER_LEN: usize = 12;

/// Sends one frame: `payload` and `fds`, in order.
///
/// # Errors
/// `InvalidInput` for more than [`DESCRIPTORS_MAX`] descriptors or 4 GiB of payload, `TimedOut`
/// when the peer takes nothing for [`PATIENCE`], else what sendmsg(2) says.
pub fn send(sock: BorrowedFd<'_>, payload: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > DESCRIPTORS_MAX {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            format!(
                "{} descriptors are more than the {DESCRIPTORS_MAX} that one frame takes",
                fds.len()
            ),
        ));
    }
    let length = u32::try_from(payload.len()).map_err(|_| {
        io::Error::new(
            ErrorKind::InvalidInput,
            "a payload of 4 GiB or more does not fit one frame",
        )
    })?;
    // Cannot truncate: compared with DESCRIPTORS_MAX above.
    let count = fds.len() as u32;
    let mut frame = Vec::with_capacity(HEADER_LEN + payload.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&count.to_le_bytes());
    frame.extend_from_slice(payload);
    send_bytes(sock, &frame)?;
    for batch in fds.chunks(BATCH_MAX) {
        send_batch(sock, batch)?;
    }
    Ok(())
}

/// Receives one frame: its payload and its descriptors, in order, each with close-on-exec set.
///
/// # Errors
/// `InvalidData` when the frame is not one of ours, its payload is above `max_payload` bytes, or
/// the descriptors that came are not those announced; `UnexpectedEof` when the peer closed before
/// the end; `TimedOut` when nothing comes for [`PATIENCE`]; else what recvmsg(2) says. After an
/// error the socket is of no further use.
pub fn recv(sock: BorrowedFd<'_>, max_payload: usize) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut header = [0_u8; HEADER_LEN];
    recv_bytes(sock, &mut header)?;
    let [m0, m1, m2, m3, l0, l1, l2, l3, c0, c1, c2, c3] = header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(invalid("what came is not a frame of handover".to_owned()));
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let count = u32::from_le_bytes([c0, c1, c2, c3]) as usize;
    if length > max_payload {
        return Err(invalid(format!(
            "a payload of {length} bytes is announced, {max_payload} are allowed"
        )));
    }
    if count > DESCRIPTORS_MAX {
        return Err(invalid(format!(
            "{count} descriptors are announced, {DESCRIPTORS_MAX} are allowed"
        )));
    }
    let mut payload = vec![0_u8; length];
    recv_bytes(sock, &mut payload)?;
    let mut fds = Vec::with_capacity(count);
    while fds.len() < count {
        recv_batch(sock, count, &mut fds)?;
    }
    Ok((payload, fds))
}

fn send_bytes(sock: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = patiently(sock, PollFlags::OUT, || {
            sendmsg(
                sock,
                &[IoSlice::new(bytes)],
                &mut SendAncillaryBuffer::default(),
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            )
        })?;
        bytes = bytes.get(sent..).unwrap_or_default();
    }
    Ok(())
}

fn send_batch(sock: BorrowedFd<'_>, batch: &[BorrowedFd<'_>]) -> io::Result<()> {
    // Cannot truncate: a batch has at most 64.
    let manifest = [batch.len() as u8];
    patiently(sock, PollFlags::OUT, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(batch)) {
            return Err(Errno::TOOBIG);
        }
        sendmsg(
            sock,
            &[IoSlice::new(&manifest)],
            &mut control,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        )
    })?;
    Ok(())
}

/// Fills `into`; a descriptor that comes with these bytes is one too many.
fn recv_bytes(sock: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < into.len() {
        let rest = into.get_mut(filled..).unwrap_or_default();
        let (bytes, stray) = recv_message(sock, rest)?;
        if !stray.is_empty() {
            return Err(invalid(format!(
                "{} descriptors came where none was announced",
                stray.len()
            )));
        }
        filled += bytes;
    }
    Ok(())
}

fn recv_batch(sock: BorrowedFd<'_>, count: usize, fds: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut manifest = [0_u8];
    let (_, batch) = recv_message(sock, &mut manifest)?;
    let announced = usize::from(manifest[0]);
    let wanted = (count - fds.len()).min(BATCH_MAX);
    if announced != wanted || batch.len() != wanted {
        return Err(invalid(format!(
            "{} descriptors came, {announced} were announced with them, {wanted} were due",
            batch.len()
        )));
    }
    fds.extend(batch);
    Ok(())
}

/// One recvmsg(2): how many bytes, and the descriptors that came with them.
fn recv_message(sock: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(KERNEL_BATCH_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = patiently(sock, PollFlags::IN, || {
        recvmsg(
            sock,
            &mut [IoSliceMut::new(into)],
            &mut control,
            RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let mut fds = Vec::new();
    for item in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = item {
            fds.extend(rights);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(invalid(
            "the kernel dropped descriptors on the way: is this process at its RLIMIT_NOFILE?"
                .to_owned(),
        ));
    }
    if message.bytes == 0 {
        return Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            "the peer closed in the middle of a frame",
        ));
    }
    Ok((message.bytes, fds))
}

/// Does `attempt` again while it would block, waiting for the socket between, at most [`PATIENCE`].
fn patiently<T>(
    sock: BorrowedFd<'_>,
    until: PollFlags,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> io::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(
                ErrorKind::TimedOut,
                format!("the peer did nothing for {} s", PATIENCE.as_secs()),
            ));
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::from_borrowed_fd(sock, until)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn invalid(why: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;

    fn inode(fd: impl AsFd) -> u64 {
        rustix::fs::fstat(fd).unwrap().st_ino
    }

    fn files(n: usize) -> Vec<File> {
        (0..n).map(|_| tempfile::tempfile().unwrap()).collect()
    }

    /// A message that breaks the rules, as a hostile or broken peer would send it.
    fn raw(sock: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(KERNEL_BATCH_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let iov = [IoSlice::new(bytes)];
        sendmsg(sock, &iov, &mut control, SendFlags::empty()).unwrap();
    }

    fn header(length: u32, count: u32) -> Vec<u8> {
        [&MAGIC[..], &length.to_le_bytes(), &count.to_le_bytes()].concat()
    }

    #[test]
    fn f09_descriptors_arrive_in_order_in_batches_with_cloexec() {
        for n in [0, 1, 63, 64, 65, 200] {
            let (a, b) = UnixStream::pair().unwrap();
            let files = files(n);
            let sent: Vec<u64> = files.iter().map(inode).collect();
            let sender = thread::spawn(move || {
                let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
                send(a.as_fd(), b"manifest", &fds)
            });
            let (payload, fds) = recv(b.as_fd(), 64).unwrap();
            sender.join().unwrap().unwrap();
            assert_eq!(payload, b"manifest");
            assert_eq!(fds.iter().map(inode).collect::<Vec<_>>(), sent);
            for fd in &fds {
                assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
            }
        }
    }

    #[test]
    fn frames_follow_each_other_and_large_payloads_are_whole() {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        let payload: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        let expected = payload.clone();
        let sender = thread::spawn(move || {
            let file = tempfile::tempfile().unwrap();
            send(a.as_fd(), &payload, &[file.as_fd()]).unwrap();
            send(a.as_fd(), b"second", &[]).unwrap();
        });
        let (first, fds) = recv(b.as_fd(), 1 << 20).unwrap();
        assert_eq!((first == expected, fds.len()), (true, 1));
        assert_eq!(recv(b.as_fd(), 64).unwrap().0, b"second");
        sender.join().unwrap();
        let end = recv(b.as_fd(), 64).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn f09_a_count_that_does_not_agree_is_refused() {
        let files = files(3);
        let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        // (announced in the header, announced with the batch, sent)
        for (header_count, batch_count, sent) in
            [(2, 2, 3), (2, 2, 1), (2, 3, 3), (3, 2, 2), (2, 2, 0)]
        {
            let (a, b) = UnixStream::pair().unwrap();
            raw(&a, &header(0, header_count), &[]);
            raw(&a, &[batch_count], &fds[..sent]);
            drop(a);
            let error = recv(b.as_fd(), 64).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        }
    }

    #[test]
    fn f09_descriptors_where_none_belong_are_refused() {
        let (a, b) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        raw(&a, &header(0, 0), &[file.as_fd()]);
        let error = recv(b.as_fd(), 64).unwrap_err();
        assert!(error.to_string().contains("none was announced"), "{error}");
    }

    #[test]
    fn f09_more_than_one_batch_at_once_is_refused_and_does_not_leak() {
        let (a, b) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let all = [file.as_fd(); KERNEL_BATCH_MAX];
        raw(&a, &header(0, KERNEL_BATCH_MAX as u32), &[]);
        raw(&a, &[KERNEL_BATCH_MAX as u8], &all);
        let error = recv(b.as_fd(), 64).unwrap_err();
        assert!(
            error.to_string().contains("253 descriptors came"),
            "{error}"
        );
    }

    #[test]
    fn garbage_and_oversize_are_refused() {
        for (bytes, why) in [
            (b"GET / HTTP/1.1\r\n".to_vec(), "not a frame"),
            (header(65, 0), "65 bytes"),
            (header(0, DESCRIPTORS_MAX as u32 + 1), "4097 descriptors"),
        ] {
            let (a, b) = UnixStream::pair().unwrap();
            raw(&a, &bytes, &[]);
            let error = recv(b.as_fd(), 64).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error_and_not_a_signal() {
        let (a, b) = UnixStream::pair().unwrap();
        drop(b);
        let error = send(a.as_fd(), b"x", &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn too_many_are_refused_before_anything_is_sent() {
        let (a, b) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let all = vec![file.as_fd(); DESCRIPTORS_MAX + 1];
        let error = send(a.as_fd(), b"", &all).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        drop(a);
        let end = recv(b.as_fd(), 64).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
    }
}
