//! The name of a device, safe as a certificate subject and as a file name.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// What a device calls itself: `DevInfo/DevID`, the value of the `OMADM-DevID` header, such as `IMEI:493005100592800`.
///
/// 1 to 64 bytes (the longest common name of a certificate, RFC 5280 `ub-common-name`) of `A-Z a-z 0-9 . : _ -`, not
/// beginning with a dot or a hyphen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(String);

/// A text that is not a [`DeviceId`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is not a device ID; use 1 to 64 of the characters A-Z a-z 0-9 . : _ - and begin with a letter, a digit, ':' or '_'"
)]
pub struct DeviceIdError {
    /// The first 64 characters of the text.
    pub text: String,
}

impl DeviceId {
    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<Self, DeviceIdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte);
        if (1..=64).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with(['.', '-'])
        {
            Ok(DeviceId(text.to_owned()))
        } else {
            Err(DeviceIdError {
                text: text.chars().take(64).collect(),
            })
        }
    }
}

impl TryFrom<String> for DeviceId {
    type Error = DeviceIdError;

    fn try_from(text: String) -> Result<Self, DeviceIdError> {
        text.parse()
    }
}

impl From<DeviceId> for String {
    fn from(device: DeviceId) -> String {
        device.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_safe_as_files() {
        for good in [
            "dev1",
            "IMEI:493005100592800",
            "urn:uuid:f81d4fae-7dec",
            "_x",
            "A.b",
        ] {
            assert_eq!(good.parse::<DeviceId>().unwrap().as_str(), good);
        }
        let long = "x".repeat(65);
        for bad in [
            "", ".", "..", ".x", "-x", "a/b", "a\\b", "a b", "a\n", "ä", "a\0", "%2e", &long,
        ] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad:?}");
        }
    }
}
