//! One keys process as the host sees it: started, asked, ended.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::messages::{Answer, FromKeys, KeyError, MESSAGE_BYTES, Request, ToKeys};
use crate::config::Isolation;
use crate::isolation::Protection;
use crate::wire::{Wire, WireError};

/// How long after its deadline an answer is waited for: the process should have refused by itself.
const GRACE: Duration = Duration::from_millis(500);

/// A running keys process.
pub(super) struct Process {
    pub(super) wire: Wire<FromKeys, ToKeys>,
    pub(super) id: u32,
    pub(super) started: Instant,
    /// What it says about its lock.
    pub(super) protection: Cell<Option<Protection>>,
    asks: RefCell<HashMap<u64, oneshot::Sender<Result<Answer, KeyError>>>>,
    next: Cell<u64>,
    pub(super) last_used: Cell<Instant>,
    /// An operator gave it a PIN, which goes with it.
    pub(super) holds_pin: Cell<bool>,
    /// The host lets it go; nobody is to blame.
    pub(super) retired: Cell<bool>,
    /// It has ended, or is about to.
    ending: Cell<bool>,
    stop: Notify,
    /// Tells whoever watches readers that it has ended.
    pub(super) ended: Notify,
}

impl Process {
    /// Starts it, with `environment` and nothing else of the host's.
    pub(super) fn start(
        isolation: Isolation,
        environment: &BTreeMap<String, String>,
    ) -> io::Result<(Rc<Self>, Running)> {
        let (ours, theirs) = UnixStream::pair()?;
        let running = Running::start(theirs, isolation, environment)?;
        let now = Instant::now();
        let process = Self {
            wire: Wire::new(ours, MESSAGE_BYTES)?,
            id: running.id(),
            started: now,
            protection: Cell::new(None),
            asks: RefCell::default(),
            next: Cell::new(0),
            last_used: Cell::new(now),
            holds_pin: Cell::new(false),
            retired: Cell::new(false),
            ending: Cell::new(false),
            stop: Notify::new(),
            ended: Notify::new(),
        };
        Ok((Rc::new(process), running))
    }

    /// Asks it. `Err(request)`: nothing was sent, because it has ended.
    pub(super) async fn ask(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<Result<Answer, KeyError>, Request> {
        let left = deadline.saturating_duration_since(Instant::now());
        let number = self.next.get() + 1;
        self.next.set(number);
        let gives_pin = matches!(request, Request::Unlock { .. });
        let message = ToKeys::Ask {
            ask: number,
            deadline_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
            request,
        };
        match self.wire.send(&message, None) {
            Ok(()) => {}
            Err(WireError::TooLarge { .. }) => {
                return Ok(Err(problem("was asked for more than a message holds")));
            }
            Err(_) => {
                self.kill();
                let ToKeys::Ask { request, .. } = message else {
                    return Ok(Err(problem("has ended")));
                };
                return Err(request);
            }
        }
        let (answer, answered) = oneshot::channel();
        self.asks.borrow_mut().insert(number, answer);
        // However this ends, a caller that gives up included, the ask is no longer known.
        let _known = Known(self, number);
        let outcome = match tokio::time::timeout(left + GRACE, answered).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(problem("ended")),
            Err(_) => {
                tracing::warn!(
                    process = self.id,
                    "the keys process does not answer and is ended"
                );
                self.kill();
                Err(problem("does not answer and is ended"))
            }
        };
        if gives_pin && outcome.is_ok() {
            self.holds_pin.set(true);
        }
        Ok(outcome)
    }

    /// An answer has come. Nobody may wait for it any more.
    pub(super) fn answered(&self, ask: u64, result: Result<Answer, KeyError>) {
        if let Some(answer) = self.asks.borrow_mut().remove(&ask) {
            let _given_up = answer.send(result);
        }
    }

    /// Whether somebody waits for an answer.
    pub(super) fn is_busy(&self) -> bool {
        !self.asks.borrow().is_empty()
    }

    /// Whether it has ended, or the host is ending it.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.get()
    }

    /// Ends it.
    pub(super) fn kill(&self) {
        self.ending.set(true);
        self.stop.notify_one();
    }

    /// Until somebody ends it.
    pub(super) async fn stopped(&self) {
        self.stop.notified().await;
    }

    /// It has gone; whoever waits hears so.
    pub(super) fn gone(&self, status: &str) {
        self.ending.set(true);
        for (_, answer) in self.asks.borrow_mut().drain() {
            let _given_up = answer.send(Err(problem(&format!("ended ({status})"))));
        }
        self.ended.notify_one();
    }
}

/// An ask whose answer is waited for.
struct Known<'a>(&'a Process, u64);

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.0.asks.borrow_mut().remove(&self.1);
        self.0.last_used.set(Instant::now());
    }
}

pub(super) fn problem(problem: &str) -> KeyError {
    KeyError::Process {
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
pub(super) use super::testing::Running;
#[cfg(not(test))]
pub(super) use real::Running;

#[cfg(not(test))]
mod real {
    use std::collections::BTreeMap;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::process::Stdio;

    use tokio::process::{Child, Command};

    use crate::config::Isolation;
    use crate::isolation::Role;

    /// For the allocator: threads of readers share two arenas instead of reserving address space each.
    const MALLOC: &str = "glibc.malloc.arena_max=2";

    /// The process itself; ends when this is dropped.
    pub(in crate::keys) struct Running(Child);

    impl Running {
        pub(super) fn start(
            socket: UnixStream,
            isolation: Isolation,
            environment: &BTreeMap<String, String>,
        ) -> io::Result<Self> {
            let level = match isolation {
                Isolation::Required => "required",
                Isolation::BestEffort => "best-effort",
            };
            Command::new("/proc/self/exe")
                .args(["role", Role::Keys.name(), level])
                .env_clear()
                .env("GLIBC_TUNABLES", MALLOC)
                .envs(environment)
                .stdin(Stdio::from(OwnedFd::from(socket)))
                .stdout(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .map(Self)
        }

        pub(super) fn id(&self) -> u32 {
            self.0.id().unwrap_or_default()
        }

        /// Ends it for good, and says how it ended.
        pub(in crate::keys) async fn end(mut self) -> String {
            let _ended = self.0.start_kill();
            let ended = self.0.wait().await;
            ended.map_or_else(|error| error.to_string(), |status| status.to_string())
        }
    }
}
