//! What was read since the last commit. Every command asks the same few records (accounts, owners, validators), and a read of
//! SQLite takes three system calls.
//!
//! A commit makes all of it stale, whoever made it and whether or not anybody still waits for it: the store thread moves the
//! clock before and after each one, and while it writes nothing is taken from here.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Rows, StoreError, Table};

/// Answers that are kept.
const ANSWERS: usize = 256;
/// Largest answer that is kept, bytes of keys and values.
const BYTES: usize = 4 << 10;

/// Odd while the store thread writes; never the same again.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    /// The store thread begins to write, or has ended.
    pub(super) fn tick(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Between two commits: which two.
    fn quiet(&self) -> Option<u64> {
        let now = self.0.load(Ordering::SeqCst);
        now.is_multiple_of(2).then_some(now)
    }
}

/// Answers of the store, all from between the same two commits.
#[derive(Default)]
pub(super) struct Recent {
    since: Cell<u64>,
    values: RefCell<Answers<Option<Vec<u8>>>>,
    rows: RefCell<Answers<Rows>>,
}

/// By table, and key or prefix.
type Answers<T> = HashMap<(Table, String), T>;

impl Recent {
    /// The value of a key: from here, or by `read`.
    pub(super) fn value(
        &self,
        clock: &Clock,
        table: Table,
        key: &str,
        read: impl FnOnce() -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let size = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        self.answer(&self.values, clock, table, key, size, read)
    }

    /// The rows of a prefix: from here, or by `read`.
    pub(super) fn rows(
        &self,
        clock: &Clock,
        table: Table,
        prefix: &str,
        read: impl FnOnce() -> Result<Rows, StoreError>,
    ) -> Result<Rows, StoreError> {
        let size = |rows: &Rows| {
            rows.iter()
                .map(|(key, value)| key.len() + value.len())
                .sum()
        };
        self.answer(&self.rows, clock, table, prefix, size, read)
    }

    fn answer<T: Clone>(
        &self,
        answers: &RefCell<Answers<T>>,
        clock: &Clock,
        table: Table,
        key: &str,
        size: impl FnOnce(&T) -> usize,
        read: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Some(now) = clock.quiet() else {
            return read();
        };
        if self.since.replace(now) != now {
            self.values.borrow_mut().clear();
            self.rows.borrow_mut().clear();
        }
        let name = (table, key.to_owned());
        if let Some(known) = answers.borrow().get(&name) {
            return Ok(known.clone());
        }
        let answer = read()?;
        // A commit that began meanwhile may or may not be in the answer.
        let mut answers = answers.borrow_mut();
        if clock.quiet() == Some(now) && size(&answer) <= BYTES && answers.len() < ANSWERS {
            answers.insert(name, answer.clone());
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_until_the_next_commit_begins() {
        let (clock, recent) = (Clock::default(), Recent::default());
        let reads = Cell::new(0_u8);
        let ask = |key: &str| {
            let read = || {
                reads.set(reads.get() + 1);
                Ok(Some(vec![reads.get()]))
            };
            recent.value(&clock, Table::Meta, key, read).unwrap()
        };
        assert_eq!(
            (ask("a"), ask("a"), ask("b")),
            (Some(vec![1]), Some(vec![1]), Some(vec![2]))
        );
        clock.tick();
        assert_eq!(
            (ask("a"), ask("a")),
            (Some(vec![3]), Some(vec![4])),
            "taken while a commit runs"
        );
        clock.tick();
        assert_eq!((ask("a"), ask("a")), (Some(vec![5]), Some(vec![5])));
    }

    #[test]
    fn an_answer_from_the_moment_of_a_commit_is_not_kept() {
        let (clock, recent) = (Clock::default(), Recent::default());
        let value = |value: u8, busy: bool| {
            let read = || {
                if busy {
                    clock.tick();
                    clock.tick();
                }
                Ok(Some(vec![value]))
            };
            recent.value(&clock, Table::Meta, "a", read).unwrap()
        };
        assert_eq!(value(1, true), Some(vec![1]));
        assert_eq!(value(2, false), Some(vec![2]));
        assert_eq!(value(3, false), Some(vec![2]));
    }
}
