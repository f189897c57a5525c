//! Package#0: the notification that asks a device to open a session. Layout and digest input only; the caller hashes.
//!
//! ```text
//! bits 15..12 version · 11..7 option count · 6..0 reserved, then per option, in ascending number:
//! delta to the previous number (4 bits) · length (4 bits; 15 = one more byte, to which 15 is added) · value
//! ```

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

const SERVER_ID: u16 = 1;
const PREFERRED_CON_TYPE: u16 = 2;
const NOTIFICATION_ID: u16 = 3;
const SHA256_DIGEST: u16 = 4;
const TIMESTAMP: u16 = 5;
const REQ_MOS: u16 = 6;

const DIGEST_BYTES: usize = 32;

// choice: the value of the version is not known. 1 is sent, 0 and 1 are read.
const VERSION: u16 = 1;

const SERVER_ID_FORM: NotificationError = NotificationError::Option {
    option: "SERVER-ID",
    expected: "UTF-8 text of 1 to 255 bytes",
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
        if !(1..=14).contains(&bearers.len()) {
            return Err(BEARERS_FORM);
        }
        let notification = Notification {
            server_id: server_id.to_owned(),
            bearers: bearers.to_vec(),
            ..empty()
        };
        Ok(notification.encoded())
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
        if bytes.len() > limits.notification_bytes {
            return Err(NotificationError::TooLarge {
                bytes: bytes.len(),
                limit: limits.notification_bytes,
            });
        }
        let mut input = Input { bytes, at: 0 };
        let header = u16::from_be_bytes([input.byte()?, input.byte()?]);
        let (version, count) = (header >> 12, header >> 7 & 0x1F);
        if version > VERSION {
            return Err(NotificationError::Version { version });
        }
        let mut notification = Notification {
            wire: bytes.to_vec(),
            ..empty()
        };
        let mut number = 0;
        for _ in 0..count {
            let (delta, value) = input.option()?;
            if delta == 0 {
                return Err(NotificationError::Repeated { number });
            }
            number += delta;
            notification.read_option(number, value, input.at)?;
        }
        match (bytes.len() - input.at, notification.server_id.as_str()) {
            (0, "") => Err(SERVER_ID_FORM),
            (0, _) => Ok(notification),
            (bytes, _) => Err(NotificationError::Trailing { bytes }),
        }
    }

    /// The binary form; for a notification that was read, the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.wire.clone()
    }

    /// Takes one option whose value ends at `end`.
    fn read_option(
        &mut self,
        number: u16,
        value: &[u8],
        end: usize,
    ) -> Result<(), NotificationError> {
        let form = |option, expected| NotificationError::Option { option, expected };
        match number {
            SERVER_ID => {
                let text = str::from_utf8(value).map_err(|_| SERVER_ID_FORM)?;
                if !is_name(text, &Limits::DEFAULT) {
                    return Err(SERVER_ID_FORM);
                }
                self.server_id = text.to_owned();
            }
            // choice: several bytes are an ordered list of preferences.
            PREFERRED_CON_TYPE if value.is_empty() => return Err(BEARERS_FORM),
            PREFERRED_CON_TYPE => {
                self.bearers = value.iter().copied().map(Bearer::from_code).collect()
            }
            NOTIFICATION_ID => {
                let id = value
                    .try_into()
                    .map_err(|_| form("NOTIFICATION-ID", "2 bytes"))?;
                self.id = Some(u16::from_be_bytes(id));
            }
            SHA256_DIGEST => {
                let digest = value
                    .try_into()
                    .map_err(|_| form("SHA256-DIGEST", "32 bytes"))?;
                self.digest = Some(digest);
                self.digest_at = Some(end - DIGEST_BYTES..end);
            }
            TIMESTAMP => {
                let seconds = read_timestamp(value);
                self.timestamp = Some(seconds.ok_or_else(|| form("TIMESTAMP", "4 or 8 bytes"))?);
            }
            REQ_MOS if !value.is_empty() => return Err(form("REQ-MOS", "empty")),
            REQ_MOS => self.request_mos = true,
            _ => {}
        }
        Ok(())
    }

    /// Brings the binary form up to date.
    fn encoded(mut self) -> Self {
        let bearers: Vec<u8> = self.bearers.iter().map(Bearer::code).collect();
        let options = [
            (SERVER_ID, Some(self.server_id.as_bytes().to_vec())),
            (PREFERRED_CON_TYPE, Some(bearers)),
            (NOTIFICATION_ID, self.id.map(|id| id.to_be_bytes().to_vec())),
            (SHA256_DIGEST, self.digest.map(|digest| digest.to_vec())),
            (TIMESTAMP, self.timestamp.map(write_timestamp)),
            (REQ_MOS, self.request_mos.then(Vec::new)),
        ];
        let (mut count, mut previous, mut wire) = (0, 0, vec![0, 0]);
        self.digest_at = None;
        for (number, value) in options {
            let Some(value) = value else { continue };
            write_option_header(&mut wire, number - previous, value.len());
            wire.extend(value);
            if number == SHA256_DIGEST {
                self.digest_at = Some(wire.len() - DIGEST_BYTES..wire.len());
            }
            (count, previous) = (count + 1, number);
        }
        let header = (VERSION << 12 | count << 7).to_be_bytes();
        wire.splice(..header.len(), header);
        Notification { wire, ..self }
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

fn empty() -> Notification {
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

// choice: the width is not known. 4 bytes are sent as long as they suffice (until 2106), 4 or 8 are read.
fn write_timestamp(seconds: u64) -> Vec<u8> {
    match u32::try_from(seconds) {
        Ok(seconds) => seconds.to_be_bytes().to_vec(),
        Err(_) => seconds.to_be_bytes().to_vec(),
    }
}

fn read_timestamp(value: &[u8]) -> Option<u64> {
    let short = value.try_into().map(u32::from_be_bytes).map(u64::from);
    short
        .or_else(|_| value.try_into().map(u64::from_be_bytes))
        .ok()
}

// choice: delta and length as in the CoAP drafts up to -12, from which the specification took its option format.
// `delta` is at most 6 and `length` at most 255.
fn write_option_header(wire: &mut Vec<u8>, delta: u16, length: usize) {
    let delta = (delta as u8) << 4;
    match u8::try_from(length).unwrap_or(u8::MAX) {
        short @ 0..=14 => wire.push(delta | short),
        long => wire.extend([delta | 15, long - 15]),
    }
}

/// What is left to read.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// Delta and value of the next option.
    fn option(&mut self) -> Result<(u16, &'a [u8]), NotificationError> {
        let first = self.byte()?;
        let length = match first & 0x0F {
            15 => 15 + usize::from(self.byte()?),
            short => usize::from(short),
        };
        Ok((u16::from(first >> 4), self.take(length)?))
    }

    fn byte(&mut self) -> Result<u8, NotificationError> {
        self.take(1)?
            .first()
            .copied()
            .ok_or(NotificationError::Truncated)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], NotificationError> {
        let end = self.at + count;
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or(NotificationError::Truncated)?;
        self.at = end;
        Ok(taken)
    }
}
