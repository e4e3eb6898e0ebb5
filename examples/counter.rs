//! A session table in memory that outlives the program.
//!
//! ```text
//! cargo build --release --example counter
//! handover run --listen http=127.0.0.1:8080 -- target/release/examples/counter
//! curl -X POST 127.0.0.1:8080/session      # a new session: its number
//! curl -X POST 127.0.0.1:8080/session/0    # one more: its count
//! handover upgrade                         # as often as you like: no count is lost
//! ```
//!
//! The table is a memfd: memory that lives as long as any process holds it. The first generation
//! makes it and has handover keep it; every later one takes it by name.
//!
//! In an upgrade two generations serve at the same time, so both write the one table, each
//! count under flock(2). That is the simplest rule which is correct: a second copy would have to be
//! kept equal, and a single writer would have to be reached by the other generation and outlived. The
//! kernel lets go of the lock of a process that dies, and a count is written by one pwrite(2), so a
//! `kill -9` in between loses nothing either. Two traps: flock belongs to the open file
//! description, and an inherited descriptor shares that with the other generation, so each opens the
//! table anew through /proc; and threads of one process share theirs, so a mutex comes first.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use handover::app::{self, Listener, Report};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use rustix::fs::{MemfdFlags, memfd_create};

/// What the table is called while handover keeps it.
const NAME: &str = "sessions";

/// A count: a `u64` at eight times the session's number.
const COUNT_BYTES: u64 = 8;

/// 8 MiB; whoever needs more wants a database.
const SESSIONS_MAX: u64 = 1 << 20;

const SLOW_MAX_MS: u64 = 10_000;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(report) => {
            eprintln!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> io::Result<Report> {
    let listener = Listener::named("http").or_bind("127.0.0.1:8080")?;
    let table = Arc::new(Table::inherit_or_make().await?);
    app::ready()?;
    let service = service_fn(move |request| {
        let table = table.clone();
        async move { Ok::<_, Infallible>(answer(&table, &request).await) }
    });
    app::serve(listener, service).run().await
}

async fn answer(table: &Table, request: &Request<Incoming>) -> Response<String> {
    let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    let counted = match (request.method(), path.as_slice()) {
        (&Method::POST, ["session"]) => table.open(),
        (&Method::POST, ["session", number]) => match number.parse() {
            Ok(number) => table.count(number),
            Err(_) => Ok(None),
        },
        (&Method::GET, [""]) => return greeting(),
        (&Method::GET, ["slow"]) => {
            tokio::time::sleep(Duration::from_millis(slow_ms(request))).await;
            return greeting();
        }
        _ => Ok(None),
    };
    let (status, text) = match counted {
        Ok(Some(number)) => (StatusCode::OK, number.to_string()),
        Ok(None) => (StatusCode::NOT_FOUND, "no such session\n".to_owned()),
        Err(error) => (StatusCode::INSUFFICIENT_STORAGE, format!("{error}\n")),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response
}

fn greeting() -> Response<String> {
    let generation = std::env::var("HANDOVER_GENERATION").unwrap_or_else(|_| "0".to_owned());
    let pid = std::process::id();
    Response::new(format!("hello from generation {generation} (pid {pid})\n"))
}

fn slow_ms(request: &Request<Incoming>) -> u64 {
    let query = request.uri().query().unwrap_or_default();
    let ms = query.strip_prefix("ms=").and_then(|ms| ms.parse().ok());
    u64::min(ms.unwrap_or(300), SLOW_MAX_MS)
}

/// The counts of all sessions, shared with the generations before and after this one.
struct Table(Mutex<File>);

impl Table {
    async fn inherit_or_make() -> io::Result<Self> {
        if let Some(inherited) = app::take(NAME)? {
            return Self::of(&inherited);
        }
        let made = memfd_create(NAME, MemfdFlags::CLOEXEC)?;
        if !app::store(NAME, &made).await? {
            eprintln!(
                "nobody keeps the table (NOTIFY_SOCKET is not set): it ends with this process"
            );
        }
        Self::of(&made)
    }

    /// Opens it anew: an open file description of our own, with a lock of our own.
    fn of(memfd: &OwnedFd) -> io::Result<Self> {
        let path = format!("/proc/self/fd/{}", memfd.as_raw_fd());
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Self(Mutex::new(file)))
    }

    /// A new session, as its number.
    fn open(&self) -> io::Result<Option<u64>> {
        self.locked(|file| {
            let number = file.metadata()?.len() / COUNT_BYTES;
            if number >= SESSIONS_MAX {
                return Err(io::Error::other("the table is full"));
            }
            file.set_len((number + 1) * COUNT_BYTES)?;
            Ok(Some(number))
        })
    }

    /// One more for this session: its new count, if there is such a session.
    fn count(&self, number: u64) -> io::Result<Option<u64>> {
        self.locked(|file| {
            if number >= file.metadata()?.len() / COUNT_BYTES {
                return Ok(None);
            }
            let mut bytes = [0; COUNT_BYTES as usize];
            file.read_exact_at(&mut bytes, number * COUNT_BYTES)?;
            let count = u64::from_ne_bytes(bytes) + 1;
            file.write_all_at(&count.to_ne_bytes(), number * COUNT_BYTES)?;
            Ok(Some(count))
        })
    }

    /// Waits, in the worst case, for a few system calls of the other generation.
    fn locked<T>(&self, work: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.lock()?;
        let done = work(&file);
        file.unlock()?;
        done
    }
}
