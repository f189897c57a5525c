//! The vocabulary of `bailiwick:types`, with the conversions that plug-ins keep needing.

use crate::bindings::base;
use bailiwick_protocol::Value;

pub use base::bailiwick::env::device::Identity;
pub use base::bailiwick::types::types::{Error, LeafValue, Node, NodeRef};
pub use base::exports::bailiwick::lifecycle::plugin::StartReason;

/// What every call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The value or name does not fit; `text` says which, why, and what would fit.
    pub fn invalid_argument(text: impl Into<String>) -> Self {
        Self::InvalidArgument(Some(text.into()))
    }

    /// The state forbids it now; `text` says what has to change first.
    pub fn conflict(text: impl Into<String>) -> Self {
        Self::Conflict(Some(text.into()))
    }

    /// It cannot be reached now; `text` says what is missing.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::Unavailable(Some(text.into()))
    }

    /// Anything else; `text` is for logs.
    pub fn other(text: impl Into<String>) -> Self {
        Self::Other(Some(text.into()))
    }
}

impl Node {
    /// A leaf.
    pub fn leaf(path: &[&str], value: impl Into<LeafValue>) -> Self {
        Self {
            path: owned(path),
            value: Some(value.into()),
        }
    }

    /// An interior node.
    pub fn interior(path: &[&str]) -> Self {
        Self {
            path: owned(path),
            value: None,
        }
    }
}

impl NodeRef {
    /// Points at a node; an empty path is the root of the instance.
    pub fn new(mo: &str, instance: &str, path: &[&str]) -> Self {
        Self {
            mo: mo.into(),
            instance: instance.into(),
            path: owned(path),
        }
    }
}

impl From<&str> for LeafValue {
    fn from(text: &str) -> Self {
        Self::Chars(text.into())
    }
}

impl From<String> for LeafValue {
    fn from(text: String) -> Self {
        Self::Chars(text)
    }
}

impl From<bool> for LeafValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i64> for LeafValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<Vec<u8>> for LeafValue {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

/// For plug-ins that check nodes against a DDF.
impl From<LeafValue> for Value {
    fn from(value: LeafValue) -> Self {
        match value {
            LeafValue::Null => Value::Null,
            LeafValue::Boolean(value) => Value::Bool(value),
            LeafValue::Integer(value) => Value::Int(value),
            LeafValue::Floating(value) => Value::Float(value),
            LeafValue::Chars(text) => Value::Chr(text),
            LeafValue::Binary(bytes) => Value::Bin(bytes),
            LeafValue::Base64(text) => Value::B64(text),
            LeafValue::Xml(text) => Value::Xml(text),
            LeafValue::Date(text) => Value::Date(text),
            LeafValue::Time(text) => Value::Time(text),
        }
    }
}

/// For plug-ins that take values from a DDF.
impl From<Value> for LeafValue {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => LeafValue::Null,
            Value::Bool(value) => LeafValue::Boolean(value),
            Value::Int(value) => LeafValue::Integer(value),
            Value::Float(value) => LeafValue::Floating(value),
            Value::Chr(text) => LeafValue::Chars(text),
            Value::Bin(bytes) => LeafValue::Binary(bytes),
            Value::B64(text) => LeafValue::Base64(text),
            Value::Xml(text) => LeafValue::Xml(text),
            Value::Date(text) => LeafValue::Date(text),
            Value::Time(text) => LeafValue::Time(text),
        }
    }
}

#[allow(
    clippy::derivable_impls,
    reason = "a derive would be asked of every generated type, and variants have no default"
)]
impl Default for Identity {
    fn default() -> Self {
        Self {
            device_id: String::new(),
            manufacturer: String::new(),
            model: String::new(),
            device_type: String::new(),
            oem: String::new(),
            hardware_version: String::new(),
            firmware_version: String::new(),
            software_version: String::new(),
            language: String::new(),
        }
    }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|&name| name.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_survives_the_protocol() {
        for value in [
            LeafValue::Null,
            LeafValue::Boolean(true),
            LeafValue::Integer(-7),
            LeafValue::Floating(0.5),
            LeafValue::Chars("grüß".into()),
            LeafValue::Binary(vec![0, 255]),
            LeafValue::Base64("AP8=".into()),
            LeafValue::Xml("<a/>".into()),
            LeafValue::Date("20261124".into()),
            LeafValue::Time("094012Z".into()),
        ] {
            assert_eq!(LeafValue::from(Value::from(value.clone())), value);
        }
    }
}
