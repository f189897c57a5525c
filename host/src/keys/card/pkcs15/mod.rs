//! PKCS#15 (v1.1, ISO/IEC 7816-15): an application with directories of certificates, keys, PINs and data.
//!
//! ```text
//! application, by identifier or EF.DIR (dir)
//! ├─ EF(TokenInfo)  token_info     who it is; UICCs have EF(ICCID) for that
//! └─ EF(ODF)        odf            which directories there are
//!    ├─ CDF         certificates   trusted, own, useful
//!    ├─ PrKDF       private_keys
//!    ├─ AODF        pins
//!    └─ DODF        data_objects   what OMA has defined
//! ```

mod certificates;
mod data_objects;
mod dir;
mod object;
mod odf;
mod pins;
mod private_keys;
mod reading;
mod signing;
mod token_info;

use super::apdu::{Card, Status};
use super::error::CardError;
use super::files::{Application, Files, Path, select_application};
use super::hex;
use super::pin::{Pins, Slot};
use super::sign::PublicKey;
use crate::keys::{CardId, CardKind, Contents, Pin, PinState, Scheme};
use object::Notes;
use private_keys::Algorithm;

/// Identifiers of the application: PKCS#15's, and that of ISO/IEC 7816-15.
const AIDS: [&[u8]; 2] = [
    b"\xA0\x00\x00\x00\x63PKCS-15",
    &[0xE8, 0x28, 0xBD, 0x08, 0x0F],
];

const EF_DIR: u16 = 0x2F00;
const EF_ICCID: u16 = 0x2FE2;
const EF_ODF: u16 = 0x5031;
const EF_TOKEN_INFO: u16 = 0x5032;

/// A directory file, bytes. Stops a card that is one endless list.
const DIRECTORY_BYTES: usize = 16 << 10;
/// A certificate, bytes. Real ones have 1 to 4 KiB.
const CERTIFICATE_BYTES: usize = 16 << 10;
/// A data object, bytes (LwM2M appendix G: at most 32 KB).
const OBJECT_BYTES: usize = 32 << 10;
/// All that is read from one card, bytes. Stops a card whose every object is as large as may be.
const CARD_BYTES: usize = 256 << 10;

/// A card with this application.
#[derive(Debug)]
pub(super) struct Token {
    id: CardId,
    label: String,
    files: Files,
    /// What was found when it was read.
    keys: Option<Vec<Key>>,
    pins: Vec<pins::Entry>,
}

/// A private key that can sign, with what its certificate says about it.
#[derive(Clone, Debug)]
struct Key {
    id: String,
    label: String,
    public: PublicKey,
    /// The PIN that guards it.
    slot: Option<Slot>,
    pin: PinState,
    reference: Option<u8>,
    path: Option<Path>,
}

impl Token {
    /// Opens the application, where the card has it.
    pub(super) fn open(card: &mut Card<'_>) -> Result<Option<Self>, CardError> {
        card.open_channel()?;
        let iccid = read_iccid(card)?;
        let Some(application) = find(card)? else {
            return Ok(None);
        };
        let mut files = Files::new(application);
        let info = read_token_info(card, &mut files)?;
        let serial = iccid.unwrap_or(info.serial);
        if serial.is_empty() {
            let problem = "it has no serial number".to_owned();
            return Err(CardError::Malformed(problem));
        }
        let kind = CardKind::Pkcs15;
        Ok(Some(Self {
            id: CardId { kind, serial },
            label: info.label,
            files,
            keys: None,
            pins: Vec::new(),
        }))
    }
}

impl super::Application for Token {
    fn id(&self) -> &CardId {
        &self.id
    }

