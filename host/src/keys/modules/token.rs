//! One token: its session and login, and what is done with its keys.

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use super::pins::Pins;
use super::sign::{self, Before};
use super::worker::failed;
use crate::keys::{KeyError, KeyKind, Pin, Scheme, padding, spki};

/// Objects that are looked at. Stops a token that has them without end.
pub(super) const MAX_OBJECTS: usize = 256;
/// One attribute, bytes. Stops a module that claims giant ones.
const MAX_ATTRIBUTE: usize = 32 << 10;
/// A signature: RSA of 4096 bits.
const MAX_SIGNATURE: usize = 512;

/// A token in a slot.
pub(super) struct Token {
    pub(super) slot: Slot,
    pub(super) label: String,
    pub(super) serial: String,
    pub(super) path: String,
    /// Whether `CKA_TRUSTED` is believed.
    pub(super) believed: bool,
    module: Pkcs11,
    /// Kept open: a token forgets the login with its last session.
    session: Option<Session>,
    mechanisms: Option<Vec<MechanismType>>,
}

/// A private key, as far as it has to be known to sign.
pub(super) struct Key {
    pub(super) handle: ObjectHandle,
    pub(super) kind: KeyKind,
    pub(super) id: Vec<u8>,
    pub(super) label: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    pub(super) asks_each_time: bool,
}

impl Token {
    pub(super) fn new(
        module: Pkcs11,
        path: String,
        believed: bool,
        slot: Slot,
        label: String,
        serial: String,
    ) -> Self {
        Self {
            slot,
            label,
            serial,
            path,
            believed,
            module,
            session: None,
            mechanisms: None,
        }
    }

    pub(super) fn failed(&self, error: &Error) -> KeyError {
        match error {
            Error::Pkcs11(
                RvError::TokenNotPresent | RvError::DeviceRemoved | RvError::SlotIdInvalid,
                _,
            ) => KeyError::Gone {
                what: format!("token {}", self.label),
            },
            Error::Pkcs11(RvError::PinLocked, _) => KeyError::PinBlocked {
                card: self.serial.clone(),
            },
            Error::Pkcs11(RvError::UserNotLoggedIn, _) => KeyError::PinNeeded {
                card: self.serial.clone(),
            },
            error => failed(&self.path, error),
        }
    }

    /// Does something in the token's session. One that has become stale is opened again, once.
    pub(super) fn within<T>(
        &mut self,
        act: impl Fn(&Self, &Session) -> Result<T, Error>,
    ) -> Result<T, KeyError> {
        for last in [false, true] {
            let session = match self.session.take() {
                Some(session) => session,
                None => {
                    let opened = self.module.open_ro_session(self.slot);
                    opened.map_err(|error| self.failed(&error))?
                }
            };
            match act(self, &session) {
                Err(Error::Pkcs11(RvError::SessionHandleInvalid | RvError::SessionClosed, _))
                    if !last => {}
                Err(error) => {
                    self.session = Some(session);
                    return Err(self.failed(&error));
                }
                Ok(value) => {
                    self.session = Some(session);
                    return Ok(value);
                }
            }
        }
        Err(KeyError::Gone {
            what: format!("token {}", self.label),
        })
    }

    /// Logs in if the token wants it: with a PIN that somebody knows, and never with the last try.
    pub(super) fn log_in(&mut self, pins: &mut Pins) -> Result<(), KeyError> {
        let info = self.module.get_token_info(self.slot);
        let info = info.map_err(|error| self.failed(&error))?;
        if !info.login_required() || self.is_logged_in()? {
            return Ok(());
        }
        let card = self.serial.clone();
        if info.user_pin_locked() {
            return Err(KeyError::PinBlocked { card });
        }
        let Some(pin) = pins.of(&card) else {
            return Err(KeyError::PinNeeded { card });
        };
        if info.user_pin_final_try() {
            return Err(KeyError::LastTry { card });
        }
        let tried = self.try_pin(&pin);
        if tried.as_ref().is_err_and(is_about_pin) {
            pins.refuse(&card, &pin);
        }
        tried
    }

    /// Verifies the PIN that a person has entered, and keeps it.
    pub(super) fn unlock(&mut self, pin: &Pin, pins: &mut Pins) -> Result<(), KeyError> {
        if self.is_logged_in()? {
            // The PIN would not be looked at.
            self.within(|_, session| session.logout())?;
        }
        self.try_pin(pin)?;
        pins.enter(&self.serial, pin);
        Ok(())
    }

    fn is_logged_in(&mut self) -> Result<bool, KeyError> {
        use cryptoki::session::SessionState as State;
        let state = self.within(|_, session| Ok(session.get_session_info()?.session_state()))?;
        Ok(matches!(state, State::RoUser | State::RwUser))
    }

