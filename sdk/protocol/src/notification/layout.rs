//! The binary form: a header, then options in ascending number.
//!
//! ```text
//! header   bits 15..12 version · 11..7 option count · 6..0 reserved
//! option   delta to the previous number (4 bits) · length (4 bits; 15 = one more byte, which adds to it) · value
//! ```
// choice: the length field is that of the CoAP drafts up to -12, from which the specification took the rest of its options.

use super::{
    BEARERS_FORM, Bearer, DIGEST_BYTES, MAX_BEARERS, Notification, NotificationError,
    SERVER_ID_FORM,
};
use crate::{client_uri::is_name, limits::Limits};

const SERVER_ID: u16 = 1;
const PREFERRED_CON_TYPE: u16 = 2;
const NOTIFICATION_ID: u16 = 3;
const SHA256_DIGEST: u16 = 4;
const TIMESTAMP: u16 = 5;
const REQ_MOS: u16 = 6;

// choice: the value of the version is not known. 1 is sent, 0 and 1 are read.
const VERSION: u16 = 1;

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Notification, NotificationError> {
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
        ..Notification::empty()
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

impl Notification {
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
            PREFERRED_CON_TYPE if value.is_empty() => return Err(BEARERS_FORM),
            // choice: several bytes are an ordered list of preferences.
            PREFERRED_CON_TYPE => {
                let preferred = value.iter().take(MAX_BEARERS);
                self.bearers = preferred.copied().map(Bearer::from_code).collect();
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
    pub(super) fn encoded(mut self) -> Self {
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

/// `delta` is at most 6 and `length` at most 255, because the typed values allow no more.
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
