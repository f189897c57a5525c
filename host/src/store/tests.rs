//! The store as its users see it: what is kept, what a failure leaves, who is let in.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::faults::{Fault, Faulty, Memory};
use super::*;

/// A directory that is removed at the end of the test.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("bailiwick-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.state().join(directory::DATABASE)
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.state(), Options::default())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn batch(writes: &[(Table, &str, Option<&str>)]) -> Batch {
    let mut batch = Batch::new();
    for (table, key, value) in writes {
        match value {
            Some(value) => batch.put(*table, *key, value.as_bytes().to_vec()),
            None => batch.delete(*table, *key),
        }
    }
    batch
}

/// Everything in the store.
fn contents(store: &Store) -> BTreeMap<(Table, String), Vec<u8>> {
    let tables = Table::ALL.into_iter().filter(|table| *table != Table::Keys);
    tables
        .flat_map(|table| {
            let rows = store.scan(table, "").unwrap();
            rows.into_iter()
                .map(move |(key, value)| ((table, key), value))
        })
        .collect()
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again() {
    for durability in [Durability::Full, Durability::Off] {
        let scratch = Scratch::new();
        let open = || Store::open(&scratch.state(), Options { durability }).unwrap();
        let store = open();
        let first = [
            (Table::Meta, "a", Some("1")),
            (Table::Accounts, "a", Some("2")),
        ];
        store.commit(batch(&first)).await.unwrap();
        store
            .commit(batch(&[
                (Table::Meta, "a", None),
                (Table::Meta, "b", Some("")),
            ]))
            .await
            .unwrap();
        let before = contents(&store);
        assert_eq!(before.len(), 2);
        drop(store);
        let store = open();
        assert_eq!(contents(&store), before);
        assert_eq!(
            store.get(Table::Accounts, "a").unwrap().as_deref(),
            Some(&b"2"[..])
        );
        assert_eq!(store.get(Table::Meta, "a").unwrap(), None);
        assert_eq!(store.durability(), durability);
    }
}

#[tokio::test]
async fn everything_is_private_to_the_daemon() {
    let scratch = Scratch::new();
    let store = scratch.open().unwrap();
    store
        .commit(batch(&[(Table::Meta, "a", Some("1"))]))
        .await
        .unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(scratch.state()), 0o700);
    let files = fs::read_dir(scratch.state())
        .unwrap()
        .map(|file| file.unwrap().path());
    let files: Vec<PathBuf> = files.collect();
    assert!(
        files.len() >= 4,
        "database, log, index of the log, lock: {files:?}"
    );
    for file in files {
        assert_eq!(mode(file.clone()), 0o600, "{file:?}");
    }
    drop(store);
    fs::set_permissions(scratch.state(), fs::Permissions::from_mode(0o755)).unwrap();
    let _store = scratch.open().unwrap();
    assert_eq!(mode(scratch.state()), 0o700, "an open directory is closed");
}

#[test]
fn a_second_daemon_is_refused() {
    let scratch = Scratch::new();
    let first = scratch.open().unwrap();
    let handle = first.clone();
    drop(first);
    let error = scratch.open().err().unwrap();
    assert_eq!(
        error,
        StoreError::InUse {
            directory: scratch.state()
        }
    );
    assert!(
        error.to_string().contains("another bailiwick daemon"),
        "{error}"
    );
    drop(handle);
    assert!(scratch.open().is_ok());
}

