//! A part of an instance in memory, while changes are made to it.

use crate::value;
use bailiwick_plugin::Result;
use bailiwick_protocol::{DdfNode, Node, Value};
use std::collections::BTreeMap;

/// A node and all below it.
pub(crate) struct Branch {
    /// `None`: interior.
    value: Option<Value>,
    /// Differs from what is stored.
    is_changed: bool,
    children: BTreeMap<String, Branch>,
}

impl Branch {
    /// An interior node that is not stored yet.
    pub(crate) fn new() -> Self {
        Self {
            value: None,
            is_changed: true,
            children: BTreeMap::new(),
        }
    }

    /// Adds a node that is stored.
    pub(crate) fn load(&mut self, path: &[String], value: Option<Value>) {
        let node = self.at(path);
        node.value = value;
        node.is_changed = false;
    }

    /// Adds or replaces a node, with the parents that are missing. What is below an interior node stays.
    pub(crate) fn put(&mut self, path: &[String], value: Option<Value>) {
        let node = self.at(path);
        node.is_changed |= node.value != value;
        node.value = value;
    }

    /// Takes a node out, with all below it.
    pub(crate) fn remove(&mut self, path: &[String]) -> Option<Branch> {
        let (name, parents) = path.split_last()?;
        let parent = parents
            .iter()
            .try_fold(self, |node, name| node.children.get_mut(name))?;
        parent.children.remove(name)
    }

    /// Gives each new interior node the named children that it must have: leaves with a default, and interior
    /// nodes, which are completed in turn.
    pub(crate) fn complete(&mut self, description: &DdfNode) -> Result<()> {
        if self.is_changed && self.value.is_none() {
            let is_required = |child: &&DdfNode| child.occurrence.is_required();
            let mut required = description.children.iter().filter(is_required);
            required.try_for_each(|child| self.add_missing(child))?;
        }
        for (name, branch) in &mut self.children {
            match description.child(name) {
                Some(child) if !child.is_leaf() => branch.complete(child)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds a child unless it is there, has no name yet, or is a leaf that only the authority can fill.
    fn add_missing(&mut self, description: &DdfNode) -> Result<()> {
        let Some(name) = &description.name else {
            return Ok(());
        };
        let mut child = Branch::new();
        if description.is_leaf() {
            child.value = value::default_of(description)?;
        }
        if description.is_leaf() == child.value.is_some() {
            self.children.entry(name.clone()).or_insert(child);
        }
        Ok(())
    }

    /// All nodes in pre-order, and whether each differs from what is stored.
    pub(crate) fn into_nodes(self) -> (Vec<Node>, Vec<bool>) {
        let mut all = (Vec::new(), Vec::new());
        self.push_to(&mut all, Vec::new());
        all
    }

    fn push_to(self, all: &mut (Vec<Node>, Vec<bool>), path: Vec<String>) {
        all.0.push(Node {
            path: path.clone(),
            value: self.value,
        });
        all.1.push(self.is_changed);
        for (name, child) in self.children {
            let mut path = path.clone();
            path.push(name);
            child.push_to(all, path);
        }
    }

    fn at(&mut self, path: &[String]) -> &mut Branch {
        path.iter().fold(self, |node, name| {
            node.children
                .entry(name.clone())
                .or_insert_with(Branch::new)
        })
    }
}
