//! Keeps workers and sandboxes: starts them with the first call, replaces what crashes, quarantines what crashes again
//! and again, lets go what rests.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::sync::{Mutex, oneshot};
use tracing::{debug, error, info, trace, warn};

use super::budget::{Budget, one_line};
use super::code::Code;
use super::imports::net::{Connections, Target};
use super::imports::storage::Namespace;
use super::manifest::Installed;
use super::manifests::{Manifests, PluginsError};
use super::messages::{
    Failure, FromWorker, Interface, Kind, Operation, Output, SandboxSpec, TEXT, ToWorker,
};
use super::process::{Active, Seat, Worker};
use super::{Call, CallError, Class, PluginError, PluginStatus, SandboxStatus, Services};
use crate::authority::Authority;
use crate::config::{Config, Isolation, Limits};
use crate::store::{Mark, Transaction};
use crate::wire::WireError;

/// How long a worker may take to lock itself in.
const START: Duration = Duration::from_secs(10);
/// How long after its deadline a call is given up and its worker ended: it should have answered by itself.
const GRACE: Duration = Duration::from_millis(500);

/// How long a worker may keep the host's thread with one message.
const TURN: Duration = Duration::from_micros(250);
/// Longer turns are followed by a pause of so many times their length, while others wait...
const PAUSE: u32 = 20;
/// ...but no longer than this, which is within [`GRACE`].
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The installed plug-ins; a cheap handle.
#[derive(Clone)]
pub struct Plugins(pub(super) Rc<Inner>);

pub(super) struct Inner {
    pub(super) limits: Limits,
    isolation: Isolation,
    installed: BTreeMap<Rc<str>, Rc<Installed>>,
    classes: BTreeMap<String, Class>,
    code: Code,
    pub(super) services: Rc<dyn Services>,
    workers: RefCell<HashMap<Authority, Rc<Mutex<WorkerState>>>>,
    health: RefCell<BTreeMap<(Rc<str>, Authority), Health>>,
    pub(super) connections: Connections,
    next_call: Cell<u64>,
}

/// What is known of the worker of an authority.
#[derive(Default)]
struct WorkerState {
    running: Option<Rc<Worker>>,
    /// Ends in a row that nobody asked for.
    crashes: u32,
    /// Not to be started before.
    not_before: Option<Instant>,
}

/// How a plug-in has behaved for an authority.
#[derive(Clone, Debug, Default)]
struct Health {
    calls: u64,
    /// In a row.
    traps: u32,
    last: Option<String>,
}

impl Plugins {
    /// Serves what was read from the configuration. Starts, compiles and verifies nothing yet. Needs a `LocalSet`.
    pub fn start(
        config: &Config,
        manifests: Manifests,
        services: Rc<dyn Services>,
    ) -> Result<Self, PluginsError> {
        let Manifests { installed, classes } = manifests;
        let plugins = Self(Rc::new(Inner {
            limits: config.limits.clone(),
            isolation: config.isolation,
            installed,
            classes,
            code: Code::open(config)?,
            services,
            workers: RefCell::default(),
            health: RefCell::default(),
            connections: Connections::default(),
            next_call: Cell::new(0),
        }));
        tokio::task::spawn_local(let_go_what_rests(Rc::downgrade(&plugins.0)));
        Ok(plugins)
    }

    /// Calls a plug-in. If the call fails, what it wrote into the transaction is taken back.
    pub async fn call(&self, call: Call) -> Result<Output, CallError> {
        self.0.call(call, None, Vec::new()).await
    }

    /// The type, if a manifest declares it.
    pub fn class(&self, moid: &str) -> Option<Class> {
        self.0.classes.get(moid).cloned()
    }

    /// All types that manifests declare, by MOID.
    pub fn classes(&self) -> Vec<Class> {
        self.0.classes.values().cloned().collect()
    }

    /// Object plug-ins that may serve more types than their manifest declares.
    pub fn dynamic(&self) -> Vec<Rc<str>> {
        self.named(|plugin| plugin.dynamic_classes)
    }

