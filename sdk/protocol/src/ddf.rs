//! Device Description Framework: what an MO type looks like (the DM 1.3 XML, as OMA DM 2.0 uses it), and whether given
//! nodes look like it.

mod check;
mod read;

use crate::{limits::Limits, object::Node, value::Format};
use thiserror::Error;

/// The description of one MO type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ddf {
    /// `DDFName` of the root, if it is a MOID.
    pub moid: Option<String>,
    /// The MO root.
    pub root: DdfNode,
    /// `Man`: the manufacturer of the device.
    pub man: Option<String>,
    /// `Mod`: the model of the device.
    pub model: Option<String>,
}

/// The description of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DdfNode {
    /// `None` = `<x>`: the name is given at creation.
    pub name: Option<String>,
    /// What a server may do at most; grants restrict it further.
    pub access: AccessTypes,
    /// Leaf format, or `Node`.
    pub format: Format,
    /// How many there may be below one parent.
    pub occurrence: Occurrence,
    /// Who makes and removes it.
    pub scope: Scope,
    /// `DefaultValue`, as text; see [`crate::Value::from_text`].
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

/// `AccessType`: the commands that a node takes at most. All false = the server can do nothing with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccessTypes {
    /// Its value, or the names of its children, can be read.
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
    /// `*N`: at most N.
    ZeroOrN(u32),
    /// `+N`: at least one, at most N.
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
    #[error("the DDF has {bytes} bytes, at most {limit} are read; shorten its descriptions")]
    TooLarge {
        /// What was found.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Nested deeper than `Limits::depth`.
    #[error("the DDF is nested deeper than {limit} elements; flatten it")]
    TooDeep {
        /// What is allowed.
        limit: usize,
    },
    /// More nodes than `Limits::ddf_nodes`, or more elements than such nodes need.
    #[error("the DDF describes more than {limit} nodes; split it")]
    TooMany {
        /// What is allowed.
        limit: usize,
    },
    /// Not well-formed XML, or with entities of its own.
    #[error("the DDF is not the XML that is read here, near byte {offset}: {message}")]
    Xml {
        /// Counted from 0.
        offset: u64,
        /// What is wrong.
        message: String,
    },
    /// No `MgmtTree` with a `Node` in it.
    #[error("the DDF has no MgmtTree with a Node in it; is this another kind of document?")]
    NoRoot,
    /// An element with something unexpected in it.
    #[error("{element} of node {node:?}: {found:?} is not known")]
    Content {
        /// The element.
        element: &'static str,
        /// The node, as in `NodeName`, shortened.
        node: String,
        /// What was found, shortened.
        found: String,
    },
    /// Two children of one name, or two unnamed ones: no path could tell them apart.
    #[error("node {node:?} has two children {child:?}; name them differently")]
    Ambiguous {
        /// The parent, as in `NodeName`, shortened.
        node: String,
        /// The name, or `<x>`.
        child: String,
    },
    /// A node that the DDF does not describe.
    #[error("the DDF knows no node {node:?}; remove it")]
    UnknownNode {
        /// Path below the MO root, shortened.
        node: String,
    },
    /// A node that stands twice in the list.
    #[error("the node {node:?} is given twice; remove one")]
    Repeated {
        /// Path below the MO root, shortened.
        node: String,
    },
    /// A value of another format than described.
    #[error("{node:?} has format {found}, the DDF asks for {expected}")]
    WrongFormat {
        /// Path below the MO root, shortened.
        node: String,
        /// The format of the DDF.
        expected: Format,
        /// The format of the value; `node` = no value.
        found: Format,
    },
    /// Too few or too many nodes of one description.
    #[error("{parent:?} has {found} of {child:?}, the DDF asks for {expected:?}")]
    WrongCount {
        /// Path below the MO root, shortened.
        parent: String,
        /// The name, or `<x>`.
        child: String,
        /// How many there are.
        found: usize,
        /// How many there may be.
        expected: Occurrence,
    },
}

