//! The whole daemon: what it writes in sessions with a real authority is recorded; the real daemon starts on what a
//! power cut leaves of it.
//!
//! An acknowledgement is the beginning of the send that carries it: the reply to the operator who bootstraps, and
//! Package#3 with the status of a command. There is one command a package, so the package is the last thing that was
//! sent before the authority noted the status.
//!
//! An image is good if the daemon starts on it and answers; if its accounts and, read through the plug-in, all
//! instances are those after the last acknowledged command, or after the next one; and if the tables of the store
//! are, row by row, what they were after the one or the other.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bailiwick::store::{Options, Store};
use serde_json::json;

use super::check::{Tables, check, check_session, check_with, tables};
use super::device::{
    FEW_PLUGINS, PLUGINS, bootstrap, configure, copy, instances, prepare, session, start_traced,
};
use super::disk::{Disk, Plan};
use super::images::{Case, Outcome, Recording, SharedMemory, Told, Trial};
use super::log::{Channel, Log, Snapshot};
use super::random::Random;
use super::record::Recorder;
use super::scenario::{self, Step};
use super::scratch::Scratch;
use super::server::{self, Management};

/// What was recorded, and what must be there after each acknowledgement.
pub(crate) struct Recorded {
    recording: Recording,
    tables: Vec<Tables>,
    management: Management,
    _scratch: Scratch,
}

impl Recorded {
    /// Records a bootstrap and two runs of the daemon with sessions.
    pub(crate) fn new(durability: &str) -> Result<Self> {
        let scratch = Scratch::new("record")?;
        let device = scratch.path().join("device");
        prepare(&device, durability)?;
        let originals = scratch.path().join("originals");
        copy(&device.join("disk"), &originals)?;
        let snapshot = Snapshot::of(&originals)?;

        let management = Management::new(&scratch.path().join("authority"))?;
        let serving = management.serve()?;
        let steps = scenario::steps();
        let (before, after) = steps.split_at(scenario::BEFORE_RESTART);
        let queue = |steps: &[Step]| {
            steps
                .iter()
                .try_for_each(|step| management.queue(step).map(drop))
        };
        let traces = [
            scratch.path().join("trace-1"),
            scratch.path().join("trace-2"),
        ];

        let daemon = start_traced(&device, &traces[0])?;
        let bootstrapped = bootstrap(&daemon, &management)?;
        queue(before)?;
        session(&daemon)?;
        daemon.stop()?;
        let daemon = start_traced(&device, &traces[1])?;
        queue(after)?;
        session(&daemon)?;
        daemon.stop()?;
        let answers = management.good_answers()?;
        serving.stop()?;
        ensure!(
            answers.len() == steps.len(),
            "{} of {} commands were answered",
            answers.len(),
            steps.len()
        );

        let mut recorder = Recorder::new(&device.join("disk"), &snapshot)?;
        for trace in &traces {
            recorder
                .add(&fs::read_to_string(trace)?)
                .with_context(|| trace.display().to_string())?;
        }
        let log = recorder.finish()?;
        let mut acknowledged = vec![last_said(&log, Channel::Local, bootstrapped)?];
        for answer in answers {
            acknowledged.push(last_said(&log, Channel::Network, answer.time)?);
        }
        ensure!(
            acknowledged.is_sorted(),
            "the acknowledgements are not in order"
        );
        let recording = Recording {
            snapshot,
            log,
            acknowledged,
            originals,
        };
        recording.check_against(&device.join("disk"))?;
        let tables = tables_after_each(&recording, &scratch)?;
        Ok(Self {
            recording,
            tables,
            management,
            _scratch: scratch,
        })
    }

    /// What the tables of the store may be.
    fn tables(&self, told: Told) -> Vec<Tables> {
        let after =
            [told.acknowledged, told.acknowledged + 1].map(|number| self.tables.get(number));
        after.into_iter().flatten().cloned().collect()
    }

    /// Tries images; what is found wanting is kept if it should not be there.
    fn try_images(&self, name: &str, images: usize, seed: u64, keep: bool) -> Result<Outcome> {
        let check = |directory: &Path, told: Told| check(directory, told, &self.tables(told));
        self.recording.try_images(
            images,
            seed,
            &Trial {
                name,
                check: &check,
                keep,
            },
        )
    }

    /// Tries images of what would have been recorded if some files were never synchronised.
    fn try_without_syncs(
        &self,
        is_one: &dyn Fn(&str) -> bool,
        images: usize,
        seed: u64,
    ) -> Result<Outcome> {
        let recording = Recording {
            snapshot: self.recording.snapshot.clone(),
            log: self.recording.log.without_syncs_of(is_one),
            acknowledged: self.recording.acknowledged.clone(),
            originals: self.recording.originals.clone(),
        };
        let check = |directory: &Path, told: Told| check(directory, told, &self.tables(told));
        let trial = Trial {
            name: "unsynced",
            check: &check,
            keep: false,
        };
        recording.try_images(images, seed, &trial)
    }

    /// Tries images on which the daemon then holds a session, one after the other.
    fn try_sessions(&self, images: usize, seed: u64) -> Result<Outcome> {
        let management = Mutex::new(&self.management);
        let check = |directory: &Path, told: Told| {
            let management = management.lock().unwrap_or_else(PoisonError::into_inner);
            check_session(directory, told, &management)
        };
        self.recording.try_images(
            images,
            seed,
            &Trial {
                name: "session",
                check: &check,
                keep: true,
            },
        )
    }

