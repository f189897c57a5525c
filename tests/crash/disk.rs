//! What may lie on a disk after a power cut. The model, as hostile as POSIX lets a file system be:
//!
//! * What was written to a file is certain once an `fsync` or `fdatasync` of that file, begun after the write had
//!   returned, has returned. A name in a directory is certain only after an `fsync` of that *directory*; `fsync` of
//!   the file alone is not enough.
//! * Of everything else, any part may be there. A file is made of sectors of 512 bytes, each written whole or not at
//!   all, each for itself: it holds what it held at any moment since it was last certain. So a write may be lost,
//!   torn, or overtaken by a later one; what was never written reads as zeros. The length is any that the file had
//!   since, whatever became of the sectors.
//! * A file that is cut shorter gives its sectors back: what it holds beyond is all from before or all from after.
//! * Changes of names are atomic, each for itself, in any order, except that a name goes through its changes in
//!   their order. (A journalling file system keeps all of them in order; those images are among ours.)
//!
//! Not in the model: sectors that change without being written, disks that lie about `fsync`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Result, ensure};

use super::file::{Certain, Chosen, Patched, patch};
use super::log::{Change, Inode, Kind, Log, Node, Operation, ROOT, Snapshot};
use super::random::Random;

/// The disk at one moment of the log.
pub(crate) struct Disk<'a> {
    log: &'a Log,
    /// How many operations have begun, and how many synchronisations (by end) have counted.
    begun: usize,
    synced: usize,
    /// Synchronisations, in the order of their ends.
    syncs: Vec<&'a Operation>,
    /// What is certain of files; of those that are as in the snapshot, nothing.
    files: HashMap<Inode, Certain>,
    originals: HashMap<Inode, Arc<Vec<u8>>>,
    directories: HashMap<Inode, BTreeMap<String, Inode>>,
    modes: HashMap<Inode, u32>,
    /// Changes that are not certain, in order.
    pending: Vec<&'a Operation>,
}

/// Which of the uncertain changes are on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Plan {
    /// None of them.
    None,
    /// All of them.
    All,
    /// One of them, counted in their order.
    Only(usize),
    /// All but one.
    Without(usize),
    /// The first ones, and a random part of the sectors of the next.
    Torn { whole: usize, seed: u64 },
    /// Each with this chance, in percent.
    Some { percent: u64, seed: u64 },
    /// Each sector from a moment of its own.
    Sectors { seed: u64 },
}

/// Files and directories by path; what a power cut leaves.
#[derive(Clone, Default)]
pub(crate) struct Image {
    /// By path, such as `/state/store.sqlite`; parents first. With permission bits.
    pub(crate) nodes: BTreeMap<String, (u32, Content)>,
}

/// What lies at a path.
#[derive(Clone)]
pub(crate) enum Content {
    Directory,
    /// A file as it was in the snapshot.
    Original(Inode),
    File(Patched),
}

impl<'a> Disk<'a> {
    /// The disk before the first operation: all of the snapshot is certain.
    pub(crate) fn new(snapshot: &Snapshot, log: &'a Log) -> Self {
        let is_sync = |o: &&Operation| matches!(o.change, Change::Sync { .. });
        let mut syncs: Vec<&Operation> = log.operations.iter().filter(is_sync).collect();
        syncs.sort_by_key(|sync| sync.end);
        let mut disk = Self {
            log,
            begun: 0,
            synced: 0,
            syncs,
            files: HashMap::new(),
            originals: HashMap::new(),
            directories: HashMap::new(),
            modes: HashMap::new(),
            pending: Vec::new(),
        };
        for (inode, node) in snapshot.nodes.iter().enumerate() {
            disk.modes.insert(inode, node.mode);
            match &node.kind {
                Kind::File(bytes) => {
                    disk.originals.insert(inode, Arc::clone(bytes));
                }
                Kind::Directory(entries) => {
                    disk.directories.insert(inode, entries.clone());
                }
            }
        }
        disk
    }

    /// Goes on until just behind `position`.
    pub(crate) fn advance(&mut self, position: usize) {
        loop {
            let next = self
                .log
                .operations
                .get(self.begun)
                .filter(|o| o.begin <= position);
            let sync = self
                .syncs
                .get(self.synced)
                .copied()
                .filter(|s| s.end <= position);
            match (next, sync) {
                (Some(next), sync) if sync.is_none_or(|sync| next.begin <= sync.end) => {
                    self.begin(next)
                }
                (_, Some(sync)) => self.sync(sync),
                _ => return,
            }
        }
    }

    fn begin(&mut self, operation: &'a Operation) {
        self.begun += 1;
        if let Change::Create {
            inode,
            is_directory,
            mode,
            ..
        } = &operation.change
        {
            self.modes.insert(*inode, *mode);
            match is_directory {
                true => drop(self.directories.insert(*inode, BTreeMap::new())),
                false => drop(self.files.insert(*inode, Certain::default())),
            }
        }
        if !matches!(operation.change, Change::Sync { .. }) {
            self.pending.push(operation);
        }
    }

