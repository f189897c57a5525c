//! How the host asks the keys process: started with the first need, ended when it hangs, started again when it crashes,
//! let go when it rests.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_bytes::ByteBuf;
use tokio::sync::{Mutex, mpsc, watch};

use super::files;
use super::messages::{
    Answer, CardId, Contents, FromKeys, KeyError, KeyKind, KeyRef, Pin, PinKeeper, Place, Reader,
    Request, Scheme, Setup, ToKeys,
};
use super::process::{Process, Running, problem};
use super::signer::{Job, Signer};
use crate::config::{Config, Isolation};
use crate::isolation::Protection;

/// Requests that may wait at a time. Stops a queue that grows behind a slow card.
const ASKS: usize = 32;
/// How long it may take to lock itself in.
const START: Duration = Duration::from_secs(10);
/// Making a key: RSA takes long on small devices.
const GENERATE: Duration = Duration::from_secs(60);
/// Commands to a card that one signature takes at most: select, ask for tries, PIN, set, sign, each in two pieces.
const COMMANDS: u32 = 4;

/// The keys process; a cheap handle.
#[derive(Clone)]
pub struct Keys(Rc<Inner>);

struct Inner {
    isolation: Isolation,
    environment: BTreeMap<String, String>,
    setup: Setup,
    /// One request that is no reading of a whole card.
    short: Duration,
    reading: Duration,
    idle: Duration,
    retry: Duration,
    retry_max: Duration,
    running: RefCell<Option<Rc<Process>>>,
    /// One start at a time.
    starting: Mutex<()>,
    starts: Cell<u32>,
    /// Ends in a row that nobody asked for.
    crashes: Cell<u32>,
    restarts: Cell<u32>,
    /// Not to be started before.
    not_before: Cell<Option<Instant>>,
    waiting: Cell<usize>,
    readers: watch::Sender<Vec<Reader>>,
    signer: OnceCell<Signer>,
}

/// How the keys process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeysStatus {
    /// Its process id, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// Requests that wait for it.
    pub waiting: usize,
    /// How often it was started again because it crashed or hung.
    pub restarts: u32,
    /// What the kernel enforces on it, while it runs.
    #[serde(flatten)]
    pub protection: Option<Protection>,
    /// Whether readers are watched.
    pub watches_cards: bool,
}

impl Keys {
    /// The keys process of this configuration. It is started at once where readers are watched, which needs a
    /// `LocalSet`, else with the first need.
    pub fn new(config: &Config) -> Self {
        let limits = &config.limits;
        let short = Duration::from_millis(config.keys.apdu_ms.into()) * COMMANDS;
        let keys = Self(Rc::new(Inner {
            isolation: config.isolation,
            environment: environment(config),
            setup: setup(config),
            short,
            reading: Duration::from_millis(config.keys.read_ms),
            idle: Duration::from_millis(limits.idle_ms),
            retry: Duration::from_millis(limits.retry_ms),
            retry_max: Duration::from_millis(limits.retry_max_ms),
            running: RefCell::new(None),
            starting: Mutex::new(()),
            starts: Cell::new(0),
            crashes: Cell::new(0),
            restarts: Cell::new(0),
            not_before: Cell::new(None),
            waiting: Cell::new(0),
            readers: watch::Sender::new(Vec::new()),
            signer: OnceCell::new(),
        }));
        if keys.0.setup.watch {
            tokio::task::spawn_local(keep(Rc::downgrade(&keys.0)));
        }
        keys
    }

    /// Asks for anything. The answer, or a refusal, comes within the time and half a second more.
    pub async fn ask(&self, request: Request, within: Duration) -> Result<Answer, KeyError> {
        self.ask_until(request, Instant::now() + within).await
    }

    async fn ask_until(&self, mut request: Request, deadline: Instant) -> Result<Answer, KeyError> {
        let _counted = Waiting::count(&self.0)?;
        // A process that has ended is noticed when nothing can be sent to it; then another one is asked.
        for _ in 0..2 {
            let process = self.0.running(deadline).await?;
            match process.ask(request, deadline).await {
                Ok(outcome) => return outcome,
                Err(unsent) => request = unsent,
            }
        }
        Err(problem("ended as soon as it was started"))
    }