#[test]
fn a_directory_that_cannot_be_used_says_why() {
    let refused = |prepare: &dyn Fn(&Scratch), expected: &str| {
        let scratch = Scratch::new();
        prepare(&scratch);
        let error = scratch.open().err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(
        &|scratch| fs::write(scratch.state(), "").unwrap(),
        "not a directory",
    );
    refused(
        &|scratch| fs::remove_dir(&scratch.0).unwrap(),
        "cannot be made",
    );
    refused(
        &|scratch| {
            fs::create_dir(scratch.state()).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", scratch.database()).unwrap();
        },
        "symbolic link",
    );
}

#[tokio::test]
async fn a_damaged_or_foreign_database_is_refused_with_advice() {
    type Damage<'a> = &'a dyn Fn(&Scratch);
    let damage: [(&str, Damage<'_>); 4] = [
        ("not a database", &|scratch| {
            fs::write(scratch.database(), [7; 8192]).unwrap()
        }),
        ("damaged", &|scratch| {
            let mut bytes = fs::read(scratch.database()).unwrap();
            bytes[4096..8192].fill(0xA5);
            fs::write(scratch.database(), bytes).unwrap();
        }),
        ("another program", &|scratch| {
            let foreign = rusqlite::Connection::open(scratch.database()).unwrap();
            foreign.pragma_update(None, "application_id", 4711).unwrap();
        }),
        ("schema 1000 and this program knows", &|scratch| {
            let newer = rusqlite::Connection::open(scratch.database()).unwrap();
            newer.pragma_update(None, "user_version", 1000).unwrap();
        }),
    ];
    for (expected, damage) in damage {
        let scratch = Scratch::new();
        let store = scratch.open().unwrap();
        store
            .commit(batch(&[(Table::Meta, "a", Some("1"))]))
            .await
            .unwrap();
        drop(store);
        damage(&scratch);
        let error = scratch.open().err().unwrap();
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("backup"), "{text}");
        match error {
            StoreError::Corrupt { .. } | StoreError::Newer { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_empty_file_becomes_a_store() {
    // A power cut between making the file and making the tables.
    let scratch = Scratch::new();
    fs::create_dir(scratch.state()).unwrap();
    fs::write(scratch.database(), "").unwrap();
    assert!(contents(&scratch.open().unwrap()).is_empty());
}

#[test]
fn both_connections_are_set_up() {
    let scratch = Scratch::new();
    for (durability, synchronous) in [(Durability::Full, 2), (Durability::Off, 0)] {
        let _lock = directory::prepare(&scratch.state(), durability).unwrap();
        let sqlite = Sqlite::open(&scratch.database(), durability).unwrap();
        assert_eq!(sqlite.settings("synchronous")[1], synchronous);
        assert_eq!(sqlite.settings("secure_delete")[1], 2);
        assert_eq!(sqlite.settings("cell_size_check"), [1, 1]);
        assert_eq!(sqlite.settings("trusted_schema"), [0, 0]);
        assert_eq!(sqlite.settings("mmap_size"), [0, 0]);
        assert_eq!(
            sqlite.settings("user_version"),
            [i64::from(SCHEMA_VERSION); 2]
        );
    }
}

#[tokio::test]
async fn a_read_does_not_wait_for_a_commit_and_sees_it_when_it_returned() {
    /// Whose commits wait for leave.
    struct Slow(Memory, Mutex<std::sync::mpsc::Receiver<()>>);
    impl Backend for Slow {
        fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.get(table, key)
        }
        fn scan(&self, table: Table, prefix: &str) -> Result<Rows, StoreError> {
            self.0.scan(table, prefix)
        }
        fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
            self.1.lock().unwrap().recv().unwrap();
            self.0.commit(batch)
        }
    }
    let (give_leave, leave) = std::sync::mpsc::sync_channel(1);
    let store = Store::over(Slow(Memory::default(), Mutex::new(leave))).unwrap();
    let commit = store.commit(batch(&[(Table::Meta, "a", Some("1"))]));
    tokio::pin!(commit);
    tokio::select! {
        biased;
        done = &mut commit => panic!("{done:?}"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(store.get(Table::Meta, "a").unwrap(), None);
    give_leave.send(()).unwrap();
    commit.await.unwrap();
    assert!(store.get(Table::Meta, "a").unwrap().is_some());
}

#[tokio::test]
async fn reads_in_sqlite_see_the_last_commit_and_no_half_of_one() {
    let scratch = Scratch::new();
    let store = scratch.open().unwrap();
    for round in 0..50 {
        let value = round.to_string();
        let both = [
            (Table::Meta, "a", Some(&*value)),
            (Table::Results, "b", Some(&*value)),
        ];
        let commit = store.commit(batch(&both));
        tokio::pin!(commit);
        tokio::select! {
            biased;
            done = &mut commit => done.unwrap(),
            () = tokio::task::yield_now() => {
                // Under way: the earlier state is there, or this one.
                let seen = store.get(Table::Results, "b").unwrap();
                let seen: i32 = seen.map_or(-1, |seen| String::from_utf8(seen).unwrap().parse().unwrap());
                assert!(seen == round || seen == round - 1, "{seen} in {round}");
                commit.await.unwrap();
            }
        }
        assert_eq!(
            store.get(Table::Meta, "a").unwrap(),
            Some(value.into_bytes())
        );
    }
}

#[test]
fn sqlite_finds_and_orders_like_a_map() {
    let scratch = Scratch::new();
    let _lock = directory::prepare(&scratch.state(), Durability::Off).unwrap();
    let sqlite = Sqlite::open(&scratch.database(), Durability::Off).unwrap();
    let model = Memory::default();
    let mut random = Random(0x0DD);
    for _ in 0..300 {
        let mut batch = Batch::new();
        for _ in 0..random.below(6) {
            let (table, key) = (random.table(), random.key());
            match random.below(3) {
                0 => batch.delete(table, key),
                _ => batch.put(table, key, vec![random.below(256) as u8]),
            }
        }
        sqlite.commit(&batch).unwrap();
        model.commit(&batch).unwrap();
        let (table, key) = (random.table(), random.key());
        assert_eq!(sqlite.get(table, &key), model.get(table, &key));
        assert_eq!(sqlite.scan(table, &key), model.scan(table, &key), "{key:?}");
    }
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_still_made() {
    let scratch = Scratch::new();
    let store = scratch.open().unwrap();
    {
        let commit = store.commit(batch(&[(Table::Meta, "a", Some("1"))]));
        tokio::pin!(commit);
        tokio::select! { biased; _ = &mut commit => {}, () = tokio::task::yield_now() => {} }
    }
    drop(store);
    assert!(
        scratch
            .open()
            .unwrap()
            .get(Table::Meta, "a")
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_goes_away() {
    let scratch = Scratch::new();
    let _lock = directory::prepare(&scratch.state(), Durability::Full).unwrap();
    let sqlite = Sqlite::open(&scratch.database(), Durability::Full).unwrap();
    sqlite
        .commit(&batch(&[(Table::Meta, "a", Some("1"))]))
        .unwrap();
    let large = "x".repeat(100_000);
    let write = batch(&[(Table::Meta, "a", None), (Table::Values, "b", Some(&large))]);
    for pages in 0..24 {
        sqlite.leave_pages(pages);
        let error = sqlite.commit(&write).unwrap_err();
        assert!(
            error.is_full() && error.to_string().contains("free some space"),
            "{error:?}"
        );
        assert_eq!(
            sqlite.get(Table::Meta, "a").unwrap().as_deref(),
            Some(&b"1"[..])
        );
        assert_eq!(sqlite.scan(Table::Values, "").unwrap(), []);
    }
    sqlite.leave_pages(1_000);
    sqlite.commit(&write).unwrap();
    assert_eq!(sqlite.get(Table::Meta, "a").unwrap(), None);
}

#[tokio::test]
async fn after_any_failure_the_state_is_that_before_or_after() {
    let scratch = Scratch::new();
    let _lock = directory::prepare(&scratch.state(), Durability::Off).unwrap();
    let mut random = Random(0xFA17);
    let mut expected = BTreeMap::new();
    let mut failures = 0;
    for _opened in 0..20 {
        let sqlite = Sqlite::open(&scratch.database(), Durability::Off).unwrap();
        let (backend, switch) = Faulty::new(sqlite);
        let sealed = Sealed::open(backend, &scratch.state(), Durability::Off).unwrap();
        let store = Store::over(sealed).unwrap();
        assert_eq!(contents(&store), expected, "after opening again");
        for _command in 0..30 {
            let fault = [Fault::Io, Fault::Full, Fault::LostAnswer][random.below(3) as usize];
            switch.fail(1 + random.below(12), fault);
            let tx = store.begin();
            let mut after = expected.clone();
            let outcome = command(&tx, &mut after, &mut random).await;
            switch.fail(u64::MAX, fault);
            let found = contents(&store);
            match outcome {
                Ok(()) => assert_eq!(found, after),
                Err(error) => {
                    failures += 1;
                    assert_eq!(error.is_full(), fault == Fault::Full);
                    assert!(found == after || found == expected, "a part: {found:?}");
                    assert!(found == expected || fault == Fault::LostAnswer);
                }
            }
            expected = found;
        }
    }
    assert!(failures > 100, "{failures}");
}

/// Some reads and writes and a commit, as a command makes them; `after` is what they amount to.
async fn command(
    tx: &Transaction,
    after: &mut BTreeMap<(Table, String), Vec<u8>>,
    random: &mut Random,
) -> Result<(), StoreError> {
    for _ in 0..1 + random.below(8) {
        let (table, key) = (random.table(), random.key());
        match random.below(5) {
            0 => {
                after.remove(&(table, key.clone()));
                tx.delete(table, &key);
            }
            1 => {
                tx.delete_prefix(table, &key)?;
                after.retain(|(t, k), _| *t != table || !k.starts_with(&key));
            }
            2 => assert_eq!(tx.get(table, &key)?, after.get(&(table, key)).cloned()),
            _ => {
                let value = vec![random.below(256) as u8; random.below(6_000) as usize];
                after.insert((table, key.clone()), value.clone());
                tx.put(table, &key, value);
            }
        }
    }
    tx.commit().await
}

/// xorshift64*, so that every run sees the same cases.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    pub(super) fn table(&mut self) -> Table {
        [Table::Meta, Table::Values][self.below(2) as usize]
    }

    /// Few and short, so that they meet; among them what sorts oddly.
    pub(super) fn key(&mut self) -> String {
        const PIECES: [&str; 7] = ["a", "b", "\0", "\x01", "\x7f", "ä", "\u{10FFFF}"];
        (0..self.below(4))
            .map(|_| PIECES[self.below(7) as usize])
            .collect()
    }
}