    /// What was complete when `sync` began is certain.
    fn sync(&mut self, sync: &Operation) {
        self.synced += 1;
        let Change::Sync { inode } = sync.change else {
            return;
        };
        let mut certain = Vec::new();
        self.pending.retain(|operation| {
            let is_certain = subject(&operation.change) == inode && operation.end < sync.begin;
            if is_certain {
                certain.push(*operation);
            }
            !is_certain
        });
        for operation in certain {
            match &operation.change {
                Change::Write {
                    file,
                    offset,
                    bytes,
                } => self.certain(*file).write(*offset, bytes),
                Change::Truncate { file, length } => self.certain(*file).cut(*length),
                name => rename(self.directories.entry(inode).or_default(), name),
            }
        }
    }

    /// The certain content of a file, to be changed.
    fn certain(&mut self, file: Inode) -> &mut Certain {
        let original = || Certain::new(self.originals.get(&file).cloned().unwrap_or_default());
        self.files.entry(file).or_insert_with(original)
    }

    /// How many changes are uncertain.
    pub(crate) fn uncertain(&self) -> usize {
        self.pending.len()
    }

    /// What a power cut at this moment leaves, if the disk has written what `plan` says.
    pub(crate) fn image(&self, plan: Plan) -> Image {
        let mut random = Random::new(match plan {
            Plan::Torn { seed, .. } | Plan::Some { seed, .. } | Plan::Sectors { seed } => seed,
            _ => 0,
        });
        let chosen: Vec<Chosen> = (0..self.pending.len())
            .map(|index| match plan {
                Plan::None => Chosen::Lost,
                Plan::All => Chosen::Whole,
                Plan::Only(one) if index == one => Chosen::Whole,
                Plan::Only(_) => Chosen::Lost,
                Plan::Without(one) if index == one => Chosen::Lost,
                Plan::Without(_) => Chosen::Whole,
                Plan::Torn { whole, .. } if index < whole => Chosen::Whole,
                Plan::Torn { whole, .. } if index == whole => Chosen::Torn,
                Plan::Torn { .. } => Chosen::Lost,
                Plan::Some { percent, .. } if random.below(100) < percent => Chosen::Whole,
                Plan::Some { .. } => Chosen::Lost,
                Plan::Sectors { .. } => Chosen::Torn,
            })
            .collect();
        let mut image = Image::default();
        self.add(ROOT, String::new(), &chosen, &mut random, &mut image);
        image
    }

    fn add(
        &self,
        inode: Inode,
        path: String,
        chosen: &[Chosen],
        random: &mut Random,
        image: &mut Image,
    ) {
        let mode = self.modes.get(&inode).copied().unwrap_or(0o600);
        let of_this = || {
            let all = self.pending.iter().zip(chosen);
            all.filter(|(operation, _)| subject(&operation.change) == inode)
                .map(|(operation, chosen)| (&operation.change, *chosen))
        };
        if let Some(certain) = self.directories.get(&inode) {
            let entries = names(certain, of_this().collect(), random);
            image.nodes.insert(path.clone(), (mode, Content::Directory));
            for (name, inode) in entries {
                self.add(inode, format!("{path}/{name}"), chosen, random, image);
            }
        } else {
            let pending: Vec<(&Change, Chosen)> = of_this().collect();
            let changed = pending.iter().any(|(_, chosen)| *chosen != Chosen::Lost);
            let content = match (self.files.get(&inode), self.originals.get(&inode)) {
                (None, Some(_)) if !changed => Content::Original(inode),
                (Some(certain), _) => Content::File(patch(certain.clone(), &pending, random)),
                (None, original) => {
                    let certain = Certain::new(original.cloned().unwrap_or_default());
                    Content::File(patch(certain, &pending, random))
                }
            };
            image.nodes.insert(path, (mode, content));
        }
    }
}

/// The file, or the directory, that a change is made in.
fn subject(change: &Change) -> Inode {
    match change {
        Change::Create { directory, .. }
        | Change::Rename { directory, .. }
        | Change::Remove { directory, .. } => *directory,
        Change::Write { file, .. } | Change::Truncate { file, .. } => *file,
        Change::Sync { inode } => *inode,
    }
}

fn rename(entries: &mut BTreeMap<String, Inode>, change: &Change) {
    match change {
        Change::Create { name, inode, .. } => {
            entries.insert(name.clone(), *inode);
        }
        Change::Rename { from, to, .. } => {
            if let Some(inode) = entries.remove(from) {
                entries.insert(to.clone(), inode);
            }
        }
        Change::Remove { name, .. } => {
            entries.remove(name);
        }
        _ => {}
    }
}

