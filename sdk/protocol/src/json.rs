//! The one door through which JSON enters: size, nesting and number of values are known before `serde_json` builds a tree.

use crate::limits::Limits;
use serde_json::Value;
use thiserror::Error;

/// A JSON object; members keep the order in which they were written.
pub(crate) type Map = serde_json::Map<String, Value>;

/// Why bytes are not JSON, or more JSON than is read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonError {
    /// More bytes than the limit for this kind of document.
    #[error("the document has {bytes} bytes, at most {limit} are read; send less at once")]
    TooLarge {
        /// What was found.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Nested deeper than `Limits::depth`.
    #[error("arrays and objects are nested deeper than {limit}; flatten them")]
    TooDeep {
        /// What is allowed.
        limit: usize,
    },
    /// More values than `Limits::nodes`.
    #[error("the document holds more than {limit} values; send less at once")]
    TooMany {
        /// What is allowed.
        limit: usize,
    },
    /// Not JSON.
    #[error("not JSON: {message}")]
    Syntax {
        /// What was expected, with line and column.
        message: String,
    },
}

/// Parses one document of at most `bytes_limit` bytes. A byte order mark in front is skipped.
pub(crate) fn parse(bytes: &[u8], bytes_limit: usize, limits: &Limits) -> Result<Value, JsonError> {
    if bytes.len() > bytes_limit {
        return Err(JsonError::TooLarge {
            bytes: bytes.len(),
            limit: bytes_limit,
        });
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    bound(bytes, limits)?;
    serde_json::from_slice(bytes).map_err(|error| JsonError::Syntax {
        message: error.to_string(),
    })
}

/// One pass over the bytes, without building anything.
fn bound(bytes: &[u8], limits: &Limits) -> Result<(), JsonError> {
    let (mut depth, mut values) = (0_usize, 1_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > limits.depth {
            return Err(JsonError::TooDeep {
                limit: limits.depth,
            });
        }
        if values > limits.nodes {
            return Err(JsonError::TooMany {
                limit: limits.nodes,
            });
        }
    }
    Ok(())
}

/// An optional member that holds text; anything else counts as absent.
pub(crate) fn text(map: &Map, member: &str) -> Option<String> {
    map.get(member).and_then(Value::as_str).map(str::to_owned)
}

/// A member that holds a list: absent and `null` are empty, a single value is a list of one.
pub(crate) fn list<'a>(map: &'a Map, member: &str) -> &'a [Value] {
    match map.get(member) {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items,
        Some(single) => std::slice::from_ref(single),
    }
}

/// Adds a member if there is something to add.
pub(crate) fn put(map: &mut Map, member: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        map.insert(member.to_owned(), value.into());
    }
}

/// The JSON type, for error messages.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
