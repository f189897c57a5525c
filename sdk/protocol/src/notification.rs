//! Package#0: the notification that asks a device to open a session. Layout and digest input only; the caller hashes.

use crate::limits::Limits;
use thiserror::Error;

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

/// A notification, read or to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    server_id: String,
    bearers: Vec<Bearer>,
    id: Option<u16>,
    digest: Option<[u8; 32]>,
    timestamp: Option<u64>,
    request_mos: bool,
}

/// Why bytes are not a notification.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotificationError {
    /// Larger than `Limits::notification_bytes`.
    #[error("the notification has {bytes} bytes; at most {limit} are read")]
    TooLarge {
        /// What was found.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}

impl Notification {
    /// A notification with the two options that are always there; `server_id` has 1 to 255 bytes, `bearers` 1 to 14 entries.
    pub fn new(_server_id: &str, _bearers: &[Bearer]) -> Result<Self, NotificationError> {
        todo!()
    }

    /// Sets NOTIFICATION-ID, by which duplicates are found.
    pub fn with_id(self, _id: u16) -> Self {
        todo!()
    }

    /// Sets TIMESTAMP, in seconds since 1970-01-01 UTC.
    pub fn with_timestamp(self, _seconds: u64) -> Self {
        todo!()
    }

    /// Asks for the list of MOs in Package#1.
    pub fn requesting_mos(self) -> Self {
        todo!()
    }

    /// Sets the digest: SHA-256 of [`Self::digest_input`]. Comes last.
    pub fn with_digest(self, _digest: [u8; 32]) -> Self {
        todo!()
    }

    /// The `SrvID` of the account meant.
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
    pub fn digest(&self) -> Option<&[u8; 32]> {
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

    /// The bytes whose SHA-256 is the digest: secret, message with a zero digest, authentication data.
    pub fn digest_input(&self, _secret: &[u8], _auth_data: &[u8]) -> Vec<u8> {
        todo!()
    }

    /// Reads the binary form.
    pub fn parse(_bytes: &[u8], _limits: &Limits) -> Result<Self, NotificationError> {
        todo!()
    }

    /// Writes the binary form; for a notification that was read, the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        todo!()
    }
}
