//! Which readers there are, and what is in them. One thread waits for PC/SC to say so; it never speaks to a card, since
//! that may block. When pcscd goes, every handle of it is dead, whatever it says of itself: all begins anew.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pcsc::{Context, PNP_NOTIFICATION, ReaderState as PcscState, Scope, State};

use super::error::CardError;
use super::hex;
use super::pin::Pins;
use super::reader::{Call, Owner};
use crate::keys::{CardId, Place, Reader, ReaderState};

/// Between two tries to reach pcscd: the first, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Between two looks at a reader that another program has for itself: PC/SC does not tell when that ends.
const TAKEN_WAIT: Duration = Duration::from_secs(1);
/// Readers that are looked at. Stops a hub that is full of them.
const READERS: usize = 16;

type Changed = Box<dyn Fn(Vec<Reader>) + Send>;

/// What the watcher and those who use cards share.
pub(super) struct Readers {
    table: Mutex<Table>,
    /// Wakes the watcher from its wait for pcscd.
    stopped: Condvar,
    pub(super) pins: Pins,
    pub(super) apdu: Duration,
}

struct Table {
    /// Why there is nothing, if so.
    service: Result<(), String>,
    slots: BTreeMap<String, Slot>,
    /// Ever more, so that no reader's number comes twice.
    changes: u32,
    changed: Changed,
    published: Vec<Reader>,
    is_stopped: bool,
    context: Option<Context>,
}

struct Slot {
    name: CString,
    state: ReaderState,
    /// PC/SC's count of insertions and removals.
    events: u32,
    changes: u32,
    owner: Option<Arc<Owner>>,
    /// The card that was found in it.
    card: Option<CardId>,
}

