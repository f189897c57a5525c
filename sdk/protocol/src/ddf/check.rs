//! Nodes against their description.

use super::{Ddf, DdfError, DdfNode, UNNAMED};
use crate::{limits::excerpt, object::Node, value::Format};
use std::collections::{BTreeMap, BTreeSet};

/// The names below each interior node.
type Children<'a> = BTreeMap<&'a [String], BTreeSet<&'a str>>;

pub(super) fn subtree(ddf: &Ddf, base: &[String], nodes: &[Node]) -> Result<(), DdfError> {
    let check = Check { ddf, base };
    let mut seen = BTreeSet::new();
    let mut children = Children::new();
    for node in nodes {
        if !seen.insert(node.path.as_slice()) {
            return Err(DdfError::Repeated {
                node: check.text(&node.path),
            });
        }
        check.format(node)?;
        if node.value.is_none() {
            children.entry(&node.path).or_default();
        }
        enter_ancestors(&mut children, &node.path);
    }
    children
        .iter()
        .try_for_each(|(parent, names)| check.counts(parent, names))
}

/// Notes a node below its parent, that parent below its own, and so on; a list may leave interior nodes out.
fn enter_ancestors<'a>(children: &mut Children<'a>, path: &'a [String]) {
    let mut rest = path;
    while let Some((name, parent)) = rest.split_last() {
        if !children.entry(parent).or_default().insert(name) {
            return;
        }
        rest = parent;
    }
}

struct Check<'a> {
    ddf: &'a Ddf,
    base: &'a [String],
}

impl Check<'_> {
    fn format(&self, node: &Node) -> Result<(), DdfError> {
        let expected = self.find(&node.path)?.format;
        let found = node
            .value
            .as_ref()
            .map_or(Format::Node, |value| value.format());
        match expected == found {
            true => Ok(()),
            false => Err(DdfError::WrongFormat {
                node: self.text(&node.path),
                expected,
                found,
            }),
        }
    }

    fn counts(&self, parent: &[String], names: &BTreeSet<&str>) -> Result<(), DdfError> {
        let description = self.find(parent)?;
        let mut counts = vec![0; description.children.len()];
        for index in names
            .iter()
            .filter_map(|name| description.child_index(name))
        {
            if let Some(count) = counts.get_mut(index) {
                *count += 1;
            }
        }
        for (child, found) in description.children.iter().zip(counts) {
            if !child.occurrence.allows(found) {
                return Err(DdfError::WrongCount {
                    parent: self.text(parent),
                    child: excerpt(child.name.as_deref().unwrap_or(UNNAMED)),
                    found,
                    expected: child.occurrence,
                });
            }
        }
        Ok(())
    }

    fn find(&self, path: &[String]) -> Result<&DdfNode, DdfError> {
        let start = self.ddf.find(self.base);
        start
            .and_then(|start| path.iter().try_fold(start, |node, name| node.child(name)))
            .ok_or_else(|| DdfError::UnknownNode {
                node: self.text(path),
            })
    }

    fn text(&self, path: &[String]) -> String {
        excerpt(&[self.base, path].concat().join("/"))
    }
}
