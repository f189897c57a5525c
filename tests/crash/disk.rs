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

use aws_lc_rs::digest;

use super::random::Random;
use super::record::{Change, Inode, Kind, Log, Operation, ROOT, Snapshot};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

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

/// The bytes of a file that are certain.
#[derive(Clone, Default)]
struct Certain {
    bytes: Arc<Vec<u8>>,
    /// Of the hashes of its sectors: kept up with each change, so that no file is hashed as a whole.
    sum: u128,
}

/// Certain bytes and what else the disk has written of the file.
#[derive(Clone)]
pub(crate) struct Patched {
    certain: Certain,
    length: usize,
    /// Sectors that differ, or may.
    sectors: BTreeMap<usize, [u8; SECTOR]>,
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

/// What became of an uncertain change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    Lost,
    Whole,
    /// Of a write, any part; of a change of names, by chance.
    Torn,
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

impl Certain {
    fn new(bytes: Arc<Vec<u8>>) -> Self {
        let sum = (0..bytes.len().div_ceil(SECTOR)).fold(0, |sum, sector| {
            hash_of(sector, &sector_of(&bytes, sector)).wrapping_add(sum)
        });
        Self { bytes, sum }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.change(offset, end, |content| {
            if content.len() < end {
                content.resize(end, 0);
            }
            content[offset..end].copy_from_slice(bytes);
        });
    }

    fn cut(&mut self, length: usize) {
        let end = self.bytes.len();
        self.change(length, end, |content| content.resize(length, 0));
    }

    /// Changes bytes between two offsets.
    fn change(&mut self, from: usize, to: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let sum = |bytes: &[u8]| {
            let sectors = from / SECTOR..to.div_ceil(SECTOR);
            sectors.fold(0, |sum: u128, s| {
                sum.wrapping_add(hash_of(s, &sector_of(bytes, s)))
            })
        };
        self.sum = self.sum.wrapping_sub(sum(&self.bytes));
        change(Arc::make_mut(&mut self.bytes));
        self.sum = self.sum.wrapping_add(sum(&self.bytes));
    }
}

impl Patched {
    /// The whole file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.certain.bytes[..self.length.min(self.certain.bytes.len())].to_vec();
        bytes.resize(self.length, 0);
        for (sector, content) in &self.sectors {
            let (start, end) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.length));
            if start < end {
                bytes[start..end].copy_from_slice(&content[..end - start]);
            }
        }
        bytes
    }

    /// Equal for files of equal content.
    pub(crate) fn hash(&self) -> (usize, u128) {
        let certain = &self.certain.bytes;
        let cut = self.length / SECTOR..certain.len().div_ceil(SECTOR);
        let changed: BTreeSet<usize> = self.sectors.keys().copied().chain(cut).collect();
        let sum = changed.into_iter().fold(self.certain.sum, |sum, sector| {
            let before = sector_of(certain, sector);
            let mut after = self.sectors.get(&sector).copied().unwrap_or(before);
            let kept = self.length.saturating_sub(sector * SECTOR).min(SECTOR);
            after[kept..].fill(0);
            sum.wrapping_sub(hash_of(sector, &before))
                .wrapping_add(hash_of(sector, &after))
        });
        (self.length, sum)
    }
}

/// A sector without content counts nothing: files grow at no cost.
fn hash_of(sector: usize, bytes: &[u8; SECTOR]) -> u128 {
    if *bytes == [0; SECTOR] {
        return 0;
    }
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&sector.to_le_bytes());
    hash.update(bytes);
    let mut start = [0; 16];
    start.copy_from_slice(&hash.finish().as_ref()[..16]);
    u128::from_le_bytes(start)
}

/// What a sector held after one of the pending changes.
struct Version {
    after: usize,
    bytes: [u8; SECTOR],
    /// The sector was given back: nothing from before can be behind this.
    is_cut: bool,
}

