//! The thread of one module: loads it when it is needed, looks which tokens are there, does what is asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::slot::Slot;

use super::pins::Pins;
use super::token::Token;
use super::{Done, Job, Shared, lock};
use crate::keys::{CardId, CardKind, KeyError, Pin, Place, Reader, ReaderState, Scheme, Setup};

/// How often is looked for tokens, where they are watched.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long loading a module, and a look of its own accord, may take.
const LOOK: Duration = Duration::from_secs(10);
/// Tokens of one module. Stops one that shows slots without end.
const MAX_TOKENS: usize = 32;

/// What a module can be asked.
pub(super) enum Task {
    Look,
    Read {
        token: String,
    },
    Sign {
        serial: String,
        key: String,
        scheme: Scheme,
        message: Vec<u8>,
    },
    PublicKey {
        serial: String,
        key: String,
    },
    Unlock {
        serial: String,
        pin: Pin,
    },
}

type Changed = Arc<Mutex<dyn Fn(Vec<Reader>) + Send>>;

/// A module's thread.
pub(super) struct Worker {
    number: usize,
    path: String,
    watch: bool,
    believed: bool,
    /// Says that the module is being loaded, or was when the process ended.
    mark: PathBuf,
    pins: Pins,
    shared: Arc<Shared>,
    changed: Changed,
    module: Option<Pkcs11>,
    /// In the order of the slots; those that are there.
    tokens: Vec<Token>,
    /// Every token that was ever there, by label: how often that changed.
    seen: BTreeMap<String, Reader>,
}

