//! The cards that are there: read when they come, tried again while they cannot be read, and missed when they go. Each
//! reader is attended by a task of its own, so that a slow card keeps nobody waiting.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::apply::{Applied, Provisioning};
use super::plan::Plan;
use super::{Proofs, ProvisioningError};
use crate::authority::Authority;
use crate::certificates::Clock;
use crate::config::Limits;
use crate::keys::{self, CardId, Contents, KeyError, Keys, Place, Reader, ReaderState};

/// How long a start waits for the readers before it takes them for empty.
const FIRST_READERS: Duration = Duration::from_secs(15);

/// The cards and what they give; a cheap handle.
#[derive(Clone)]
pub struct Cards {
    inner: Rc<Inner>,
}

struct Inner {
    provisioning: Provisioning,
    keys: Keys,
    clock: Clock,
    retry: Duration,
    retry_max: Duration,
    /// Whoever acts on what has changed.
    tell: mpsc::Sender<Applied>,
    seen: RefCell<BTreeMap<Place, Seen>>,
    /// Whether every card that was there at the start has been looked at.
    started: Cell<bool>,
    visits: Cell<u64>,
}

/// A reader, and what is known of the card in it.
struct Seen {
    reader: Reader,
    /// Counts the tasks that have attended it.
    visit: u64,
    /// Dropped to end the task.
    _task: Option<oneshot::Sender<()>>,
    /// Whether the card was looked at, with whatever outcome.
    looked: bool,
    /// The card, once it was read; while it is read again, the one before.
    card: Option<CardId>,
    /// What it holds, and has proved.
    read: Option<Rc<(Contents, Proofs)>>,
    problem: Option<String>,
}

/// A reader for people.
#[derive(Clone, Debug)]
pub struct SeenCard {
    /// The reader.
    pub reader: Reader,
    /// What the card holds, and has proved, once it was read.
    pub read: Option<Rc<(Contents, Proofs)>>,
    /// Why it could not be read, or not taken from.
    pub problem: Option<String>,
}

impl Cards {
    /// The cards that the keys process sees. What has changed is told to `tell`.
    pub fn new(
        provisioning: Provisioning,
        keys: Keys,
        limits: &Limits,
        clock: Clock,
        tell: mpsc::Sender<Applied>,
    ) -> Self {
        Self {
            inner: Rc::new(Inner {
                provisioning,
                keys,
                clock,
                retry: Duration::from_millis(limits.retry_ms),
                retry_max: Duration::from_millis(limits.retry_max_ms),
                tell,
                seen: RefCell::default(),
                started: Cell::new(false),
                visits: Cell::new(0),
            }),
        }
    }

    /// What is provisioned.
    pub fn provisioning(&self) -> &Provisioning {
        &self.inner.provisioning
    }