    fn resume(&mut self, card: &mut Card<'_>) -> Result<bool, CardError> {
        card.open_channel()?;
        let iccid = read_iccid(card)?;
        match self.files.enter(card) {
            Ok(()) => {}
            Err(CardError::Refused { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        let serial = match iccid {
            Some(iccid) => iccid,
            None => read_token_info(card, &mut self.files)?.serial,
        };
        Ok(serial == self.id.serial)
    }

    fn contents(&mut self, card: &mut Card<'_>, pins: &Pins) -> Result<Contents, CardError> {
        self.read(card, pins)
    }

    fn sign(
        &mut self,
        card: &mut Card<'_>,
        pins: &Pins,
        key: &str,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, CardError> {
        let key = self.key(card, pins, key)?;
        self.sign_with(card, pins, &key, scheme, message)
    }

    fn public_key(
        &mut self,
        card: &mut Card<'_>,
        pins: &Pins,
        key: &str,
    ) -> Result<Vec<u8>, CardError> {
        Ok(self.key(card, pins, key)?.public.spki)
    }

    fn unlock(&mut self, card: &mut Card<'_>, pins: &Pins, pin: &Pin) -> Result<(), CardError> {
        self.know_keys(card, pins)?;
        self.files.stay_inside(card)?;
        let guards_a_key = self.keys.iter().flatten().find_map(|key| key.slot.clone());
        let first = || self.pins.first().map(|entry| entry.slot.clone());
        let slot = guards_a_key.or_else(first);
        let no_pin = || CardError::Malformed("it has no PIN".into());
        pins.unlock(card, &self.id, &slot.ok_or_else(no_pin)?, pin)
    }
}

impl Token {
    fn know_keys(&mut self, card: &mut Card<'_>, pins: &Pins) -> Result<(), CardError> {
        if self.keys.is_none() {
            self.read(card, pins)?;
        }
        Ok(())
    }

    fn key(&mut self, card: &mut Card<'_>, pins: &Pins, id: &str) -> Result<Key, CardError> {
        self.know_keys(card, pins)?;
        let mut keys = self.keys.iter().flatten();
        let key = keys.find(|key| key.id.eq_ignore_ascii_case(id));
        key.cloned().ok_or_else(|| CardError::NoKey(id.to_owned()))
    }
}

/// The application by its identifier, else as EF.DIR says; on the channel of our own, else on the basic one.
fn find(card: &mut Card<'_>) -> Result<Option<Application>, CardError> {
    loop {
        for aid in AIDS {
            if select_application(card, aid)?.status == Status::Success {
                return Ok(Some(Application {
                    aid: Some(aid.to_vec()),
                    path: Path::application(),
                }));
            }
        }
        if !card.has_channel() {
            break;
        }
        card.close_channel()?;
    }
    let Some(entry) = read_dir(card)? else {
        return Ok(None);
    };
    if select_application(card, &entry.aid)?.status == Status::Success {
        return Ok(Some(Application {
            aid: Some(entry.aid),
            path: Path::application(),
        }));
    }
    let path = entry
        .path
        .and_then(|path| Path::new(&path, &Path::master()));
    let Some(path) = path else {
        return Ok(None);
    };
    let application = Application { aid: None, path };
    match Files::new(application.clone()).enter(card) {
        Ok(()) => Ok(Some(application)),
        Err(CardError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_dir(card: &mut Card<'_>) -> Result<Option<dir::Entry>, CardError> {
    let Some(file) = read_below_master(card, EF_DIR, DIRECTORY_BYTES)? else {
        return Ok(None);
    };
    dir::parse(&file).map_err(|error| CardError::Malformed(format!("EF.DIR: {error}")))
}

/// EF(ICCID) (ETSI TS 102 221 §13.2): twenty digits, each pair turned round. Only UICCs have it, and those have channels.
fn read_iccid(card: &mut Card<'_>) -> Result<Option<String>, CardError> {
    if !card.has_channel() {
        return Ok(None);
    }
    let Some(file) = read_below_master(card, EF_ICCID, 32)? else {
        return Ok(None);
    };
    let turned: Vec<u8> = file.iter().map(|byte| byte.rotate_left(4)).collect();
    let digits = hex(&turned);
    let digits = digits.trim_end_matches('F');
    let valid = (12..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    Ok(valid.then(|| digits.to_owned()))
}

/// A file that a card need not have.
fn read_below_master(
    card: &mut Card<'_>,
    file: u16,
    limit: usize,
) -> Result<Option<Vec<u8>>, CardError> {
    let master = Application {
        aid: None,
        path: Path::master(),
    };
    let path = Path::below_master(file);
    match Files::new(master).read(card, &path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(CardError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_token_info(
    card: &mut Card<'_>,
    files: &mut Files,
) -> Result<token_info::TokenInfo, CardError> {
    let path = files.path().child(EF_TOKEN_INFO);
    match files.read(card, &path, DIRECTORY_BYTES) {
        Ok(file) => token_info::parse(&file)
            .map_err(|error| CardError::Malformed(format!("EF(TokenInfo): {error}"))),
        // UICCs with nothing but a bootstrap do without.
        Err(CardError::Refused { .. }) => Ok(token_info::TokenInfo {
            serial: String::new(),
            label: String::new(),
        }),
        Err(error) => Err(error),
    }
}

/// Parses bytes as each of the files there are; how many objects they hold.
pub(super) fn parse_all(bytes: &[u8]) -> usize {
    let budget = super::tlv::Budget::new();
    let path = Path::application();
    let mut notes = Notes::default();
    let odf = path.child(EF_ODF);
    let count = [
        odf::parse(odf::unwrap(bytes, &budget), &path, &odf, &mut notes)
            .map_or(0, |found| found.len()),
        certificates::parse(bytes, &budget, &path, &mut notes).map_or(0, |found| found.len()),
        private_keys::parse(bytes, &path, &mut notes).map_or(0, |found| found.len()),
        pins::parse(bytes, &mut notes).map_or(0, |found| found.len()),
        data_objects::parse(bytes, &budget, &path, &mut notes).map_or(0, |found| found.len()),
        usize::from(token_info::parse(bytes).is_ok()),
        usize::from(matches!(dir::parse(bytes), Ok(Some(_)))),
    ];
    count.iter().sum()
}