    /// Everything in a place that has to do with certificates.
    pub async fn read(&self, place: &Place) -> Result<Contents, KeyError> {
        let request = Request::Read(place.clone());
        match self.ask(request, self.0.reading).await? {
            Answer::Contents(contents) => Ok(*contents),
            _ => Err(self.0.confused()),
        }
    }

    /// A signature over `message`, in the form that TLS wants.
    pub async fn sign(
        &self,
        key: &KeyRef,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        let deadline = Instant::now() + self.0.short;
        self.sign_until(key, scheme, message, deadline).await
    }

    async fn sign_until(
        &self,
        key: &KeyRef,
        scheme: Scheme,
        message: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, KeyError> {
        let request = Request::Sign {
            key: key.clone(),
            scheme,
            message: ByteBuf::from(message),
        };
        match self.ask_until(request, deadline).await? {
            Answer::Signature(signature) => Ok(signature.into_vec()),
            _ => Err(self.0.confused()),
        }
    }

    /// SubjectPublicKeyInfo of a key, DER.
    pub async fn public_key(&self, key: &KeyRef) -> Result<Vec<u8>, KeyError> {
        let request = Request::PublicKey(key.clone());
        match self.ask(request, self.0.short).await? {
            Answer::PublicKey(public) => Ok(public.into_vec()),
            _ => Err(self.0.confused()),
        }
    }

    /// A new private key in a file, and its SubjectPublicKeyInfo, DER. It is on the disk when this returns.
    pub async fn generate(&self, kind: KeyKind) -> Result<(KeyRef, Vec<u8>), KeyError> {
        match self.ask(Request::Generate(kind), GENERATE).await? {
            Answer::Made(key, public) => Ok((key, public.into_vec())),
            _ => Err(self.0.confused()),
        }
    }

    /// Removes a private key that [`Self::generate`] made.
    pub async fn forget(&self, key: &KeyRef) -> Result<(), KeyError> {
        self.done(Request::Forget(key.clone())).await
    }

    /// Verifies the PIN of a card and keeps it until the card goes.
    pub async fn unlock(&self, card: &CardId, pin: Pin) -> Result<(), KeyError> {
        let card = card.clone();
        self.done(Request::Unlock { card, pin }).await
    }

    async fn done(&self, request: Request) -> Result<(), KeyError> {
        match self.ask(request, self.0.short).await? {
            Answer::Done => Ok(()),
            _ => Err(self.0.confused()),
        }
    }

    /// All readers, whenever something about them changes. What was last known stays while the process is started
    /// again; then every reader counts as changed.
    pub fn readers(&self) -> watch::Receiver<Vec<Reader>> {
        self.0.readers.subscribe()
    }

    /// For the TLS handshake, on a thread of its own. Needs a `LocalSet`.
    pub fn signer(&self) -> Signer {
        let signer = self.0.signer.get_or_init(|| {
            let (signer, queue) = Signer::new(ASKS);
            tokio::task::spawn_local(sign_all(Rc::downgrade(&self.0), queue));
            signer
        });
        signer.clone()
    }

    /// Whether a process is the keys process: it runs as the same user as the host, and is no operator.
    pub fn is_process(&self, process: i32) -> bool {
        let running = self.0.running.borrow();
        running
            .as_ref()
            .is_some_and(|running| i32::try_from(running.id) == Ok(process))
    }

    /// How it does.
    pub fn status(&self) -> KeysStatus {
        let running = self.0.running.borrow();
        let running = running.as_ref().filter(|process| !process.is_ending());
        KeysStatus {
            process: running.map(|process| process.id),
            waiting: self.0.waiting.get(),
            restarts: self.0.restarts.get(),
            protection: running.and_then(|process| process.protection.get()),
            watches_cards: self.0.setup.watch,
        }
    }
}

impl Inner {
    /// The process, started if need be.
    async fn running(self: &Rc<Self>, deadline: Instant) -> Result<Rc<Process>, KeyError> {
        let _one_at_a_time = self.starting.lock().await;
        let there = self.running.borrow().clone();
        if let Some(process) = there.filter(|process| !process.is_ending()) {
            return Ok(process);
        }
        if let Some(wait) = self.wait() {
            if wait > deadline.saturating_duration_since(Instant::now()) {
                let seconds = wait.as_secs() + 1;
                return Err(problem(&format!("keeps ending; next try in {seconds} s")));
            }
            tokio::time::sleep(wait).await;
        }
        let started = self.start().await;
        if started.is_err() {
            self.count_crash();
        }
        started
    }