/// A file, of which some changes are there.
fn patch(file: Certain, pending: &[(&Change, Chosen)], random: &mut Random) -> Patched {
    let certain = &file.bytes[..];
    // Changes are numbered from 1; 0 is what is certain.
    let mut lengths = vec![certain.len()];
    let mut cuts = vec![0];
    let mut sectors: BTreeMap<usize, Vec<Version>> = BTreeMap::new();
    let versions = |sectors: &mut BTreeMap<usize, Vec<Version>>, sector: usize| {
        let first = || {
            vec![Version {
                after: 0,
                bytes: sector_of(certain, sector),
                is_cut: false,
            }]
        };
        sectors
            .entry(sector)
            .or_insert_with(first)
            .last()
            .map_or([0; SECTOR], |v| v.bytes)
    };
    for (after, (change, _)) in pending.iter().enumerate().map(|(i, p)| (i + 1, p)) {
        let length = lengths[after - 1];
        match change {
            Change::Write { offset, bytes, .. } => {
                for sector in offset / SECTOR..(offset + bytes.len()).div_ceil(SECTOR) {
                    let mut now = versions(&mut sectors, sector);
                    let start = (sector * SECTOR).max(*offset);
                    let end = ((sector + 1) * SECTOR).min(offset + bytes.len());
                    now[start - sector * SECTOR..end - sector * SECTOR]
                        .copy_from_slice(&bytes[start - offset..end - offset]);
                    let version = Version {
                        after,
                        bytes: now,
                        is_cut: false,
                    };
                    sectors.entry(sector).or_default().push(version);
                }
                lengths.push(length.max(offset + bytes.len()));
            }
            Change::Truncate { length: to, .. } => {
                for sector in to / SECTOR..length.div_ceil(SECTOR) {
                    let mut now = versions(&mut sectors, sector);
                    let kept = to.saturating_sub(sector * SECTOR).min(SECTOR);
                    now[kept..].fill(0);
                    let version = Version {
                        after,
                        bytes: now,
                        is_cut: kept == 0,
                    };
                    sectors.entry(sector).or_default().push(version);
                }
                if *to < length {
                    cuts.push(after);
                }
                lengths.push(*to);
            }
            _ => lengths.push(length),
        }
    }

    // The last cut that is there, and the next one, which is not.
    let epoch = (1..cuts.len())
        .rev()
        .find(|cut| may_be(pending[cuts[*cut] - 1].1, random))
        .unwrap_or(0);
    let from = cuts[epoch];
    let to = cuts.get(epoch + 1).copied().unwrap_or(pending.len() + 1);
    let length = lengths[last_chosen(from, from + 1..to, pending, random)];
    let mut patched = BTreeMap::new();
    for (sector, versions) in sectors {
        // Not behind the next cut of this sector, and not before the last one.
        let end = versions
            .iter()
            .position(|v| v.is_cut && v.after >= to)
            .unwrap_or(versions.len());
        let start = versions[..end]
            .iter()
            .rposition(|v| v.is_cut && v.after <= from)
            .unwrap_or(0);
        let mut version = &versions[start];
        for later in &versions[start + 1..end] {
            if may_be(pending[later.after - 1].1, random) {
                version = later;
            }
        }
        patched.insert(sector, version.bytes);
    }
    Patched {
        certain: file,
        length,
        sectors: patched,
    }
}

/// The last change of a range that is there.
fn last_chosen(
    otherwise: usize,
    range: std::ops::Range<usize>,
    pending: &[(&Change, Chosen)],
    random: &mut Random,
) -> usize {
    range
        .rev()
        .find(|after| may_be(pending[after - 1].1, random))
        .unwrap_or(otherwise)
}

fn may_be(chosen: Chosen, random: &mut Random) -> bool {
    match chosen {
        Chosen::Lost => false,
        Chosen::Whole => true,
        Chosen::Torn => random.below(2) == 0,
    }
}

fn sector_of(bytes: &[u8], sector: usize) -> [u8; SECTOR] {
    let mut content = [0; SECTOR];
    let start = (sector * SECTOR).min(bytes.len());
    let end = (start + SECTOR).min(bytes.len());
    content[..end - start].copy_from_slice(&bytes[start..end]);
    content
}
