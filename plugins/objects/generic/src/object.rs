//! One instance: its nodes in storage, one key each, and its DDF.

use crate::{branch::Branch, key, value};
use bailiwick_plugin::storage::{self, Entry};
use bailiwick_plugin::{Change, Error, LeafValue, Node, ReadOptions, Result};
use bailiwick_protocol::{Ddf, DdfNode, Value};
use std::mem;
use std::rc::Rc;

/// Keys and bytes, in key order.
type Stored = Vec<(String, Vec<u8>)>;

/// An instance.
pub(crate) struct Object {
    root: String,
    ddf: Rc<Ddf>,
}

impl Object {
    /// The instance whose root has this key.
    pub(crate) fn new(root: String, ddf: Rc<Ddf>) -> Self {
        Self { root, ddf }
    }

    /// Makes the instance. What is required and not given gets its default.
    pub(crate) fn create(&self, initial: Vec<Node>) -> Result<()> {
        let mut root = Branch::new();
        for node in initial {
            root.put(&node.path, node.value.map(Value::from));
        }
        self.write(&[], Vec::new(), Some(root))
    }

    /// Removes every node of the instance.
    pub(crate) fn delete(&self) -> Result<()> {
        let keys = storage::scan(&self.root)?.into_iter().map(|(key, _)| key);
        let entries: Vec<Entry> = keys.map(Entry::delete).collect();
        match entries.is_empty() {
            true => Err(Error::NotFound),
            false => storage::commit(&entries),
        }
    }

    /// The node and all below it: siblings in the order of the DDF, those of one description by name.
    pub(crate) fn read(&self, path: &[String], options: ReadOptions) -> Result<Vec<Node>> {
        let description = self.ddf.find(path).ok_or(Error::NotFound)?;
        let base = key::of(&self.root, path)?;
        let stored = storage::scan(&base)?;
        if stored.is_empty() {
            return Err(Error::NotFound);
        }
        if stored.len() > options.max_nodes as usize {
            return Err(Error::TooLarge);
        }
        let nodes = stored.into_iter().map(|(key, bytes)| {
            let value = match options.names_only {
                true => (!bytes.is_empty()).then_some(LeafValue::Null),
                false => value::from_bytes(bytes)?,
            };
            Ok(Node {
                path: key::path(&base, &key)?,
                value,
            })
        });
        let mut nodes = nodes.collect::<Result<Vec<Node>>>()?;
        arrange(&mut nodes[1..], 0, description);
        Ok(nodes)
    }

    /// Makes changes, if the instance still follows its DDF after the last of them.
    pub(crate) fn apply(&self, changes: Vec<Change>) -> Result<()> {
        let (base, stored) = self.affected(&changes)?;
        let base_key = key::of(&self.root, &base)?;
        let mut before = Vec::new();
        let mut branch = None;
        for (key, bytes) in stored {
            let value = value::from_bytes(bytes)?.map(Value::from);
            branch
                .get_or_insert_with(Branch::new)
                .load(&key::path(&base_key, &key)?, value);
            before.push(key);
        }
        for change in changes {
            match change {
                Change::Put(Node { path, value }) => branch
                    .get_or_insert_with(Branch::new)
                    .put(&path[base.len()..], value.map(Value::from)),
                Change::Delete(path) => remove(&mut branch, &path[base.len()..])?,
            }
        }
        self.write(&base, before, branch)
    }

    /// The smallest part of the instance that must be known to judge the changes, so that a change in a large
    /// instance stays a small one.
    fn affected(&self, changes: &[Change]) -> Result<(Vec<String>, Stored)> {
        let mut base = common_path(changes)?;
        loop {
            let stored = storage::scan(&key::of(&self.root, &base)?)?;
            if self.stands_alone(&base, !stored.is_empty(), changes)? {
                return Ok((base, stored));
            }
            base.pop();
        }
    }

    /// Whether the changes at and below this node leave the rules for its siblings and parent alone.
    fn stands_alone(&self, base: &[String], exists: bool, changes: &[Change]) -> Result<bool> {
        let Some((_, parent)) = base.split_last() else {
            return if exists {
                Ok(true)
            } else {
                Err(Error::NotFound)
            };
        };
        let will_exist = changes.iter().fold(exists, |exists, change| match change {
            Change::Put(_) => true,
            Change::Delete(path) => exists && path.len() > base.len(),
        });
        let Some(description) = self.ddf.find(base) else {
            return Ok(false);
        };
        Ok(match (exists, will_exist) {
            (false, true) => {
                let has_room = description.name.is_some() || description.occurrence.max().is_none();
                has_room && storage::get(&key::of(&self.root, parent)?)?.is_some()
            }
            (true, false) => !description.occurrence.is_required(),
            (true, true) | (false, false) => true,
        })
    }

