//! Which private keys a card has proved to hold: each signs a fresh challenge, and its certificates verify that.

use std::collections::BTreeMap;

use super::ProvisioningError;
use crate::certificates::{Part, challenge, fingerprint, lint, verifies};
use crate::keys::{Contents, FoundKey, KeyError, KeyKind, KeyRef, Keys, Scheme, Shelf};

/// Keys that are asked to sign. Stops a card with hundreds of keys, each a second of its time.
const MAX_KEYS: usize = 8;

/// What the keys of a card have proved, by the SHA-256 of certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proofs {
    proven: BTreeMap<String, KeyRef>,
    failed: BTreeMap<String, String>,
}

impl Proofs {
    /// Has the keys of a card sign, those that certificates of it belong to. An error that is the card's, and not a
    /// key's, leaves no proofs at all.
    pub async fn gather(
        keys: &Keys,
        contents: &Contents,
        now: u64,
    ) -> Result<Self, ProvisioningError> {
        let mut proofs = Self::default();
        let mut asked = 0;
        for key in &contents.keys {
            let certificates = contents.certificates.iter().filter(|found| {
                let is_for_it = found.id == key.id && found.shelf != Shelf::Trusted;
                is_for_it && lint(&found.der, Part::Identity, now).is_ok()
            });
            let certificates: Vec<&[u8]> = certificates.map(|found| found.der.as_slice()).collect();
            if certificates.is_empty() {
                continue;
            }
            asked += 1;
            let signed = match asked <= MAX_KEYS {
                true => signed(keys, key).await?,
                false => Err(format!("only the first {MAX_KEYS} keys of a card are used")),
            };
            for certificate in certificates {
                match &signed {
                    Ok(signed) if signed.is_by(certificate) => {
                        proofs.add(certificate, key.key.clone());
                    }
                    Ok(_) => proofs.fail(
                        certificate,
                        "the private key of this identifier belongs to another certificate".into(),
                    ),
                    Err(reason) => proofs.fail(certificate, reason.clone()),
                }
            }
        }
        Ok(proofs)
    }

    /// A key has signed a fresh challenge, and this certificate (DER) verifies it.
    pub(super) fn add(&mut self, certificate: &[u8], key: KeyRef) {
        self.proven.insert(fingerprint(certificate), key);
    }

    /// The key that goes with this certificate (DER) has not.
    pub(super) fn fail(&mut self, certificate: &[u8], reason: String) {
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

/// A challenge that was signed.
struct Signed {
    scheme: Scheme,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    fn is_by(&self, certificate: &[u8]) -> bool {
        verifies(certificate, self.scheme, &self.message, &self.signature)
    }
}

/// Has a key sign a challenge of its own. The inner error is the key's alone.
async fn signed(keys: &Keys, key: &FoundKey) -> Result<Result<Signed, String>, ProvisioningError> {
    let schemes: &[Scheme] = match key.kind {
        // What TLS 1.3 needs first; some cards pad by themselves and know the older one only.
        KeyKind::Rsa => &[Scheme::RsaPssSha256, Scheme::RsaPkcs1Sha256],
        KeyKind::EcP256 => &[Scheme::EcdsaP256Sha256],
        KeyKind::EcP384 => &[Scheme::EcdsaP384Sha384],
        KeyKind::Ed25519 => &[Scheme::Ed25519],
    };
    let mut why = "it signs by no scheme that is used here".to_owned();
    for scheme in schemes.iter().copied() {
        let message = challenge().ok_or(ProvisioningError::NoRandomness)?;
        match keys.sign(&key.key, scheme, &message).await {
            Ok(signature) => {
                return Ok(Ok(Signed {
                    scheme,
                    message,
                    signature,
                }));
            }
            Err(error @ KeyError::Scheme { .. }) => why = error.to_string(),
            Err(error) if is_the_cards(&error) => return Err(error.into()),
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    Ok(Err(why))
}

/// Whether an error says that the whole card could not be used.
fn is_the_cards(error: &KeyError) -> bool {
    matches!(
        error,
        KeyError::Gone { .. }
            | KeyError::Pulled { .. }
            | KeyError::Mute { .. }
            | KeyError::Taken { .. }
            | KeyError::NoService { .. }
            | KeyError::Process { .. }
            | KeyError::Busy
    )
}
