//! A change of an instance, planned from what is there and what is wanted.
//!
//! HGET replaces all existing data at its ClientURI (OMA DM 2.0 §6.1). choice: "all" is what the description
//! lets a server delete; what is permanent or cannot be deleted stays as it is when the data do not mention it,
//! so that a server need not repeat the values that only the device may set. A value that is already there is
//! not written again, and therefore needs no `Replace`.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_protocol::{Ddf, DdfError, DdfNode, Limits, Node, Path, Scope, Value};

use super::{Refusal, described, is_readable};
use crate::objects::answer::{self, text};
use crate::plugins::Change;

/// Nodes by path from the root of the instance. The order of paths is a pre-order.
type Tree = BTreeMap<Path, Option<Value>>;

/// Plans that `wanted`, relative to `target`, replaces what is there. `current` is the whole instance.
pub(crate) fn replacement(
    ddf: &Ddf,
    current: &[Node],
    target: &[String],
    wanted: &[Node],
    limits: &Limits,
) -> Result<Vec<Change>, Refusal> {
    described(ddf, target)?;
    answer::check(ddf, target, wanted, limits)?;
    let mut plan = Plan::new(ddf, tree(&[], current));
    let wanted = tree(target, wanted);
    plan.delete_unmentioned(target, &wanted);
    plan.create_above(target)?;
    for (path, value) in wanted {
        plan.put(path, value)?;
    }
    plan.complete(limits)?;
    plan.check_counts()?;
    Ok(plan.changes())
}

/// Plans the deletion of a node below the root, with all below it.
pub(crate) fn deletion(
    ddf: &Ddf,
    current: &[Node],
    target: &[String],
) -> Result<Vec<Change>, Refusal> {
    let node = described(ddf, target)?;
    if node.scope == Scope::Permanent {
        return Err(Refusal::permanent(target, "deleted"));
    }
    if !node.access.delete {
        return Err(Refusal::not_allowed(target, "deleted"));
    }
    let mut plan = Plan::new(ddf, tree(&[], current));
    if !plan.exists(target) {
        return Err(Refusal::Absent { node: text(target) });
    }
    plan.delete(target.to_vec());
    plan.check_counts()?;
    Ok(plan.changes())
}

/// Plans the content of a new instance, whatever the access types: named permanent nodes come with their parent,
/// and who makes an instance says how it begins.
pub(crate) fn initial(ddf: &Ddf, wanted: &[Node], limits: &Limits) -> Result<Vec<Node>, Refusal> {
    answer::check(ddf, &[], wanted, limits)?;
    let mut plan = Plan::new(ddf, Tree::new());
    for (path, value) in tree(&[], wanted) {
        plan.create(path, value);
    }
    plan.complete(limits)?;
    plan.check_counts()?;
    Ok(plan
        .puts
        .into_iter()
        .map(|(path, value)| Node { path, value })
        .collect())
}

/// The changes as they are decided, over what is there.
struct Plan<'a> {
    ddf: &'a Ddf,
    current: Tree,
    deleted: Vec<Path>,
    puts: Tree,
    /// Those of the puts that are not there yet.
    created: BTreeSet<Path>,
}

impl<'a> Plan<'a> {
    fn new(ddf: &'a Ddf, current: Tree) -> Self {
        Self {
            ddf,
            current,
            deleted: Vec::new(),
            puts: Tree::new(),
            created: BTreeSet::new(),
        }
    }

    /// Whether a node is there. One that may not be read need not be shown by its plug-in: it is there if it
    /// comes with its parent, and it may be there otherwise.
    fn exists(&self, path: &[String]) -> bool {
        self.current.contains_key(path)
            || (!is_readable(self.ddf, path)
                && path
                    .split_last()
                    .is_some_and(|(_, parent)| self.exists(parent)))
    }

    fn delete(&mut self, path: Path) {
        self.current.retain(|known, _| !known.starts_with(&path));
        self.deleted.push(path);
    }

    fn delete_unmentioned(&mut self, target: &[String], wanted: &Tree) {
        let below: Vec<Path> = below(&self.current, target).cloned().collect();
        for path in below {
            let deletable = self
                .ddf
                .find(&path)
                .is_some_and(|node| node.scope == Scope::Dynamic && node.access.delete);
            if deletable && !wanted.contains_key(&path) && self.current.contains_key(&path) {
                self.delete(path);
            }
        }
    }

    /// Creates what is missing between the deepest existing node and the target.
    fn create_above(&mut self, target: &[String]) -> Result<(), Refusal> {
        for length in 1..target.len() {
            let Some(path) = target.get(..length) else {
                break;
            };
            if !self.exists(path) && !self.created.contains(path) {
                self.may_add(path)?;
                self.create(path.to_vec(), None);
            }
        }
        Ok(())
    }

    fn put(&mut self, path: Path, value: Option<Value>) -> Result<(), Refusal> {
        if path.is_empty() || self.current.get(&path) == Some(&value) {
            return Ok(());
        }
        if !self.exists(&path) {
            self.may_add(&path)?;
            self.create(path, value);
            return Ok(());
        }
        if value.is_some() {
            let replaceable = described(self.ddf, &path)?.access.replace;
            // A node that is not shown may be new after all.
            let addable = !self.current.contains_key(&path) && self.may_add(&path).is_ok();
            if !replaceable && !addable {
                return Err(Refusal::not_allowed(&path, "replaced"));
            }
            self.puts.insert(path, value);
        }
        Ok(())
    }

