//! Who knows the PIN: a keeper's file, or a person who has entered it. A PIN that a card has refused is not tried again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use zeroize::Zeroizing;

use crate::keys::{Pin, PinKeeper};

/// Longest PIN, bytes. Stops a file that is none.
const MAX_PIN: u64 = 256;

/// The PINs of all cards.
pub(super) struct Pins {
    keepers: Vec<PinKeeper>,
    entered: BTreeMap<String, Pin>,
    /// From a keeper's file, and refused: that one is never tried again.
    refused: BTreeMap<String, Zeroizing<String>>,
}

impl Pins {
    pub(super) fn new(keepers: &[PinKeeper]) -> Self {
        Self {
            keepers: keepers.to_vec(),
            entered: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// The PIN of a card, if anybody knows it.
    pub(super) fn of(&self, serial: &str) -> Option<Pin> {
        if let Some(pin) = self.entered.get(serial) {
            return Some(pin.clone());
        }
        let named = |keeper: &&PinKeeper| {
            let named = keeper.serial.as_deref();
            named.is_some_and(|named| named.eq_ignore_ascii_case(serial))
        };
        let any = |keeper: &&PinKeeper| keeper.serial.is_none();
        let keeper = self
            .keepers
            .iter()
            .find(named)
            .or_else(|| self.keepers.iter().find(any))?;
        let pin = read(&keeper.file)?;
        let is_refused = self.refused.get(serial) == Some(&pin);
        (!is_refused).then(|| Pin::new(pin.to_string()))
    }

    /// A person has entered it, and the card has accepted it.
    pub(super) fn enter(&mut self, serial: &str, pin: &Pin) {
        self.entered.insert(serial.to_owned(), pin.clone());
        self.refused.remove(serial);
    }

    /// The card has refused what [`Pins::of`] gave.
    pub(super) fn refuse(&mut self, serial: &str, pin: &Pin) {
        self.entered.remove(serial);
        let pin = Zeroizing::new(pin.expose().to_owned());
        self.refused.insert(serial.to_owned(), pin);
    }

    /// The card has gone.
    pub(super) fn forget(&mut self, serial: &str) {
        self.entered.remove(serial);
    }
}

/// The PIN in a keeper's file; an unreadable file holds none.
fn read(file: &str) -> Option<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_PIN as usize));
    let file = File::open(file).ok()?;
    file.take(MAX_PIN).read_to_string(&mut text).ok()?;
    let pin = text.trim_end_matches(['\r', '\n']);
    (!pin.is_empty()).then(|| Zeroizing::new(pin.to_owned()))
}
