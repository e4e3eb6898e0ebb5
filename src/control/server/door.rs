//! Doors: where callers come in, and what may be asked there.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::admitted::Admitted;
use crate::control::{ApiError, Caller};

/// Who is at the other end, and so what may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// Somebody whom the kernel names and the master knows: everything.
    Caller(Caller),
    /// Anybody: how the service does, and nothing else.
    Anybody,
}

/// A listener and its rules.
pub trait Door: Send {
    /// What it accepts.
    type Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static;

    /// What people call it.
    const NAME: &'static str;

    /// The next connection.
    ///
    /// # Errors
    /// As accept(2).
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Who came.
    ///
    /// # Errors
    /// Why nobody comes in; without a word where nobody is there to be told.
    fn guest(&self, stream: &Self::Stream) -> Result<Guest, Option<ApiError>>;
}

/// The control socket: orders, from those who may give them.
#[derive(Debug)]
pub struct ControlDoor {
    listener: UnixListener,
    admitted: Admitted,
}

impl ControlDoor {
    /// Those of `admitted` who connect to `listener`.
    #[must_use]
    pub fn new(listener: UnixListener, admitted: Admitted) -> Self {
        Self { listener, admitted }
    }
}

impl Door for ControlDoor {
    type Stream = UnixStream;

    const NAME: &'static str = "the control socket";

    async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    fn guest(&self, stream: &UnixStream) -> Result<Guest, Option<ApiError>> {
        // Without a name nobody comes in.
        let peer = stream.peer_cred().map_err(|_| None)?;
        let caller = Caller {
            uid: peer.uid(),
            pid: peer.pid().unwrap_or(0),
        };
        match self.admitted.forbids(caller, peer.gid()) {
            None => Ok(Guest::Caller(caller)),
            error => Err(error),
        }
    }
}

/// `[admin] listen`: anybody who reaches it may read metrics and health.
#[derive(Debug)]
pub struct AdminDoor(pub TcpListener);

impl Door for AdminDoor {
    type Stream = TcpStream;

    const NAME: &'static str = "admin.listen";

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.0.accept().await?;
        // An answer is one write; a stream that cannot be told so is slower, not wrong.
        drop(stream.set_nodelay(true));
        Ok(stream)
    }

    fn guest(&self, _: &TcpStream) -> Result<Guest, Option<ApiError>> {
        Ok(Guest::Anybody)
    }
}
