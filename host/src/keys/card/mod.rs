//! Smart cards through PC/SC.
//!
//! ```text
//!  Cards ─ask─▶ reader    a thread a reader: connect, transaction, work, reset; deadlines for each APDU and for the job
//!    │            └─ apdu ─ files ─ pkcs15/ | piv     what is on the card; tlv, pin, sign
//!    └────────▶ watch     one thread: which readers there are, and what is in them
//! ```
//!
//! What a card says is bounded before it is parsed. A job sees one card from its beginning to its end, or fails.

mod apdu;
mod error;
mod files;
mod pin;
mod piv;
mod pkcs15;
#[doc(hidden)]
pub mod probe;
mod reader;
mod sign;
mod tlv;
mod watch;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CardId, Contents, KeyError, Pin, Reader, Scheme, Setup};
use apdu::Card;
use error::CardError;
use pin::Pins;
use reader::Session;
use watch::Readers;

/// How much earlier than it has to an answer comes.
const MARGIN: Duration = Duration::from_millis(100);

/// A card's application for certificates and keys.
trait Application: Send {
    /// Who the card says it is.
    fn id(&self) -> &CardId;

    /// Selects it again in a new session; `false`: this is another card, or it has changed.
    fn resume(&mut self, card: &mut Card<'_>) -> Result<bool, CardError>;

    /// Everything that has to do with certificates.
    fn contents(&mut self, card: &mut Card<'_>, pins: &Pins) -> Result<Contents, CardError>;

    /// Signs a message that is not hashed yet.
    fn sign(
        &mut self,
        card: &mut Card<'_>,
        pins: &Pins,
        key: &str,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, CardError>;

    /// SubjectPublicKeyInfo of a key, DER.
    fn public_key(
        &mut self,
        card: &mut Card<'_>,
        pins: &Pins,
        key: &str,
    ) -> Result<Vec<u8>, CardError>;

    /// Verifies a PIN that a person has given.
    fn unlock(&mut self, card: &mut Card<'_>, pins: &Pins, pin: &Pin) -> Result<(), CardError>;
}

/// Finds what a card has.
fn open(card: &mut Card<'_>) -> Result<Box<dyn Application>, CardError> {
    if let Some(token) = pkcs15::Token::open(card)? {
        return Ok(Box::new(token));
    }
    card.close_channel()?;
    if let Some(piv) = piv::Piv::open(card)? {
        return Ok(Box::new(piv));
    }
    Err(CardError::NoApplication)
}

/// All cards in all readers.
pub(super) struct Cards(Arc<Readers>);

impl Cards {
    /// Watches readers if the setup says so, and tells `changed` of all of them whenever something is different.
    pub(super) fn start(setup: &Setup, changed: impl Fn(Vec<Reader>) + Send + 'static) -> Self {
        let apdu = Duration::from_millis(setup.apdu_ms.into());
        let readers = Readers::new(Pins::new(setup.pins.clone()), apdu, changed);
        if setup.watch {
            readers.watch();
        }
        Self(readers)
    }

    /// Everything on the card in a reader.
    pub(super) async fn read(&self, reader: &str, deadline: Instant) -> Result<Contents, KeyError> {
        let contents = self.with(reader, deadline, None, |application, card, pins| {
            application.contents(card, pins)
        });
        contents.await
    }

    /// Signs a message with a key of a card, wherever that is.
    pub(super) async fn sign(
        &self,
        card: &CardId,
        key: &str,
        scheme: Scheme,
        message: &[u8],
        deadline: Instant,
    ) -> Result<Vec<u8>, KeyError> {
        let (key, message) = (key.to_owned(), message.to_vec());
        let sign = move |application: &mut dyn Application, card: &mut Card<'_>, pins: &Pins| {
            application.sign(card, pins, &key, scheme, &message)
        };
        self.with_card(card, deadline, sign).await
    }

    /// SubjectPublicKeyInfo of a key, DER.
    pub(super) async fn public_key(
        &self,
        card: &CardId,
        key: &str,
        deadline: Instant,
    ) -> Result<Vec<u8>, KeyError> {
        let key = key.to_owned();
        let ask = move |application: &mut dyn Application, card: &mut Card<'_>, pins: &Pins| {
            application.public_key(card, pins, &key)
        };
        self.with_card(card, deadline, ask).await
    }

    /// Verifies a PIN that a person has given, and keeps it until the card goes.
    pub(super) async fn unlock(
        &self,
        card: &CardId,
        pin: &Pin,
        deadline: Instant,
    ) -> Result<(), KeyError> {
        let pin = pin.clone();
        let unlock = move |application: &mut dyn Application, card: &mut Card<'_>, pins: &Pins| {
            application.unlock(card, pins, &pin)
        };
        self.with_card(card, deadline, unlock).await
    }

    /// Works with a card in whichever reader it is.
    async fn with_card<T: Send + 'static>(
        &self,
        card: &CardId,
        deadline: Instant,
        work: impl FnOnce(&mut dyn Application, &mut Card<'_>, &Pins) -> Result<T, CardError>
        + Clone
        + Send
        + 'static,
    ) -> Result<T, KeyError> {
        let gone = || KeyError::Gone {
            what: format!("card {}", card.serial),
        };
        let candidates = self.0.candidates(card);
        let mut error = gone();
        for reader in candidates.map_err(|error| error.at(""))? {
            let wanted = Some(card.clone());
            match self.with(&reader, deadline, wanted, work.clone()).await {
                // Another card; or one that is no use to us, which says nothing about the one that is wanted.
                Err(KeyError::Gone { .. } | KeyError::NoApplication { .. }) => {}
                Err(other) if self.0.holds(&reader, card) => return Err(other),
                Err(other) => error = other,
                Ok(done) => return Ok(done),
            }
        }
        Err(error)
    }

    /// Works with the card in a reader, which must be the wanted one.
    async fn with<T: Send + 'static>(
        &self,
        reader: &str,
        deadline: Instant,
        wanted: Option<CardId>,
        work: impl FnOnce(&mut dyn Application, &mut Card<'_>, &Pins) -> Result<T, CardError>
        + Send
        + 'static,
    ) -> Result<T, KeyError> {
        // Who asks is told before his own clock runs out.
        let deadline = deadline.checked_sub(MARGIN).unwrap_or(deadline);
        let owner = self.0.owner(reader)?;
        let changes = self.0.changes(reader);
        let (readers, name) = (Arc::clone(&self.0), reader.to_owned());
        let job = move |session: Session<'_, '_>| {
            let Session { card, known } = session;
            let application = application(card, known)?;
            readers.found(&name, changes, application.id());
            if wanted.is_some_and(|wanted| wanted != *application.id()) {
                return Ok(None);
            }
            work(application, card, &readers.pins).map(Some)
        };
        let result = owner.run(deadline, job).await;
        match &result {
            _ if owner.abandoned().is_some() => self.0.publish(),
            Err(CardError::Taken) => self.0.is_taken(reader),
            _ => {}
        }
        let gone = || KeyError::Gone {
            what: format!("the card that was in {reader}"),
        };
        result.map_err(|error| error.at(reader))?.ok_or_else(gone)
    }
}

impl Drop for Cards {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The application on the card: the one of the last job if this is the same card.
fn application<'k>(
    card: &mut Card<'_>,
    known: &'k mut Option<Box<dyn Application>>,
) -> Result<&'k mut dyn Application, CardError> {
    let mut kept = known.take();
    if let Some(application) = &mut kept
        && !application.resume(card)?
    {
        kept = None;
        card.close_channel()?;
    }
    let application = match kept {
        Some(application) => application,
        None => open(card)?,
    };
    Ok(known.insert(application).as_mut())
}

/// Capital hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02X}");
    }
    text
}

#[cfg(test)]
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
