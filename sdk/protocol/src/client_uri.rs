//! ClientURI: the address of nodes in the MO instances of a device (OMA DM 2.0, RFC 3986).
//!
//! `MOID / instance / path ? query`: an instance or a step of the path is a name, `(x)` for a name that the query finds
//! by the value of a leaf, or `*` for all. Resolution against real instances is not done here.

mod read;
mod write;

pub(crate) use read::is_name;

use crate::limits::Limits;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// A parsed ClientURI. Its text form is [`fmt::Display`] and [`FromStr`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientUri {
    /// The type of object, such as `urn:oma:mo:oma-dm-devinfo:1.2`.
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
    /// The instance with this MIID, not escaped.
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
    /// `nv=…`: all must hold. Every `(x)` of the URI has at least one.
    pub values: Vec<NodeValue>,
    /// `cv=…`: the cache validator that the reader holds.
    pub validator: Option<String>,
}

/// `nv=(x)/path:value`: the leaf at `path` below the node named `(x)` has this value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeValue {
    /// The letter of the unknown name; `x` and `X` differ.
    pub unknown: char,
    /// From the unknown node down to a leaf; never empty.
    pub path: Vec<String>,
    /// Compared with [`crate::Value::as_text`].
    pub value: String,
}

/// (MOID, MIID): what identifies an MO instance on a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    /// The type of object.
    pub moid: String,
    /// The instance among those of its MOID.
    pub miid: String,
}

/// Why a text is not a ClientURI.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UriError {
    /// Longer than `Limits::uri_bytes`.
    #[error("the ClientURI has {bytes} bytes, at most {limit} are read; shorten it")]
    TooLong {
        /// What was found.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// More steps than `Limits::depth`.
    #[error("the ClientURI has more than {limit} path steps; shorten it")]
    TooDeep {
        /// What is allowed.
        limit: usize,
    },
    /// No `/` after the MOID.
    #[error("no instance after {moid:?}; append \"//\" for the only one, or \"/MIID/\"")]
    NoInstance {
        /// What stands there, shortened.
        moid: String,
    },
    /// An empty, dotted, overlong or unprintable MOID, MIID or node name.
    #[error(
        "{name:?} is no name: it must have 1 to {limit} bytes, no control characters, and not be a dot segment"
    )]
    Name {
        /// The name, shortened.
        name: String,
        /// `Limits::name_bytes`.
        limit: usize,
    },
    /// A `(`, `)` or `*` that is neither `(x)` nor a whole step.
    #[error("{text:?} mixes a name with \"(\", \")\" or \"*\"; escape them as %28, %29, %2A")]
    Reserved {
        /// The step, shortened.
        text: String,
    },
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("{text:?} has a bad %-escape; write UTF-8 bytes as %XX")]
    Escape {
        /// The part, shortened.
        text: String,
    },
    /// A query field that is neither `nv=(x)/path:value` nor one single `cv=validator`.
    #[error("{field:?} is not \"nv=(x)/path:value\", nor the only \"cv=validator\"")]
    Field {
        /// The field, shortened.
        field: String,
    },
    /// A letter that stands for two names.
    #[error("({letter}) stands for two names; use a letter for each")]
    Repeated {
        /// The letter.
        letter: char,
    },
    /// An unknown name without a condition.
    #[error("({letter}) has no condition; add \"nv=({letter})/path:value\"")]
    Unbound {
        /// The letter.
        letter: char,
    },
    /// A condition on a name that the address does not have.
    #[error("a condition on ({letter}), which does not stand in the address; remove it")]
    Stray {
        /// The letter.
        letter: char,
    },
}

impl ClientUri {
    /// Parses within [`Limits::DEFAULT`].
    pub fn parse(text: &str) -> Result<Self, UriError> {
        Self::parse_within(text, &Limits::DEFAULT)
    }

    /// Parses within given limits. `M/left` is read as `M/left/`.
    pub fn parse_within(text: &str, limits: &Limits) -> Result<Self, UriError> {
        read::client_uri(text, limits)
    }

    /// The root of one instance; an empty MIID means the only one.
    pub fn root(moid: &str, miid: &str) -> Self {
        Self::node(moid, miid, &[])
    }

    /// One node of one instance; an empty path is the root.
    pub fn node(moid: &str, miid: &str, path: &[String]) -> Self {
        let instance = match miid {
            "" => InstanceSelector::Only,
            _ => InstanceSelector::Id(miid.to_owned()),
        };
        let path = path.iter().cloned().map(Segment::Name).collect();
        ClientUri {
            moid: moid.to_owned(),
            instance,
            path,
            query: Query::default(),
        }
    }

    /// True if a `*` stands for the instance or in the path.
    pub fn has_wildcard(&self) -> bool {
        self.instance == InstanceSelector::All || self.path.contains(&Segment::All)
    }

    /// True if the result is a set, which may be empty: exactly when there is a wildcard.
    pub fn is_set(&self) -> bool {
        self.has_wildcard()
    }

    /// The path, if it consists of names alone.
    pub fn plain_path(&self) -> Option<Vec<String>> {
        self.path
            .iter()
            .map(|segment| match segment {
                Segment::Name(name) => Some(name.clone()),
                Segment::Unknown(_) | Segment::All => None,
            })
            .collect()
    }
}

impl FromStr for ClientUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

impl InstanceId {
    /// An instance by its two identifiers.
    pub fn new(moid: impl Into<String>, miid: impl Into<String>) -> Self {
        InstanceId {
            moid: moid.into(),
            miid: miid.into(),
        }
    }

    /// The address of its root.
    pub fn uri(&self) -> ClientUri {
        ClientUri::root(&self.moid, &self.miid)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri().fmt(f)
    }
}