    /// Completes and checks what is to be at `base`, and writes what differs from before. `before`: the keys there.
    fn write(&self, base: &[String], before: Vec<String>, branch: Option<Branch>) -> Result<()> {
        let base_key = key::of(&self.root, base)?;
        let mut kept = Vec::new();
        let mut entries = Vec::new();
        if let Some(mut branch) = branch {
            if let Some(description) = self.ddf.find(base) {
                branch.complete(description)?;
            }
            let (nodes, is_changed) = branch.into_nodes();
            let fits = self.ddf.check_at(base, &nodes);
            fits.map_err(|error| Error::invalid_argument(error.to_string()))?;
            for (node, is_changed) in nodes.into_iter().zip(is_changed) {
                let key = key::of(&base_key, &node.path)?;
                if is_changed {
                    let value = node.value.map(LeafValue::from);
                    entries.push(Entry::put(key.as_str(), value::to_bytes(value.as_ref())));
                }
                kept.push(key);
            }
        }
        // Both lists are in pre-order, which is the order of keys.
        let mut kept = kept.into_iter().peekable();
        let gone = before.into_iter().filter(|key| {
            while kept.next_if(|kept| kept < key).is_some() {}
            kept.peek() != Some(key)
        });
        entries.extend(gone.map(Entry::delete));
        storage::commit(&entries)
    }
}

/// The deepest node that all changes are at or below.
fn common_path(changes: &[Change]) -> Result<Vec<String>> {
    let mut paths = changes.iter().map(|change| match change {
        Change::Put(Node { path, .. }) | Change::Delete(path) => path.as_slice(),
    });
    let first = paths.next().unwrap_or_default();
    let common = paths.fold(first, |common, path| {
        let length = common
            .iter()
            .zip(path)
            .take_while(|(one, other)| one == other)
            .count();
        &common[..length]
    });
    match changes
        .iter()
        .any(|change| matches!(change, Change::Delete(path) if path.is_empty()))
    {
        true => Err(Error::invalid_argument(
            "the root stays; delete the instance instead",
        )),
        false => Ok(common.to_vec()),
    }
}

fn remove(branch: &mut Option<Branch>, path: &[String]) -> Result<()> {
    let removed = match path {
        [] => branch.take(),
        _ => branch.as_mut().and_then(|branch| branch.remove(path)),
    };
    removed.map(drop).ok_or(Error::NotFound)
}

/// Sorts the nodes below one parent, which come in pre-order by name: each child goes, with all below it, where the
/// description puts it. `depth` is the length of the parent's path.
fn arrange(nodes: &mut [Node], depth: usize, parent: &DdfNode) {
    let mut subtrees = Vec::new();
    let mut start = 0;
    while start < nodes.len() {
        let below = nodes[start + 1..]
            .iter()
            .take_while(|node| node.path.len() > depth + 1)
            .count();
        let end = start + 1 + below;
        let place = place(parent, &nodes[start].path[depth]);
        if let Some(child) = place.and_then(|place| parent.children.get(place))
            && below > 0
        {
            arrange(&mut nodes[start + 1..end], depth + 1, child);
        }
        subtrees.push((place, start..end));
        start = end;
    }
    if !subtrees.is_sorted_by_key(|(place, _)| *place) {
        subtrees.sort_by_key(|(place, _)| *place);
        let order = subtrees.into_iter().flat_map(|(_, range)| range);
        let sorted: Vec<Node> = order
            .map(|index| mem::replace(&mut nodes[index], Node::interior(&[])))
            .collect();
        nodes
            .iter_mut()
            .zip(sorted)
            .for_each(|(node, sorted)| *node = sorted);
    }
}

/// Which of the described children has this name, or may have any name.
fn place(parent: &DdfNode, name: &str) -> Option<usize> {
    let position = |wanted| {
        parent
            .children
            .iter()
            .position(|child| child.name.as_deref() == wanted)
    };
    position(Some(name)).or_else(|| position(None))
}
