//! The handle that everybody logs by, and the thread behind it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::queue::{Entry, Queue};
use super::writer::Writer;
use super::{Format, Level, Record, Stamped, journal};

/// How long a line waits for its successors when nothing was written before it: a thousand workers that
/// start make a burst of lines, and each would wake the writer.
const GATHERING: Duration = Duration::from_millis(5);

/// Formatting and one system call; 2 MiB would be the default.
const WRITER_STACK_BYTES: usize = 128 * 1024;

/// Where log lines go in: cheap to clone, never waits, never fails.
///
/// When the writer cannot keep up, lines are dropped (a worker's output first),
/// counted, and the number is told in the log once there is room again.
#[derive(Debug, Clone)]
pub struct Sink {
    handle: Arc<Handle>,
}

/// What all clones of a sink share, and the writer does not: the last one gone
/// lets the writer end, after what is in the queue.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    /// The least important [`Level`] that is written, as a number.
    level: AtomicU8,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something is in the queue.
    filled: Condvar,
    /// Everything is written.
    drained: Condvar,
    dropped: AtomicU64,
}

impl Sink {
    /// Starts the writer; its output is standard error or the journal. `service`
    /// is the name that stands in each line.
    ///
    /// Call it after signals are blocked, since the thread inherits the mask; and
    /// early: `JOURNAL_STREAM`, `TZ`, `NO_COLOR` and `TERM` are read here.
    ///
    /// # Errors
    /// When there can be no thread or no descriptor, and when the journal was asked
    /// for by name and is not there.
    pub fn start(format: Format, level: Level, service: &str) -> io::Result<Self> {
        let stderr = io::stderr().as_fd().try_clone_to_owned()?;
        Self::start_on(stderr, Path::new(journal::SOCKET), format, level, service)
    }

    pub(super) fn start_on(
        stderr: OwnedFd,
        journal_socket: &Path,
        format: Format,
        level: Level,
        service: &str,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let mut writer = Writer::open(stderr, journal_socket, format, service)?;
        let sharing = Arc::clone(&shared);
        thread::Builder::new()
            .name("log".to_owned())
            .stack_size(WRITER_STACK_BYTES)
            .spawn(move || {
                while let Some(entry) = sharing.next() {
                    if !writer.write_entry(&entry) {
                        sharing.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })?;
        let level = AtomicU8::new(level as u8);
        let handle = Arc::new(Handle { shared, level });
        Ok(Self { handle })
    }

    /// From now on the least important line that is written is of this level, for all clones.
    pub fn set_level(&self, level: Level) {
        self.handle.level.store(level as u8, Ordering::Relaxed);
    }

    /// Puts one line in the queue, or drops it; at once in either case.
    pub fn log(&self, record: Record) {
        let least = self.handle.level.load(Ordering::Relaxed);
        if record.level as u8 > least && !record.is_output() {
            return;
        }
        let at = SystemTime::now();
        let shared = &self.handle.shared;
        let mut queue = shared.queue();
        if !queue.push(Stamped { at, record }) {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        // A writer at work looks by itself: no system call for each line then.
        let asleep = !queue.writing;
        drop(queue);
        if asleep {
            shared.filled.notify_one();
        }
    }

    /// How many lines were lost since the start: no room in the queue, or not
    /// writable.
    pub fn dropped(&self) -> u64 {
        self.handle.shared.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything logged so far is written, but no longer than this.
    /// Says whether it is. For the last lines before an end or an `execve`.
    pub fn flush(&self, at_most: Duration) -> bool {
        let deadline = Instant::now() + at_most;
        let shared = &self.handle.shared;
        let mut queue = shared.queue();
        while !queue.is_idle() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = shared.drained.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_one();
    }
}

impl Shared {
    /// Nothing in here panics while it holds the lock.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next entry. Sleeps, without a timer, while there is none; None when
    /// there will never be one again.
    fn next(&self) -> Option<Entry> {
        let mut queue = self.queue();
        queue.writing = false;
        loop {
            if let Some(entry) = queue.pop() {
                return Some(entry);
            }
            self.drained.notify_all();
            if queue.closed {
                return None;
            }
            let waited = self.filled.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
            if !queue.closed {
                // At work from here on: nobody wakes it again.
                queue.writing = true;
                drop(queue);
                thread::sleep(GATHERING);
                queue = self.queue();
                queue.writing = false;
            }
        }
    }
}