impl Worker {
    pub(super) fn new(
        number: usize,
        path: String,
        setup: &Setup,
        shared: Arc<Shared>,
        changed: Changed,
    ) -> Self {
        Self {
            number,
            watch: setup.watch,
            believed: setup.trusted.contains(&path),
            mark: Path::new(&setup.directory).join(format!("module-{number}.loading")),
            path,
            pins: Pins::new(&setup.pins),
            shared,
            changed,
            module: None,
            tokens: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Works until nobody can ask any more.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        if self.watch && self.mark.exists() {
            tracing::warn!(module = %self.path, "ended the keys process when it was loaded; it is loaded again when it is asked for");
            self.watch = false;
        }
        if self.watch {
            self.look_unasked();
        }
        loop {
            match jobs.recv_timeout(INTERVAL) {
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) if self.watch => self.look_unasked(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn work(&mut self, job: Job) {
        let result = if Instant::now() < job.deadline {
            self.until(job.deadline, |worker| worker.perform(job.task))
        } else {
            Err(KeyError::Busy)
        };
        // Whoever asked may have gone.
        let _ = job.answer.send(result);
    }

    fn look_unasked(&mut self) {
        let looked = self.until(Instant::now() + LOOK, Self::look);
        if let Err(error) = looked {
            tracing::debug!(module = %self.path, "no look at its tokens: {error}");
        }
    }

    /// Does something that should be back by then; `watch` ends the process if it is not.
    fn until<T>(&mut self, end: Instant, act: impl FnOnce(&mut Self) -> T) -> T {
        lock(&self.shared.running).insert(self.number, (self.path.clone(), end));
        let done = act(self);
        lock(&self.shared.running).remove(&self.number);
        done
    }

    fn perform(&mut self, task: Task) -> Result<Done, KeyError> {
        self.look()?;
        match task {
            Task::Look => Ok(Done::Nothing),
            Task::Read { token } => {
                let found = self
                    .tokens
                    .iter_mut()
                    .find(|candidate| candidate.label == token);
                let found = found.ok_or(KeyError::Gone {
                    what: format!("token {token}"),
                })?;
                found
                    .read(&mut self.pins)
                    .map(|contents| Done::Contents(Box::new(contents)))
            }
            Task::Sign {
                serial,
                key,
                scheme,
                message,
            } => self.with(&serial, |token, pins| {
                token.sign(&key, scheme, &message, pins).map(Done::Bytes)
            }),
            Task::PublicKey { serial, key } => self.with(&serial, |token, pins| {
                token.public_key(&key, pins).map(Done::Bytes)
            }),
            Task::Unlock { serial, pin } => self.with(&serial, |token, pins| {
                token.unlock(&pin, pins).map(|()| Done::Nothing)
            }),
        }
    }

    /// Some modules show one card as several tokens, by PIN: the first that has the key is taken.
    fn with(
        &mut self,
        serial: &str,
        mut act: impl FnMut(&mut Token, &mut Pins) -> Result<Done, KeyError>,
    ) -> Result<Done, KeyError> {
        let mut last = KeyError::Gone {
            what: format!("token {serial}"),
        };
        for token in self
            .tokens
            .iter_mut()
            .filter(|token| token.serial == serial)
        {
            match act(token, &mut self.pins) {
                Err(error @ KeyError::NoKey { .. }) => last = error,
                result => return result,
            }
        }
        Err(last)
    }

    /// Finds out which tokens are there, and tells it if that has changed.
    fn look(&mut self) -> Result<(), KeyError> {
        let module = self.load()?;
        let slots = module.get_slots_with_token();
        let slots = slots.map_err(|error| failed(&self.path, &error))?;
        let mut before = std::mem::take(&mut self.tokens);
        for slot in slots.into_iter().take(MAX_TOKENS) {
            let Ok(info) = module.get_token_info(slot) else {
                continue;
            };
            let serial = plain(info.serial_number());
            let label = info.label().to_owned();
            if !info.token_initialized() || serial.is_empty() || label.is_empty() {
                continue;
            }
            let same = before
                .iter()
                .position(|token| token.is(slot, &serial, &label));
            self.tokens.push(match same {
                Some(place) => before.swap_remove(place),
                None => Token::new(
                    module.clone(),
                    self.path.clone(),
                    self.believed,
                    slot,
                    label,
                    serial,
                ),
            });
        }
        for gone in &before {
            self.pins.forget(&gone.serial);
        }
        self.tell();
        Ok(())
    }

    /// Loads the module once, and says so in a file meanwhile: one that ends the process is not loaded unasked again.
    fn load(&mut self) -> Result<Pkcs11, KeyError> {
        if let Some(module) = &self.module {
            return Ok(module.clone());
        }
        // Without the mark it is loaded all the same: a full disk is no reason to be without keys.
        let _ = std::fs::write(&self.mark, []);
        let loaded = Pkcs11::new(&self.path).and_then(|module| {
            match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
                Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) | Ok(()) => Ok(module),
                Err(error) => Err(error),
            }
        });
        let _ = std::fs::remove_file(&self.mark);
        let module = loaded.map_err(|error| failed(&self.path, &error))?;
        Ok(self.module.insert(module).clone())
    }

    fn tell(&mut self) {
        let mut serials = lock(&self.shared.serials);
        serials.retain(|_, number| *number != self.number);
        for token in &self.tokens {
            serials.insert(token.serial.clone(), self.number);
        }
        drop(serials);
        if self.note() && self.watch {
            let mut readers = lock(&self.shared.readers);
            readers.insert(self.number, self.seen.values().cloned().collect());
            let all = readers.values().flatten().cloned().collect();
            drop(readers);
            lock(&self.changed)(all);
        }
    }

    /// Notes which tokens are there now; whether that is anything new.
    fn note(&mut self) -> bool {
        let mut new = false;
        for token in &self.tokens {
            let place = Place::Module {
                path: self.path.clone(),
                token: token.label.clone(),
            };
            let reader = self.seen.entry(token.label.clone()).or_insert(Reader {
                place,
                state: ReaderState::Empty,
                changes: 0,
            });
            // It has no answer to reset.
            let now = ReaderState::Card(token.serial.clone());
            if reader.state != now {
                reader.state = now;
                reader.changes += 1;
                new = true;
            }
        }
        for (label, reader) in &mut self.seen {
            let there = self.tokens.iter().any(|token| token.label == *label);
            if !there && reader.state != ReaderState::Empty {
                reader.state = ReaderState::Empty;
                reader.changes += 1;
                new = true;
            }
        }
        new
    }
}

/// What a module said, as the host hears it.
pub(super) fn failed(path: &str, error: &Error) -> KeyError {
    KeyError::Module {
        path: path.to_owned(),
        problem: match error {
            Error::LibraryLoading(why) => {
                format!("it cannot be loaded ({why}); correct its path in [keys]")
            }
            Error::Pkcs11(code, function) => format!("{function:?} failed with {code:?}"),
            other => other.to_string(),
        },
    }
}

/// A serial number as [`CardId`] has it.
fn plain(serial: &str) -> String {
    let letters = serial.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_uppercase()).collect()
}

/// How the host names a token.
pub(super) fn card_id(serial: &str) -> CardId {
    CardId {
        kind: CardKind::Pkcs11,
        serial: serial.to_owned(),
    }
}

/// A token is the same as long as slot, label and serial number are.
impl Token {
    fn is(&self, slot: Slot, serial: &str, label: &str) -> bool {
        self.slot == slot && self.serial == serial && self.label == label
    }
}
