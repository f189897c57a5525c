//! One worker process as the host sees it: started, spoken to, ended.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::imports::net::Target;
use super::imports::storage::Namespace;
use super::manifest::Installed;
use super::messages::{Bearer, Failure, FromWorker, Output, Slot, ToWorker};
use crate::authority::Authority;
use crate::config::Isolation;
use crate::isolation::Role;
use crate::store::Transaction;
use crate::wire::Wire;

/// For the allocator of a worker: large pieces go back to the system at once. By default, one large message would raise
/// the bound for what is kept.
const MALLOC: &str = "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=131072";

/// What any call may write, bytes, however small the plug-in's quota is.
const LEAST_WRITES: usize = 64 << 10;

/// A call that a worker is serving.
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) plugin: Rc<Installed>,
    /// On whose behalf; decides what privileged imports show.
    pub(super) authority: Authority,
    pub(super) namespace: Namespace,
    pub(super) transaction: Rc<Transaction>,
    pub(super) bearer: Option<Bearer>,
    pub(super) deadline: Instant,
    /// The plug-ins whose calls led here, this one included.
    pub(super) chain: Vec<Rc<str>>,
    /// What a transport was asked to dial.
    pub(super) target: Option<Target>,
    /// An import is being served. A guest waits for each, so there is never a second one.
    pub(super) importing: Cell<bool>,
    /// Bytes that the call has written into the transaction so far.
    pub(super) written: Cell<usize>,
}

impl Active {
    /// Whether the call may write `bytes` more. A transaction remembers what is overwritten and deleted, so the quota
    /// of a namespace does not bound it.
    pub(super) fn may_write(&self, bytes: usize) -> bool {
        let limit = self
            .plugin
            .storage_bytes
            .saturating_mul(2)
            .max(LEAST_WRITES);
        let written = self.written.get().saturating_add(bytes);
        self.written.set(written);
        written <= limit
    }
}

/// A sandbox of the worker.
pub(super) struct Seat {
    pub(super) slot: Slot,
    /// Calls that wait or run.
    pub(super) calls: Cell<usize>,
    pub(super) last_used: Cell<Instant>,
}

type Answer = oneshot::Sender<Result<Output, Failure>>;

/// A running worker.
pub(super) struct Worker {
    pub(super) authority: Authority,
    pub(super) wire: Arc<Wire<FromWorker, ToWorker>>,
    pub(super) process: u32,
    pub(super) started: Instant,
    /// How long it has kept the host's thread since that was asked last.
    spent: Cell<Duration>,
    pub(super) seats: RefCell<HashMap<Rc<str>, Rc<Seat>>>,
    calls: RefCell<HashMap<u64, (Rc<Active>, Answer)>>,
    next_slot: Cell<Slot>,
    /// The host ended it; nobody is to blame.
    pub(super) retired: Cell<bool>,
    stop: RefCell<Option<oneshot::Sender<()>>>,
}

impl Worker {
    /// Starts a worker for `authority`. The second half is its process, and what tells that it should end.
    pub(super) fn start(
        authority: &Authority,
        isolation: Isolation,
        message_bytes: usize,
    ) -> io::Result<(Rc<Self>, Child, oneshot::Receiver<()>)> {
        let (ours, theirs) = UnixStream::pair()?;
        let level = match isolation {
            Isolation::Required => "required",
            Isolation::BestEffort => "best-effort",
        };
        let child = Command::new("/proc/self/exe")
            .args([
                "role",
                Role::Worker.name(),
                level,
                &message_bytes.to_string(),
            ])
            .env_clear()
            .env("GLIBC_TUNABLES", MALLOC)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (stop, stopped) = oneshot::channel();
        let worker = Self {
            authority: authority.clone(),
            wire: Arc::new(Wire::new(ours, message_bytes)?),
            process: child.id().unwrap_or_default(),
            started: Instant::now(),
            spent: Cell::default(),
            seats: RefCell::default(),
            calls: RefCell::default(),
            next_slot: Cell::new(0),
            retired: Cell::new(false),
            stop: RefCell::new(Some(stop)),
        };
        Ok((Rc::new(worker), child, stopped))
    }

    /// It has kept the host's thread for so long.
    pub(super) fn spend(&self, time: Duration) {
        self.spent.set(self.spent.get() + time);
    }

    /// How long it has kept the host's thread since this was called last.
    pub(super) fn take_spent(&self) -> Duration {
        self.spent.take() + self.wire.take_decoding()
    }

    /// Whether a call runs in it.
    pub(super) fn is_busy(&self) -> bool {
        !self.calls.borrow().is_empty()
    }

    /// A slot that no sandbox has.
    pub(super) fn new_slot(&self) -> Slot {
        let slot = self.next_slot.get() + 1;
        self.next_slot.set(slot);
        slot
    }

    /// Notes a call; its outcome arrives at the receiver.
    pub(super) fn begin(&self, active: Active) -> oneshot::Receiver<Result<Output, Failure>> {
        let (answer, outcome) = oneshot::channel();
        self.calls
            .borrow_mut()
            .insert(active.number, (Rc::new(active), answer));
        outcome
    }

    /// The call, if it still runs.
    pub(super) fn active(&self, call: u64) -> Option<Rc<Active>> {
        self.calls
            .borrow()
            .get(&call)
            .map(|(active, _)| Rc::clone(active))
    }

    /// A call has ended.
    pub(super) fn end(&self, call: u64, outcome: Result<Output, Failure>) {
        if let Some((_, answer)) = self.calls.borrow_mut().remove(&call) {
            let _ = answer.send(outcome);
        }
    }

    /// The caller has given up on a call.
    pub(super) fn forget(&self, call: u64) {
        self.calls.borrow_mut().remove(&call);
    }

    /// Ends all calls, because the process has gone.
    pub(super) fn end_all(&self, reason: &str) {
        for (_, (_, answer)) in self.calls.borrow_mut().drain() {
            let _ = answer.send(Err(Failure::Trapped(reason.to_owned())));
        }
    }

    /// Whether the host has ended it.
    pub(super) fn is_ending(&self) -> bool {
        self.stop.borrow().is_none()
    }

    /// Ends the process.
    pub(super) fn kill(&self) {
        if let Some(stop) = self.stop.borrow_mut().take() {
            let _ = stop.send(());
        }
    }

    /// The plug-in that has the slot.
    pub(super) fn plugin_in(&self, slot: Slot) -> Option<Rc<str>> {
        let seats = self.seats.borrow();
        seats
            .iter()
            .find(|(_, seat)| seat.slot == slot)
            .map(|(plugin, _)| Rc::clone(plugin))
    }
}