    /// Power fails again while the daemon recovers from the first time: its start on some images is recorded, and cut.
    fn try_twice(&self, starts: usize, images: usize, seed: u64) -> Result<Outcome> {
        let mut random = Random::new(seed);
        let mut all = Outcome::default();
        for _ in 0..starts {
            let scratch = Scratch::new("twice")?;
            let case = self.recording.random_case(&mut random);
            self.recording.write(&case, scratch.path())?;
            let (disk, originals) = (
                scratch.path().join("disk"),
                scratch.path().join("originals"),
            );
            copy(&disk, &originals)?;
            let snapshot = Snapshot::of(&originals)?;
            configure(scratch.path(), "full", PLUGINS)?;
            let trace = scratch.path().join("trace");
            start_traced(scratch.path(), &trace)?.stop()?;
            let mut recorder = Recorder::new(&disk, &snapshot)?;
            recorder.add(&fs::read_to_string(&trace)?)?;
            let log = recorder.finish()?;
            let recording = Recording {
                snapshot,
                log,
                acknowledged: Vec::new(),
                originals,
            };
            recording.check_against(&disk)?;
            let check = |directory: &Path, _: Told| {
                check(directory, case.told, &self.tables(case.told))
                    .with_context(|| format!("first {case}"))
            };
            let trial = Trial {
                name: "twice",
                check: &check,
                keep: false,
            };
            all.add(recording.try_images(images, random.next(), &trial)?);
        }
        Ok(all)
    }
}

/// Where the last thing was said before `time`.
fn last_said(log: &Log, channel: Channel, time: u64) -> Result<usize> {
    let said = log
        .said
        .iter()
        .filter(|said| said.channel == channel && said.time <= time);
    let last = said
        .max_by_key(|said| said.position)
        .context("an acknowledgement was not recorded")?;
    Ok(last.position)
}

/// The tables after each acknowledgement, from images without any loss.
fn tables_after_each(recording: &Recording, scratch: &Scratch) -> Result<Vec<Tables>> {
    let mut disk = Disk::new(&recording.snapshot, &recording.log);
    let mut all = vec![Tables::new()];
    for position in recording.acknowledged.iter().copied() {
        disk.advance(position);
        let case = Case {
            position,
            plan: Plan::All,
            told: recording.told(position),
            shared_memory: SharedMemory::Absent,
            image: disk.image(Plan::All),
        };
        let directory = scratch.path().join("reference");
        recording.write(&case, &directory)?;
        all.push(tables(&Store::open(
            &directory.join("disk/state"),
            Options::default(),
        )?)?);
        fs::remove_dir_all(&directory)?;
    }
    Ok(all)
}

/// With `fsync`, no acknowledged command is ever lost, and none is there in half; and the daemon goes on.
pub(crate) fn survives(images: usize, seed: u64) -> Result<()> {
    let recorded = Recorded::new("full")?;
    for (what, outcome) in [
        (
            "the daemon",
            recorded.try_images("daemon", images, seed, true)?,
        ),
        (
            "with a session afterwards",
            recorded.try_sessions(images / 50, seed)?,
        ),
        (
            "power fails twice",
            recorded.try_twice(images / 200, 20, seed)?,
        ),
    ] {
        println!("    {what}: {outcome}");
        outcome.expect_none()?;
    }
    Ok(())
}

/// Without, this same test notices: with none at all, and where one kind of it is missing.
pub(crate) fn needs_fsync(images: usize, seed: u64) -> Result<()> {
    let outcome = Recorded::new("off")?.try_images("daemon-off", images, seed, false)?;
    println!("    the daemon without fsync: {outcome}");
    outcome.expect_some()?;

    let recorded = Recorded::new("full")?;
    type OneOf = fn(&str) -> bool;
    let kinds: [(&str, OneOf); 4] = [
        ("the log of the database", |name| name.ends_with("-wal")),
        ("the key of the device", |name| {
            name.starts_with("device.key")
        }),
        ("secrets of accounts", |name| name.contains(".pem")),
        ("the directory of secrets", |name| name == "keys"),
    ];
    for (what, is_one) in kinds {
        let outcome = recorded.try_without_syncs(&is_one, images, seed)?;
        println!("    without fsync of {what}: {outcome}");
        outcome.expect_some().with_context(|| what.to_owned())?;
    }
    Ok(())
}

/// The very first start, in which everything is made: the state directory, its keys, the store, compiled code.
pub(crate) fn first_start(images: usize, seed: u64) -> Result<()> {
    let few = &PLUGINS[..FEW_PLUGINS];
    let scratch = Scratch::new("first")?;
    let device = scratch.path().join("device");
    let originals = scratch.path().join("originals");
    fs::create_dir_all(device.join("disk"))?;
    fs::create_dir(&originals)?;
    configure(&device, "full", few)?;
    let snapshot = Snapshot::of(&originals)?;
    let management = Management::new(&scratch.path().join("authority"))?;

    let trace = scratch.path().join("trace");
    let daemon = start_traced(&device, &trace)?;
    daemon.call("Bootstrap", json!({ "document": management.bootstrap }))?;
    let answered = server::microseconds();
    // Compiles the plug-in, and keeps its code.
    instances(&daemon)?;
    daemon.stop()?;
    let mut recorder = Recorder::new(&device.join("disk"), &snapshot)?;
    recorder.add(&fs::read_to_string(&trace)?)?;
    let log = recorder.finish()?;
    let acknowledged = vec![last_said(&log, Channel::Local, answered)?];
    let recording = Recording {
        snapshot,
        log,
        acknowledged,
        originals,
    };
    recording.check_against(&device.join("disk"))?;
    let check = |directory: &Path, told: Told| check_with(few, directory, told, &[]);
    let outcome = recording.try_images(
        images,
        seed,
        &Trial {
            name: "first",
            check: &check,
            keep: true,
        },
    )?;
    println!("    the first start: {outcome}");
    outcome.expect_none()
}