    /// Transports, in the order of their names.
    pub fn transports(&self) -> Vec<Rc<str>> {
        self.named(|plugin| plugin.kind == Kind::Transport)
    }

    /// Environments, in the order of their names.
    pub fn environments(&self) -> Vec<Rc<str>> {
        self.named(|plugin| plugin.kind == Kind::Environment)
    }

    fn named(&self, wanted: impl Fn(&Installed) -> bool) -> Vec<Rc<str>> {
        self.0
            .installed
            .values()
            .filter(|plugin| wanted(plugin))
            .map(|plugin| Rc::clone(&plugin.name))
            .collect()
    }

    /// Storage that one namespace of the plug-in may hold, bytes.
    pub fn storage_quota(&self, plugin: &str) -> usize {
        self.0
            .installed
            .get(plugin)
            .map_or(self.0.limits.storage_bytes, |plugin| plugin.storage_bytes)
    }

    /// Takes over a connection that a transport dialled.
    pub fn take_connection(&self, number: u32) -> Option<TcpStream> {
        self.0.connections.take(number)
    }

    /// Lets a plug-in try again that was quarantined or could not be compiled. `false`: there is no such plug-in.
    pub fn release(&self, plugin: &str) -> bool {
        self.0
            .health
            .borrow_mut()
            .retain(|(name, _), _| &**name != plugin);
        self.0.code.forget(plugin);
        self.0.installed.contains_key(plugin)
    }

    /// Compiles every plug-in whose code is not in the cache yet; the names of those that failed, with the reason.
    pub async fn compile_all(&self) -> Vec<(String, Result<(), String>)> {
        let mut outcomes = Vec::new();
        for plugin in self.0.installed.values() {
            outcomes.push((
                plugin.name.to_string(),
                self.0.code.of(plugin).await.map(drop),
            ));
        }
        outcomes
    }

    /// What is installed and how it does.
    pub fn status(&self) -> Vec<PluginStatus> {
        self.0
            .installed
            .values()
            .map(|plugin| self.0.status_of(plugin))
            .collect()
    }

    /// Process ids of the workers that run now, by authority.
    pub fn workers(&self) -> Vec<(Authority, u32)> {
        let workers = self.0.workers.borrow();
        let running = workers.iter().filter_map(|(authority, state)| {
            let state = state.try_lock().ok()?;
            state
                .running
                .as_ref()
                .map(|worker| (authority.clone(), worker.process))
        });
        let mut running: Vec<_> = running.collect();
        running.sort();
        running
    }
}

impl Inner {
    /// The environment that answers for the device: the first by name.
    pub(super) fn environment(&self) -> Option<Rc<Installed>> {
        self.installed
            .values()
            .find(|plugin| plugin.kind == Kind::Environment)
            .cloned()
    }

