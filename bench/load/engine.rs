//! The loop: sends each request at its intended time, whatever the server does.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::commands::micros;
use crate::connection::{Connection, Failure, Step};
use crate::options::Options;

/// The three kinds of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    New,
    Kept,
    Slow,
}

impl Class {
    pub const ALL: [Self; 3] = [Self::New, Self::Kept, Self::Slow];

    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Kept => "kept",
            Self::Slow => "slow",
        }
    }
}

/// An answered request; times are microseconds since the load began.
pub struct Sample {
    pub class: Class,
    pub intended_us: u64,
    pub done_us: u64,
    pub generation: u32,
}

/// A failed one, with what helps to find out whose fault it was.
pub struct Loss {
    pub class: Class,
    pub intended_us: u64,
    pub failed_us: u64,
    pub failure: Failure,
    pub port: u16,
    /// Answers that this connection gave before, and the generation of the last.
    pub answers: u32,
    pub generation: u32,
}

/// All that happened.
#[derive(Default)]
pub struct Outcome {
    pub samples: Vec<Sample>,
    pub losses: Vec<Loss>,
    /// Kept connections that the server closed while they were idle.
    pub idle_closed: u64,
    pub connections_opened: u64,
    /// The furthest that this program itself was behind its schedule.
    pub behind_max: Duration,
}

/// Marks the timer's event; no slot has this number.
const TIMER: u64 = u64::MAX;
const EXPIRE_EVERY: Duration = Duration::from_millis(100);

/// The intended times: evenly spaced in each class, fixed from the start.
struct Schedule {
    start: Instant,
    rates: [f64; 3],
    sent: [u32; 3],
}

impl Schedule {
    fn new(options: &Options, start: Instant) -> Self {
        let rates = [options.new, options.kept, options.slow];
        Self {
            start,
            rates,
            sent: [0; 3],
        }
    }

    /// The next time of this class. Classes are a third of an interval apart, so that they do not go off together.
    fn due(&self, index: usize) -> Option<Instant> {
        let number = f64::from(self.sent[index]) + index as f64 / 3.0;
        (self.rates[index] > 0.0)
            .then(|| self.start + Duration::from_secs_f64(number / self.rates[index]))
    }

    fn take_due(&mut self, now: Instant) -> Option<(Class, Instant)> {
        let (due, index) = (0..3)
            .filter_map(|index| Some((self.due(index)?, index)))
            .min()?;
        (due <= now).then(|| {
            self.sent[index] += 1;
            (Class::ALL[index], due)
        })
    }

    fn next_due(&self) -> Instant {
        let next = (0..3).filter_map(|index| self.due(index)).min();
        next.unwrap_or_else(|| Instant::now() + EXPIRE_EVERY)
    }
}

struct Slot {
    connection: Connection,
    class: Class,
    /// The intended and the latest time of the request under way.
    asked: Option<(Instant, Instant)>,
    serial: u64,
}

pub struct Engine<'a> {
    options: &'a Options,
    epoll: OwnedFd,
    /// epoll's own timeout counts whole milliseconds; this one is exact.
    timer: OwnedFd,
    start: Instant,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    serial: u64,
    kept_open: usize,
    /// Idle kept connections, longest idle first; an entry whose serial is gone is stale.
    idle: VecDeque<(usize, u64)>,
    /// Kept requests that are due while every connection is busy.
    queued: VecDeque<Instant>,
    outcome: Outcome,
}

