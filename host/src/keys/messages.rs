//! What the host and the keys process say to each other: small, bounded, typed. The host asks, the keys process answers,
//! and tells by itself which cards are there. No message carries a private key to the host.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroize;

use crate::isolation::Protection;

/// Largest frame, bytes: what a whole card may give is bounded below it.
pub const MESSAGE_BYTES: usize = 1 << 20;

/// Host to keys process.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToKeys {
    /// First message, once.
    Configure(Setup),
    /// To be answered within the time, by a refusal if nothing else.
    Ask {
        /// The host's number of it.
        ask: u64,
        /// What is left of it, milliseconds.
        deadline_ms: u32,
        /// What is wanted.
        request: Request,
    },
}

/// Keys process to host.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromKeys {
    /// It has locked itself in, so well, and listens.
    Ready(Protection),
    /// To [`ToKeys::Ask`].
    Answer {
        /// Which.
        ask: u64,
        /// What became of it.
        result: Result<Answer, KeyError>,
    },
    /// All readers, whenever something about them has changed.
    Readers(Vec<Reader>),
}

/// What the keys process has to do with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Setup {
    /// Directory of private keys in files; the keys process reads and makes them there.
    pub directory: String,
    /// Whether readers are watched.
    pub watch: bool,
    /// PKCS#11 modules, by path.
    pub modules: Vec<String>,
    /// Those of them whose `CKA_TRUSTED` is believed.
    pub trusted: Vec<String>,
    /// What they and the PIN keepers may read: files and directories.
    pub read: Vec<String>,
    /// What the modules may write too.
    pub write: Vec<String>,
    /// Where PINs are kept, by card.
    pub pins: Vec<PinKeeper>,
    /// One APDU, milliseconds. Real cards take up to 1.5 s for an RSA signature.
    pub apdu_ms: u32,
}

/// A file that holds the PIN of a card.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PinKeeper {
    /// The serial number of the card or token; `None`: every card, as long as no other line names it.
    pub serial: Option<String>,
    /// The file: the PIN, and perhaps a line end.
    pub file: String,
}

/// What the host can ask for.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Everything in a place that has to do with certificates: [`Answer::Contents`].
    Read(Place),
    /// A signature over a message: [`Answer::Signature`].
    Sign {
        /// With which key.
        key: KeyRef,
        /// In which scheme; the key must be of its kind.
        scheme: Scheme,
        /// What is signed, before hashing.
        message: ByteBuf,
    },
    /// The public key: [`Answer::PublicKey`].
    PublicKey(KeyRef),
    /// A new private key in a file: [`Answer::Made`].
    Generate(KeyKind),
    /// Removes a private key that [`Request::Generate`] made: [`Answer::Done`].
    Forget(KeyRef),
    /// The operator gives the PIN of a card, which is verified and kept in memory until the card goes: [`Answer::Done`].
    Unlock {
        /// Which card.
        card: CardId,
        /// The PIN.
        pin: Pin,
    },
}

/// Answers, one for each kind of request.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// What a card or token holds.
    Contents(Box<Contents>),
    /// A signature, in the form that TLS wants (ECDSA: DER).
    Signature(ByteBuf),
    /// SubjectPublicKeyInfo, DER.
    PublicKey(ByteBuf),
    /// A new key, and its SubjectPublicKeyInfo, DER.
    Made(KeyRef, ByteBuf),
    /// Nothing to say.
    Done,
}

/// Where certificates and keys may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The card in the PC/SC reader of this name.
    Reader(String),
    /// The token of this label in the PKCS#11 module at this path.
    Module {
        /// The module.
        path: String,
        /// `CK_TOKEN_INFO.label`, without the blanks at its end.
        token: String,
    },
}

/// A card or token by what it says of itself. Only a key that it proves to hold makes that more than a claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CardId {
    /// How it is spoken to.
    pub kind: CardKind,
    /// Its ICCID or serial number: digits and capital letters.
    pub serial: String,
}

/// How a card is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CardKind {
    /// PKCS#15 (ISO/IEC 7816-15) by APDUs.
    Pkcs15,
    /// PIV (NIST SP 800-73) by APDUs.
    Piv,
    /// Through a PKCS#11 module.
    Pkcs11,
}