    /// Whether a node that is not there may be created: with its parent always, by itself if it is dynamic.
    ///
    /// choice: deployed descriptions put `Add` on the node that is added or on its parent; either counts.
    fn may_add(&self, path: &[String]) -> Result<(), Refusal> {
        let Some((_, parent)) = path.split_last() else {
            return Ok(());
        };
        if self.created.contains(parent) {
            return Ok(());
        }
        let node = described(self.ddf, path)?;
        if node.scope == Scope::Permanent {
            return Err(Refusal::permanent(path, "created"));
        }
        match node.access.add || described(self.ddf, parent)?.access.add {
            true => Ok(()),
            false => Err(Refusal::not_allowed(path, "created")),
        }
    }

    fn create(&mut self, path: Path, value: Option<Value>) {
        self.created.insert(path.clone());
        self.puts.insert(path, value);
    }

    /// Gives every new interior node the named children that it must have: with the default value of the
    /// description, where there is one.
    fn complete(&mut self, limits: &Limits) -> Result<(), Refusal> {
        let mut parents: Vec<Path> = self.created.iter().cloned().collect();
        while let Some(parent) = parents.pop() {
            let Some(node) = self.ddf.find(&parent) else {
                continue;
            };
            for child in node
                .children
                .iter()
                .filter(|child| child.occurrence.is_required())
            {
                let Some(name) = &child.name else { continue };
                let path = [parent.as_slice(), std::slice::from_ref(name)].concat();
                if self.created.contains(&path) {
                    continue;
                }
                if !child.is_leaf() {
                    self.create(path.clone(), None);
                    parents.push(path);
                } else if let Some(default) = &child.default {
                    let value = Value::from_text(default, child.format, limits)
                        .map_err(|_| Refusal::Default { node: text(&path) })?;
                    self.create(path, Some(value));
                }
            }
        }
        Ok(())
    }

    /// Checks how many children there are, wherever that changes.
    fn check_counts(&self) -> Result<(), Refusal> {
        let changed = self.deleted.iter().chain(&self.created);
        let parents = changed.filter_map(|path| path.split_last().map(|(_, parent)| parent));
        let new = self.created.iter().map(Vec::as_slice);
        let parents: BTreeSet<&[String]> = parents.chain(new).collect();
        parents
            .into_iter()
            .try_for_each(|parent| self.check_children(parent))
    }

    fn check_children(&self, parent: &[String]) -> Result<(), Refusal> {
        let Some(node) = self.ddf.find(parent) else {
            return Ok(());
        };
        let is_new = self.created.contains(parent);
        for child in &node.children {
            let stay = children(&self.current, parent, node, child);
            let come = children(&self.puts, parent, node, child);
            let found = stay.union(&come).count();
            let go = self.deleted.iter().any(|path| {
                path.split_last().is_some_and(|(name, above)| {
                    above == parent && is_described_by(node, name, child)
                })
            });
            let missing = found == 0 && child.occurrence.is_required();
            let excess = found > stay.len() && !child.occurrence.allows(found);
            if excess || (missing && (go || (is_new && is_for_server(child)))) {
                return Err(Refusal::Result(DdfError::WrongCount {
                    parent: text(parent),
                    child: child.name.clone().unwrap_or_else(|| "<x>".to_owned()),
                    found,
                    expected: child.occurrence,
                }));
            }
        }
        Ok(())
    }

    /// Deletions first, then puts with parents before children.
    fn changes(self) -> Vec<Change> {
        let deletions = self.deleted.into_iter().map(Change::Delete);
        let puts = self
            .puts
            .into_iter()
            .map(|(path, value)| Change::Put(Node { path, value }));
        deletions.chain(puts).collect()
    }
}

/// Whether a node that must be there is the server's to give. What is permanent, or only the device may set,
/// comes from the plug-in.
fn is_for_server(node: &DdfNode) -> bool {
    node.scope == Scope::Dynamic && (node.access.add || node.access.replace)
}

fn is_described_by(parent: &DdfNode, name: &str, child: &DdfNode) -> bool {
    parent
        .child(name)
        .is_some_and(|known| std::ptr::eq(known, child))
}

/// The names of those children of `parent` that `child` describes.
fn children<'t>(
    tree: &'t Tree,
    parent: &[String],
    node: &DdfNode,
    child: &DdfNode,
) -> BTreeSet<&'t str> {
    below(tree, parent)
        .filter(|path| path.len() == parent.len() + 1)
        .filter_map(|path| path.last())
        .filter(|name| is_described_by(node, name, child))
        .map(String::as_str)
        .collect()
}

/// The paths strictly below `parent`.
fn below<'t>(tree: &'t Tree, parent: &[String]) -> impl Iterator<Item = &'t Path> {
    tree.range(parent.to_vec()..)
        .map(|(path, _)| path)
        .take_while(move |path| path.starts_with(parent))
        .filter(move |path| path.len() > parent.len())
}

fn tree(base: &[String], nodes: &[Node]) -> Tree {
    nodes
        .iter()
        .map(|node| ([base, &node.path].concat(), node.value.clone()))
        .collect()
}
