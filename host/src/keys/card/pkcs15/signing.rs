//! Signing with a key on a card of PKCS#15 (ISO/IEC 7816-8 §11.2, §11.7): the PIN, MANAGE SECURITY ENVIRONMENT, PERFORM
//! SECURITY OPERATION; all in one transaction.

use super::{Key, Token};
use crate::keys::card::apdu::{Card, Command, Status};
use crate::keys::card::error::{CardError, PinProblem};
use crate::keys::card::pin::Pins;
use crate::keys::card::sign;
use crate::keys::{KeyKind, Scheme};

const MANAGE_SECURITY_ENVIRONMENT: u8 = 0x22;
const PERFORM_SECURITY_OPERATION: u8 = 0x2A;
const WHAT: &str = "signing";

impl Token {
    pub(super) fn sign_with(
        &mut self,
        card: &mut Card<'_>,
        pins: &Pins,
        key: &Key,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, CardError> {
        if key.public.kind != scheme.key_kind() {
            return Err(CardError::Scheme(scheme));
        }
        self.files.stay_inside(card)?;
        if let Some(slot) = &key.slot {
            pins.verify(card, &self.id, slot)?;
        }
        let refused = |status: Status| match status {
            Status::Denied => CardError::Pin {
                serial: self.id.serial.clone(),
                problem: PinProblem::Needed,
            },
            status => CardError::Refused { what: WHAT, status },
        };
        choose_key(card, key)?;
        let bits = key.public.bits;
        if key.public.kind != KeyKind::Rsa {
            let hash = sign::hash(scheme, message)?;
            let signature = perform(card, &hash)?.map_err(refused)?;
            return sign::ecdsa_der(&signature, bits);
        }
        let block = sign::rsa_block(scheme, bits, message)?;
        let signature = match perform(card, &block)? {
            // Some cards insist on padding PKCS#1 themselves, and cannot do PSS.
            Err(Status::Other(_)) => {
                let info = sign::digest_info(scheme, message)?;
                choose_key(card, key)?;
                perform(card, &info)?.map_err(refused)?
            }
            other => other.map_err(refused)?,
        };
        if signature.len() != bits.div_ceil(8) {
            let problem = format!("a signature of {} bytes", signature.len());
            return Err(CardError::Malformed(problem));
        }
        Ok(signature)
    }
}

/// Says which key signs. Cards that have only one may refuse: then they use that.
fn choose_key(card: &mut Card<'_>, key: &Key) -> Result<(), CardError> {
    // The control reference template of a digital signature: file, then key (ISO/IEC 7816-4 §10.3.5).
    let mut template = Vec::new();
    if let Some(path) = &key.path {
        template.extend([0x81, 2]);
        template.extend(path.file());
    }
    if let Some(reference) = key.reference {
        template.extend([0x84, 1, reference]);
    }
    let answer = card.send(Command {
        ins: MANAGE_SECURITY_ENVIRONMENT,
        p1: 0x41,
        p2: 0xB6,
        data: &template,
        le: None,
    })?;
    match answer.status {
        Status::NotFound => Err(CardError::NoKey(key.id.clone())),
        _ => Ok(()),
    }
}

fn perform(card: &mut Card<'_>, data: &[u8]) -> Result<Result<Vec<u8>, Status>, CardError> {
    let answer = card.send(Command {
        ins: PERFORM_SECURITY_OPERATION,
        p1: 0x9E,
        p2: 0x9A,
        data,
        le: Some(0),
    })?;
    Ok(match answer.status {
        Status::Success => Ok(answer.data),
        status => Err(status),
    })
}
