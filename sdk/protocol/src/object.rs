//! The JSON serialization of management objects (OMA DM 2.0 §7.2.1.4), and the flat list of nodes behind it.

use crate::{
    client_uri::is_name,
    ddf::{Ddf, DdfNode},
    json::{self, JsonError, Map, put, text},
    limits::{Limits, excerpt},
    value::{Format, Value, ValueError},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The media type that this crate writes.
// choice: OMA's name is not known; this one is attested by an independent implementer.
pub const MEDIA_TYPE: &str = "application/dmmo+json";

/// The media types that are read as an MO serialization.
pub const ACCEPTED_MEDIA_TYPES: &[&str] = &[
    MEDIA_TYPE,
    "application/vnd.oma.dm.mo+json",
    "application/json",
];

/// Names from a starting node downwards; empty = that node itself.
pub type Path = Vec<String>;

/// A node of a tree. A list of nodes is in pre-order: parents before children.
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
    /// `ClientURI`: where the data belongs. A missing `urn:` in front of `oma:mo:` has been added.
    pub client_uri: Option<String>,
    /// `MOData`; [`MoItem::nodes`] reads it.
    pub data: serde_json::Value,
    /// `DDF`: a link to the description.
    pub ddf: Option<String>,
    /// `CV`: the cache validator of the whole instance.
    pub cv: Option<String>,
}

/// Why bytes are not an MO serialization, or its data not a tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// Not JSON, or too much of it.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// An item without its data.
    #[error("item {index} is no object with the member MOData; add it")]
    NoData {
        /// Counted from 0.
        index: usize,
    },
    /// Data that is neither a tree from the MO root, nor one member named like the node, nor a leaf's bare value.
    #[error("MOData does not lead to {node:?}; write one member with this name")]
    Shape {
        /// The node that the ClientURI names, shortened.
        node: String,
    },
    /// A leaf where the DDF has an interior node, or the other way round.
    #[error("{node:?} must be {expected}")]
    Kind {
        /// The node, relative to that of the ClientURI, shortened.
        node: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A leaf that cannot be read.
    #[error("{node:?}: {source}")]
    Value {
        /// The leaf, relative to the node of the ClientURI, shortened.
        node: String,
        /// What is wrong with it.
        source: ValueError,
    },
    /// A member name that no node can have.
    #[error(
        "{name:?} is no node name; it must have 1 to {limit} bytes, no control characters, and not be a dot segment"
    )]
    Name {
        /// The name, shortened.
        name: String,
        /// `Limits::name_bytes`.
        limit: usize,
    },
    /// Deeper than `Limits::depth`.
    #[error("nodes are nested deeper than {limit}; flatten them")]
    TooDeep {
        /// What is allowed.
        limit: usize,
    },
    /// Paths that take more than `Limits::object_bytes` when each node carries its own.
    #[error(
        "the paths of all nodes take more than {limit} bytes; use shorter names or fewer levels"
    )]
    LongPaths {
        /// What is allowed.
        limit: usize,
    },
    /// More nodes than `Limits::nodes`.
    #[error("more than {limit} nodes; send less at once")]
    TooMany {
        /// What is allowed.
        limit: usize,
    },
}

impl MoItem {
    /// Reads an array of items, or a single item, of at most `Limits::object_bytes`.
    pub fn parse_all(bytes: &[u8], limits: &Limits) -> Result<Vec<MoItem>, ObjectError> {
        let items = match json::parse(bytes, limits.object_bytes, limits)? {
            serde_json::Value::Array(items) => items,
            single => vec![single],
        };
        items
            .into_iter()
            .enumerate()
            .map(|(index, item)| MoItem::from_json(item).ok_or(ObjectError::NoData { index }))
            .collect()
    }

    /// Writes an array of items, members in the order of the schema.
    pub fn to_bytes(items: &[MoItem]) -> Vec<u8> {
        let items: serde_json::Value = items.iter().map(MoItem::to_json).collect();
        items.to_string().into_bytes()
    }

    /// An item whose `MOData` has one member, `root_name`: the root's name, or the last path segment of `uri`.
    /// `nodes` are relative to the node that `uri` names; those deeper than [`Limits::DEFAULT`] allows a reader are left out.
    pub fn from_nodes(uri: String, root_name: &str, nodes: &[Node], cv: Option<String>) -> MoItem {
        let mut tree = serde_json::Value::Object(Map::new());
        for node in nodes
            .iter()
            .filter(|node| node.path.len() < Limits::DEFAULT.depth)
        {
            insert(&mut tree, node);
        }
        let data = Map::from_iter([(root_name.to_owned(), tree)]);
        MoItem {
            client_uri: Some(uri),
            data: data.into(),
            ddf: None,
            cv,
        }
    }

    /// The nodes of this item in pre-order, relative to the node of the ClientURI; `path_of_uri` is that node's path from
    /// the MO root. Reads a tree from the MO root, one member named like the node, and the bare value of a leaf.
    pub fn nodes(
        &self,
        path_of_uri: &[String],
        ddf: Option<&Ddf>,
        limits: &Limits,
    ) -> Result<Vec<Node>, ObjectError> {
        let description = ddf.and_then(|ddf| ddf.find(path_of_uri));
        let start =
            locate(&self.data, path_of_uri, description).ok_or_else(|| ObjectError::Shape {
                node: excerpt(&path_of_uri.join("/")),
            })?;
        let mut reader = TreeReader {
            limits,
            path: Vec::new(),
            path_bytes: 0,
            nodes: Vec::new(),
        };
        reader.visit(start, description)?;
        Ok(reader.nodes)
    }

