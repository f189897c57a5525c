//! A node as the bytes that are stored: nothing for an interior node; for a leaf its value and then its format.

use bailiwick_plugin::{Error, LeafValue, Result};
use bailiwick_protocol::{DdfNode, Limits, Value};

/// The bytes of a node.
pub(crate) fn to_bytes(value: Option<&LeafValue>) -> Vec<u8> {
    let (format, content): (u8, &[u8]) = match value {
        None => return Vec::new(),
        Some(LeafValue::Null) => (b'n', &[]),
        Some(LeafValue::Boolean(value)) => (b'o', &[u8::from(*value)]),
        Some(LeafValue::Integer(value)) => (b'i', &value.to_le_bytes()),
        Some(LeafValue::Floating(value)) => (b'f', &value.to_le_bytes()),
        Some(LeafValue::Chars(text)) => (b'c', text.as_bytes()),
        Some(LeafValue::Binary(bytes)) => (b'b', bytes),
        Some(LeafValue::Base64(text)) => (b'6', text.as_bytes()),
        Some(LeafValue::Xml(text)) => (b'x', text.as_bytes()),
        Some(LeafValue::Date(text)) => (b'd', text.as_bytes()),
        Some(LeafValue::Time(text)) => (b't', text.as_bytes()),
    };
    [content, &[format]].concat()
}

/// The node of these bytes.
pub(crate) fn from_bytes(mut bytes: Vec<u8>) -> Result<Option<LeafValue>> {
    let Some(format) = bytes.pop() else {
        return Ok(None);
    };
    let damaged = || Error::other("a stored value is damaged");
    let number = |bytes: Vec<u8>| bytes.try_into().map_err(|_| damaged());
    let text = |bytes| String::from_utf8(bytes).map_err(|_| damaged());
    Ok(Some(match format {
        b'n' => LeafValue::Null,
        b'o' => LeafValue::Boolean(bytes == [1]),
        b'i' => LeafValue::Integer(i64::from_le_bytes(number(bytes)?)),
        b'f' => LeafValue::Floating(f64::from_le_bytes(number(bytes)?)),
        b'c' => LeafValue::Chars(text(bytes)?),
        b'b' => LeafValue::Binary(bytes),
        b'6' => LeafValue::Base64(text(bytes)?),
        b'x' => LeafValue::Xml(text(bytes)?),
        b'd' => LeafValue::Date(text(bytes)?),
        b't' => LeafValue::Time(text(bytes)?),
        _ => return Err(damaged()),
    }))
}

/// The `DefaultValue` of a leaf, if it has one.
pub(crate) fn default_of(node: &DdfNode) -> Result<Option<Value>> {
    let Some(text) = node.default.as_deref().filter(|_| node.is_leaf()) else {
        return Ok(None);
    };
    match Value::from_text(text, node.format, &Limits::DEFAULT) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(Error::invalid_argument(format!(
            "DefaultValue of {}: {error}",
            node.name.as_deref().unwrap_or("<x>")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_survives_storage() {
        for value in [
            LeafValue::Null,
            LeafValue::Boolean(true),
            LeafValue::Boolean(false),
            LeafValue::Integer(-7),
            LeafValue::Floating(0.5),
            LeafValue::Chars(String::new()),
            LeafValue::Chars("grüß".into()),
            LeafValue::Binary(vec![0, 255]),
            LeafValue::Base64("AP8=".into()),
            LeafValue::Xml("<a/>".into()),
            LeafValue::Date("20261124".into()),
            LeafValue::Time("094012Z".into()),
        ] {
            assert_eq!(from_bytes(to_bytes(Some(&value))), Ok(Some(value)));
        }
        assert_eq!(from_bytes(to_bytes(None)), Ok(None));
    }

    #[test]
    fn damage_is_an_error() {
        for bytes in [&b"?"[..], b"123i", b"\xffc"] {
            assert!(
                matches!(from_bytes(bytes.to_vec()), Err(Error::Other(_))),
                "{bytes:?}"
            );
        }
    }
}
