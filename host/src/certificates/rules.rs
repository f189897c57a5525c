//! By what a server's certificate is judged beyond its chain: revocation lists, pins, and the clock.

use std::collections::BTreeSet;

use rustls::pki_types::CertificateRevocationListDer;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::{CertificateError, Clock};

/// Bytes of the revocation lists of one authority, and so of each. Stops lists that fill memory at every start.
pub const MAX_CRL_BYTES: usize = 1 << 20;
/// Revocation lists of one authority.
const MAX_CRLS: usize = 16;
/// Pins of one authority.
const MAX_PINS: usize = 16;

/// The rules of one authority.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Its revocation lists, DER. As soon as there is one, no certificate below an anchor is believed that is not covered by one
    /// that holds: an authority that has published a list is judged by lists for ever.
    pub crls_der: Vec<Vec<u8>>,
    /// SHA-256 of the SubjectPublicKeyInfo of the server's own certificate; one must fit. Empty: any.
    ///
    /// choice: only that certificate is looked at, not its issuers: those are what the anchors say.
    pub pins: Vec<[u8; 32]>,
    /// What time it is.
    pub clock: Clock,
}

impl Rules {
    /// Refuses rules that cannot be kept, or would lock the device out.
    pub(super) fn check(&self) -> Result<(), CertificateError> {
        // choice: as RFC 7469 §4.3 wants for web servers: a lost key must not cost the device.
        let different = self.pins.iter().collect::<BTreeSet<_>>().len();
        if different == 1 || self.pins.len() > MAX_PINS {
            return Err(CertificateError::Pins {
                found: different,
                limit: MAX_PINS,
            });
        }
        let bytes: usize = self.crls_der.iter().map(Vec::len).sum();
        if bytes > MAX_CRL_BYTES || self.crls_der.len() > MAX_CRLS {
            return Err(CertificateError::CrlSize {
                bytes,
                limit: MAX_CRL_BYTES,
            });
        }
        for (index, der) in self.crls_der.iter().enumerate() {
            parse(der).map_err(|reason| CertificateError::Crl { index, reason })?;
        }
        Ok(())
    }

    pub(super) fn crls(&self) -> Vec<CertificateRevocationListDer<'static>> {
        let lists = self.crls_der.iter();
        lists.map(|der| der.clone().into()).collect()
    }
}

/// A revocation list of an authority that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crl {
    /// DER.
    pub der: Vec<u8>,
    /// Name of its issuer, DER.
    pub issuer: Vec<u8>,
    /// From when, Unix time in seconds.
    pub this_update: i64,
    /// Until when, Unix time in seconds.
    pub next_update: i64,
}

impl Crl {
    /// Reads a list without believing it.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let invalid = |reason: String| CertificateError::Crl { index: 0, reason };
        if der.len() > MAX_CRL_BYTES {
            return Err(CertificateError::CrlSize {
                bytes: der.len(),
                limit: MAX_CRL_BYTES,
            });
        }
        let list = parse(der).map_err(invalid)?;
        let next_update = list.next_update();
        Ok(Self {
            der: der.to_vec(),
            issuer: list.issuer().as_raw().to_vec(),
            this_update: list.last_update().timestamp(),
            next_update: next_update
                .ok_or_else(|| invalid("it does not say until when it holds".into()))?
                .timestamp(),
        })
    }

    /// Reads a list that must be signed by one of `issuers` (certificates of CAs, DER) and hold at `clock`'s time.
    pub fn verified(
        der: &[u8],
        issuers: &[&[u8]],
        clock: &Clock,
    ) -> Result<Self, CertificateError> {
        let read = Self::read(der)?;
        let invalid = |reason: &str| CertificateError::Crl {
            index: 0,
            reason: reason.into(),
        };
        let list = parse(der).map_err(|reason| invalid(&reason))?;
        let is_signed = issuers.iter().any(|issuer| {
            X509Certificate::from_der(issuer).is_ok_and(|(_, issuer)| {
                issuer.subject().as_raw() == read.issuer
                    && list.verify_signature(issuer.public_key()).is_ok()
            })
        });
        if !is_signed {
            return Err(invalid("no anchor of the authority has signed it"));
        }
        let now = i64::try_from(clock.now()).unwrap_or(i64::MAX);
        match (read.this_update..=read.next_update).contains(&now) {
            true => {
                clock.passed(read.this_update);
                Ok(read)
            }
            false => Err(invalid("it does not hold now")),
        }
    }
}

fn parse(der: &[u8]) -> Result<CertificateRevocationList<'_>, String> {
    match CertificateRevocationList::from_der(der) {
        Ok(([], list)) => Ok(list),
        Ok(_) => Err("something follows it".into()),
        Err(_) => Err("it is not a revocation list in DER".into()),
    }
}

#[cfg(test)]
mod tests;
