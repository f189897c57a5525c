//! The store alone: a small program writes through it, and the same store opens what a power cut leaves.
//!
//! Quick, so it tries many images; what the whole daemon does with its files is in `daemon.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail, ensure};
use bailiwick::store::{Batch, Durability, Options, Store, Table};

use super::images::{Outcome, Recording, Told, Trial};
use super::log::{Channel, Snapshot};
use super::random::Random;
use super::record::{self, Recorder};
use super::scratch::Scratch;

/// Transactions of the writing program, in two runs: the second one finds what the first one left.
const TRANSACTIONS: usize = 64;
const SECOND_RUN: usize = 48;

/// The tables that are written.
const TABLES: [Table; 3] = [Table::Accounts, Table::Values, Table::Alerts];

type Rows = BTreeMap<(usize, String), Vec<u8>>;

/// The writes of one transaction: in every table, of all sizes up to many pages, with deletions. Two rows always
/// have the same value.
fn transaction(number: usize) -> Vec<(usize, String, Option<Vec<u8>>)> {
    let mut random = Random::new(number as u64);
    let mut writes = Vec::new();
    for table in 0..TABLES.len() {
        for _ in 0..1 + random.below(3) {
            let key = format!("key {}", random.below(12));
            let length = [20, 300, 3_000, 60_000][random.below(4) as usize];
            let value = (random.below(4) > 0).then(|| fill(&mut random, length));
            writes.push((table, key, value));
        }
    }
    let pair = fill(&mut random, 100);
    writes.push((0, "pair".to_owned(), Some(pair.clone())));
    writes.push((1, "pair".to_owned(), Some(pair)));
    writes.push((
        2,
        "number".to_owned(),
        Some(number.to_string().into_bytes()),
    ));
    writes
}

fn fill(random: &mut Random, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.next() as u8).collect()
}

/// What is there after so many transactions; `None`, there are fewer.
fn rows(transactions: usize) -> Option<&'static Rows> {
    static STATES: LazyLock<Vec<Rows>> = LazyLock::new(|| {
        let mut states = vec![Rows::new()];
        for number in 0..TRANSACTIONS {
            let mut rows = states[number].clone();
            for (table, key, value) in transaction(number) {
                match value {
                    Some(value) => rows.insert((table, key), value),
                    None => rows.remove(&(table, key)),
                };
            }
            states.push(rows);
        }
        states
    });
    STATES.get(transactions)
}

/// The writing program: `crash --write-store DIRECTORY full|off FROM TO`. Says when a transaction is committed.
pub(crate) fn write(arguments: &[String]) -> Result<()> {
    let [directory, durability, from, to] = arguments else {
        bail!("--write-store DIRECTORY full|off FROM TO");
    };
    let durability = match durability.as_str() {
        "off" => Durability::Off,
        _ => Durability::Full,
    };
    let store = Store::open(Path::new(directory), Options { durability })?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for number in from.parse()?..to.parse()? {
        let mut batch = Batch::new();
        for (table, key, value) in transaction(number) {
            match value {
                Some(value) => batch.put(TABLES[table], key, value),
                None => batch.delete(TABLES[table], key),
            }
        }
        runtime.block_on(store.commit(batch))?;
        // One line, one write of the trace: standard output is flushed at each line.
        writeln!(std::io::stdout(), "committed")?;
    }
    Ok(())
}

/// Runs this program under strace.
fn trace(directory: &Path, arguments: &[&str]) -> Result<String> {
    let trace = directory.join("trace");
    let mut command = record::traced(&std::env::current_exe()?, &trace);
    let out = command.args(arguments).stdin(Stdio::null()).output()?;
    ensure!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(fs::read_to_string(trace)?)
}

