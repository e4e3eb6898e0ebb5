//! A server whose handlers wait for the test, and a client that shows every byte.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use handover::app::{self, Drain, Listener, Report, Serve};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::Service;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

/// Far above what anything here takes, also on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A body that no socket buffer holds.
pub const BIG_BYTES: usize = 64 << 20;

/// The answers of the test's service, and how the test steers them.
#[derive(Clone)]
pub struct Desk {
    /// `/wait` is answered once there is a permit.
    pub gate: Arc<Semaphore>,
    /// How many requests have reached a handler.
    arrived: watch::Sender<usize>,
    drain: Arc<Mutex<Option<Drain>>>,
}

impl Desk {
    pub fn new() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
            arrived: watch::Sender::new(0),
            drain: Arc::default(),
        }
    }

    async fn answer(self, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        let drain = request.extensions().get::<Drain>().cloned();
        *self.drain.lock().expect("no panic") = drain;
        self.arrived.send_modify(|arrived| *arrived += 1);
        let body = match request.uri().path() {
            "/wait" => {
                self.gate.acquire().await.expect("open").forget();
                Bytes::from_static(b"waited")
            }
            "/big" => Bytes::from(vec![b'x'; BIG_BYTES]),
            "/echo" => {
                let body = request.body_mut().collect().await;
                body.map(|body| body.to_bytes()).unwrap_or_default()
            }
            "/block" => {
                // What a handler must not do: nobody can end it.
                std::thread::sleep(Duration::from_secs(5));
                Bytes::new()
            }
            "/chat" => return chat(request),
            path => Bytes::from(path.to_owned()),
        };
        Response::new(Full::new(body))
    }
}

/// Changes to a protocol that returns every byte.
fn chat(request: Request<Incoming>) -> Response<Full<Bytes>> {
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else {
            return;
        };
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = read.read(&mut buffer).await {
            if write.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", "upgrade".parse().expect("a value"));
    headers.insert("upgrade", "chat".parse().expect("a value"));
    response
}

impl Service<Request<Incoming>> for Desk {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let desk = self.clone();
        Box::pin(async move { Ok(desk.answer(request).await) })
    }
}

/// A server in a runtime of its own.
pub struct Server {
    pub desk: Desk,
    pub address: SocketAddr,
    /// The very socket: what another worker would hold.
    pub listener: TcpListener,
    troubles: Arc<Mutex<Vec<String>>>,
    end: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<io::Result<Report>>>,
    runtime: Runtime,
}

impl Server {
    pub fn start() -> Self {
        Self::with(|serve| serve)
    }

    /// A server with other times.
    pub fn with(change: impl FnOnce(Serve<Desk>) -> Serve<Desk>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = listener.try_clone().expect("a descriptor");
        let (end, ends) = oneshot::channel();
        let desk = Desk::new();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let troubles: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = troubles.clone();
        let serve = app::serve(Listener::from(shared), desk.clone())
            .until(async move { drop(ends.await) })
            .on_trouble(move |what| told.lock().expect("no panic").push(what.to_owned()));
        let running = Some(runtime.spawn(change(serve).run()));
        Self {
            desk,
            address,
            listener,
            troubles,
            end: Some(end),
            running,
            runtime,
        }
    }

    /// A connection whose first request was answered.
    #[track_caller]
    pub fn kept(&self) -> Client<TcpStream> {
        let mut client = self.connect();
        client.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
        client.answer().is_whole("/first", true);
        client
    }

    #[track_caller]
    pub fn connect(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Client::of(stream)
    }

    /// Waits until so many requests have reached a handler.
    #[track_caller]
    pub fn arrived(&self, number: usize) {
        let mut arrived = self.desk.arrived.subscribe();
        self.within(async move { arrived.wait_for(|it| *it >= number).await.map(|_| ()) })
            .expect("the server lives");
    }

    /// Begins the drain and returns when it has begun.
    #[track_caller]
    pub fn drain(&mut self) {
        let drain = self.desk.drain.lock().expect("no panic").clone();
        let drain = drain.expect("a request came before");
        self.begin();
        self.within(async move { drain.begun().await });
    }

    /// Begins the drain.
    pub fn begin(&mut self) {
        drop(self.end.take());
    }

    /// Waits for the end of the drain.
    #[track_caller]
    pub fn report(mut self) -> Report {
        let running = self.running.take().expect("asked once");
        let report = self.within(running).expect("no panic");
        let troubles = self.troubles.lock().expect("no panic").clone();
        assert!(troubles.is_empty(), "{troubles:?}");
        report.expect("a server that could start")
    }

    pub fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|it| !it.is_finished())
    }

    #[track_caller]
    fn within<T>(&self, future: impl Future<Output = T>) -> T {
        let bounded = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, future).await });
        bounded.expect("in time")
    }
}

/// One connection, byte by byte.
pub struct Client<S> {
    pub stream: S,
    received: Vec<u8>,
}

/// An answer, as it came.
#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
}

impl<S: Read + Write> Client<S> {
    pub fn of(stream: S) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("sent");
    }

    /// The next answer, to its last byte.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    pub fn try_answer(&mut self) -> io::Result<Answer> {
        loop {
            if let Some(answer) = self.whole() {
                return Ok(answer);
            }
            let mut buffer = [0; 64 * 1024];
            let length = self.stream.read(&mut buffer)?;
            if length == 0 {
                let got = String::from_utf8_lossy(&self.received).into_owned();
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, got));
            }
            self.received.extend_from_slice(&buffer[..length]);
        }
    }

    fn whole(&mut self) -> Option<Answer> {
        let end = self.received.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.received[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.map_or(0, |rest| {
            let digits = rest.split("\r\n").next().unwrap_or_default();
            digits.parse().expect("a number")
        });
        if self.received.len() < end + length {
            return None;
        }
        let body = self.received[end..end + length].to_vec();
        self.received.drain(..end + length);
        Some(Answer { head, body })
    }

    /// Nothing more comes but the end, and no reset.
    #[track_caller]
    pub fn ends(&mut self) {
        assert_eq!(self.received, b"", "more than an end");
        let mut rest = Vec::new();
        self.stream
            .read_to_end(&mut rest)
            .expect("an end and no reset");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

impl Answer {
    pub fn says_close(&self) -> bool {
        self.head.contains("connection: close\r\n")
    }

    /// 200 with this body; the connection stays or not.
    #[track_caller]
    pub fn is_whole(&self, body: &str, stays: bool) {
        assert!(self.head.starts_with("http/1.1 200 "), "{self:?}");
        assert_eq!(String::from_utf8_lossy(&self.body), body);
        assert_eq!(self.says_close(), !stays, "{self:?}");
    }
}

/// Returns when it is so; there is no event for what this is used for.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