    /// One call, on the way of `chain`. Without a deadline from above it has its own.
    pub(super) async fn call(
        self: &Rc<Self>,
        call: Call,
        deadline: Option<Instant>,
        mut chain: Vec<Rc<str>>,
    ) -> Result<Output, CallError> {
        let plugin =
            self.installed
                .get(&call.plugin)
                .cloned()
                .ok_or_else(|| CallError::Unusable {
                    plugin: call.plugin.to_string(),
                    reason: "it is not installed".into(),
                })?;
        let name = || plugin.name.to_string();
        if chain.contains(&plugin.name) {
            return Err(CallError::Busy { plugin: name() });
        }
        // Transports and environments serve the whole device and share its worker.
        let seat_of = match plugin.kind {
            Kind::Object => call.authority.clone(),
            Kind::Transport | Kind::Environment => Authority::device(),
        };
        let key = (Rc::clone(&plugin.name), seat_of.clone());
        let traps = self
            .health
            .borrow()
            .get(&key)
            .map_or(0, |health| health.traps);
        if traps >= self.limits.traps {
            return Err(CallError::Quarantined {
                plugin: name(),
                traps,
            });
        }
        // Compiling is no part of the deadline; it has its own.
        let code = self.code.of(&plugin).await;
        let code = code.map_err(|reason| CallError::Unusable {
            plugin: name(),
            reason,
        })?;
        // The same goes for the environment that it may ask. If that has no code, it will be told when it asks.
        if plugin.grants.contains(&Interface::Device)
            && let Some(environment) = self.environment()
        {
            let _ = self.code.of(&environment).await;
        }
        let own_deadline = Instant::now() + Duration::from_millis(plugin.call_ms);
        let deadline = deadline.map_or(own_deadline, |above| above.min(own_deadline));
        let (worker, seat) = self.seat(&seat_of, &plugin, &code, deadline).await?;
        if seat.calls.get() >= self.limits.queue {
            return Err(CallError::Busy { plugin: name() });
        }
        let number = self.next_call.get() + 1;
        self.next_call.set(number);
        chain.push(Rc::clone(&plugin.name));
        let target = match &call.operation {
            Operation::Dial { host, port, .. } => Some(Target::new(host, *port)),
            _ => None,
        };
        let namespace = match &call.instance {
            Some(instance) => Namespace::instance(&plugin.name, instance),
            None => Namespace::own(&plugin.name, &call.authority),
        };
        // What there is can be told by a plug-in that cannot serve any of it.
        let proves_health = !matches!(
            call.operation,
            Operation::Classes | Operation::Instances { .. }
        );
        let transaction = Rc::clone(&call.transaction);
        let mark = transaction.mark();
        let left = deadline.saturating_duration_since(Instant::now());
        let outcome = worker.begin(Active {
            number,
            plugin: Rc::clone(&plugin),
            authority: call.authority,
            namespace,
            transaction: Rc::clone(&call.transaction),
            bearer: call.bearer,
            deadline,
            chain,
            target,
            importing: Cell::new(false),
            written: Cell::new(0),
        });
        seat.calls.set(seat.calls.get() + 1);
        // However this ends, a caller that gives up included, the call is no longer counted or known.
        let mut counted = Counted {
            worker: &worker,
            seat: &seat,
            call: number,
            connections: &self.connections,
            transaction: &transaction,
            mark: Some(mark),
        };
        let message = ToWorker::Call {
            call: number,
            slot: seat.slot,
            deadline_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
            bearer: call.bearer,
            operation: call.operation,
        };
        let outcome = match worker.wire.send(&message, None) {
            Ok(()) => match tokio::time::timeout(left + GRACE, outcome).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(Failure::Trapped("its worker has gone".into())),
                Err(_) => {
                    warn!(plugin = %plugin.name, authority = %seat_of, "the worker does not answer and is ended");
                    worker.kill();
                    Err(Failure::TimedOut { begun: true })
                }
            },
            Err(WireError::TooLarge { .. }) => Err(Failure::Plugin(PluginError::TooLarge)),
            Err(failure) => {
                worker.kill();
                Err(Failure::Trapped(failure.to_string()))
            }
        };
        if outcome.is_ok() {
            counted.keep();
        }
        let outcome = match outcome {
            // Not its fault: whoever called it had no more time. Else an object could get the environment, which
            // serves everybody, quarantined.
            Err(Failure::TimedOut { .. }) if deadline < own_deadline => {
                Err(Failure::TimedOut { begun: false })
            }
            outcome => outcome,
        };
        self.judge(&key, &plugin, outcome, proves_health)
    }

    /// Keeps the score of a plug-in and puts its failure into words.
    fn judge(
        &self,
        key: &(Rc<str>, Authority),
        plugin: &Installed,
        outcome: Result<Output, Failure>,
        proves_health: bool,
    ) -> Result<Output, CallError> {
        let mut scores = self.health.borrow_mut();
        let health = scores.entry(key.clone()).or_default();
        health.calls += 1;
        let name = plugin.name.to_string();
        let failure = match outcome {
            Ok(output) => {
                if proves_health {
                    health.traps = 0;
                }
                return Ok(output);
            }
            Err(failure) => failure,
        };
        let (crashed, error) = match failure {
            Failure::Plugin(error) => (
                false,
                CallError::Refused {
                    plugin: name,
                    error: error.bounded(),
                },
            ),
            Failure::Trapped(reason) => (
                true,
                CallError::Crashed {
                    plugin: name,
                    reason: one_line(&reason, TEXT),
                },
            ),
            // A call that only waited behind another one is not the plug-in's crash.
            Failure::TimedOut { begun } => (
                begun,
                CallError::TimedOut {
                    plugin: name,
                    milliseconds: plugin.call_ms,
                },
            ),
            Failure::Unusable(reason) => (
                false,
                CallError::Unusable {
                    plugin: name,
                    reason: one_line(&reason, TEXT),
                },
            ),
        };
        health.traps = if crashed {
            health.traps + 1
        } else {
            health.traps
        };
        health.last = Some(error.to_string());
        if crashed && health.traps == self.limits.traps {
            warn!(plugin = %plugin.name, authority = %key.1, traps = health.traps, "quarantined: {error}");
        } else if crashed {
            warn!(plugin = %plugin.name, authority = %key.1, "{error}");
        }
        Err(error)
    }

    /// The sandbox of a plug-in in the worker of `authority`, both started if need be.
    async fn seat(
        self: &Rc<Self>,
        authority: &Authority,
        plugin: &Rc<Installed>,
        code: &OwnedFd,
        deadline: Instant,
    ) -> Result<(Rc<Worker>, Rc<Seat>), CallError> {
        let state = {
            let mut workers = self.workers.borrow_mut();
            Rc::clone(workers.entry(authority.clone()).or_default())
        };
        let unusable = |reason: String| CallError::Unusable {
            plugin: plugin.name.to_string(),
            reason,
        };
        let mut state = state.lock().await;
        let worker = match state.running.as_ref().filter(|worker| !worker.is_ending()) {
            Some(worker) => Rc::clone(worker),
            None => {
                if let Some(wait) = state
                    .not_before
                    .map(|then| then.saturating_duration_since(Instant::now()))
                {
                    if wait > deadline.saturating_duration_since(Instant::now()) {
                        return Err(unusable(format!(
                            "its worker keeps crashing; next try in {} s",
                            wait.as_secs() + 1
                        )));
                    }
                    tokio::time::sleep(wait).await;
                }
                let worker = self.start_worker(authority).await.map_err(unusable)?;
                state.running = Some(Rc::clone(&worker));
                worker
            }
        };
        let seated = worker.seats.borrow().get(&plugin.name).cloned();
        let seat = match seated {
            Some(seat) => seat,
            None => {
                let slot = worker.new_slot();
                let local = *authority == Authority::device();
                let sandbox = Box::new(SandboxSpec {
                    name: plugin.name.to_string(),
                    version: plugin.version.clone(),
                    kind: plugin.kind,
                    authority: (!local).then(|| authority.as_str().to_owned()),
                    grants: plugin.grants.clone(),
                    config: plugin.config.clone(),
                    limits: plugin.limits.clone(),
                });
                let code = code
                    .try_clone()
                    .map_err(|error| unusable(error.to_string()))?;
                let load = ToWorker::Load { slot, sandbox };
                worker
                    .wire
                    .send(&load, Some(code))
                    .map_err(|error| unusable(error.to_string()))?;
                let seat = Rc::new(Seat {
                    slot,
                    calls: Cell::new(0),
                    last_used: Cell::new(Instant::now()),
                });
                worker
                    .seats
                    .borrow_mut()
                    .insert(Rc::clone(&plugin.name), Rc::clone(&seat));
                seat
            }
        };
        seat.last_used.set(Instant::now());
        Ok((worker, seat))
    }

    async fn start_worker(self: &Rc<Self>, authority: &Authority) -> Result<Rc<Worker>, String> {
        let (worker, child, stopped) =
            Worker::start(authority, self.isolation, self.limits.message_bytes)
                .map_err(|error| format!("no process for it: {error}"))?;
        match tokio::time::timeout(START, worker.wire.receive()).await {
            Ok(Ok(FromWorker::Ready)) => {}
            Ok(Ok(_)) => return Err("its worker spoke out of turn".into()),
            Ok(Err(_)) => return Err("its worker did not start; its reason is in the log".into()),
            Err(_) => return Err("its worker did not lock itself in in time".into()),
        }
        debug!(%authority, process = worker.process, "worker started");
        tokio::task::spawn_local(Rc::clone(self).attend(Rc::clone(&worker), child, stopped));
        Ok(worker)
    }

    /// Listens to a worker until it ends, and cleans up after it.
    async fn attend(
        self: Rc<Self>,
        worker: Rc<Worker>,
        mut child: Child,
        stopped: oneshot::Receiver<()>,
    ) {
        let mut log = Budget::new(self.limits.log_bytes_per_second * 4);
        let ended = tokio::select! {
            error = self.listen(&worker, &mut log) => error.to_string(),
            result = worker.wire.flush() => match result {
                Ok(()) => "nothing left to send".to_owned(),
                Err(error) => error.to_string(),
            },
            _ = stopped => "the host ended it".to_owned(),
        };
        let _ = child.start_kill();
        let status = child
            .wait()
            .await
            .map_or_else(|error| error.to_string(), |status| status.to_string());
        let authority = &worker.authority;
        let state = self.workers.borrow().get(authority).cloned();
        if let Some(state) = state {
            let mut state = state.lock().await;
            if state
                .running
                .as_ref()
                .is_some_and(|running| Rc::ptr_eq(running, &worker))
            {
                state.running = None;
            }
            if worker.retired.get() {
                state.crashes = 0;
                state.not_before = None;
            } else {
                let lasted = worker.started.elapsed();
                if lasted >= Duration::from_millis(self.limits.retry_max_ms) {
                    state.crashes = 0;
                }
                state.crashes += 1;
                let wait = self.back_off(state.crashes);
                state.not_before = Some(Instant::now() + wait);
                warn!(%authority, process = worker.process, "worker ended ({status}): {ended}");
            }
        }
        worker.end_all(&format!("its worker process ended ({status})"));
    }

    /// None for the first crash, then doubling.
    fn back_off(&self, crashes: u32) -> Duration {
        match crashes.checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => {
                let wait = self.limits.retry_ms.saturating_mul(1 << doublings.min(20));
                Duration::from_millis(wait.min(self.limits.retry_max_ms))
            }
        }
    }

    async fn listen(self: &Rc<Self>, worker: &Rc<Worker>, log: &mut Budget) -> WireError {
        loop {
            let message = match worker.wire.receive().await {
                Ok(message) => message,
                Err(error) => return error,
            };
            let began = Instant::now();
            if let Err(misbehaviour) = self.hear(worker, log, message) {
                return WireError::Io(std::io::Error::other(misbehaviour));
            }
            worker.spend(began.elapsed());
            if let Some(pause) = self.pause(worker) {
                tokio::time::sleep(pause).await;
            } else if worker.wire.has_more() {
                // What has come already would be read without a break.
                tokio::task::yield_now().await;
            }
        }
    }

    /// One message of a worker. `Err`: no worker of ours says that.
    fn hear(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        log: &mut Budget,
        message: FromWorker,
    ) -> Result<(), &'static str> {
        match message {
            FromWorker::Done { call, result } => {
                // Given up meanwhile, or never a call of this worker.
                let Some(active) = worker.active(call) else {
                    return Ok(());
                };
                if active.importing.get() && result.is_ok() {
                    return Err("it answered while it was asking");
                }
                let handed_over = match &result {
                    Ok(Output::Dialled { connection, .. }) => Some(*connection),
                    _ => None,
                };
                let held = self.connections.end_of_call(call, handed_over);
                let result = match handed_over {
                    Some(_) if !held => Err(Failure::Plugin(PluginError::Conflict(Some(
                        "the connection that it handed over is closed, or of another call".into(),
                    )))),
                    _ => result,
                };
                worker.end(call, result);
            }
            FromWorker::Import {
                import,
                call,
                initializing,
                request,
            } => {
                if !self.serve_import(worker, import, call, initializing, request) {
                    return Err("it asked for what it was not granted, or twice at a time");
                }
            }
            FromWorker::Log {
                slot,
                level,
                message,
            } => {
                let plugin = worker.plugin_in(slot).unwrap_or_else(|| "?".into());
                if let Some(message) = log.admit(&message) {
                    write_log(level, &plugin, &worker.authority, &message);
                }
            }
            FromWorker::Ready => {}
        }
        Ok(())
    }

    /// How long a worker is not listened to, because it has kept the host's one thread for long while others wait. The
    /// device's own worker is exempt: what it does, it does for others.
    fn pause(&self, worker: &Worker) -> Option<Duration> {
        let spent = worker.take_spent();
        if spent <= TURN || worker.authority == Authority::device() {
            return None;
        }
        let workers = self.workers.borrow();
        let others_wait = workers
            .iter()
            .filter(|(authority, _)| **authority != worker.authority)
            .filter_map(|(_, state)| state.try_lock().ok()?.running.clone())
            .any(|other| other.is_busy());
        others_wait.then(|| (spent * PAUSE).min(LONGEST_PAUSE))
    }

    fn status_of(&self, plugin: &Installed) -> PluginStatus {
        let scores = self.health.borrow();
        let sandboxes = scores
            .iter()
            .filter(|((name, _), _)| *name == plugin.name)
            .map(|((_, authority), health)| SandboxStatus {
                authority: authority.to_string(),
                calls: health.calls,
                traps: health.traps,
                quarantined: health.traps >= self.limits.traps,
                last_failure: health.last.clone(),
            })
            .collect();
        PluginStatus {
            name: plugin.name.to_string(),
            version: plugin.version.clone(),
            kind: plugin.kind,
            moids: plugin
                .classes
                .iter()
                .map(|class| class.moid.clone())
                .collect(),
            grants: plugin.grants.clone(),
            withheld: plugin.withheld.clone(),
            sandboxes,
        }
    }
}