/// A private key, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyRef {
    /// In a file of the directory of keys; its name there.
    File(String),
    /// On a card, or in a token.
    Card {
        /// Which.
        card: CardId,
        /// Its identifier there, hexadecimal: PKCS#15 iD, PIV slot, `CKA_ID`.
        key: String,
    },
}

/// Kinds of keys that sign in TLS 1.2 and 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// RSA of 2048 to 4096 bits.
    Rsa,
    /// ECDSA on P-256.
    EcP256,
    /// ECDSA on P-384.
    EcP384,
    /// Ed25519; files only.
    Ed25519,
}

/// How something is signed; the names of RFC 8446 §4.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the RFC")]
pub enum Scheme {
    RsaPkcs1Sha256,
    RsaPkcs1Sha384,
    RsaPkcs1Sha512,
    RsaPssSha256,
    RsaPssSha384,
    RsaPssSha512,
    EcdsaP256Sha256,
    EcdsaP384Sha384,
    Ed25519,
}

impl Scheme {
    /// The kind of key that it is for.
    pub fn key_kind(self) -> KeyKind {
        match self {
            Self::RsaPkcs1Sha256
            | Self::RsaPkcs1Sha384
            | Self::RsaPkcs1Sha512
            | Self::RsaPssSha256
            | Self::RsaPssSha384
            | Self::RsaPssSha512 => KeyKind::Rsa,
            Self::EcdsaP256Sha256 => KeyKind::EcP256,
            Self::EcdsaP384Sha384 => KeyKind::EcP384,
            Self::Ed25519 => KeyKind::Ed25519,
        }
    }
}

/// A PIN, shown by nothing, and wiped from memory with its last use.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pin(String);

impl Pin {
    /// Takes it from whoever entered it.
    pub fn new(pin: String) -> Self {
        Self(pin)
    }

    /// For the card.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin")
    }
}

/// A reader, or a token's slot, as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    /// Where it is.
    pub place: Place,
    /// What is in it.
    pub state: ReaderState,
    /// Counts insertions and removals, so that a swap between two looks is seen.
    pub changes: u32,
}

/// What is in a reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReaderState {
    /// No card.
    Empty,
    /// A card, with its answer to reset, hexadecimal; of a token, the serial number.
    Card(String),
    /// A card that does not answer.
    Mute,
    /// Another program has it for itself.
    Taken,
    /// A card did not answer in time; the reader is used again when that card has gone.
    Wedged,
}

/// What a card or token holds that has to do with certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Who it says it is.
    pub card: CardId,
    /// What it calls itself.
    pub label: String,
    /// In the order of its directories.
    pub certificates: Vec<FoundCertificate>,
    /// Private keys that can sign.
    pub keys: Vec<FoundKey>,
    /// Data objects of OMA (2.23.43).
    pub objects: Vec<FoundObject>,
    /// What was left out, and why.
    pub skipped: Vec<String>,
    /// What reading took.
    pub effort: Effort,
}

/// Who put a certificate on the card, in the words of PKCS#15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shelf {
    /// trustedCertificates: by the issuer, and its holder cannot change them. The only ones that may become anchors.
    Trusted,
    /// certificates: by anybody; the card's own are among them.
    Own,
    /// usefulCertificates: to complete chains.
    Useful,
}

/// A certificate on a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundCertificate {
    /// From which directory.
    pub shelf: Shelf,
    /// Pairs it with a key, hexadecimal.
    pub id: String,
    /// For people.
    pub label: String,
    /// Where on the card, e.g. `3F0050154331`; for the audit.
    pub path: String,
    /// X.509, DER; parsed by nobody yet.
    #[serde(with = "serde_bytes")]
    pub der: Vec<u8>,
}

/// A private key on a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundKey {
    /// How to use it.
    pub key: KeyRef,
    /// Pairs it with a certificate, hexadecimal.
    pub id: String,
    /// For people.
    pub label: String,
    /// What it is.
    pub kind: KeyKind,
    /// What has to happen before it signs.
    pub pin: PinState,
}

/// What has to happen before a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinState {
    /// Nothing.
    NotNeeded,
    /// The PIN is known to the keys process.
    Known,
    /// Somebody has to enter it; tries left, where the card says.
    Needed(Option<u8>),
    /// Too many wrong ones; the issuer's means unblock it.
    Blocked,
}

