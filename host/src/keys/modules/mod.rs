//! PKCS#11 modules: native code of their vendors. Each has a thread of its own and a short queue, since its calls block.
//!
//! A call that does not come back cannot be ended from outside. So a thread that is much later than its deadline takes
//! the keys process with it, which the host then starts again.

mod pins;
mod read;
mod sign;
mod token;
mod watch;
mod worker;

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;

use super::{CardId, CardKind, Contents, KeyError, Pin, Reader, Scheme, Setup};
use worker::{Task, Worker};

/// Requests that may wait for one module. Stops a queue that grows behind a slow one.
const QUEUE: usize = 16;

/// All configured modules.
pub(super) struct Modules {
    modules: Vec<Module>,
    shared: Arc<Shared>,
}

struct Module {
    path: String,
    jobs: SyncSender<Job>,
}

/// What the threads of all modules tell.
struct Shared {
    /// Which module last had the token of this serial number.
    serials: Mutex<BTreeMap<String, usize>>,
    /// Tokens as they are, by module.
    readers: Mutex<BTreeMap<usize, Vec<Reader>>>,
    /// When the call of each module has to be back.
    running: Mutex<BTreeMap<usize, (String, Instant)>>,
}

/// Something to do for a module's thread.
struct Job {
    task: Task,
    deadline: Instant,
    answer: oneshot::Sender<Result<Done, KeyError>>,
}

/// What became of a [`Task`].
enum Done {
    Contents(Box<Contents>),
    Bytes(Vec<u8>),
    Nothing,
}

impl Modules {
    /// Starts a thread for each module of the setup; tells `changed` all tokens whenever one comes or goes, if tokens are
    /// watched.
    pub(super) fn start(setup: &Setup, changed: impl Fn(Vec<Reader>) + Send + 'static) -> Self {
        let shared = Arc::new(Shared {
            serials: Mutex::default(),
            readers: Mutex::default(),
            running: Mutex::default(),
        });
        let changed: Arc<Mutex<dyn Fn(Vec<Reader>) + Send>> = Arc::new(Mutex::new(changed));
        let modules = setup.modules.iter().enumerate().map(|(number, path)| {
            let (jobs, queue) = sync_channel(QUEUE);
            let worker = Worker::new(number, path.clone(), setup, shared.clone(), changed.clone());
            thread::spawn(move || worker.run(&queue));
            Module {
                path: path.clone(),
                jobs,
            }
        });
        let modules = modules.collect::<Vec<_>>();
        if !modules.is_empty() {
            watch::start(Arc::downgrade(&shared));
        }
        Self { modules, shared }
    }

    /// Everything in the token of this label that has to do with certificates.
    pub(super) async fn read(
        &self,
        path: &str,
        token: &str,
        deadline: Instant,
    ) -> Result<Contents, KeyError> {
        let module = self.modules.iter().find(|module| module.path == path);
        let module = module.ok_or_else(|| KeyError::Module {
            path: path.to_owned(),
            problem: "it is not configured in [keys]".into(),
        })?;
        let task = Task::Read {
            token: token.to_owned(),
        };
        match module.ask(task, deadline).await? {
            Done::Contents(contents) => Ok(*contents),
            _ => Err(confused(&module.path)),
        }
    }

    /// A signature over `message`.
    pub(super) async fn sign(
        &self,
        card: &CardId,
        key: &str,
        scheme: Scheme,
        message: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, KeyError> {
        let task = Task::Sign {
            serial: card.serial.clone(),
            key: key.to_owned(),
            scheme,
            message: message.to_owned(),
        };
        self.bytes(card, task, deadline).await
    }

    /// The SubjectPublicKeyInfo of a key, DER.
    pub(super) async fn public_key(
        &self,
        card: &CardId,
        key: &str,
        deadline: Instant,
    ) -> Result<Vec<u8>, KeyError> {
        let task = Task::PublicKey {
            serial: card.serial.clone(),
            key: key.to_owned(),
        };
        self.bytes(card, task, deadline).await
    }

    /// Logs in with the PIN of a person, and keeps it until the token goes.
    pub(super) async fn unlock(
        &self,
        card: &CardId,
        pin: &Pin,
        deadline: Instant,
    ) -> Result<(), KeyError> {
        let module = self.module_of(card, deadline).await?;
        let task = Task::Unlock {
            serial: card.serial.clone(),
            pin: pin.clone(),
        };
        module.ask(task, deadline).await.map(|_| ())
    }

    async fn bytes(
        &self,
        card: &CardId,
        task: Task,
        deadline: Instant,
    ) -> Result<Vec<u8>, KeyError> {
        let module = self.module_of(card, deadline).await?;
        match module.ask(task, deadline).await? {
            Done::Bytes(bytes) => Ok(bytes),
            _ => Err(confused(&module.path)),
        }
    }

    /// The module that has a token: the one that had it last, else whichever finds it.
    async fn module_of(&self, card: &CardId, deadline: Instant) -> Result<&Module, KeyError> {
        let gone = || KeyError::Gone {
            what: format!("token {}", card.serial),
        };
        if card.kind != CardKind::Pkcs11 {
            return Err(gone());
        }
        let known = || lock(&self.shared.serials).get(&card.serial).copied();
        if known().is_none() {
            // All are asked before the first is waited for.
            let asked = self
                .modules
                .iter()
                .map(|module| module.begin(Task::Look, deadline));
            for answer in asked.collect::<Vec<_>>().into_iter().flatten() {
                if known().is_some() {
                    break;
                }
                let _nothing_there = tokio::time::timeout_at(deadline.into(), answer).await;
            }
        }
        known()
            .and_then(|number| self.modules.get(number))
            .ok_or_else(gone)
    }
}

impl Module {
    async fn ask(&self, task: Task, deadline: Instant) -> Result<Done, KeyError> {
        let answer = self.begin(task, deadline)?;
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(self.failed("its thread has ended")),
            Err(_) => Err(self.failed("it does not answer in time")),
        }
    }

    fn begin(
        &self,
        task: Task,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Result<Done, KeyError>>, KeyError> {
        let (answer, receiver) = oneshot::channel();
        let job = Job {
            task,
            deadline,
            answer,
        };
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => KeyError::Busy,
            TrySendError::Disconnected(_) => self.failed("its thread has ended"),
        })?;
        Ok(receiver)
    }

    fn failed(&self, problem: &str) -> KeyError {
        KeyError::Module {
            path: self.path.clone(),
            problem: problem.into(),
        }
    }
}

fn confused(path: &str) -> KeyError {
    KeyError::Module {
        path: path.to_owned(),
        problem: "its thread has answered something else".into(),
    }
}

/// What a thread that panicked has left behind is still whole: each is written in one step.
fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
