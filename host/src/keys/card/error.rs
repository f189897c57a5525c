//! What can go wrong between us and a card, and what the host is told of it.

use super::apdu::Status;
use super::tlv::TlvError;
use crate::keys::{KeyError, Scheme};

/// Why a card did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CardError {
    #[error("the card was removed")]
    Lost,
    #[error("the card does not answer")]
    Mute,
    #[error("another program has the reader for itself")]
    Taken,
    #[error("PC/SC does not answer: {0}")]
    NoService(String),
    #[error("more waits for this reader than may")]
    Busy,
    #[error("{what} was refused: {status}")]
    Refused { what: &'static str, status: Status },
    #[error("{0}")]
    Malformed(String),
    #[error("neither PKCS#15 nor PIV")]
    NoApplication,
    #[error("no key {0}")]
    NoKey(String),
    #[error("not by {0:?}")]
    Scheme(Scheme),
    /// About the PIN of the card with this serial number.
    #[error("PIN of {serial}: {problem:?}")]
    Pin { serial: String, problem: PinProblem },
}

/// Why a PIN was not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PinProblem {
    /// None is known.
    Needed,
    /// Refused, now or before; tries left.
    Wrong(u8),
    /// One try is left.
    LastTry,
    /// None is left.
    Blocked,
}

impl From<TlvError> for CardError {
    fn from(error: TlvError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl CardError {
    /// What the host is told: the same, and where it happened.
    pub(super) fn at(self, reader: &str) -> KeyError {
        let reader = reader.to_owned();
        match self {
            Self::Lost => KeyError::Pulled { reader },
            Self::Mute => KeyError::Mute { reader },
            Self::Taken => KeyError::Taken { reader },
            Self::NoService(reason) => KeyError::NoService { reason },
            Self::Busy => KeyError::Busy,
            Self::Refused { .. } => KeyError::Malformed {
                reader,
                problem: self.to_string(),
            },
            Self::Malformed(problem) => KeyError::Malformed { reader, problem },
            Self::NoApplication => KeyError::NoApplication { reader },
            Self::NoKey(key) => KeyError::NoKey { key },
            Self::Scheme(scheme) => KeyError::Scheme { scheme },
            Self::Pin {
                serial: card,
                problem,
            } => match problem {
                PinProblem::Needed => KeyError::PinNeeded { card },
                PinProblem::Wrong(left) => KeyError::PinWrong { card, left },
                PinProblem::LastTry => KeyError::LastTry { card },
                PinProblem::Blocked => KeyError::PinBlocked { card },
            },
        }
    }
}
