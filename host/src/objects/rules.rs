//! What the description of a type (DDF) lets anybody do at most, whatever their rights (OMA DM 2.0 §7.1; DDF
//! AccessType and Scope). Pure: descriptions and lists of nodes in, a plan or a refusal out.

mod plan;

use bailiwick_protocol::{Ddf, DdfError, DdfNode, Node, Scope, StatusCode};

use super::Fault;
use super::answer::text;

pub(super) use plan::{deletion, initial, replacement};

/// Why the description refuses an access.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The description knows no such node.
    #[error("the type has no node {node:?}")]
    NoSuchNode {
        /// Path below the root, shortened.
        node: String,
    },
    /// There is no such node in this instance.
    #[error("the instance has no node {node:?}")]
    Absent {
        /// Path below the root, shortened.
        node: String,
    },
    /// The node does not take this command.
    #[error("{node:?} cannot be {done}: its description does not allow it")]
    NotAllowed {
        /// Path below the root, shortened.
        node: String,
        /// read, replaced, ...
        done: &'static str,
    },
    /// The node comes and goes with its parent.
    #[error("{node:?} is permanent and cannot be {done}")]
    Permanent {
        /// Path below the root, shortened.
        node: String,
        /// created, deleted.
        done: &'static str,
    },
    /// What would result does not follow the description.
    #[error("the data do not fit: {0}")]
    Result(#[from] DdfError),
    /// A value of the description itself is wrong.
    #[error("the default value of {node:?} does not fit its format; correct the DDF")]
    Default {
        /// Path below the root, shortened.
        node: String,
    },
    /// What is to be written is no tree of this type.
    #[error("the data do not fit: {0}")]
    Data(#[from] Fault),
}

impl Refusal {
    /// The status of the command.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchNode { .. } | Self::Absent { .. } => StatusCode::NOT_FOUND,
            Self::NotAllowed { .. } | Self::Permanent { .. } => StatusCode::NOT_ALLOWED,
            Self::Result(_) | Self::Data(_) => StatusCode::BAD_REQUEST,
            Self::Default { .. } => StatusCode::FAILED,
        }
    }

    fn not_allowed(path: &[String], done: &'static str) -> Self {
        Self::NotAllowed {
            node: text(path),
            done,
        }
    }

    fn permanent(path: &[String], done: &'static str) -> Self {
        Self::Permanent {
            node: text(path),
            done,
        }
    }
}

/// The description of a node.
pub(super) fn described<'a>(ddf: &'a Ddf, path: &[String]) -> Result<&'a DdfNode, Refusal> {
    ddf.find(path)
        .ok_or_else(|| Refusal::NoSuchNode { node: text(path) })
}

/// Whether a node may leave the device: it and all above it have `Get`. What stands below a node without `Get`
/// stays with it (OMA DM 2.0, "No Get").
pub(super) fn is_readable(ddf: &Ddf, path: &[String]) -> bool {
    let mut node = Some(&ddf.root);
    let mut names = path.iter();
    while let Some(known) = node {
        if !known.access.get {
            return false;
        }
        match names.next() {
            Some(name) => node = known.child(name),
            None => return true,
        }
    }
    false
}

/// Checks a read of a node.
pub(super) fn may_read(ddf: &Ddf, path: &[String]) -> Result<(), Refusal> {
    described(ddf, path)?;
    match is_readable(ddf, path) {
        true => Ok(()),
        false => Err(Refusal::not_allowed(path, "read")),
    }
}

/// Checks an EXEC of a node.
pub(super) fn may_execute(ddf: &Ddf, path: &[String]) -> Result<(), Refusal> {
    match described(ddf, path)?.access.exec {
        true => Ok(()),
        false => Err(Refusal::not_allowed(path, "executed")),
    }
}

/// Whether instances of the type are made and deleted by commands.
///
/// choice: the scope of the root alone decides. Definitions of MOs list the least access types, and most list
/// `Get` alone for a root that comes and goes.
pub(super) fn may_come_and_go(ddf: &Ddf, done: &'static str) -> Result<(), Refusal> {
    match ddf.root.scope {
        Scope::Dynamic => Ok(()),
        Scope::Permanent => Err(Refusal::permanent(&[ddf.root_name().to_owned()], done)),
    }
}

/// What of the subtree at `base` may leave the device.
pub(super) fn readable_part(ddf: &Ddf, base: &[String], nodes: Vec<Node>) -> Vec<Node> {
    let mut path = base.to_vec();
    let mut nodes = nodes;
    nodes.retain(|node| {
        path.truncate(base.len());
        path.extend_from_slice(&node.path);
        is_readable(ddf, &path)
    });
    nodes
}
