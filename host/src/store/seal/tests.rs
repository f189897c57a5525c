//! Sealed values: unseen on the disk, bound to their place, gone with their key.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::faults::Memory;
use crate::store::sqlite::Sqlite;
use crate::store::tests::{Random, Scratch};

const CLOCK: &str = "clock\0i\0urn:x\0one\0ka";
const OWN: &str = "clock\0a\0ma-a\0ka";

fn over_memory() -> Sealed<Memory> {
    Sealed::with_key(Memory::default(), &[7; KEY_LEN]).unwrap()
}

fn put(backend: &impl Backend, table: Table, key: &str, value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(table, key, value.to_vec());
    backend.commit(&batch).unwrap();
}

fn delete(backend: &impl Backend, keys: &[&str]) {
    let mut batch = Batch::new();
    keys.iter()
        .for_each(|key| batch.delete(Table::Values, *key));
    backend.commit(&batch).unwrap();
}

fn open_in(scratch: &Scratch) -> Result<Sealed<Sqlite>, StoreError> {
    let directory = scratch.state();
    let _lock = directory::prepare(&directory, Durability::Full)?;
    Sealed::open(
        Sqlite::open(&scratch.database(), Durability::Full)?,
        &directory,
        Durability::Full,
    )
}

#[test]
fn a_namespace_is_all_but_the_last_part() {
    let rows = [
        (CLOCK, "clock\0i\0urn:x\0one"),
        (OWN, "clock\0a\0ma-a"),
        ("clock\0i\0urn:x\0one\0k\0\0b", "clock\0i\0urn:x\0one"),
        ("clock\0a\0ma-a\0k\0b", "clock\0a\0ma-a"),
        ("clock", "clock"),
        ("", ""),
    ];
    for (key, namespace) in rows {
        assert_eq!(namespace_of(key), namespace);
    }
}

#[test]
fn values_come_back_and_only_they_are_sealed() {
    let sealed = over_memory();
    for table in [Table::Values, Table::Accounts] {
        put(&sealed, table, CLOCK, b"secret");
        assert_eq!(
            sealed.get(table, CLOCK).unwrap().as_deref(),
            Some(&b"secret"[..])
        );
        assert_eq!(
            sealed.scan(table, "clock").unwrap(),
            [(CLOCK.to_owned(), b"secret".to_vec())]
        );
        assert_eq!(sealed.get(table, "other").unwrap(), None);
        let raw = sealed.inner.get(table, CLOCK).unwrap().unwrap();
        assert_eq!(raw == b"secret", table == Table::Accounts);
    }
    put(&sealed, Table::Values, OWN, b"");
    assert_eq!(sealed.get(Table::Values, OWN).unwrap(), Some(Vec::new()));
}

#[test]
fn the_disk_never_sees_a_value() {
    let scratch = Scratch::new();
    let canary = b"a canary that must not be found";
    let sealed = open_in(&scratch).unwrap();
    put(&sealed, Table::Values, CLOCK, canary);
    put(
        &sealed,
        Table::Alerts,
        "control",
        b"a control that must be found",
    );
    let on_disk = |text: &[u8]| {
        fs::read_dir(scratch.state()).unwrap().any(|file| {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            bytes.windows(text.len()).any(|window| window == text)
        })
    };
    assert!(on_disk(b"a control that must be found"));
    assert!(!on_disk(canary));
    drop(sealed);
    assert!(!on_disk(canary));
    let again = open_in(&scratch).unwrap();
    assert_eq!(
        again.get(Table::Values, CLOCK).unwrap().as_deref(),
        Some(&canary[..])
    );
}

#[test]
fn a_value_opens_in_its_own_place_alone() {
    let other_key = CLOCK.replace("ka", "kb");
    let places = [CLOCK, OWN, &*other_key];
    for from in places {
        for to in places {
            let sealed = over_memory();
            for place in places {
                put(&sealed, Table::Values, place, place.as_bytes());
            }
            let moved = sealed.inner.get(Table::Values, from).unwrap().unwrap();
            put(&sealed.inner, Table::Values, to, &moved);
            let opened = sealed.get(Table::Values, to);
            if from == to {
                assert_eq!(opened, Ok(Some(to.as_bytes().to_vec())));
            } else {
                assert_eq!(opened, Err(unreadable(Table::Values)));
                assert_eq!(
                    sealed.scan(Table::Values, "clock"),
                    Err(unreadable(Table::Values))
                );
            }
        }
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let sealed = over_memory();
    put(&sealed, Table::Values, CLOCK, b"value");
    let namespace = namespace_of(CLOCK);
    for (table, key) in [(Table::Values, CLOCK), (Table::Keys, namespace)] {
        let good = sealed.inner.get(table, key).unwrap().unwrap();
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1;
            put(&sealed.inner, table, key, &bad);
            assert_eq!(
                sealed.get(Table::Values, CLOCK),
                Err(unreadable(table)),
                "{byte}"
            );
        }
        for length in 0..good.len() {
            put(&sealed.inner, table, key, &good[..length]);
            assert_eq!(
                sealed.get(Table::Values, CLOCK),
                Err(unreadable(table)),
                "{length}"
            );
        }
        put(&sealed.inner, table, key, &good);
    }
    assert!(sealed.get(Table::Values, CLOCK).unwrap().is_some());
}

#[test]
fn equal_values_look_different() {
    let sealed = over_memory();
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        put(&sealed, Table::Values, CLOCK, b"value");
        seen.insert(sealed.inner.get(Table::Values, CLOCK).unwrap());
    }
    assert_eq!(seen.len(), 100);
}

