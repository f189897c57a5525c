//! The JSON serialization of management objects, and the flat list of nodes behind it.

use crate::{ddf::Ddf, limits::Limits, value::Value};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The media type that this crate writes.
pub const MEDIA_TYPE: &str = "application/dmmo+json";

/// The media types that are read as an MO serialization.
pub const ACCEPTED_MEDIA_TYPES: &[&str] = &[
    MEDIA_TYPE,
    "application/vnd.oma.dm.mo+json",
    "application/json",
];

/// Names from a starting node downwards; empty = that node itself.
pub type Path = Vec<String>;

/// A node of a tree in pre-order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Where it is.
    pub path: Path,
    /// `None` = interior.
    pub value: Option<Value>,
}

/// One item of an MO serialization.
#[derive(Debug, Clone, PartialEq)]
pub struct MoItem {
    /// `ClientURI`: where the data belongs.
    pub client_uri: Option<String>,
    /// `MOData`.
    pub data: serde_json::Value,
    /// `DDF`: a link to the description.
    pub ddf: Option<String>,
    /// `CV`: the cache validator of the whole instance.
    pub cv: Option<String>,
}

/// Why bytes are not an MO serialization, or its data not a tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// An item without its data.
    #[error("item {index} has no MOData; add it")]
    NoData {
        /// Counted from 0.
        index: usize,
    },
}

impl MoItem {
    /// Reads an array of items, or a single item.
    pub fn parse_all(_bytes: &[u8], _limits: &Limits) -> Result<Vec<MoItem>, ObjectError> {
        todo!()
    }

    /// Writes an array of items.
    pub fn to_bytes(_items: &[MoItem]) -> Vec<u8> {
        todo!()
    }

    /// An item whose `MOData` has one member, `root_name`. `nodes` are relative to the node that `uri` names.
    pub fn from_nodes(
        _uri: String,
        _root_name: &str,
        _nodes: &[Node],
        _cv: Option<String>,
    ) -> MoItem {
        todo!()
    }

    /// The nodes of this item in pre-order, relative to the node of the ClientURI, whose path from the MO root is `path_of_uri`.
    pub fn nodes(
        &self,
        _path_of_uri: &[String],
        _ddf: Option<&Ddf>,
        _limits: &Limits,
    ) -> Result<Vec<Node>, ObjectError> {
        todo!()
    }
}
