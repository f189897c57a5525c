//! Leaf values and their JSON forms (OMA DM 2.0 §7.2.1.4; formats as in the DM 1.3 DDF).

use crate::{json, limits::Limits};
use base64::{Engine, engine::general_purpose};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt};
use thiserror::Error;

/// The value of a leaf.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer; 32-bit signed where a DDF says `int`.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// Text.
    Chr(String),
    /// Bytes.
    Bin(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Base64 text, kept as it was written.
    B64(String),
    /// An XML fragment, not parsed.
    Xml(String),
    /// A date, ISO 8601.
    Date(String),
    /// A time, ISO 8601.
    Time(String),
}

/// The format that a DDF gives a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A leaf without a value.
    Null,
    /// Base64 text.
    B64,
    /// Bytes; base64 in transit only.
    Bin,
    /// Truth value.
    Bool,
    /// Text.
    Chr,
    /// 32-bit signed integer.
    Int,
    /// An interior node: children, no value.
    Node,
    /// An XML fragment.
    Xml,
    /// ISO 8601 date.
    Date,
    /// ISO 8601 time.
    Time,
    /// Finite number.
    Float,
}

/// Why a JSON value or a text is not a leaf value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// A JSON type that cannot hold a leaf of this format.
    #[error("a leaf of format {expected} cannot be a JSON {found}")]
    Type {
        /// The format, or "any".
        expected: &'static str,
        /// The JSON type that was found.
        found: &'static str,
    },
    /// Text that does not read as this format.
    #[error("a leaf of format {format} must be {expected}")]
    Text {
        /// The format.
        format: Format,
        /// What it must look like.
        expected: &'static str,
    },
    /// A number outside its range.
    #[error("the number is outside {range}")]
    Range {
        /// The range.
        range: &'static str,
    },
    /// Larger than `Limits::value_bytes`.
    #[error("the value has {bytes} bytes, at most {limit} are taken; send less")]
    TooLarge {
        /// What was found.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}

impl Value {
    /// The JSON form that this crate writes.
    // choice: numbers and truth values as JSON ones, b64 text unchanged, bytes as base64; the specification is silent.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Chr(text) | Value::B64(text) | Value::Xml(text) => text.as_str().into(),
            Value::Date(text) | Value::Time(text) => text.as_str().into(),
            Value::Bin(bytes) => encode_base64(bytes).into(),
        }
    }

    /// Reads a leaf. Without a format (no DDF known) JSON types map to themselves.
    pub fn from_json(
        json: &serde_json::Value,
        format: Option<Format>,
        limits: &Limits,
    ) -> Result<Value, ValueError> {
        match format {
            Some(Format::Null) if json.is_null() => Ok(Value::Null),
            Some(format) => {
                let text = scalar_text(json).ok_or(ValueError::Type {
                    expected: format.name(),
                    found: json::type_name(json),
                })?;
                Value::from_text(&text, format, limits)
            }
            None => natural(json)?.bounded(limits),
        }
    }

    /// Reads the text form of a leaf, as in a `DefaultValue` or from a peer that writes every leaf as a JSON string.
    pub fn from_text(text: &str, format: Format, limits: &Limits) -> Result<Value, ValueError> {
        let wrong = |expected| ValueError::Text { format, expected };
        let value = match format {
            Format::Null if text.is_empty() => Value::Null,
            Format::Null => return Err(wrong("empty")),
            Format::Bool => Value::Bool(parse_bool(text).ok_or(wrong("true or false"))?),
            Format::Int => {
                let number: i64 = text.trim().parse().map_err(|_| wrong("a whole number"))?;
                i32::try_from(number).map_err(|_| ValueError::Range {
                    range: "32 bits, signed",
                })?;
                Value::Int(number)
            }
            Format::Float => {
                let number: Option<f64> = text.trim().parse().ok();
                Value::Float(
                    number
                        .filter(|n| n.is_finite())
                        .ok_or(wrong("a finite number"))?,
                )
            }
            Format::Bin => Value::Bin(decode_base64(text).ok_or(wrong("base64"))?),
            Format::B64 => {
                decode_base64(text).ok_or(wrong("base64"))?;
                Value::B64(text.to_owned())
            }
            Format::Chr => Value::Chr(text.to_owned()),
            Format::Xml => Value::Xml(text.to_owned()),
            Format::Date if is_iso8601(text) => Value::Date(text.to_owned()),
            Format::Time if is_iso8601(text) => Value::Time(text.to_owned()),
            Format::Date | Format::Time => return Err(wrong("ISO 8601")),
            Format::Node => return Err(wrong("an object; an interior node has no value")),
        };
        value.bounded(limits)
    }

    /// The format of this value.
    pub fn format(&self) -> Format {
        match self {
            Value::Null => Format::Null,
            Value::Bool(_) => Format::Bool,
            Value::Int(_) => Format::Int,
            Value::Float(_) => Format::Float,
            Value::Chr(_) => Format::Chr,
            Value::Bin(_) => Format::Bin,
            Value::B64(_) => Format::B64,
            Value::Xml(_) => Format::Xml,
            Value::Date(_) => Format::Date,
            Value::Time(_) => Format::Time,
        }
    }

    /// The text that `nv=` compares: the JSON form without its quotes; empty for a leaf without a value.
    pub fn as_text(&self) -> String {
        match self.to_json() {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        }
    }

    fn bounded(self, limits: &Limits) -> Result<Value, ValueError> {
        let bytes = match &self {
            Value::Bin(bytes) => bytes.len(),
            Value::Chr(text) | Value::B64(text) | Value::Xml(text) => text.len(),
            Value::Date(text) | Value::Time(text) => text.len(),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
        };
        if bytes > limits.value_bytes {
            return Err(ValueError::TooLarge {
                bytes,
                limit: limits.value_bytes,
            });
        }
        Ok(self)
    }
}

