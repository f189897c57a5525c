//! Certificates of the calling authority (`urn:oma:mo:x-bailiwick-cert:1.0`), and what the local applications that it
//! certifies may do (`urn:oma:mo:x-bailiwick-app-grant:1.0`).
//!
//! choice: the nodes of OMA's own certificate object are not in the text at hand, so these types are ours. The host keeps
//! the certificates and the rights, and lists and changes those of the calling authority alone.

mod certificate;
mod grant;
mod time;

use bailiwick_plugin::{Error, LeafValue, ManagementObject, Node, NodeRef, ReadOptions, Result};

/// Both objects.
#[derive(Default)]
pub struct Certificates;

impl ManagementObject for Certificates {
    fn instances(&mut self, mo: &str) -> Result<Vec<String>> {
        match mo {
            certificate::MOID => certificate::brought(),
            _ => Ok(Vec::new()),
        }
    }

    fn create_instance(&mut self, mo: &str, _instance: &str, initial: Vec<Node>) -> Result<()> {
        match mo {
            certificate::MOID => certificate::create(&initial),
            grant::MOID => grant::create(&initial),
            _ => Err(Error::NotFound),
        }
    }

    fn delete_instance(&mut self, mo: &str, _instance: &str) -> Result<()> {
        match mo {
            certificate::MOID => certificate::delete(),
            grant::MOID => grant::delete(),
            _ => Err(Error::NotFound),
        }
    }

    fn read(&mut self, target: &NodeRef, options: ReadOptions) -> Result<Vec<Node>> {
        let tree = match target.mo.as_str() {
            certificate::MOID => certificate::tree(&target.instance)?,
            grant::MOID => grant::tree()?,
            _ => return Err(Error::NotFound),
        };
        tree.subtree(&target.path, options)
    }
}

bailiwick_plugin::export!(object Certificates);

/// The text of a leaf.
fn text(node: &Node) -> Result<&str> {
    match &node.value {
        Some(LeafValue::Chars(text)) => Ok(text),
        _ => Err(Error::invalid_argument(format!(
            "{} is text",
            node.path.join("/")
        ))),
    }
}

/// A node that the device sets was given.
fn not_to_be_set(node: &Node) -> Error {
    Error::invalid_argument(format!(
        "{} is set by the device; leave it out",
        node.path.join("/")
    ))
}

#[cfg(test)]
mod tests;