    async fn start(self: &Rc<Self>) -> Result<Rc<Process>, KeyError> {
        files::make_directory(Path::new(&self.setup.directory))
            .map_err(|error| problem(&format!("has no directory of keys: {error}")))?;
        let (process, running) = Process::start(self.isolation, &self.environment)
            .map_err(|error| problem(&format!("cannot be started: {error}")))?;
        let configure = ToKeys::Configure(self.setup.clone());
        let configured = process.wire.send(&configure, None);
        configured.map_err(|error| problem(&format!("cannot be started: {error}")))?;
        let ready = async {
            tokio::select! {
                heard = process.wire.receive() => heard.ok(),
                _ = process.wire.flush() => None,
            }
        };
        match tokio::time::timeout(START, ready).await {
            Ok(Some(FromKeys::Ready(protection))) => process.protection.set(Some(protection)),
            Ok(Some(_)) => return Err(problem("spoke out of turn")),
            Ok(None) => return Err(problem("did not start; its reason is in the log")),
            Err(_) => return Err(problem("did not lock itself in in time")),
        }
        tracing::debug!(process = process.id, "keys process started");
        self.starts.set(self.starts.get().wrapping_add(1));
        *self.running.borrow_mut() = Some(Rc::clone(&process));
        let attended = Rc::clone(&process);
        tokio::task::spawn_local(Rc::clone(self).attend(attended, running));
        Ok(process)
    }

    /// Listens to a process until it ends, and cleans up after it.
    async fn attend(self: Rc<Self>, process: Rc<Process>, running: Running) {
        let base = self.starts.get() << 16;
        let ended = tokio::select! {
            error = self.listen(&process, base) => error,
            result = process.wire.flush() => match result {
                Ok(()) => "nothing left to send".to_owned(),
                Err(error) => error.to_string(),
            },
            () = process.stopped() => "the host ended it".to_owned(),
            () = self.rest(&process) => "it is not needed".to_owned(),
        };
        // From here on, nobody asks it any more.
        process.kill();
        let status = running.end().await;
        if process.retired.get() {
            self.crashes.set(0);
            self.not_before.set(None);
            tracing::debug!(process = process.id, "keys process let go");
        } else {
            if process.started.elapsed() >= self.retry_max {
                self.crashes.set(0);
            }
            self.count_crash();
            tracing::warn!(
                process = process.id,
                "keys process ended ({status}): {ended}"
            );
        }
        process.gone(&status);
    }

