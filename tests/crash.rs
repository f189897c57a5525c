//! Power cuts. The file operations of a program that writes are recorded and cut at every point, with what was not
//! synchronised lost, reordered or torn; what then lies on the disk is an image, and the real program starts on it.
//!
//! ```text
//! strace      what strace wrote ─▶ system calls
//! record      ─▶ typed operations below one directory (log), from descriptors and names (follow); strict
//! disk, file  ─▶ what a disk may hold after a power cut: the model
//! images      ─▶ thousands of images, each tried once
//! store       the store alone
//! daemon      the whole daemon: device, server (its authority) and scenario; check says what is wrong with an image
//! kill        SIGKILL instead of a power cut
//! ```
//!
//! The recordings check themselves: what was recorded without a power cut must be what lies on the real disk. So do
//! the tests: without `fsync`, or without one kind of it, they must fail.
//!
//! `BAILIWICK_CRASH_IMAGES` and `BAILIWICK_CRASH_SEED` choose how many images, and which. `cargo xtask crash` does so.

mod crash {
    pub(crate) mod check;
    pub(crate) mod daemon;
    pub(crate) mod device;
    pub(crate) mod disk;
    pub(crate) mod file;
    pub(crate) mod follow;
    pub(crate) mod images;
    pub(crate) mod kill;
    pub(crate) mod log;
    pub(crate) mod random;
    pub(crate) mod record;
    pub(crate) mod scenario;
    pub(crate) mod scratch;
    pub(crate) mod server;
    pub(crate) mod store;
    pub(crate) mod strace;
}

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use bailiwick_tests::{is_all_required, skipped};
use crash::images::Told;
use crash::{check, daemon, device, disk, kill, record, scratch, store, strace};

/// Images of the whole daemon where nothing else is asked for.
const IMAGES: usize = 2_000;

/// A test, for a number of images and a seed.
struct Test {
    name: &'static str,
    needs_strace: bool,
    run: fn(usize, u64) -> Result<()>,
}

/// A test of what strace has recorded.
const fn recorded(name: &'static str, run: fn(usize, u64) -> Result<()>) -> Test {
    Test {
        name,
        needs_strace: true,
        run,
    }
}

/// Any other one.
const fn plain(name: &'static str, run: fn(usize, u64) -> Result<()>) -> Test {
    Test {
        name,
        needs_strace: false,
        run,
    }
}

const TESTS: &[Test] = &[
    plain("strace_is_understood", |_, _| strace::test()),
    plain("the_model_of_a_disk_is_as_described", |_, _| disk::test()),
    recorded("the_store_survives_power_cuts", |images, seed| {
        store::survives(images / 2, seed)
    }),
    recorded("the_store_without_fsync_does_not", |_, seed| {
        store::needs_fsync(100, seed)
    }),
    recorded("the_daemon_survives_power_cuts", daemon::survives),
    recorded("the_daemon_without_fsync_does_not", |_, seed| {
        daemon::needs_fsync(60, seed)
    }),
    // Each of these compiles plug-ins.
    recorded("the_first_start_survives_power_cuts", |images, seed| {
        daemon::first_start((images / 80).min(500), seed)
    }),
    plain("the_daemon_survives_kills", |images, seed| {
        kill::survives((images / 20).min(2_000), seed)
    }),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((role, rest)) if role == "--write-store" => store::write(rest),
        Some((role, rest)) if role == "--hide" => record::hide(rest),
        Some((role, rest)) if role == "--replay" => replay(rest),
        _ => return run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the tests whose names contain one of the arguments, in the manner of libtest.
fn run(arguments: &[String]) -> ExitCode {
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let chosen =
        |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(f.as_str()));
    let (tests, others): (Vec<&Test>, Vec<&Test>) =
        TESTS.iter().partition(|test| chosen(test.name));
    if arguments.iter().any(|a| a == "--list") {
        tests
            .iter()
            .for_each(|test| println!("{}: test", test.name));
        return ExitCode::SUCCESS;
    }
    let number = |name: &str, otherwise: u64| {
        let text = std::env::var(name).ok();
        text.and_then(|t| t.parse().ok()).unwrap_or(otherwise)
    };
    let images = number("BAILIWICK_CRASH_IMAGES", IMAGES as u64) as usize;
    let seed = number("BAILIWICK_CRASH_SEED", 1);
    println!("\nrunning {} tests (seed {seed})", tests.len());
    let started = Instant::now();
    let (mut passed, mut failures, mut ignored) = (0, Vec::new(), 0);
    let can_record = record::is_possible();
    for Test {
        name,
        needs_strace,
        run,
    } in tests
    {
        if *needs_strace && !can_record {
            ignored += 1;
            println!("test {name} ... ignored");
            skipped(
                name,
                "strace is missing (`cargo xtask setup` installs it), or may not read the daemon; run the test as root",
            );
            continue;
        }
        match run(images, seed) {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Err(error) => {
                println!("test {name} ... FAILED");
                failures.push((name, error));
            }
        }
    }
    if ignored > 0 && is_all_required() {
        println!("\ntests were skipped, and none may be skipped here");
        return ExitCode::FAILURE;
    }
    for (name, error) in &failures {
        println!("\n---- {name} ----\n{error:#}");
    }
    println!(
        "\ntest result: {}. {passed} passed; {} failed; {ignored} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failures.is_empty() { "ok" } else { "FAILED" },
        failures.len(),
        others.len(),
        started.elapsed().as_secs_f64(),
    );
    ExitCode::from(u8::from(!failures.is_empty()))
}

/// Tries an image again that was kept: `crash --replay DIRECTORY`.
fn replay(arguments: &[String]) -> Result<()> {
    let [directory] = arguments else {
        bail!("--replay DIRECTORY");
    };
    let directory = std::path::Path::new(directory);
    let case = std::fs::read_to_string(directory.join("case"))?;
    let mut lines = case.lines();
    let mut next = || lines.next().context("not a kept image");
    let (name, acknowledged, sent) = (next()?, next()?.parse()?, next()?.parse()?);
    let told = Told { acknowledged, sent };
    println!("{}", lines.collect::<Vec<_>>().join("\n"));
    let again = scratch::Scratch::new("replay")?;
    device::copy(&directory.join("disk"), &again.path().join("disk"))?;
    match name {
        "store" => store::check(again.path(), told),
        // Without a session: nobody serves. And without the tables as they were when it was recorded.
        _ => check::check(again.path(), told, &[]),
    }
}
