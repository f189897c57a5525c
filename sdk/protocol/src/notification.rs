//! Package#0: the notification that asks a device to open a session. Layout and digest input only; the caller hashes.

mod layout;

use crate::{client_uri::is_name, limits::Limits};
use std::ops::Range;
use thiserror::Error;

/// A notification, read or to be sent. It keeps its binary form, because the digest is over the bytes that were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    server_id: String,
    bearers: Vec<Bearer>,
    id: Option<u16>,
    digest: Option<[u8; DIGEST_BYTES]>,
    timestamp: Option<u64>,
    request_mos: bool,
    wire: Vec<u8>,
    digest_at: Option<Range<usize>>,
}

/// The connection that a server would like (option 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bearer {
    /// 0x00: whatever is there.
    Any,
    /// 0x01: GSM, CDMA, UMTS, LTE.
    Cellular,
    /// 0x02: wireless LAN.
    Wlan,
    /// 0x03: a cable.
    Wireline,
    /// A code that is not known.
    Other(u8),
}

/// Why bytes are not a notification, or values cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotificationError {
    /// Larger than `Limits::notification_bytes`.
    #[error("the notification has {bytes} bytes, at most {limit} are read")]
    TooLarge {
        /// What was found.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Another version of the notification format.
    #[error("notification version {version} is not read; send version 1")]
    Version {
        /// What was found.
        version: u16,
    },
    /// The bytes end in the middle of the header or of an option.
    #[error("the notification is cut off")]
    Truncated,
    /// Bytes after the last option that the header announces.
    #[error("{bytes} bytes follow the last option")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// An option that stands twice.
    #[error("option {number} stands twice")]
    Repeated {
        /// Its number.
        number: u16,
    },
    /// An option whose value has the wrong form.
    #[error("{option} must be {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

/// SHA-256.
const DIGEST_BYTES: usize = 32;

/// A preference list that fits an option without a length byte; there are four kinds of connection.
const MAX_BEARERS: usize = 14;

const SERVER_ID_FORM: NotificationError = NotificationError::Option {
    option: "SERVER-ID",
    expected: "UTF-8 text of 1 to 255 bytes without control characters",
};

const BEARERS_FORM: NotificationError = NotificationError::Option {
    option: "PREFERRED-CON-TYPE",
    expected: "1 to 14 bytes",
};

impl Notification {
    /// A notification with the two options that are always there; `server_id` has 1 to 255 bytes, `bearers` 1 to 14
    /// entries, best first.
    pub fn new(server_id: &str, bearers: &[Bearer]) -> Result<Self, NotificationError> {
        if !is_name(server_id, &Limits::DEFAULT) {
            return Err(SERVER_ID_FORM);
        }
        if !(1..=MAX_BEARERS).contains(&bearers.len()) {
            return Err(BEARERS_FORM);
        }
        let notification = Notification {
            server_id: server_id.to_owned(),
            bearers: bearers.to_vec(),
            ..Self::empty()
        };
        Ok(notification.encoded())
    }

    fn empty() -> Self {
        Notification {
            server_id: String::new(),
            bearers: vec![Bearer::Any],
            id: None,
            digest: None,
            timestamp: None,
            request_mos: false,
            wire: Vec::new(),
            digest_at: None,
        }
    }

    /// Sets NOTIFICATION-ID, by which duplicates are found.
    pub fn with_id(self, id: u16) -> Self {
        Notification {
            id: Some(id),
            ..self
        }
        .encoded()
    }

    /// Sets TIMESTAMP, in seconds since 1970-01-01 UTC.
    pub fn with_timestamp(self, seconds: u64) -> Self {
        Notification {
            timestamp: Some(seconds),
            ..self
        }
        .encoded()
    }

    /// Asks for the list of MOs in Package#1.
    pub fn requesting_mos(self) -> Self {
        Notification {
            request_mos: true,
            ..self
        }
        .encoded()
    }

    /// Sets the digest: SHA-256 of [`Self::digest_input`]. Comes last, because it covers all the rest.
    pub fn with_digest(self, digest: [u8; DIGEST_BYTES]) -> Self {
        Notification {
            digest: Some(digest),
            ..self
        }
        .encoded()
    }

    /// The `SrvID` of the account meant. It is a claim until the digest has been verified.
    pub fn server_id(&self) -> &str {
        &self.server_id
    }

    /// Preferred connections, best first.
    pub fn bearers(&self) -> &[Bearer] {
        &self.bearers
    }

    /// NOTIFICATION-ID; a session alert echoes it.
    pub fn id(&self) -> Option<u16> {
        self.id
    }

    /// SHA256-DIGEST, not verified.
    pub fn digest(&self) -> Option<&[u8; DIGEST_BYTES]> {
        self.digest.as_ref()
    }

    /// TIMESTAMP, in seconds since 1970-01-01 UTC.
    pub fn timestamp(&self) -> Option<u64> {
        self.timestamp
    }

    /// True if Package#1 must list the MOs.
    pub fn requests_mos(&self) -> bool {
        self.request_mos
    }

    /// The bytes whose SHA-256 is the digest: the account's `Auth/Noti/Secret`, the message with 32 zero bytes for a digest,
    /// `Auth/Noti/Data`. A message without a digest gets room for one.
    pub fn digest_input(&self, secret: &[u8], auth_data: &[u8]) -> Vec<u8> {
        let zeroed = match &self.digest_at {
            Some(place) => {
                let mut wire = self.wire.clone();
                if let Some(digest) = wire.get_mut(place.clone()) {
                    digest.fill(0);
                }
                wire
            }
            None => self.clone().with_digest([0; DIGEST_BYTES]).wire,
        };
        [secret, &zeroed, auth_data].concat()
    }

    /// Reads the binary form. Options with an unknown number are skipped.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, NotificationError> {
        layout::read(bytes, limits)
    }

    /// The binary form; for a notification that was read, the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.wire.clone()
    }
}

impl Bearer {
    /// The byte on the wire, which is also the code in the Session Information MO.
    pub fn code(&self) -> u8 {
        match self {
            Bearer::Any => 0,
            Bearer::Cellular => 1,
            Bearer::Wlan => 2,
            Bearer::Wireline => 3,
            Bearer::Other(code) => *code,
        }
    }

    /// The bearer of a byte on the wire.
    pub fn from_code(code: u8) -> Self {
        match code {
            0 => Bearer::Any,
            1 => Bearer::Cellular,
            2 => Bearer::Wlan,
            3 => Bearer::Wireline,
            other => Bearer::Other(other),
        }
    }
}