fn record(scratch: &Scratch, durability: &str) -> Result<Recording> {
    let disk = scratch.path().join("disk");
    let originals = scratch.path().join("originals");
    fs::create_dir(&disk)?;
    fs::create_dir(&originals)?;
    let snapshot = Snapshot::of(&disk)?;
    let mut recorder = Recorder::new(&disk, &snapshot)?;
    let state = disk.join("state");
    let state = state.to_str().context("not text")?;
    for (from, to) in [(0, SECOND_RUN), (SECOND_RUN, TRANSACTIONS)] {
        let run = [
            "--write-store",
            state,
            durability,
            &from.to_string(),
            &to.to_string(),
        ];
        recorder.add(&trace(scratch.path(), &run)?)?;
    }
    let log = recorder.finish()?;
    let said = log
        .said
        .iter()
        .filter(|said| said.channel == Channel::Output);
    let acknowledged: Vec<usize> = said.map(|said| said.position).collect();
    ensure!(
        acknowledged.len() == TRANSACTIONS,
        "{} of {TRANSACTIONS} commits were recorded",
        acknowledged.len()
    );
    let recording = Recording {
        snapshot,
        log,
        acknowledged,
        originals,
    };
    recording.check_against(&disk)?;
    Ok(recording)
}

/// All acknowledged transactions are there, whole, and perhaps the next one; and the store can be written to.
pub(crate) fn check(directory: &Path, told: Told) -> Result<()> {
    let acknowledged = told.acknowledged;
    let state = directory.join("disk/state");
    if !state.exists() {
        ensure!(acknowledged == 0, "the whole state is gone");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut found = dump(&state)?;
    let is_one = |number: usize| rows(number) == Some(&found);
    ensure!(
        is_one(acknowledged) || is_one(acknowledged + 1),
        "{}",
        describe(&found, acknowledged)
    );
    let mut batch = Batch::new();
    batch.put(TABLES[0], "after", b"after".to_vec());
    found.insert((0, "after".to_owned()), b"after".to_vec());
    let store = Store::open(&state, Options::default())?;
    runtime.block_on(store.commit(batch))?;
    drop(store);
    ensure!(
        dump(&state)? == found,
        "the store lost what was written after the crash"
    );
    Ok(())
}

fn dump(state: &Path) -> Result<Rows> {
    let store = Store::open(state, Options::default())?;
    let mut rows = Rows::new();
    for (index, table) in TABLES.into_iter().enumerate() {
        rows.extend(
            store
                .scan(table, "")?
                .into_iter()
                .map(|(key, value)| ((index, key), value)),
        );
    }
    Ok(rows)
}

fn describe(found: &Rows, acknowledged: usize) -> String {
    let number = found.get(&(2, "number".to_owned()));
    let number = number.and_then(|n| String::from_utf8_lossy(n).parse::<usize>().ok());
    let whole = number.is_some_and(|n| rows(n + 1) == Some(found)) || found.is_empty();
    let last = number.map_or("none".to_owned(), |n| format!("{}", n + 1));
    match whole {
        true => format!("{acknowledged} transactions were acknowledged, {last} are there"),
        false => format!("half of a transaction is there, the last one is {last}"),
    }
}

/// With `fsync`, nothing is ever lost.
pub(crate) fn survives(images: usize, seed: u64) -> Result<()> {
    let scratch = Scratch::new("store")?;
    let recording = record(&scratch, "full")?;
    let first_run = recording.acknowledged[0]..recording.acknowledged[SECOND_RUN - 1];
    ensure!(
        recording
            .log
            .syncs_of("store.sqlite")
            .any(|at| first_run.contains(&at)),
        "the log was never put into the database while it grew; write more"
    );
    let outcome = recording.try_images(
        images,
        seed,
        &Trial {
            name: "store",
            check: &check,
            keep: true,
        },
    )?;
    report("store", &outcome);
    outcome.expect_none()
}

/// Without, this same test notices.
pub(crate) fn needs_fsync(images: usize, seed: u64) -> Result<()> {
    let scratch = Scratch::new("store-off")?;
    let recording = record(&scratch, "off")?;
    let outcome = recording.try_images(
        images,
        seed,
        &Trial {
            name: "store-off",
            check: &check,
            keep: false,
        },
    )?;
    report("store without fsync", &outcome);
    outcome.expect_some()
}

fn report(what: &str, outcome: &Outcome) {
    println!("    {what}: {outcome}");
}