/// The names in a directory, of which some changes are there: those, and what they need to have happened before.
fn names(
    certain: &BTreeMap<String, Inode>,
    pending: Vec<(&Change, Chosen)>,
    random: &mut Random,
) -> BTreeMap<String, Inode> {
    let mut there: Vec<bool> = pending
        .iter()
        .map(|(_, chosen)| match chosen {
            Chosen::Lost => false,
            Chosen::Whole => true,
            Chosen::Torn => random.below(2) == 0,
        })
        .collect();
    let mut needed: BTreeSet<&str> = BTreeSet::new();
    for (index, (change, _)) in pending.iter().enumerate().rev() {
        let touched: &[&str] = match change {
            Change::Create { name, .. } | Change::Remove { name, .. } => &[name],
            Change::Rename { from, to, .. } => &[from, to],
            _ => &[],
        };
        there[index] |= touched.iter().any(|name| needed.contains(name));
        if there[index] {
            needed.extend(touched);
        }
    }
    let mut entries = certain.clone();
    for ((change, _), there) in pending.iter().zip(there) {
        if there {
            rename(&mut entries, change);
        }
    }
    entries
}

/// The model itself, on operations that are written by hand: what may be there, and what may not.
pub(crate) fn test() -> Result<()> {
    let seen = |changes: &[Change]| -> BTreeSet<String> {
        let operations = changes.iter().enumerate().map(|(at, change)| Operation {
            change: change.clone(),
            begin: 2 * at,
            end: 2 * at + 1,
        });
        let log = Log {
            operations: operations.collect(),
            ..Log::default()
        };
        let root = Node {
            mode: 0o700,
            kind: Kind::Directory(BTreeMap::new()),
        };
        let mut disk = Disk::new(&Snapshot { nodes: vec![root] }, &log);
        disk.advance(usize::MAX);
        let images = (0..400).map(|seed| disk.image(Plan::Sectors { seed }));
        images.map(|image| described(&image)).collect()
    };
    let create = |name: &str, inode| Change::Create {
        directory: ROOT,
        name: name.to_owned(),
        inode,
        is_directory: false,
        mode: 0o600,
    };
    let fill = |offset: usize, byte: u8, length: usize| Change::Write {
        file: 1,
        offset,
        bytes: vec![byte; length].into(),
    };
    let cut = |length| Change::Truncate { file: 1, length };
    let rename = |from: &str, to: &str| Change::Rename {
        directory: ROOT,
        from: from.to_owned(),
        to: to.to_owned(),
    };
    let sync = |inode| Change::Sync { inode };
    let made = [create("f", 1), sync(ROOT)];
    let rows: Vec<(&str, Vec<Change>, &[&str])> = vec![
        (
            "synchronised, it is there",
            vec![create("f", 1), fill(0, b'a', 512), sync(1), sync(ROOT)],
            &["f=a"],
        ),
        (
            "a name needs its directory",
            vec![create("f", 1), fill(0, b'a', 512), sync(1)],
            &["", "f=a"],
        ),
        (
            "a name does not bring its content",
            [&made[..], &[fill(0, b'a', 512)]].concat(),
            &["f=", "f=a", "f=0"],
        ),
        (
            "sectors tear and overtake",
            [
                &made[..],
                &[fill(0, b'a', 1024), sync(1), fill(0, b'b', 1024)],
            ]
            .concat(),
            &["f=aa", "f=ab", "f=ba", "f=bb"],
        ),
        (
            "a sector goes through its versions in order",
            [
                &made[..],
                &[
                    fill(0, b'a', 512),
                    sync(1),
                    fill(0, b'b', 512),
                    fill(0, b'c', 512),
                    sync(1),
                ],
            ]
            .concat(),
            &["f=c"],
        ),
        (
            "what was cut off does not come back in part",
            [
                &made[..],
                &[fill(0, b'a', 1024), sync(1), cut(0), fill(0, b'b', 1024)],
            ]
            .concat(),
            &["f=aa", "f=", "f=00", "f=0b", "f=b0", "f=bb"],
        ),
        (
            "a name is the old one or the new one",
            vec![
                create("f", 1),
                fill(0, b'a', 512),
                sync(1),
                sync(ROOT),
                rename("f", "g"),
            ],
            &["f=a", "g=a"],
        ),
        (
            "names go through their changes in order, others do not wait",
            vec![create("f", 1), create("g", 2), rename("f", "h")],
            &["", "f=", "g=", "f=,g=", "h=", "g=,h="],
        ),
        (
            "a removed file may still be there",
            [
                &made[..],
                &[Change::Remove {
                    directory: ROOT,
                    name: "f".to_owned(),
                }],
            ]
            .concat(),
            &["", "f="],
        ),
    ];
    for (what, changes, expected) in rows {
        let expected: BTreeSet<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        let seen = seen(&changes);
        ensure!(seen == expected, "{what}: {seen:?} instead of {expected:?}");
    }
    Ok(())
}

/// `name=content`, one character a sector; a sector without content is 0.
fn described(image: &Image) -> String {
    let file = |(path, (_, content)): (&String, &(u32, Content))| {
        let Content::File(file) = content else {
            return None;
        };
        let character = |sector: &[u8]| {
            if sector[0] == 0 {
                '0'
            } else {
                char::from(sector[0])
            }
        };
        let text: String = file.bytes().chunks(512).map(character).collect();
        Some(format!("{}={text}", path.trim_start_matches('/')))
    };
    image
        .nodes
        .iter()
        .filter_map(file)
        .collect::<Vec<_>>()
        .join(",")
}
