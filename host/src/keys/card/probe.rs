//! For tests and fuzzers: the parsers of what cards say, and cards themselves, without the process around them.

use std::time::{Duration, Instant};

use super::apdu::{Card, Link};
use super::error::CardError;
use super::pin::Pins;
use crate::keys::{CardId, Contents, KeyError, Pin, Reader, Scheme, Setup};

/// Parses bytes as elements of BER-TLV, depth first; how many there were.
pub fn tlv(bytes: &[u8]) -> usize {
    fn walk(reader: super::tlv::Reader<'_>) -> Result<usize, super::tlv::TlvError> {
        let mut reader = reader;
        let mut count = 0;
        while let Some(element) = reader.next_in_file()? {
            count += 1;
            // What is no element inside is a value.
            if element.tag & 0x20 != 0 {
                count += element.inner().and_then(walk).unwrap_or(0);
            }
        }
        Ok(count)
    }
    let budget = super::tlv::Budget::new();
    walk(super::tlv::Reader::new(bytes, &budget)).unwrap_or(0)
}

/// Parses bytes as each of the directory files of PKCS#15; how many objects they hold.
pub fn directories(bytes: &[u8]) -> usize {
    super::pkcs15::parse_all(bytes)
}

/// Parses bytes as a certificate, as far as its public key; whether it has one that is of use.
pub fn certificate(bytes: &[u8]) -> bool {
    super::sign::PublicKey::of_certificate(bytes).is_ok()
}

/// Reads a card that gives these answers, whatever it is asked; and how many commands that took.
pub fn card(
    answers: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> (Result<Contents, KeyError>, u32) {
    struct Script<'a>(&'a mut dyn FnMut(&[u8]) -> Option<Vec<u8>>);
    impl Link for Script<'_> {
        fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, CardError> {
            let answer = (self.0)(command).ok_or(CardError::Lost)?;
            match answer.len() {
                0..=258 => Ok(answer),
                _ => Err(CardError::Malformed(
                    "an answer of more than 258 bytes".into(),
                )),
            }
        }
    }
    let mut script = Script(answers);
    let mut card = Card::new(&mut script);
    let contents = super::open(&mut card)
        .and_then(|mut application| application.contents(&mut card, &Pins::new(Vec::new())));
    (
        contents.map_err(|error| error.at("a script")),
        card.effort().apdus,
    )
}

/// [`super::Cards`], for tests against a real pcscd.
pub struct Cards(super::Cards);

impl Cards {
    /// Watches readers.
    pub fn start(setup: &Setup, changed: impl Fn(Vec<Reader>) + Send + 'static) -> Self {
        Self(super::Cards::start(setup, changed))
    }

    /// Reads what a card holds.
    pub async fn read(&self, reader: &str, within: Duration) -> Result<Contents, KeyError> {
        self.0.read(reader, Instant::now() + within).await
    }

    /// Signs a message.
    pub async fn sign(
        &self,
        card: &CardId,
        key: &str,
        scheme: Scheme,
        message: &[u8],
        within: Duration,
    ) -> Result<Vec<u8>, KeyError> {
        let deadline = Instant::now() + within;
        self.0.sign(card, key, scheme, message, deadline).await
    }

    /// The public key, SubjectPublicKeyInfo in DER.
    pub async fn public_key(
        &self,
        card: &CardId,
        key: &str,
        within: Duration,
    ) -> Result<Vec<u8>, KeyError> {
        self.0.public_key(card, key, Instant::now() + within).await
    }

    /// Gives a PIN.
    pub async fn unlock(&self, card: &CardId, pin: &Pin, within: Duration) -> Result<(), KeyError> {
        self.0.unlock(card, pin, Instant::now() + within).await
    }
}
