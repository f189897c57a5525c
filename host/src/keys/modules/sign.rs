//! Signing through PKCS#11: in which of a module's ways, and what it is then given.

use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

use crate::keys::{Scheme, padding};

/// One way to sign.
pub(super) struct Way {
    mechanism: Mechanism<'static>,
    /// What the module is given.
    data: Vec<u8>,
}

/// A key that asks for the PIN again before each signature (`CKA_ALWAYS_AUTHENTICATE`) is used piece by piece: cryptoki
/// has no place for a login in its call for all at once.
pub(super) enum Before<'a> {
    Nothing,
    Login(&'a AuthPin),
}

/// The ways that a token has for a scheme, best first. The best is the plainest, since most can do it; but by pieces, the
/// mechanisms that hash are those that everybody can.
pub(super) fn ways(
    scheme: Scheme,
    message: &[u8],
    modulus_bits: usize,
    offered: &[MechanismType],
    by_pieces: bool,
) -> Vec<Way> {
    let mut ways = Vec::new();
    let mut way = |mechanism, data: Option<Vec<u8>>| {
        if let (Some(mechanism), Some(data)) = (mechanism, data) {
            ways.push(Way { mechanism, data });
        }
    };
    let hashed = padding::digest(scheme, message);
    let block = || padding::rsa_block(scheme, message, modulus_bits);
    match scheme {
        Scheme::RsaPkcs1Sha256 | Scheme::RsaPkcs1Sha384 | Scheme::RsaPkcs1Sha512 => {
            way(
                Some(Mechanism::RsaPkcs),
                padding::digest_info(scheme, message),
            );
            way(hashing(scheme), Some(message.to_owned()));
            way(Some(Mechanism::RsaX509), block());
        }
        Scheme::RsaPssSha256 | Scheme::RsaPssSha384 | Scheme::RsaPssSha512 => {
            way(pss(scheme).map(Mechanism::RsaPkcsPss), hashed);
            way(hashing(scheme), Some(message.to_owned()));
            way(Some(Mechanism::RsaX509), block());
        }
        Scheme::EcdsaP256Sha256 | Scheme::EcdsaP384Sha384 => {
            way(Some(Mechanism::Ecdsa), hashed);
            way(hashing(scheme), Some(message.to_owned()));
        }
        Scheme::Ed25519 => {}
    }
    ways.retain(|way| offered.contains(&way.mechanism.mechanism_type()));
    if by_pieces {
        ways.sort_by_key(|way| way.data != message);
    }
    ways
}

/// The mechanism that hashes the message by itself.
fn hashing(scheme: Scheme) -> Option<Mechanism<'static>> {
    match scheme {
        Scheme::RsaPkcs1Sha256 => Some(Mechanism::Sha256RsaPkcs),
        Scheme::RsaPkcs1Sha384 => Some(Mechanism::Sha384RsaPkcs),
        Scheme::RsaPkcs1Sha512 => Some(Mechanism::Sha512RsaPkcs),
        Scheme::RsaPssSha256 => pss(scheme).map(Mechanism::Sha256RsaPkcsPss),
        Scheme::RsaPssSha384 => pss(scheme).map(Mechanism::Sha384RsaPkcsPss),
        Scheme::RsaPssSha512 => pss(scheme).map(Mechanism::Sha512RsaPkcsPss),
        Scheme::EcdsaP256Sha256 => Some(Mechanism::EcdsaSha256),
        Scheme::EcdsaP384Sha384 => Some(Mechanism::EcdsaSha384),
        Scheme::Ed25519 => None,
    }
}

/// The salt is as long as the hash (RFC 8446 §4.2.3).
fn pss(scheme: Scheme) -> Option<PkcsPssParams> {
    let (hash_alg, mgf, length) = match scheme {
        Scheme::RsaPssSha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32_u8),
        Scheme::RsaPssSha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48),
        Scheme::RsaPssSha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64),
        _ => return None,
    };
    Some(PkcsPssParams {
        hash_alg,
        mgf,
        s_len: u64::from(length).into(),
    })
}

/// Signs in one way, in a session of its own: what fails halfway is left behind with it.
pub(super) fn sign(
    session: &Session,
    key: ObjectHandle,
    way: &Way,
    before: &Before<'_>,
) -> Result<Vec<u8>, Error> {
    match before {
        Before::Nothing => session.sign(&way.mechanism, key, &way.data),
        Before::Login(pin) => {
            session.sign_init(&way.mechanism, key)?;
            session.login(UserType::ContextSpecific, Some(pin))?;
            session.sign_update(&way.data)?;
            session.sign_final()
        }
    }
}

/// Whether another way may succeed where this one failed: modules list what they cannot do with every key.
pub(super) fn is_of_the_way(error: &Error) -> bool {
    let Error::Pkcs11(code, _) = error else {
        return false;
    };
    matches!(
        code,
        RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::FunctionNotSupported
            | RvError::ArgumentsBad
            | RvError::DataInvalid
            | RvError::DataLenRange
            | RvError::KeyTypeInconsistent
            | RvError::KeyFunctionNotPermitted
            | RvError::OperationNotInitialized
    )
}
