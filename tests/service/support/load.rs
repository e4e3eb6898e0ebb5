//! Clients that never stop asking, and remember every request that failed.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Answer, Kept, get};

/// New connections, one kept-alive connection, and slow requests, all at once.
pub struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Tally {
    ok: usize,
    failures: Vec<String>,
    generations: BTreeSet<u32>,
}

/// Between two requests of one client: some hundred requests a second, no busy loop.
const PAUSE: Duration = Duration::from_millis(3);

impl Load {
    /// All three kinds of client.
    pub fn on(address: &str) -> Self {
        Self::of(address, &[fresh, kept, slow])
    }

    /// New connections only: for programs that close idle ones without a word.
    pub fn fresh_on(address: &str) -> Self {
        Self::of(address, &[fresh, fresh])
    }

    fn of(address: &str, kinds: &[fn(&str, &mut Client)]) -> Self {
        let (stop, tally) = (Arc::default(), Arc::default());
        let clients = kinds.iter().map(|kind| {
            let mut client = Client {
                stop: Arc::clone(&stop),
                tally: Arc::clone(&tally),
            };
            let (kind, address) = (*kind, address.to_owned());
            std::thread::spawn(move || kind(&address, &mut client))
        });
        let clients = clients.collect();
        Self {
            stop,
            tally,
            clients,
        }
    }

    /// Ends the load: not one request failed, and all these generations answered.
    #[track_caller]
    pub fn lost_nothing(mut self, generations: impl IntoIterator<Item = u32>) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("a client does not panic");
        }
        let tally = self.tally.lock().expect("no client panicked");
        assert!(
            tally.failures.is_empty(),
            "{} ok, lost: {:#?}",
            tally.ok,
            tally.failures
        );
        let expected: BTreeSet<u32> = generations.into_iter().collect();
        assert!(
            expected.is_subset(&tally.generations),
            "{expected:?} answered? {:?} of {} requests",
            tally.generations,
            tally.ok
        );
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Client {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
}

impl Client {
    fn goes_on(&self) -> bool {
        std::thread::sleep(PAUSE);
        !self.stop.load(Ordering::Relaxed)
    }

    /// Books one answer; says whether the connection may be used again.
    fn book(&mut self, kind: &str, answer: io::Result<Answer>) -> bool {
        let mut tally = self.tally.lock().expect("no client panicked");
        match answer {
            Ok(answer) if answer.status == 200 => {
                tally.ok += 1;
                tally.generations.extend(answer.generation());
                answer.keeps
            }
            Ok(answer) => {
                tally
                    .failures
                    .push(format!("{kind}: status {}", answer.status));
                false
            }
            Err(error) => {
                tally.failures.push(format!("{kind}: {error}"));
                false
            }
        }
    }
}

fn fresh(address: &str, client: &mut Client) {
    while client.goes_on() {
        client.book("new connection", get(address, "/"));
    }
}

fn kept(address: &str, client: &mut Client) {
    let mut connection = None;
    while client.goes_on() {
        let mut open = match connection.take() {
            Some(open) => open,
            None => match Kept::open(address) {
                Ok(open) => open,
                Err(error) => {
                    client.book("kept connection, opening", Err(error));
                    continue;
                }
            },
        };
        if client.book("kept connection", open.get("/")) {
            connection = Some(open);
        }
    }
}

fn slow(address: &str, client: &mut Client) {
    while client.goes_on() {
        client.book("slow request", get(address, "/slow?ms=300"));
    }
}
