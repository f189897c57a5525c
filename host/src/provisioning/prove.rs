//! Which private keys a card has proved to hold.

use std::collections::BTreeMap;

use crate::certificates::fingerprint;
use crate::keys::KeyRef;

/// Keys that are asked to sign. Stops a card with hundreds of keys, each a second of its time.
pub const MAX_KEYS: usize = 8;

/// What the keys of a card have proved, by the SHA-256 of certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proofs {
    proven: BTreeMap<String, KeyRef>,
    failed: BTreeMap<String, String>,
}

impl Proofs {
    /// A key has signed a fresh challenge, and this certificate (DER) verifies it.
    pub fn add(&mut self, certificate: &[u8], key: KeyRef) {
        self.proven.insert(fingerprint(certificate), key);
    }

    /// The key that goes with this certificate (DER) has not.
    pub fn fail(&mut self, certificate: &[u8], reason: String) {
        self.failed.insert(fingerprint(certificate), reason);
    }

    /// The key of a certificate (DER), or why it counts as not held.
    pub fn of(&self, certificate: &[u8]) -> Result<&KeyRef, &str> {
        let fingerprint = fingerprint(certificate);
        self.proven.get(&fingerprint).ok_or_else(|| {
            self.failed
                .get(&fingerprint)
                .map_or("no private key on the card belongs to it", String::as_str)
        })
    }
}