impl<'a> Engine<'a> {
    pub fn new(options: &'a Options, start: Instant) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &timer,
            epoll::EventData::new_u64(TIMER),
            epoll::EventFlags::IN,
        )?;
        Ok(Self {
            options,
            epoll,
            timer,
            start,
            slots: Vec::new(),
            free: Vec::new(),
            serial: 0,
            kept_open: 0,
            idle: VecDeque::new(),
            queued: VecDeque::new(),
            outcome: Outcome::default(),
        })
    }

    /// Runs until the duration is over (or, with a count, until `over`), then waits for what is under way.
    pub fn run(mut self, over: &AtomicBool) -> io::Result<Outcome> {
        let end = self.start + self.options.duration;
        let mut schedule = Schedule::new(self.options, self.start);
        let mut checked = Instant::now();
        loop {
            let now = Instant::now();
            let timed_out = self.options.count.is_none() && now >= end;
            let asking = !timed_out && !over.load(Ordering::Relaxed);
            if asking {
                while let Some((class, due)) = schedule.take_due(now) {
                    self.outcome.behind_max = self.outcome.behind_max.max(now - due);
                    self.ask(class, due);
                }
            } else {
                self.queued.clear();
                if self.slots.iter().flatten().all(|slot| slot.asked.is_none()) {
                    return Ok(self.outcome);
                }
            }
            if now - checked > EXPIRE_EVERY {
                checked = now;
                self.expire(now);
            }
            self.wait(if asking {
                schedule.next_due()
            } else {
                now + EXPIRE_EVERY
            })?;
        }
    }

    /// Sleeps until something arrives or `until`, and handles what arrived.
    fn wait(&mut self, until: Instant) -> io::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        let wait = until.saturating_duration_since(Instant::now());
        let wait = wait.clamp(Duration::from_nanos(1), EXPIRE_EVERY);
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let it_value = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let once = Itimerspec {
            it_interval: zero,
            it_value,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for event in events {
            let data = event.data.u64();
            if data != TIMER {
                self.ready((data & 0xffff_ffff) as usize, data >> 32);
            }
        }
        Ok(())
    }

    fn ask(&mut self, class: Class, intended: Instant) {
        if class == Class::Kept {
            while let Some((index, serial)) = self.idle.pop_front() {
                let Some(slot) = self.slots[index].as_mut().filter(|s| s.serial == serial) else {
                    continue;
                };
                slot.asked = Some((intended, Instant::now() + self.options.timeout));
                let step = slot.connection.ask();
                return self.settle(index, step);
            }
            if self.kept_open >= self.options.connections {
                return self.queued.push_back(intended);
            }
        }
        self.open(class, intended);
    }

    fn open(&mut self, class: Class, intended: Instant) {
        let (path, keep) = match class {
            Class::New => (&self.options.path, "close"),
            Class::Kept => (&self.options.path, "keep-alive"),
            Class::Slow => (&self.options.slow_path, "close"),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: {keep}\r\n\r\n",
            self.options.to
        );
        self.outcome.connections_opened += 1;
        let connection = match Connection::open(&self.options.to, request.into_bytes()) {
            Ok(connection) => connection,
            Err(failure) => return self.lose(class, intended, failure, (0, 0), 0),
        };
        self.serial = (self.serial + 1) & 0xffff_ffff;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let data = epoll::EventData::new_u64(index as u64 | self.serial << 32);
        // Until connected, writable is the sign; see `settle` for the change to readable.
        let flags = epoll::EventFlags::OUT;
        if let Err(errno) = epoll::add(&self.epoll, &connection, data, flags) {
            self.free.push(index);
            let failure = Failure::Os(errno.raw_os_error());
            return self.lose(class, intended, failure, (0, 0), 0);
        }
        self.kept_open += usize::from(class == Class::Kept);
        self.slots[index] = Some(Slot {
            connection,
            class,
            asked: Some((intended, Instant::now() + self.options.timeout)),
            serial: self.serial,
        });
    }

    fn ready(&mut self, index: usize, serial: u64) {
        let Some(slot) = self.slots[index].as_mut().filter(|s| s.serial == serial) else {
            return; // closed by an earlier event of the same batch
        };
        let connecting = slot.connection.is_connecting();
        let step = slot.connection.ready();
        if connecting {
            let data = epoll::EventData::new_u64(index as u64 | serial << 32);
            let _ = epoll::modify(&self.epoll, &slot.connection, data, epoll::EventFlags::IN);
        }
        self.settle(index, step);
    }

    /// Books what a step came to.
    fn settle(&mut self, index: usize, step: Step) {
        let Some(slot) = self.slots[index].as_mut() else {
            return;
        };
        match step {
            Step::Waiting => {}
            Step::Answered(generation, keep) => {
                if let Some((intended, _)) = slot.asked.take() {
                    self.outcome.samples.push(Sample {
                        class: slot.class,
                        intended_us: micros(intended - self.start),
                        done_us: micros(self.start.elapsed()),
                        generation,
                    });
                }
                if !keep || slot.class != Class::Kept {
                    self.close(index);
                    return self.next_queued(None);
                }
                self.next_queued(Some(index));
            }
            Step::IdleClosed => {
                self.outcome.idle_closed += 1;
                self.close(index);
            }
            Step::Failed(failure) => {
                let (class, port) = (slot.class, slot.connection.port());
                let (served, asked) = (slot.connection.served(), slot.asked);
                self.close(index);
                if let Some((intended, _)) = asked {
                    self.lose(class, intended, failure, served, port);
                }
                self.next_queued(None);
            }
        }
    }

    /// Gives a free connection (or a new one, when one may be opened) the oldest queued request.
    fn next_queued(&mut self, free: Option<usize>) {
        match (free, self.queued.front().copied()) {
            (Some(index), Some(intended)) => {
                self.queued.pop_front();
                let deadline = Instant::now() + self.options.timeout;
                if let Some(slot) = self.slots[index].as_mut() {
                    slot.asked = Some((intended, deadline));
                    let step = slot.connection.ask();
                    self.settle(index, step);
                }
            }
            (Some(index), None) => {
                let serial = self.slots[index].as_ref().map_or(0, |slot| slot.serial);
                self.idle.push_back((index, serial));
            }
            (None, Some(intended)) if self.kept_open < self.options.connections => {
                self.queued.pop_front();
                self.open(Class::Kept, intended);
            }
            (None, _) => {}
        }
    }

    fn expire(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let asked = self.slots[index].as_ref().and_then(|slot| slot.asked);
            if asked.is_some_and(|(_, deadline)| deadline < now) {
                self.settle(index, Step::Failed(Failure::Timeout));
            }
        }
    }

    fn close(&mut self, index: usize) {
        if let Some(slot) = self.slots[index].take() {
            self.kept_open -= usize::from(slot.class == Class::Kept);
            self.free.push(index);
        }
    }

    fn lose(&mut self, class: Class, at: Instant, failure: Failure, served: (u32, u32), port: u16) {
        self.outcome.losses.push(Loss {
            class,
            intended_us: micros(at - self.start),
            failed_us: micros(self.start.elapsed()),
            failure,
            port,
            answers: served.0,
            generation: served.1,
        });
    }
}