    fn try_pin(&mut self, pin: &Pin) -> Result<(), KeyError> {
        let secret = AuthPin::new(pin.expose().into());
        let refused =
            self.within(
                |_, session| match session.login(UserType::User, Some(&secret)) {
                    Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(false),
                    Err(Error::Pkcs11(
                        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                        _,
                    )) => Ok(true),
                    Err(error) => Err(error),
                },
            )?;
        if refused { Err(self.refused()) } else { Ok(()) }
    }

    /// PKCS#11 says of the tries that are left only whether it is one, or none.
    fn refused(&self) -> KeyError {
        let card = self.serial.clone();
        match self.module.get_token_info(self.slot) {
            Ok(info) if info.user_pin_locked() => KeyError::PinBlocked { card },
            Ok(info) if info.user_pin_final_try() => KeyError::PinWrong { card, left: 1 },
            _ => KeyError::PinRefused { card },
        }
    }

    /// A signature over `message`, in the form that TLS wants.
    pub(super) fn sign(
        &mut self,
        key: &str,
        scheme: Scheme,
        message: &[u8],
        pins: &mut Pins,
    ) -> Result<Vec<u8>, KeyError> {
        self.log_in(pins)?;
        let key = self.key(key)?;
        if key.kind != scheme.key_kind() {
            return Err(KeyError::Scheme { scheme });
        }
        let pin = match key.asks_each_time {
            false => None,
            true => Some(self.pin_again(pins)?),
        };
        let secret = pin.as_ref().map(|pin| AuthPin::new(pin.expose().into()));
        let before = secret.as_ref().map_or(Before::Nothing, Before::Login);
        let offered = self.mechanisms()?;
        let bits = spki::bits(&key.modulus);
        let ways = sign::ways(scheme, message, bits, &offered, pin.is_some());
        for way in &ways {
            let session = self.module.open_ro_session(self.slot);
            let session = session.map_err(|error| self.failed(&error))?;
            match sign::sign(&session, key.handle, way, &before) {
                Ok(signature) => return finish(scheme, signature).ok_or_else(|| self.nonsense()),
                Err(error) if sign::is_of_the_way(&error) => {
                    tracing::debug!(module = %self.path, "one way to sign has failed: {error}");
                }
                Err(Error::Pkcs11(RvError::PinIncorrect, _)) => {
                    if let Some(pin) = &pin {
                        pins.refuse(&self.serial, pin);
                    }
                    return Err(self.refused());
                }
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Err(KeyError::Scheme { scheme })
    }

    /// The PIN that a key asks for before each signature.
    fn pin_again(&self, pins: &Pins) -> Result<Pin, KeyError> {
        let card = self.serial.clone();
        let info = self.module.get_token_info(self.slot);
        if info
            .map_err(|error| self.failed(&error))?
            .user_pin_final_try()
        {
            return Err(KeyError::LastTry { card });
        }
        pins.of(&card).ok_or(KeyError::PinNeeded { card })
    }

    fn mechanisms(&mut self) -> Result<Vec<MechanismType>, KeyError> {
        if self.mechanisms.is_none() {
            let offered = self.module.get_mechanism_list(self.slot);
            self.mechanisms = Some(offered.map_err(|error| self.failed(&error))?);
        }
        Ok(self.mechanisms.clone().unwrap_or_default())
    }

    fn nonsense(&self) -> KeyError {
        KeyError::Module {
            path: self.path.clone(),
            problem: "its signature is none".into(),
        }
    }

    /// SubjectPublicKeyInfo, DER: of the key itself, or of the certificate beside it. That it is right, a signature proves.
    pub(super) fn public_key(&mut self, key: &str, pins: &mut Pins) -> Result<Vec<u8>, KeyError> {
        self.log_in(pins)?;
        let name = key.to_owned();
        let key = self.key(key)?;
        if key.kind == KeyKind::Rsa
            && let Some(public) = spki::of_rsa(&key.modulus, &key.exponent)
        {
            return Ok(public);
        }
        let beside = |class, attribute| {
            move |token: &Self, session: &Session| {
                let same = [Attribute::Class(class), Attribute::Id(key.id.clone())];
                let found = token.find(session, &same)?;
                Ok(found
                    .first()
                    .and_then(|object| token.bytes(session, *object, attribute)))
            }
        };
        let kind = key.kind;
        let point = self.within(beside.clone()(
            ObjectClass::PUBLIC_KEY,
            AttributeType::EcPoint,
        ))?;
        if let Some(public) = point.and_then(|point| spki::of_ec(kind, &point)) {
            return Ok(public);
        }
        let certificate = self.within(beside(ObjectClass::CERTIFICATE, AttributeType::Value))?;
        let public = certificate.as_deref().and_then(spki::of_certificate);
        public
            .map(<[u8]>::to_vec)
            .ok_or(KeyError::NoKey { key: name })
    }

    fn key(&mut self, id: &str) -> Result<Key, KeyError> {
        let missing = || KeyError::NoKey { key: id.to_owned() };
        let bytes = unhex(id).ok_or_else(missing)?;
        let template = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Id(bytes),
        ];
        let keys = self.within(|token, session| token.keys(session, &template))?;
        keys.into_iter().next().ok_or_else(missing)
    }

    /// Keys that can sign.
    pub(super) fn keys(
        &self,
        session: &Session,
        template: &[Attribute],
    ) -> Result<Vec<Key>, Error> {
        let found = self.find(session, template)?;
        Ok(found
            .into_iter()
            .filter_map(|handle| self.as_key(session, handle))
            .collect())
    }

    fn as_key(&self, session: &Session, handle: ObjectHandle) -> Option<Key> {
        if self.flag(session, handle, AttributeType::Sign) == Some(false) {
            return None;
        }
        let bytes = |attribute| self.bytes(session, handle, attribute);
        let kind = session
            .get_attributes(handle, &[AttributeType::KeyType])
            .ok()?;
        let kind = match kind.first()? {
            Attribute::KeyType(KeyType::RSA) => KeyKind::Rsa,
            Attribute::KeyType(KeyType::EC) => spki::curve(&bytes(AttributeType::EcParams)?)?,
            _ => return None,
        };
        Some(Key {
            handle,
            kind,
            id: bytes(AttributeType::Id)?,
            label: text(bytes(AttributeType::Label)),
            modulus: bytes(AttributeType::Modulus).unwrap_or_default(),
            exponent: bytes(AttributeType::PublicExponent).unwrap_or_default(),
            asks_each_time: self.flag(session, handle, AttributeType::AlwaysAuthenticate)
                == Some(true),
        })
    }

    pub(super) fn find(
        &self,
        session: &Session,
        template: &[Attribute],
    ) -> Result<Vec<ObjectHandle>, Error> {
        session.iter_objects(template)?.take(MAX_OBJECTS).collect()
    }

    /// A byte string of an object; `None`: it has none, or an empty or giant one.
    pub(super) fn bytes(
        &self,
        session: &Session,
        object: ObjectHandle,
        attribute: AttributeType,
    ) -> Option<Vec<u8>> {
        use cryptoki::object::AttributeInfo;
        let info = session.get_attribute_info(object, &[attribute]).ok()?;
        match info.first()? {
            AttributeInfo::Available(1..=MAX_ATTRIBUTE) => {}
            _ => return None,
        }
        let values = session.get_attributes(object, &[attribute]).ok()?;
        match values.into_iter().next()? {
            Attribute::Value(bytes)
            | Attribute::Id(bytes)
            | Attribute::Label(bytes)
            | Attribute::ObjectId(bytes)
            | Attribute::Modulus(bytes)
            | Attribute::PublicExponent(bytes)
            | Attribute::EcParams(bytes)
            | Attribute::EcPoint(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A truth value of an object, if it has it.
    pub(super) fn flag(
        &self,
        session: &Session,
        object: ObjectHandle,
        attribute: AttributeType,
    ) -> Option<bool> {
        let values = session.get_attributes(object, &[attribute]).ok()?;
        match values.first()? {
            Attribute::Trusted(flag)
            | Attribute::Sign(flag)
            | Attribute::AlwaysAuthenticate(flag) => Some(*flag),
            _ => None,
        }
    }
}

/// As TLS wants it: ECDSA's two numbers come side by side.
fn finish(scheme: Scheme, signature: Vec<u8>) -> Option<Vec<u8>> {
    match scheme.key_kind() {
        KeyKind::Rsa => (1..=MAX_SIGNATURE)
            .contains(&signature.len())
            .then_some(signature),
        _ => padding::ecdsa_der(&signature),
    }
}

fn is_about_pin(error: &KeyError) -> bool {
    matches!(
        error,
        KeyError::PinRefused { .. } | KeyError::PinWrong { .. } | KeyError::PinBlocked { .. }
    )
}

/// Text for people, of at most 64 letters.
pub(super) fn text(bytes: Option<Vec<u8>>) -> String {
    let bytes = bytes.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(64)
        .collect()
}

/// Identifiers are written in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|n| n as u8))
        .collect();
    let digits = digits?;
    (digits.len() % 2 == 0).then(|| {
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    })
}