#[test]
fn a_key_goes_with_the_last_value_of_its_namespace() {
    let sealed = over_memory();
    let (a, b) = (CLOCK, &*CLOCK.replace("ka", "kb"));
    let key = || sealed.inner.get(Table::Keys, namespace_of(a)).unwrap();
    put(&sealed, Table::Values, a, b"1");
    put(&sealed, Table::Values, OWN, b"1");
    let first = key();
    put(&sealed, Table::Values, b, b"2");
    assert_eq!(key(), first, "one key for the namespace");
    delete(&sealed, &[a]);
    assert_eq!(key(), first);
    assert!(sealed.get(Table::Values, b).unwrap().is_some());
    // Values of a namespace whose name only starts the same are not among them.
    put(
        &sealed,
        Table::Values,
        &CLOCK.replace("one", "one-more"),
        b"1",
    );
    delete(&sealed, &[a, b]);
    assert_eq!(key(), None);
    assert!(
        sealed.get(Table::Values, OWN).unwrap().is_some(),
        "that of another stays"
    );
    put(&sealed, Table::Values, a, b"3");
    assert_ne!(key(), first);
    assert!(sealed.get(Table::Values, a).unwrap().is_some());
    // Deleted and written in one batch.
    let mut batch = Batch::new();
    batch.delete(Table::Values, a);
    batch.put(Table::Values, b, b"4".to_vec());
    sealed.commit(&batch).unwrap();
    assert_eq!(
        sealed.get(Table::Values, b).unwrap().as_deref(),
        Some(&b"4"[..])
    );
}

#[test]
fn the_device_key_is_made_once_and_missed_when_it_is_gone() {
    let scratch = Scratch::new();
    let file = scratch.state().join(directory::DEVICE_KEY);
    drop(open_in(&scratch).unwrap());
    let key = fs::read(&file).unwrap();
    put(&open_in(&scratch).unwrap(), Table::Values, CLOCK, b"value");
    assert_eq!(fs::read(&file).unwrap(), key);

    let refused = |expected: &str| {
        let error = open_in(&scratch).err().unwrap();
        assert!(matches!(error, StoreError::DeviceKey { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(expected) && text.contains("device.key"),
            "{text}"
        );
        assert!(text.contains("restore the backup"), "{text}");
    };
    fs::write(&file, [0; KEY_LEN]).unwrap();
    refused("not the key");
    fs::write(&file, &key[1..]).unwrap();
    refused("damaged");
    fs::write(&file, [&key[..], &key[..]].concat()).unwrap();
    refused("damaged");
    fs::remove_file(&file).unwrap();
    refused("missing");
    assert!(!file.exists(), "a new key would bury the old one");
    fs::write(&file, &key).unwrap();
    assert!(
        open_in(&scratch)
            .unwrap()
            .get(Table::Values, CLOCK)
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_power_cut_while_the_key_was_made_is_no_harm() {
    let leftovers: [&[(&str, usize)]; 3] = [
        &[("device.key.new", 7)],
        &[("device.key", 0)],
        &[("device.key", KEY_LEN)],
    ];
    for files in leftovers {
        let scratch = Scratch::new();
        fs::create_dir(scratch.state()).unwrap();
        for (name, length) in files {
            fs::write(scratch.state().join(name), vec![1; *length]).unwrap();
        }
        put(&open_in(&scratch).unwrap(), Table::Values, CLOCK, b"value");
        let key = fs::read(scratch.state().join(directory::DEVICE_KEY)).unwrap();
        assert_eq!(key.len(), KEY_LEN);
        assert!(
            open_in(&scratch)
                .unwrap()
                .get(Table::Values, CLOCK)
                .unwrap()
                .is_some()
        );
    }
}

#[test]
fn it_behaves_like_the_backend_behind_it() {
    let (sealed, model) = (over_memory(), Memory::default());
    let mut random = Random(0x5EA1);
    for _ in 0..400 {
        let mut batch = Batch::new();
        for _ in 0..random.below(6) {
            let (table, key) = (random.table(), random.key());
            match random.below(2) {
                0 => batch.delete(table, key),
                _ => batch.put(table, key, vec![random.below(256) as u8]),
            }
        }
        sealed.commit(&batch).unwrap();
        model.commit(&batch).unwrap();
        let (table, key) = (random.table(), random.key());
        assert_eq!(sealed.get(table, &key), model.get(table, &key));
        assert_eq!(sealed.scan(table, &key), model.scan(table, &key));
        let namespaces: BTreeSet<String> = model
            .scan(Table::Values, "")
            .unwrap()
            .iter()
            .map(|(key, _)| namespace_of(key).to_owned())
            .collect();
        let keys = sealed.inner.scan(Table::Keys, "").unwrap();
        let keys: BTreeSet<String> = keys.into_iter().map(|(namespace, _)| namespace).collect();
        assert!(keys.is_superset(&namespaces), "{keys:?} {namespaces:?}");
    }
}

#[test]
fn a_reader_is_not_confused_by_a_namespace_that_comes_and_goes() {
    let scratch = Scratch::new();
    let sealed = open_in(&scratch).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..100 {
                put(&sealed, Table::Values, CLOCK, b"value");
                delete(&sealed, &[CLOCK]);
            }
            done.store(true, Ordering::Release);
        });
        let mut seen = [false; 2];
        while !done.load(Ordering::Acquire) {
            let found = sealed.get(Table::Values, CLOCK).unwrap();
            assert!(found.as_deref().is_none_or(|value| value == b"value"));
            seen[usize::from(found.is_some())] = true;
            sealed.scan(Table::Values, "").unwrap();
        }
        assert_eq!(seen, [true, true]);
    });
}
