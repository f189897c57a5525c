//! A subtree as a list of nodes in pre-order, built from a table and cut to what was asked for.

use crate::{Error, LeafValue, Node, ReadOptions, Result};

/// The nodes of an instance, from its root.
///
/// ```
/// # use bailiwick_plugin::{ReadOptions, Tree, Node};
/// let tree = Tree::new().leaf("Auth/Trsp/Data", vec![1u8]).leaf("Name", "Ops").interior("Ext");
/// let nodes = tree.subtree(&["Auth".into()], ReadOptions::ALL).unwrap();
/// assert_eq!(nodes, [Node::interior(&[]), Node::interior(&["Trsp"]), Node::leaf(&["Trsp", "Data"], vec![1u8])]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// In pre-order; the root is first.
    nodes: Vec<Node>,
}

impl Tree {
    /// A root without children.
    pub fn new() -> Self {
        Self {
            nodes: vec![Node::interior(&[])],
        }
    }

    /// Adds a leaf. `path` is written with `/` and counts from the root; missing parents come with it. Siblings keep the
    /// order in which they were added. A leaf that exists gets the new value.
    pub fn leaf(self, path: &str, value: impl Into<LeafValue>) -> Self {
        self.put(path, Some(value.into()))
    }

    /// Adds a leaf if there is a value.
    pub fn optional(self, path: &str, value: Option<impl Into<LeafValue>>) -> Self {
        match value {
            Some(value) => self.leaf(path, value),
            None => self,
        }
    }

    /// Adds an interior node; missing parents come with it.
    pub fn interior(self, path: &str) -> Self {
        self.put(path, None)
    }

    /// The node at `path` and all below it, relative to it, as [`read`](crate::ManagementObject::read) must answer.
    pub fn subtree(self, path: &[String], options: ReadOptions) -> Result<Vec<Node>> {
        let mut nodes = self
            .nodes
            .into_iter()
            .skip_while(|node| node.path != path)
            .peekable();
        nodes.peek().ok_or(Error::NotFound)?;
        let below = nodes.take_while(|node| node.path.starts_with(path));
        limited(
            below.map(|node| Node {
                path: node.path[path.len()..].to_vec(),
                ..node
            }),
            options,
        )
    }

    fn put(mut self, path: &str, value: Option<LeafValue>) -> Self {
        let path: Vec<String> = path.split('/').map(String::from).collect();
        for depth in 1..path.len() {
            self.insert(&path[..depth], None);
        }
        self.insert(&path, value);
        self
    }

    /// Puts a node behind the last one below its parent, which exists.
    fn insert(&mut self, path: &[String], value: Option<LeafValue>) {
        if let Some(known) = self.nodes.iter_mut().find(|node| node.path == path) {
            if value.is_some() {
                known.value = value;
            }
            return;
        }
        let parent = &path[..path.len() - 1];
        let last = self
            .nodes
            .iter()
            .rposition(|node| node.path.starts_with(parent));
        self.nodes.insert(
            last.map_or(0, |last| last + 1),
            Node {
                path: path.to_vec(),
                value,
            },
        );
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps to what the caller wants: no more nodes than `max_nodes`, and for `names_only` leaves without a value
/// (`null`, so that they still differ from interior nodes).
pub(crate) fn limited(
    nodes: impl Iterator<Item = Node>,
    options: ReadOptions,
) -> Result<Vec<Node>> {
    let mut kept = Vec::new();
    for mut node in nodes {
        if kept.len() == options.max_nodes as usize {
            return Err(Error::TooLarge);
        }
        if options.names_only && node.value.is_some() {
            node.value = Some(LeafValue::Null);
        }
        kept.push(node);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::new()
            .leaf("A/X", "1")
            .leaf("B", 2)
            .leaf("A/Y", true)
            .interior("C")
            .optional("D", None::<i64>)
    }

    fn names(nodes: &[Node]) -> Vec<String> {
        nodes.iter().map(|node| node.path.join("/")).collect()
    }

    #[test]
    fn is_in_pre_order_whatever_the_order_of_adding() {
        let nodes = tree().subtree(&[], ReadOptions::ALL).unwrap();
        assert_eq!(names(&nodes), ["", "A", "A/X", "A/Y", "B", "C"]);
        assert_eq!(nodes[3].value, Some(LeafValue::Boolean(true)));
        assert_eq!(nodes[5].value, None);
    }

    #[test]
    fn a_leaf_added_again_gets_the_new_value() {
        let nodes = tree()
            .leaf("B", 3)
            .subtree(&["B".into()], ReadOptions::ALL)
            .unwrap();
        assert_eq!(nodes, [Node::leaf(&[], 3)]);
    }

    #[test]
    fn a_path_that_is_not_there_is_not_found() {
        for path in [vec!["Z".to_string()], vec!["A".into(), "Z".into()]] {
            assert_eq!(
                tree().subtree(&path, ReadOptions::ALL),
                Err(Error::NotFound)
            );
        }
    }

    #[test]
    fn names_only_leaves_out_values_and_keeps_the_structure() {
        let options = ReadOptions {
            names_only: true,
            ..ReadOptions::ALL
        };
        let nodes = tree().subtree(&["A".into()], options).unwrap();
        assert_eq!(nodes[0], Node::interior(&[]));
        assert_eq!(nodes[1], Node::leaf(&["X"], LeafValue::Null));
    }

    #[test]
    fn more_nodes_than_wanted_are_too_large() {
        let limit = |max_nodes| ReadOptions {
            max_nodes,
            names_only: false,
        };
        assert_eq!(
            tree().subtree(&[], limit(6)).map(|nodes| nodes.len()),
            Ok(6)
        );
        assert_eq!(tree().subtree(&[], limit(5)), Err(Error::TooLarge));
    }
}