    async fn listen(&self, process: &Process, base: u32) -> String {
        loop {
            match process.wire.receive().await {
                Ok(FromKeys::Answer { ask, result }) => process.answered(ask, result),
                Ok(FromKeys::Readers(mut readers)) => {
                    // A process that was started again counts from the beginning. That must not hide a swap.
                    for reader in &mut readers {
                        reader.changes = reader.changes.wrapping_add(base);
                    }
                    self.readers.send_replace(readers);
                }
                Ok(FromKeys::Ready(_)) => return "it spoke out of turn".to_owned(),
                Err(error) => return error.to_string(),
            }
            if process.wire.has_more() {
                // What has come already would be read without a break.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Until the process has not been needed for a while.
    async fn rest(&self, process: &Process) {
        loop {
            let rested = process.last_used.get().elapsed();
            let needed = self.setup.watch || process.holds_pin.get() || process.is_busy();
            if !needed && rested >= self.idle {
                process.retired.set(true);
                return;
            }
            let left = self.idle.saturating_sub(rested);
            tokio::time::sleep(left.max(Duration::from_millis(50))).await;
        }
    }

    fn count_crash(&self) {
        self.restarts.set(self.restarts.get().saturating_add(1));
        self.crashes.set(self.crashes.get().saturating_add(1));
        // At once the first time, then doubling.
        let wait = match self.crashes.get().checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => self.retry.saturating_mul(1 << doublings.min(20)),
        };
        self.not_before
            .set(Some(Instant::now() + wait.min(self.retry_max)));
    }

    /// How long it must not be started yet.
    fn wait(&self) -> Option<Duration> {
        let left = self
            .not_before
            .get()?
            .checked_duration_since(Instant::now());
        left.filter(|left| !left.is_zero())
    }

    /// It gave an answer of another kind: no process of ours does that.
    fn confused(&self) -> KeyError {
        if let Some(process) = self.running.borrow().as_ref() {
            process.kill();
        }
        problem("gave an answer to something else")
    }
}

/// Keeps the process running where readers are watched.
async fn keep(inner: Weak<Inner>) {
    loop {
        let Some(there) = inner.upgrade() else {
            return;
        };
        if let Some(wait) = there.wait() {
            drop(there);
            tokio::time::sleep(wait).await;
            continue;
        }
        match there.running(Instant::now()).await {
            Ok(process) => {
                drop(there);
                process.ended.notified().await;
            }
            Err(error) => tracing::warn!("readers are not watched: {error}"),
        }
    }
}

/// Does what signers ask for, beside each other.
async fn sign_all(inner: Weak<Inner>, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.recv().await {
        let Some(inner) = inner.upgrade() else {
            return;
        };
        // As many as there are threads in handshakes; `Waiting` bounds them too.
        tokio::task::spawn_local(async move {
            let keys = Keys(inner);
            let deadline = job.deadline.min(Instant::now() + keys.0.short);
            let signed = keys.sign_until(&job.key, job.scheme, &job.message, deadline);
            let _given_up = job.reply.send(signed.await);
        });
    }
}

/// A request that waits.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn count(inner: &'a Inner) -> Result<Self, KeyError> {
        let waiting = inner.waiting.get();
        if waiting >= ASKS {
            return Err(KeyError::Busy);
        }
        inner.waiting.set(waiting + 1);
        Ok(Self(inner))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
    }
}

/// What the process has to do with.
fn setup(config: &Config) -> Setup {
    let text = |path: &Path| path.display().to_string();
    let modules = &config.keys.module;
    let pins: Vec<_> = config
        .card
        .iter()
        .filter_map(|card| {
            Some(PinKeeper {
                serial: card.serial.clone(),
                file: text(card.pin_file.as_deref()?),
            })
        })
        .collect();
    let read_by_modules = modules
        .iter()
        .flat_map(|module| module.read.iter().chain([&module.path]))
        .map(|path| text(path));
    Setup {
        directory: text(&config.state.join("keys")),
        watch: config.watches_cards(),
        modules: modules.iter().map(|module| text(&module.path)).collect(),
        trusted: modules
            .iter()
            .filter(|module| module.trusted)
            .map(|module| text(&module.path))
            .collect(),
        read: read_by_modules
            .chain(pins.iter().map(|keeper| keeper.file.clone()))
            .collect(),
        write: modules
            .iter()
            .flat_map(|module| &module.write)
            .map(|path| text(path))
            .collect(),
        pins,
        apdu_ms: config.keys.apdu_ms,
    }
}

/// What libpcsclite and the modules read from their environment.
fn environment(config: &Config) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for module in &config.keys.module {
        environment.extend(module.environment.clone());
    }
    if let Some(socket) = &config.keys.pcsc_socket {
        environment.insert(
            "PCSCLITE_CSOCK_NAME".to_owned(),
            socket.display().to_string(),
        );
    }
    environment
}