/// A data object on a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundObject {
    /// e.g. `2.23.43.7.1`.
    pub oid: String,
    /// For people.
    pub label: String,
    /// Where on the card.
    pub path: String,
    /// Up to 32 KiB.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// What a card was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// Commands.
    pub apdus: u32,
    /// Time in which the card had the word, microseconds.
    pub card_us: u64,
}

/// Why a request was refused. Each says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum KeyError {
    /// No such card now.
    #[error("{what} is not there; insert the card")]
    Gone {
        /// Card or reader.
        what: String,
    },
    /// The card was pulled, or another took its place, while it worked.
    #[error("the card in {reader} was removed while it was used; insert it again")]
    Pulled {
        /// Where.
        reader: String,
    },
    /// No answer in time.
    #[error("the card in {reader} does not answer; take it out and insert it again")]
    Mute {
        /// Where.
        reader: String,
    },
    /// Another program has the card for itself.
    #[error("another program has {reader} for itself; it is tried again when that has ended")]
    Taken {
        /// Which reader.
        reader: String,
    },
    /// PC/SC does not run.
    #[error("PC/SC does not answer ({reason}); start pcscd, it is tried again")]
    NoService {
        /// What it said.
        reason: String,
    },
    /// No PIN is known.
    #[error(
        "the key needs the PIN of card {card}; enter it with `bailiwick cards unlock`, or name a file in [keys]"
    )]
    PinNeeded {
        /// Serial number.
        card: String,
    },
    /// The card refused the PIN.
    #[error("card {card} refused the PIN, {left} tries are left; correct it")]
    PinWrong {
        /// Serial number.
        card: String,
        /// Tries left.
        left: u8,
    },
    /// A token refused the PIN; PKCS#11 does not say how many tries are left.
    #[error("token {card} refused the PIN; correct it")]
    PinRefused {
        /// Serial number.
        card: String,
    },
    /// One try is left, and is not spent without a person.
    #[error(
        "card {card} has one try left, which is not spent unattended; enter the PIN with `bailiwick cards unlock`"
    )]
    LastTry {
        /// Serial number.
        card: String,
    },
    /// No try is left.
    #[error("the PIN of card {card} is blocked; its issuer can unblock it")]
    PinBlocked {
        /// Serial number.
        card: String,
    },
    /// The card has no such key.
    #[error("there is no key {key}; provision its certificate again")]
    NoKey {
        /// Which.
        key: String,
    },
    /// The key cannot sign like that.
    #[error("the key cannot sign by {scheme:?}; the server must offer another scheme")]
    Scheme {
        /// What was wanted.
        scheme: Scheme,
    },
    /// The card has no application for certificates.
    #[error("the card in {reader} has neither PKCS#15 nor PIV")]
    NoApplication {
        /// Where.
        reader: String,
    },
    /// What the card says cannot be.
    #[error("the card in {reader} is faulty: {problem}")]
    Malformed {
        /// Where.
        reader: String,
        /// What was wrong.
        problem: String,
    },
    /// A vendor's module failed.
    #[error("module {path}: {problem}")]
    Module {
        /// Which.
        path: String,
        /// What it said.
        problem: String,
    },
    /// A file of ours failed.
    #[error("key file {name}: {problem}")]
    File {
        /// Which.
        name: String,
        /// What was wrong.
        problem: String,
    },
    /// No answer in time, or the process ended.
    #[error("the keys process {problem}; it is started again")]
    Process {
        /// What became of it.
        problem: String,
    },
    /// More waits than may.
    #[error("too many requests wait for keys; try again")]
    Busy,
}

impl KeyError {
    /// Whether the same request may succeed later without anybody correcting anything here. A wrong PIN does not: each
    /// try costs one.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Gone { .. }
            | Self::Pulled { .. }
            | Self::Mute { .. }
            | Self::Taken { .. }
            | Self::NoService { .. }
            | Self::PinNeeded { .. }
            | Self::Module { .. }
            | Self::Process { .. }
            | Self::Busy => true,
            Self::PinWrong { .. }
            | Self::PinRefused { .. }
            | Self::LastTry { .. }
            | Self::PinBlocked { .. }
            | Self::NoKey { .. }
            | Self::Scheme { .. }
            | Self::NoApplication { .. }
            | Self::Malformed { .. }
            | Self::File { .. } => false,
        }
    }
}
