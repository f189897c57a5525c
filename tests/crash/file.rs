//! What may be of one file: each sector, and the length, from a moment of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::digest;

use super::log::Change;
use super::random::Random;

/// What a disk writes whole or not at all.
pub(crate) const SECTOR: usize = 512;

/// What became of an uncertain change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    Lost,
    Whole,
    /// Of a write, any part; of a change of names, by chance.
    Torn,
}

/// The bytes of a file that are certain.
#[derive(Clone, Default)]
pub(crate) struct Certain {
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

impl Certain {
    pub(crate) fn new(bytes: Arc<Vec<u8>>) -> Self {
        let sum = (0..bytes.len().div_ceil(SECTOR)).fold(0, |sum, sector| {
            hash_of(sector, &sector_of(&bytes, sector)).wrapping_add(sum)
        });
        Self { bytes, sum }
    }

    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.change(offset, end, |content| {
            if content.len() < end {
                content.resize(end, 0);
            }
            content[offset..end].copy_from_slice(bytes);
        });
    }

    pub(crate) fn cut(&mut self, length: usize) {
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
pub(crate) fn patch(file: Certain, pending: &[(&Change, Chosen)], random: &mut Random) -> Patched {
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

pub(crate) fn may_be(chosen: Chosen, random: &mut Random) -> bool {
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