    /// Attends the readers for ever. Needs a `LocalSet`.
    ///
    /// At the start, what cards gave counts as it did before, until the cards that are there have been looked at; then
    /// it rests without them.
    pub async fn watch(self) {
        let mut readers = self.inner.keys.readers();
        let watched = self.inner.keys.status().watches_cards;
        if !watched || self.no_readers().await {
            self.inner.started.set(true);
            self.settle().await;
        }
        loop {
            let now = readers.borrow_and_update().clone();
            self.look(now);
            self.settle_if_looked().await;
            if readers.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits for the first readers. They may have come before anybody listened, and then nothing changes for long.
    async fn no_readers(&self) -> bool {
        let mut readers = self.inner.keys.readers();
        let some = readers.wait_for(|readers| !readers.is_empty());
        timeout(FIRST_READERS, some).await.is_err()
    }

    /// The readers and their cards.
    pub fn seen(&self) -> Vec<SeenCard> {
        let seen = self.inner.seen.borrow();
        let seen = seen.values().map(|seen| SeenCard {
            reader: seen.reader.clone(),
            read: seen.read.clone(),
            problem: seen.problem.clone(),
        });
        seen.collect()
    }

    /// What a card that was read would change now.
    pub fn plan_of(&self, read: &(Contents, Proofs)) -> Result<Plan, ProvisioningError> {
        let (contents, proofs) = read;
        let (present, now) = (self.present(), self.inner.clock.now());
        self.inner.provisioning.plan(contents, proofs, present, now)
    }

    /// Reads a card and says what it would change. Changes nothing. Without a reader's name, the first card there is.
    pub async fn plan(
        &self,
        reader: Option<&str>,
    ) -> Result<(Place, Contents, Plan), ProvisioningError> {
        let place = self.place(|seen| match reader {
            Some(name) => place_name(&seen.reader.place) == name,
            None => seen.reader.state != ReaderState::Empty,
        });
        let place = place.ok_or_else(|| KeyError::Gone {
            what: match reader {
                Some(name) => format!("a reader {name:?}"),
                None => "a card".to_owned(),
            },
        })?;
        let read = self.read(&place).await?;
        let plan = self.plan_of(&read)?;
        Ok((place, read.0, plan))
    }

    /// The operator gives the PIN of a card; then the card is read again.
    pub async fn unlock(&self, serial: &str, pin: keys::Pin) -> Result<(), ProvisioningError> {
        let of_serial = |seen: &Seen| {
            let card = seen.card.as_ref();
            card.is_some_and(|card| card.serial == serial)
        };
        let gone = || KeyError::Gone {
            what: format!("card {serial}"),
        };
        let place = self.place(of_serial).ok_or_else(gone)?;
        let reader_and_card = || {
            let seen = self.inner.seen.borrow();
            let seen = seen.get(&place)?;
            Some((seen.reader.clone(), seen.card.clone()?))
        };
        let (_, card) = reader_and_card().ok_or_else(gone)?;
        self.inner.keys.unlock(&card, pin).await?;
        let (reader, _) = reader_and_card().ok_or_else(gone)?;
        self.attend(reader);
        Ok(())
    }

    /// Removes a certificate, whatever gave it. A card that is still there gives it again when it is read.
    pub async fn remove(
        &self,
        authority: &Authority,
        id: &str,
    ) -> Result<Applied, ProvisioningError> {
        let now = self.inner.clock.now();
        let applied = self.inner.provisioning.remove(authority, id, now).await?;
        self.tell(applied.clone()).await;
        Ok(applied)
    }

    /// Removes all that a card gave.
    pub async fn forget(&self, serial: &str) -> Result<Applied, ProvisioningError> {
        let now = self.inner.clock.now();
        let provisioning = &self.inner.provisioning;
        let applied = provisioning.forget(serial, self.present(), now).await?;
        self.tell(applied.clone()).await;
        Ok(applied)
    }

    fn place(&self, wanted: impl Fn(&Seen) -> bool) -> Option<Place> {
        let seen = self.inner.seen.borrow();
        let mut seen = seen.iter();
        seen.find(|(_, seen)| wanted(seen))
            .map(|(place, _)| place.clone())
    }

    /// The cards that are there.
    fn present(&self) -> BTreeSet<CardId> {
        let seen = self.inner.seen.borrow();
        seen.values().filter_map(|seen| seen.card.clone()).collect()
    }

    /// Takes note of the readers as they are now.
    fn look(&self, readers: Vec<Reader>) {
        let places: BTreeSet<_> = readers.iter().map(|reader| reader.place.clone()).collect();
        self.inner
            .seen
            .borrow_mut()
            .retain(|place, _| places.contains(place));
        for reader in readers {
            if self.knows(&reader) {
                continue;
            }
            match reader.state {
                ReaderState::Card(_) | ReaderState::Taken => self.attend(reader),
                ReaderState::Empty | ReaderState::Mute | ReaderState::Wedged => self.leave(reader),
            }
        }
    }

    fn knows(&self, reader: &Reader) -> bool {
        let seen = self.inner.seen.borrow();
        let known = seen.get(&reader.place);
        known.is_some_and(|seen| seen.reader == *reader)
    }

    /// There is no card, or none that answers.
    fn leave(&self, reader: Reader) {
        let problem = match reader.state {
            ReaderState::Mute => Some("the card does not answer; take it out and insert it again"),
            ReaderState::Wedged => Some("the card hangs; take it out"),
            _ => None,
        };
        let seen = Seen {
            visit: self.visit(),
            _task: None,
            looked: true,
            card: None,
            read: None,
            problem: problem.map(str::to_owned),
            reader: reader.clone(),
        };
        self.inner.seen.borrow_mut().insert(reader.place, seen);
    }

    /// Starts a task for the card in a reader, in the place of one that may run. The card before counts as there until
    /// this one was looked at: it is most often the same one.
    fn attend(&self, reader: Reader) {
        let (task, stop) = oneshot::channel();
        let (visit, place) = (self.visit(), reader.place.clone());
        let mut all = self.inner.seen.borrow_mut();
        let before = all.remove(&place);
        let seen = Seen {
            reader,
            visit,
            _task: Some(task),
            looked: false,
            card: before.and_then(|seen| seen.card),
            read: None,
            problem: None,
        };
        all.insert(place.clone(), seen);
        drop(all);
        spawn_local(self.clone().visit_card(place, visit, stop));
    }

    fn visit(&self) -> u64 {
        let visit = self.inner.visits.get().wrapping_add(1);
        self.inner.visits.set(visit);
        visit
    }

    /// Reads a card until it could be read, and takes what it gives. Ends when another visit takes its place.
    async fn visit_card(self, place: Place, visit: u64, mut stop: oneshot::Receiver<()>) {
        let mut wait = self.inner.retry;
        loop {
            let read = tokio::select! {
                biased;
                _ = &mut stop => return,
                read = self.read(&place) => read,
            };
            let outcome = match read {
                Ok(read) => {
                    let read = Rc::new(read);
                    self.note(&place, visit, Some(read.clone()));
                    self.take(&read).await
                }
                Err(error) => {
                    self.note(&place, visit, None);
                    Err(error)
                }
            };
            let problem = outcome.as_ref().err().map(ToString::to_string);
            self.looked(&place, visit, problem);
            self.settle_if_looked().await;
            match outcome {
                Err(error) if is_passing(&error) => {
                    tracing::info!(reader = place_name(&place), %error, seconds = wait.as_secs(), "tried again later");
                }
                Err(error) => {
                    tracing::warn!(reader = place_name(&place), %error, "a card gives nothing");
                    return;
                }
                Ok(()) => return,
            }
            tokio::select! {
                biased;
                _ = &mut stop => return,
                () = sleep(wait) => {}
            }
            wait = wait.saturating_mul(2).min(self.inner.retry_max);
        }
    }

    async fn read(&self, place: &Place) -> Result<(Contents, Proofs), ProvisioningError> {
        let contents = self.inner.keys.read(place).await?;
        let now = self.inner.clock.now();
        let proofs = Proofs::gather(&self.inner.keys, &contents, now).await?;
        Ok((contents, proofs))
    }

    async fn take(&self, read: &(Contents, Proofs)) -> Result<(), ProvisioningError> {
        let (contents, proofs) = read;
        let now = self.inner.clock.now();
        let provisioning = &self.inner.provisioning;
        let applied = provisioning.provision(contents, proofs, || self.present(), now);
        self.tell(applied.await?).await;
        Ok(())
    }

    /// Which card it is, unless another visit has begun.
    fn note(&self, place: &Place, visit: u64, read: Option<Rc<(Contents, Proofs)>>) {
        let mut seen = self.inner.seen.borrow_mut();
        if let Some(seen) = seen.get_mut(place).filter(|seen| seen.visit == visit) {
            seen.card = read.as_ref().map(|read| read.0.card.clone());
            seen.read = read;
        }
    }

    fn looked(&self, place: &Place, visit: u64, problem: Option<String>) {
        let mut seen = self.inner.seen.borrow_mut();
        if let Some(seen) = seen.get_mut(place).filter(|seen| seen.visit == visit) {
            seen.looked = true;
            seen.problem = problem;
        }
    }

    async fn settle_if_looked(&self) {
        let all_looked = self.inner.seen.borrow().values().all(|seen| seen.looked);
        if self.inner.started.get() || all_looked {
            self.inner.started.set(true);
            self.settle().await;
        }
    }

    /// Lets rest what has no card any more.
    async fn settle(&self) {
        let now = self.inner.clock.now();
        let provisioning = &self.inner.provisioning;
        match provisioning.settle(|| self.present(), now).await {
            Ok(applied) => self.tell(applied).await,
            Err(error) => {
                tracing::error!(%error, "what a card gave could not be put to rest; tried again");
                let (again, wait) = (self.clone(), self.inner.retry);
                let again: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
                    sleep(wait).await;
                    again.settle().await;
                });
                spawn_local(again);
            }
        }
    }

    async fn tell(&self, applied: Applied) {
        if applied != Applied::default() {
            // The daemon stops: its next start finds what is stored.
            let _stopped = self.inner.tell.send(applied).await;
        }
    }
}

/// A reader's name, or the token of a module.
pub fn place_name(place: &Place) -> &str {
    match place {
        Place::Reader(name) => name,
        Place::Module { token, .. } => token,
    }
}

/// Whether the same card may be read a little later, without anybody doing anything.
fn is_passing(error: &ProvisioningError) -> bool {
    match error {
        ProvisioningError::Key(error) => matches!(
            error,
            KeyError::Pulled { .. }
                | KeyError::Mute { .. }
                | KeyError::Taken { .. }
                | KeyError::NoService { .. }
                | KeyError::Process { .. }
                | KeyError::Busy
        ),
        ProvisioningError::Store(_) | ProvisioningError::Account(_) => true,
        ProvisioningError::Bootstrap(_)
        | ProvisioningError::NoCredential { .. }
        | ProvisioningError::NoCard { .. }
        | ProvisioningError::NoRandomness => false,
    }
}
