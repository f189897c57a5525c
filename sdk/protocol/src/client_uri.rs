//! ClientURI: the address of nodes in the MO instances of a device.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// (MOID, MIID): what identifies an MO instance on a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    /// The type of object, such as `urn:oma:mo:oma-dm-devinfo:1.2`.
    pub moid: String,
    /// The instance among those of its MOID.
    pub miid: String,
}

/// A parsed ClientURI. Its text form is [`fmt::Display`] and [`FromStr`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientUri {
    /// The type of object.
    pub moid: String,
    /// Which of its instances.
    pub instance: InstanceSelector,
    /// From the MO root (not named) down to the node; empty = the root.
    pub path: Vec<Segment>,
    /// Conditions and cache validator.
    pub query: Query,
}

/// Which instances of a MOID a ClientURI names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InstanceSelector {
    /// Empty: the only instance there is; several make the URI ambiguous.
    Only,
    /// The instance with this MIID.
    Id(String),
    /// `(x)`: the one instance that meets the conditions on `x`.
    Unknown(char),
    /// `*`: all instances.
    All,
}

/// One step of the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A node by its name, not escaped.
    Name(String),
    /// `(x)`: the one node that meets the conditions on `x`.
    Unknown(char),
    /// `*`: all nodes here.
    All,
}

/// What follows the `?`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Query {
    /// `nv=…`: all must hold.
    pub values: Vec<NodeValue>,
    /// `cv=…`: the cache validator that the reader holds.
    pub validator: Option<String>,
}

/// `nv=(x)/path:value`: the leaf at `path` below the node named `(x)` has this value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeValue {
    /// The letter of the unknown name.
    pub unknown: char,
    /// From the unknown node down to a leaf.
    pub path: Vec<String>,
    /// Compared with [`crate::Value::as_text`].
    pub value: String,
}

/// Why a text is not a ClientURI.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UriError {
    /// Longer than `Limits::uri_bytes`.
    #[error("the ClientURI has {bytes} bytes; at most {limit} are read")]
    TooLong {
        /// What was found.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}

impl ClientUri {
    /// Parses within [`crate::Limits::DEFAULT`].
    pub fn parse(_text: &str) -> Result<Self, UriError> {
        todo!()
    }

    /// The root of one instance.
    pub fn root(_moid: &str, _miid: &str) -> Self {
        todo!()
    }

    /// One node of one instance; an empty path is the root.
    pub fn node(_moid: &str, _miid: &str, _path: &[String]) -> Self {
        todo!()
    }

    /// True if a `*` stands for the instance or in the path.
    pub fn has_wildcard(&self) -> bool {
        todo!()
    }

    /// True if the result is a set, which may be empty: exactly when there is a wildcard.
    pub fn is_set(&self) -> bool {
        self.has_wildcard()
    }
}

impl fmt::Display for ClientUri {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

impl FromStr for ClientUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}