impl Readers {
    pub(super) fn new(
        pins: Pins,
        apdu: Duration,
        changed: impl Fn(Vec<Reader>) + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::new(Table {
                service: Err("smart cards are not watched".into()),
                slots: BTreeMap::new(),
                changes: 0,
                changed: Box::new(changed),
                published: Vec::new(),
                is_stopped: false,
                context: None,
            }),
            stopped: Condvar::new(),
            pins,
            apdu,
        })
    }

    /// Starts the watcher.
    pub(super) fn watch(self: &Arc<Self>) {
        let readers = Arc::clone(self);
        let thread = std::thread::Builder::new().name("readers".into());
        if let Err(error) = thread.spawn(move || readers.look()) {
            self.table().service = Err(format!("no thread: {error}"));
        }
    }

    /// Ends the watcher.
    pub(super) fn stop(&self) {
        let mut table = self.table();
        table.is_stopped = true;
        if let Some(context) = &table.context {
            let _ = context.cancel();
        }
        self.stopped.notify_all();
    }

    /// The thread of a reader with a card in it.
    pub(super) fn owner(
        self: &Arc<Self>,
        reader: &str,
    ) -> Result<Arc<Owner>, crate::keys::KeyError> {
        let gone = || crate::keys::KeyError::Gone {
            what: format!("a card in {reader}"),
        };
        let mut table = self.table();
        let service = table.service.clone();
        service.map_err(|reason| CardError::NoService(reason).at(reader))?;
        let slot = table.slots.get_mut(reader).ok_or_else(gone)?;
        match slot.shown() {
            ReaderState::Empty => return Err(gone()),
            ReaderState::Mute => return Err(CardError::Mute.at(reader)),
            _ => {}
        }
        if let Some(owner) = &slot.owner {
            return match owner.abandoned() {
                None => Ok(Arc::clone(owner)),
                Some(call) => Err(call.error().at(reader)),
            };
        }
        let readers = Arc::downgrade(self);
        let freed = move || {
            if let Some(readers) = readers.upgrade() {
                readers.table().forget_abandoned();
            }
        };
        let owner = Owner::start(slot.name.clone(), self.apdu, freed);
        let owner = Arc::new(owner.map_err(|error| error.at(reader))?);
        slot.owner = Some(Arc::clone(&owner));
        Ok(owner)
    }

    /// Tells the host, if something is different: a thread may have been abandoned.
    pub(super) fn publish(&self) {
        self.table().publish();
    }

    /// Readers in which this card may be: those where it was found, then those nobody has looked at.
    pub(super) fn candidates(&self, card: &CardId) -> Result<Vec<String>, CardError> {
        let table = self.table();
        table.service.clone().map_err(CardError::NoService)?;
        let with = |wanted: Option<&CardId>| {
            let slots = table.slots.iter();
            let there = slots.filter(|(_, slot)| slot.state != ReaderState::Empty);
            let chosen = there.filter(move |(_, slot)| slot.card.as_ref() == wanted);
            chosen.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        Ok([with(Some(card)), with(None)].concat())
    }

    /// A card was found in a reader that had changed so many times then.
    pub(super) fn found(&self, reader: &str, changes: u32, card: &CardId) {
        let mut table = self.table();
        if let Some(slot) = table.slots.get_mut(reader)
            && slot.changes == changes
        {
            slot.card = Some(card.clone());
        }
    }

    /// Another program has a reader for itself.
    pub(super) fn is_taken(&self, reader: &str) {
        let mut table = self.table();
        if let Some(slot) = table.slots.get_mut(reader) {
            slot.state = ReaderState::Taken;
        }
        table.publish();
        if let Some(context) = &table.context {
            let _ = context.cancel();
        }
    }

    /// Whether this card was found in a reader.
    pub(super) fn holds(&self, reader: &str, card: &CardId) -> bool {
        let table = self.table();
        let slot = table.slots.get(reader);
        slot.is_some_and(|slot| slot.card.as_ref() == Some(card))
    }

    /// How often a reader has changed.
    pub(super) fn changes(&self, reader: &str) -> u32 {
        let table = self.table();
        table.slots.get(reader).map_or(0, |slot| slot.changes)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watcher.
    fn look(&self) {
        let mut wait = FIRST_WAIT;
        loop {
            let error = match Context::establish(Scope::User) {
                Ok(context) => {
                    self.table().context = Some(context.clone());
                    let error = self.look_through(&context, &mut wait);
                    self.table().context = None;
                    error
                }
                Err(error) => error,
            };
            let mut table = self.table();
            table.service = Err(error.to_string());
            let lost = std::mem::take(&mut table.slots);
            table.publish();
            for card in lost.values().filter_map(|slot| slot.card.as_ref()) {
                self.pins.forget(card);
            }
            if table.is_stopped {
                return;
            }
            let waited = self.stopped.wait_timeout(table, wait);
            let (table, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if table.is_stopped {
                return;
            }
            wait = LONGEST_WAIT.min(wait * 2);
        }
    }

    /// Looks until PC/SC fails, and says how.
    fn look_through(&self, context: &Context, wait: &mut Duration) -> pcsc::Error {
        let mut states = vec![PcscState::new(PNP_NOTIFICATION(), State::UNAWARE)];
        let mut is_news = false;
        loop {
            let names = match context.list_readers_owned() {
                Ok(names) => names,
                Err(pcsc::Error::NoReadersAvailable) => Vec::new(),
                Err(error) => return error,
            };
            *wait = FIRST_WAIT;
            states.truncate(READERS + 1);
            states.retain(|s| {
                s.name() == PNP_NOTIFICATION() || names.iter().any(|name| **name == *s.name())
            });
            for name in names.into_iter().take(READERS) {
                if !states.iter().any(|state| *state.name() == *name) {
                    states.push(PcscState::new(name, State::UNAWARE));
                }
            }
            self.take(&states, is_news);
            let taken = self.table().taken();
            let timeout = (!taken.is_empty()).then_some(TAKEN_WAIT);
            let result = context.get_status_change(timeout, &mut states);
            is_news = result.is_ok();
            match result {
                Ok(()) => states.iter_mut().for_each(PcscState::sync_current_state),
                Err(pcsc::Error::Timeout) => {
                    states.retain(|state| !taken.iter().any(|name| **name == *state.name()));
                }
                // Woken, because a reader has turned out to be taken.
                Err(pcsc::Error::Cancelled) if !self.table().is_stopped => {}
                Err(error) => return error,
            }
            if self.table().is_stopped {
                return pcsc::Error::Cancelled;
            }
        }
    }

    /// Takes over which readers there are and, if PC/SC has just said so, what is in those that have changed.
    fn take(&self, states: &[PcscState], is_news: bool) {
        let mut table = self.table();
        table.service = Ok(());
        let known: Vec<String> = table.slots.keys().cloned().collect();
        for name in known {
            if !states
                .iter()
                .any(|state| state.name().to_string_lossy() == name)
            {
                table.gone(&name, &self.pins);
                table.slots.remove(&name);
            }
        }
        for state in states {
            let has_changed = state.event_state().contains(State::CHANGED);
            if is_news && has_changed && state.name() != PNP_NOTIFICATION() {
                table.update(state, &self.pins);
            }
        }
        table.publish();
    }
}

impl Slot {
    /// As the host is told.
    fn shown(&self) -> ReaderState {
        match &self.owner {
            None => self.state.clone(),
            Some(owner) => match owner.abandoned() {
                None => self.state.clone(),
                Some(Call::Connect) => ReaderState::Taken,
                Some(_) => ReaderState::Wedged,
            },
        }
    }
}

impl Table {
    fn update(&mut self, state: &PcscState, pins: &Pins) {
        let flags = state.event_state();
        let seen = if flags.contains(State::MUTE) {
            ReaderState::Mute
        } else if flags.contains(State::EXCLUSIVE) {
            ReaderState::Taken
        } else if flags.contains(State::PRESENT) {
            ReaderState::Card(hex(state.atr()))
        } else {
            ReaderState::Empty
        };
        let name = state.name().to_string_lossy().into_owned();
        let events = state.event_count();
        match self.slots.get_mut(&name) {
            Some(slot)
                if slot.events == events && slot.is_empty() == (seen == ReaderState::Empty) =>
            {
                slot.state = seen;
            }
            Some(_) => {
                self.gone(&name, pins);
                let changes = self.next_change();
                if let Some(slot) = self.slots.get_mut(&name) {
                    (slot.state, slot.events, slot.changes) = (seen, events, changes);
                }
            }
            None => {
                let slot = Slot {
                    name: state.name().to_owned(),
                    state: seen,
                    events,
                    changes: self.next_change(),
                    owner: None,
                    card: None,
                };
                self.slots.insert(name, slot);
            }
        }
    }

    fn next_change(&mut self) -> u32 {
        self.changes = self.changes.wrapping_add(1);
        self.changes
    }

    /// Readers that another program has for itself.
    fn taken(&self) -> Vec<CString> {
        let slots = self.slots.values();
        let taken = slots.filter(|slot| slot.state == ReaderState::Taken);
        taken.map(|slot| slot.name.clone()).collect()
    }

    /// Whatever was in a reader is not any more: its PIN is forgotten, and a thread that waits for it too.
    fn gone(&mut self, reader: &str, pins: &Pins) {
        if let Some(slot) = self.slots.get_mut(reader) {
            if let Some(card) = slot.card.take() {
                pins.forget(&card);
            }
            slot.owner = None;
        }
    }

    /// A thread has come back after all.
    fn forget_abandoned(&mut self) {
        for slot in self.slots.values_mut() {
            if slot
                .owner
                .as_ref()
                .is_some_and(|owner| owner.abandoned().is_some())
            {
                slot.owner = None;
            }
        }
        self.publish();
    }

    fn publish(&mut self) {
        let slots = self.slots.iter();
        let readers: Vec<Reader> = slots
            .map(|(name, slot)| Reader {
                place: Place::Reader(name.clone()),
                state: slot.shown(),
                changes: slot.changes,
            })
            .collect();
        if readers != self.published {
            self.published.clone_from(&readers);
            (self.changed)(readers);
        }
    }
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.state == ReaderState::Empty
    }
}