    /// `None` if there is no `MOData`.
    pub(crate) fn from_json(json: serde_json::Value) -> Option<MoItem> {
        let serde_json::Value::Object(mut map) = json else {
            return None;
        };
        Some(MoItem {
            data: map.remove("MOData")?,
            client_uri: text(&map, "ClientURI").map(complete_urn),
            ddf: text(&map, "DDF"),
            cv: text(&map, "CV"),
        })
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut map = Map::new();
        put(&mut map, "ClientURI", self.client_uri.as_deref());
        put(&mut map, "MOData", Some(self.data.clone()));
        put(&mut map, "DDF", self.ddf.as_deref());
        put(&mut map, "CV", self.cv.as_deref());
        map.into()
    }
}

/// The specification's own example lacks the `urn:`.
fn complete_urn(uri: String) -> String {
    match uri.starts_with("oma:mo:") {
        true => format!("urn:{uri}"),
        false => uri,
    }
}

/// Puts one node into a tree, with the interior nodes above it.
fn insert(tree: &mut serde_json::Value, node: &Node) {
    let mut place = tree;
    for name in &node.path {
        if !place.is_object() {
            *place = Map::new().into();
        }
        let serde_json::Value::Object(map) = place else {
            return;
        };
        place = map
            .entry(name.as_str())
            .or_insert_with(|| Map::new().into());
    }
    if let Some(value) = &node.value {
        *place = value.to_json();
    }
}

/// The JSON value of the node at `path` within `MOData`.
fn locate<'a>(
    data: &'a serde_json::Value,
    path: &[String],
    description: Option<&DdfNode>,
) -> Option<&'a serde_json::Value> {
    let Some(members) = data.as_object() else {
        return (!path.is_empty()).then_some(data);
    };
    let (key, inner) = match members.iter().next() {
        Some(member) if members.len() == 1 => member,
        _ => return path.is_empty().then_some(data),
    };
    let fits = description.is_none_or(|node| (node.format == Format::Node) == inner.is_object());
    match path.last() {
        None if fits => Some(inner),
        None => Some(data),
        Some(name) if name == key && fits => Some(inner),
        Some(name) => {
            let from_root = path
                .iter()
                .try_fold(inner, |place, name| place.get(name.as_str()));
            from_root.or_else(|| (name == key).then_some(inner))
        }
    }
}

/// Flattens a JSON tree.
struct TreeReader<'a> {
    limits: &'a Limits,
    path: Path,
    /// Bytes of all paths in `nodes`: thousands of leaves below a few long names cost far more than their JSON.
    path_bytes: usize,
    nodes: Vec<Node>,
}

impl TreeReader<'_> {
    fn visit(
        &mut self,
        json: &serde_json::Value,
        description: Option<&DdfNode>,
    ) -> Result<(), ObjectError> {
        let format = description.map(|node| node.format);
        match (json, format) {
            (serde_json::Value::Object(_), Some(leaf)) if leaf != Format::Node => {
                Err(self.kind("a leaf, one JSON value"))
            }
            (serde_json::Value::Object(members), _) => {
                self.push(None)?;
                self.visit_members(members, description)
            }
            (_, Some(Format::Node)) if json.is_null() || json == "" => self.push(None),
            (_, Some(Format::Node)) => Err(self.kind("an interior node, a JSON object")),
            _ => {
                let value = Value::from_json(json, format, self.limits).map_err(|source| {
                    ObjectError::Value {
                        node: self.here(),
                        source,
                    }
                })?;
                self.push(Some(value))
            }
        }
    }

    fn visit_members(
        &mut self,
        members: &Map,
        description: Option<&DdfNode>,
    ) -> Result<(), ObjectError> {
        if self.path.len() >= self.limits.depth {
            return Err(ObjectError::TooDeep {
                limit: self.limits.depth,
            });
        }
        for (name, json) in members {
            if !is_name(name, self.limits) {
                return Err(ObjectError::Name {
                    name: excerpt(name),
                    limit: self.limits.name_bytes,
                });
            }
            self.path.push(name.clone());
            self.visit(json, description.and_then(|node| node.child(name)))?;
            self.path.pop();
        }
        Ok(())
    }

    fn push(&mut self, value: Option<Value>) -> Result<(), ObjectError> {
        let limits = self.limits;
        let names = self.path.iter();
        self.path_bytes += names
            .map(|name| size_of::<String>() + name.len())
            .sum::<usize>();
        if self.path_bytes > limits.object_bytes {
            return Err(ObjectError::LongPaths {
                limit: limits.object_bytes,
            });
        }
        if self.nodes.len() >= limits.nodes {
            return Err(ObjectError::TooMany {
                limit: limits.nodes,
            });
        }
        self.nodes.push(Node {
            path: self.path.clone(),
            value,
        });
        Ok(())
    }

    fn kind(&self, expected: &'static str) -> ObjectError {
        ObjectError::Kind {
            node: self.here(),
            expected,
        }
    }

    fn here(&self) -> String {
        excerpt(&self.path.join("/"))
    }
}
