//! Device Description Framework: what an MO type looks like (the DM 1.3 XML, as DM 2.0 uses it).

use crate::{limits::Limits, object::Node, value::Format};
use thiserror::Error;

/// The description of one MO type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ddf {
    /// `DDFName` of the root, if it is a MOID.
    pub moid: Option<String>,
    /// The MO root.
    pub root: DdfNode,
    /// `Man`.
    pub man: Option<String>,
    /// `Mod`.
    pub model: Option<String>,
}

/// The description of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DdfNode {
    /// `None` = `<x>`: the name is given at creation.
    pub name: Option<String>,
    /// What a server may do at most.
    pub access: AccessTypes,
    /// Leaf format, or `Node`.
    pub format: Format,
    /// How many there may be.
    pub occurrence: Occurrence,
    /// Who makes and removes it.
    pub scope: Scope,
    /// `DefaultValue`.
    pub default: Option<String>,
    /// `DFTitle`.
    pub title: Option<String>,
    /// `Description`.
    pub description: Option<String>,
    /// `MIME` of `DFType`.
    pub mime: Option<String>,
    /// In document order.
    pub children: Vec<DdfNode>,
}

/// `AccessType`: the commands that a node takes at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccessTypes {
    /// Its value and names below can be read.
    pub get: bool,
    /// Children can be added.
    pub add: bool,
    /// Its value can be replaced.
    pub replace: bool,
    /// It can be deleted.
    pub delete: bool,
    /// It can be executed.
    pub exec: bool,
}

/// How many nodes a description stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occurrence {
    /// Exactly one.
    One,
    /// `?`
    ZeroOrOne,
    /// `*`
    ZeroOrMore,
    /// `+`
    OneOrMore,
    /// `*N`
    ZeroOrN(u32),
    /// `+N`
    OneOrN(u32),
}

/// Who makes and removes a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Comes and goes with its parent; a server can neither create, delete nor rename it.
    Permanent,
    /// Created by HGET, deleted by DELETE.
    Dynamic,
}

/// Why bytes are not a DDF, or nodes do not follow one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DdfError {
    /// Larger than `Limits::ddf_bytes`.
    #[error("the DDF has {bytes} bytes; at most {limit} are read")]
    TooLarge {
        /// What was found.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}

impl Ddf {
    /// Reads a DDF document; tolerant of everything that deployed DDFs are known to lack or add.
    pub fn parse(_bytes: &[u8], _limits: &Limits) -> Result<Ddf, DdfError> {
        todo!()
    }

    /// The description at a path below the MO root. An unnamed node matches any name not taken by a named sibling.
    pub fn find(&self, _path: &[String]) -> Option<&DdfNode> {
        todo!()
    }

    /// The key of the root in `MOData`.
    pub fn root_name(&self) -> &str {
        todo!()
    }

    /// Checks the nodes of a whole instance, relative to its root.
    pub fn check(&self, _nodes: &[Node]) -> Result<(), DdfError> {
        todo!()
    }

    /// Checks the nodes of the subtree at `base`, relative to it, as when that subtree is created or replaced.
    pub fn check_at(&self, _base: &[String], _nodes: &[Node]) -> Result<(), DdfError> {
        todo!()
    }
}

impl AccessTypes {
    /// From the element names inside `AccessType`, such as `["Get", "Replace"]`; others are ignored.
    pub fn from_elements<'a>(_names: impl IntoIterator<Item = &'a str>) -> Self {
        todo!()
    }
}
