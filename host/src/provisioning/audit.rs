//! What was provisioned, refused and taken back, and why: a ring of the last entries, written in the transaction that it
//! tells of.

use serde::{Deserialize, Serialize};

use super::plan::Refusal;
use super::step::Shown;
use crate::store::{Store, StoreError, Table, Transaction};

/// Entries that are kept. Stops a card that is put in and out from filling the disk.
const ENTRIES: usize = 512;
/// Steps and refusals of one entry. Stops a card from filling the disk with what it is refused.
const OF_EACH: usize = 64;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When, Unix time in seconds.
    pub at: u64,
    /// What happened: `a card was read`, `a card has gone`, ...
    pub event: String,
    /// Where from, e.g. `card 8949…`.
    pub source: String,
    /// What changed.
    pub steps: Vec<Shown>,
    /// What was refused.
    pub refusals: Vec<Refused>,
}

/// A refusal, and for whom it would have counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// For whom.
    pub authority: String,
    /// What, and why.
    #[serde(flatten)]
    pub refusal: Refusal,
}

/// Writes an entry. One that says nothing, or repeats only what the last one from the same source was refused, is left out.
pub fn record(tx: &Transaction, mut entry: Entry) -> Result<(), StoreError> {
    entry.steps.truncate(OF_EACH);
    entry.refusals.truncate(OF_EACH);
    let rows = tx.scan_json::<Entry>(Table::Audit, "")?;
    if entry.steps.is_empty() {
        let mut same_source = rows.iter().rev().map(|(_, other)| other);
        let last =
            same_source.find(|other| other.source == entry.source && other.event == entry.event);
        if entry.refusals.is_empty() || last.is_some_and(|last| last.refusals == entry.refusals) {
            return Ok(());
        }
    }
    let last = rows
        .last()
        .and_then(|(key, _)| u64::from_str_radix(key, 16).ok());
    let number = last.map_or(0, |last| last.saturating_add(1));
    tx.put_json(Table::Audit, &format!("{number:016x}"), &entry)?;
    let surplus = (rows.len() + 1).saturating_sub(ENTRIES);
    for (key, _) in rows.iter().take(surplus) {
        tx.delete(Table::Audit, key);
    }
    Ok(())
}

/// The entries, oldest first.
pub(super) fn entries(store: &Store) -> Result<Vec<Entry>, StoreError> {
    let rows = store.scan_json(Table::Audit, "")?;
    Ok(rows.into_iter().map(|(_, entry)| entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(event: &str, refused: &[&str], steps: usize) -> Entry {
        let shown = Shown {
            authority: "north".into(),
            change: "added".into(),
            what: "anchor".into(),
            id: "0".into(),
            name: "CN=x".into(),
        };
        let refused = refused.iter().map(|reason| Refused {
            authority: "north".into(),
            refusal: Refusal {
                what: "object".into(),
                reason: (*reason).into(),
            },
        });
        Entry {
            at: 1,
            event: event.into(),
            source: "card 1".into(),
            steps: vec![shown; steps],
            refusals: refused.collect(),
        }
    }

    #[tokio::test]
    async fn the_ring_is_bounded_and_says_nothing_twice() {
        let store = Store::in_memory().unwrap();
        let tx = store.begin();
        record(&tx, entry("read", &[], 0)).unwrap();
        assert!(tx.is_empty(), "nothing happened");
        record(&tx, entry("read", &["no"], 0)).unwrap();
        record(&tx, entry("gone", &[], 1)).unwrap();
        tx.commit().await.unwrap();
        record(&tx, entry("read", &["no"], 0)).unwrap();
        assert!(tx.is_empty(), "the same refusals again");
        record(&tx, entry("read", &["no", "never"], 0)).unwrap();
        record(&tx, entry("read", &[], 200)).unwrap();
        tx.commit().await.unwrap();
        let kept = entries(&store).unwrap();
        let events: Vec<_> = kept
            .iter()
            .map(|entry| (entry.steps.len(), entry.refusals.len()))
            .collect();
        assert_eq!(events, [(0, 1), (1, 0), (0, 2), (OF_EACH, 0)]);
        for number in 0..ENTRIES {
            record(&tx, entry(&number.to_string(), &[], 1)).unwrap();
            tx.commit().await.unwrap();
        }
        let kept = entries(&store).unwrap();
        assert_eq!(kept.len(), ENTRIES);
        assert_eq!(
            (kept[0].event.as_str(), kept[ENTRIES - 1].event.as_str()),
            ("0", "511")
        );
    }
}
