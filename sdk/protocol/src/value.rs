//! Leaf values and their JSON forms (OMA DM 2.0 §7.2.1.4; formats as in the DM 1.3 DDF).

use crate::limits::Limits;
use serde::{Deserialize, Serialize};
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
    Bin(Vec<u8>),
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

/// Why a JSON value is not a leaf value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// An array or object where a leaf belongs.
    #[error("a leaf of format {expected} holds a JSON {found}; write a single JSON value")]
    Type {
        /// What the DDF asks for, or "any".
        expected: &'static str,
        /// The JSON type that was found.
        found: &'static str,
    },
}

impl Value {
    /// The JSON form that this crate writes.
    pub fn to_json(&self) -> serde_json::Value {
        todo!()
    }

    /// Reads a leaf. Without a format (no DDF known) JSON types map to themselves.
    pub fn from_json(
        _json: &serde_json::Value,
        _format: Option<Format>,
        _limits: &Limits,
    ) -> Result<Value, ValueError> {
        todo!()
    }

    /// The format of this value.
    pub fn format(&self) -> Format {
        todo!()
    }

    /// The text that `nv=` compares.
    pub fn as_text(&self) -> String {
        todo!()
    }
}
