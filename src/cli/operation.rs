//! Beginning an operation and waiting for its end.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, interval, sleep, timeout};

use super::interrupt::Interrupt;
use super::outcome;
use super::progress::Progress;
use super::target::Target;
use super::terminal::Terminal;
use super::waiting::Waiting;
use super::{Exit, Failure};
use crate::control::client::{Client, ClientError, EventReader, Master, Reply};
use crate::control::view::{EventView, OperationView};
use crate::control::{ErrorKind, Span};
use crate::process::parse_stat;

/// How long a master that went away is looked for.
const AGAIN: Duration = Duration::from_secs(30);
const AGAIN_PAUSE: Duration = Duration::from_millis(200);
/// How often a live line is drawn again.
const FRAME: Duration = Duration::from_millis(100);
/// For the last events of an operation that ended.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// For the kernel to say that a stopped master is gone.
const GONE: Duration = Duration::from_secs(5);

/// What to ask of the master, and how to wait for it.
pub(super) struct Order {
    /// The verb, which is also its route.
    pub(super) verb: &'static str,
    pub(super) body: Value,
    pub(super) waiting: Waiting,
    /// Wait for the old generation's end, too.
    pub(super) drained: bool,
    /// End at once when the master goes away.
    pub(super) systemd: bool,
}

impl Order {
    pub(super) fn new(verb: &'static str, body: Value, waiting: Waiting) -> Self {
        Self {
            verb,
            body,
            waiting,
            drained: false,
            systemd: false,
        }
    }
}

/// Begins `order`, shows its progress, and tells how it ended.
pub(super) async fn perform(
    terminal: &mut Terminal,
    target: &Target,
    master: Master,
    order: Order,
) -> Result<Exit, Failure> {
    let interrupt = Interrupt::arm()
        .map_err(|error| Failure::new(Exit::Failed, format_args!("no signals: {error}")))?;
    // Before it begins, so that no event of it is missed; without them there
    // is no progress to show, and nothing else is lost.
    let events = if target.json || order.waiting.no_wait {
        None
    } else {
        master.client.events(None).await.ok()
    };
    let route = format!("/v1/{}?wait=false", order.verb);
    let reply = master.client.post(&route, &order.body).await?;
    let operation: OperationView = reply.parse()?;
    if order.waiting.no_wait {
        if target.json {
            terminal.say(String::from_utf8_lossy(&reply.body).trim_end())?;
        } else {
            terminal.say(&operation.id)?;
        }
        return Ok(Exit::Done);
    }
    let begun = Instant::now();
    let deadline = order.waiting.timeout.map(|timeout| begun + timeout);
    let mut wait = Wait {
        terminal,
        target,
        master,
        order,
        operation,
        events,
        interrupt,
        deadline,
        looked_again: false,
        warned: Vec::new(),
    };
    let reply = wait.until_over().await?;
    wait.tell(&reply)
}

struct Wait<'a> {
    terminal: &'a mut Terminal,
    target: &'a Target,
    master: Master,
    order: Order,
    /// As it was last seen.
    operation: OperationView,
    events: Option<EventReader>,
    interrupt: Interrupt,
    /// When waiting ends although the operation does not.
    deadline: Option<Instant>,
    /// Whether it was said that the next master is looked for.
    looked_again: bool,
    /// The warnings that were shown while it ran.
    warned: Vec<String>,
}

/// What ended one connection's wait.
enum Ended {
    /// The operation.
    Operation(Reply),
    /// The master.
    Master,
}