/// How the specification writes a node whose name is given at creation.
const UNNAMED: &str = "<x>";

impl Ddf {
    /// Reads a DDF document. Tolerated: a missing `NodeName`, `DDFName`, `DFProperties` or any optional element, a DOCTYPE,
    /// processing instructions, foreign elements. `RTProperties` and `Path` are ignored, and so is all but the first tree.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Ddf, DdfError> {
        read::ddf(bytes, limits)
    }

    /// The description at a path below the MO root. An unnamed node matches any name not taken by a named sibling.
    pub fn find(&self, path: &[String]) -> Option<&DdfNode> {
        path.iter()
            .try_fold(&self.root, |node, name| node.child(name))
    }

    /// The key of the root in `MOData`: the root's name, else the MOID without prefix and version, else `MO`.
    // choice: `urn:oma:mo:oma-fumo:1.0` gives `fumo`, as an independent implementer does; a reader accepts any key.
    pub fn root_name(&self) -> &str {
        self.root
            .name
            .as_deref()
            .or(self.moid.as_deref().map(short_name))
            .unwrap_or("MO")
    }

    /// Checks the nodes of a whole instance, relative to its root: every node is described, its format fits, nothing
    /// required is missing, nothing occurs too often.
    pub fn check(&self, nodes: &[Node]) -> Result<(), DdfError> {
        self.check_at(&[], nodes)
    }

    /// The same for the subtree at `base`, with `nodes` relative to it, as when that subtree is created or replaced.
    pub fn check_at(&self, base: &[String], nodes: &[Node]) -> Result<(), DdfError> {
        check::subtree(self, base, nodes)
    }
}

impl DdfNode {
    /// The description of a child with this name.
    pub fn child(&self, name: &str) -> Option<&DdfNode> {
        self.children.get(self.child_index(name)?)
    }

    fn child_index(&self, name: &str) -> Option<usize> {
        let named = |child: &DdfNode| child.name.as_deref() == Some(name);
        let unnamed = |child: &DdfNode| child.name.is_none();
        self.children
            .iter()
            .position(named)
            .or_else(|| self.children.iter().position(unnamed))
    }

    /// True if it holds a value, false if it has children.
    pub fn is_leaf(&self) -> bool {
        self.format != Format::Node
    }
}

impl AccessTypes {
    /// From the element names inside `AccessType`, such as `["Get", "Replace"]`; others (`Copy`) are ignored.
    pub fn from_elements<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut access = AccessTypes::default();
        for name in names {
            match name {
                "Get" => access.get = true,
                "Add" => access.add = true,
                "Replace" => access.replace = true,
                "Delete" => access.delete = true,
                "Exec" => access.exec = true,
                _ => {}
            }
        }
        access
    }
}

impl Occurrence {
    /// True if at least one must be there.
    pub fn is_required(&self) -> bool {
        matches!(
            self,
            Occurrence::One | Occurrence::OneOrMore | Occurrence::OneOrN(_)
        )
    }

    /// The most there may be; `None` = any number.
    pub fn max(&self) -> Option<u32> {
        match self {
            Occurrence::One | Occurrence::ZeroOrOne => Some(1),
            Occurrence::ZeroOrN(n) | Occurrence::OneOrN(n) => Some(*n),
            Occurrence::ZeroOrMore | Occurrence::OneOrMore => None,
        }
    }

    /// True if this number is right.
    pub fn allows(&self, count: usize) -> bool {
        (count > 0 || !self.is_required())
            && self
                .max()
                .is_none_or(|max| count <= usize::try_from(max).unwrap_or(usize::MAX))
    }
}

/// The MOID without its prefix and version.
fn short_name(moid: &str) -> &str {
    let name = moid.rsplit(':').nth(1).unwrap_or(moid);
    name.strip_prefix("oma-").unwrap_or(name)
}
