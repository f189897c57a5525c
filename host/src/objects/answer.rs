//! Lists of nodes from outside, checked before anybody believes them: what a plug-in answers to a read, and
//! what a local application wants to write.

use std::collections::HashSet;

use bailiwick_protocol::{Ddf, DdfNode, Format, Limits, Node, Value};

/// What is wrong with an answer of a plug-in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An answer to another question.
    #[error("it answered another question than it was asked")]
    OtherAnswer,
    /// No nodes, not even the one that was asked for.
    #[error("the first node is not the one that was asked for, with the empty path")]
    NoStart,
    /// More nodes than `read-options.max-nodes`, or more instances than are read.
    #[error("it lists more than {limit} nodes or instances")]
    TooManyNodes {
        /// What is allowed.
        limit: usize,
    },
    /// More dynamic types than are read.
    #[error("it serves {found} dynamic types, at most {limit} are read")]
    TooManyTypes {
        /// What was found.
        found: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A path longer than is read.
    #[error("{node:?} is nested deeper than {limit} nodes")]
    TooDeep {
        /// The node, shortened.
        node: String,
        /// What is allowed.
        limit: usize,
    },
    /// A name that no node or instance can have.
    #[error("{name:?} is no name of a node or instance")]
    Name {
        /// The name, shortened.
        name: String,
    },
    /// The same node or instance twice.
    #[error("{node:?} is listed twice")]
    Repeated {
        /// The node or instance, shortened.
        node: String,
    },
    /// A node that does not follow its parent.
    #[error("{node:?} does not stand below its parent, in pre-order")]
    OutOfOrder {
        /// The node, shortened.
        node: String,
    },
    /// A node that the description does not know.
    #[error("the DDF knows no node {node:?}")]
    Unknown {
        /// The node, shortened.
        node: String,
    },
    /// A value of another format than described, or a value where there are children.
    #[error("{node:?} has format {found}, the DDF asks for {expected}")]
    Format {
        /// The node, shortened.
        node: String,
        /// The format of the DDF.
        expected: Format,
        /// The format of the value; `node` = no value.
        found: Format,
    },
    /// A value that its format does not allow, or that is too large.
    #[error("{node:?}: {reason}")]
    Value {
        /// The node, shortened.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// The description that an instance was made by cannot be read any more.
    #[error("the description of the instance cannot be read: {0}")]
    Description(String),
}

impl Fault {
    pub(super) fn name(name: &str) -> Self {
        Fault::Name {
            name: excerpt(name),
        }
    }
}

/// Checks the nodes of the subtree at `base`, with paths relative to it: pre-order from the empty path, no
/// duplicates, nothing that the description does not know, formats as described. `null` fits every leaf: it has
/// no value now.
pub(super) fn check(
    ddf: &Ddf,
    base: &[String],
    nodes: &[Node],
    limits: &Limits,
) -> Result<(), Fault> {
    if nodes.len() > limits.nodes {
        return Err(Fault::TooManyNodes {
            limit: limits.nodes,
        });
    }
    let start = ddf
        .find(base)
        .ok_or_else(|| Fault::Unknown { node: text(base) })?;
    if nodes.first().is_none_or(|node| !node.path.is_empty()) {
        return Err(Fault::NoStart);
    }
    let mut seen: HashSet<&[String]> = HashSet::new();
    let mut previous: Option<&Node> = None;
    for node in nodes {
        check_name(base, node, limits)?;
        if !seen.insert(&node.path) {
            return Err(Fault::Repeated {
                node: text(&node.path),
            });
        }
        if !follows(node, previous) {
            return Err(Fault::OutOfOrder {
                node: text(&node.path),
            });
        }
        let described = node
            .path
            .iter()
            .try_fold(start, |above, name| above.child(name));
        let described = described.ok_or_else(|| Fault::Unknown {
            node: text(&node.path),
        })?;
        check_value(node, described, limits)?;
        previous = Some(node);
    }
    Ok(())
}

fn check_name(base: &[String], node: &Node, limits: &Limits) -> Result<(), Fault> {
    if base.len() + node.path.len() > limits.depth {
        return Err(Fault::TooDeep {
            node: text(&node.path),
            limit: limits.depth,
        });
    }
    match node.path.last() {
        Some(name) if !is_name(name, limits) => Err(Fault::name(name)),
        _ => Ok(()),
    }
}

/// Whether a node stands directly below the previous one or below one of the nodes above that. Since every node
/// was checked so, a leaf as parent is the only other way to be wrong.
fn follows(node: &Node, previous: Option<&Node>) -> bool {
    let (Some((_, parent)), Some(previous)) = (node.path.split_last(), previous) else {
        return node.path.is_empty() && previous.is_none();
    };
    previous.path.starts_with(parent)
        && (previous.path.len() > parent.len() || previous.value.is_none())
}

fn check_value(node: &Node, described: &DdfNode, limits: &Limits) -> Result<(), Fault> {
    let found = node.value.as_ref().map_or(Format::Node, Value::format);
    let fits = found == described.format || (found == Format::Null && described.is_leaf());
    if !fits {
        let (node, expected) = (text(&node.path), described.format);
        return Err(Fault::Format {
            node,
            expected,
            found,
        });
    }
    let Some(value) = &node.value else {
        return Ok(());
    };
    let bytes = match value {
        Value::Bin(bytes) => bytes.len(),
        Value::Chr(text) | Value::B64(text) | Value::Xml(text) => text.len(),
        Value::Date(text) | Value::Time(text) => text.len(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
    };
    let wrong = |reason: String| Fault::Value {
        node: text(&node.path),
        reason,
    };
    if bytes > limits.value_bytes {
        return Err(wrong(format!(
            "{bytes} bytes, at most {} are read",
            limits.value_bytes
        )));
    }
    match value {
        Value::Int(_) | Value::Float(_) | Value::B64(_) | Value::Date(_) | Value::Time(_) => {
            let read = Value::from_text(&value.as_text(), value.format(), limits);
            read.map(drop).map_err(|error| wrong(error.to_string()))
        }
        _ => Ok(()),
    }
}

/// Whether a text can be the name of a node, a MOID or a MIID: 1 to `Limits::name_bytes` bytes, no control
/// characters, no dot segment (RFC 3986 §3.3).
pub(super) fn is_name(text: &str, limits: &Limits) -> bool {
    !text.is_empty()
        && text.len() <= limits.name_bytes
        && !matches!(text, "." | "..")
        && !text.chars().any(char::is_control)
}

/// A path for a message.
pub(super) fn text(path: &[String]) -> String {
    excerpt(&path.join("/"))
}

fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}
