//! What a program did to the files below one directory, and when it said something to the outside.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

/// A file or a directory, whatever its names.
pub(crate) type Inode = usize;

/// The watched directory.
pub(crate) const ROOT: Inode = 0;

/// What is below a directory at one moment.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    /// By inode; [`ROOT`] is the directory itself.
    pub(crate) nodes: Vec<Node>,
}

/// A file or a directory with its permission bits.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) mode: u32,
    pub(crate) kind: Kind,
}

#[derive(Clone)]
pub(crate) enum Kind {
    File(Arc<Vec<u8>>),
    Directory(BTreeMap<String, Inode>),
}

/// One change of the disk, or one synchronisation.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Create {
        directory: Inode,
        name: String,
        inode: Inode,
        is_directory: bool,
        mode: u32,
    },
    Rename {
        directory: Inode,
        from: String,
        to: String,
    },
    Remove {
        directory: Inode,
        name: String,
    },
    Write {
        file: Inode,
        offset: usize,
        bytes: Arc<[u8]>,
    },
    Truncate {
        file: Inode,
        length: usize,
    },
    Sync {
        inode: Inode,
    },
}

/// A change with its place among all that happened.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) change: Change,
    /// It may be on the disk from here on.
    pub(crate) begin: usize,
    /// It has returned to the program here.
    pub(crate) end: usize,
}

/// Where something was said to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Output,
    Network,
    Local,
}

/// The program began to say something to the outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) channel: Channel,
    pub(crate) position: usize,
    /// Microseconds since 1970.
    pub(crate) time: u64,
}

/// All that happened.
#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) operations: Vec<Operation>,
    /// What files and directories were called at first.
    pub(crate) names: HashMap<Inode, String>,
    pub(crate) said: Vec<Said>,
    /// Where the first `-shm` was made.
    pub(crate) shared_memory: Option<usize>,
    /// Behind everything.
    pub(crate) end: usize,
}

impl Log {
    /// Where a file of this name was synchronised.
    pub(crate) fn syncs_of(&self, name: &str) -> impl Iterator<Item = usize> {
        let is_it = move |inode| self.names.get(inode).is_some_and(|known| known == name);
        self.operations
            .iter()
            .filter_map(move |operation| match &operation.change {
                Change::Sync { inode } if is_it(inode) => Some(operation.begin),
                _ => None,
            })
    }

    /// What would have been recorded if these files and directories were never synchronised.
    pub(crate) fn without_syncs_of(&self, is_one: &dyn Fn(&str) -> bool) -> Self {
        let mut log = self.clone();
        log.operations.retain(|operation| match operation.change {
            Change::Sync { inode } => !self.names.get(&inode).is_some_and(|name| is_one(name)),
            _ => true,
        });
        log
    }
}

impl Snapshot {
    /// Reads a directory; without `-shm`.
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        let mut snapshot = Self::default();
        snapshot.add(directory)?;
        Ok(snapshot)
    }

    /// The bytes of a file.
    pub(crate) fn file(&self, inode: Inode) -> Option<&Vec<u8>> {
        match &self.nodes.get(inode)?.kind {
            Kind::File(bytes) => Some(bytes),
            Kind::Directory(_) => None,
        }
    }

    /// Files (their bytes) and directories by path, such as `/state/store.sqlite`.
    pub(crate) fn paths(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut paths = BTreeMap::new();
        let mut left = vec![(String::new(), ROOT)];
        while let Some((path, inode)) = left.pop() {
            if let Kind::Directory(entries) = &self.nodes[inode].kind {
                left.extend(
                    entries
                        .iter()
                        .map(|(name, inode)| (format!("{path}/{name}"), *inode)),
                );
            }
            paths.insert(path, self.file(inode).cloned());
        }
        paths
    }

    fn add(&mut self, path: &Path) -> Result<Inode> {
        let inode = self.nodes.len();
        let metadata = fs::symlink_metadata(path)?;
        let mode = metadata.permissions().mode() & 0o777;
        let kind = match metadata.is_dir() {
            true => Kind::Directory(BTreeMap::new()),
            false => Kind::File(Arc::new(fs::read(path)?)),
        };
        self.nodes.push(Node { mode, kind });
        if metadata.is_dir() {
            let mut entries = BTreeMap::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let name = entry
                    .file_name()
                    .into_string()
                    .ok()
                    .context("a name is not text")?;
                if !is_shared_memory(&name) {
                    entries.insert(name, self.add(&entry.path())?);
                }
            }
            self.nodes[inode].kind = Kind::Directory(entries);
        }
        Ok(inode)
    }
}

/// SQLite's shared memory; see `record.rs`.
pub(crate) fn is_shared_memory(name: &str) -> bool {
    name.ends_with("-shm")
}