impl Format {
    /// All formats with their names in a DDF.
    const NAMES: &[(Format, &str)] = &[
        (Format::Null, "null"),
        (Format::B64, "b64"),
        (Format::Bin, "bin"),
        (Format::Bool, "bool"),
        (Format::Chr, "chr"),
        (Format::Int, "int"),
        (Format::Node, "node"),
        (Format::Xml, "xml"),
        (Format::Date, "date"),
        (Format::Time, "time"),
        (Format::Float, "float"),
    ];

    /// The name in a DDF, such as `chr`.
    pub fn name(&self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(format, _)| format == self)
            .map_or("", |(_, name)| name)
    }

    /// The format with this name in a DDF.
    pub fn from_name(name: &str) -> Option<Format> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(format, _)| *format)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Base64 as this crate writes it: standard alphabet, padded.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// Base64 as peers write it: either alphabet, with or without padding, broken into lines.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let compact: Vec<u8> = text
        .trim_end_matches(|c: char| c == '=' || c.is_ascii_whitespace())
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    general_purpose::STANDARD_NO_PAD.decode(compact).ok()
}

fn scalar_text(json: &serde_json::Value) -> Option<Cow<'_, str>> {
    match json {
        serde_json::Value::String(text) => Some(text.into()),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Some(json.to_string().into()),
        _ => None,
    }
}

fn natural(json: &serde_json::Value) -> Result<Value, ValueError> {
    match json {
        serde_json::Value::Null => Ok(Value::Null),
        serde_json::Value::Bool(value) => Ok(Value::Bool(*value)),
        serde_json::Value::String(text) => Ok(Value::Chr(text.clone())),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Ok(Value::Int(value)),
            (None, Some(value)) if number.is_f64() => Ok(Value::Float(value)),
            _ => Err(ValueError::Range {
                range: "64 bits, signed",
            }),
        },
        other => Err(ValueError::Type {
            expected: "any",
            found: json::type_name(other),
        }),
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.trim() {
        "1" => Some(true),
        "0" => Some(false),
        word if word.eq_ignore_ascii_case("true") => Some(true),
        word if word.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The characters of ISO 8601, basic or extended, and at least one digit; a calendar is the business of the object.
fn is_iso8601(text: &str) -> bool {
    text.len() <= 64
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"TWZ:+-.,".contains(&byte))
}
