//! One accepted connection, TCP or unix, and what hyper reads and writes of it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{AddressFamily, Shutdown, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

use super::wire::Wire;

/// A connection. It has an open file description of its own, so its flags are ours alone.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Calls a method that both kinds have.
macro_rules! both {
    ($stream:expr, $it:ident => $call:expr) => {
        match &*$stream {
            Stream::Tcp($it) => $call,
            Stream::Unix($it) => $call,
        }
    };
}

impl Stream {
    /// What accept4(2) returned, non-blocking.
    pub(super) fn of(fd: OwnedFd) -> io::Result<Self> {
        if sockopt::socket_domain(&fd)? == AddressFamily::UNIX {
            return Ok(Self::Unix(UnixStream::from_std(fd.into())?));
        }
        let stream = TcpStream::from_std(fd.into())?;
        // An answer is not to wait for an acknowledgement; a client that is gone already fails later.
        let _ = stream.set_nodelay(true);
        Ok(Self::Tcp(stream))
    }

    /// Do bytes of the client wait in the kernel?
    pub(super) fn has_unread(&self) -> bool {
        rustix::io::ioctl_fionread(self).is_ok_and(|bytes| bytes > 0)
    }

    /// Ends one direction or both. An error means that it has ended already.
    pub(super) fn shutdown(&self, how: Shutdown) {
        let _ = rustix::net::shutdown(self, how);
    }

    /// Closing it is to be a reset: a truncated answer must not look like a whole one.
    pub(super) fn reset_when_closed(&self) {
        let _ = sockopt::set_socket_linger(self, Some(Duration::ZERO));
    }

    /// Reads and forgets until the client has ended its side.
    ///
    /// A socket that is closed with unread bytes answers with a reset, and a reset makes the
    /// client's kernel forget the answer that its program has not read yet (RFC 9112, 9.6).
    pub(super) async fn read_to_its_end(&self) {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            if both!(self, it => it.readable().await).is_err() {
                return;
            }
            match both!(self, it => it.try_read(&mut buffer)) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        both!(self, it => it.as_fd())
    }
}

/// What hyper holds of a connection, and after an upgrade the application.
#[derive(Debug)]
pub(super) struct Io {
    pub(super) stream: Arc<Stream>,
    pub(super) wire: Arc<Wire>,
    /// Dropped with this: so the connection's task learns that nobody holds it any more.
    pub(super) _held: oneshot::Sender<()>,
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            ready!(both!(self.stream, it => it.poll_read_ready(cx)))?;
            match both!(self.stream, it => it.try_read_buf(buffer)) {
                Ok(_) => {
                    self.wire.read(&buffer.filled()[before..]);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(both!(self.stream, it => it.poll_write_ready(cx)))?;
            match both!(self.stream, it => it.try_write_vectored(parts)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Called by hyper when its own buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.shutdown(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