/// The end of a call, however it comes.
struct Counted<'a> {
    worker: &'a Worker,
    seat: &'a Seat,
    call: u64,
    connections: &'a Connections,
    transaction: &'a Transaction,
    /// Where the transaction stood. What the call wrote since is taken back and what it dialled is closed, be it that it
    /// failed or that the caller has given up.
    mark: Option<Mark>,
}

impl Counted<'_> {
    /// The call has succeeded and its caller is told.
    fn keep(&mut self) {
        self.mark = None;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.seat.calls.set(self.seat.calls.get().saturating_sub(1));
        self.seat.last_used.set(Instant::now());
        self.worker.forget(self.call);
        if let Some(mark) = self.mark.take() {
            self.transaction.roll_back_to(mark);
            self.connections.end_of_call(self.call, None);
        }
    }
}

/// Drops sandboxes and workers that have not been used for a while.
async fn let_go_what_rests(inner: std::rc::Weak<Inner>) {
    loop {
        let idle = match inner.upgrade() {
            Some(inner) => Duration::from_millis(inner.limits.idle_ms),
            None => return,
        };
        tokio::time::sleep((idle / 4).max(Duration::from_millis(50))).await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        let states: Vec<_> = inner.workers.borrow().values().cloned().collect();
        for state in states {
            let Ok(mut state) = state.try_lock() else {
                continue;
            };
            let Some(worker) = state.running.clone() else {
                continue;
            };
            worker.seats.borrow_mut().retain(|_, seat| {
                let rests = seat.calls.get() == 0 && seat.last_used.get().elapsed() >= idle;
                if rests {
                    let _ = worker
                        .wire
                        .send(&ToWorker::Unload { slot: seat.slot }, None);
                }
                !rests
            });
            if worker.seats.borrow().is_empty() {
                worker.retired.set(true);
                worker.kill();
                // The next call starts another one and does not race with the end of this one.
                state.running = None;
            }
        }
    }
}

fn write_log(level: u8, plugin: &str, authority: &Authority, message: &str) {
    match level {
        0 => trace!(target: "plugin", plugin, %authority, "{message}"),
        1 => debug!(target: "plugin", plugin, %authority, "{message}"),
        2 => info!(target: "plugin", plugin, %authority, "{message}"),
        3 => warn!(target: "plugin", plugin, %authority, "{message}"),
        _ => error!(target: "plugin", plugin, %authority, "{message}"),
    }
}