impl Wait<'_> {
    async fn until_over(&mut self) -> Result<Reply, Failure> {
        loop {
            if let Ended::Operation(reply) = self.until_answered().await? {
                if self.order.verb == "stop" && reply.status == 200 {
                    has_ended(self.master.pid).await;
                }
                return Ok(reply);
            }
            if self.order.verb == "stop" && is_gone(&self.master.client).await {
                has_ended(self.master.pid).await;
                return Ok(Reply {
                    status: 200,
                    body: self.stopped().into(),
                });
            }
            if self.order.systemd {
                let message = self.went_away();
                let failure = Failure::new(Exit::Failed, message);
                return Err(failure.hint("systemd starts the next one, which goes on from there"));
            }
            self.look_again().await?;
        }
    }

    /// Waits over one connection, showing what happens.
    async fn until_answered(&mut self) -> Result<Ended, Failure> {
        let wait = if self.order.drained {
            "drained"
        } else {
            "true"
        };
        let path = format!("/v1/operations/{}?wait={wait}", self.operation.id);
        let client = self.master.client.clone();
        let mut answer = std::pin::pin!(client.get_raw(&path, None));
        let mut progress = Progress::new(&self.master.name, self.terminal.err_is_live);
        let mut frames = interval(FRAME);
        let ended = loop {
            tokio::select! {
                // An answer ends it, whatever else there is to show.
                biased;
                reply = &mut answer => break reply,
                () = self.interrupt.wait() => {
                    progress.end(self.terminal)?;
                    return Err(self.interrupted());
                }
                () = until(self.deadline) => {
                    progress.end(self.terminal)?;
                    return Err(self.timed_out());
                }
                event = next(&mut self.events) => match event {
                    Some(event) => progress.show(&event, self.terminal)?,
                    None => self.events = None,
                },
                _ = frames.tick(), if progress.is_live() => progress.draw(self.terminal)?,
            }
        };
        if ended.is_ok() && !progress.is_live() {
            self.last_words(&mut progress).await?;
        }
        progress.end(self.terminal)?;
        self.warned.extend(progress.into_warned());
        match ended {
            Ok(reply) => Ok(Ended::Operation(reply)),
            Err(error) if error.is_gone() => Ok(Ended::Master),
            Err(ClientError::Api(error)) if error.kind == ErrorKind::NotFound => {
                Err(self.forgotten())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The events that happened before the answer and come after it: where
    /// each is a line, none is missing.
    async fn last_words(&mut self, progress: &mut Progress) -> Result<(), Failure> {
        let until = Instant::now() + LAST_WORDS;
        while let Ok(Some(event)) = tokio::time::timeout_at(until, next(&mut self.events)).await {
            progress.show(&event, self.terminal)?;
            let ours = event.fields.get("operation").and_then(Value::as_str);
            if event.kind == "operation_ended" && ours == Some(self.operation.id.as_str()) {
                break;
            }
        }
        Ok(())
    }

    /// Looks for the master that comes after the one that went away: in the
    /// same place, as another service's master is no help.
    async fn look_again(&mut self) -> Result<(), Failure> {
        let message = self.went_away();
        if !self.looked_again {
            self.looked_again = true;
            self.terminal
                .tell(&format!("{message}; looking for the next one"))?;
        }
        self.events = None;
        let until = self.deadline.unwrap_or_else(|| Instant::now() + AGAIN);
        while Instant::now() < until {
            tokio::select! {
                () = self.interrupt.wait() => return Err(self.interrupted()),
                () = sleep(AGAIN_PAUSE) => {}
            }
            if self.master.client.probe().await.is_ok() {
                self.events = self.master.client.events(None).await.ok();
                return Ok(());
            }
        }
        let failure = Failure::new(Exit::NoMaster, format_args!("{message} and no other came"));
        let hint = "nothing is known of how it ended; when a master runs:";
        Err(failure.hint(format_args!("{hint} {}", self.status())))
    }

    fn tell(self, reply: &Reply) -> Result<Exit, Failure> {
        let operation: OperationView = reply.parse()?;
        if self.target.json {
            self.terminal
                .say(String::from_utf8_lossy(&reply.body).trim_end())?;
        }
        let exit = outcome::exit(&operation);
        let name = &self.master.name;
        let unsaid = |warning: &&String| !self.warned.contains(warning);
        for warning in operation.warnings.iter().filter(unsaid) {
            self.terminal
                .tell(&format!("{name}: {}", super::text::clean(warning)))?;
        }
        if let Some(first) = &operation.joined {
            let (name, first) = (super::text::clean(name), super::text::clean(first));
            let kind = operation.kind;
            let joined = format!(
                "{name}: {first} was bringing the same release already: this {kind} joined it"
            );
            self.terminal.tell(&joined)?;
        }
        if exit == Exit::Done {
            if !self.target.json {
                self.terminal
                    .say(&outcome::success(&operation, name, self.target))?;
            }
        } else {
            let report = outcome::failure(&operation, name, self.target, self.terminal);
            self.terminal.tell(&report)?;
        }
        Ok(exit)
    }

    fn went_away(&self) -> String {
        let OperationView { kind, id, .. } = &self.operation;
        format!(
            "{}: the master went away during {kind} {id}",
            self.master.name
        )
    }

    fn stopped(&self) -> Vec<u8> {
        let mut operation = self.operation.clone();
        operation.end(crate::control::view::OperationResult::Done, None);
        operation.drained = true;
        // Strings and numbers: this JSON cannot fail.
        serde_json::to_vec(&operation).unwrap_or_default()
    }

    fn interrupted(&self) -> Failure {
        let OperationView { kind, id, .. } = &self.operation;
        let name = &self.master.name;
        let message = format!("{name}: interrupted; {kind} {id} goes on");
        let failure = Failure::new(Exit::Interrupted, message);
        failure.hint(self.way_on())
    }

    /// What can be done about an operation that goes on.
    fn way_on(&self) -> String {
        let see = format!("to see how it goes: {}", self.status());
        match self.order.verb {
            "abort" | "stop" => see,
            // Nothing is left to abort: only what was replaced drains.
            _ if self.operation.is_ended() => see,
            _ => format!(
                "to undo it: {}; {see}",
                self.target
                    .command(format_args!("abort {}", self.master.name))
            ),
        }
    }

    fn timed_out(&self) -> Failure {
        let OperationView { kind, id, .. } = &self.operation;
        let name = &self.master.name;
        let waited = self.order.waiting.timeout.unwrap_or_default().as_millis();
        let waited = Span(u64::try_from(waited).unwrap_or(u64::MAX));
        let message = match (self.operation.is_ended(), self.operation.to) {
            (true, Some(to)) => format!(
                "{name}: generation {to} is active; what it replaced did not end within {waited} and \
                 goes on draining"
            ),
            _ => format!("{name}: {kind} {id} did not end within {waited} and goes on"),
        };
        let failure = Failure::new(Exit::TimedOut, message);
        failure.hint(self.way_on())
    }

    /// The command that says what runs.
    fn status(&self) -> String {
        self.target
            .command(format_args!("status {}", self.master.name))
    }

    fn forgotten(&self) -> Failure {
        let OperationView { kind, id, .. } = &self.operation;
        let name = &self.master.name;
        let message = format!(
            "{name}: the master that runs now does not know {kind} {id}: it went away with the \
             one before"
        );
        let failure = Failure::new(Exit::Incomplete, message);
        failure.hint(format_args!("what runs: {}", self.status()))
    }
}

/// The next event; none when there is no stream, any more or at all.
async fn next(events: &mut Option<EventReader>) -> Option<EventView> {
    match events {
        Some(reader) => reader.next().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits a moment until the process is gone that said that it stops: then the next one can start.
async fn has_ended(pid: Option<i32>) {
    let Some(pid) = pid else {
        return;
    };
    let lives = || {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok();
        stat.and_then(|stat| parse_stat(&stat))
            .is_some_and(|stat| !stat.is_dead())
    };
    let gone = async {
        while lives() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    // Who takes longer has a client that does not let go, or is stopped: the answer is true all the same.
    drop(timeout(GONE, gone).await);
}

/// Whether the master of `client` is gone, given a moment.
async fn is_gone(client: &Client) -> bool {
    let gone = async {
        while client.probe().await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(GONE, gone).await.is_ok()
}
